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
// is the `inventory:` section of server.yaml, and each source of kind merged. A
// key that the chosen kind does not use is an error; the table of kinds says
// which those are.
type Config struct {
	Kind string `yaml:"kind"` // see kinds

	Path    string   `yaml:"path"`    // yaml: the file; ansible, json: a file with the JSON
	Files   []string `yaml:"files"`   // prometheus: files of targets; * in the last part of a path means any
	Command []string `yaml:"command"` // ansible, json: instead of path, the program and its arguments; no shell
	Dir     string   `yaml:"dir"`     // the command's working directory; "" is /

	URL           string   `yaml:"url"`            // conductor, consul, inventoree: what comes before their paths; prometheus, json: the address itself
	TokenFile     string   `yaml:"token_file"`     // a file with one line, the token
	TokenScheme   string   `yaml:"token_scheme"`   // word before the token in Authorization; "" is Bearer
	TokenHeader   string   `yaml:"token_header"`   // json: a header for the token alone, instead of Authorization
	CAFile        string   `yaml:"ca_file"`        // PEM certificates to trust; "" is the system's
	AllowNetworks []string `yaml:"allow_networks"` // networks that are asked although they are refused otherwise: see internal/outgoing
	Format        string   `yaml:"format"`         // conductor: json (default) | text, what is asked for
	GroupNames    []string `yaml:"group_names"`    // templates such as "#project#_#service#-#environment#"
	Environments  []string `yaml:"environments"`   // conductor: what #environment# may be; consul, inventoree: the tags that name an environment
	Tags          bool     `yaml:"tags"`           // conductor: ask for the tags of each host too, one request a host
	Packages      bool     `yaml:"packages"`       // conductor: ask for the packages of each host too, one request a host
	ServicesFile  string   `yaml:"services_file"`  // describes services, and what groups mean

	Labels      Labels   `yaml:"labels"`       // prometheus, consul, inventoree: where a source says what is needed
	Domain      string   `yaml:"domain"`       // prometheus, consul, inventoree, json: added to host names without a dot
	Datacentres []string `yaml:"data_centres"` // consul: those that are asked; none is all
	WorkGroups  []string `yaml:"work_groups"`  // inventoree: those that are asked for; none is all
	Mapping     *Mapping `yaml:"mapping"`      // json: where things are in the document

	Name       string   `yaml:"name"`        // of a source of merged
	Optional   bool     `yaml:"optional"`    // of a source of merged: the others are used without it
	Sources    []Config `yaml:"sources"`     // merged: what counts most comes first
	JoinGroups bool     `yaml:"join_groups"` // merged: a group that several sources have gets the hosts of all

	Timeout  time.Duration `yaml:"timeout"`   // of one request or command; 0 is 10 s for requests, 1 min for commands; at most 10 min
	CacheDir string        `yaml:"cache_dir"` // keeps the last answer over a restart of the server; "" is memory only
	CacheFor time.Duration `yaml:"cache_for"` // how old an answer may be before it is asked for again; 0 is 5 min
	StaleFor time.Duration `yaml:"stale_for"` // how old an answer may be and still be served, marked stale, when the source fails; 0 is never, for local files 7 days

	Logger *slog.Logger     `yaml:"-"` // nil discards
	Now    func() time.Time `yaml:"-"` // nil is time.Now

	shared bool // the services file is that of several sources: what one lacks, another may have
}

// Labels name the labels, or whatever a source calls them, that say what is
// needed of a host. "" is the default, which is the key's own name.
type Labels struct {
	Host        string   `yaml:"host"`        // the host's name; default: what the source calls the host
	Address     string   `yaml:"address"`     // where its agent is called
	Service     string   `yaml:"service"`     // services: one, or several between commas
	Environment string   `yaml:"environment"` //
	Project     string   `yaml:"project"`     //
	Group       string   `yaml:"group"`       // groups: one, or several between commas
	DataCentre  string   `yaml:"data_centre"` //
	Tags        []string `yaml:"tags"`        // labels that become tags: of NAME its words, of NAME= the tag NAME=VALUE
}

