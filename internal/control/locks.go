package control

import (
	"context"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Locks lists which run has which service.
func (c *Control) Locks(ctx context.Context, actor restart.Actor) ([]wire.Lock, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	held, err := c.cfg.Store.Locks(ctx)
	if err != nil {
		return nil, err
	}
	outside, err := c.outside(ctx)
	if err != nil {
		return nil, err
	}
	out := []wire.Lock{}
	for _, l := range held {
		out = append(out, wire.Lock{Service: l.Service, Environment: l.Environment, Group: l.Group, Run: l.RunID, Actor: l.Actor, State: l.State, Since: l.Since, Outside: outside[l.RunID]})
	}
	return out, nil
}

// outside gives, by run, the locks that are shared with others.
func (c *Control) outside(ctx context.Context) (map[string][]wire.OutsideLock, error) {
	rows, err := c.cfg.Store.OutsideLocks(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string][]wire.OutsideLock{}
	for _, l := range rows {
		out[l.RunID] = append(out[l.RunID], wire.OutsideLock{
			Name: l.Name, Kind: l.Kind, Place: restart.Escape(l.Place), State: string(l.State), Note: restart.Escape(l.Note), Server: l.Server, Since: l.Since,
		})
	}
	return out, nil
}

// OutsideLocks gives back what a run has of locks that are shared with others,
// until ctx ends; what can't be given back now is later.
type OutsideLocks interface {
	Release(ctx context.Context, run restart.Run)
}

// HeldLock is a lock with the run that has it, for who may release it.
type HeldLock struct {
	wire.Lock

	Why error // why it can't be released now; nil = it can
}

// HeldLocks lists locks with what may become of them, for admins.
func (c *Control) HeldLocks(ctx context.Context, actor restart.Actor) ([]HeldLock, error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return nil, err
	}
	list, err := c.Locks(ctx, actor)
	if err != nil {
		return nil, err
	}
	out := []HeldLock{}
	for _, l := range list[:min(len(list), wire.MaxPage)] {
		run, err := c.cfg.Store.Run(ctx, l.Run)
		if err != nil {
			return nil, err
		}
		l.State = run.State // as it is now, by which it is judged
		out = append(out, HeldLock{Lock: l, Why: releasable(run)})
	}
	return out, nil
}

// releasable tells why a run's hold of its service can't be taken away: nil for
// one that stands still, with no host in hand. Such a run goes on only by a
// person's resume, which takes the hold anew or is refused.
func releasable(run restart.Run) error {
	if slices.ContainsFunc(run.Tasks, func(t restart.Task) bool { return t.State.Active() }) {
		return restart.Errorf(restart.CodeConflict, "run %s has a host in hand, and another run beside it could take the service down", run.ID).
			WithHint("pause or abort it, and wait until that host is done: restartilka show %s", run.ID)
	}
	if run.State != restart.RunPaused {
		return restart.Errorf(restart.CodeConflict, "run %s is %s, and works on the service", run.ID, run.State).
			WithHint("pause it first: restartilka pause %s; or end it, which releases its hold: restartilka abort %s", run.ID, run.ID)
	}
	return nil
}

// ReleaseLock takes the hold of its service from a paused run, so that others
// may start, and gives the locks that it had, those that it shares with others
// as wire.OutsideReleased or wire.OutsideLeft. The run stays paused: who resumes
// it must get the hold again. Never while a host of it is in hand.
func (c *Control) ReleaseLock(ctx context.Context, actor restart.Actor, id, reason string) ([]wire.Lock, error) {
	rec := c.record(actor, audit.LockReleased)
	rec.Run, rec.Reason = clip(id), clip(reason)
	err := c.requireNow(actor, authz.Administer)
	if err == nil {
		reason, err = restart.CheckReason(reason)
	}
	if err == nil {
		err = restart.CheckID(id)
	}
	if err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	run, err := c.cfg.Store.Run(ctx, id)
	if err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	rec = about(rec, run)
	rec.Reason = reason
	locks, err := c.locksOf(ctx, actor, id)
	if err == nil {
		err = releasable(run)
	}
	if err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	rec.Detail = "held since " + readable(locks[0].Since) + " by " + run.Actor
	change := store.Change{
		RunID: id, At: c.now(), Seen: run.Version, Release: true, Records: []audit.Record{rec},
		Run: &store.RunChange{From: []restart.RunState{restart.RunPaused}},
	}
	if _, err := c.cfg.Store.Apply(ctx, change); err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	c.touched(id)
	if c.cfg.Outside == nil {
		return locks, nil
	}
	giving, cancel := context.WithTimeout(context.WithoutCancel(ctx), outsideTime)
	defer cancel()
	c.cfg.Outside.Release(giving, run)
	outside, err := c.outside(giving)
	if err != nil { // the service is free, and on record as that
		c.cfg.Logger.WarnContext(ctx, "read what a run has of shared locks", "run_id", id, "error", err)
	}
	for i := range locks {
		left := outside[id]
		if err != nil {
			left = locks[i].Outside
		}
		locks[i].Outside = given(locks[i].Outside, left)
	}
	return locks, nil
}

// outsideTime bounds how long an admin waits for the keepers of locks that are
// shared with others.
const outsideTime = 5 * time.Second

// given tells what became of each lock that was to be given back: left are those
// that could not be yet.
func given(had, left []wire.OutsideLock) (out []wire.OutsideLock) {
	for _, l := range had {
		l.State = wire.OutsideReleased
		if slices.ContainsFunc(left, func(still wire.OutsideLock) bool { return still.Name == l.Name }) {
			l.State = wire.OutsideLeft
		}
		out = append(out, l)
	}
	return out
}

func (c *Control) locksOf(ctx context.Context, actor restart.Actor, id string) ([]wire.Lock, error) {
	list, err := c.Locks(ctx, actor)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(l wire.Lock) bool { return l.Run != id })
	if len(list) == 0 {
		return nil, restart.Errorf(restart.CodeConflict, "run %s holds no service", id).WithHint("who holds what: restartilka locks")
	}
	return list, nil
}
