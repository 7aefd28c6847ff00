package store

import (
	"encoding/json"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Fence is what a server holds a run by: while the run's row carries this
// owner and epoch, nobody else has claimed it.
type Fence struct {
	Owner string
	Epoch int64
}

// Change is all that one transaction does to a run. What is not set is left as
// it is.
type Change struct {
	RunID string
	Fence *Fence // nil = a person's act, which needs no lease
	Going bool   // only while the run is running and nobody wishes it stopped: else CodeConflict
	// Seen is the version of the run that the change is decided upon, by a person
	// or by the walk; 0 = any. Where the run has taken another turn since, it is
	// refused with CodeConflict, which says how it stands now: see Store.Apply.
	Seen     int64
	Run      *RunChange
	Tasks    []TaskChange
	NewTasks []restart.Task // planned; ids and attempts are the caller's
	Hold     bool           // take the lock of the run's service and environment; held already by this run: nothing to do
	Release  bool           // give it back
	Records  []audit.Record // a zero Time becomes At
	Messages []Message      // to receivers outside, who get them after the commit
	At       time.Time      // when it happened; zero = now, by the database's clock

	// BreakGlass starts the run past the safeguards that can be waived: only
	// while it is a draft or waits for an approval, so only together with its start.
	BreakGlass *BreakGlass

	// Approval asks for an approval of the run, or settles it; nil = neither.
	Approval *Approval

	// Schedule is the id of the schedule that the run is the start of; "" = of
	// none. Only while that waits, so only together with its start: CodeConflict;
	// and only in its time: CodeUnavailable.
	Schedule string

	// Alone starts a run that is made from another unless somebody was quicker;
	// nil = nobody asks. Only while the run is a draft.
	Alone *Alone
}

// Alone refuses (CodePlanChanged) the start of a run where another one, made
// from the same run for the same work, is a draft no more, and is not among
// those that its plan knows of. Of two that start at once, one is refused.
type Alone struct{ Besides []string }

// RunChange moves a run. A run that becomes final gives back its lease and its
// service lock, and its control is cleared; it may not have active tasks.
type RunChange struct {
	From         []restart.RunState // the run must be in one of these; empty = in any
	To           restart.RunState   // "" = stays in its state
	Cause        restart.Cause      // written as it is where To is set; otherwise where not empty
	Explanation  string             // as Cause
	Explained    bool               // Explanation is written though it may be empty
	SetStarted   bool               // started_at becomes At, unless it is set
	SetFinished  bool               // finished_at becomes At
	Control      *restart.Control   // nil = unchanged; a wish to abort lasts until the run is final
	Acknowledged *int               // nil = unchanged
	Held         *bool              // nil = unchanged
	Plan         *restart.Plan      // nil = unchanged; only while the run is a draft
	ReleaseLease bool               // any server may claim the run at once
}

// TaskChange moves a task along Path, each step of which the table of package
// restart must allow. An empty Path changes fields only. Empty texts and nil
// pointers leave their column as it is.
type TaskChange struct {
	ID         string
	From       []restart.TaskState // the task must be in one of these; empty = in any
	Path       []restart.TaskState // states to pass through; the last is stored
	Cause      string
	Phase      string
	Error      string
	ExitCode   *int
	StartedAt  *time.Time
	FinishedAt *time.Time
	Drained    *bool
	Version    int64             // the task must be as of this version of its run; 0 = of any
	Decision   *restart.Decision // of an unknown task that nobody has decided yet: else CodeConflict
	Envelope   []byte            // the sealed envelope; another one than is stored is refused with CodeConflict
	Detail     json.RawMessage   // what the agent said last; replaces the detail before
}

// check finds what is wrong with a change before the database is asked.
func (c Change) check() error {
	if err := restart.CheckID(c.RunID); err != nil {
		return err
	}
	if c.Hold && c.Release {
		return restart.Errorf(restart.CodeInvalid, "a change can't take and give back the service's lock at once")
	}
	seen := make(map[string]bool, len(c.Tasks))
	for _, t := range c.Tasks {
		if seen[t.ID] {
			return restart.Errorf(restart.CodeInvalid, "task %s is changed twice in one change", restart.Quote(t.ID))
		}
		seen[t.ID] = true
		if t.Detail != nil && !json.Valid(t.Detail) {
			return restart.Errorf(restart.CodeInvalid, "the detail of task %s is not JSON", restart.Quote(t.ID))
		}
	}
	if err := checkMessages(c.Messages); err != nil {
		return err
	}
	return checkNew(c.RunID, c.NewTasks)
}

// checkNew checks tasks that are about to be inserted.
func checkNew(runID string, tasks []restart.Task) error {
	for _, t := range tasks {
		if err := restart.CheckID(t.ID); err != nil {
			return err
		}
		if err := restart.CheckHost(t.Host); err != nil {
			return err
		}
		if t.RunID != "" && t.RunID != runID {
			return restart.Errorf(restart.CodeInvalid, "task %s belongs to another run", t.ID)
		}
		if t.State != "" && t.State != restart.TaskPlanned {
			return restart.Errorf(restart.CodeInvalid, "a task begins as %s, not as %s", restart.TaskPlanned, t.State)
		}
		if t.Attempt < 1 {
			return restart.Errorf(restart.CodeInvalid, "the attempt of task %s is %d; it counts from 1", t.ID, t.Attempt)
		}
	}
	return nil
}

// walk follows path from a task's state by restart's table and gives the end.
func walk(id string, state restart.TaskState, from, path []restart.TaskState) (restart.TaskState, error) {
	if err := among(state, from); err != nil {
		return "", restart.Errorf(restart.CodeConflict, "task %s is %s, not %s", id, state, err.Error())
	}
	for _, next := range path {
		if err := state.Transition(next); err != nil {
			return "", err
		}
		state = next
	}
	return state, nil
}
