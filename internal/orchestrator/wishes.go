package orchestrator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Wish is what a person wants of a run that stands still, or of a host whose
// fate is unknown. Its methods are pure: they give the one change to apply, or
// the refusal, always a *restart.Error. Whether the person may is asked
// elsewhere; only store.Store.Apply may say no to the change afterwards, where
// the run has moved on meanwhile.
//
//	Resume()                      paused → running, with new attempts on hosts not started
//	Decide(host, verdict, reason) the decision beside an unknown task, and another attempt for "again"
type Wish struct {
	Run    restart.Run   // whole: with its plan and every task
	By     string        // who asks
	Origin string        // the way in and the address, for the record
	Now    time.Time     // of the change, its records and new tasks
	Seen   int64         // the version that the person looked at; 0 = nobody says (store.Change.Seen)
	NewID  func() string // of new tasks; nil = restart.NewID(Now)
}

// Resume lets a paused run go on in spite of the failures it has. Hosts known
// not to have been started are tried again, as new attempts. Refused with
// CodeConflict while the run is not paused, is being aborted, has a host in
// hand, or has one about which a person must decide first.
func (w Wish) Resume() (store.Change, error) {
	r := w.Run
	refuse := func(hint, format string, args ...any) (store.Change, error) {
		e := restart.Errorf(restart.CodeConflict, format, args...)
		if hint != "" {
			e = e.WithHint("%s", hint)
		}
		return store.Change{}, e
	}
	switch {
	case r.State.Final():
		return refuse("what is left can be tried anew: restartilka retry "+r.ID+" --reason TEXT", "run %s is %s, not paused: it is over", r.ID, r.State)
	case r.State != restart.RunPaused:
		return refuse("", "run %s is %s, not paused", r.ID, r.State)
	case aborting(r):
		return refuse("", "run %s is being aborted; that is not taken back", r.ID)
	}
	if t, ok := inHand(r); ok {
		return refuse("wait until it is known, then resume", "what became of %s is still being found out", t.Host)
	}
	if open := r.Undecided(); len(open) > 0 {
		return refuse("find out, then say so: "+DecideHint(r.ID, open[0].Host), "whether the script ran on %s is not known, and a person has to decide", hostNames(open))
	}
	again := r.Again(w.Now)
	for i := range again {
		again[i].ID = w.newID()
	}
	after := r
	after.Tasks = append(slices.Clip(after.Tasks), again...)
	none := restart.ControlNone
	rec := w.record(audit.RunResumed)
	rec.Detail = fmt.Sprintf("was paused: %s; asked for by %s; still to be touched: %s", r.Cause, r.Actor, planned(after))
	return store.Change{
		RunID: r.ID, At: w.Now, Seen: w.Seen, NewTasks: again, Records: []audit.Record{rec},
		Hold: r.HoldsService(), // held since its start, unless it was paused while it was queued
		Run: &store.RunChange{
			From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning, Control: &none,
			Acknowledged: new(after.Failures()), ReleaseLease: true,
		},
	}, nil
}

