package store_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// anUnknown makes a paused run over hosts of which the first is unknown.
func anUnknown(t *testing.T, s *store.Store, hosts int) restart.Run {
	t.Helper()
	run := newRun(hosts)
	run.Service = "svc-" + run.ID
	mustCreate(t, s, run)
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning}})
	mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Path: toTask(restart.TaskUnknown)}}})
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseUnknown}})
	return mustRun(t, s, run.ID)
}

// decision is the change of a decision, with another attempt where that is it.
func decision(run restart.Run, by string, v restart.Verdict) store.Change {
	task := run.Tasks[0]
	c := store.Change{
		RunID: run.ID, Tasks: []store.TaskChange{{
			ID: task.ID, From: []restart.TaskState{restart.TaskUnknown}, Decision: &restart.Decision{Verdict: v, By: by, Reason: "it has a new pid", At: epochStart},
		}},
		Records: []audit.Record{{Action: audit.TaskDecided, Run: run.ID, Actor: by, Outcome: string(v)}},
	}
	if v == restart.VerdictAgain {
		c.NewTasks = []restart.Task{{ID: newID(), RunID: run.ID, Host: task.Host, Position: task.Position, Batch: task.Batch, Attempt: 2, State: restart.TaskPlanned}}
	}
	return c
}

func exerciseDecisions(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := anUnknown(t, s, 2)
	mustApply(t, s, decision(run, "anna", restart.VerdictHappened))
	got := mustRun(t, s, run.ID).Tasks[0]
	if want := (&restart.Decision{Verdict: "happened", By: "anna", Reason: "it has a new pid", At: epochStart}); got.State != restart.TaskUnknown || !cmp.Equal(got.Decision, want) {
		t.Errorf("decided: %+v, %+v", got, got.Decision)
	}
	if one, err := s.Task(t.Context(), run.ID, got.ID); err != nil || !cmp.Equal(one, got) {
		t.Errorf("by itself: %+v, %v", one, err)
	}
	_, err := s.Apply(t.Context(), decision(run, "boris", restart.VerdictDidNot))
	wantCode(t, err, restart.CodeConflict)
	for _, state := range restart.TaskStates() { // only what is unknown is decided
		if state == restart.TaskUnknown {
			continue
		}
		other := newRun(1)
		other.Service = "svc-" + other.ID
		mustCreate(t, s, other)
		mustApply(t, s, store.Change{RunID: other.ID, Tasks: []store.TaskChange{{ID: other.Tasks[0].ID, Path: toTask(state)}}})
		c := decision(other, "anna", restart.VerdictHappened)
		c.Tasks[0].From = nil
		_, err := s.Apply(t.Context(), c)
		wantCode(t, err, restart.CodeConflict)
	}
}

// exerciseDecisionRace: of many who decide at once, one does; one record, one
// new attempt.
func exerciseDecisionRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := anUnknown(t, s, 2)
	won := conflicts(t, 16, func(i int) error {
		_, err := s.Apply(t.Context(), decision(run, "anna", []restart.Verdict{restart.VerdictAgain, restart.VerdictDidNot}[i%2]))
		return err
	})
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID})
	after := mustRun(t, s, run.ID)
	attempts := 2
	if after.Tasks[0].Decision.Verdict == restart.VerdictAgain {
		attempts = 3
	}
	if err != nil || won != 1 || len(records) != 1 || len(after.Tasks) != attempts {
		t.Errorf("%d decided, %d records, %d tasks, decision %+v, error %v", won, len(records), len(after.Tasks), after.Tasks[0].Decision, err)
	}
}

// exerciseResumeRace: a resume that is pressed many times at once happens once.
func exerciseResumeRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := anUnknown(t, s, 1)
	won := conflicts(t, 16, func(int) error {
		next := run.Tasks[0]
		next.ID, next.Attempt, next.State, next.Version, next.StartedAt = newID(), 2, restart.TaskPlanned, 0, nil
		_, err := s.Apply(t.Context(), store.Change{
			RunID: run.ID, Seen: run.Version, NewTasks: []restart.Task{next},
			Run:     &store.RunChange{From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning},
			Records: []audit.Record{{Action: audit.RunResumed, Run: run.ID, Actor: "anna"}},
		})
		return err
	})
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID})
	if after := mustRun(t, s, run.ID); err != nil || won != 1 || len(records) != 1 || len(after.Tasks) != 2 || after.State != restart.RunRunning {
		t.Errorf("%d resumed, %d records, %s, error %v", won, len(records), after.Summary(), err)
	}
}

// conflicts calls f at once and counts who succeeds; the others must meet a conflict.
func conflicts(t *testing.T, n int, f func(i int) error) (won int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case restart.CodeOf(err) != restart.CodeConflict:
				t.Errorf("who was later: %v", err)
			}
		})
	}
	wg.Wait()
	return won
}

