package restart

import "time"

// Verdict is what a person has found out about an unknown task, or wants done
// about it.
type Verdict string

// The verdicts on an unknown task. The task stays unknown whatever is decided:
// the program still can't know; the decision stands beside the state.
const (
	VerdictHappened Verdict = "happened" // the script ran, and the host is well: no failure from now on
	VerdictDidNot   Verdict = "did-not"  // it did not, and the host is left as it is: a failure that is known
	VerdictAgain    Verdict = "again"    // run it once more: a new attempt, with a new task id
)

// Verdicts lists what may be decided.
func Verdicts() []Verdict { return []Verdict{VerdictHappened, VerdictDidNot, VerdictAgain} }

// Decision is a person's word on an unknown task. It is given once.
type Decision struct {
	Verdict Verdict   `json:"verdict"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Undecided tells whether a person is needed to say what became of the task.
func (t *Task) Undecided() bool { return t.State == TaskUnknown && t.Decision == nil }

// Done tells whether the task's work is done, as far as anybody knows: it has
// succeeded, or it is unknown and a person has said that it happened.
func (t *Task) Done() bool {
	return t.State == TaskSucceeded || t.State == TaskUnknown && t.Decision != nil && t.Decision.Verdict == VerdictHappened
}

// Counts tells whether the task counts against max_failures.
func (t *Task) Counts() bool { return t.State.Failure() && !t.Done() }

// Work is how much of the scenario a run does on each host.
type Work string

// The kinds of work.
const (
	WorkWhole   Work = ""        // every phase
	WorkUndrain Work = "undrain" // that step alone, on hosts that were left drained
	// WorkRehearse is everything but the scenario's scripts: the host judges,
	// holds and probes as it would, and says what it would have run.
	WorkRehearse Work = "rehearse"
)

// Child is a run that was made from another: a retry, or an undrain alone.
type Child struct {
	ID    string   `json:"id"`
	Work  Work     `json:"work,omitempty"`
	State RunState `json:"state"`
	Actor string   `json:"actor"`
}

// Left gives the newest attempts of the hosts on which the run's work is not
// done, in the order of the plan: what a retry is over.
func (r Run) Left() []Task {
	var out []Task
	for _, t := range Latest(r.Tasks) {
		if !t.Done() {
			out = append(out, t)
		}
	}
	return out
}

// Drained gives the newest attempts of the hosts that the run has left drained:
// an attempt has, and none has succeeded since.
func (r Run) Drained() []Task {
	var out []Task
	left := map[string]int{} // host → newest attempt that left it drained
	for _, t := range r.Tasks {
		if t.Drained && t.State.Final() {
			left[t.Host] = max(left[t.Host], t.Attempt)
		}
	}
	if len(left) == 0 {
		return nil
	}
	for _, t := range Latest(r.Tasks) {
		at, drained := left[t.Host]
		if drained && (t.State != TaskSucceeded || t.Attempt == at) && t.State.Final() {
			out = append(out, t)
		}
	}
	return out
}

// Undecided gives the newest attempts of the hosts about which a person has to
// decide.
func (r Run) Undecided() []Task {
	var out []Task
	for _, t := range Latest(r.Tasks) {
		if t.Undecided() {
			out = append(out, t)
		}
	}
	return out
}
