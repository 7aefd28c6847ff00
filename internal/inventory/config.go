package inventory

import (
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

// Config says where the inventory is and how long its answers are good for. It
// is the `inventory:` section of server.yaml. A key that the chosen kind does
// not use is an error.
type Config struct {
	Kind string `yaml:"kind"` // yaml | ansible | conductor

	Path    string   `yaml:"path"`    // yaml: the file; ansible: a file with the JSON of `ansible-inventory --list`
	Command []string `yaml:"command"` // ansible: instead of path, the program and its arguments; no shell
	Dir     string   `yaml:"dir"`     // ansible: the command's working directory; "" is /

	URL           string   `yaml:"url"`            // conductor: what comes before groups2hosts/GROUP
	TokenFile     string   `yaml:"token_file"`     // conductor: a file with one line, the token
	TokenScheme   string   `yaml:"token_scheme"`   // conductor: word before the token in Authorization; "" is Bearer
	CAFile        string   `yaml:"ca_file"`        // conductor: PEM certificates to trust; "" is the system's
	AllowNetworks []string `yaml:"allow_networks"` // conductor: networks that are asked although they are refused otherwise: see internal/outgoing
	Format        string   `yaml:"format"`         // conductor: json (default) | text, what is asked for
	GroupNames    []string `yaml:"group_names"`    // conductor: templates such as "#project#_#service#-#environment#"
	Environments  []string `yaml:"environments"`   // conductor: what #environment# may be
	Tags          bool     `yaml:"tags"`           // conductor: ask for the tags of each host too, one request a host
	ServicesFile  string   `yaml:"services_file"`  // ansible, conductor: describes services, and what groups mean

	Timeout  time.Duration `yaml:"timeout"`   // of one request or command; 0 is 10 s for conductor, 1 min for ansible; at most 10 min
	CacheDir string        `yaml:"cache_dir"` // keeps the last answer over a restart of the server; "" is memory only
	CacheFor time.Duration `yaml:"cache_for"` // how old an answer may be before it is asked for again; 0 is 5 min
	StaleFor time.Duration `yaml:"stale_for"` // how old an answer may be and still be served, marked stale, when the source fails; 0 is never

	Logger *slog.Logger     `yaml:"-"` // nil discards
	Now    func() time.Time `yaml:"-"` // nil is time.Now
}

// kinds lists the sources there are: how each is made, which keys of Config
// are its own, and whether its answer grows old (a local file does not: it is
// read again when it changes).
var kinds = map[string]kind{
	"yaml":      {make: newYAML, keys: "path"},
	"ansible":   {make: newAnsible, keys: "path command dir services_file timeout cache_dir cache_for stale_for"},
	"conductor": {make: newConductor, keys: "url token_file token_scheme ca_file allow_networks format group_names environments tags services_file timeout cache_dir cache_for stale_for", ages: true},
}

type kind struct {
	make func(Config) (Source, error)
	keys string
	ages bool
}

// Kinds lists the values of Config.Kind.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// check refuses what can't work and fills in the defaults. The errors name the
// key, as it stands in server.yaml.
func (c Config) check() (Config, error) {
	k, ok := kinds[c.Kind]
	if !ok {
		return c, bad("kind", "%s is not known", restart.Quote(c.Kind)).WithHint("one of: %s", strings.Join(Kinds(), ", "))
	}
	own := strings.Fields(k.keys)
	for _, s := range c.set() {
		if !slices.Contains(own, s) {
			return c, bad(s, "is not used by kind %s", c.Kind).WithHint("kind %s uses: %s", c.Kind, strings.Join(own, ", "))
		}
	}
	if c.Timeout < 0 || c.CacheFor < 0 || c.StaleFor < 0 {
		return c, bad("timeout, cache_for, stale_for", "can't be negative")
	}
	if c.Timeout > 10*time.Minute {
		return c, bad("timeout", "is over 10m")
	}
	for _, p := range [][2]string{{"path", c.Path}, {"dir", c.Dir}, {"services_file", c.ServicesFile}, {"token_file", c.TokenFile}, {"ca_file", c.CAFile}, {"cache_dir", c.CacheDir}} {
		if p[1] != "" && !filepath.IsAbs(p[1]) && !secret.Named(p[1]) {
			return c, bad(p[0], "%s is not an absolute path", restart.Quote(p[1]))
		}
	}
	if c.ages() {
		if c.CacheFor == 0 {
			c.CacheFor = 5 * time.Minute
		}
		if c.StaleFor > 0 && c.StaleFor < c.CacheFor {
			return c, bad("stale_for", "is shorter than cache_for (%s), so it would never be used", c.CacheFor)
		}
	} else if c.CacheFor != 0 || c.StaleFor != 0 || c.CacheDir != "" {
		return c, bad("path", "is a local file: it is read again when it changes").WithHint("leave out cache_dir, cache_for and stale_for")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// ages tells whether answers expire with time, not only with a changed file.
func (c Config) ages() bool { return kinds[c.Kind].ages || len(c.Command) > 0 }

// set lists the keys that are given.
func (c Config) set() []string {
	var out []string
	for _, k := range []struct {
		key   string
		given bool
	}{
		{"path", c.Path != ""}, {"command", len(c.Command) > 0}, {"dir", c.Dir != ""}, {"url", c.URL != ""},
		{"token_file", c.TokenFile != ""}, {"token_scheme", c.TokenScheme != ""}, {"ca_file", c.CAFile != ""}, {"allow_networks", len(c.AllowNetworks) > 0}, {"format", c.Format != ""},
		{"group_names", len(c.GroupNames) > 0}, {"environments", len(c.Environments) > 0}, {"tags", c.Tags},
		{"services_file", c.ServicesFile != ""}, {"timeout", c.Timeout != 0}, {"cache_dir", c.CacheDir != ""},
		{"cache_for", c.CacheFor != 0}, {"stale_for", c.StaleFor != 0},
	} {
		if k.given {
			out = append(out, k.key)
		}
	}
	return out
}

// bad is an error about one key of the configuration.
func bad(key, format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "inventory.%s "+format, append([]any{key}, args...)...)
}

// checkURL accepts an absolute http or https URL without credentials, query or
// fragment. A secret is only ever sent over https, or to this machine.
func checkURL(raw string, token bool) (*url.URL, error) {
	u, err := outgoing.CheckURL(raw, true)
	switch {
	case raw == "":
		return nil, bad("url", "is missing").WithHint("what comes before groups2hosts/GROUP, such as https://conductor.example.com/api")
	case err != nil:
		return nil, bad("url", "is not usable: %v", err).WithHint("an http or https URL; a token goes into a file, which token_file names")
	case u.RawQuery != "":
		return nil, bad("url", "%s has a query", restart.Quote(raw))
	case token && u.Scheme != "https" && !outgoing.Local(u):
		return nil, bad("token_file", "would be sent in clear to %s", u.Host).WithHint("use an https URL")
	}
	return u, nil
}
