package lock

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Settings are the locks that are shared with others, in the order in which
// they are taken: the section locks of server.yaml.
type Settings []Setting

// Setting is one of them. What follows WhenDown belongs to one kind alone.
type Setting struct {
	Name         string   `yaml:"name"`         // what people call it
	Kind         string   `yaml:"kind"`         // zookeeper | fleetlock
	Services     []string `yaml:"services"`     // names or globs of services whose runs take it; empty = all
	Environments []string `yaml:"environments"` // of these environments, names or globs; empty = all
	WhenDown     string   `yaml:"when_down"`    // strict (default): no host is touched while nobody can say | lenient: go on without

	Servers     []string      `yaml:"servers"`     // zookeeper: HOST:PORT
	Path        string        `yaml:"path"`        // zookeeper: of the lock; "" = /locks/#service#/#environment#
	Session     time.Duration `yaml:"session"`     // zookeeper: how long a session lives on without a connection; 0 = 10s
	AuthFile    string        `yaml:"auth_file"`   // zookeeper: file with USER:PASSWORD, by which nodes are made and closed to others
	TLS         bool          `yaml:"tls"`         // zookeeper: talk over TLS
	CAFile      string        `yaml:"ca_file"`     // PEM certificates to believe; "" = the system's
	Certificate string        `yaml:"certificate"` // zookeeper: of this client, over TLS
	Key         string        `yaml:"key"`         //

	URL           string   `yaml:"url"`            // fleetlock: https, or http to a loopback address
	Group         string   `yaml:"group"`          // fleetlock: whose slots are taken; "" = default
	AllowNetworks []string `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
}

var ownName = regexp.MustCompile(`^[a-z0-9][a-z0-9@._-]{0,63}$`)

// The values of when_down.
const (
	strict  = "strict"
	lenient = "lenient"
)

// Files are the paths that the settings name.
func (s *Setting) Files() []*string {
	return []*string{&s.AuthFile, &s.CAFile, &s.Certificate, &s.Key}
}

// kinds is the table of the kinds of locks. Nothing is connected to.
var kinds = map[string]func(Setting, *slog.Logger) (Lock, error){
	"zookeeper": openZooKeeper,
	"fleetlock": openFleetLock,
}

// opened is a lock with what it is for.
type opened struct {
	Lock
	Setting
}

// open gives the locks of the settings. Errors are CodeInvalid, and begin with
// the key.
func (s Settings) open(log *slog.Logger) (out []opened, err error) {
	defer func() {
		if err != nil {
			closeAll(out)
		}
	}()
	for i, c := range s {
		key := fmt.Sprintf("locks, number %d", i+1)
		if err := c.check(); err != nil {
			return out, restart.Errorf(restart.CodeInvalid, "%s: %v", key, err)
		}
		if slices.ContainsFunc(out, func(o opened) bool { return o.Name == c.Name }) {
			return out, restart.Errorf(restart.CodeInvalid, "%s: the name %s is there twice", key, c.Name)
		}
		l, err := kinds[c.Kind](c, log.With("lock", c.Name))
		if err != nil {
			return out, restart.Errorf(restart.CodeInvalid, "%s: %v", key, err)
		}
		out = append(out, opened{l, c})
	}
	return out, nil
}

func closeAll(all []opened) {
	for _, l := range all {
		l.Close()
	}
}

func (s Setting) check() error {
	if _, known := kinds[s.Kind]; !known {
		return fmt.Errorf("kind %s is neither zookeeper nor fleetlock", restart.Quote(s.Kind))
	}
	if !ownName.MatchString(s.Name) {
		return fmt.Errorf("name %s is not one: small letters, digits and @ . _ -, at most 64", restart.Quote(s.Name))
	}
	if s.WhenDown != "" && s.WhenDown != strict && s.WhenDown != lenient {
		return fmt.Errorf("when_down: %s is neither strict nor lenient", restart.Quote(s.WhenDown))
	}
	for _, glob := range slices.Concat(s.Services, s.Environments) {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return fmt.Errorf("%s is no name or glob", restart.Quote(glob))
		}
	}
	if s.Kind == "fleetlock" && (len(s.Servers) > 0 || s.Path != "" || s.Session != 0 || s.AuthFile != "" || s.TLS || s.Certificate != "" || s.Key != "") {
		return errors.New("servers, path, session, auth_file, tls, certificate and key are of zookeeper")
	}
	if s.Kind == "zookeeper" && (s.URL != "" || s.Group != "") {
		return errors.New("url and group are of fleetlock")
	}
	return nil
}

// fits tells whether a run takes the lock.
func (s Setting) fits(run restart.Run) bool {
	return restart.Fits(s.Services, run.Service) && restart.Fits(s.Environments, run.Environment)
}

// words are what a template of a place may name.
var words = []string{"#service#", "#environment#", "#group#", "#project#"}

// checkTemplate wants every #word# of a template to be known.
func checkTemplate(text string) error {
	for _, w := range words {
		text = strings.ReplaceAll(text, w, "")
	}
	if strings.Contains(text, "#") {
		return fmt.Errorf("it has a #word# that is none of %s", strings.Join(words, " "))
	}
	return nil
}

// fill puts a claim into a template; what is empty becomes "-", and what a name
// of the place can't have as well.
func fill(template string, c Claim, allowed func(rune) bool) string {
	clean := func(s string) string {
		s = strings.Map(func(r rune) rune {
			if allowed(r) {
				return r
			}
			return '-'
		}, s)
		if strings.Trim(s, ".") == "" {
			return "-"
		}
		return s
	}
	return strings.NewReplacer(words[0], clean(c.Service), words[1], clean(c.Environment), words[2], clean(c.Group), words[3], clean(c.Project)).Replace(template)
}
