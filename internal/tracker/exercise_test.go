package tracker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// foreign is a tracker of some kind, and what is in it.
type foreign interface {
	config(tokenFile string) tracker.Config
	token() string
	gate() *trouble.Gate
	key(number int) string
	status(closed bool) string // the tracker's word
	add(number int, title string, closed bool)
	said(number int, times int) // comments of people
	comments(number int) []string
	opened() []ticket // by us, with title and text
}

type ticket struct{ key, title, text string }

// bench is a tracker that is open, with one open and one closed ticket: 17 and 18.
type bench struct {
	t *testing.T
	foreign
	cfg tracker.Config
	now time.Time
	all *tracker.Trackers

	answers map[restart.TicketState]int // as its trackers have told
}

func newBench(t *testing.T, f foreign, change ...func(*tracker.Config)) *bench {
	t.Helper()
	b := &bench{t: t, foreign: f, now: time.Now(), answers: map[restart.TicketState]int{}}
	file := filepath.Join(t.TempDir(), "token")
	b.must(os.WriteFile(file, []byte(f.token()+"\n"), 0o600))
	b.cfg = f.config(file)
	for _, c := range change {
		c(&b.cfg)
	}
	b.add(17, "Workers hang <b>at</b> noon\n\x1b[2J\u202e", false)
	b.add(18, strings.Repeat("длинный ", 100), true)
	var err error
	b.all, err = tracker.Settings{b.cfg}.Open(tracker.Options{
		Now: func() time.Time { return b.now }, Timeout: time.Minute,
		Observe: func(name string, state restart.TicketState) {
			if want := b.all.Names(); len(want) != 1 || name != want[0] {
				t.Errorf("told of %q, not of %q", name, want)
			}
			b.answers[state]++
		},
	})
	b.must(err)
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) look(given, reason string) restart.Ticket {
	b.t.Helper()
	got, err := b.all.Look(b.t.Context(), given, reason)
	b.must(err)
	if got == nil {
		return restart.Ticket{}
	}
	return *got
}

// ended is the end of a run for a ticket.
func (b *bench) ended(number int) wire.Notification {
	at := time.Now()
	return wire.Notification{
		ID: restart.NewID(at), Event: wire.EventRunFailed, At: at, Run: restart.NewID(at), URL: "https://r.example.com/runs/1", Service: "shop", Environment: "production", Kind: restart.KindRestart,
		Actor: "anna", Reason: "/close @all #12 `` {noformat} [x](javascript:1) workers hang", Ticket: b.key(number), HostCount: 2, State: restart.RunFailed,
		Explanation: "1 host is not well, 0 allowed", StartedAt: &at, FinishedAt: &at, Tasks: map[restart.TaskState]int{restart.TaskFailed: 1, restart.TaskNotStarted: 1}, Trouble: []string{"web1"},
	}
}

func (b *bench) tell(n wire.Notification) error {
	return b.all.Of(n.Ticket).Tell(b.t.Context(), n.ID, 1, n, nil)
}

