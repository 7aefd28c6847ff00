package restart

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// RunState is where a run stands.
type RunState string

// The states of a run.
const (
	RunDraft            RunState = "draft"
	RunAwaitingApproval RunState = "awaiting_approval"
	RunRejected         RunState = "rejected"
	RunQueued           RunState = "queued"
	RunRunning          RunState = "running"
	RunPaused           RunState = "paused"
	RunCompleted        RunState = "completed"
	RunFailed           RunState = "failed"
	RunAborted          RunState = "aborted"
)

// runTransitions is the one table of what may follow what.
var runTransitions = map[RunState][]RunState{
	RunDraft:            {RunAwaitingApproval, RunQueued},
	RunAwaitingApproval: {RunRejected, RunQueued, RunAborted},
	RunQueued:           {RunRunning, RunPaused, RunAborted},
	RunRunning:          {RunPaused, RunCompleted, RunFailed, RunAborted},
	RunPaused:           {RunRunning, RunFailed, RunAborted},
	RunRejected:         {},
	RunCompleted:        {},
	RunFailed:           {},
	RunAborted:          {},
}

// RunStates lists every state, in the order in which a run meets them.
func RunStates() []RunState {
	return []RunState{RunDraft, RunAwaitingApproval, RunRejected, RunQueued, RunRunning, RunPaused, RunCompleted, RunFailed, RunAborted}
}

// Final tells whether nothing follows.
func (s RunState) Final() bool { return len(runTransitions[s]) == 0 }

// CanBecome tells whether the table allows s → to.
func (s RunState) CanBecome(to RunState) bool { return slices.Contains(runTransitions[s], to) }

// Transition returns nil where the table allows s → to, else an Error with CodeConflict.
func (s RunState) Transition(to RunState) error {
	if s.CanBecome(to) {
		return nil
	}
	return Errorf(CodeConflict, "a run that is %s can't become %s", s, to)
}

// Cause says why a run is paused or ended as it did; of one that is running,
// that the server that had it went away (CauseInterrupted).
type Cause string

// The causes of a pause, and of an end that is not plain success.
const (
	CauseOperator     Cause = "operator"
	CauseFailure      Cause = "failure"
	CauseUnknown      Cause = "unknown"
	CauseHold         Cause = "hold"
	CauseGate         Cause = "gate"
	CauseFreeze       Cause = "freeze"
	CauseAuditBacklog Cause = "audit_backlog"
	CauseInterrupted  Cause = "interrupted"
	CauseLockLost     Cause = "lock_lost"
	CauseRightsLost   Cause = "rights_lost"
	CauseExpired      Cause = "expired" // of an end only: nobody has approved in time
)

// PauseCauses lists the causes a pause may have.
func PauseCauses() []Cause {
	return []Cause{CauseOperator, CauseFailure, CauseUnknown, CauseHold, CauseGate, CauseFreeze, CauseAuditBacklog, CauseInterrupted, CauseLockLost, CauseRightsLost}
}

// Control is what a person asked of a run while it was in hand. It is kept in
// the run's row until the orchestrator has obeyed.
type Control string

// The wishes a person can leave on a run.
const (
	ControlNone       Control = ""
	ControlPause      Control = "pause"
	ControlAbort      Control = "abort"       // the host in hand finishes
	ControlForceAbort Control = "force_abort" // the host in hand is killed, and becomes unknown
)

// Run is one request's execution over hosts.
type Run struct {
	ID          string            `json:"id"`
	Scenario    string            `json:"scenario"`
	Digest      string            `json:"digest"`
	Kind        Kind              `json:"kind"`
	Service     string            `json:"service"`
	Environment string            `json:"environment"`
	Project     string            `json:"project,omitempty"`
	Group       string            `json:"group,omitempty"`
	Params      map[string]string `json:"params,omitempty"`
	Actor       string            `json:"actor"`
	Via         string            `json:"via,omitempty"`
	Reason      string            `json:"reason"`
	Ticket      string            `json:"ticket,omitempty"`
	State       RunState          `json:"state"`
	Cause       Cause             `json:"cause,omitempty"`
	Explanation string            `json:"explanation,omitempty"` // the cause in one sentence
	Control     Control           `json:"control,omitempty"`
	// Acknowledged is how many failures the run had when a person last
	// resumed it: it goes on in spite of those. Held tells that the pause
	// after the first batch has been made.
	Acknowledged int  `json:"acknowledged,omitempty"`
	Held         bool `json:"held,omitempty"`
	// BreakGlass tells that it was started past the safeguards that Waives
	// names, by somebody with the right to.
	BreakGlass bool `json:"break_glass,omitempty"`
	// GlassReview is what somebody else has found afterwards; nil = nobody has
	// looked yet, or no glass was broken. It comes only with a run that is asked
	// for by itself.
	GlassReview *GlassReview `json:"glass_review,omitempty"`
	// Approval is what was asked for before the start; nil = nothing was.
	Approval *Approval `json:"approval,omitempty"`
	// Parent is the run that this one was made from, and Work how much of the
	// scenario it does. Children are the runs that were made from it, the oldest
	// first; they come only with a run that is asked for by itself.
	Parent   string  `json:"parent,omitempty"`
	Work     Work    `json:"work,omitempty"`
	Children []Child `json:"children,omitempty"`
	// Silenced is what monitoring was told while its hosts were worked on, the
	// newest first, at most 200. It comes only with a run that is asked for by
	// itself.
	Silenced []Silence `json:"silenced,omitempty"`

	Epoch      int64      `json:"epoch"`
	Version    int64      `json:"version"` // rises with every change of the run or of one of its tasks
	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Plan       *Plan      `json:"plan,omitempty"`
	Tasks      []Task     `json:"tasks"`
	// Outcome is OutcomeOf this run, once it has come to rest. It is not kept, and
	// comes only with a run that is asked for by itself.
	Outcome Outcome `json:"outcome,omitempty"`
}

