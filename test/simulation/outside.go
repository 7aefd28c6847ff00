package simulation

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// outside is a keeper of locks that runs share with others, one lock a service.
// What a process has it has by its session, which ends a while after it; others
// take a lock from a run at any moment.
type outside struct {
	w    *world
	held map[string]*outsideLock // by service
}

type outsideLock struct {
	run      string   // "" = nobody of ours has it
	epoch    int64    // of the run, by which it was taken: an earlier one takes it from no later one
	by       *process // whose session keeps it
	stranger bool     // somebody else has it
	lost     time.Duration
	idle     time.Duration // since when the run was seen to hold its service no more; 0 = it holds it
}

// tended is how soon a server gives back what a run has left (lock.Locks.Run).
const tended = 15 * time.Second

func newOutside(w *world) *outside { return &outside{w: w, held: map[string]*outsideLock{}} }

func (o *outside) of(service string) *outsideLock {
	l := o.held[service]
	if l == nil {
		l = &outsideLock{}
		o.held[service] = l
	}
	if l.run != "" && l.by.dead { // its session has ended with it
		l.run, l.lost = "", o.w.now
	}
	if l.run == "" || slices.Contains(o.w.store.Holders(service, "production"), l.run) {
		l.idle = 0
	} else if l.idle = cmp.Or(l.idle, o.w.now); o.w.now-l.idle > tended {
		l.run, l.idle, l.lost = "", 0, o.w.now
	}
	return l
}

// rob lets somebody else have a lock for a while; false: they have it already.
func (o *outside) rob(service string, d time.Duration) bool {
	l := o.of(service)
	if l.stranger {
		return false
	}
	l.run, l.stranger, l.lost = "", true, o.w.now
	o.w.after(d, func() { l.stranger = false })
	return true
}

// leave lets everybody else go.
func (o *outside) leave() {
	for _, l := range o.held {
		l.stranger = false
	}
}

// lacks tells for how long a process has not had the lock of a run; 0 = it has it.
func (o *outside) lacks(r restart.Run, p *process) time.Duration {
	if l := o.of(r.Service); l.run != r.ID || l.by != p {
		return max(o.w.now-l.lost, 1)
	}
	return 0
}

// shared is a server's orchestrator.Locks.
type shared struct {
	s *server
	p *process
}

func (x shared) Concern(restart.Run) bool { return x.s.w.plan.shares }

func (x shared) Take(ctx context.Context, r restart.Run) error {
	w := x.s.w
	w.wait(context.Background(), w.between(0, 2*time.Millisecond))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch l := w.outside.of(r.Service); {
	case l.stranger:
		return restart.Errorf(restart.CodeLocked, "somebody else has the lock of %s", r.Service)
	case l.run == r.ID && r.Epoch < l.epoch:
		return restart.Errorf(restart.CodeStaleEpoch, "a later server has taken the lock of %s for run %s", r.Service, r.ID)
	case l.run == "" || l.run == r.ID:
		w.log("%s takes the lock of %s for run %s", x.p.name, r.Service, r.ID)
		l.run, l.by, l.epoch = r.ID, x.p, r.Epoch
		return nil
	default:
		return restart.Errorf(restart.CodeLocked, "run %s has the lock of %s", l.run, r.Service)
	}
}

func (x shared) Held(_ context.Context, r restart.Run) (restart.Cause, string) {
	w := x.s.w
	w.wait(context.Background(), w.between(0, time.Millisecond))
	if w.outside.lacks(r, x.p) > 0 {
		return restart.CauseLockLost, "the lock is lost"
	}
	return "", ""
}

func (x shared) Release(_ context.Context, r restart.Run) {
	w := x.s.w
	w.wait(context.Background(), w.between(0, time.Millisecond))
	if l := w.outside.of(r.Service); l.run == r.ID {
		l.run, l.lost = "", w.now
	}
}
