package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Pause asks a run to stop before its next host. The host in hand finishes.
// seen is the version of the run that the person looked at, here and below; 0 =
// whatever it is now: see store.Change.
func (c *Control) Pause(ctx context.Context, actor restart.Actor, id string, seen int64) (restart.Run, error) {
	return c.wish(ctx, actor, id, restart.ControlPause, seen)
}

// Abort ends a run: the host in hand finishes, no other is touched.
func (c *Control) Abort(ctx context.Context, actor restart.Actor, id string, seen int64) (restart.Run, error) {
	return c.wish(ctx, actor, id, restart.ControlAbort, seen)
}

// ForceAbort ends a run and kills what runs on the host in hand, whose state
// is then unknown.
func (c *Control) ForceAbort(ctx context.Context, actor restart.Actor, id string, seen int64) (restart.Run, error) {
	return c.wish(ctx, actor, id, restart.ControlForceAbort, seen)
}

// wish leaves what a person wants on the run. Stopping needs only the rights
// of the one who asks for it.
func (c *Control) wish(ctx context.Context, actor restart.Actor, id string, want restart.Control, seen int64) (restart.Run, error) {
	action := audit.RunAbortRequested
	if want == restart.ControlPause {
		action = audit.RunPauseRequested
	}
	run, err := c.runFor(ctx, actor, id, action)
	if err != nil {
		return restart.Run{}, err
	}
	if run.State == restart.RunAwaitingApproval && want != restart.ControlPause {
		return c.withdraw(ctx, actor, run, seen)
	}
	rec := about(c.record(actor, action), run)
	rec.Detail = string(want)
	if err := c.mayControl(ctx, actor, run, authz.Control); err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	switch {
	case run.State.Final():
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "run %s is over: %s", id, run.State))
	case run.State == restart.RunDraft:
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "run %s was never started", id))
	case run.State == restart.RunAwaitingApproval:
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "run %s waits for an approval: there is nothing to pause", id).WithHint("to take it back: restartilka abort %s", id))
	case want == restart.ControlPause && run.State == restart.RunPaused:
		return run, nil
	case weaker(want, run.Control):
		return run, nil // an abort is not taken back by a pause
	}
	run, err = c.cfg.Store.Wish(ctx, id, want, seen, rec)
	if err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	c.touched(id)
	return run, nil
}

func weaker(want, have restart.Control) bool {
	rank := map[restart.Control]int{restart.ControlNone: 0, restart.ControlPause: 1, restart.ControlAbort: 2, restart.ControlForceAbort: 3}
	return rank[want] <= rank[have]
}

// Resume lets a paused run go on, in spite of the failures it has: see
// orchestrator.Wish. It needs the rights of the one who presses, and still
// those of the one who asked first.
func (c *Control) Resume(ctx context.Context, actor restart.Actor, id string, seen int64) (restart.Run, error) {
	run, err := c.runFor(ctx, actor, id, audit.RunResumed)
	if err != nil {
		return restart.Run{}, err
	}
	rec := about(c.record(actor, audit.RunResumed), run)
	if err := c.mayAct(ctx, actor, run); err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	if run.Plan != nil && !run.Approval.Good(*run.Plan) {
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "%s", notApproved).WithHint("abort it: restartilka abort %s", id))
	}
	change, err := c.wishOf(actor, run, rec, seen).Resume()
	if err == nil {
		err = c.mayThaw(ctx, actor, run)
	}
	if err == nil {
		if cause, why := c.mayStillUse(ctx, run); cause != "" {
			err = restart.Errorf(restart.CodeNotReviewed, "%s", why).WithHint("abort the run, and ask for a new one by the version that is in force")
		}
	}
	if err == nil && c.cfg.Trail != nil && !run.Waives(restart.SafeguardRemoteLog) {
		err = c.cfg.Trail.Late()
	}
	if err == nil {
		err = c.mayPassAlerts(ctx, run)
	}
	if err == nil {
		err = c.tellResumed(&change, actor, run)
	}
	if err == nil {
		_, err = c.cfg.Store.Apply(ctx, change)
	}
	if err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	c.touched(id)
	c.cfg.Announced()
	return c.Run(ctx, actor, id)
}

// tellResumed adds to a resume what receivers outside are told of it.
func (c *Control) tellResumed(change *store.Change, actor restart.Actor, run restart.Run) error {
	if run.Plan == nil {
		return nil
	}
	run.State, run.Cause, run.Explanation = restart.RunRunning, "", ""
	run.Tasks = append(slices.Clip(run.Tasks), change.NewTasks...)
	n := c.notification(wire.EventRunResumed, change.At, run, *run.Plan)
	n.By = actor.Name
	return c.tell(change, n)
}

// Decide settles a host of which it is not known whether the script ran: see
// orchestrator.Wish. It needs the same rights as Resume. The same decision of
// the same person again changes nothing.
func (c *Control) Decide(ctx context.Context, actor restart.Actor, id string, req wire.DecideRequest) (restart.Run, error) {
	run, err := c.runFor(ctx, actor, id, audit.TaskDecided)
	if err != nil {
		return restart.Run{}, err
	}
	rec := about(c.record(actor, audit.TaskDecided), run)
	rec.Host, rec.Reason = clip(req.Host), clip(req.Reason)
	if err := c.mayAct(ctx, actor, run); err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	const tries = 3
	for try := 1; ; try++ {
		change, err := c.wishOf(actor, run, rec, req.Version).Decide(req.Host, req.Verdict, req.Reason)
		if err == nil && change == nil {
			return run, nil
		}
		if err == nil {
			_, err = c.cfg.Store.Apply(ctx, *change)
		}
		if err == nil {
			break
		}
		if change == nil || try == tries || restart.CodeOf(err) != restart.CodeConflict {
			return restart.Run{}, c.refused(ctx, rec, err)
		}
		// Perhaps somebody was quicker; what he did decides what this one gets.
		now, lookup := c.Run(ctx, actor, id)
		if lookup != nil {
			return restart.Run{}, lookup
		}
		if now.Version == run.Version {
			return restart.Run{}, c.refused(ctx, rec, err)
		}
		run = now
	}
	c.touched(id)
	return c.Run(ctx, actor, id)
}