// RestoredEpoch is the least epoch of a run that was in a backup which was put
// back, for good. No other run comes near it: see store.EpochJump.
const RestoredEpoch = 1_000_000

// Restored tells that the database has forgotten what became of the run after
// some moment: it was put back from a backup of then. Its hosts may have been
// touched since, whatever its tasks say.
func (r Run) Restored() bool { return r.Epoch >= RestoredEpoch }

// TaskState is where one host of a run stands, as far as the server knows.
type TaskState string

// The states of a task.
const (
	TaskPlanned      TaskState = "planned"
	TaskIntentLogged TaskState = "intent_logged"
	TaskDispatching  TaskState = "dispatching"
	TaskAccepted     TaskState = "accepted"
	TaskRunning      TaskState = "running"
	TaskSucceeded    TaskState = "succeeded"
	TaskFailed       TaskState = "failed"
	TaskTimedOut     TaskState = "timed_out"
	TaskCancelled    TaskState = "cancelled"
	TaskRefused      TaskState = "refused"
	TaskUnreachable  TaskState = "unreachable"
	TaskNotStarted   TaskState = "not_started"
	TaskUnknown      TaskState = "unknown"
)

// taskTransitions is the one table of what may follow what. A final state has
// no successor: another try is another task with the next attempt number.
var taskTransitions = map[TaskState][]TaskState{
	TaskPlanned:      {TaskIntentLogged, TaskNotStarted},
	TaskIntentLogged: {TaskDispatching, TaskNotStarted, TaskUnknown},
	TaskDispatching:  {TaskAccepted, TaskRefused, TaskUnreachable, TaskNotStarted, TaskUnknown},
	TaskAccepted:     {TaskRunning, TaskRefused, TaskNotStarted, TaskUnknown},
	TaskRunning:      {TaskSucceeded, TaskFailed, TaskTimedOut, TaskCancelled, TaskUnknown},
	TaskSucceeded:    {},
	TaskFailed:       {},
	TaskTimedOut:     {},
	TaskCancelled:    {},
	TaskRefused:      {},
	TaskUnreachable:  {},
	TaskNotStarted:   {},
	TaskUnknown:      {},
}

// TaskStates lists every state, in the order in which a task meets them.
func TaskStates() []TaskState {
	return []TaskState{
		TaskPlanned, TaskIntentLogged, TaskDispatching, TaskAccepted, TaskRunning, TaskSucceeded, TaskFailed,
		TaskTimedOut, TaskCancelled, TaskRefused, TaskUnreachable, TaskNotStarted, TaskUnknown,
	}
}

// Final tells whether nothing follows.
func (s TaskState) Final() bool { return len(taskTransitions[s]) == 0 }

// Active tells whether the task may be doing something on its host: from the
// logged intent until the outcome. At most one task per service and host is.
func (s TaskState) Active() bool { return s != TaskPlanned && !s.Final() }

// Failure tells whether the state counts against max_failures. A refusal
// counts too: a host that would not take the work is not a restarted host.
func (s TaskState) Failure() bool {
	switch s {
	case TaskFailed, TaskTimedOut, TaskUnreachable, TaskUnknown, TaskRefused, TaskCancelled:
		return true
	}
	return false
}

// CanBecome tells whether the table allows s → to.
func (s TaskState) CanBecome(to TaskState) bool { return slices.Contains(taskTransitions[s], to) }

// Transition returns nil where the table allows s → to, else an Error with CodeConflict.
func (s TaskState) Transition(to TaskState) error {
	if s.CanBecome(to) {
		return nil
	}
	return Errorf(CodeConflict, "a task that is %s can't become %s", s, to)
}