const (
	webKeys = " url token_file token_scheme ca_file allow_networks timeout"
	oldKeys = " cache_dir cache_for stale_for"
)

// kinds lists the sources there are: how each is made, which keys of Config
// are its own, and whether its answer grows old (a local file does not: it is
// read again when it changes).
func kinds() map[string]kind {
	return map[string]kind{
		"yaml":       {make: newYAML, keys: "path stale_for"},
		"ansible":    {make: newAnsible, keys: "path command dir services_file timeout" + oldKeys},
		"conductor":  {make: newConductor, keys: "format group_names environments tags packages services_file" + webKeys + oldKeys, ages: true},
		"consul":     {make: newConsul, keys: "data_centres environments labels group_names domain services_file url token_file ca_file allow_networks timeout" + oldKeys, ages: true},
		"inventoree": {make: newInventoree, keys: "work_groups environments labels group_names domain services_file" + webKeys + oldKeys, ages: true},
		"json":       {make: newJSON, keys: "path command dir token_header mapping group_names domain services_file" + webKeys + oldKeys},
		"merged":     {make: newMerged, keys: "sources join_groups services_file", ages: true},
		"prometheus": {make: newPrometheus, keys: "files labels group_names domain services_file" + webKeys + oldKeys},
	}
}

type kind struct {
	make func(Config) (Source, error)
	keys string
	ages bool
}

// Kinds lists the values of Config.Kind.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }

// fileStale is how long the last good state of a local file that was broken or
// taken away is used.
const fileStale = 7 * 24 * time.Hour

