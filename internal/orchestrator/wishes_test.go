package orchestrator

import (
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

const because = "it has a new pid since noon"

// wishing is anna's wish for a run whose tasks are in the states, paused.
func wishing(states ...restart.TaskState) Wish {
	r := aRun(restart.Strategy{}, states...)
	r.State, r.Cause, r.Actor, r.Reason = restart.RunPaused, restart.CauseUnknown, "boris", "workers hang since the deploy"
	return Wish{Run: r, By: "anna", Origin: "cli 192.0.2.7", Now: clock, Seen: 7, NewID: func() string { return "new" }}
}

func decided(v restart.Verdict, by string) *restart.Decision {
	return &restart.Decision{Verdict: v, By: by, Reason: because, At: clock}
}

func TestResumeIsRefused(t *testing.T) {
	for want, change := range map[string]func(*restart.Run){
		"is running, not paused":      func(r *restart.Run) { r.State = restart.RunRunning },
		"it is over":                  func(r *restart.Run) { r.State = restart.RunFailed },
		"is being aborted":            func(r *restart.Run) { r.Control = restart.ControlForceAbort },
		"h1 is still being found out": func(r *restart.Run) { r.Tasks[1].State = restart.TaskDispatching },
		"restartilka decide r h0":     func(*restart.Run) {},
		"restartilka decide r h1": func(r *restart.Run) {
			r.Tasks[0].Decision, r.Tasks[1].State = decided("happened", "anna"), restart.TaskUnknown
		},
		"restartilka retry r --reason T": func(r *restart.Run) { r.State = restart.RunAborted },
	} {
		w := wishing("unknown", "succeeded", "planned")
		change(&w.Run)
		if c, err := w.Resume(); restart.CodeOf(err) != restart.CodeConflict || !strings.Contains(err.Error(), want) || c.RunID != "" {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestResume(t *testing.T) {
	w := wishing("unknown", "not_started", "failed", "unknown", "planned")
	w.Run.Tasks[0].Decision, w.Run.Tasks[3].Decision = decided("happened", "anna"), decided("did-not", "anna")
	c, err := w.Resume()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.NewTasks) != 1 || c.NewTasks[0].ID != "new" || c.NewTasks[0].Host != "h1" || c.NewTasks[0].Attempt != 2 || c.Seen != 7 || !c.At.Equal(clock) {
		t.Errorf("change: %+v", c)
	}
	if *c.Run.Acknowledged != 2 || c.Run.To != restart.RunRunning || !c.Run.ReleaseLease {
		t.Errorf("run: %+v", c.Run)
	}
	rec := c.Records[0]
	if rec.Action != audit.RunResumed || rec.Actor != "anna" || rec.Origin != "cli 192.0.2.7" || !strings.Contains(rec.Detail, "asked for by boris; still to be touched: h1, h4") {
		t.Errorf("record: %+v", rec)
	}
}

func TestDecideAboutAHost(t *testing.T) {
	for _, v := range restart.Verdicts() {
		c, err := wishing("unknown", "planned").Decide("h0", v, "  "+because+" ")
		if err != nil {
			t.Fatal(err)
		}
		d := c.Tasks[0].Decision
		if c.Tasks[0].ID != "t0" || *d != *decided(v, "anna") || c.Seen != 7 {
			t.Errorf("%s: %+v, %+v", v, c, d)
		}
		if again := v == restart.VerdictAgain; (len(c.NewTasks) == 1) != again || (c.Run != nil) != again {
			t.Errorf("%s: %+v", v, c)
		} else if again && (c.NewTasks[0].ID != "new" || c.NewTasks[0].Attempt != 2 || c.NewTasks[0].State != restart.TaskPlanned || c.Run.From[0] != restart.RunPaused) {
			t.Errorf("again: %+v", c.NewTasks)
		}
		rec := c.Records[0]
		if rec.Action != audit.TaskDecided || rec.Outcome != string(v) || rec.Reason != because || rec.Actor != "anna" || rec.Host != "h0" || rec.Attempt != 1 || rec.Task != "t0" {
			t.Errorf("%s: %+v", v, rec)
		}
	}
}

func TestDecideIsRefused(t *testing.T) {
	for want, x := range map[string]struct {
		host    string
		verdict restart.Verdict
		reason  string
		change  func(*restart.Run)
		code    restart.Code
	}{
		"is no decision":          {"h0", "maybe", because, nil, restart.CodeInvalid},
		"too short":               {"h0", "happened", "yes", nil, restart.CodeReason},
		"touches no host":         {"h9", "happened", because, nil, restart.CodeNotFound},
		"h1 is planned":           {"h1", "happened", because, nil, restart.CodeConflict},
		"it touches no host":      {"h0", "again", because, func(r *restart.Run) { r.State = restart.RunAborted }, restart.CodeConflict},
		"is being aborted":        {"h0", "again", because, func(r *restart.Run) { r.Control = restart.ControlAbort }, restart.CodeConflict},
		"boris has decided":       {"h0", "happened", because, func(r *restart.Run) { r.Tasks[0].Decision = decided("happened", "boris") }, restart.CodeConflict},
		"already: did-not":        {"h0", "happened", because, func(r *restart.Run) { r.Tasks[0].Decision = decided("did-not", "anna") }, restart.CodeConflict},
		"already: again":          {"h0", "did-not", because, triedAgainBy("anna", restart.TaskRunning), restart.CodeConflict},
		"h0 is failed: only what": {"h0", "did-not", because, func(r *restart.Run) { r.Tasks[0].State = restart.TaskFailed }, restart.CodeConflict},
	} {
		w := wishing("unknown", "planned")
		if x.change != nil {
			x.change(&w.Run)
		}
		if c, err := w.Decide(x.host, x.verdict, x.reason); restart.CodeOf(err) != x.code || !strings.Contains(err.Error(), want) || c != nil {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// triedAgainBy has somebody decide "again" about the first host, and the new
// attempt get to a state.
func triedAgainBy(by string, state restart.TaskState) func(*restart.Run) {
	return func(r *restart.Run) {
		r.Tasks[0].Decision = decided("again", by)
		again(r)
		r.Tasks[len(r.Tasks)-1].State = state
	}
}

// The same decision again is no second one; after a second attempt that is
// unknown as well, it is.
func TestTheSameDecisionAgain(t *testing.T) {
	w := wishing("unknown", "planned")
	w.Run.Tasks[0].Decision = decided("happened", "anna")
	if c, err := w.Decide("h0", "happened", because); c != nil || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
	w = wishing("unknown", "planned")
	triedAgainBy("anna", restart.TaskRunning)(&w.Run)
	if c, err := w.Decide("h0", "again", because); c != nil || err != nil {
		t.Errorf("again: %+v, %v", c, err)
	}
	w.Run.Tasks[2].State = restart.TaskUnknown
	if c, err := w.Decide("h0", "again", because); err != nil || c.NewTasks[0].Attempt != 3 || c.Tasks[0].ID != "t0b" {
		t.Errorf("a second unknown: %+v, %v", c, err)
	}
}

// What a decision means to the walk.
func TestDecideAfterADecision(t *testing.T) {
	with := func(strategy restart.Strategy, v restart.Verdict, acknowledged int, states ...restart.TaskState) restart.Run {
		r := aRun(strategy, states...)
		r.Acknowledged = acknowledged
		for i := range r.Tasks {
			if r.Tasks[i].State == restart.TaskUnknown {
				r.Tasks[i].Decision = decided(v, "anna")
			}
		}
		return r
	}
	none, two := restart.Strategy{}, restart.Strategy{Batches: []restart.Amount{{Count: 2}}}
	gated := restart.Strategy{MinAvailable: "N-1"}
	again := func(r restart.Run) restart.Run { triedAgainBy("anna", restart.TaskPlanned)(&r); return r }
	for name, c := range map[string]struct {
		in   snapshot
		want string
	}{
		"happened goes on":                {snapshot{run: with(none, "happened", 0, "unknown", "planned")}, "start{task:t1}"},
		"happened, all done":              {snapshot{run: with(none, "happened", 0, "succeeded", "unknown")}, "end{state:completed cause: why:}"},
		"did-not is a failure":            {snapshot{run: with(none, "did-not", 0, "unknown", "planned")}, "pause{cause:failure"},
		"did-not may be within the limit": {snapshot{run: with(restart.Strategy{MaxFailures: 1}, "did-not", 0, "unknown", "planned")}, "start{task:t1}"},
		"did-not, seen":                   {snapshot{run: with(none, "did-not", 1, "unknown", "planned")}, "start{task:t1}"},
		"did-not is known":                {snapshot{run: with(restart.Strategy{OnFailure: "continue"}, "did-not", 0, "unknown", "planned")}, "start{task:t1}"},
		"did-not may end the run":         {snapshot{run: with(restart.Strategy{OnFailure: "abort"}, "did-not", 0, "unknown", "planned")}, "end{state:failed cause:failure"},
		"did-not, all done":               {snapshot{run: with(none, "did-not", 1, "succeeded", "unknown")}, "end{state:failed cause:failure why:1 of 2 hosts did not succeed}"},
		"again":                           {snapshot{run: again(with(none, "again", 0, "unknown", "planned"))}, "start{task:t0b}"},
		"again beside a later batch waits": {
			snapshot{run: again(with(restart.Strategy{MaxFailures: 1}, "again", 0, "unknown", "running", "planned")), driven: map[string]bool{"t1": true}}, "",
		},
		"again in the same batch":        {snapshot{run: again(with(two, "again", 0, "unknown", "running", "planned")), driven: map[string]bool{"t1": true}}, "start{task:t0b}"},
		"again is sampled anew":          {snapshot{run: again(with(gated, "again", 0, "unknown", "planned")), gates: map[int]gate{0: {open: true}}}, "look{batch:0}"},
		"again, sampled":                 {snapshot{run: again(with(gated, "again", 0, "unknown", "planned")), gates: map[int]gate{0: {open: true, again: 1}}}, "start{task:t0b}"},
		"paused stays paused, decided":   {snapshot{run: func() restart.Run { r := with(none, "happened", 0, "unknown", "planned"); paused(&r); return r }()}, "leave{}"},
		"an undecided one beside, limit": {snapshot{run: aRun(restart.Strategy{OnFailure: "continue"}, "unknown", "planned")}, "pause{cause:unknown"},
	} {
		if got := show(decide(c.in, clock.Add(time.Hour))); !strings.HasPrefix(got, c.want) || (c.want == "" && got != "") {
			t.Errorf("%s:\n got  %s\n want %s", name, got, c.want)
		}
	}
}
