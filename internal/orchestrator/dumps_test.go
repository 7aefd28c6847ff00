package orchestrator

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

// evident is a run over hosts that are to keep evidence.
func evident(hosts int) restart.Run {
	run := restart.Run{ID: "r", State: restart.RunRunning, Kind: restart.KindRestart, Plan: &restart.Plan{Strategy: restart.Strategy{}.Defaults(), Evidence: []string{"thread-dump"}}}
	for i := range hosts {
		run.Tasks = append(run.Tasks, restart.Task{ID: string(rune('a' + i)), RunID: "r", Host: "web" + string(rune('1'+i)), Position: i, Batch: i, Attempt: 1, State: restart.TaskPlanned})
	}
	return run
}

func has[T command](commands []command) bool {
	return slices.ContainsFunc(commands, func(c command) bool { _, ok := c.(T); return ok })
}

// TestEvidenceGoesFirst: while a round is due or under way no host is started,
// and one that has been touched ends the time for it.
func TestEvidenceGoesFirst(t *testing.T) {
	t.Parallel()
	run := evident(3)
	s := snapshot{run: run, round: roundDue}
	if got := decide(s, time.Now()); !has[gather](got) || has[start](got) {
		t.Errorf("due: %#v", got)
	}
	s.round = roundAsking
	if got := decide(s, time.Now()); len(got) != 0 {
		t.Errorf("asking: %#v", got)
	}
	s.run.Control = restart.ControlAbort
	if got := decide(s, time.Now()); !has[end](got) {
		t.Errorf("an abort meanwhile: %#v", got)
	}
	s = snapshot{run: run, round: roundNone}
	if got := decide(s, time.Now()); !has[start](got) {
		t.Errorf("over: %#v", got)
	}
	for name, change := range map[string]func(*restart.Run){
		"a host is done":         func(r *restart.Run) { r.Tasks[0].State = restart.TaskSucceeded },
		"a host is tried again":  func(r *restart.Run) { r.Tasks[0].Attempt = 2 },
		"a host was not started": func(r *restart.Run) { r.Tasks[0].State = restart.TaskNotStarted },
	} {
		touched := evident(3)
		change(&touched)
		if got := decide(snapshot{run: touched, round: roundDue}, time.Now()); has[gather](got) {
			t.Errorf("%s: %#v", name, got)
		}
	}
}

// TestARoundChangesNothingElse: but for the time that it takes, a run goes on as
// it would without evidence.
func TestARoundChangesNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		run := evident(rapid.IntRange(1, 4).Draw(t, "hosts"))
		run.State = rapid.SampledFrom(restart.RunStates()).Draw(t, "state")
		run.Control = rapid.SampledFrom([]restart.Control{restart.ControlNone, restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort}).Draw(t, "control")
		for i := range run.Tasks {
			run.Tasks[i].State = rapid.SampledFrom(restart.TaskStates()).Draw(t, "task")
		}
		now := time.Now()
		without := decide(snapshot{run: run}, now)
		for _, round := range []roundState{roundDue, roundAsking} {
			with := decide(snapshot{run: run, round: round}, now)
			if has[gather](with) && !untouchedAll(run.Tasks) {
				t.Fatalf("hosts that were touched are asked for what was before: %#v", with)
			}
			if !has[gather](with) && len(with) > 0 && !slices.Equal(with, without) {
				t.Fatalf("%s: %#v, without %#v", round, with, without)
			}
			if len(with) == 0 && len(without) > 0 && round == roundDue {
				t.Fatalf("nobody acts: without a round it would be %#v", without)
			}
		}
	})
}

func TestWhoseEvidenceIsAsked(t *testing.T) {
	t.Parallel()
	if !wantsRound(evident(2)) {
		t.Error("a restart of two hosts")
	}
	for name, change := range map[string]func(*restart.Run){
		"one host":              func(r *restart.Run) { r.Tasks = r.Tasks[:1] },
		"no evidence":           func(r *restart.Run) { r.Plan.Evidence = nil },
		"a thread dump":         func(r *restart.Run) { r.Kind = restart.KindThreadDump },
		"a rehearsal":           func(r *restart.Run) { r.Work = restart.WorkRehearse },
		"an undrain":            func(r *restart.Run) { r.Work = restart.WorkUndrain },
		"an import of a host's": func(r *restart.Run) { r.Plan = nil },
	} {
		run := evident(2)
		change(&run)
		if wantsRound(run) {
			t.Error(name)
		}
	}
}