// exerciseSeen: who acts upon an old version is refused where the run has taken
// another turn since, and only there.
func exerciseSeen(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	control := restart.ControlPause
	for name, x := range map[string]struct {
		turn func(run restart.Run)
		says string // "" = nothing that matters
	}{
		"nothing": {func(restart.Run) {}, ""},
		"another state": {func(run restart.Run) {
			mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning}})
		}, "it is running now"},
		"a wish": {func(run restart.Run) {
			mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{Control: &control}})
		}, "pause asked for"},
		"a decision":     {func(run restart.Run) { mustApply(t, s, decision(run, "anna", restart.VerdictHappened)) }, "it is paused now"},
		"a new attempt":  {func(run restart.Run) { mustApply(t, s, decision(run, "anna", restart.VerdictAgain)) }, "it is paused now"},
		"a failure":      {func(run restart.Run) { move(t, s, run, restart.TaskFailed) }, "web1.example.com is failed"},
		"an unknown":     {func(run restart.Run) { move(t, s, run, restart.TaskUnknown) }, "web1.example.com is unknown"},
		"a success":      {func(run restart.Run) { move(t, s, run, restart.TaskSucceeded) }, ""},
		"a host in hand": {func(run restart.Run) { move(t, s, run, restart.TaskRunning) }, ""},
		"an explanation": {func(run restart.Run) {
			mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{Explanation: "it waits"}})
		}, ""},
	} {
		run := anUnknown(t, s, 3)
		x.turn(run)
		check := s.Unturned(t.Context(), run.ID, run.Version)
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Seen: run.Version, Run: &store.RunChange{Explanation: "seen"}})
		_, wish := s.Wish(t.Context(), run.ID, restart.ControlPause, mustRun(t, s, run.ID).Version)
		if wish != nil {
			t.Errorf("%s: a wish upon the version of now: %v", name, wish)
		}
		if x.says == "" {
			if err != nil || check != nil {
				t.Errorf("%s: %v, %v", name, err, check)
			}
			continue
		}
		if restart.CodeOf(err) != restart.CodeConflict || !strings.Contains(err.Error(), x.says) || restart.CodeOf(check) != restart.CodeConflict {
			t.Errorf("%s: %v, %v", name, err, check)
		}
		if _, err := s.Wish(t.Context(), run.ID, restart.ControlAbort, run.Version); restart.CodeOf(err) != restart.CodeConflict {
			t.Errorf("%s: a wish: %v", name, err)
		}
	}
	run := anUnknown(t, s, 1)
	for _, seen := range []int64{-1, run.Version + 1, 1 << 40} {
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Seen: seen, Run: &store.RunChange{Explanation: "seen"}})
		wantCode(t, err, restart.CodeConflict)
	}
	wantCode(t, s.Unturned(t.Context(), newID(), 3), restart.CodeNotFound)
}

// move takes the second host of a run to a state.
func move(t *testing.T, s *store.Store, run restart.Run, state restart.TaskState) {
	t.Helper()
	mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[1].ID, Path: toTask(state)}}})
}

// exerciseChildren: a run knows the runs that were made from it, and a host is
// drained until one of them, or any other by the same scenario, has put it back.
func exerciseChildren(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	at := func(minutes int) *time.Time { v := epochStart.Add(time.Duration(minutes) * time.Minute); return &v }
	end := func(run restart.Run, state restart.TaskState, drained bool, when *time.Time) {
		t.Helper()
		mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Path: toTask(state), Drained: &drained, FinishedAt: when}}})
	}
	parent := mustCreate(t, s, newRun(1))
	end(parent, restart.TaskFailed, true, at(1))
	drained := func() bool { return mustRun(t, s, parent.ID).Tasks[0].Drained }

	reload := newRun(1) // of another scenario, which puts nothing back
	reload.Digest = digestOf("another")
	mustCreate(t, s, reload)
	end(reload, restart.TaskSucceeded, false, at(2))
	earlier := mustCreate(t, s, newRun(1))
	end(earlier, restart.TaskSucceeded, false, at(0))
	draft, child := newRun(1), newRun(1)
	draft.Parent, draft.State, draft.Tasks = parent.ID, restart.RunDraft, nil
	child.Parent, child.Work = parent.ID, restart.WorkUndrain
	mustCreate(t, s, draft)
	mustCreate(t, s, child)
	if !drained() {
		t.Error("put back before anybody has")
	}
	end(child, restart.TaskSucceeded, false, at(3))
	if drained() {
		t.Error("still drained")
	}
	got := mustRun(t, s, parent.ID)
	if want := []restart.Child{{ID: child.ID, Work: restart.WorkUndrain, State: restart.RunQueued, Actor: "anna"}}; !cmp.Equal(got.Children, want) {
		t.Errorf("children: %+v", got.Children)
	}
	if got := mustRun(t, s, child.ID); got.Parent != parent.ID || got.Work != restart.WorkUndrain || got.Children != nil {
		t.Errorf("child: %+v", got)
	}

	// The same key for a retry of another run is another request.
	first := newRun(0)
	first.Parent = parent.ID
	if _, err := s.CreateRun(t.Context(), first, "click", nil, nil); err != nil {
		t.Fatal(err)
	}
	second := newRun(0)
	second.Parent = child.ID
	_, err := s.CreateRun(t.Context(), second, "click", nil, nil)
	wantCode(t, err, restart.CodeConflict)
}
