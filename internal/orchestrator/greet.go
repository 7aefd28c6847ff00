package orchestrator

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// greetTime bounds the question that goes before a task. It has room for a
// server that makes hundreds of connections at once, and is busy besides; two
// questions still end before the task's envelope does.
const greetTime = 10 * time.Second

// promptly is how soon after the intent a task is sent without asking once more
// whether the run still goes on.
const promptly = 500 * time.Millisecond

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
		return false, d.elsewhere(ctx, restart.TaskUnknown, err)
	}
	return false, d.outcome(ctx, restart.TaskUnknown, restart.Errorf(restart.CodeTombstone,
		"%s has had this task before, and has forgotten it: this database is older than what happened (%s)", d.host.Name, said.Message), nil)
}

// elsewhere settles a task whose host says that a later server has the run. If
// the database says so too, that is the end of this walk. If not, the host has
// heard of a server that works on another database, a restored one perhaps, or
// it lies: the run is paused, and a person has to look.
func (d *driver) elsewhere(ctx context.Context, state restart.TaskState, said error) error {
	run, err := d.l.o.cfg.Runs.RunSince(ctx, d.run.ID, math.MaxInt64)
	if err != nil {
		return err
	}
	if run.Epoch != d.l.claim.Epoch {
		return said
	}
	why := restart.Errorf(restart.CodeStaleEpoch,
		"%s says that another server has this run, and the database does not: was the database restored elsewhere? (%s)", d.host.Name, clean(said.Error()))
	// First of all no further host, which may not have heard of that server yet.
	err = d.l.apply(ctx, d.run, pause{restart.CauseLockLost, why.Message}, d.now())
	if err != nil && restart.CodeOf(err) != restart.CodeConflict { // it stands already
		return err
	}
	return d.outcome(ctx, state, why, nil)
}

// wanted tells whether the run still goes on, for a host that has been tried
// for a while and to which nothing was sent: who has stopped the run meanwhile
// is obeyed, and a right that was lost, or a freeze, counts. False means that the task has its outcome.
func (d *driver) wanted(ctx context.Context) (bool, error) {
	run, err := d.l.o.cfg.Runs.RunSince(ctx, d.run.ID, math.MaxInt64) // none of its tasks
	if err == nil && run.Epoch != d.l.claim.Epoch {
		err = restart.Errorf(restart.CodeStaleEpoch, "run %s is at epoch %d", run.ID, run.Epoch) // it goes on elsewhere, by another intent
	}
	if err != nil {
		return false, err
	}
	if run.State == restart.RunRunning && run.Control == restart.ControlNone {
		cause, why := d.l.may(ctx, d.run)
		if cause == "" {
			return true, nil
		}
		return false, d.outcome(ctx, restart.TaskNotStarted, restart.Errorf(restart.Code(cause), "%s; nothing was sent to %s", why, d.host.Name), nil)
	}
	return false, d.outcome(ctx, restart.TaskNotStarted, restart.Errorf(restart.CodeConflict,
		"the run was stopped before anything was sent to %s", d.host.Name), nil)
}
