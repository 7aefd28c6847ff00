package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// greetTime bounds the question that goes before a task. It has room for a
// server that makes hundreds of connections at once, and is busy besides; two
// questions still end before the task's envelope does.
const greetTime = 10 * time.Second

// promptly is how soon after the intent a task is sent without asking once more
// whether the run still goes on.
const promptly = 500 * time.Millisecond

// driver brings one task from its plan to its outcome, or, resumed, finds out
// what became of it. It ends with nil once the task is final in the store.
type driver struct {
	l    *loop
	run  restart.Run
	task restart.Task
	host restart.Host
	log  *slog.Logger
}

// now is the time by the orchestrator's clock.
func (d *driver) now() time.Time { return d.l.o.cfg.Clock.Now() }

func (d *driver) drive(ctx context.Context, resumed bool) error {
	if resumed {
		return d.find(ctx, d.now().Add(d.l.o.cfg.ContactTimeout))
	}
	submission, expiry, err := d.intend(ctx)
	if restart.CodeOf(err) == restart.CodeConflict {
		return nil // the task has moved on, or the run is to stop: the loop looks again
	}
	if restart.CodeOf(err) == restart.CodeLocked {
		return d.lockedOut(ctx, err)
	}
	if err != nil {
		return err
	}
	if there, err := d.greet(ctx, expiry); err != nil || !there {
		return err
	}
	return d.send(ctx, submission, expiry)
}

// intend commits the intent, with the envelope's exact bytes, and that the
// agent is about to be called, as one: a server that takes the run over does
// the same about either. Only after that may a byte be sent.
func (d *driver) intend(ctx context.Context) (protocol.Submission, time.Time, error) {
	now := d.now().UTC().Truncate(time.Microsecond)
	expiry := now.Add(protocol.Lifetime)
	sealed, err := protocol.Seal(protocol.Envelope{
		Version: protocol.Version, Task: d.task.ID, Run: d.run.ID, Attempt: d.task.Attempt, Host: d.host.Name,
		Service: d.run.Service, Environment: d.run.Environment, Project: d.run.Project, Group: d.run.Group,
		Scenario: d.run.Scenario, Digest: d.run.Digest, Params: d.run.Params, Actor: d.run.Actor, Reason: d.run.Reason, Only: string(d.run.Work),
		NotBefore: now, Expiry: expiry,
	}, d.l.o.cfg.Key)
	if err != nil {
		return protocol.Submission{}, expiry, err
	}
	submission := protocol.Submission{Sealed: sealed, Epoch: d.l.claim.Epoch}
	kept, err := json.Marshal(sealed)
	if err != nil {
		return submission, expiry, fmt.Errorf("encode an envelope: %w", err)
	}
	rec := d.record(audit.TaskIntent, now)
	err = d.apply(ctx, store.TaskChange{
		From: []restart.TaskState{restart.TaskPlanned}, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching},
		Envelope: kept, StartedAt: &now,
	}, &rec)
	if err == nil {
		d.task.StartedAt = &now
	}
	return submission, expiry, err
}

// lockedOut ends a task whose host has another task of the service active.
func (d *driver) lockedOut(ctx context.Context, cause error) error {
	var e *restart.Error
	errors.As(cause, &e)
	rec := d.record(audit.TaskOutcome, d.now())
	rec.Outcome, rec.Detail = string(restart.TaskNotStarted), e.Message
	return d.apply(ctx, store.TaskChange{
		From: []restart.TaskState{restart.TaskPlanned}, Path: []restart.TaskState{restart.TaskNotStarted},
		Cause: string(e.Code), Error: e.Message, FinishedAt: &rec.Time,
	}, &rec)
}

