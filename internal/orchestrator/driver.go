package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

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
	if quiet, err := d.quieten(ctx); err != nil || !quiet {
		return err
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
	rec.Detail = d.run.ApprovedBy()
	if d.run.Work == restart.WorkRehearse {
		rec.Detail = "a rehearsal: no script is run"
	}
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
	rec.Outcome, rec.Detail, rec.Params = string(restart.TaskNotStarted), e.Message, nil
	return d.apply(ctx, store.TaskChange{
		From: []restart.TaskState{restart.TaskPlanned}, Path: []restart.TaskState{restart.TaskNotStarted},
		Cause: string(e.Code), Error: e.Message, FinishedAt: &rec.Time,
	}, &rec)
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
		case errors.As(err, &refused) && refused.Err.Code == restart.CodeStaleEpoch && perhapsSent:
			return d.elsewhere(ctx, restart.TaskUnknown, refused.Err)
		case errors.As(err, &refused) && refused.Err.Code == restart.CodeStaleEpoch:
			return d.elsewhere(ctx, restart.TaskRefused, refused.Err)
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
				restart.Span(d.l.o.cfg.ContactTimeout), err), nil)
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
		return true, d.elsewhere(ctx, restart.TaskUnknown, err)
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
	return started.Add(d.longestWork() + d.l.o.cfg.ContactTimeout)
}

// longestWork is how long a task can work by its own limits.
func (d *driver) longestWork() time.Duration {
	const evidenceAndGrace = 30 * time.Second
	plan := d.run.Plan
	return evidenceAndGrace + 2*plan.Strategy.TaskTimeout.Std() + plan.Deadline.Std() // undrain has as long as drain and run
}

func (d *driver) ask(ctx context.Context, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	actx, cancel := d.l.o.cfg.Clock.WithTimeout(ctx, wait+10*time.Second)
	defer cancel()
	return d.l.o.cfg.Agents.Status(actx, d.host, d.task.ID, after, wait)
}

// follow watches a task that the agent has, stores its output and phases, and
// commits its outcome.
func (d *driver) follow(ctx context.Context, status protocol.TaskStatus) error {
	output := nothing(d.l.o)
	defer func() { output.stop() }()
	dumps := d.keepDumps(ctx)
	defer dumps.stop()
	giveUp, heard, answers := d.latestEnd(), d.now(), 0
	var shown shown
	pause := 100 * time.Millisecond
	for {
		if !output.follows && status.Stage != restart.StageReceived { // a script that has not begun prints nothing
			output = d.keepOutput(ctx, status)
		}
		dumps.look(status)
		if status.Outcome != "" {
			output.drain(5*time.Second, status.OutputSize, d.l.givenUp)
			dumps.drain(d.l.givenUp)
			dumps.stop() // before the agent may forget
			return d.settle(ctx, status)
		}
		if d.l.givenUp() {
			return d.outcome(ctx, restart.TaskUnknown, restart.Errorf("cancelled",
				"the host has not said that the killed task is over: what runs there is not known"), &status)
		}
		owed, err := d.keepUp(ctx, status, &shown)
		if err != nil {
			return err
		}
		wait := protocol.MaxWait - 5*time.Second
		if owed > 0 {
			wait = owed // it may say nothing new for as long as its script runs
		}
		next, err := d.ask(ctx, status.Revision, wait)
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

// shown is what of a task has been stored for those who look.
type shown struct {
	at     time.Time
	phase  protocol.Phase
	phases int // how often it was another one
}

// soon tells whether a status is stored at once however lately another one was:
// people wait for the next phase. A host that makes up phases is not believed
// for ever.
func (s *shown) soon(status protocol.TaskStatus) bool {
	return status.Phase != s.phase && s.phases < 2*len(protocol.Phases())
}

func (s *shown) note(status protocol.TaskStatus, at time.Time) {
	if status.Phase != s.phase {
		s.phases++
	}
	s.at, s.phase = at, status.Phase
}

// keepUp stores how far the task has come. A change of state or phase is stored
// at once; samples at most four times a second: owed is after how long a status
// that came too soon is to be stored, 0 = it is stored.
func (d *driver) keepUp(ctx context.Context, status protocol.TaskStatus, shown *shown) (owed time.Duration, err error) {
	path := d.pathTo(status.Stage)
	if len(path) > 0 {
		if err := d.apply(ctx, store.TaskChange{
			From: []restart.TaskState{d.task.State}, Path: path, Phase: clean(string(status.Phase)), Detail: detail(status),
		}, nil); err != nil {
			return 0, err
		}
		shown.note(status, d.now())
		return 0, nil
	}
	if status.Stage != restart.StageStarted {
		return 0, nil
	}
	const apart = 250 * time.Millisecond
	if since := d.l.o.since(shown.at); since < apart && !shown.soon(status) {
		return apart - max(since, 0), nil
	}
	shown.note(status, d.now())
	if err := d.l.o.cfg.Tasks.Progress(ctx, d.l.fence(), d.task.ID, clean(string(status.Phase)), detail(status)); err != nil {
		return 0, err
	}
	d.l.o.cfg.Changed(d.run.ID)
	return 0, nil
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
