package simulation

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// ledger holds what is committed against what may be.
type ledger struct {
	w        *world
	intents  map[string]int // by task
	outcomes map[string]int
	by       map[string]*process // who committed a task's intent: nobody else may send it
	sent     map[string]bool
	stopped  map[string]time.Duration // by run: when a stop was wished that is not lifted
	visits   map[string]int           // by run: how often a person has stood before it
	again    map[string]bool          // tasks that a person decided to do again
	starts   map[string]int
	ends     map[string]int
	orphaned map[string]bool // runs that were walking when their server went away, and that nobody has paused since
	runOf    map[string]string
	revoked  time.Duration // since when anna has no rights; 0 = she has
}

func newLedger(w *world) *ledger {
	return &ledger{
		w: w, intents: map[string]int{}, outcomes: map[string]int{}, by: map[string]*process{}, sent: map[string]bool{},
		stopped: map[string]time.Duration{}, visits: map[string]int{}, again: map[string]bool{}, starts: map[string]int{}, ends: map[string]int{}, orphaned: map[string]bool{}, runOf: map[string]string{},
	}
}

func (l *ledger) wished(run string, _ restart.Control) {
	if _, ok := l.stopped[run]; !ok {
		l.stopped[run] = l.w.now
	}
}

// committed looks at one change of a run, which was as before says.
func (l *ledger) committed(before restart.Run, c store.Change) {
	for _, t := range c.Tasks {
		l.task(before, c, t)
	}
	if c.Run != nil && c.Run.To != "" && c.Run.To != before.State {
		l.run(before, c)
	}
}

func (l *ledger) task(before restart.Run, c store.Change, t store.TaskChange) {
	w := l.w
	if slices.Contains(t.Path, restart.TaskIntentLogged) {
		l.intents[t.ID]++
		if l.intents[t.ID] > 1 || records(c, audit.TaskIntent, t.ID) != 1 {
			w.violated("the intent of %s is in the trail %d times, with %d records", t.ID, l.intents[t.ID], records(c, audit.TaskIntent, t.ID))
		}
		l.by[t.ID] = w.asking
		if before.State != restart.RunRunning || before.Control != restart.ControlNone {
			w.violated("a host was begun in run %s, which is %s and wished %q", before.ID, before.State, before.Control)
		}
		if l.orphaned[before.ID] && !w.plan.autoResume {
			w.violated("a host was begun in run %s, whose server went away, without a person", before.ID)
		}
		if l.revoked > 0 && w.now-l.revoked > obeyed && w.now-w.asking.thawed > obeyed {
			w.violated("a host was begun in run %s %s after the rights for it were lost", before.ID, w.now-l.revoked)
		}
		if without := w.outside.lacks(before, w.asking); w.plan.shares && without > obeyed && w.now-w.asking.thawed > obeyed {
			w.violated("a host was begun in run %s %s after its lock was lost", before.ID, without)
		}
		l.logged(before, "begun")
		l.inTime(before, w.asking)
		l.inOrder(before, t.ID)
	}
	if len(t.Path) == 0 || !t.Path[len(t.Path)-1].Final() {
		return
	}
	state := t.Path[len(t.Path)-1]
	if w.asking != nil { // a walk's own word, not the end of a run over hosts that it never asked
		l.outcomes[t.ID]++
	}
	begun := l.intents[t.ID] > 0
	if n := records(c, audit.TaskOutcome, t.ID); begun && n != 1 {
		w.violated("the outcome of %s (%s) was committed with %d records of it", t.ID, state, n)
	}
	for _, r := range c.Records {
		if r.Action == audit.TaskOutcome && r.Task == t.ID && r.Outcome != string(state) {
			w.violated("the trail says %s of %s, the database %s", r.Outcome, t.ID, state)
		}
	}
	l.believable(t.ID, state)
}

// logged holds what is done to a host of a run to what the log has of the run.
func (l *ledger) logged(r restart.Run, what string) {
	w := l.w
	if r.BreakGlass {
		return
	}
	w.trail.ship()
	if lacks := w.trail.lacks(r.ID); lacks != "" {
		w.violated("a host of run %s was %s, and the log lacks it: %s", r.ID, what, lacks)
	}
}

