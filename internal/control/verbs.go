package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Pause asks a run to stop before its next host. The host in hand finishes.
func (c *Control) Pause(ctx context.Context, actor restart.Actor, id string) (restart.Run, error) {
	return c.wish(ctx, actor, id, restart.ControlPause)
}

// Abort ends a run: the host in hand finishes, no other is touched.
func (c *Control) Abort(ctx context.Context, actor restart.Actor, id string) (restart.Run, error) {
	return c.wish(ctx, actor, id, restart.ControlAbort)
}

// ForceAbort ends a run and kills what runs on the host in hand, whose state
// is then unknown.
func (c *Control) ForceAbort(ctx context.Context, actor restart.Actor, id string) (restart.Run, error) {
	return c.wish(ctx, actor, id, restart.ControlForceAbort)
}

// wish leaves what a person wants on the run. Stopping needs only the rights
// of the one who asks for it.
func (c *Control) wish(ctx context.Context, actor restart.Actor, id string, want restart.Control) (restart.Run, error) {
	run, err := c.Run(ctx, actor, id)
	if err != nil {
		return restart.Run{}, err
	}
	action := audit.RunAbortRequested
	if want == restart.ControlPause {
		action = audit.RunPauseRequested
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
	case want == restart.ControlPause && run.State == restart.RunPaused:
		return run, nil
	case weaker(want, run.Control):
		return run, nil // an abort is not taken back by a pause
	}
	run, err = c.cfg.Store.SetControl(ctx, id, want, rec)
	if err != nil {
		return restart.Run{}, err
	}
	c.touched(id)
	return run, nil
}

func weaker(want, have restart.Control) bool {
	rank := map[restart.Control]int{restart.ControlNone: 0, restart.ControlPause: 1, restart.ControlAbort: 2, restart.ControlForceAbort: 3}
	return rank[want] <= rank[have]
}

// Resume lets a paused run go on, in spite of the failures it has. Hosts known
// not to have been started are tried again, as new attempts. It needs the
// rights of the one who presses, and still those of the one who asked first.
func (c *Control) Resume(ctx context.Context, actor restart.Actor, id string) (restart.Run, error) {
	run, err := c.Run(ctx, actor, id)
	if err != nil {
		return restart.Run{}, err
	}
	rec := about(c.record(actor, audit.RunResumed), run)
	if err := c.mayControl(ctx, actor, run, authz.ActionFor(run.Kind)); err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	if run.State != restart.RunPaused {
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "run %s is %s, not paused", id, run.State))
	}
	if weaker(restart.ControlAbort, run.Control) {
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "run %s is being aborted; that is not taken back", id))
	}
	for _, t := range run.Tasks {
		if t.State.Active() {
			return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "what became of %s is still being found out", t.Host).
				WithHint("wait until it is known, then resume"))
		}
	}
	if err := c.mayPassFreeze(ctx, actor, run); err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	now := c.now()
	again := run.Again(now)
	after := run
	after.Tasks = append(slices.Clip(after.Tasks), again...)
	none := restart.ControlNone
	rec.Detail = fmt.Sprintf("was paused: %s; asked for by %s; still to be touched: %s", run.Cause, run.Actor, stillPlanned(after))
	_, err = c.cfg.Store.Apply(ctx, store.Change{
		RunID: id, At: now, NewTasks: again, Records: []audit.Record{rec},
		Hold: run.Kind.HoldsService(), // held since its start, unless it was paused while it was queued
		Run: &store.RunChange{
			From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning, Control: &none,
			Acknowledged: new(after.Failures()), ReleaseLease: true,
		},
	})
	if err != nil {
		return restart.Run{}, err
	}
	c.touched(id)
	return c.Run(ctx, actor, id)
}

// MayGoOn tells why the person who asked for a run may no longer have its next
// host touched: every token with which he could ask has gone, the service is
// not his any more, or a freeze has begun. It is looked at before each host.
func (c *Control) MayGoOn(ctx context.Context, run restart.Run) (restart.Cause, string) {
	tokens, err := c.cfg.Store.Tokens(ctx, run.Actor)
	if err != nil {
		return restart.CauseGate, "whether " + run.Actor + " still may could not be found out: the database does not answer"
	}
	actor := restart.Actor{Name: run.Actor}
	for _, t := range tokens {
		if t.Valid(c.now()) {
			actor.Roles = append(actor.Roles, t.Roles...)
		}
	}
	if err := c.mayControl(ctx, actor, run, authz.ActionFor(run.Kind)); err != nil {
		return restart.CauseRightsLost, err.Error()
	}
	switch err := c.mayPassFreeze(ctx, actor, run); restart.CodeOf(err) {
	case "":
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

// stillPlanned names the hosts that a run has not asked yet.
func stillPlanned(run restart.Run) string {
	var out []string
	for _, t := range restart.Latest(run.Tasks) {
		if t.State == restart.TaskPlanned {
			out = append(out, t.Host)
		}
	}
	return orNone(out)
}

// mayControl checks the rights of a person on the run's service, which may
// have left the inventory meanwhile: then only an admin may.
func (c *Control) mayControl(ctx context.Context, actor restart.Actor, run restart.Run, action authz.Action) error {
	service, err := c.cfg.Inventory.Service(ctx, run.Service)
	if err != nil {
		service = restart.Service{Name: run.Service, Owners: run.Plan.Service.Owners}
		if code := restart.CodeOf(err); code == restart.CodeNotFound {
			service.Owners = nil
		}
	}
	return authz.Require(actor, action, authz.Object{Service: service})
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
