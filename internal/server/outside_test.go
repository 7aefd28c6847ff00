package server_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/chat"
	"github.com/restartilka/restartilka/internal/lock"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/silence"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/tracker"
	events "github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/gitlab"
	"github.com/restartilka/restartilka/test/foreign/telegram"
)

// says waits until the metrics have each of these lines.
func (s *served) says(lines ...string) {
	s.t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var lacks []string
		_, body := s.get("/metrics", s.token)
		for _, line := range lines {
			if !strings.Contains(body, "\n"+line+"\n") {
				lacks = append(lacks, line)
			}
		}
		if len(lacks) == 0 {
			return
		}
		select {
		case <-deadline.C:
			s.t.Fatalf("/metrics lacks\n%s", strings.Join(lacks, "\n"))
		case <-tick.C:
		}
	}
}

// missedBefore leaves a planned run in the database whose time was over before
// the server came.
func missedBefore(t *testing.T, cfg server.Config) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + cfg.Database.SQLite, Source: cfg.Name})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	p := restart.Schedule{
		ID: restart.NewID(now), Run: restart.NewID(now), Draft: restart.NewID(now), Request: restart.Request{Service: "shop", Reason: "502s since the deploy"}, Service: "shop", Environment: "production",
		Kind: restart.KindRestart, At: now.Add(-2 * time.Hour), Until: now.Add(-time.Hour), Zone: "UTC", Actor: "anna", CreatedAt: now.Add(-3 * time.Hour), State: restart.ScheduleWaiting, Plan: &restart.Plan{},
	}
	later := p
	later.ID, later.Run, later.Draft, later.At, later.Until = restart.NewID(now), restart.NewID(now), restart.NewID(now), now.Add(time.Hour), now.Add(2*time.Hour)
	for _, p := range []restart.Schedule{p, later} {
		draft := restart.Run{ID: p.Draft, Service: p.Service, Actor: p.Actor, State: restart.RunDraft, CreatedAt: now}
		if _, err := s.CreateRun(t.Context(), draft, "", nil, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddSchedule(t.Context(), p, 10, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What the configuration names has its metrics from the beginning, at 0. A
// receiver that takes nothing is named, until it takes what waits for it.
func TestWhatIsOutsideIsMeasured(t *testing.T) {
	t.Parallel()
	r, _ := initialised(t)
	dir := filepath.Dir(r.Config)
	secret := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lab, people := gitlab.Start(t), telegram.Start(t)
	var takes atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !takes.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(hook.Close)
	nobody := httptest.NewServer(http.NotFoundHandler()) // is asked for nothing here
	t.Cleanup(nobody.Close)
	s := serveAgain(t, r, func(cfg *server.Config) {
		missedBefore(t, *cfg)
		cfg.Tickets = tracker.Settings{{Name: "lab", Kind: "gitlab", URL: lab.URL, TokenFile: secret("gitlab.token", gitlab.Token), Projects: []string{gitlab.Project}}}
		cfg.Monitoring = silence.Settings{Systems: []silence.System{{Name: "main", Kind: "alertmanager", URLs: []string{nobody.URL}}}}
		cfg.Locks = lock.Settings{{Name: "reboots", Kind: "fleetlock", URL: nobody.URL}}
		cfg.Chat = chat.Settings{Telegram: &chat.Telegram{TokenFile: secret("telegram.token", telegram.Token), Place: chat.Place{URL: people.URL}}}
		cfg.Notify.Webhooks = []notify.Webhook{
			{Choice: notify.Choice{Label: "on call", Events: []string{events.EventScheduleMissed}}, URL: hook.URL, SecretFile: secret("hook.secret", strings.Repeat("k", 32))},
			{Choice: notify.Choice{Label: "others", Events: []string{events.EventRunFailed}}, URL: nobody.URL, SecretFile: secret("other.secret", strings.Repeat("o", 32))},
		}
	})
	s.says(
		`restartilka_schedules_open{state="waiting"} 1`,
		`restartilka_schedules_open{state="awaiting_approval"} 0`,
		`restartilka_schedules_late_seconds 0`,
		`restartilka_schedules_ended_total{outcome="missed"} 1`,
		`restartilka_schedules_ended_total{outcome="started"} 0`,
		`restartilka_schedules_ended_total{outcome="refused"} 0`,
		`restartilka_silences{state="held",system="main"} 0`,
		`restartilka_silences{state="due",system="main"} 0`,
		`restartilka_silences{state="ended",system="main"} 0`,
		`restartilka_monitoring_requests_total{result="unanswered",system="main",verb="lift"} 0`,
		`restartilka_ticket_checks_total{result="unchecked",tracker="lab"} 0`,
		`restartilka_outside_locks{lock="reboots",state="lost"} 0`,
		`restartilka_outside_locks{lock="reboots",state="left"} 0`,
		`restartilka_lock_session_interrupted{lock="reboots"} 0`,
		`restartilka_lock_attempts_total{lock="reboots",result="bypassed"} 0`,
		`restartilka_chat_connected{chat="telegram"} 1`,
		`restartilka_chat_commands_total{chat="telegram",result="failed"} 0`,
		`restartilka_messages_waiting 1`,
		`restartilka_receiver_messages_waiting{receiver="on call"} 1`,
		`restartilka_receiver_failing{receiver="on call"} 1`,
		`restartilka_receiver_messages_waiting{receiver="others"} 0`,
		`restartilka_receiver_failing{receiver="others"} 0`,
		`restartilka_receiver_failing{receiver="ticket:lab"} 0`,
	)
	takes.Store(true)
	s.says(`restartilka_receiver_messages_waiting{receiver="on call"} 0`, `restartilka_receiver_failing{receiver="on call"} 0`)

	person := telegram.Person{ID: 12345, Name: "anna_w"}
	people.Say(person, person.ID, "", "/whoami") // he is nobody here
	s.says(`restartilka_chat_commands_total{chat="telegram",result="refused"} 1`)
	if _, body := s.get("/metrics", s.token); strings.Contains(body, "shop") || strings.Contains(body, "anna") {
		t.Error("a name from outside is in the metrics")
	}
}
