package notify_test

import (
	"html"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/grafana"
	"github.com/restartilka/restartilka/test/foreign/juggler"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// board is a Grafana.
type board struct {
	*grafana.Server
	updates string
	events  []string
	token   string
}

func newBoard(t *testing.T) *board {
	t.Helper()
	return &board{grafana.Start(t), "each", []string{wire.EventBreakGlass}, tokenFile(t, grafana.Token)}
}

func (g *board) settings() notify.Settings {
	return notify.Settings{Zone: "UTC", Grafana: []notify.Grafana{{Choice: notify.Choice{Events: g.events}, URL: g.URL, TokenFile: g.token, Updates: g.updates, Dashboard: "ops-1"}}}
}

func (g *board) refuse(times int) { g.Trouble.Next(times, trouble.Status(503)) }
func (g *board) tries() int       { return g.Trouble.Seen() }
func (g *board) taken() (out []string) {
	for _, a := range g.Annotations() {
		out = append(out, html.UnescapeString(a.Text))
	}
	return out
}

func TestGrafana(t *testing.T) {
	Exercise(t, func(t *testing.T) receiver { return newBoard(t) })
	start := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	end := start.Add(4 * time.Minute)
	told := func(b *bench, event string, finished *time.Time) wire.Notification {
		return wire.Notification{
			Event: event, Run: b.run.ID, Service: "shop", Environment: "production", Kind: restart.KindRestart, Actor: "anna", StartedAt: &start, FinishedAt: finished,
			Reason: `<script>alert(1)</script> "x"`,
		}
	}
	region := func(t *testing.T) (*bench, *board, notify.Receivers) {
		t.Helper()
		b, g := newBench(t), newBoard(t)
		g.updates, g.events = "", []string{wire.EventRunStarted, wire.EventRunPaused, wire.EventRunFinished}
		return b, g, b.open(g)
	}
	t.Run("one region for a run", func(t *testing.T) {
		b, g, to := region(t)
		b.send(to, nil)
		b.tell(time.Time{}, told(b, wire.EventRunStarted, nil), to)
		b.until("the start", func() bool { return len(g.Annotations()) == 1 })
		b.tell(time.Time{}, told(b, wire.EventRunPaused, nil), to)
		b.tell(time.Time{}, told(b, wire.EventRunFinished, &end), to)
		b.until("the end", func() bool { return b.waiting() == 0 })
		all := g.Annotations()
		if len(all) != 1 || all[0].Time != start.UnixMilli() || all[0].TimeEnd != end.UnixMilli() || all[0].Changes != 2 || all[0].Dashboard != "ops-1" {
			t.Fatalf("%+v", all)
		}
		if diff := cmp.Diff([]string{"restartilka", "shop", "production", "run:" + b.run.ID}, all[0].Tags); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
		if text := all[0].Text; strings.Contains(text, "<script") || !strings.Contains(text, "&lt;script&gt;") || !strings.Contains(text, `<a href="https://restartilka.example.com/runs/`) {
			t.Errorf("text: %s", text)
		}
	})
	t.Run("a lost answer makes no second one", func(t *testing.T) {
		b, g, to := region(t)
		lost := 0
		g.Trouble.Next(trouble.Forever, trouble.Lost)
		b.send(to, nil)
		b.tell(time.Time{}, told(b, wire.EventRunStarted, nil), to)
		b.until("a few tries", func() bool { lost = g.Trouble.Seen(); return lost > 4 })
		g.Trouble.Next(0, nil)
		b.until("the start", func() bool { return b.waiting() == 0 })
		b.tell(time.Time{}, told(b, wire.EventRunFinished, &end), to)
		b.until("the end", func() bool { return b.waiting() == 0 })
		if all := g.Annotations(); len(all) != 1 || all[0].TimeEnd != end.UnixMilli() {
			t.Errorf("%+v", all)
		}
	})
	t.Run("one that somebody has deleted is made anew", func(t *testing.T) {
		b, g, to := region(t)
		b.send(to, nil)
		b.tell(time.Time{}, told(b, wire.EventRunStarted, nil), to)
		b.until("the start", func() bool { return b.waiting() == 0 })
		g.Delete(g.Annotations()[0].ID)
		b.tell(time.Time{}, told(b, wire.EventRunFinished, &end), to)
		b.until("the end", func() bool { return b.waiting() == 0 })
		if all := g.Annotations(); len(all) != 1 || all[0].Time != start.UnixMilli() || all[0].TimeEnd != end.UnixMilli() {
			t.Errorf("%+v", all)
		}
	})
}

// checks is where check events go.
type checks struct{ *juggler.Server }

func (j *checks) choice(events ...string) notify.Settings {
	return notify.Settings{Zone: "UTC", Juggler: []notify.Juggler{{Choice: notify.Choice{Events: events}, URL: j.URL, Host: "restart.example.com", Health: time.Minute}}}
}

func (j *checks) settings() notify.Settings { return j.choice(wire.EventBreakGlass) }
func (j *checks) refuse(times int)          { j.Trouble.Next(times, trouble.Status(503)) }
func (j *checks) tries() int                { return j.Trouble.Seen() }
func (j *checks) taken() (out []string) {
	for _, e := range j.Events("restartilka-run") {
		out = append(out, e.Description)
	}
	return out
}

func TestJuggler(t *testing.T) {
	Exercise(t, func(t *testing.T) receiver { return &checks{juggler.Start(t)} })
	t.Run("how a service stands after a run", func(t *testing.T) {
		b, j := newBench(t), &checks{juggler.Start(t)}
		to, err := j.choice(wire.EventRunStarted, wire.EventRunPaused, wire.EventRunFinished, wire.EventRunFailed,
			wire.EventApprovalRequested, wire.EventApprovalDecided, wire.EventRunScheduled, wire.EventScheduleMissed, wire.EventScheduleCancelled, wire.EventRecurrence).Open()
		b.must(err)
		b.send(to, nil)
		about := wire.Notification{Run: b.run.ID, Service: "shop", Environment: "production", Kind: restart.KindRestart, Actor: "anna", Reason: "502s\x1b[2J"}
		var want []string
		for _, c := range []struct {
			event, status string
			state         restart.RunState
		}{
			{wire.EventApprovalRequested, "WARN", restart.RunAwaitingApproval},
			{wire.EventApprovalDecided, "WARN", restart.RunAborted}, // not approved
			{wire.EventRunScheduled, "", ""},
			{wire.EventScheduleCancelled, "", ""},
			{wire.EventScheduleMissed, "WARN", ""},
			{wire.EventRunStarted, "OK", restart.RunRunning},
			{wire.EventRunPaused, "WARN", restart.RunPaused},
			{wire.EventRunFailed, "CRIT", restart.RunFailed},
			{wire.EventRecurrence, "", restart.RunFailed},
			{wire.EventRunFailed, "WARN", restart.RunAborted},
			{wire.EventRunFinished, "OK", restart.RunCompleted},
		} {
			n := about
			n.Event, n.State = c.event, c.state
			b.tell(time.Time{}, n, to)
			if c.status != "" {
				want = append(want, c.status)
			}
		}
		b.until("all events", func() bool { return b.waiting() == 0 })
		var got []string
		for _, e := range j.Events("restartilka-run") {
			got = append(got, e.Status)
			if e.Host != "restart.example.com" || e.Instance != "shop.production" || e.Source != "restartilka" || strings.ContainsAny(e.Description, "\x1b") || !strings.Contains(e.Description, "https://restartilka.example.com/runs/") {
				t.Errorf("%+v", e)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("how the server is", func(t *testing.T) {
		j := &checks{juggler.Start(t)}
		told, err := j.settings().Health()
		if err != nil || len(told) != 1 || told[0].Every != time.Minute {
			t.Fatalf("%+v, %v", told, err)
		}
		var got []string
		for _, how := range [][2][]string{{}, {nil, {"the spool is 72 % full"}}, {{"database", "disk"}, {"x"}}} {
			if err := told[0].Tell(t.Context(), "main", how[0], how[1]); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range j.Events("restartilka-server") {
			got = append(got, e.Host+" "+e.Instance+" "+e.Status+" "+e.Description)
		}
		want := []string{"restart.example.com main OK ready", "restart.example.com main WARN the spool is 72 % full", "restart.example.com main CRIT not ready: database; disk; x"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := told[0].Tell(t.Context(), "not a name", nil, nil); err == nil || !strings.Contains(err.Error(), "it refuses an event: 400") {
			t.Errorf("a refused event: %v", err)
		}
		j.Trouble.Next(1, trouble.Page)
		if err := told[0].Tell(t.Context(), "main", nil, nil); err == nil {
			t.Error("a page was taken for an answer")
		}
	})
}

func TestMonitoringSettings(t *testing.T) {
	g, j := newBoard(t), &checks{juggler.Start(t)}
	for name, c := range map[string]struct {
		change func(*notify.Settings)
		says   string
	}{
		"no token":            {func(s *notify.Settings) { s.Grafana[0].TokenFile = "" }, "notify.grafana, number 1.token_file is not given"},
		"a thread":            {func(s *notify.Settings) { s.Grafana[0].Updates = "thread" }, "notify.grafana, number 1.updates"},
		"a path for an UID":   {func(s *notify.Settings) { s.Grafana[0].Dashboard = "a/b" }, "notify.grafana, number 1.dashboard"},
		"no address":          {func(s *notify.Settings) { s.Juggler[0].URL = "" }, "notify.juggler, number 1.url"},
		"a host of two words": {func(s *notify.Settings) { s.Juggler[0].Host = "a b" }, "notify.juggler, number 1.host"},
		"too often":           {func(s *notify.Settings) { s.Juggler[0].Health = time.Second }, "notify.juggler, number 1.health"},
		"a token in clear": {func(s *notify.Settings) {
			s.Juggler[0].URL, s.Juggler[0].TokenFile = "http://juggler.example.com", g.token
		}, "notify.juggler, number 1.url"},
		"no events": {func(s *notify.Settings) { s.Juggler[0].Events = nil }, "notify.juggler, number 1.events"},
	} {
		s := notify.Settings{Grafana: g.settings().Grafana, Juggler: j.settings().Juggler}
		if _, err := s.Open(); err != nil {
			t.Fatal(err)
		}
		c.change(&s)
		if _, err := s.Open(); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
