package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// plannable makes a draft of some age, under an idempotency key.
func plannable(t *testing.T, s *store.Store, key string, age time.Duration) restart.Run {
	t.Helper()
	run := newRun(0)
	run.State, run.CreatedAt = restart.RunDraft, time.Now().Add(-age)
	if _, err := s.CreateRun(t.Context(), run, key, nil, nil); err != nil {
		t.Fatal(err)
	}
	return run
}

// scheduleOn plans a draft for a while ago.
func scheduleOn(t *testing.T, s *store.Store, draft restart.Run) restart.Schedule {
	t.Helper()
	p := newSchedule(time.Now().Add(-time.Hour))
	p.Draft = draft.ID
	return mustAddSchedule(t, s, p)
}

func startNow(id string) store.Change {
	return store.Change{RunID: id, Run: &store.RunChange{From: []restart.RunState{restart.RunDraft}, To: restart.RunQueued}}
}

// exerciseScheduleTime: what has come to its end while it was looked at does not
// start any more, and is left for who says so.
func exerciseScheduleTime(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	p := newSchedule(time.Now().Add(-2 * time.Hour))
	p.Until = p.At.Add(time.Hour)
	mustAddSchedule(t, s, p)
	draftOf(t, s, p)
	_, err := s.Apply(t.Context(), startOf(p))
	wantCode(t, err, restart.CodeUnavailable)
	if got := mustRun(t, s, p.Run).State; got != restart.RunDraft || scheduleOf(t, s, p.ID).State != restart.ScheduleWaiting {
		t.Errorf("the run is %s", got)
	}
	// What another run holds is not waited for.
	held := mustCreate(t, s, newRun(1))
	mustApply(t, s, store.Change{RunID: held.ID, Hold: true, Run: &store.RunChange{To: restart.RunRunning}})
	p = mustAddSchedule(t, s, newSchedule(time.Now().Add(-time.Hour)))
	draftOf(t, s, p)
	start := startOf(p)
	start.Hold = true
	_, err = s.Apply(t.Context(), start)
	wantCode(t, err, restart.CodeLocked)
	if got := mustRun(t, s, p.Run).State; got != restart.RunDraft || scheduleOf(t, s, p.ID).State != restart.ScheduleWaiting {
		t.Errorf("the run is %s", got)
	}
}

// exerciseDraftIsOnce: a draft that was confirmed for later is not started by
// itself, nor one that was started planned; its key goes to the run it becomes.
func exerciseDraftIsOnce(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	draft := plannable(t, s, "k", 25*time.Hour)
	p := scheduleOn(t, s, draft)
	_, err := s.Apply(t.Context(), startNow(draft.ID))
	wantCode(t, err, restart.CodeConflict)
	for _, id := range []string{draft.ID, p.Run} {
		if got, err := s.ScheduleOf(t.Context(), id); err != nil || got == nil || got.ID != p.ID || got.Plan == nil {
			t.Errorf("of %s: %+v %v", id, got, err)
		}
	}
	if got, err := s.ScheduleOf(t.Context(), newID()); err != nil || got != nil {
		t.Errorf("of another: %+v %v", got, err)
	}
	keyed := func() string {
		t.Helper()
		run, err := s.RunByKey(t.Context(), "anna", "k")
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			return ""
		}
		return run.ID
	}
	old := plannable(t, s, "old", 25*time.Hour)
	draftOf(t, s, p) // drops drafts that are old
	if _, err := s.Run(t.Context(), old.ID); restart.CodeOf(err) != restart.CodeNotFound || keyed() != draft.ID {
		t.Errorf("the old draft: %v; the key has %q", err, keyed())
	}
	if err := s.DropDraft(t.Context(), draft.ID); err != nil || keyed() != draft.ID {
		t.Errorf("dropped: %v; the key has %q", err, keyed())
	}
	mustApply(t, s, startOf(p))
	if keyed() != p.Run {
		t.Errorf("the key has %q, and not the run", keyed())
	}
	_, err = s.Apply(t.Context(), startNow(draft.ID))
	wantCode(t, err, restart.CodeConflict)

	started := plannable(t, s, "", 0)
	mustApply(t, s, startNow(started.ID))
	again := newSchedule(time.Now())
	again.Draft = started.ID
	_, err = s.AddSchedule(t.Context(), again, 100, nil)
	wantCode(t, err, restart.CodeConflict)
	if err := s.DropDraft(t.Context(), started.ID); err != nil || mustRun(t, s, started.ID).State != restart.RunQueued {
		t.Error(err)
	}
	// One that was cancelled may be started by itself, or dropped.
	for i, draft := range []restart.Run{plannable(t, s, "", 0), plannable(t, s, "", 0)} {
		p := scheduleOn(t, s, draft)
		if err := s.ChangeSchedule(t.Context(), store.ScheduleChange{ID: p.ID, To: restart.ScheduleCancelled, By: "anna", At: epochStart}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			mustApply(t, s, startNow(draft.ID))
			continue
		}
		if err := s.DropDraft(t.Context(), draft.ID); err != nil {
			t.Fatal(err)
		}
		_, err := s.Run(t.Context(), draft.ID)
		wantCode(t, err, restart.CodeNotFound)
	}
}