// greet asks the agent for the id before anything is sent: whoever is there
// has not heard of it, unless the database was restored from a backup that is
// older than the task's work; then what became of it is the outcome. A host that went away behind an open connection is found
// out by a harmless question, so that it is unreachable; found out by the task
// itself, it would be unknown. It may as well be the connection alone that is
// dead, or this server too busy to shake hands in time: whoever does not answer
// is asked once more, over another. False means that the task has its outcome.
func (d *driver) greet(ctx context.Context, expiry time.Time) (bool, error) {
	began := d.now()
	giveUp := began.Add(d.l.o.cfg.DialRetry)
	asked := 0
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		asked++
		actx, cancel := d.l.o.cfg.Clock.WithTimeout(ctx, greetTime)
		status, err := d.l.o.cfg.Agents.Status(actx, d.host, d.task.ID, -1, 0)
		cancel()
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil {
			d.log.Warn("the host knows the task already: this database is older than what happened")
			return false, d.follow(ctx, status)
		}
		if refused, ok := errors.AsType[*dispatch.RefusedError](err); ok {
			if refused.Err.Code == restart.CodeTombstone {
				return d.had(ctx, refused.Err)
			}
			if took := d.l.o.since(began); asked > 1 || took > promptly || took < 0 { // below 0: the clock was set back
				return d.wanted(ctx)
			}
			return true, nil // what it has to say against the task, it says of the task
		}
		var notSent *dispatch.NotSentError
		final := errors.As(err, &notSent) && (notSent.Err.Code == restart.CodeCertificate || notSent.Err.Code == restart.CodeRevoked)
		if now := d.now(); final || now.After(expiry) || now.After(giveUp) && asked > 1 {
			cause := restart.Errorf(restart.CodeUnreachable, "%s did not answer; nothing was sent to it", d.host.Name).
				WithHint("is the host up, and port 3131 open from the server?").Because(err)
			if notSent != nil {
				cause = notSent.Err
			}
			return false, d.outcome(ctx, restart.TaskUnreachable, cause, nil)
		}
		if !d.l.o.sleep(ctx, pause, nil) {
			return false, ctx.Err()
		}
	}
}

// had settles a task that its host has had before, and has forgotten. It is
// told of this server's epoch first: to one that works on a lost database, or
// has lost the run, the host says so. False means that the task has its outcome.
func (d *driver) had(ctx context.Context, said *restart.Error) (bool, error) {
	fctx, cancel := d.l.o.cfg.Clock.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := d.l.o.cfg.Agents.Forget(fctx, d.host, d.task.ID, protocol.Forget{Run: d.run.ID, Epoch: d.l.claim.Epoch}); err != nil && fenced(err) {
		return false, err
	}
	return false, d.outcome(ctx, restart.TaskUnknown, restart.Errorf(restart.CodeTombstone,
		"%s has had this task before, and has forgotten it: this database is older than what happened (%s)", d.host.Name, said.Message), nil)
}

// wanted tells whether the run still goes on, for a host that has been tried
// for a while and to which nothing was sent: who has stopped the run meanwhile
// is obeyed. False means that the task has its outcome.
func (d *driver) wanted(ctx context.Context) (bool, error) {
	run, err := d.l.o.cfg.Runs.RunSince(ctx, d.run.ID, math.MaxInt64) // none of its tasks
	if err != nil || (run.State == restart.RunRunning && run.Control == restart.ControlNone) {
		return err == nil, err
	}
	return false, d.outcome(ctx, restart.TaskNotStarted, restart.Errorf(restart.CodeConflict,
		"the run was stopped before anything was sent to %s", d.host.Name), nil)
}

// send submits the task until the agent has answered. The same bytes may be
// sent again and again while the envelope lives; never anything else.
func (d *driver) send(ctx context.Context, s protocol.Submission, expiry time.Time) error {
	perhapsSent, tries := false, 0
	giveUp := d.now().Add(d.l.o.cfg.DialRetry)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		tries++
		pctx, cancel := d.l.o.cfg.Clock.WithTimeout(ctx, 15*time.Second)
		status, err := d.l.o.cfg.Agents.Put(pctx, d.host, d.task.ID, s)
		cancel()
		if err == nil {
			return d.follow(ctx, status)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var notSent *dispatch.NotSentError
		var refused *dispatch.RefusedError
		switch {
		case errors.As(err, &refused) && refused.Err.Code == restart.CodeStaleEpoch:
			return refused.Err
		case errors.As(err, &refused) && refused.Err.Code != restart.CodeStopping && perhapsSent:
			// What was sent before may still be on its way: it is known only once
			// the id is forgotten there.
			d.log.Warn("refused after an earlier request had no answer", "error", err)
			return d.find(ctx, d.now().Add(d.l.o.cfg.ContactTimeout))
		case errors.As(err, &refused) && refused.Err.Code != restart.CodeStopping:
			return d.outcome(ctx, restart.TaskRefused, refused.Err, nil)
		case errors.As(err, &notSent) && !perhapsSent:
			if d.now().After(giveUp) && tries > 1 || notSent.Err.Code == restart.CodeCertificate || notSent.Err.Code == restart.CodeRevoked {
				return d.outcome(ctx, restart.TaskUnreachable, notSent.Err, nil)
			}
		case errors.As(err, &refused): // stopping: it will be back
			if d.now().After(expiry) {
				return d.find(ctx, d.now().Add(d.l.o.cfg.ContactTimeout))
			}
		default:
			if !errors.As(err, &notSent) {
				perhapsSent = true
			}
			d.log.Warn("no answer to a task; asking again with the same bytes", "error", err)
			if d.now().After(expiry) {
				return d.find(ctx, d.now().Add(d.l.o.cfg.ContactTimeout))
			}
		}
		if !d.l.o.sleep(ctx, pause, nil) {
			return ctx.Err()
		}
		if !perhapsSent {
			if wanted, err := d.wanted(ctx); err != nil || !wanted {
				return err
			}
		}
	}
}

