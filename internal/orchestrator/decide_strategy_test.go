package orchestrator

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func states(text string) []restart.TaskState {
	var out []restart.TaskState
	for word := range strings.FieldsSeq(text) {
		out = append(out, restart.TaskState(word))
	}
	return out
}

// TestDecideLimits: what counts against max_failures, whatever comes after it.
func TestDecideLimits(t *testing.T) {
	for _, c := range []struct {
		max  int
		then string
		run  string
		want string
	}{
		{0, "pause", "failed planned", "pause{cause:failure"},
		{0, "pause", "timed_out planned", "pause{cause:failure"},
		{0, "pause", "unreachable planned", "pause{cause:failure"},
		{0, "pause", "refused planned", "pause{cause:failure"},
		{0, "pause", "cancelled planned", "pause{cause:failure"},
		{0, "pause", "unknown planned", "pause{cause:unknown"},
		{2, "pause", "failed succeeded unreachable planned", "start{task:t3}"},
		{2, "pause", "failed timed_out unreachable planned", "pause{cause:failure"},
		{2, "pause", "failed succeeded timed_out succeeded succeeded unreachable planned", "pause{cause:failure"},
		{1, "pause", "unknown planned", "start{task:t1}"},
		{1, "pause", "unknown failed planned", "pause{cause:unknown"},
		{1, "abort", "unreachable planned", "start{task:t1}"},
		{1, "abort", "unreachable timed_out planned", "end{state:failed cause:failure"},
		{1, "abort", "unknown failed planned", "pause{cause:unknown"},
		{0, "abort", "not_started planned", "pause{cause:failure"},
		{0, "continue", "failed timed_out unreachable refused planned", "start{task:t4}"},
		{0, "continue", "unknown planned", "pause{cause:unknown"},
		{1, "continue", "unknown planned", "start{task:t1}"},
		{1, "continue", "unknown failed planned", "pause{cause:unknown"},
		{0, "continue", "failed failed", "end{state:failed cause:failure why:2 of 2 hosts did not succeed}"},
		{5, "pause", "failed succeeded", "end{state:failed cause:failure why:1 of 2 hosts did not succeed}"},
	} {
		strategy := restart.Strategy{MaxFailures: c.max, OnFailure: c.then}
		if got := show(decide(snapshot{run: aRun(strategy, states(c.run)...)}, clock)); !strings.HasPrefix(got, c.want) {
			t.Errorf("max_failures %d, on_failure %s, %s:\n got  %s\n want %s", c.max, c.then, c.run, got, c.want)
		}
	}
}

