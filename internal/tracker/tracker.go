package tracker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	lookTimeout = 3 * time.Second  // of one look at a ticket
	tellTimeout = 10 * time.Second // of one request of Tell
	keepAnswer  = time.Minute
	keepTrouble = 15 * time.Second // so that not everybody waits for a tracker that is down
	mostKept    = 1000
	mostLooked  = 3 // keys of one reason
)

// issue is what a tracker says of a ticket, before it is cleaned.
type issue struct {
	title  string
	status string // the tracker's word
	closed bool   // as the tracker itself has it
}

// draft is a ticket to be opened.
type draft struct {
	project, title, text, kind string
	tag                        string // our mark in a form that every tracker takes as a tag
}

// api is one kind of tracker's own. since bounds how far back is looked.
type api interface {
	issue(ctx context.Context, k key) (issue, error)
	commented(ctx context.Context, k key, mark string, since time.Time) (bool, error)
	comment(ctx context.Context, k key, text string) error
	opened(ctx context.Context, d draft, mark string, since time.Time) (key string, err error)
	create(ctx context.Context, d draft) (key string, err error)
	whoami(ctx context.Context) error
}

// kind is one row of the table.
type kind struct {
	url   string // of the public service; "" = there is none
	web   func(url string) string
	page  string // of a ticket, behind web, with %s for the project and %d for the number
	shape shape
	sign  func(c Config) func(h http.Header, token string)
	open  func(c *caller, cfg Config) api
	quote func(text string) string // makes a text plain in its markup
	late  time.Duration            // for how long its search may lack a new ticket; 0 = it never does
}

// kinds is the table of the kinds of trackers.
var kinds = map[string]kind{
	startrekKind: startrekTracker,
	jiraKind:     jiraTracker,
	githubKind:   githubTracker,
	gitlabKind:   gitlabTracker,
}

// Tracker is one of them.
type Tracker struct {
	cfg    Config // filled
	shape  shape
	wanted projects
	host   string
	api    api
	now    func() time.Time

	mu     sync.Mutex
	unsure map[string]time.Time // by message: since when its ticket may be there unseen; zero = it is not there
}

// Trackers are all that the settings name. They are safe for concurrent use.
type Trackers struct {
	all     []*Tracker
	options Options

	mu   sync.Mutex
	seen map[string]kept // by tracker and key
}

type kept struct {
	ticket restart.Ticket
	until  time.Time
}

// Each gives the trackers.
func (t *Trackers) Each() []*Tracker { return t.all }

// Names lists them as the settings call them.
func (t *Trackers) Names() []string {
	out := make([]string, 0, len(t.all))
	for _, x := range t.all {
		out = append(out, x.cfg.Name)
	}
	return out
}

// Look tells of the ticket that a request is for: the one whose key was given,
// else the first that the reason names; nil = none. A key that was given and is
// of no tracker is an error (CodeInvalid).
func (t *Trackers) Look(ctx context.Context, given, reason string) (*restart.Ticket, error) {
	if given != "" {
		for _, x := range t.all {
			if k, ok := x.whole(given); ok {
				ticket := t.look(ctx, x, k)
				return &ticket, nil
			}
		}
		return nil, restart.Errorf(restart.CodeInvalid, "ticket %s is of none of the trackers here", restart.Quote(given)).WithHint("such as %s", t.forms())
	}
	var missing *restart.Ticket
	looked := 0
	for _, x := range t.all {
		for _, k := range x.shape.within(x.withoutAddress(reason)) {
			has, named := x.wanted.has(k.project)
			if !has {
				continue
			}
			if looked++; looked > mostLooked {
				return missing, nil
			}
			switch ticket := t.look(ctx, x, k); {
			case ticket.State == restart.TicketOpen, ticket.State == restart.TicketClosed, named && ticket.State == restart.TicketUnchecked:
				return &ticket, nil
			case named && missing == nil:
				missing = &ticket
			}
		}
	}
	return missing, nil
}

// forms shows how keys are written here.
func (t *Trackers) forms() string {
	var out []string
	for _, x := range t.all {
		project := projectOf(x.shape)
		if len(x.wanted.names) > 0 {
			project = x.wanted.names[0]
		}
		out = append(out, x.shape.String(key{project, 17}))
	}
	return strings.Join(out, " or ")
}

