package orchestrator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

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

// Whatever hosts answer and whatever people decide: no host is tried while an
// attempt on it is open, each attempt has an id of its own, a paused run starts
// nothing, nothing undecided is resumed over, and a run in which every host is
// done, or is said to be, completes.
func TestWalkWithDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "hosts")
		states := make([]restart.TaskState, n)
		for i := range states {
			states[i] = restart.TaskPlanned
		}
		run := aRun(restart.Strategy{
			Batches:     []restart.Amount{{Count: rapid.IntRange(1, 3).Draw(t, "at once")}},
			MaxFailures: rapid.IntRange(0, 2).Draw(t, "max failures"),
		}, states...)
		driven, ids, now := map[string]bool{}, map[string]bool{}, clock
		newID := func() string {
			id := fmt.Sprintf("new%d", len(ids))
			ids[id] = true
			return id
		}
		set := func(id string, state restart.TaskState) {
			for i := range run.Tasks {
				if run.Tasks[i].ID == id {
					run.Tasks[i].State = state
				}
			}
		}
		wish := func() Wish { return Wish{Run: run, By: "anna", Now: now, NewID: newID} }
		person := func() { // decides about one host
			open := run.Undecided()
			if len(open) == 0 {
				return
			}
			about := rapid.SampledFrom(open).Draw(t, "about")
			c, err := wish().Decide(about.Host, rapid.SampledFrom(restart.Verdicts()).Draw(t, "verdict"), because)
			if err != nil || c == nil {
				t.Fatalf("decide: %v, %v", c, err)
			}
			for i := range run.Tasks {
				if run.Tasks[i].ID == c.Tasks[0].ID {
					run.Tasks[i].Decision = c.Tasks[0].Decision
				}
			}
			run.Tasks = append(run.Tasks, c.NewTasks...)
		}
		for step := 0; ; step++ {
			if step > 2000 {
				t.Skip("hosts go on being unknown") // rapid draws another history, and fails where too few are whole
			}
			if run.State == restart.RunRunning && rapid.IntRange(0, 9).Draw(t, "now") == 0 {
				person() // while it goes on
			}
			for _, c := range decide(snapshot{run: run, driven: driven}, now) {
				switch c := c.(type) {
				case start:
					if run.State != restart.RunRunning {
						t.Fatalf("%s started in a run that is %s", c.task, run.State)
					}
					set(c.task, restart.TaskRunning)
					driven[c.task] = true
				case pause:
					run.State, run.Cause = restart.RunPaused, c.cause
				case end:
					if left := run.Left(); (c.state == restart.RunCompleted) != (len(left) == 0) {
						t.Fatalf("ended as %s with %d hosts left: %s", c.state, len(left), run.Summary())
					}
					return
				case leave:
				default:
					t.Fatalf("unexpected %T", c)
				}
			}
			byHost, batches := map[string]int{}, map[int]int{}
			for _, task := range run.Tasks {
				if task.State.Active() {
					byHost[task.Host]++
					batches[task.Batch]++
				}
			}
			for host, n := range byHost {
				if n > 1 {
					t.Fatalf("%d attempts at once on %s", n, host)
				}
			}
			if len(batches) > 1 {
				t.Fatalf("hosts of %d batches in hand: %v", len(batches), batches)
			}
			now = now.Add(time.Second)
			for i := range run.Tasks {
				if run.Tasks[i].State.Active() && rapid.Bool().Draw(t, "ends now") {
					run.Tasks[i].State, run.Tasks[i].FinishedAt = rapid.SampledFrom([]restart.TaskState{
						restart.TaskSucceeded, restart.TaskSucceeded, restart.TaskUnknown, restart.TaskFailed, restart.TaskNotStarted,
					}).Draw(t, "outcome"), new(now)
					delete(driven, run.Tasks[i].ID)
				}
			}
			if run.State != restart.RunPaused {
				continue
			}
			c, err := wish().Resume()
			if undecided := len(run.Undecided()) > 0; (err != nil) != undecided {
				t.Fatalf("resume with %d undecided: %v", len(run.Undecided()), err)
			}
			if err != nil {
				person()
				continue
			}
			run.Tasks = append(run.Tasks, c.NewTasks...)
			run.State, run.Cause, run.Acknowledged = c.Run.To, "", *c.Run.Acknowledged
		}
	})
}
