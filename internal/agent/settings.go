package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// DefaultSettings is where an agent looks for its settings.
const DefaultSettings = "/etc/restartilka/agent.yaml"

// The ways in which a host decides that a scenario is reviewed.
const (
	ReviewFiles  = "files"
	reviewSigned = "signed"
)

const maxSettings = 1 << 20

// Settings are agent.yaml. Secrets are never in it: it names their files.
type Settings struct {
	Host         string        `yaml:"host"`               // this host's name: what envelopes and its certificate name
	Listen       string        `yaml:"listen"`             // for servers
	StatusListen string        `yaml:"status_listen"`      // for /ping, /readyz and /metrics; "" = off
	Certificate  string        `yaml:"certificate"`        // PEM
	Key          string        `yaml:"key"`                // PEM, mode 0600
	CA           string        `yaml:"ca"`                 // PEM: who signs the servers' certificates
	Servers      []string      `yaml:"servers"`            // names of the servers that are obeyed
	EnvelopeKeys []string      `yaml:"envelope_keys"`      // PEM: whose envelopes are obeyed
	Review       string        `yaml:"review"`             // files | signed
	Signers      string        `yaml:"signers"`            // file: who may sign, where review is signed
	Quorum       int           `yaml:"quorum"`             // how many people must have signed, the author not counted
	Revoked      string        `yaml:"revoked"`            // file: what counts no more
	Scenarios    string        `yaml:"scenarios"`          // folder of reviewed scenarios
	Services     string        `yaml:"services"`           // folder of this host's services
	Spool        string        `yaml:"spool"`              // folder, 0700
	Socket       string        `yaml:"socket"`             // for root on the host itself; "" = off
	Groups       []string      `yaml:"groups"`             // of this host; empty = not checked
	Environments []string      `yaml:"environments"`       // of this host; empty = not checked
	Cgroup       string        `yaml:"cgroup"`             // auto | off | a directory
	Grace        time.Duration `yaml:"grace"`              // between TERM and KILL
	Rate         int           `yaml:"task_rate_per_hour"` // tasks of one service
}

// defaults are what a key has that is not in the file.
func defaults() Settings {
	return Settings{
		Listen: ":3131", StatusListen: "127.0.0.1:3132",
		Certificate: "/etc/restartilka/agent.crt", Key: "/etc/restartilka/agent.key", CA: "/etc/restartilka/ca.crt",
		EnvelopeKeys: []string{"/etc/restartilka/server.pub"}, Review: ReviewFiles,
		Signers: "/etc/restartilka/allowed_signers", Quorum: 2, Revoked: "/etc/restartilka/revoked",
		Scenarios: "/etc/restartilka/scenarios.d", Services: "/etc/restartilka/services.d", Spool: "/var/spool/restartilka", Socket: "/run/restartilka-agent.sock",
		Cgroup: "auto", Grace: 5 * time.Second, Rate: DefaultRate,
	}
}

// LoadSettings reads agent.yaml. Its errors name the file, and the line where
// there is one.
func LoadSettings(path string) (Settings, error) {
	b, err := host.ReadTrusted(path, maxSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return Settings{}, restart.Errorf(restart.CodeInvalid, "the settings can't be read: %v", err).
			WithHint("a host that has not joined has none: restartilka-agent join URL; one that lies elsewhere is named with --config").Because(err)
	}
	if err != nil {
		return Settings{}, restart.Errorf(restart.CodeInvalid, "the settings can't be used: %v", err).
			WithHint("they say whom this host obeys: %s and its folder belong to root, and nobody else may write to them", path).Because(err)
	}
	s, err := ParseSettings(b)
	if err != nil {
		return Settings{}, restart.Errorf(restart.CodeInvalid, "%s: %v", path, err).Because(err)
	}
	return s, nil
}

// ParseSettings reads the text of agent.yaml strictly: an unknown key is an
// error with its line.
func ParseSettings(b []byte) (Settings, error) {
	s := defaults()
	if err := strict.Load(b, &s, "the keys: man restartilka-agent"); err != nil {
		return Settings{}, err
	}
	return s, s.check()
}

// check judges every value, and tells all that is wrong at once.
func (s Settings) check() error {
	var all error
	bad := func(key string, err error) {
		if err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", key, err))
		}
	}
	if s.Host == "" {
		bad("host", errors.New("is needed: the full name of this host, as in its certificate"))
	} else {
		bad("host", restart.CheckHost(s.Host))
	}
	bad("listen", checkListen(s.Listen))
	if s.StatusListen != "" {
		bad("status_listen", checkListen(s.StatusListen))
	}
	for _, file := range []struct{ key, path string }{
		{"certificate", s.Certificate}, {"key", s.Key}, {"ca", s.CA}, {"scenarios", s.Scenarios}, {"services", s.Services}, {"spool", s.Spool},
	} {
		bad(file.key, checkPath(file.path))
	}
	bad("socket", checkSocket(s.Socket))
	if len(s.Servers) == 0 {
		bad("servers", errors.New("is needed: the names of the servers that this host obeys"))
	}
	for _, name := range s.Servers {
		bad("servers", restart.CheckHost(name))
	}
	if len(s.EnvelopeKeys) == 0 {
		bad("envelope_keys", errors.New("is needed: files with the servers' public envelope keys"))
	}
	for _, path := range s.EnvelopeKeys {
		bad("envelope_keys", checkPath(path))
	}
	for _, g := range s.Groups {
		bad("groups", restart.CheckGroupName(g))
	}
	for _, e := range s.Environments {
		bad("environments", restart.CheckEnvironment(e))
	}
	if s.Review != ReviewFiles && s.Review != reviewSigned {
		bad("review", fmt.Errorf("%s is not known: files or signed", restart.Quote(s.Review)))
	}
	bad("signers", checkPath(s.Signers))
	bad("revoked", checkPath(s.Revoked))
	if s.Quorum < 1 || s.Quorum > 16 {
		bad("quorum", errors.New("must be between 1 and 16"))
	}
	if s.Cgroup != "auto" && s.Cgroup != "off" {
		bad("cgroup", checkPath(s.Cgroup))
	}
	if s.Grace < 0 || s.Grace > 10*time.Minute {
		bad("grace", errors.New("must be between 0s and 10m"))
	}
	if s.Rate < 1 || s.Rate > 100_000 {
		bad("task_rate_per_hour", errors.New("must be between 1 and 100000"))
	}
	return all
}

func checkListen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s is not an address such as :3131 or 10.0.0.5:3131", restart.Quote(address))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %s is not a number from 0 to 65535", restart.Quote(port))
	}
	if host != "" && net.ParseIP(host) == nil && restart.CheckHost(host) != nil {
		return fmt.Errorf("%s is not an address", restart.Quote(host))
	}
	return nil
}

func checkPath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fmt.Errorf("%s is not a plain absolute path", restart.Quote(path))
	}
	return nil
}

// Text gives the settings as agent.yaml, defaults included. There is nothing
// secret in them.
func (s Settings) Text() ([]byte, error) { return yaml.Dump(s) }