// Task is the work of one run on one host. A second try on the same host is
// another task, with the next attempt number.
type Task struct {
	ID         string     `json:"id"`
	RunID      string     `json:"run_id,omitempty"`
	Host       string     `json:"host"`
	Position   int        `json:"position"` // in the plan, from 0
	Batch      int        `json:"batch"`    // from 0
	Attempt    int        `json:"attempt"`  // from 1
	State      TaskState  `json:"state"`
	Cause      string     `json:"cause,omitempty"` // a Code or a phase; what stopped it
	Phase      string     `json:"phase,omitempty"` // the agent's last word while running
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	ExitCode   *int       `json:"exit_code"`
	Error      string     `json:"error,omitempty"` // one sentence for people
	Drained    bool       `json:"drained,omitempty"`
	Decision   *Decision  `json:"decision,omitempty"` // a person's, on an unknown task
	Version    int64      `json:"version,omitempty"`  // the run's version at this task's last change
}

// Stage is how far a task has come on its host: the newest of its durable files.
type Stage string

// The stages of a task in an agent's spool.
const (
	StageReceived Stage = "received"
	StageStarted  Stage = "started"
	StageDone     Stage = "done"
	StageReported Stage = "reported"
)

// Next gives the stage that follows s, and false after the last.
func (s Stage) Next() (Stage, bool) {
	switch s {
	case StageReceived:
		return StageStarted, true
	case StageStarted:
		return StageDone, true
	case StageDone:
		return StageReported, true
	}
	return "", false
}

// Summary says in one line what became of a run.
func (r Run) Summary() string {
	counts := map[TaskState]int{}
	for _, t := range r.Tasks {
		counts[t.State]++
	}
	s := fmt.Sprintf("run %s of %s on %s: %s", r.ID, r.Scenario, r.Service, r.State)
	if r.Work == WorkRehearse {
		s += ", a rehearsal"
	}
	if r.Cause != "" {
		s += fmt.Sprintf(" (%s)", r.Cause)
	}
	for _, state := range TaskStates() {
		if counts[state] > 0 {
			s += fmt.Sprintf(", %d %s", counts[state], state)
		}
		if state == TaskUnknown {
			s += r.decided()
		}
	}
	return s
}

// decided says what people have decided about unknown tasks, in brackets.
func (r Run) decided() string {
	counts := map[Verdict]int{}
	for _, t := range r.Tasks {
		if t.State == TaskUnknown && t.Decision != nil {
			counts[t.Decision.Verdict]++
		}
	}
	var parts []string
	for _, v := range Verdicts() {
		if counts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (decided: " + strings.Join(parts, ", ") + ")"
}

// Latest gives the newest attempt of each host, in the order of the plan. The
// answer may be tasks itself: it is to be read only.
func Latest(tasks []Task) []Task {
	if onlyFirst(tasks) { // nearly always, and a walk over many hosts asks at each step
		return slices.Clip(tasks)
	}
	newest := map[string]int{} // host → index in out
	var out []Task
	for _, t := range tasks {
		i, seen := newest[t.Host]
		switch {
		case !seen:
			newest[t.Host] = len(out)
			out = append(out, t)
		case t.Attempt > out[i].Attempt:
			out[i] = t
		}
	}
	slices.SortStableFunc(out, func(a, b Task) int { return a.Position - b.Position })
	return out
}

// onlyFirst tells whether the tasks are the first attempts of their hosts, in
// the order of the plan.
func onlyFirst(tasks []Task) bool {
	for i := range tasks {
		if tasks[i].Attempt != 1 || i > 0 && tasks[i-1].Position >= tasks[i].Position {
			return false
		}
	}
	return true
}

// Again gives the tasks with which a resumed run tries its hosts again that
// are known not to have been started: new ids, the next attempt number.
func (r Run) Again(now time.Time) []Task {
	var out []Task
	for _, t := range Latest(r.Tasks) {
		if t.State == TaskNotStarted {
			out = append(out, Task{ID: NewID(now), RunID: r.ID, Host: t.Host, Position: t.Position, Batch: t.Batch, Attempt: t.Attempt + 1, State: TaskPlanned})
		}
	}
	return out
}

// Failures counts the hosts whose latest attempt counts against max_failures.
func (r Run) Failures() int {
	n := 0
	for _, t := range Latest(r.Tasks) {
		if t.Counts() {
			n++
		}
	}
	return n
}

// GlassReview is the review of a run that was started past its safeguards.
type GlassReview struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note"`
}

// Merge gives old with the tasks of fresh in place of those with the same id,
// and the others of fresh at the end.
func Merge(old, fresh []Task) []Task {
	out := slices.Clone(old)
	if len(fresh) == 0 {
		return out
	}
	at := make(map[string]int, len(fresh)) // as a rule far fewer than old
	for i := range fresh {
		at[fresh[i].ID] = i
	}
	for i := range out {
		if j, ok := at[out[i].ID]; ok {
			out[i] = fresh[j]
			delete(at, out[i].ID)
		}
	}
	for i := range fresh {
		if j, left := at[fresh[i].ID]; left && i == j {
			out = append(out, fresh[i])
		}
	}
	return out
}

// HoldsService tells whether the run keeps all others from its service while it
// is not over. One that only puts hosts back holds nothing but those hosts.
func (r Run) HoldsService() bool { return r.Kind.HoldsService() && r.Work != WorkUndrain }
