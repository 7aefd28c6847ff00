package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseTask asks for single tasks: each is what its run says of it, and a
// run has no other run's tasks.
func exerciseTask(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run, other := mustCreate(t, s, newRun(3)), mustCreate(t, s, newRun(1))
	began := epochStart.Add(time.Minute)
	mustApply(t, s, store.Change{RunID: run.ID, At: began, Tasks: []store.TaskChange{{
		ID: run.Tasks[1].ID, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching, restart.TaskAccepted, restart.TaskRunning, restart.TaskFailed},
		Cause: "run", Phase: "run", Error: "it ended with 3", ExitCode: new(3), StartedAt: &began, FinishedAt: new(began.Add(time.Second)), Drained: new(true),
	}}})
	whole := mustRun(t, s, run.ID)
	for i := range whole.Tasks {
		got, err := s.Task(t.Context(), run.ID, run.Tasks[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole.Tasks[i], got); diff != "" {
			t.Errorf("task %d is not what its run says (-run +task):\n%s", i, diff)
		}
	}
	if got := whole.Tasks[1]; got.State != restart.TaskFailed || got.ExitCode == nil || *got.ExitCode != 3 || !got.Drained {
		t.Errorf("the task that has ended: %+v", got)
	}
	for _, ask := range [][2]string{{run.ID, other.Tasks[0].ID}, {other.ID, run.Tasks[0].ID}, {run.ID, newID()}, {newID(), run.Tasks[0].ID}, {run.ID, ""}} {
		got, err := s.Task(t.Context(), ask[0], ask[1])
		wantCode(t, err, restart.CodeNotFound)
		if got.ID != "" {
			t.Errorf("not found, and yet: %+v", got)
		}
	}
}