func (c *Control) wishOf(actor restart.Actor, run restart.Run, rec audit.Record, seen int64) orchestrator.Wish {
	return orchestrator.Wish{Run: run, By: actor.Name, Origin: rec.Origin, Now: c.now(), Seen: seen}
}

// mayAct checks that both may: the one who presses, and still the one who asked
// for the run, in whose name it goes on.
func (c *Control) mayAct(ctx context.Context, actor restart.Actor, run restart.Run) error {
	if err := c.mayControl(ctx, actor, run, authz.ActionFor(run.Kind)); err != nil {
		return err
	}
	switch {
	case run.Actor == actor.Name:
		return nil // a token of his own was looked at with the request
	case run.Via == restart.ViaHost:
		return nil // it is over, and was begun by somebody on a host, who is nobody here
	}
	_, cause, why := c.stillHas(ctx, run)
	return inTheNameOf(run, cause, why)
}

// mayThaw checks that no freeze keeps the run from going on, or that both may
// have it go on past one whose glass is broken.
func (c *Control) mayThaw(ctx context.Context, actor restart.Actor, run restart.Run) error {
	if err := c.mayPassFreeze(ctx, actor, run); err != nil || run.Actor == actor.Name {
		return err
	}
	cause, why := c.MayGoOn(ctx, run)
	return inTheNameOf(run, cause, why)
}

// inTheNameOf makes a refusal of why a run can't go on in its asker's name; ""
// is none.
func inTheNameOf(run restart.Run, cause restart.Cause, why string) error {
	switch cause {
	case "":
		return nil
	case restart.CauseRightsLost:
		return restart.Errorf(restart.CodeForbidden, "the run goes on in the name of %s, who has lost the right to it: %s", run.Actor, why).
			WithHint("abort it, and have what is left done in your own name: restartilka retry %s --reason TEXT", run.ID)
	default:
		return restart.Errorf(restart.CodeUnavailable, "%s", why)
	}
}

// notApproved says of a run that it is not the one that was approved: its plan,
// or the approval, was changed behind the program's back.
const notApproved = "the approval of this run is not of this plan"

// MayGoOn tells why the person who asked for a run may no longer have its next
// host touched: every token with which he could ask has gone, the service is
// not his any more, the scenario's version was withdrawn or revoked, a freeze
// has begun, or an alert fires that no run goes on beside. It is looked at before
// each host.
func (c *Control) MayGoOn(ctx context.Context, run restart.Run) (restart.Cause, string) {
	actor, cause, why := c.stillHas(ctx, run)
	if cause != "" {
		return cause, why
	}
	if cause, why := c.mayStillUse(ctx, run); cause != "" {
		return cause, why
	}
	if run.State == restart.RunQueued && run.Plan != nil && !run.Approval.Good(*run.Plan) {
		return restart.CauseGate, notApproved
	}
	switch err := c.mayPassFreeze(ctx, actor, run); restart.CodeOf(err) {
	case "":
		if inWay, _ := c.alertsFire(ctx, run); inWay != nil {
			return restart.CauseGate, inWay.Message
		}
		return "", ""
	case restart.CodeFrozen:
		e, _ := errors.AsType[*restart.Error](err)
		return restart.CauseFreeze, e.Message
	case restart.CodeForbidden:
		return restart.CauseRightsLost, err.Error()
	default:
		c.cfg.Logger.ErrorContext(ctx, "look for freezes", "run_id", run.ID, "error", err)
		return restart.CauseGate, "whether " + run.Service + " is frozen could not be found out"
	}
}

// stillHas gives the person who asked for a run, with the rights that he has
// now, and why they are not enough for it any more.
func (c *Control) stillHas(ctx context.Context, run restart.Run) (restart.Actor, restart.Cause, string) {
	actor, err := c.cfg.People.Person(ctx, run.Actor)
	if err != nil {
		c.cfg.Logger.ErrorContext(ctx, "find out who somebody is", "run_id", run.ID, "actor", run.Actor, "error", err)
		return restart.Actor{Name: run.Actor}, restart.CauseGate, "whether " + run.Actor + " still may could not be found out: the database does not answer"
	}
	if err := c.mayControl(ctx, actor, run, authz.ActionFor(run.Kind)); err != nil {
		return actor, restart.CauseRightsLost, err.Error()
	}
	return actor, "", ""
}

// Allowed tells what somebody may do with a run: stop it, and have it go on or
// something made from it. Pages ask, to show nobody what would be refused.
func (c *Control) Allowed(ctx context.Context, actor restart.Actor, run restart.Run) (control, act bool) {
	if run.Plan == nil {
		return false, false
	}
	return c.mayControl(ctx, actor, run, authz.Control) == nil, c.mayControl(ctx, actor, run, authz.ActionFor(run.Kind)) == nil
}

func decodeDetail(raw json.RawMessage) (protocol.TaskStatus, error) {
	var s protocol.TaskStatus
	if len(raw) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("read what the agent said: %w", err)
	}
	return s, nil
}
