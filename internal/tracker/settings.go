package tracker

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

// Settings are the trackers of a server, in the order in which a key is looked
// for: the list tickets of server.yaml.
type Settings []Config

// Config of one tracker.
type Config struct {
	Kind          string       `yaml:"kind"`           // startrek | jira | github | gitlab
	Name          string       `yaml:"name"`           // where there are several of a kind; "" = the kind
	URL           string       `yaml:"url"`            // of its API; "" = that of the public service, but for jira
	Web           string       `yaml:"web"`            // what links to tickets begin with; "" = follows from url
	TokenFile     string       `yaml:"token_file"`     // read for each request
	User          string       `yaml:"user"`           // of jira in the cloud: whose token it is
	Org           string       `yaml:"org"`            // of startrek: X-Org-ID
	CloudOrg      string       `yaml:"cloud_org"`      // of startrek: X-Cloud-Org-ID, instead
	CAFile        string       `yaml:"ca_file"`        // PEM certificates to believe; "" = the system's
	AllowNetworks []string     `yaml:"allow_networks"` // that are called although they are refused otherwise: see internal/outgoing
	Projects      []string     `yaml:"projects"`       // whose tickets are looked for: names or globs
	OpenStates    []string     `yaml:"open_states"`    // the tracker's own words; none = the tracker says which are closed
	WhenDown      string       `yaml:"when_down"`      // lenient (default): a warning | strict: no run for its tickets starts
	Comments      string       `yaml:"comments"`       // at-end (default) | none
	Language      string       `yaml:"language"`       // of comments and tickets: en (default) | ru
	Recurrence    []Recurrence `yaml:"recurrence"`     // when a ticket is opened
}

// Recurrence says when restarts of a service for one reason are worth a ticket,
// and where. The first that fits a service and environment counts.
type Recurrence struct {
	Services     []string `yaml:"services"`     // names or globs; none = all
	Environments []string `yaml:"environments"` // names or globs; none = all
	Restarts     int      `yaml:"restarts"`     // so many, 2 to 100
	Days         int      `yaml:"days"`         // within so many days, 1 to 28
	Project      string   `yaml:"project"`      // where the ticket is opened
	Type         string   `yaml:"type"`         // of the ticket; "" = the tracker's default, or Task in jira
}

// The values of Config.WhenDown, Comments and Language.
const (
	lenient = "lenient"
	strict  = "strict"
	atEnd   = "at-end"
	none    = "none"
	english = "en"
	russian = "ru"
)

const (
	mostTrackers = 20
	mostRules    = 50
)

// Files are the paths that the settings name.
func (s Settings) Files() []*string {
	var out []*string
	for i := range s {
		out = append(out, &s[i].TokenFile, &s[i].CAFile)
	}
	return out
}

// Options of all trackers. Now and Timeout are for tests.
type Options struct {
	Observe func(tracker string, state restart.TicketState) // is told, by its name, what a tracker has said of a ticket; nil = nobody is
	Now     func() time.Time
	Timeout time.Duration // of a look; 0 = 3 s
}

// Open gives the trackers of the settings; nothing is connected to. Errors are
// CodeInvalid, and begin with the key.
func (s Settings) Open(o Options) (*Trackers, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = lookTimeout
	}
	if o.Observe == nil {
		o.Observe = func(string, restart.TicketState) {}
	}
	out := &Trackers{options: o, seen: map[string]kept{}}
	if len(s) > mostTrackers {
		return nil, restart.Errorf(restart.CodeInvalid, "tickets has %d trackers: more than %d", len(s), mostTrackers)
	}
	for i, c := range s {
		where := fmt.Sprintf("tickets, number %d", i+1)
		t, err := c.open(where, o)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out.all, func(x *Tracker) bool { return x.cfg.Name == t.cfg.Name }) {
			return nil, restart.Errorf(restart.CodeInvalid, "%s: there is a tracker of the name %s already", where, restart.Quote(t.cfg.Name)).WithHint("give it another with name:")
		}
		out.all = append(out.all, t)
	}
	return out, nil
}

func (c Config) open(where string, o Options) (*Tracker, error) {
	k, ok := kinds[c.Kind]
	if !ok {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.kind: there is no kind %s", where, restart.Quote(c.Kind)).WithHint("one of: startrek, jira, github, gitlab")
	}
	c, err := c.filled(where, k)
	if err != nil {
		return nil, err
	}
	wanted, wrong := projectsOf(k.shape, c.Projects)
	switch {
	case wrong != "":
		return nil, restart.Errorf(restart.CodeInvalid, "%s.projects: %s is no project of a tracker whose tickets are called as %s", where, restart.Quote(wrong), k.shape)
	case len(c.Projects) == 0:
		return nil, restart.Errorf(restart.CodeInvalid, "%s.projects is empty: no ticket would be looked for there", where).WithHint("the part before the number, such as %s", projectOf(k.shape))
	}
	if err := c.checkRules(where, k.shape); err != nil {
		return nil, err
	}
	u, err := outgoing.CheckURL(c.URL, false)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.url is not usable: %v", where, err).WithHint("such as https://tracker.example.com")
	}
	if w, err := url.Parse(c.Web); err != nil || w.Scheme != "https" && w.Scheme != "http" || w.Host == "" || w.User != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.web is not the address of a page", where).WithHint("such as https://tracker.example.com")
	}
	networks, err := outgoing.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.allow_networks: %v", where, err)
	}
	client, err := outgoing.New(outgoing.Config{URL: u, CAFile: c.CAFile, Timeout: tellTimeout, Networks: networks, AtOnce: 4})
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s.ca_file: %v", where, err)
	}
	calls := &caller{base: strings.TrimRight(c.URL, "/"), tokenFile: c.TokenFile, http: client, sign: k.sign(c)}
	return &Tracker{cfg: c, shape: k.shape, wanted: wanted, host: u.Host, api: k.open(calls, c), now: o.Now}, nil
}