// Exercise is what every kind of tracker has to do.
func Exercise(t *testing.T, fresh func(t *testing.T) foreign) {
	t.Run("a ticket is found, by its key or in a reason", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		for _, got := range []restart.Ticket{b.look(b.key(17), ""), b.look("", "502s since noon, see "+b.key(17)+".")} {
			if got.Key != b.key(17) || got.State != restart.TicketOpen || got.Status != b.status(false) || !strings.HasPrefix(got.URL, b.cfg.Web) || got.CheckedAt.IsZero() {
				t.Errorf("%+v", got)
			}
			if !strings.HasPrefix(got.Title, "Workers hang <b>at</b> noon ") || strings.ContainsAny(got.Title, "\n\x1b\u202e") {
				t.Errorf("title %q", got.Title)
			}
		}
		if got := b.look(b.key(18), ""); got.State != restart.TicketClosed || got.Status != b.status(true) || len([]rune(got.Title)) > 201 {
			t.Errorf("%+v", got)
		}
		if got := b.look(b.key(19), ""); got.State != restart.TicketMissing {
			t.Errorf("%+v", got)
		}
		if b.answers[restart.TicketOpen] != 1 || b.answers[restart.TicketClosed] != 1 || b.answers[restart.TicketMissing] != 1 {
			t.Errorf("told: %v", b.answers)
		}
		if got := b.look(b.look(b.key(17), "").URL, ""); got.Key != b.key(17) || got.State != restart.TicketOpen {
			t.Errorf("by its address: %+v", got)
		}
		if wrong := b.all.Try(t.Context()); len(wrong) != 0 {
			t.Errorf("%v", wrong)
		}
	})
	t.Run("which states are open can be said", func(t *testing.T) {
		t.Parallel()
		f := fresh(t)
		b := newBench(t, f, func(c *tracker.Config) { c.OpenStates = []string{strings.ToUpper(f.status(true))} })
		if open, closed := b.look(b.key(18), ""), b.look(b.key(17), ""); open.State != restart.TicketOpen || closed.State != restart.TicketClosed {
			t.Errorf("%+v %+v", open, closed)
		}
	})
	t.Run("an answer is good for a minute", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		for range 3 {
			b.look(b.key(17), "")
		}
		if n := b.gate().Seen(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		b.now = b.now.Add(time.Minute + time.Second)
		b.gate().Next(2, trouble.Down) // a line that was kept is tried once more
		if got := b.look(b.key(17), ""); got.State != restart.TicketUnchecked || got.Why == "" {
			t.Errorf("%+v", got)
		}
		b.gate().Next(0, nil)
		if got := b.look(b.key(17), ""); got.State != restart.TicketUnchecked {
			t.Error("a tracker that is down is asked again at once")
		}
		b.now = b.now.Add(16 * time.Second)
		if got := b.look(b.key(17), ""); got.State != restart.TicketOpen {
			t.Errorf("%+v", got)
		}
		b.now = b.now.Add(time.Hour)
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := b.all.Look(gone, b.key(17), ""); err != nil {
			t.Error(err)
		}
		if b.answers[restart.TicketOpen] != 2 || b.answers[restart.TicketUnchecked] != 1 { // what was kept, and who left, say nothing of the tracker
			t.Errorf("told: %v", b.answers)
		}
	})
	t.Run("whatever goes wrong is told in a sentence, and never with the token", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t), func(c *tracker.Config) { c.WhenDown = "strict" })
		for want, way := range map[string]trouble.Way{
			"it does not accept the server's token (401)":                                  trouble.Status(http.StatusUnauthorized),
			"it does not let the server's token do that (403)":                             trouble.Status(http.StatusForbidden),
			"it was asked too often (429)":                                                 trouble.Busy(time.Minute),
			"it answers 502 Bad Gateway":                                                   trouble.Status(http.StatusBadGateway),
			"it sends elsewhere (307): is its address in the configuration right?":         trouble.Redirect("http://127.0.0.1:1"),
			"it answers with a page instead of data: is its address in the configuration ": trouble.Page,
			"it can't be reached: the connection broke off":                                trouble.Down,
			"its answer can't be read":                                                     answering("[1,"),
			"its answer is longer than 1 MiB":                                              answering(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`),
			"its answer is not about a ticket":                                             answering(`{}`),
		} {
			b.gate().Next(2, way)
			b.now = b.now.Add(time.Hour)
			got := b.look(b.key(17), "")
			b.gate().Next(0, nil)
			if got.State != restart.TicketUnchecked || !strings.HasPrefix(got.Why, want) || !got.Strict || strings.Contains(got.Why, b.token()) {
				t.Errorf("%s: %+v", want, got)
			}
		}
	})
	t.Run("where it is, nobody is told who asks about a ticket", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t), func(c *tracker.Config) { c.URL = "http://127.0.0.1:1" })
		if got := b.look(b.key(17), ""); got.Why != "it can't be reached: nothing listens there" {
			t.Errorf("%q", got.Why)
		}
	})
	t.Run("one that never answers is waited for a moment only", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		var err error
		b.all, err = tracker.Settings{b.cfg}.Open(tracker.Options{Timeout: 20 * time.Millisecond})
		b.must(err)
		b.gate().Next(1, trouble.Hang)
		if got := b.look(b.key(17), ""); got.State != restart.TicketUnchecked || got.Why != "it has not answered in time" || got.Strict {
			t.Errorf("%+v", got)
		}
	})
	t.Run("one comment at the end, also when the answer was lost", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		b.said(17, 130)
		n := b.ended(17)
		b.gate().Next(2, onPost(trouble.Lost))
		for range 4 { // the first try has done it, and does not know
			if err := b.tell(n); err == nil {
				break
			}
		}
		b.must(b.tell(n))
		got := b.comments(17)
		if len(got) != 131 {
			t.Fatalf("%d comments", len(got))
		}
		for _, want := range []string{"Restart of shop in production: failed", "Hosts: 2 (failed 1, not_started 1)", "web1", "1 host is not well, 0 allowed", "anna", "https://r.example.com/runs/1", "[restartilka " + n.Run + "]"} {
			if !strings.Contains(got[130], want) {
				t.Errorf("%q is not in\n%s", want, got[130])
			}
		}
		other := b.ended(17)
		b.must(b.tell(other))
		if got := b.comments(17); len(got) != 132 {
			t.Errorf("the comment of another run is not there: %d", len(got))
		}
	})
	t.Run("a reason is no markup, and no command", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		b.must(b.tell(b.ended(17)))
		text := b.comments(17)[0]
		reason := text[strings.Index(text, "Reason: ")+len("Reason: "):]
		fenced := strings.HasPrefix(reason, "``` /close ") && strings.Contains(reason, "hang ```\n") || strings.HasPrefix(reason, "{noformat}/close ") && strings.Count(text, "{ noformat}") == 1
		if !fenced {
			t.Errorf("%s", text)
		}
	})
	t.Run("a comment that is refused is an error", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		b.gate().Next(1, trouble.Busy(time.Second))
		if err := b.tell(b.ended(17)); err == nil {
			t.Error("429 is taken for an answer")
		}
		if err := b.tell(b.ended(19)); err == nil || len(b.comments(17)) != 0 {
			t.Errorf("a ticket that is not there: %v", err)
		}
	})
	t.Run("of what it is told, and of what not", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		x := b.all.Each()[0]
		for name, c := range map[string]struct {
			change func(*wire.Notification)
			want   bool
		}{
			"failed":       {func(*wire.Notification) {}, true},
			"finished":     {func(n *wire.Notification) { n.Event = wire.EventRunFinished }, true},
			"started":      {func(n *wire.Notification) { n.Event = wire.EventRunStarted }, false},
			"a rehearsal":  {func(n *wire.Notification) { n.Work = restart.WorkRehearse }, false},
			"no ticket":    {func(n *wire.Notification) { n.Ticket = "" }, false},
			"other's":      {func(n *wire.Notification) { n.Ticket = "OTHER-1" }, false},
			"other's path": {func(n *wire.Notification) { n.Ticket = "other/repo#1" }, false},
		} {
			n := b.ended(17)
			if c.change(&n); x.Wants(n) != c.want {
				t.Errorf("%s: %v", name, !c.want)
			}
		}
	})
	t.Run("one ticket about restarts, also when the answer was lost", func(t *testing.T) {
		t.Parallel()
		f := fresh(t)
		b := newBench(t, f, func(c *tracker.Config) {
			c.Recurrence = []tracker.Recurrence{{Services: []string{"x"}, Restarts: 9, Days: 9, Project: c.Projects[0]}, {Services: []string{"sh*"}, Restarts: 3, Days: 7, Project: c.Projects[0]}}
		})
		n := b.ended(17)
		n.Event, n.Ticket, n.Restarts, n.Days = wire.EventRecurrence, "", 3, 7
		var noted []string
		note := func(_ context.Context, message, key, url string) error {
			if noted = append(noted, message+" "+key+" "+url); len(noted) == 1 {
				return errors.New("the database is away")
			}
			return nil
		}
		x := b.all.Each()[0]
		b.gate().Next(2, onCreate(trouble.Lost))
		for attempt := range 5 {
			if err := x.Tell(t.Context(), n.ID, attempt+1, n, note); err == nil {
				break
			}
			b.now = b.now.Add(time.Minute)
		}
		got := b.opened()
		if len(got) != 1 || !strings.HasPrefix(got[0].title, "shop in production was restarted 3 times in 7 days") || !strings.Contains(got[0].text, "[restartilka "+n.ID+"]") || strings.Contains(got[0].title, "close") {
			t.Fatalf("%+v", got)
		}
		if len(noted) != 2 || !strings.HasPrefix(noted[1], n.ID+" "+got[0].key+" "+b.cfg.Web+"/") {
			t.Errorf("noted %q, %+v", noted, got)
		}
		again := n
		again.ID = restart.NewID(time.Now())
		b.must(x.Tell(t.Context(), again.ID, 1, again, note))
		if got := b.opened(); len(got) != 2 {
			t.Errorf("another message opens no ticket: %+v", got)
		}
	})
	t.Run("no text of a person gets into an address", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, fresh(t))
		project := b.cfg.Projects[0]
		for _, given := range []string{
			"../" + b.key(17), b.key(17) + "/../../myself", b.key(17) + "?x=1", b.key(17) + "%2f", b.key(17) + "\n", project, project + "/..", "..", "/", "#", "#0", "-1",
			strings.Replace(b.key(17), "17", "017", 1), strings.Replace(b.key(17), "17", "99999999999999999999", 1), "OTHER-17", "other/repo#17", project + "/../secret#17", "\x00",
		} {
			if got, err := b.all.Look(t.Context(), given, ""); restart.CodeOf(err) != restart.CodeInvalid {
				if got == nil || got.Key != b.key(17) || strings.TrimSpace(given) != b.key(17) {
					t.Errorf("%q: %+v, %v", given, got, err)
				}
			}
			b.look("", "see "+strings.ReplaceAll(given, b.key(17), "x")+" and so on")
		}
		if n := b.gate().Seen(); n > 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func answering(body string) trouble.Way {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	}
}

// onPost has only what changes something go wrong: of the requests that are
// counted, the first is the look for our mark.
func onPost(way trouble.Way) trouble.Way {
	return func(w http.ResponseWriter, r *http.Request, well http.Handler) {
		if r.Method == http.MethodPost {
			way(w, r, well)
			return
		}
		well.ServeHTTP(w, r)
	}
}

func onCreate(way trouble.Way) trouble.Way {
	return func(w http.ResponseWriter, r *http.Request, well http.Handler) {
		if r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "_search") {
			way(w, r, well)
			return
		}
		well.ServeHTTP(w, r)
	}
}