// inTime holds a next host to what the log has of those before it.
func (l *ledger) inTime(r restart.Run, by *process) {
	w := l.w
	if waited := w.trail.oldest(w.serverOf(by).name, r.ID); !r.BreakGlass && waited > backlogDeadline+obeyed && w.now-by.thawed > obeyed {
		w.violated("a host was begun in run %s, of which a record has not come to the log in %s", r.ID, waited)
	}
}

// believable compares an outcome with what the witness has seen so far. What
// it says for all time is looked at again at the end.
func (l *ledger) believable(task string, state restart.TaskState) {
	executed, well := l.w.physical.begun[task], l.w.physical.well[task]
	switch state {
	case restart.TaskNotStarted, restart.TaskUnreachable, restart.TaskRefused, restart.TaskPlanned:
		if executed > 0 {
			l.w.violated("%s is called %s, and its script was executed", task, state)
		}
	case restart.TaskSucceeded:
		if executed != 1 || !well {
			l.w.violated("%s is called %s; executed %d times, healthy %t", task, state, executed, well)
		}
	case restart.TaskFailed, restart.TaskTimedOut, restart.TaskCancelled:
		if executed != 1 {
			l.w.violated("%s is called %s, and was executed %d times", task, state, executed)
		}
	}
}

// inOrder holds the walk to its strategy at the moment of an intent.
func (l *ledger) inOrder(r restart.Run, task string) {
	latest := restart.Latest(r.Tasks)
	at := slices.IndexFunc(latest, func(t restart.Task) bool { return t.ID == task })
	if at < 0 {
		l.w.violated("%s was begun, and is not its host's latest attempt", task)
		return
	}
	failures, unknown := 0, 0
	for _, t := range latest {
		if t.Batch < latest[at].Batch && !t.State.Final() {
			l.w.violated("%s of batch %d was begun while %s of batch %d is %s", latest[at].Host, latest[at].Batch, t.Host, t.Batch, t.State)
		}
		if t.Undecided() {
			unknown++
		}
		if t.Counts() {
			failures++
		}
	}
	allowed := max(r.Plan.Strategy.MaxFailures, r.Acknowledged)
	if failures > allowed && (r.Plan.Strategy.OnFailure != "continue" || unknown > 0) {
		// What was committed after the walk had decided, by the host beside it in the
		// same batch, can't be known to it.
		for _, t := range latest {
			if t.Batch < latest[at].Batch && t.Counts() && failures-inBatch(latest, latest[at].Batch) > allowed {
				l.w.violated("%s was begun over %d failures, %d are allowed", latest[at].Host, failures, allowed)
				return
			}
		}
	}
}

func inBatch(tasks []restart.Task, batch int) (failures int) {
	for _, t := range tasks {
		if t.Batch == batch && t.Counts() {
			failures++
		}
	}
	return failures
}

func records(c store.Change, action audit.Action, task string) (n int) {
	for _, r := range c.Records {
		if r.Action == action && r.Task == task {
			n++
		}
	}
	return n
}

func (l *ledger) run(before restart.Run, c store.Change) {
	w, id, to := l.w, before.ID, c.Run.To
	delete(l.orphaned, id)
	var action audit.Action
	switch {
	case to == restart.RunRunning && before.State == restart.RunQueued:
		action = audit.RunStarted
		l.starts[id]++
	case to == restart.RunPaused:
		action = audit.RunPaused
		if c.Run.Cause == "" || c.Run.Explanation == "" {
			w.violated("run %s was paused without a cause", id)
		}
		if c.Run.Cause == restart.CauseAuditBacklog && before.BreakGlass {
			w.violated("run %s waits for the log, and its glass is broken", id)
		}
		w.paused(id)
	case to.Final():
		action = audit.RunEnded
		l.ends[id]++
		if to != restart.RunCompleted && (c.Run.Cause == "" || c.Run.Explanation == "") {
			w.violated("run %s ended as %s without a cause", id, to)
		}
	default: // resumed, by a person
		delete(l.stopped, id)
		return
	}
	delete(l.stopped, id)
	if n := len(slices.DeleteFunc(slices.Clone(c.Records), func(r audit.Record) bool { return r.Action != action || r.Run != id })); n != 1 {
		w.violated("run %s became %s with %d records of it", id, to, n)
	}
	if l.starts[id] > 1 || l.ends[id] > 1 {
		w.violated("run %s began %d times and ended %d times", id, l.starts[id], l.ends[id])
	}
}

// obeyed is how long after a stop a task may still be sent whose intent was
// committed before it: the orchestrator's promptly, and the way there.
const obeyed = time.Second

