package notify_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/jira"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

func openJira(t *testing.T) (*jira.Server, notify.Receivers, func() []string) {
	t.Helper()
	s := jira.Start(t)
	s.Add(jira.Issue{Key: "WEB-17", Summary: "x", Status: "To Do", Category: "new"})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(jira.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	trackers, err := tracker.Settings{{Kind: "jira", URL: s.URL, TokenFile: file, Projects: []string{"WEB"}, Recurrence: []tracker.Recurrence{{Restarts: 2, Days: 7, Project: "WEB"}}}}.Open(tracker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var noted []string
	to, err := notify.Settings{Trackers: trackers, TicketOpened: func(_ context.Context, _, ticket, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		noted = append(noted, ticket)
		return nil
	}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s, to, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return noted
	}
}

// leaveOf lays a notification into the outbox, to who is told of it and to others.
func (b *bench) leaveOf(n wire.Notification, to ...string) {
	b.t.Helper()
	body, err := json.Marshal(n)
	b.must(err)
	_, err = b.store.Apply(b.t.Context(), store.Change{RunID: b.run.ID, Messages: []store.Message{{ID: n.ID, Event: n.Event, Channels: to, Body: body}}})
	b.must(err)
}

// A tracker gets one comment for each run, whatever goes wrong with the answers.
func TestCommentIsLeftOnce(t *testing.T) {
	b := newBench(t)
	s, to, _ := openJira(t)
	s.Trouble.Next(3, trouble.Lost)
	now := time.Now().UTC()
	for _, event := range notify.Events() {
		n := notify.About(event, now, restart.Run{
			ID: restart.NewID(now), Service: "shop", Environment: "production", Kind: restart.KindRestart, Actor: "anna", Reason: "workers hang", Ticket: "WEB-17",
			State: restart.RunCompleted, StartedAt: &now, FinishedAt: &now,
		}, "https://r.example.com")
		receivers := to.For(n)
		if told := len(receivers) == 1; told != (event == wire.EventRunFinished || event == wire.EventRunFailed) {
			t.Errorf("%s: %v", event, receivers)
		}
		b.leaveOf(n, receivers...)
	}
	b.send(to, nil)
	b.until("the comments", func() bool { return b.waiting() == 0 })
	if got := s.Issues()[0].Comments; len(got) != 2 || !strings.Contains(got[0], "https://r.example.com/runs/") {
		t.Errorf("%q", got)
	}
}

func TestTicketIsOpenedOnce(t *testing.T) {
	b := newBench(t)
	s, to, noted := openJira(t)
	s.Trouble.Next(4, trouble.Lost)
	now := time.Now().UTC()
	n := notify.About(wire.EventRecurrence, now, restart.Run{ID: restart.NewID(now), Service: "shop", Environment: "production", Actor: "anna", Reason: "workers hang"}, "https://r.example.com")
	n.Restarts, n.Days = 2, 7
	if got := to.For(n); len(got) != 0 {
		t.Errorf("a recurrence is for the tracker of its rule alone: %v", got)
	}
	b.leaveOf(n, "ticket:jira")
	b.send(to, nil)
	b.until("the ticket", func() bool { return b.waiting() == 0 })
	if got := s.Issues(); len(got) != 2 || len(noted()) != 1 || noted()[0] != got[1].Key {
		t.Errorf("%+v, noted %v", got, noted())
	}
}

// To try a tracker writes nothing there.
func TestTrackerIsTried(t *testing.T) {
	s, to, _ := openJira(t)
	if err := to.Try(t.Context(), "ticket:jira", wire.Notification{ID: restart.NewID(time.Now()), Event: wire.EventTest}); err != nil {
		t.Error(err)
	}
	s.Trouble.Next(2, trouble.Status(http.StatusUnauthorized))
	if err := to.Try(t.Context(), "ticket:jira", wire.Notification{ID: restart.NewID(time.Now()), Event: wire.EventTest}); err == nil || !strings.Contains(err.Error(), "does not accept the server's token") {
		t.Error(err)
	}
	if got := s.Issues(); len(got) != 1 || len(got[0].Comments) != 0 {
		t.Errorf("%+v", got)
	}
}

// A tracker that is gone keeps nobody waiting, and is given up in the end.
func TestCommentIsGivenUp(t *testing.T) {
	b := newBench(t)
	_, to, _ := openJira(t)
	now := time.Now().UTC()
	n := notify.About(wire.EventRunFailed, now, restart.Run{ID: restart.NewID(now), Service: "shop", Ticket: "WEB-99", State: restart.RunFailed}, "")
	b.leaveOf(n, to.For(n)...)
	b.send(to, func(c *notify.Config) { c.For = time.Millisecond })
	b.until("the end", func() bool { return b.waiting() == 0 })
	if !strings.Contains(b.log.String(), "it has none of that key, or none that the server's token may see") {
		t.Errorf("%s", b.log)
	}
}
