package notify_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/juggler"
)

// everyEvent has a row for each event there is: what a receiver of each kind has
// got after it. Where a row says nothing of a kind, that has got one message.
var everyEvent = map[string]struct {
	juggler string // the status of its check event
	tracker string // what it writes
	change  func(n *wire.Notification)
}{
	wire.EventRunStarted:        {juggler: notify.CheckOK},
	wire.EventRunPaused:         {juggler: notify.CheckWarn},
	wire.EventRunResumed:        {juggler: notify.CheckOK},
	wire.EventRunFinished:       {juggler: notify.CheckOK, tracker: "a comment"},
	wire.EventRunFailed:         {juggler: notify.CheckCrit, tracker: "a comment"},
	wire.EventApprovalRequested: {juggler: notify.CheckWarn},
	wire.EventApprovalDecided:   {juggler: notify.CheckOK, change: func(n *wire.Notification) { n.Verdict = restart.ApprovalGiven }},
	wire.EventBreakGlass:        {juggler: notify.CheckWarn},
	wire.EventScenarioExpires:   {juggler: notify.CheckWarn},
	wire.EventRecurrence:        {tracker: "a ticket", change: func(n *wire.Notification) { n.Restarts, n.Days = 2, 7 }},
	wire.EventDigest:            {change: func(n *wire.Notification) { n.Run, n.Week = "", &wire.Week{From: n.At, Until: n.At, Runs: 1} }},
	wire.EventTest:              {juggler: notify.CheckOK, change: func(n *wire.Notification) { n.Run = "" }},
	wire.EventRunScheduled:      {},
	wire.EventScheduleMissed:    {juggler: notify.CheckWarn},
	wire.EventScheduleCancelled: {},
}

// everyKind opens a receiver of each kind there is, by its key in the settings,
// with what it has got since the last look.
var everyKind = map[string]func(t *testing.T) (notify.Receivers, func() []string){
	"webhooks": func(t *testing.T) (notify.Receivers, func() []string) { return heard(t, newHook(t, false)) },
	"mail": func(t *testing.T) (notify.Receivers, func() []string) {
		o := newOffice(t, false)
		to, err := o.mail(func(m *notify.Mail) { m.To = []string{"ops@example.com"} }).Open()
		if err != nil {
			t.Fatal(err)
		}
		return to, counted(o.taken)
	},
	"slack":      func(t *testing.T) (notify.Receivers, func() []string) { return heard(t, slackRoom(t)) },
	"mattermost": func(t *testing.T) (notify.Receivers, func() []string) { return heard(t, mattermostRoom(t)) },
	"telegram":   func(t *testing.T) (notify.Receivers, func() []string) { return heard(t, telegramRoom(t)) },
	"grafana":    func(t *testing.T) (notify.Receivers, func() []string) { return heard(t, newBoard(t)) },
	"juggler": func(t *testing.T) (notify.Receivers, func() []string) {
		j := &checks{juggler.Start(t)}
		to, _ := heard(t, j)
		return to, fresh(func() (out []string) {
			for _, e := range j.Events("restartilka-run") {
				out = append(out, e.Status)
			}
			return out
		})
	},
	"trackers": func(t *testing.T) (notify.Receivers, func() []string) {
		s, to, _ := openJira(t)
		return to, fresh(func() []string {
			all := s.Issues()
			return append(slices.Repeat([]string{"a ticket"}, len(all)-1), slices.Repeat([]string{"a comment"}, len(all[0].Comments))...)
		})
	},
}

func heard(t *testing.T, r receiver) (notify.Receivers, func() []string) {
	t.Helper()
	to, err := r.settings().Open()
	if err != nil {
		t.Fatal(err)
	}
	return to, counted(r.taken)
}

// counted tells of each message, whatever it says, that there is one.
func counted(taken func() []string) func() []string {
	return fresh(func() []string { return slices.Repeat([]string{"a message"}, len(taken())) })
}

// fresh leaves out what was told before.
func fresh(all func() []string) func() []string {
	before := map[string]int{}
	return func() (out []string) {
		now := map[string]int{}
		for _, x := range all() {
			if now[x]++; now[x] > before[x] {
				out = append(out, x)
			}
		}
		before = now
		return out
	}
}

// Every event comes to a receiver of every kind as its row says, and there is no
// event and no kind without one.
func TestEveryEventByEveryKind(t *testing.T) {
	source, err := os.ReadFile("../wire/notification.go")
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, m := range regexp.MustCompile(`(?m)^\tEvent\w+ += "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
		events = append(events, m[1])
	}
	slices.Sort(events)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(everyEvent)), events); diff != "" || len(events) == 0 {
		t.Errorf("events without a row (+), rows without an event (-):\n%s", diff)
	}
	offered := append(notify.Events(), wire.EventTest)
	slices.Sort(offered)
	if diff := cmp.Diff(events, offered); diff != "" {
		t.Errorf("events that nobody can ask for (-):\n%s", diff)
	}
	kinds := []string{"trackers"} // whose settings are elsewhere
	for f := range reflect.TypeFor[notify.Settings]().Fields() {
		if f.Type.Kind() == reflect.Slice {
			kinds = append(kinds, f.Tag.Get("yaml"))
		}
	}
	slices.Sort(kinds)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(everyKind)), kinds); diff != "" {
		t.Errorf("kinds that are not tried (+):\n%s", diff)
	}
	now := time.Now().UTC()
	for kind, open := range everyKind {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			to, got := open(t)
			for _, event := range events {
				row := everyEvent[event]
				n := notify.About(event, now, restart.Run{
					ID: restart.NewID(now), Service: "shop", Environment: "production", Scenario: "shop-restart", Kind: restart.KindRestart, Actor: "anna", Reason: "workers hang",
					Ticket: "WEB-17", State: restart.RunFailed, StartedAt: &now, FinishedAt: &now,
				}, "https://r.example.com")
				n.ID = restart.NewID(now)
				if row.change != nil {
					row.change(&n)
				}
				want := map[string]string{"juggler": row.juggler, "trackers": row.tracker}
				if _, other := want[kind]; !other {
					want[kind] = "a message"
				}
				if kind == "trackers" && row.tracker != "a ticket" && event != wire.EventTest && len(to.For(n)) == 0 {
					continue // it is not told of that
				}
				if err := to.Try(t.Context(), to.List()[0].ID, n); err != nil {
					t.Errorf("%s: %v", event, err)
				}
				if said := strings.Join(got(), ", "); said != want[kind] {
					t.Errorf("%s: got %q, want %q", event, said, want[kind])
				}
			}
		})
	}
}