// find asks the agent what it knows of the task, and never sends it. An id
// that the agent has not heard of is forgotten there for ever before the task
// is called not started. When nobody answers until giveUp, it is unknown.
func (d *driver) find(ctx context.Context, giveUp time.Time) error {
	if d.task.State == restart.TaskAccepted || d.task.State == restart.TaskRunning {
		if end := d.latestEnd(); end.After(giveUp) {
			giveUp = end // its work may well go on while the network is down
		}
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		status, err := d.ask(ctx, -1, 0)
		if err == nil {
			return d.follow(ctx, status)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var refused *dispatch.RefusedError
		if errors.As(err, &refused) && (refused.Err.Code == restart.CodeNotFound || refused.Err.Code == restart.CodeTombstone) {
			done, err := d.absent(ctx)
			if done || err != nil {
				return err
			}
		}
		if d.now().After(giveUp) || d.l.givenUp() {
			return d.outcome(ctx, restart.TaskUnknown, restart.Errorf(restart.CodeUnreachable, "the host did not answer for %s: whether the script ran is not known (%v)",
				d.l.o.cfg.ContactTimeout, err), nil)
		}
		if !d.l.o.sleep(ctx, pause, nil) {
			return ctx.Err()
		}
	}
}

// absent settles a task that its agent does not have: false means that the
// agent got it after all, so ask again. The agent is told to forget it first:
// to a server that has lost the run, or works on a database that was restored
// elsewhere since, it says so.
func (d *driver) absent(ctx context.Context) (bool, error) {
	fctx, cancel := d.l.o.cfg.Clock.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stone, err := d.l.o.cfg.Agents.Forget(fctx, d.host, d.task.ID, protocol.Forget{Run: d.run.ID, Epoch: d.l.claim.Epoch})
	switch {
	case err != nil && fenced(err):
		return true, err
	case err != nil:
		d.log.Warn("make the agent forget an id that it has not seen", "error", err)
		return false, nil
	case d.task.State == restart.TaskAccepted || d.task.State == restart.TaskRunning:
		return true, d.outcome(ctx, restart.TaskUnknown, restart.Errorf(restart.CodeUnavailable,
			"the agent had taken the task and does not have it any more (was its spool lost, or the database restored?): how it ended is not known"), nil)
	case stone.Stage != "" && stone.Stage != restart.StageReceived && stone.Outcome != protocol.OutcomeNotStarted:
		return true, d.outcome(ctx, restart.TaskUnknown, restart.Errorf(restart.CodeUnavailable, "the agent has forgotten the task after it had started"), nil)
	}
	return true, d.outcome(ctx, restart.TaskNotStarted, restart.Errorf(restart.CodeUnavailable,
		"the request never reached the agent, and the agent will never run it"), nil)
}

// latestEnd is when a task that is running must have ended by its own limits.
func (d *driver) latestEnd() time.Time {
	started := d.now()
	if at := d.task.StartedAt; at != nil && at.Before(started) { // else a clock was set back
		started = *at
	}
	plan := d.run.Plan
	const evidenceAndGrace = 30 * time.Second
	work := 2*plan.Strategy.TaskTimeout.Std() + plan.Deadline.Std() // undrain has as long as drain and run
	return started.Add(evidenceAndGrace + work + d.l.o.cfg.ContactTimeout)
}

func (d *driver) ask(ctx context.Context, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	actx, cancel := d.l.o.cfg.Clock.WithTimeout(ctx, wait+10*time.Second)
	defer cancel()
	return d.l.o.cfg.Agents.Status(actx, d.host, d.task.ID, after, wait)
}

// follow watches a task that the agent has, stores its output and phases, and
// commits its outcome.
func (d *driver) follow(ctx context.Context, status protocol.TaskStatus) error {
	output := nothing()
	defer func() { output.stop() }()
	giveUp, heard, answers := d.latestEnd(), d.now(), 0
	var shown time.Time
	pause := 100 * time.Millisecond
	for {
		if !output.follows && status.Stage != restart.StageReceived { // a script that has not begun prints nothing
			output = d.keepOutput(ctx, status)
		}
		if status.Outcome != "" {
			output.drain(5 * time.Second)
			return d.settle(ctx, status)
		}
		if d.l.givenUp() {
			return d.outcome(ctx, restart.TaskUnknown, restart.Errorf("cancelled",
				"the host has not said that the killed task is over: what runs there is not known"), &status)
		}
		if err := d.keepUp(ctx, status, &shown); err != nil {
			return err
		}
		next, err := d.ask(ctx, status.Revision, protocol.MaxWait-5*time.Second)
		if err == nil {
			early := next.Revision <= status.Revision
			status, pause, heard = next, 100*time.Millisecond, d.now()
			if answers++; early || answers > 100 { // a host that answers at once, for ever, is not asked as often
				d.l.o.sleep(ctx, 50*time.Millisecond, nil)
			}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var refused *dispatch.RefusedError
		if errors.As(err, &refused) && (refused.Err.Code == restart.CodeNotFound || refused.Err.Code == restart.CodeTombstone) {
			if done, err := d.absent(ctx); done || err != nil {
				return err
			}
		}
		if d.now().After(giveUp) && d.l.o.since(heard) >= d.l.o.cfg.ContactTimeout {
			return d.outcome(ctx, restart.TaskUnknown, restart.Errorf(restart.CodeUnreachable,
				"the host stopped answering while the task was running: how it ended is not known (%v)", err), &status)
		}
		d.log.Warn("watch a task; asking again", "error", err)
		if !d.l.o.sleep(ctx, pause, nil) {
			return ctx.Err()
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// keepUp stores how far the task has come. A change of state is stored at
// once; phases and samples at most four times a second.
func (d *driver) keepUp(ctx context.Context, status protocol.TaskStatus, shown *time.Time) error {
	path := d.pathTo(status.Stage)
	if len(path) > 0 {
		if err := d.apply(ctx, store.TaskChange{
			From: []restart.TaskState{d.task.State}, Path: path, Phase: clean(string(status.Phase)), Detail: detail(status),
		}, nil); err != nil {
			return err
		}
		*shown = d.now()
		return nil
	}
	if status.Stage != restart.StageStarted || d.l.o.since(*shown) < 250*time.Millisecond {
		return nil
	}
	*shown = d.now()
	if err := d.l.o.cfg.Tasks.Progress(ctx, d.l.fence(), d.task.ID, clean(string(status.Phase)), detail(status)); err != nil {
		return err
	}
	d.l.o.cfg.Changed(d.run.ID)
	return nil
}

// pathTo gives the states between the task's own and what the agent's stage
// implies, so that several steps seen at once are one commit.
func (d *driver) pathTo(stage restart.Stage) []restart.TaskState {
	var path []restart.TaskState
	at := d.task.State
	step := func(to restart.TaskState) {
		path, at = append(path, to), to
	}
	if at == restart.TaskIntentLogged {
		step(restart.TaskDispatching)
	}
	if at == restart.TaskDispatching {
		step(restart.TaskAccepted)
	}
	if at == restart.TaskAccepted && stage != restart.StageReceived {
		step(restart.TaskRunning)
	}
	return path
}

// settle turns the agent's outcome into the server's.
func (d *driver) settle(ctx context.Context, status protocol.TaskStatus) error {
	why := restart.Errorf(restart.Code(status.FailedPhase), "%s", status.Error)
	if status.Error == "" {
		why = nil
	}
	switch status.Outcome {
	case protocol.OutcomeSucceeded:
		return d.outcome(ctx, restart.TaskSucceeded, why, &status)
	case protocol.OutcomeFailed:
		return d.outcome(ctx, restart.TaskFailed, why, &status)
	case protocol.OutcomeTimedOut:
		return d.outcome(ctx, restart.TaskTimedOut, why, &status)
	case protocol.OutcomeNotStarted:
		return d.outcome(ctx, restart.TaskNotStarted, why, &status)
	case protocol.OutcomeCancelled:
		if d.run.Kind == restart.KindThreadDump {
			return d.outcome(ctx, restart.TaskCancelled, why, &status)
		}
		// A restart that was killed half-way: what the service is now is for a person to see.
		return d.outcome(ctx, restart.TaskUnknown, restart.Errorf("cancelled", "killed in the middle of its work; look at the service on this host"), &status)
	default:
		return d.outcome(ctx, restart.TaskUnknown, why, &status)
	}
}

// outcome commits the end of the task, its audit record and its outbox row in
// one transaction. Then the agent is told that it may forget.
func (d *driver) outcome(ctx context.Context, state restart.TaskState, why *restart.Error, status *protocol.TaskStatus) error {
	now := d.now().UTC()
	change := store.TaskChange{From: []restart.TaskState{d.task.State}, FinishedAt: &now}
	if status != nil {
		if state != restart.TaskNotStarted {
			change.Path = d.pathTo(restart.StageStarted)
		} else {
			change.Path = d.pathTo(restart.StageReceived)
		}
		change.Drained, change.Detail = &status.Drained, detail(*status)
		if state != restart.TaskUnknown { // how it ended is not known: nor is the rest
			change.ExitCode = status.ExitCode
		}
		change.Phase = clean(string(status.FailedPhase))
	}
	change.Path = append(change.Path, state)
	rec := d.record(audit.TaskOutcome, now)
	rec.Outcome = string(state)
	if why != nil {
		change.Cause, change.Error = clean(string(why.Code)), clean(why.Error())
		rec.Detail = change.Error
	}
	if err := d.apply(ctx, change, &rec); err != nil {
		return err
	}
	switch {
	case state == restart.TaskUnreachable: // it has nothing to forget
	case state == restart.TaskUnknown && (status == nil || status.Outcome == ""): // forgetLoop asks first what became of it
	default:
		d.l.forget(ctx, d.run, d.task, d.host)
	}
	return nil
}

// forget tells the agent that the outcome is stored. The walk does not wait
// for it: what is not told now is told later by forgetLoop.
func (l *loop) forget(ctx context.Context, run restart.Run, t restart.Task, host restart.Host) {
	l.wg.Go(func() {
		fctx, cancel := l.o.cfg.Clock.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := l.o.cfg.Agents.Forget(fctx, host, t.ID, protocol.Forget{Run: run.ID, Epoch: l.claim.Epoch}); err != nil {
			return
		}
		l.mu.Lock()
		l.reported = append(l.reported, t.ID)
		l.mu.Unlock()
	})
}

// apply commits one change of the task and remembers its new state.
func (d *driver) apply(ctx context.Context, c store.TaskChange, rec *audit.Record) error {
	c.ID = d.task.ID
	change := store.Change{RunID: d.run.ID, Fence: new(d.l.fence()), Tasks: []store.TaskChange{c}, At: d.now().UTC()}
	change.Going = slices.Contains(c.Path, restart.TaskIntentLogged) // no next host after a stop
	if rec != nil {
		change.Records = []audit.Record{*rec}
	}
	if _, err := d.l.o.cfg.Runs.Apply(ctx, change); err != nil {
		return err
	}
	d.task.State = c.Path[len(c.Path)-1]
	if d.task.State.Final() {
		d.l.o.cfg.Observer.TaskEnded(d.run.Kind, d.task.State, since(d.task.StartedAt, change.At))
	}
	if rec != nil {
		d.l.o.cfg.Committed()
	}
	d.l.o.cfg.Changed(d.run.ID)
	return nil
}

func (d *driver) record(action audit.Action, now time.Time) audit.Record {
	r := record(d.run, action, now)
	r.Task, r.Attempt, r.Host = d.task.ID, d.task.Attempt, d.host.Name
	return r
}

// mostKept bounds each list that an agent sends, in elements.
const mostKept = 100

// detail keeps what the agent said, for pages; its text is cleaned first, all
// of it but the evidence's own, which is shown as what it is.
func detail(s protocol.TaskStatus) json.RawMessage {
	s.Error, s.Containment = clean(s.Error), clean(s.Containment)
	s.Phase, s.FailedPhase = protocol.Phase(clean(string(s.Phase))), protocol.Phase(clean(string(s.FailedPhase)))
	s.Phases, s.Health = s.Phases[:min(len(s.Phases), mostKept)], s.Health[:min(len(s.Health), mostKept)]
	s.Warnings, s.Evidence = s.Warnings[:min(len(s.Warnings), mostKept)], s.Evidence[:min(len(s.Evidence), mostKept)]
	for i := range s.Phases {
		s.Phases[i].Phase = protocol.Phase(clean(string(s.Phases[i].Phase)))
		s.Phases[i].Error = clean(s.Phases[i].Error)
	}
	for i := range s.Evidence {
		s.Evidence[i].Kind, s.Evidence[i].Error = clean(s.Evidence[i].Kind), clean(s.Evidence[i].Error)
	}
	for i := range s.Health {
		s.Health[i].Detail = clean(s.Health[i].Detail)
	}
	for i := range s.Warnings {
		s.Warnings[i] = clean(s.Warnings[i])
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil // a time outside the years of RFC 3339, from a host that lies: not worth keeping
	}
	return b
}

// clean bounds and escapes text from a host.
func clean(s string) string {
	const most = 2000
	if len(s) > most {
		s = s[:most] + "…"
	}
	return restart.Escape(s)
}
