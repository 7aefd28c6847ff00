package orchestrator

import (
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// snapshot is everything that decide may look at.
type snapshot struct {
	run         restart.Run
	driven      map[string]bool   // ids of tasks that a driver of this server has in hand
	interrupted bool              // the run was running under another owner when it was claimed
	autoResume  bool              // setting: go on by itself after an interruption
	gates       map[int]gate      // by batch: what was sampled before it
	rests       map[int]time.Time // by batch: since when this server has waited before it
	round       roundState        // of the evidence that hosts are asked for before the first is touched
	intent      intentState       // of this start or resume, on its way to the log
	backlog     string            // why it is late
	locks       lockState         // of those that are shared with others
	stopping    bool              // this server is going down
}

// gate is what was found just before a batch: whether it may start.
type gate struct {
	open  bool
	why   string
	again int // how many attempts the batch had made anew: one more is sampled anew
}

// The commands that decide can give.
type (
	command interface{ isCommand() }

	take      struct{}              // the locks that are shared with others, after our own
	begin     struct{}              // queued → running, taking the service's lock
	reconcile struct{ task string } // an active task that nobody has in hand: find out, never send
	secure    struct{}              // wait until the intent is in the log
	gather    struct{}              // ask every host for its evidence, before the first is touched
	look      struct{ batch int }   // sample the hosts that min_available counts
	start     struct{ task string } // planned → intent_logged → …
	cancel    struct{ task string } // force-abort: end the process tree
	pause     struct {              // running → paused
		cause restart.Cause
		why   string
	}
	end struct { // → completed, failed or aborted
		state restart.RunState
		cause restart.Cause
		why   string
	}
	wait struct { // pause_between
		batch int
		until time.Time
	}
	leave struct{} // nothing more to do here: give the run back
)

func (take) isCommand()      {}
func (begin) isCommand()     {}
func (reconcile) isCommand() {}
func (secure) isCommand()    {}
func (gather) isCommand()    {}
func (look) isCommand()      {}
func (start) isCommand()     {}
func (cancel) isCommand()    {}
func (pause) isCommand()     {}
func (end) isCommand()       {}
func (wait) isCommand()      {}
func (leave) isCommand()     {}

// decide says what to do next with a run. It is pure: the same snapshot and
// time give the same commands. An empty answer means: wait to be woken.
func decide(s snapshot, now time.Time) []command {
	if s.run.State.Final() {
		return []command{leave{}}
	}
	tasks := restart.Latest(s.run.Tasks)
	active := 0
	var out []command
	for i := range tasks { // by index here and below: a task is large, and a run may have 10,000
		t := &tasks[i]
		if !t.State.Active() {
			continue
		}
		active++
		if !s.driven[t.ID] && !s.stopping {
			out = append(out, reconcile{t.ID})
		}
		if s.run.Control == restart.ControlForceAbort && !s.stopping {
			out = append(out, cancel{t.ID})
		}
	}
	if s.stopping {
		return stopHere(s, active)
	}
	if active > 0 && (s.run.Control != restart.ControlNone || s.run.State != restart.RunRunning || s.interrupted) {
		return out // first know what the hosts in hand did
	}
	if active == 0 {
		if c := obey(s.run); c != nil {
			return append(out, c)
		}
	}
	switch s.run.State {
	case restart.RunQueued:
		if s.locks == locksDue {
			return append(out, take{})
		}
		return append(out, begin{})
	case restart.RunRunning:
		return append(out, advance(s, tasks, active, now)...)
	default: // paused, waiting for approval: a person is needed, not an owner
		return append(out, leave{})
	}
}

// stopHere leaves a run so that the next server finds out what became of the
// hosts in hand: the agents finish them by themselves.
func stopHere(s snapshot, active int) []command {
	if s.run.State != restart.RunRunning || s.autoResume {
		return []command{leave{}}
	}
	if c := obey(s.run); c != nil && active == 0 {
		return []command{c, leave{}}
	}
	why := "the server was stopped"
	if active > 0 {
		why += fmt.Sprintf(" while %s in hand", hosts(active, "was", "were"))
	}
	return []command{pause{restart.CauseInterrupted, why}, leave{}}
}

// forgotten says of a run that was put back from a backup that more may have
// been done than it knows of. Hosts that it never came to are asked of no agent
// as it is aborted.
func forgotten(r restart.Run) string {
	if !r.Restored() {
		return ""
	}
	return "; the run was restored from a backup, and hosts may have been touched that are not known of here: look at them before a retry"
}

// obey carries out what a person asked for, once no host is in hand.
func obey(r restart.Run) command {
	switch r.Control {
	case restart.ControlAbort:
		return end{restart.RunAborted, restart.CauseOperator, "aborted by a person; no further host was touched" + forgotten(r)}
	case restart.ControlForceAbort:
		what := "hosts in hand were killed, look at them"
		if r.StartedAt == nil {
			what = "it had touched no host"
		}
		return end{restart.RunAborted, restart.CauseOperator, "aborted by force; " + what + forgotten(r)}
	case restart.ControlPause:
		if r.State == restart.RunRunning || r.State == restart.RunQueued {
			return pause{restart.CauseOperator, "paused by a person"}
		}
	}
	return nil
}

// advance is the strategy: tasks are the latest attempt of each host, in the
// order of the plan.
func advance(s snapshot, tasks []restart.Task, active int, now time.Time) []command {
	strategy := s.run.Plan.Strategy
	if s.interrupted && !s.autoResume {
		return []command{pause{restart.CauseInterrupted, "the server that had this run in hand went away; what became of its hosts is known now"}}
	}
	if c := tooManyFailures(s.run, tasks); c != nil {
		if active > 0 {
			return nil // hosts in hand finish; none is added
		}
		return []command{c}
	}
	batch, ok := currentBatch(tasks)
	if !ok {
		return []command{conclude(tasks)}
	}
	for i := range tasks {
		if t := &tasks[i]; t.Batch != batch && t.State.Active() {
			return nil // the last batch is not done yet, or this one is tried again beside a later one
		}
	}
	if finished, done := lastFinish(tasks, batch); done {
		if strategy.HoldAfterFirst && batch >= 1 && !s.run.Held {
			return []command{pause{restart.CauseHold, "the first batch is done; look at it, then resume"}}
		}
		if until := restUntil(s, batch, finished, now); untouched(tasks, batch) && now.Before(until) {
			return []command{wait{batch, until}}
		}
	}
	if inBatch(tasks, batch, restart.TaskPlanned) { // nothing to the log, nothing to the host
		if c, waits := secured(s); waits {
			return c
		}
	}
	if s.locks == locksDue && inBatch(tasks, batch, restart.TaskPlanned) { // resumed, or taken over
		return []command{take{}}
	}
	if s.round != roundNone && untouchedAll(tasks) {
		if s.round == roundDue {
			return []command{gather{}}
		}
		return nil // it is bounded in time, and nothing depends on what it brings
	}
	if strategy.MinAvailable != "" && inBatch(tasks, batch, restart.TaskPlanned) { // also of what a resume has left of a batch
		g, sampled := s.gates[batch]
		if !sampled || g.again != triedAgain(tasks, batch) {
			return []command{look{batch}}
		}
		if !g.open {
			return []command{pause{restart.CauseGate, g.why}}
		}
	}
	var out []command
	for i := range tasks {
		if t := &tasks[i]; t.Batch == batch && t.State == restart.TaskPlanned {
			out = append(out, start{t.ID})
		}
	}
	return out
}

// restUntil is when pause_between is over. Where a clock was set back, the last
// host has ended in the future: the pause is counted from when it was noticed.
func restUntil(s snapshot, batch int, finished, now time.Time) time.Time {
	if finished.After(now) {
		finished = now
	}
	if since, ok := s.rests[batch]; ok && since.Before(finished) {
		finished = since
	}
	return finished.Add(s.run.Plan.Strategy.PauseBetween.Std())
}

// tooManyFailures pauses or ends a run whose failures exceed max_failures and
// what a person has already seen and resumed over. A host that was not started
// stops the walk too: the next one starts only when this one is healthy.
func tooManyFailures(r restart.Run, tasks []restart.Task) command {
	failures, unknown, notStarted := 0, 0, 0
	var last *restart.Task
	for i := range tasks {
		t := &tasks[i]
		switch {
		case t.Done(): // also an unknown one that a person knows better
		case t.Undecided():
			unknown++
			failures++
			last = t
		case t.State == restart.TaskNotStarted:
			notStarted++
			last = t
		case t.Counts(): // also an unknown one that did not happen
			failures++
			last = t
		}
	}
	strategy := r.Plan.Strategy
	within := failures <= max(strategy.MaxFailures, r.Acknowledged)
	if strategy.OnFailure == "continue" && unknown == 0 {
		within = true // what is known to have failed does not stop the walk; what is not known does
	}
	if within && notStarted == 0 {
		return nil
	}
	why := fmt.Sprintf("%s: %s", last.Host, last.State)
	if last.Error != "" {
		why += ", " + last.Error
	}
	if failures > 1 {
		why += fmt.Sprintf("; %s not well, %d allowed", hosts(failures, "is", "are"), strategy.MaxFailures)
	}
	if strategy.OnFailure == "abort" && unknown == 0 && notStarted == 0 {
		return end{restart.RunFailed, restart.CauseFailure, why}
	}
	cause := restart.CauseFailure
	if unknown > 0 {
		cause = restart.CauseUnknown
	}
	return pause{cause, why}
}

// currentBatch is the first batch with a host that has not ended.
func currentBatch(tasks []restart.Task) (int, bool) {
	batch, found := 0, false
	for i := range tasks {
		if t := &tasks[i]; !t.State.Final() && (!found || t.Batch < batch) {
			batch, found = t.Batch, true
		}
	}
	return batch, found
}

// inBatch tells whether a host of the batch is in that state.
func inBatch(tasks []restart.Task, batch int, state restart.TaskState) bool {
	for i := range tasks {
		if tasks[i].Batch == batch && tasks[i].State == state {
			return true
		}
	}
	return false
}

// untouched tells whether no host of the batch has been asked yet.
func untouched(tasks []restart.Task, batch int) bool {
	for i := range tasks {
		if tasks[i].Batch == batch && tasks[i].State != restart.TaskPlanned {
			return false
		}
	}
	return true
}

// untouchedAll tells whether no host of the run has been asked yet, nor was in
// an earlier attempt.
func untouchedAll(tasks []restart.Task) bool {
	for i := range tasks {
		if tasks[i].State != restart.TaskPlanned || tasks[i].Attempt > 1 {
			return false
		}
	}
	return true
}

// triedAgain counts the attempts after the first in a batch, tasks being the
// newest of each host.
func triedAgain(tasks []restart.Task, batch int) int {
	n := 0
	for i := range tasks {
		if tasks[i].Batch == batch {
			n += tasks[i].Attempt - 1
		}
	}
	return n
}

// lastFinish is when the newest task before the batch ended.
func lastFinish(tasks []restart.Task, batch int) (time.Time, bool) {
	var last time.Time
	for i := range tasks {
		if t := &tasks[i]; t.Batch < batch && t.FinishedAt != nil && t.FinishedAt.After(last) {
			last = *t.FinishedAt
		}
	}
	return last, !last.IsZero()
}

func conclude(tasks []restart.Task) command {
	bad := 0
	for i := range tasks {
		if !tasks[i].Done() {
			bad++
		}
	}
	if bad == 0 {
		return end{restart.RunCompleted, "", ""}
	}
	return end{restart.RunFailed, restart.CauseFailure, fmt.Sprintf("%d of %s did not succeed", bad, hosts(len(tasks), "", ""))}
}

func hosts(n int, one, many string) string {
	word, verb := "hosts", many
	if n == 1 {
		word, verb = "host", one
	}
	s := fmt.Sprintf("%d %s", n, word)
	if verb != "" {
		s += " " + verb
	}
	return s
}