// put is told of each PUT before it is sent.
func (l *ledger) put(p *process, task string, s protocol.Submission) {
	w := l.w
	if l.intents[task] == 0 {
		w.violated("%s was sent without an intent", task)
	}
	if l.by[task] != p {
		w.violated("%s was sent by %s, and %v has committed its intent", task, p.name, l.by[task])
	}
	var kept protocol.Sealed
	if err := json.Unmarshal(w.store.Envelope(task), &kept); err != nil || !bytes.Equal(kept.Payload, s.Sealed.Payload) || !bytes.Equal(kept.Signature, s.Sealed.Signature) {
		w.violated("%s was sent with other bytes than are stored (%v)", task, err)
	}
	l.runOf[task] = w.runOfTask(task)
	first := !l.sent[task]
	l.sent[task] = true
	if first && w.now-p.thawed > obeyed { // else it may have lost the run while it was frozen, and the host knows
		l.logged(w.run(l.runOf[task]), "sent a task")
	}
	var e protocol.Envelope
	if err := json.Unmarshal(s.Sealed.Payload, &e); err != nil {
		w.violated("%s was sent with an envelope that can't be read: %v", task, err)
	}
	if first && l.revoked > 0 && w.now-l.revoked > obeyed && w.now-p.thawed > obeyed {
		w.violated("%s was sent to its host %s after the rights for it were lost", task, w.now-l.revoked)
	}
	if without := w.outside.lacks(w.run(l.runOf[task]), p); w.plan.shares && first && without > obeyed && w.now-p.thawed > obeyed {
		w.violated("%s was sent to its host %s after the lock of its run was lost", task, without)
	}
	if at, stopped := l.stopped[e.Run]; first && stopped && w.now-at > obeyed && w.now-p.thawed > obeyed {
		w.violated("%s was sent to its host %s after its run was stopped", task, w.now-at)
	}
}

// last looks at everything once nothing happens any more.
func (l *ledger) last() {
	w := l.w
	for _, id := range w.runs {
		r := w.run(id)
		switch {
		case r.State.Final():
			if l.ends[id] != 1 {
				w.violated("run %s is %s, and its end is in the trail %d times", id, r.State, l.ends[id])
			}
		case r.State == restart.RunPaused && r.Cause != "" && r.Explanation != "":
		case r.State == restart.RunQueued && r.Explanation != "" && w.behindPaused(r):
		default:
			w.violated("run %s neither ended nor waits for a person: %s, cause %q, %q", id, r.State, r.Cause, r.Explanation)
		}
		for _, t := range r.Tasks {
			if t.State.Active() {
				w.violated("%s of run %s is still %s", t.Host, id, t.State)
			}
			if t.State.Final() {
				l.believable(t.ID, t.State)
			}
			if l.intents[t.ID] > 0 && t.State.Final() && l.outcomes[t.ID] != 1 {
				w.violated("%s has %d outcomes", t.ID, l.outcomes[t.ID])
			}
		}
		if owner, leased := w.store.Owner(id); leased && r.State.Final() {
			w.violated("run %s is over and %s has its lease", id, owner)
		}
		for _, holder := range w.store.Holders(r.Service, r.Environment) {
			if w.run(holder).State.Final() {
				w.violated("%s is held by run %s, which is over", r.Service, holder)
			}
		}
	}
	for _, left := range w.outside.left() {
		w.violated("%s", left)
	}
	for _, m := range w.hosts {
		if m.agent == nil {
			w.violated("%s has no agent", m.name)
		} else if active := m.agent.Active(); len(active) > 0 {
			w.violated("%s still has %v in hand", m.name, active)
		}
	}
}

// behindPaused tells whether a queued run waits for one that waits for a person.
func (w *world) behindPaused(r restart.Run) bool {
	holder := w.store.Bearing(r.ID)
	return holder != "" && w.run(holder).State == restart.RunPaused
}

// claimed is told of each run that a server has taken.
func (l *ledger) claimed(c store.Claim) {
	if c.Interrupted && l.w.run(c.RunID).State == restart.RunRunning {
		l.orphaned[c.RunID] = true
	}
}

func (w *world) runOfTask(task string) string {
	for _, id := range w.runs {
		if slices.ContainsFunc(w.run(id).Tasks, func(t restart.Task) bool { return t.ID == task }) {
			return id
		}
	}
	return ""
}
