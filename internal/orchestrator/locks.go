package orchestrator

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Locks are those that are shared with others than us: with whoever reboots
// hosts, or deploys. lock.Locks are some. A run takes them when its gates have
// let it pass and the service is its own, always in that order, and keeps them
// until it is over, also while it is paused.
type Locks interface {
	// Concern tells whether the run takes any.
	Concern(run restart.Run) bool
	// Take takes all of the run's, anew where another server took them before;
	// those it has already it keeps. It returns soon. CodeLocked: another has one,
	// which the error names, and the run waits for it; CodeUnavailable: that can't
	// be found out; CodeStaleEpoch: a later server has taken them for this run; any
	// other says nothing of the locks, and it is tried again.
	Take(ctx context.Context, run restart.Run) error
	// Held tells, just before a host is asked, why the run does not have what
	// Take took: "" = it has.
	Held(ctx context.Context, run restart.Run) (restart.Cause, string)
	// Release gives back whatever the run has, whichever server took it.
	Release(ctx context.Context, run restart.Run)
}

// lockState is how far a walk has come with the locks of others. What another
// walk took is taken anew: it may have been lost meanwhile.
type lockState string

// The states of the locks.
const (
	locksNone lockState = "" // the run takes none
	locksDue  lockState = "due"
	locksHeld lockState = "held"
)

// takeTime bounds one try to take them, for which a person who stops the run
// may have to wait.
const takeTime = 5 * time.Second

// shared gives the state for a snapshot.
func (l *loop) shared(run restart.Run) lockState {
	if l.o.cfg.Locks == nil || !run.HoldsService() || !l.o.cfg.Locks.Concern(run) {
		return locksNone
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.locks
}

func (l *loop) setLocks(s lockState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.locks = s
}

// take takes the locks of others. A run that has not begun waits for them, in
// the queue; one that goes on is paused, and a person looks.
func (l *loop) take(ctx context.Context, run restart.Run, now time.Time) error {
	if run.State == restart.RunQueued {
		if held, err := l.hold(ctx, run, now); err != nil || !held {
			return err
		}
	}
	tctx, cancel := l.o.cfg.Clock.WithTimeout(ctx, takeTime)
	err := l.o.cfg.Locks.Take(tctx, run)
	cancel()
	code := restart.CodeOf(err)
	switch {
	case err == nil:
		l.setLocks(locksHeld)
		return nil
	case ctx.Err() != nil, code != restart.CodeLocked && code != restart.CodeUnavailable:
		return err
	case run.State == restart.RunQueued:
		return l.queueBehind(ctx, run, restart.Errorf(restart.CodeLocked, "%s", plainly(err)), now)
	}
	return l.apply(ctx, run, pause{restart.CauseLockLost, plainly(err)}, now)
}

// hold takes the service itself for a run that is still queued, once. False: another
// run has it, and this one goes on to wait.
func (l *loop) hold(ctx context.Context, run restart.Run, now time.Time) (bool, error) {
	if l.holds {
		return true, nil
	}
	_, err := l.o.cfg.Runs.Apply(ctx, store.Change{
		RunID: run.ID, Fence: new(l.fence()), At: now, Hold: true, Run: &store.RunChange{From: []restart.RunState{restart.RunQueued}},
	})
	switch restart.CodeOf(err) {
	case "":
		l.holds = true
		return true, nil
	case restart.CodeLocked:
		return false, l.queueBehind(ctx, run, err, now)
	case restart.CodeConflict:
		return false, nil // somebody was quicker: look again
	}
	return false, err
}

// lost tells why a run no longer has the locks that this walk took.
func (l *loop) lost(ctx context.Context, run restart.Run) (restart.Cause, string) {
	if l.o.cfg.Locks == nil {
		return "", ""
	}
	l.mu.Lock()
	held := l.locks == locksHeld
	l.mu.Unlock()
	if !held {
		return "", ""
	}
	return l.o.cfg.Locks.Held(ctx, run)
}

// giveBackLocks releases what a run that has let its service go has of others.
func (l *loop) giveBackLocks(ctx context.Context, run restart.Run) {
	if l.o.cfg.Locks == nil || !run.HoldsService() || !l.o.cfg.Locks.Concern(run) {
		return
	}
	l.gaveBack = true
	rctx, cancel := l.o.cfg.Clock.WithTimeout(context.WithoutCancel(ctx), takeTime)
	defer cancel()
	l.o.cfg.Locks.Release(rctx, run)
}
