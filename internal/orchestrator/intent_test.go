package orchestrator

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

// Nothing to the log, nothing to the host: until the intent has its level,
// whatever the run looks like, no command touches a host that is not touched.
func TestNothingIsTouchedBeforeTheIntentHolds(t *testing.T) {
	t.Parallel()
	states := restart.TaskStates()
	rapid.Check(t, func(r *rapid.T) {
		var chosen []restart.TaskState
		for range rapid.IntRange(1, 5).Draw(r, "hosts") {
			chosen = append(chosen, states[rapid.IntRange(0, len(states)-1).Draw(r, "state")])
		}
		run := aRun(restart.Strategy{
			OnFailure: rapid.SampledFrom([]string{"pause", "abort", "continue"}).Draw(r, "on_failure"), MaxFailures: rapid.IntRange(0, 2).Draw(r, "max_failures"),
			MinAvailable: rapid.SampledFrom([]string{"", "N-1"}).Draw(r, "min_available"), HoldAfterFirst: rapid.Bool().Draw(r, "hold"),
		}, chosen...)
		run.State = rapid.SampledFrom(restart.RunStates()).Draw(r, "run")
		s := snapshot{
			run: run, driven: map[string]bool{}, interrupted: rapid.Bool().Draw(r, "interrupted"), autoResume: rapid.Bool().Draw(r, "go on"),
			round:  rapid.SampledFrom([]roundState{roundNone, roundDue, roundAsking}).Draw(r, "round"),
			intent: rapid.SampledFrom([]intentState{intentDue, intentAsked, intentLate}).Draw(r, "intent"), backlog: "the log has not taken it",
		}
		got := decide(s, time.Now())
		if has[start](got) || has[gather](got) || has[look](got) {
			r.Fatalf("%s: %#v", s.intent, got)
		}
		if s.intent != intentDue && has[secure](got) {
			r.Fatalf("%s is asked for again: %#v", s.intent, got)
		}
		s.intent = intentHolds
		if has[secure](decide(s, time.Now())) {
			r.Fatal("it waits for what it has")
		}
	})
}

func TestTheIntentIsWaitedFor(t *testing.T) {
	t.Parallel()
	two := aRun(restart.Strategy{Batches: []restart.Amount{{Count: 2}}}, "running", "planned", "planned")
	for name, c := range map[string]struct {
		run    restart.Run
		intent intentState
		want   string
	}{
		"it begins":             {aRun(restart.Strategy{}, "planned", "planned"), intentDue, "secure{}"},
		"on its way":            {aRun(restart.Strategy{}, "planned", "planned"), intentAsked, ""},
		"too late":              {aRun(restart.Strategy{}, "planned", "planned"), intentLate, "pause{cause:audit_backlog why:the log is away}"},
		"a resumed one":         {aRun(restart.Strategy{}, "succeeded", "planned"), intentDue, "secure{}"},
		"beside a host in hand": {two, intentDue, "secure{}"},
		"only a host in hand, nothing to be touched": {aRun(restart.Strategy{}, "running", "planned"), intentDue, ""},
		"nothing is left": {aRun(restart.Strategy{}, "succeeded", "succeeded"), intentDue, "end{state:completed cause: why:}"},
	} {
		got := decide(snapshot{run: c.run, driven: map[string]bool{"t0": true}, intent: c.intent, backlog: "the log is away"}, time.Now())
		if show(got) != c.want {
			t.Errorf("%s: %s, want %s", name, show(got), c.want)
		}
	}
}