// TestDecidePauses: pause_between and hold_after_first stand before a batch
// that nobody has touched, and before no other.
func TestDecidePauses(t *testing.T) {
	two := []restart.Amount{{Count: 2}}
	pause := restart.Strategy{PauseBetween: restart.Duration(time.Minute), Batches: two}
	hold := restart.Strategy{HoldAfterFirst: true, Batches: two}
	both := restart.Strategy{HoldAfterFirst: true, PauseBetween: restart.Duration(time.Minute)}
	held := func(r restart.Run) restart.Run { r.Held = true; return r }
	for name, c := range map[string]struct {
		run   restart.Run
		after time.Duration // since the last host has ended
		want  string
	}{
		"not before the first batch":             {aRun(pause, states("planned planned planned")...), 0, "start{task:t0} start{task:t1}"},
		"between batches":                        {aRun(pause, states("succeeded succeeded planned planned")...), 0, "wait{"},
		"to its very end":                        {aRun(pause, states("succeeded succeeded planned planned")...), time.Minute - 1, "wait{"},
		"and no longer":                          {aRun(pause, states("succeeded succeeded planned planned")...), time.Minute, "start{task:t2} start{task:t3}"},
		"not within a batch":                     {aRun(pause, states("succeeded succeeded succeeded planned")...), 0, "start{task:t3}"},
		"not after the last":                     {aRun(pause, states("succeeded succeeded")...), 0, "end{state:completed"},
		"after a failure that is allowed":        {aRun(restart.Strategy{PauseBetween: restart.Duration(time.Minute), MaxFailures: 1}, states("failed planned")...), 0, "wait{"},
		"hold, whatever the size of the batch":   {aRun(hold, states("succeeded succeeded planned")...), 0, "pause{cause:hold"},
		"no hold while the batch is not over":    {aRun(hold, states("succeeded planned planned")...), 0, "start{task:t1}"},
		"no hold where nothing is left":          {aRun(hold, states("succeeded succeeded")...), 0, "end{state:completed"},
		"no second hold":                         {held(aRun(hold, states("succeeded succeeded planned planned planned")...)), 0, "start{task:t2} start{task:t3}"},
		"no hold after the second batch":         {held(aRun(hold, states("succeeded succeeded succeeded succeeded planned")...)), 0, "start{task:t4}"},
		"an allowed failure does not skip it":    {aRun(restart.Strategy{HoldAfterFirst: true, MaxFailures: 1}, states("failed planned")...), 0, "pause{cause:hold"},
		"a failure that isn't goes before":       {aRun(restart.Strategy{HoldAfterFirst: true}, states("failed planned")...), 0, "pause{cause:failure"},
		"the hold comes before the pause":        {aRun(both, states("succeeded planned")...), 0, "pause{cause:hold"},
		"a hold long past leaves no pause":       {held(aRun(both, states("succeeded planned")...)), time.Hour, "start{task:t1}"},
		"a person's wish goes before any of it":  {wish(aRun(both, states("succeeded planned")...), restart.ControlAbort), 0, "end{state:aborted"},
		"a batch that was begun needs no hold":   {aRun(hold, states("succeeded succeeded succeeded planned")...), 0, "pause{cause:hold"},
		"and once held, goes on without a pause": {held(aRun(both, states("succeeded succeeded planned")...)), time.Minute, "start{task:t2}"},
	} {
		if got := show(decide(snapshot{run: c.run}, clock.Add(c.after))); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s:\n got  %s\n want %s", name, got, c.want)
		}
	}
	c, ok := decide(snapshot{run: aRun(pause, states("succeeded succeeded planned planned")...)}, clock)[0].(wait)
	if want := clock.Add(time.Minute); !ok || !c.until.Equal(want) {
		t.Errorf("waits until %s, not %s", c.until, want)
	}
}

// TestDecideGates: each batch is sampled for itself, just before it, after all
// that could hold it up anyway.
func TestDecideGates(t *testing.T) {
	rule := restart.Strategy{MinAvailable: "N-1", Batches: []restart.Amount{{Count: 2}}}
	waits := rule
	waits.PauseBetween = restart.Duration(time.Minute)
	open := func(batches ...int) map[int]gate {
		out := map[int]gate{}
		for _, b := range batches {
			out[b] = gate{open: true}
		}
		return out
	}
	for name, c := range map[string]struct {
		in    snapshot
		after time.Duration
		want  string
	}{
		"the first is sampled":              {snapshot{run: aRun(rule, states("planned planned planned")...)}, 0, "look{batch:0}"},
		"and starts as a whole":             {snapshot{run: aRun(rule, states("planned planned planned")...), gates: open(0)}, 0, "start{task:t0} start{task:t1}"},
		"nothing while it is in hand":       {snapshot{run: aRun(rule, states("succeeded running planned")...), gates: open(0), driven: map[string]bool{"t1": true}}, 0, ""},
		"the next is sampled anew":          {snapshot{run: aRun(rule, states("succeeded succeeded planned")...), gates: open(0)}, 0, "look{batch:1}"},
		"a shut gate pauses":                {snapshot{run: aRun(rule, states("succeeded succeeded planned")...), gates: map[int]gate{1: {why: "too few"}}}, 0, "pause{cause:gate why:too few}"},
		"not sampled before the pause ends": {snapshot{run: aRun(waits, states("succeeded succeeded planned")...)}, 0, "wait{"},
		"but then":                          {snapshot{run: aRun(waits, states("succeeded succeeded planned")...)}, time.Minute, "look{batch:1}"},
		"not sampled after a failure":       {snapshot{run: aRun(rule, states("succeeded failed planned")...)}, 0, "pause{cause:failure"},
		"nothing to sample at the end":      {snapshot{run: aRun(rule, states("succeeded succeeded")...)}, 0, "end{state:completed"},
		"no rule, no sample":                {snapshot{run: aRun(restart.Strategy{}, states("planned")...)}, 0, "start{task:t0}"},
	} {
		if got := show(decide(c.in, clock.Add(c.after))); !strings.HasPrefix(got, c.want) || (c.want == "" && got != "") {
			t.Errorf("%s:\n got  %s\n want %s", name, got, c.want)
		}
	}
}