// exercisePlanOrStart: of many who start a draft and plan it at a time, one does.
func exercisePlanOrStart(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for range 10 {
		draft := plannable(t, s, "", 0)
		var racing sync.WaitGroup
		var planned, started atomic.Int64
		beginning := make(chan struct{})
		for i := range 6 {
			racing.Go(func() {
				<-beginning
				var err error
				if i%2 == 0 {
					if _, err = s.Apply(t.Context(), startNow(draft.ID)); err == nil {
						started.Add(1)
					}
				} else {
					p := newSchedule(time.Now())
					p.Draft = draft.ID
					var before *restart.Schedule
					if before, err = s.AddSchedule(t.Context(), p, 1000, nil, audit.Record{Action: audit.ScheduleMade, Run: p.Run}); err == nil && before == nil {
						planned.Add(1)
					}
				}
				if err != nil && restart.CodeOf(err) != restart.CodeConflict {
					t.Error(err)
				}
			})
		}
		close(beginning)
		racing.Wait()
		if planned.Load()+started.Load() != 1 {
			t.Fatalf("planned %d times, and started %d times", planned.Load(), started.Load())
		}
	}
}

// exercisePlanOrDrop: a draft that is dropped is not planned, and one that is
// planned is not dropped; so its key leads to what is planned, and never to a
// second run.
func exercisePlanOrDrop(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	gone := plannable(t, s, "gone", 0)
	if err := s.DropDraft(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	late := newSchedule(time.Now())
	late.Draft = gone.ID
	before, err := s.AddSchedule(t.Context(), late, 100, nil, audit.Record{Action: audit.ScheduleMade, Run: late.Run})
	if restart.CodeOf(err) != restart.CodeConflict || before != nil || countRecords(t, s, audit.ScheduleMade) != 0 {
		t.Errorf("a draft that was dropped: %+v %v", before, err)
	}
	for i := range 10 {
		key := fmt.Sprint("k", i)
		draft := plannable(t, s, key, 0)
		p := newSchedule(time.Now().Add(-time.Hour))
		p.Draft = draft.ID
		var racing sync.WaitGroup
		var planned atomic.Bool
		beginning := make(chan struct{})
		for range 3 {
			racing.Go(func() {
				<-beginning
				if err := s.DropDraft(t.Context(), draft.ID); err != nil {
					t.Error(err)
				}
			})
		}
		racing.Go(func() {
			<-beginning
			_, err := s.AddSchedule(t.Context(), p, 1000, nil)
			planned.Store(err == nil)
			if err != nil && restart.CodeOf(err) != restart.CodeConflict {
				t.Error(err)
			}
		})
		close(beginning)
		racing.Wait()
		keyed, err := s.RunByKey(t.Context(), "anna", key)
		if err != nil || planned.Load() != (keyed != nil && keyed.ID == draft.ID) {
			t.Fatalf("planned: %t; the key has %+v, %v", planned.Load(), keyed, err)
		}
		if !planned.Load() {
			continue
		}
		draftOf(t, s, p)
		mustApply(t, s, startOf(p))
		if keyed, err := s.RunByKey(t.Context(), "anna", key); err != nil || keyed == nil || keyed.ID != p.Run {
			t.Errorf("the key has %+v, and not the run: %v", keyed, err)
		}
	}
}

// exerciseMostSchedules: many requests at a time get past no bound.
func exerciseMostSchedules(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for range 5 {
		open, err := s.OpenSchedules(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		most, beginning := len(open)+1, make(chan struct{})
		var racing sync.WaitGroup
		var made atomic.Int64
		for range 8 {
			p := plannedFrom(t, s, newSchedule(time.Now()))
			racing.Go(func() {
				<-beginning
				_, err := s.AddSchedule(t.Context(), p, most, nil)
				switch restart.CodeOf(err) {
				case "":
					made.Add(1)
				case restart.CodeTooMany:
				default:
					t.Error(err)
				}
			})
		}
		close(beginning)
		racing.Wait()
		if made.Load() != 1 {
			t.Fatalf("%d were planned where one more may be", made.Load())
		}
	}
}