// Of gives the tracker of a ticket's key; nil = none.
func (t *Trackers) Of(ticket string) *Tracker {
	for _, x := range t.all {
		if _, ok := x.whole(ticket); ok {
			return x
		}
	}
	return nil
}

// Try asks each tracker who we are, and gives all that is wrong.
func (t *Trackers) Try(ctx context.Context) []error {
	var wrong []error
	for _, x := range t.all {
		ctx, cancel := context.WithTimeout(ctx, tellTimeout)
		if err := x.api.whoami(ctx); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", x, err))
		}
		cancel()
	}
	return wrong
}

// look asks a tracker, or tells what it has said within the last minute.
func (t *Trackers) look(ctx context.Context, x *Tracker, k key) restart.Ticket {
	name := x.cfg.Name + " " + x.shape.String(k)
	now := t.options.Now()
	t.mu.Lock()
	before, ok := t.seen[name]
	t.mu.Unlock()
	if ok && now.Before(before.until) {
		return before.ticket
	}
	limited, cancel := context.WithTimeout(ctx, t.options.Timeout)
	defer cancel()
	ticket := x.look(limited, k)
	if ctx.Err() != nil {
		return ticket // who asked has left: that says nothing of the tracker
	}
	t.options.Observe(x.cfg.Name, ticket.State)
	keep := keepAnswer
	if ticket.State == restart.TicketUnchecked {
		keep = keepTrouble
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.seen) >= mostKept {
		clear(t.seen)
	}
	t.seen[name] = kept{ticket, now.Add(keep)}
	return ticket
}

func (x *Tracker) look(ctx context.Context, k key) restart.Ticket {
	out := restart.Ticket{Key: x.shape.String(k), URL: x.page(k), Tracker: x.String(), CheckedAt: x.now().UTC().Truncate(time.Second)}
	found, err := x.api.issue(ctx, k)
	switch {
	case errors.Is(err, errMissing):
		out.State = restart.TicketMissing
	case err != nil:
		out.State, out.Why, out.Strict = restart.TicketUnchecked, clean(err.Error(), mostTitle), x.cfg.WhenDown == strict
	default:
		out.Title, out.Status, out.State = clean(found.title, mostTitle), clean(found.status, mostWord), restart.TicketOpen
		if x.closed(found) {
			out.State = restart.TicketClosed
		}
	}
	return out
}

// closed tells whether a ticket is, by the words of the settings or else by the
// tracker's own.
func (x *Tracker) closed(i issue) bool {
	if len(x.cfg.OpenStates) == 0 {
		return i.closed
	}
	for _, word := range x.cfg.OpenStates {
		if strings.EqualFold(word, i.status) {
			return false
		}
	}
	return true
}

// whole reads a key that somebody has given, or the address of a ticket's page.
func (x *Tracker) whole(text string) (key, bool) {
	text = strings.TrimSpace(strings.TrimPrefix(x.withoutAddress(text), " "))
	if x.shape == dashed {
		text = strings.TrimPrefix(text, "browse/") // of Jira's pages
	}
	k, ok := x.shape.whole(text, x.wanted.only())
	if !ok {
		return k, false
	}
	has, _ := x.wanted.has(k.project)
	return k, has
}

// withoutAddress leaves out of a text what every link to the tracker begins with.
func (x *Tracker) withoutAddress(text string) string {
	return strings.ReplaceAll(text, x.cfg.Web+"/", " ")
}

// page is the address of a ticket for people.
func (x *Tracker) page(k key) string {
	return x.cfg.Web + fmt.Sprintf(kinds[x.cfg.Kind].page, k.project, k.number)
}

// Name keys the tracker's messages in the store.
func (x *Tracker) Name() string { return "ticket:" + x.cfg.Name }

// String names the tracker for people.
func (x *Tracker) String() string { return x.cfg.Kind + " at " + x.host }

// Recurrences are the rules by which tickets are opened in the tracker.
func (x *Tracker) Recurrences() []Recurrence { return x.cfg.Recurrence }

// Fits tells whether the rule is about a service in an environment.
func (r Recurrence) Fits(service, environment string) bool {
	return restart.Fits(r.Services, service) && restart.Fits(r.Environments, environment)
}