// check refuses what can't work and fills in the defaults. The errors name the
// key, as it stands in server.yaml.
func (c Config) check() (Config, error) {
	k, ok := kinds()[c.Kind]
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
	paths := [][2]string{{"path", c.Path}, {"dir", c.Dir}, {"services_file", c.ServicesFile}, {"token_file", c.TokenFile}, {"ca_file", c.CAFile}, {"cache_dir", c.CacheDir}}
	for _, f := range c.Files {
		paths = append(paths, [2]string{"files", f})
	}
	for _, p := range paths {
		if p[1] != "" && !filepath.IsAbs(p[1]) && !secret.Named(p[1]) {
			return c, bad(p[0], "%s is not an absolute path", restart.Quote(p[1]))
		}
	}
	if err := c.checkDomain(); err != nil {
		return c, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c.checkAges()
}

func (c Config) checkAges() (Config, error) {
	switch {
	case c.Kind == "merged": // each source has its own
		c.CacheFor = retryAfter
	case c.ages():
		if c.CacheFor == 0 {
			c.CacheFor = 5 * time.Minute
		}
		if c.StaleFor > 0 && c.StaleFor < c.CacheFor {
			return c, bad("stale_for", "is shorter than cache_for (%s), so it would never be used", c.CacheFor)
		}
	case c.CacheFor != 0 || c.CacheDir != "":
		return c, bad("path", "is a local file: it is read again when it changes").WithHint("leave out cache_dir and cache_for")
	case c.StaleFor == 0:
		c.StaleFor = fileStale
	}
	return c, nil
}

func (c Config) checkDomain() error {
	if c.Domain == "" {
		return nil
	}
	if err := restart.CheckHost(c.Domain); err != nil {
		return bad("domain", "%s is not a valid name", restart.Quote(c.Domain)).WithHint("what follows the first dot of a host's full name: example.com")
	}
	return nil
}

// ages tells whether answers expire with time, not only with a changed file.
func (c Config) ages() bool { return kinds()[c.Kind].ages || len(c.Command) > 0 || c.URL != "" }

// set lists the keys that are given.
func (c Config) set() []string {
	var out []string
	for _, k := range []struct {
		key   string
		given bool
	}{
		{"path", c.Path != ""}, {"files", len(c.Files) > 0}, {"command", len(c.Command) > 0}, {"dir", c.Dir != ""}, {"url", c.URL != ""},
		{"token_file", c.TokenFile != ""}, {"token_scheme", c.TokenScheme != ""}, {"token_header", c.TokenHeader != ""}, {"ca_file", c.CAFile != ""},
		{"allow_networks", len(c.AllowNetworks) > 0}, {"format", c.Format != ""},
		{"group_names", len(c.GroupNames) > 0}, {"environments", len(c.Environments) > 0}, {"tags", c.Tags}, {"packages", c.Packages},
		{"labels", c.Labels.given()}, {"domain", c.Domain != ""}, {"data_centres", len(c.Datacentres) > 0}, {"work_groups", len(c.WorkGroups) > 0}, {"mapping", c.Mapping != nil},
		{"sources", len(c.Sources) > 0}, {"join_groups", c.JoinGroups},
		{"services_file", c.ServicesFile != ""}, {"timeout", c.Timeout != 0}, {"cache_dir", c.CacheDir != ""},
		{"cache_for", c.CacheFor != 0}, {"stale_for", c.StaleFor != 0},
	} {
		if k.given {
			out = append(out, k.key)
		}
	}
	return out
}

func (l Labels) given() bool {
	return len(l.Tags) > 0 || l.Host+l.Address+l.Service+l.Environment+l.Project+l.Group+l.DataCentre != ""
}

// filled has the defaults.
func (l Labels) filled() Labels {
	for _, x := range []struct {
		key *string
		own string
	}{{&l.Service, "service"}, {&l.Environment, "environment"}, {&l.Project, "project"}, {&l.Group, "group"}, {&l.DataCentre, "data_centre"}} {
		if *x.key == "" {
			*x.key = x.own
		}
	}
	return l
}

// FilePaths are the files and patterns of files that the configuration names,
// those of its sources included, to be resolved and kept.
func (c *Config) FilePaths() []*string {
	out := []*string{&c.Path, &c.ServicesFile, &c.TokenFile, &c.CAFile}
	for i := range c.Files {
		out = append(out, &c.Files[i])
	}
	for i := range c.Sources {
		out = append(out, c.Sources[i].FilePaths()...)
	}
	return out
}

// CachePaths are the folders in which answers are kept for a while.
func (c *Config) CachePaths() []*string {
	out := []*string{&c.CacheDir}
	for i := range c.Sources {
		out = append(out, c.Sources[i].CachePaths()...)
	}
	return out
}

// Redacted is the configuration for people to look at: the query of an address
// may hold a secret.
func (c Config) Redacted() Config {
	if strings.Contains(c.URL, "?") {
		c.URL = withoutQuery(c.URL) + "?…"
	}
	c.Sources = slices.Clone(c.Sources)
	for i := range c.Sources {
		c.Sources[i] = c.Sources[i].Redacted()
	}
	return c
}

// bad is an error about one key of the configuration.
func bad(key, format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "inventory.%s "+format, append([]any{key}, args...)...)
}

// checkURL accepts an absolute http or https URL without credentials or
// fragment, and without a query where paths are put behind it. A secret is only
// ever sent over https, or to this machine.
func checkURL(raw string, token, query bool) (*url.URL, error) {
	u, err := outgoing.CheckURL(raw, true)
	switch {
	case raw == "":
		return nil, bad("url", "is missing").WithHint("an http or https URL, such as https://conductor.example.com/api")
	case err != nil:
		return nil, bad("url", "is not usable: %v", err).WithHint("an http or https URL; a token goes into a file, which token_file names")
	case u.RawQuery != "" && !query:
		return nil, bad("url", "%s has a query", restart.Quote(raw))
	case token && u.Scheme != "https" && !outgoing.Local(u):
		return nil, bad("token_file", "would be sent in clear to %s", u.Host).WithHint("use an https URL")
	}
	return u, nil
}

// checkEnvironments checks the key environments.
func checkEnvironments(list []string) error {
	for _, e := range list {
		if err := restart.CheckEnvironment(e); err != nil {
			return bad("environments", "holds a wrong name: %s", message(err)).WithHint("%s", hint(err))
		}
	}
	return nil
}