// Whatever a run has behind it: no batch starts before pause_between is over,
// while the gate is not known to be open, over the limit, or while the batch
// before is not done; and only hosts of one batch start.
func TestNothingStartsTooEarly(t *testing.T) {
	all := []restart.TaskState{
		restart.TaskPlanned, restart.TaskPlanned, restart.TaskSucceeded, restart.TaskSucceeded, restart.TaskSucceeded,
		restart.TaskFailed, restart.TaskUnknown, restart.TaskUnreachable, restart.TaskNotStarted, restart.TaskRunning,
	}
	rapid.Check(t, func(t *rapid.T) {
		strategy := restart.Strategy{
			Batches:        []restart.Amount{{Count: rapid.IntRange(1, 3).Draw(t, "batch")}},
			MaxFailures:    rapid.IntRange(0, 3).Draw(t, "max_failures"),
			OnFailure:      rapid.SampledFrom([]string{"pause", "abort", "continue"}).Draw(t, "on_failure"),
			PauseBetween:   restart.Duration(rapid.IntRange(0, 2).Draw(t, "pause")) * restart.Duration(time.Minute),
			HoldAfterFirst: rapid.Bool().Draw(t, "hold"),
			MinAvailable:   rapid.SampledFrom([]string{"", "N-1"}).Draw(t, "min_available"),
		}
		run := aRun(strategy, rapid.SliceOfN(rapid.SampledFrom(all), 1, 8).Draw(t, "states")...)
		run.Held = rapid.Bool().Draw(t, "held")
		s := snapshot{run: run, driven: map[string]bool{}, gates: map[int]gate{}}
		failures, unknown := 0, 0
		for i, task := range run.Tasks {
			s.driven[task.ID] = true
			if rapid.Bool().Draw(t, "sampled") {
				s.gates[i] = gate{open: rapid.Bool().Draw(t, "open"), why: "too few"}
			}
			if task.State.Failure() {
				failures++
			}
			if task.State == restart.TaskUnknown {
				unknown++
			}
		}
		since := time.Duration(rapid.IntRange(0, 3).Draw(t, "minutes")) * time.Minute
		batch := -1
		for _, c := range decide(s, clock.Add(since)) {
			c, ok := c.(start)
			if !ok {
				continue
			}
			task := run.Tasks[int(c.task[1]-'0')]
			if batch >= 0 && task.Batch != batch {
				t.Fatalf("hosts of batches %d and %d start together", batch, task.Batch)
			}
			batch = task.Batch
		}
		if batch < 0 {
			return
		}
		fresh := true
		for _, task := range run.Tasks {
			if task.Batch < batch && !task.State.Final() {
				t.Fatalf("batch %d starts while %s is %s", batch, task.ID, task.State)
			}
			if task.Batch == batch && task.State != restart.TaskPlanned {
				fresh = false
			}
		}
		switch {
		case failures > strategy.MaxFailures && strategy.OnFailure != "continue":
			t.Fatalf("batch %d starts after %d failures, %d are allowed", batch, failures, strategy.MaxFailures)
		case unknown > 0 && failures > strategy.MaxFailures:
			t.Fatalf("batch %d starts after %d failures, one of them unknown; %d are allowed", batch, failures, strategy.MaxFailures)
		case batch > 0 && fresh && since < strategy.PauseBetween.Std():
			t.Fatalf("batch %d starts %s after the last, pause_between is %s", batch, since, strategy.PauseBetween)
		case batch > 0 && strategy.HoldAfterFirst && !run.Held:
			t.Fatalf("batch %d starts, and nobody has looked at the first", batch)
		case strategy.MinAvailable != "" && !s.gates[batch].open:
			t.Fatalf("batch %d starts, and its gate is not open", batch)
		}
	})
}