// Decide settles the newest attempt on a host, which must be unknown. nil
// means that the same person has decided the same, for the same reason, before:
// there is nothing to do. Otherwise a second decision is refused with
// CodeConflict, which names the first. "again" needs a run that is not over nor
// being aborted; the new attempt waits until the run goes on.
func (w Wish) Decide(host string, verdict restart.Verdict, reason string) (*store.Change, error) {
	r := w.Run
	if !slices.Contains(restart.Verdicts(), verdict) {
		return nil, restart.InField(restart.Errorf(restart.CodeInvalid, "%s is no decision", restart.Quote(string(verdict))).WithHint("one of: happened, did-not, again"), "verdict")
	}
	reason, err := restart.CheckReason(reason)
	if err != nil {
		return nil, err
	}
	task, decided, err := w.inQuestion(host)
	if err != nil {
		return nil, err
	}
	if decided != nil {
		if decided.By == w.By && decided.Verdict == verdict && decided.Reason == reason {
			return nil, nil
		}
		return nil, restart.Errorf(restart.CodeConflict, "%s has decided about %s already: %s (%s)", decided.By, host, decided.Verdict, decided.Reason).
			WithHint("a decision stands; see: restartilka show %s", r.ID)
	}
	if task.State != restart.TaskUnknown {
		return nil, restart.Errorf(restart.CodeConflict, "%s is %s: only what is unknown is decided about", host, task.State).WithHint("see: restartilka show %s", r.ID)
	}
	change := store.Change{
		RunID: r.ID, At: w.Now, Seen: w.Seen,
		Tasks: []store.TaskChange{{
			ID: task.ID, From: []restart.TaskState{restart.TaskUnknown},
			Decision: &restart.Decision{Verdict: verdict, By: w.By, Reason: reason, At: w.Now},
		}},
	}
	rec := w.record(audit.TaskDecided)
	rec.Task, rec.Attempt, rec.Host, rec.Reason, rec.Outcome = task.ID, task.Attempt, host, reason, string(verdict)
	rec.Detail = fmt.Sprintf("run %s was asked for by %s", r.State, r.Actor)
	if verdict == restart.VerdictAgain {
		switch {
		case r.State.Final():
			return nil, restart.Errorf(restart.CodeConflict, "run %s is %s: it touches no host again", r.ID, r.State).
				WithHint("start a run over what is left: restartilka retry %s --reason TEXT", r.ID)
		case aborting(r):
			return nil, restart.Errorf(restart.CodeConflict, "run %s is being aborted: it touches no host again", r.ID).
				WithHint("when it is over, start a run over what is left: restartilka retry %s --reason TEXT", r.ID)
		}
		next := restart.Task{
			ID: w.newID(), RunID: r.ID, Host: host, Position: task.Position, Batch: task.Batch, Attempt: task.Attempt + 1, State: restart.TaskPlanned,
		}
		change.NewTasks = []restart.Task{next}
		change.Run = &store.RunChange{From: []restart.RunState{r.State}} // the row says whether it is still so
		rec.Detail += fmt.Sprintf("; attempt %d is task %s", next.Attempt, next.ID)
	}
	change.Records = []audit.Record{rec}
	return &change, nil
}

// inQuestion gives the newest attempt on a host, and the decision that stands
// in the way of another: its own, or the one by which it was made.
func (w Wish) inQuestion(host string) (task restart.Task, decided *restart.Decision, err error) {
	found := false
	for _, t := range w.Run.Tasks {
		if t.Host == host && (!found || t.Attempt > task.Attempt) {
			task, found = t, true
		}
	}
	if !found {
		return task, nil, restart.Errorf(restart.CodeNotFound, "run %s touches no host %s", w.Run.ID, restart.Quote(host)).WithHint("see: restartilka show %s", w.Run.ID)
	}
	if task.State == restart.TaskUnknown {
		return task, task.Decision, nil
	}
	for i := range w.Run.Tasks {
		t := &w.Run.Tasks[i]
		if t.Host == host && t.Attempt == task.Attempt-1 {
			return task, t.Decision, nil
		}
	}
	return task, nil, nil
}

func (w Wish) newID() string {
	if w.NewID != nil {
		return w.NewID()
	}
	return restart.NewID(w.Now)
}

// record starts a record of what this person asks, about somebody's run.
func (w Wish) record(action audit.Action) audit.Record {
	rec := record(w.Run, action, w.Now)
	rec.Actor, rec.Origin = w.By, w.Origin
	return rec
}

// DecideHint is the command line that decides about a host.
func DecideHint(run, host string) string {
	return fmt.Sprintf("restartilka decide %s %s happened|did-not|again --reason TEXT", run, host)
}

func aborting(r restart.Run) bool {
	return r.Control == restart.ControlAbort || r.Control == restart.ControlForceAbort
}

func inHand(r restart.Run) (restart.Task, bool) {
	for _, t := range r.Tasks {
		if t.State.Active() {
			return t, true
		}
	}
	return restart.Task{}, false
}

// planned names the hosts that a run has not asked yet.
func planned(r restart.Run) string {
	var out []restart.Task
	for _, t := range restart.Latest(r.Tasks) {
		if t.State == restart.TaskPlanned {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return hostNames(out)
}

func hostNames(tasks []restart.Task) string {
	var out []string
	for _, t := range tasks {
		out = append(out, t.Host)
	}
	return strings.Join(out, ", ")
}
