package restart_test

import (
	"slices"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

// The specification, written down a second time and by hand: a change of the
// table must be made here too, on purpose.
var runEdges = map[restart.RunState][]restart.RunState{
	"draft":             {"awaiting_approval", "queued"},
	"awaiting_approval": {"rejected", "queued", "aborted"},
	"queued":            {"running", "paused", "aborted"},
	"running":           {"paused", "completed", "failed", "aborted"},
	"paused":            {"running", "failed", "aborted"},
}

var taskEdges = map[restart.TaskState][]restart.TaskState{
	"planned":       {"intent_logged", "not_started"},
	"intent_logged": {"dispatching", "not_started", "unknown"},
	"dispatching":   {"accepted", "refused", "unreachable", "not_started", "unknown"},
	"accepted":      {"running", "refused", "not_started", "unknown"},
	"running":       {"succeeded", "failed", "timed_out", "cancelled", "unknown"},
}

func TestEveryPairOfRunStates(t *testing.T) {
	for _, from := range restart.RunStates() {
		for _, to := range restart.RunStates() {
			want := slices.Contains(runEdges[from], to)
			if got := from.CanBecome(to); got != want {
				t.Errorf("%s → %s: %v, want %v", from, to, got, want)
			}
			if err := from.Transition(to); (err == nil) != want || (!want && restart.CodeOf(err) != restart.CodeConflict) {
				t.Errorf("%s → %s: error %v", from, to, err)
			}
		}
		if from.Final() != (len(runEdges[from]) == 0) {
			t.Errorf("%s: Final is %v", from, from.Final())
		}
	}
}

func TestEveryPairOfTaskStates(t *testing.T) {
	for _, from := range restart.TaskStates() {
		for _, to := range restart.TaskStates() {
			want := slices.Contains(taskEdges[from], to)
			if err := from.Transition(to); (err == nil) != want {
				t.Errorf("%s → %s: error %v, want allowed=%v", from, to, err, want)
			}
		}
		if active := from != restart.TaskPlanned && len(taskEdges[from]) > 0; from.Active() != active {
			t.Errorf("%s: Active is %v", from, from.Active())
		}
	}
	for state, want := range map[restart.TaskState]bool{
		"failed": true, "timed_out": true, "unreachable": true, "unknown": true, "refused": true, "cancelled": true,
		"succeeded": false, "not_started": false, "planned": false, "running": false,
	} {
		if state.Failure() != want {
			t.Errorf("%s counts as a failure: %v, want %v", state, state.Failure(), want)
		}
	}
}

func TestStages(t *testing.T) {
	var seen []restart.Stage
	for s, ok := restart.StageReceived, true; ok; s, ok = s.Next() {
		seen = append(seen, s)
	}
	if want := []restart.Stage{"received", "started", "done", "reported"}; !slices.Equal(seen, want) {
		t.Errorf("stages are %v, want %v", seen, want)
	}
}

func TestLatestAgainAndMerge(t *testing.T) {
	run := restart.Run{ID: "r", Tasks: []restart.Task{
		{ID: "b1", Host: "b", Position: 1, Attempt: 1, State: restart.TaskNotStarted},
		{ID: "a1", Host: "a", Position: 0, Attempt: 1, State: restart.TaskSucceeded},
		{ID: "c1", Host: "c", Position: 2, Attempt: 1, State: restart.TaskFailed},
		{ID: "b2", Host: "b", Position: 1, Attempt: 2, State: restart.TaskNotStarted, Batch: 1},
	}}
	var ids []string
	for _, task := range restart.Latest(run.Tasks) {
		ids = append(ids, task.ID)
	}
	if want := []string{"a1", "b2", "c1"}; !slices.Equal(ids, want) {
		t.Errorf("latest attempts are %v, want %v", ids, want)
	}
	again := run.Again(clock)
	if len(again) != 1 || again[0].Host != "b" || again[0].Attempt != 3 || again[0].Batch != 1 || again[0].State != restart.TaskPlanned || again[0].ID == "b2" {
		t.Errorf("tried again: %+v", again)
	}
	if run.Failures() != 1 {
		t.Errorf("%d failures, want 1", run.Failures())
	}
	merged := restart.Merge(run.Tasks, []restart.Task{{ID: "c1", Host: "c", State: restart.TaskUnknown}, {ID: "d1", Host: "d"}})
	if len(merged) != 5 || merged[2].State != restart.TaskUnknown || run.Tasks[2].State != restart.TaskFailed {
		t.Errorf("merged: %+v", merged)
	}
}
