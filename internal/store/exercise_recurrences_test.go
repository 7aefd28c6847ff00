package store_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseRecurrences counts restarts for one reason, and notes them once.
func exerciseRecurrences(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ran := func(change func(*restart.Run)) {
		t.Helper()
		run := newRun(0)
		run.Service, run.Environment, run.Kind, run.Reason, run.CreatedAt = "squid", "production", restart.KindRestart, "workers hang since 14:00", time.Now()
		run.ID = restart.NewID(run.CreatedAt)
		if change != nil {
			change(&run)
		}
		mustCreate(t, s, run)
		mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true}})
		mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunFailed, SetFinished: true}})
	}
	const again = 30 * 24 * time.Hour
	recurring := func(since time.Duration, times int, again time.Duration) []store.Recurring {
		t.Helper()
		out, err := s.Recurring(t.Context(), time.Now().Add(-since), times, again)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	ran(func(r *restart.Run) { r.ID = restart.NewID(time.Now().Add(-48 * time.Hour)) })
	ran(nil)
	ran(func(r *restart.Run) { r.Reason = "Workers hang, since 15:30!" })
	for _, change := range []func(*restart.Run){ // none of these is one more of them
		func(r *restart.Run) { r.Reason = "it leaks memory" },
		func(r *restart.Run) { r.Environment = "testing" },
		func(r *restart.Run) { r.Service = "nginx" },
		func(r *restart.Run) { r.Kind = restart.KindThreadDump },
		func(r *restart.Run) { r.Work = restart.WorkRehearse },
	} {
		ran(change)
	}
	open := newRun(0)
	open.Service, open.Environment, open.Reason = "squid", "production", "workers hang since 16:00"
	mustCreate(t, s, open)
	if got := recurring(24*time.Hour, 3, again); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	got := recurring(72*time.Hour, 3, again)
	if len(got) != 1 || got[0].Service != "squid" || got[0].Environment != "production" || got[0].Runs != 3 {
		t.Fatalf("%+v", got)
	}
	var all sync.WaitGroup
	var first atomic.Int32
	var message atomic.Value
	for range 4 {
		all.Go(func() {
			m := store.Message{ID: newID(), Event: "recurrence", Channels: []string{"ticket:jira"}, Body: []byte(`{}`)}
			noted, err := s.NoteRecurrence(t.Context(), got[0], m, time.Now(), again, audit.Record{Action: audit.RecurrenceNoted})
			if err != nil {
				t.Error(err)
			}
			if noted {
				first.Add(1)
				message.Store(m.ID)
			}
		})
	}
	all.Wait()
	due, err := s.DueMessages(t.Context(), []string{"ticket:jira"}, time.Minute, 10)
	if err != nil || first.Load() != 1 || len(due) != 1 || due[0].ID != message.Load() {
		t.Fatalf("%d noted it, %+v, %v", first.Load(), due, err)
	}
	if got := recurring(72*time.Hour, 3, again); len(got) != 0 {
		t.Errorf("noted already: %+v", got)
	}
	ticket := func(service, reason, want string) {
		t.Helper()
		if got, err := s.RecurrenceTicket(t.Context(), service, "production", reason); err != nil || got != want {
			t.Errorf("%s %s: %q, %v", service, reason, got, err)
		}
	}
	ticket("squid", "workers hang since 9:00", "")
	for _, key := range []string{"WEB-1", "WEB-2"} { // the second try changes nothing
		if err := s.TicketOpened(t.Context(), due[0].ID, key, "https://x/"+key, audit.Record{Action: audit.TicketOpened}); err != nil {
			t.Fatal(err)
		}
	}
	ticket("squid", "workers hang since 9:00", "WEB-1")
	ticket("squid", "it leaks memory", "")
	ticket("nginx", "workers hang since 9:00", "")
	// When the time is over it may be noted again, with a ticket of its own.
	if got := recurring(72*time.Hour, 3, 0); len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	m := store.Message{ID: newID(), Event: "recurrence", Channels: []string{"ticket:jira"}, Body: []byte(`{}`)}
	if noted, err := s.NoteRecurrence(t.Context(), got[0], m, time.Now(), 0); err != nil || !noted {
		t.Errorf("%v, %v", noted, err)
	}
	ticket("squid", "workers hang since 9:00", "")
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: audit.TicketOpened})
	if err != nil || len(records) != 1 {
		t.Errorf("%+v, %v", records, err)
	}
}
