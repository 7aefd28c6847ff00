package restart_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

// What a decision makes of an unknown task, and that it makes nothing of others.
func TestDecisions(t *testing.T) {
	for _, state := range restart.TaskStates() {
		for _, v := range append(restart.Verdicts(), "") {
			task := restart.Task{State: state}
			if v != "" {
				task.Decision = &restart.Decision{Verdict: v}
			}
			unknown := state == restart.TaskUnknown
			done := state == restart.TaskSucceeded || unknown && v == restart.VerdictHappened
			if got := task.Done(); got != done {
				t.Errorf("%s %q: done is %v", state, v, got)
			}
			if got, want := task.Counts(), state.Failure() && !done; got != want {
				t.Errorf("%s %q: counts is %v", state, v, got)
			}
			if got, want := task.Undecided(), unknown && v == ""; got != want {
				t.Errorf("%s %q: undecided is %v", state, v, got)
			}
		}
	}
}

func hostsIn(tasks []restart.Task) (out []string) {
	for _, t := range tasks {
		out = append(out, t.Host)
	}
	return out
}

func TestWhatIsLeftOfARun(t *testing.T) {
	decided := func(v restart.Verdict) *restart.Decision { return &restart.Decision{Verdict: v} }
	run := restart.Run{ID: "r", Scenario: "s", Service: "shop", State: restart.RunFailed, Tasks: []restart.Task{
		{Host: "a", Position: 0, Attempt: 1, State: restart.TaskSucceeded},
		{Host: "b", Position: 1, Attempt: 1, State: restart.TaskUnknown, Decision: decided("happened"), Drained: true},
		{Host: "c", Position: 2, Attempt: 1, State: restart.TaskUnknown, Decision: decided("did-not"), Drained: true},
		{Host: "d", Position: 3, Attempt: 1, State: restart.TaskUnknown, Decision: decided("again"), Drained: true},
		{Host: "d", Position: 3, Attempt: 2, State: restart.TaskSucceeded},
		{Host: "e", Position: 4, Attempt: 1, State: restart.TaskUnknown},
		{Host: "f", Position: 5, Attempt: 1, State: restart.TaskFailed, Drained: true},
		{Host: "f", Position: 5, Attempt: 2, State: restart.TaskNotStarted},
	}}
	if got := hostsIn(run.Left()); !slices.Equal(got, []string{"c", "e", "f"}) {
		t.Errorf("left: %v", got)
	}
	if got := hostsIn(run.Drained()); !slices.Equal(got, []string{"b", "c", "f"}) {
		t.Errorf("drained: %v", got)
	}
	if got := hostsIn(run.Undecided()); !slices.Equal(got, []string{"e"}) {
		t.Errorf("undecided: %v", got)
	}
	if run.Failures() != 2 {
		t.Errorf("%d failures, want 2: c and e", run.Failures())
	}
	if s := (restart.Run{ID: "1", Scenario: "nginx-restart", Service: "nginx", State: restart.RunCompleted, Work: restart.WorkRehearse}).Summary(); s != "run 1 of nginx-restart on nginx: completed, a rehearsal" {
		t.Errorf("summary of a rehearsal: %s", s)
	}
	if s := run.Summary(); !strings.Contains(s, "4 unknown (decided: 1 happened, 1 did-not, 1 again)") {
		t.Errorf("summary: %s", s)
	}
}

// The stages of an agent's task are one line: each pair but the three steps of
// it is no step.
func TestEveryPairOfStages(t *testing.T) {
	stages := []restart.Stage{restart.StageReceived, restart.StageStarted, restart.StageDone, restart.StageReported}
	for i, from := range stages {
		next, ok := from.Next()
		for j, to := range stages {
			if step := ok && next == to; step != (j == i+1) {
				t.Errorf("%s → %s: %v", from, to, step)
			}
		}
	}
	if next, ok := restart.Stage("lost").Next(); ok || next != "" {
		t.Errorf("a stage that there is not has a next one: %q", next)
	}
}
