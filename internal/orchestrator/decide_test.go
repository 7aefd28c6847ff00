package orchestrator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

var clock = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// aRun makes a running run with one task per state, all in batches of one
// unless batches says otherwise.
func aRun(strategy restart.Strategy, states ...restart.TaskState) restart.Run {
	r := restart.Run{ID: "r", State: restart.RunRunning, Plan: &restart.Plan{Strategy: strategy.Defaults()}}
	r.Plan.Batches = restart.ResolveBatches(r.Plan.Strategy.Batches, len(states))
	for i, s := range states {
		t := restart.Task{ID: fmt.Sprintf("t%d", i), Host: fmt.Sprintf("h%d", i), Position: i, Batch: restart.BatchOf(r.Plan.Batches, i), Attempt: 1, State: s}
		if s.Final() {
			t.FinishedAt = &clock
		}
		r.Tasks = append(r.Tasks, t)
	}
	return r
}

func show(commands []command) string {
	var out []string
	for _, c := range commands {
		out = append(out, strings.TrimPrefix(fmt.Sprintf("%T%+v", c, c), "orchestrator."))
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	type s = snapshot
	none := restart.Strategy{}
	two := restart.Strategy{Batches: []restart.Amount{{Count: 2}}}
	with := func(r restart.Run, f func(*restart.Run)) restart.Run { f(&r); return r }
	for name, c := range map[string]struct {
		in   snapshot
		want string // a prefix of what is shown
	}{
		"queued begins":                     {s{run: with(aRun(none, "planned"), func(r *restart.Run) { r.State = restart.RunQueued })}, "begin{}"},
		"the first host starts":             {s{run: aRun(none, "planned", "planned", "planned")}, "start{task:t0}"},
		"only one at a time":                {s{run: aRun(none, "running", "planned"), driven: map[string]bool{"t0": true}}, ""},
		"the next when the last is healthy": {s{run: aRun(none, "succeeded", "planned", "planned")}, "start{task:t1}"},
		"a batch starts together":           {s{run: aRun(two, "planned", "planned", "planned")}, "start{task:t0} start{task:t1}"},
		"the next batch waits for the last": {s{run: aRun(two, "succeeded", "running", "planned"), driven: map[string]bool{"t1": true}}, ""},
		"all succeeded":                     {s{run: aRun(none, "succeeded", "succeeded")}, "end{state:completed cause: why:}"},
		"a failure stops":                   {s{run: aRun(none, "succeeded", "failed", "planned")}, "pause{cause:failure"},
		"a refusal stops":                   {s{run: aRun(none, "refused", "planned")}, "pause{cause:failure"},
		"an unreachable host stops":         {s{run: aRun(none, "unreachable", "planned")}, "pause{cause:failure"},
		"a host that was not started stops": {s{run: aRun(none, "not_started", "planned")}, "pause{cause:failure"},
		"unknown stops with its own cause":  {s{run: aRun(none, "unknown", "planned")}, "pause{cause:unknown"},
		"an abort of what was restored": {s{run: with(aRun(none, "planned"), func(r *restart.Run) {
			r.State, r.Control, r.Epoch = restart.RunPaused, restart.ControlAbort, restart.RestoredEpoch
		})}, "end{state:aborted cause:operator why:aborted by a person; no further host was touched; the run was restored from a backup, and hosts may have been touched"},
		"a failure may end the run":           {s{run: aRun(restart.Strategy{OnFailure: "abort"}, "failed", "planned")}, "end{state:failed cause:failure"},
		"unknown never ends it by itself":     {s{run: aRun(restart.Strategy{OnFailure: "abort"}, "unknown", "planned")}, "pause{cause:unknown"},
		"failures within the limit":           {s{run: aRun(restart.Strategy{MaxFailures: 1}, "failed", "planned")}, "start{task:t1}"},
		"failures over the limit":             {s{run: aRun(restart.Strategy{MaxFailures: 1}, "failed", "failed", "planned")}, "pause{cause:failure"},
		"failures a person has seen":          {s{run: with(aRun(none, "failed", "planned"), func(r *restart.Run) { r.Acknowledged = 1 })}, "start{task:t1}"},
		"failures that don't matter":          {s{run: aRun(restart.Strategy{OnFailure: "continue"}, "failed", "unreachable", "planned")}, "start{task:t2}"},
		"unknown matters all the same":        {s{run: aRun(restart.Strategy{OnFailure: "continue"}, "failed", "unknown", "planned")}, "pause{cause:unknown"},
		"one more than a person has seen":     {s{run: with(aRun(none, "failed", "failed", "planned"), func(r *restart.Run) { r.Acknowledged = 1 })}, "pause{cause:failure"},
		"failed at the last host":             {s{run: with(aRun(none, "succeeded", "failed"), func(r *restart.Run) { r.Acknowledged = 1 })}, "end{state:failed cause:failure why:1 of 2 hosts did not succeed}"},
		"failure while another is in hand":    {s{run: aRun(two, "failed", "running", "planned"), driven: map[string]bool{"t1": true}}, ""},
		"a later attempt counts":              {s{run: with(aRun(none, "not_started", "planned"), again)}, "start{task:t0b}"},
		"an orphan is reconciled":             {s{run: aRun(none, "dispatching", "planned")}, "reconcile{task:t0}"},
		"interrupted, in hand":                {s{run: aRun(none, "running", "planned"), interrupted: true}, "reconcile{task:t0}"},
		"interrupted, all known":              {s{run: aRun(none, "succeeded", "planned"), interrupted: true}, "pause{cause:interrupted"},
		"interrupted, goes on by itself":      {s{run: aRun(none, "succeeded", "planned"), interrupted: true, autoResume: true}, "start{task:t1}"},
		"paused with an orphan":               {s{run: with(aRun(none, "running", "planned"), paused)}, "reconcile{task:t0}"},
		"paused, all known":                   {s{run: with(aRun(none, "succeeded", "planned"), paused)}, "leave{}"},
		"over":                                {s{run: with(aRun(none, "succeeded"), func(r *restart.Run) { r.State = restart.RunCompleted })}, "leave{}"},
		"pause waits for the host in hand":    {s{run: wish(aRun(none, "running", "planned"), restart.ControlPause), driven: map[string]bool{"t0": true}}, ""},
		"pause":                               {s{run: wish(aRun(none, "succeeded", "planned"), restart.ControlPause)}, "pause{cause:operator"},
		"abort waits for the host in hand":    {s{run: wish(aRun(none, "running", "planned"), restart.ControlAbort), driven: map[string]bool{"t0": true}}, ""},
		"abort":                               {s{run: wish(aRun(none, "succeeded", "planned"), restart.ControlAbort)}, "end{state:aborted cause:operator"},
		"abort of a paused run":               {s{run: wish(with(aRun(none, "failed", "planned"), paused), restart.ControlAbort)}, "end{state:aborted cause:operator"},
		"force-abort kills":                   {s{run: wish(aRun(none, "running", "planned"), restart.ControlForceAbort), driven: map[string]bool{"t0": true}}, "cancel{task:t0}"},
		"force-abort before any host":         {s{run: wish(with(aRun(none, "planned"), func(r *restart.Run) { r.State = restart.RunQueued }), restart.ControlForceAbort)}, "end{state:aborted cause:operator why:aborted by force; it had touched no host}"},
		"hold after the first":                {s{run: aRun(restart.Strategy{HoldAfterFirst: true}, "succeeded", "planned")}, "pause{cause:hold"},
		"held already":                        {s{run: with(aRun(restart.Strategy{HoldAfterFirst: true}, "succeeded", "planned"), func(r *restart.Run) { r.Held = true })}, "start{task:t1}"},
		"pause between":                       {s{run: aRun(restart.Strategy{PauseBetween: restart.Duration(time.Minute)}, "succeeded", "planned")}, "wait{batch:1 until:{wall:0 ext:63908197627 "},
		"min_available is sampled":            {s{run: aRun(restart.Strategy{MinAvailable: "N-1"}, "planned")}, "look{batch:0}"},
		"min_available holds":                 {s{run: aRun(restart.Strategy{MinAvailable: "N-1"}, "planned"), gates: map[int]gate{0: {open: true}}}, "start{task:t0}"},
		"min_available would be broken":       {s{run: aRun(restart.Strategy{MinAvailable: "N-1"}, "planned"), gates: map[int]gate{0: {why: "too few"}}}, "pause{cause:gate why:too few}"},
		"the server stops between hosts":      {s{run: aRun(none, "succeeded", "planned"), stopping: true}, "pause{cause:interrupted"},
		"the server stops, goes on by itself": {s{run: aRun(none, "running", "planned"), stopping: true, autoResume: true}, "leave{}"},
		"a resumed half of a batch is sampled": {s{run: with(aRun(restart.Strategy{MinAvailable: "N-1", Batches: two.Batches}, "succeeded", "not_started"), func(r *restart.Run) {
			r.Tasks = append(r.Tasks, restart.Task{ID: "t1b", Host: "h1", Position: 1, Batch: 0, Attempt: 2, State: restart.TaskPlanned})
		})}, "look{batch:0}"},
		"the server stops, a person has aborted": {s{run: wish(aRun(none, "succeeded", "planned"), restart.ControlAbort), stopping: true}, "end{state:aborted cause:operator"},
		"the server stops, run not begun":        {s{run: with(aRun(none, "planned"), func(r *restart.Run) { r.State = restart.RunQueued }), stopping: true}, "leave{}"},
	} {
		if got := show(decide(c.in, clock)); !strings.HasPrefix(got, c.want) || (c.want == "" && got != "") {
			t.Errorf("%s:\n got  %s\n want %s", name, got, c.want)
		}
	}
	if got := show(decide(s{run: aRun(restart.Strategy{PauseBetween: restart.Duration(time.Minute)}, "succeeded", "planned")}, clock.Add(time.Minute))); got != "start{task:t1}" {
		t.Errorf("after the pause between: %s", got)
	}
}

func paused(r *restart.Run) { r.State, r.Cause = restart.RunPaused, restart.CauseInterrupted }

func again(r *restart.Run) {
	r.Tasks = append(r.Tasks, restart.Task{ID: "t0b", Host: "h0", Position: 0, Batch: 0, Attempt: 2, State: restart.TaskPlanned})
}

func wish(r restart.Run, c restart.Control) restart.Run {
	r.Control = c
	return r
}

// Whatever hosts answer and whatever people press: never more hosts in hand
// than the batch allows, none started after a stop or over the limit, and the
// walk always ends in a final state or a pause with a cause.
func TestWalkProperties(t *testing.T) {
	outcomes := []restart.TaskState{
		restart.TaskSucceeded, restart.TaskSucceeded, restart.TaskSucceeded, restart.TaskFailed, restart.TaskTimedOut,
		restart.TaskRefused, restart.TaskUnreachable, restart.TaskUnknown, restart.TaskNotStarted,
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "hosts")
		strategy := restart.Strategy{
			Batches:        []restart.Amount{{Count: rapid.IntRange(1, 3).Draw(t, "first")}, {Count: rapid.IntRange(1, 5).Draw(t, "then")}},
			MaxFailures:    rapid.IntRange(0, 3).Draw(t, "max failures"),
			OnFailure:      rapid.SampledFrom([]string{"pause", "abort", "continue"}).Draw(t, "on failure"),
			HoldAfterFirst: rapid.Bool().Draw(t, "hold"),
		}
		states := make([]restart.TaskState, n)
		for i := range states {
			states[i] = restart.TaskPlanned
		}
		run := aRun(strategy, states...)
		run.State = restart.RunQueued
		driven := map[string]bool{}
		now := clock
		for step := 0; ; step++ {
			if step > 500 {
				t.Fatalf("the walk does not end: %+v", run)
			}
			if run.State == restart.RunRunning && rapid.IntRange(0, 40).Draw(t, "press") == 0 {
				run.Control = rapid.SampledFrom([]restart.Control{restart.ControlPause, restart.ControlAbort}).Draw(t, "control")
			}
			bad, unstarted := 0, 0
			for _, task := range run.Tasks {
				if task.State.Failure() {
					bad++
				}
				if task.State == restart.TaskNotStarted {
					unstarted++
				}
			}
			commands := decide(snapshot{run: run, driven: driven}, now)
			for _, c := range commands {
				switch c := c.(type) {
				case begin:
					run.State = restart.RunRunning
				case start:
					if run.Control != restart.ControlNone || (bad > strategy.MaxFailures && strategy.OnFailure != "continue") || unstarted > 0 || run.State != restart.RunRunning {
						t.Fatalf("%s started with control %q, %d failures, %d not started, run %s", c.task, run.Control, bad, unstarted, run.State)
					}
					for i := range run.Tasks {
						if run.Tasks[i].ID == c.task {
							run.Tasks[i].State = restart.TaskRunning
							driven[c.task] = true
						}
					}
				case pause:
					if c.why == "" || c.cause == "" {
						t.Fatal("a pause without a cause in words")
					}
					if c.cause == restart.CauseHold && run.Control == restart.ControlNone {
						run.Held = true // a person looks and resumes at once
						continue
					}
					return
				case end:
					if !c.state.Final() {
						t.Fatalf("ended as %s", c.state)
					}
					return
				case leave:
					return
				default:
					t.Fatalf("unexpected %T", c)
				}
			}
			batch, inHand := 0, 0
			for _, task := range run.Tasks {
				if task.State.Active() {
					batch = task.Batch
					inHand++
				}
			}
			if inHand > 0 && inHand > run.Plan.Batches[batch] {
				t.Fatalf("%d hosts in hand, batch %d allows %d", inHand, batch, run.Plan.Batches[batch])
			}
			now = now.Add(time.Second)
			for i := range run.Tasks {
				if run.Tasks[i].State.Active() && rapid.Bool().Draw(t, "ends now") {
					run.Tasks[i].State = rapid.SampledFrom(outcomes).Draw(t, "outcome")
					run.Tasks[i].FinishedAt = &now
					delete(driven, run.Tasks[i].ID)
				}
			}
		}
	})
}

// A clock that was an hour ahead when the last host ended, and is right again,
// must not hold up the next host for an hour.
func TestAClockSetBackHoldsNobodyUp(t *testing.T) {
	for pause, want := range map[time.Duration]time.Duration{0: 0, time.Minute: time.Minute} {
		s := snapshot{run: aRun(restart.Strategy{PauseBetween: restart.Duration(pause)}, "succeeded", "planned"), rests: map[int]time.Time{}}
		now := clock.Add(-time.Hour)
		waited := time.Duration(0)
		for ; waited <= 2*want; waited += time.Second {
			c, ok := decide(s, now.Add(waited))[0].(wait)
			if !ok {
				break
			}
			if _, seen := s.rests[c.batch]; !seen {
				s.rests[c.batch] = now
			}
		}
		if waited != want {
			t.Errorf("pause_between %s was %s", pause, waited)
		}
	}
}