// filled fills in the defaults, and refuses what is no choice.
func (c Config) filled(where string, k kind) (Config, error) {
	or := func(s *string, otherwise string) {
		if *s == "" {
			*s = otherwise
		}
	}
	or(&c.Name, c.Kind)
	or(&c.URL, k.url)
	if c.Web == "" {
		c.Web = k.web(c.URL)
	}
	c.Web = strings.TrimRight(c.Web, "/")
	or(&c.WhenDown, lenient)
	or(&c.Comments, atEnd)
	or(&c.Language, english)
	for _, choice := range []struct {
		key, value string
		of         []string
	}{{"when_down", c.WhenDown, []string{lenient, strict}}, {"comments", c.Comments, []string{atEnd, none}}, {"language", c.Language, []string{english, russian}}} {
		if !slices.Contains(choice.of, choice.value) {
			return c, restart.Errorf(restart.CodeInvalid, "%s.%s: %s is neither %s", where, choice.key, restart.Quote(choice.value), strings.Join(choice.of, " nor "))
		}
	}
	switch {
	case restart.CheckServiceName(c.Name) != nil:
		return c, restart.Errorf(restart.CodeInvalid, "%s.name: %s is not a name", where, restart.Quote(c.Name)).WithHint("1 to 64 characters of a-z 0-9 @ . _ -")
	case c.URL == "":
		return c, restart.Errorf(restart.CodeInvalid, "%s.url is not given", where).WithHint("such as https://jira.example.com")
	case c.TokenFile == "":
		return c, restart.Errorf(restart.CodeInvalid, "%s.token_file is not given", where).WithHint("a file with the token alone, mode 600")
	case c.Kind == startrekKind && (c.Org == "") == (c.CloudOrg == ""):
		return c, restart.Errorf(restart.CodeInvalid, "%s: give either org or cloud_org, the id of the organisation", where)
	case c.Kind != startrekKind && c.Org+c.CloudOrg != "":
		return c, restart.Errorf(restart.CodeInvalid, "%s: org and cloud_org are of startrek alone", where)
	case c.Kind != jiraKind && c.User != "":
		return c, restart.Errorf(restart.CodeInvalid, "%s: user is of jira alone", where)
	case strings.ContainsFunc(c.Org+c.CloudOrg+c.User, func(r rune) bool { return r <= ' ' || r > '~' }):
		return c, restart.Errorf(restart.CodeInvalid, "%s: org, cloud_org and user are of plain characters, without spaces", where)
	}
	if _, err := secret.ReadWord(c.TokenFile, maxToken); err != nil {
		return c, restart.Errorf(restart.CodeInvalid, "%s.token_file: %v", where, err)
	}
	return c, nil
}

func projectOf(s shape) string {
	if s == slashed {
		return "acme/shop"
	}
	return "WEB"
}

func (c Config) checkRules(where string, s shape) error {
	if len(c.Recurrence) > mostRules {
		return restart.Errorf(restart.CodeInvalid, "%s.recurrence has %d entries: more than %d", where, len(c.Recurrence), mostRules)
	}
	for i, r := range c.Recurrence {
		here := fmt.Sprintf("%s.recurrence, number %d", where, i+1)
		switch {
		case r.Restarts < 2 || r.Restarts > 100:
			return restart.Errorf(restart.CodeInvalid, "%s.restarts: %d is not from 2 to 100", here, r.Restarts)
		case r.Days < 1 || r.Days > 28:
			return restart.Errorf(restart.CodeInvalid, "%s.days: %d is not from 1 to 28", here, r.Days)
		case !s.valid(r.Project):
			return restart.Errorf(restart.CodeInvalid, "%s.project: %s is no project", here, restart.Quote(r.Project)).WithHint("such as %s", projectOf(s))
		case len(r.Type) > mostWord || restart.Escape(r.Type) != r.Type:
			return restart.Errorf(restart.CodeInvalid, "%s.type: %s is no type of a ticket", here, restart.Quote(r.Type))
		}
		for _, glob := range slices.Concat(r.Services, r.Environments) {
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				return restart.Errorf(restart.CodeInvalid, "%s: %s is not a name, nor a glob", here, restart.Quote(glob))
			}
		}
	}
	return nil
}
