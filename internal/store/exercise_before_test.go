package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// lasting stores a run whose tasks have ended, each after so long.
func lasting(t *testing.T, s *store.Store, state restart.RunState, change func(*restart.Run), times ...time.Duration) restart.Run {
	t.Helper()
	run := newRun(len(times))
	run.CreatedAt = time.Now().UTC()
	if change != nil {
		change(&run)
	}
	mustCreate(t, s, run)
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true}})
	began := epochStart.Add(time.Hour)
	for i, took := range times {
		ended := began.Add(took)
		mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{
			ID: run.Tasks[i].ID, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching, restart.TaskAccepted, restart.TaskRunning, restart.TaskSucceeded},
			StartedAt: &began, FinishedAt: &ended,
		}}})
	}
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: state, Explanation: "it is over", SetFinished: true}})
	return run
}

// exerciseBefore asks for what is known before somebody asks for a run.
func exerciseBefore(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	like := store.Alike{Service: "nginx", Environment: "production", Scenario: "nginx-restart"}
	if got, err := s.HostTimes(t.Context(), like); err != nil || got != (store.HostTimes{}) {
		t.Errorf("nothing has run: %+v, %v", got, err)
	}
	if got, err := s.LastEnded(t.Context(), like); err != nil || got != nil {
		t.Errorf("nothing has ended: %+v, %v", got, err)
	}
	if got, err := s.LastOn(t.Context(), "nginx", nil); err != nil || len(got) != 0 {
		t.Errorf("of no hosts: %+v, %v", got, err)
	}

	first := lasting(t, s, restart.RunCompleted, nil, 10*time.Second, 30*time.Second, 20*time.Second)
	failed := lasting(t, s, restart.RunFailed, nil, 40*time.Second)
	lasting(t, s, restart.RunCompleted, func(r *restart.Run) { r.Work = restart.WorkRehearse }, time.Second)
	lasting(t, s, restart.RunCompleted, func(r *restart.Run) { r.Scenario = "another" }, time.Minute)
	lasting(t, s, restart.RunCompleted, func(r *restart.Run) { r.Environment, r.Actor, r.Reason = "testing", "boris", "the same in testing" }, 5*time.Hour)
	dump := lasting(t, s, restart.RunCompleted, func(r *restart.Run) { r.Kind, r.Scenario = restart.KindThreadDump, "jvm-dump" }, time.Second)
	going := newRun(1)
	going.CreatedAt = time.Now().UTC()
	mustCreate(t, s, going)
	draft := newRun(0)
	draft.State, draft.Reason, draft.CreatedAt = restart.RunDraft, "a draft that nobody has started", time.Now().UTC()
	mustCreate(t, s, draft)

	if got, err := s.HostTimes(t.Context(), like); err != nil || got != (store.HostTimes{Median: 30 * time.Second, Hosts: 4, Runs: 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err := s.LastEnded(t.Context(), like)
	if err != nil || got == nil || got.Run != failed.ID || got.State != restart.RunFailed || got.Actor != "anna" || got.Explanation != "it is over" || time.Since(got.At) > time.Minute {
		t.Errorf("%+v, %v; want %s, not %s, which goes on", got, err, failed.ID, going.ID)
	}
	last, err := s.LastOn(t.Context(), "nginx", []string{"web0.example.com", "web2.example.com", "web9.example.com"})
	if err != nil || len(last) != 2 || last["web2.example.com"].Run != first.ID || last["web2.example.com"].State != restart.TaskSucceeded || !last["web2.example.com"].At.Equal(epochStart.Add(time.Hour)) {
		t.Errorf("%+v, %v", last, err)
	}
	if run := last["web0.example.com"].Run; run == dump.ID || run == going.ID || last["web0.example.com"].Actor != "boris" {
		t.Errorf("%+v", last["web0.example.com"])
	}
	if other, err := s.LastOn(t.Context(), "apache", []string{"web0.example.com"}); err != nil || len(other) != 0 {
		t.Errorf("of another service: %+v, %v", other, err)
	}
	asked, err := s.AskedBy(t.Context(), "anna", 100)
	if err != nil || len(asked) != 6 || asked[0].At.Before(asked[5].At) || slices.ContainsFunc(asked, func(a store.Asked) bool { return a.Reason == draft.Reason }) {
		t.Errorf("%+v, %v", asked, err)
	}
	if asked, err := s.AskedBy(t.Context(), "boris", 100); err != nil || len(asked) != 1 || asked[0].Environment != "testing" || asked[0].Reason != "the same in testing" || asked[0].Service != "nginx" {
		t.Errorf("%+v, %v", asked, err)
	}
}
