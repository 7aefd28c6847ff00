package simulation

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/lock"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// outside is a keeper of locks that runs share with others, one lock a service.
// What a process has it has by its session, which ends with it; others take a
// lock from a run at any moment, and the keeper itself may be away for a while.
type outside struct {
	w     *world
	held  map[string]*outsideLock // by service
	away  bool                    // it answers nobody; what it keeps stays
	since time.Duration           // it went away or came back
	rows  map[string]store.OutsideLock
}

type outsideLock struct {
	run      string   // "" = nobody of ours has it
	epoch    int64    // of the run, by which it was taken: an earlier one takes it from no later one
	by       *process // whose session keeps it
	stranger bool     // somebody else has it
	lost     time.Duration
}

// tended is how often a server looks for what runs have left (lock.Locks.Run).
const tended = 15 * time.Second

func newOutside(w *world) *outside {
	return &outside{w: w, held: map[string]*outsideLock{}, rows: map[string]store.OutsideLock{}}
}

func (o *outside) of(service string) *outsideLock {
	l := o.held[service]
	if l == nil {
		l = &outsideLock{}
		o.held[service] = l
	}
	if l.run != "" && l.by.dead { // its session has ended with it
		l.run, l.lost = "", o.w.now
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

// leave lets the keeper answer nobody for a while; false: it does not anyway.
func (o *outside) leave(d time.Duration) bool {
	if o.away {
		return false
	}
	o.away, o.since = true, o.w.now
	o.w.after(d, o.back)
	return true
}

func (o *outside) back() {
	if o.away {
		o.away, o.since = false, o.w.now
	}
}

// clear lets everybody else go, and the keeper answer.
func (o *outside) clear() {
	o.back()
	for _, l := range o.held {
		l.stranger = false
	}
}

// left tells of what runs have of the keeper, or of the books, that hold their
// service no more. Who is over holds none.
func (o *outside) left() (out []string) {
	holds := func(run string) bool {
		r := o.w.run(run)
		return slices.Contains(o.w.store.Holders(r.Service, r.Environment), run)
	}
	for _, service := range services {
		if run := o.of(service).run; run != "" && !holds(run) {
			out = append(out, "the lock of "+service+" is still run "+run+"'s, which is "+string(o.w.run(run).State))
		}
	}
	for _, run := range slices.Sorted(maps.Keys(o.rows)) {
		if !holds(run) {
			out = append(out, "the lock of run "+run+", which is "+string(o.w.run(run).State)+", is still in the books as "+string(o.rows[run].State))
		}
	}
	return out
}

// lacks tells for how long a process could have known that a run must not go on
// as it stands with its lock; 0 = it may.
func (o *outside) lacks(r restart.Run, p *process) time.Duration {
	l := o.of(r.Service)
	switch {
	case o.away && (o.w.plan.lenient || r.BreakGlass): // nobody can say, and it goes on without
		return 0
	case o.away:
		return max(o.w.now-o.since, 1)
	case l.run != r.ID || l.by != p:
		return max(o.w.now-max(l.lost, o.since), 1)
	}
	return 0
}

// locks are a server's: the real ones, over this keeper.
func (o *outside) locks(s *server) *lock.Locks {
	setting := lock.Setting{Name: "deploys", Kind: "simulated"}
	if o.w.plan.lenient {
		setting.WhenDown = "lenient"
	}
	c := clock{o.w.loop, s.p, &s.skew}
	return lock.Over(lock.Config{
		Ledger: books{desk{s, s.p}}, Server: s.p.name, Logger: o.w.logger(s.p.name), Now: c.Now, Timeout: c.WithTimeout,
	}, setting, keeper{s.w, s.p})
}

// keeper is a process's way to the keeper of the locks.
type keeper struct {
	w *world
	p *process
}

// through takes a question there, and back.
func (k keeper) through(ctx context.Context, service string, ask func(l *outsideLock) error) error {
	k.w.wait(context.Background(), k.w.between(0, time.Millisecond))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if k.w.outside.away {
		return restart.Errorf(restart.CodeUnavailable, "the keeper of the lock does not answer")
	}
	err := ask(k.w.outside.of(service))
	k.w.wait(context.Background(), k.w.between(0, time.Millisecond))
	return err
}

func (keeper) Place(c lock.Claim) string { return c.Service }

func (k keeper) Take(ctx context.Context, c lock.Claim) error {
	return k.through(ctx, c.Service, func(l *outsideLock) error {
		switch {
		case l.stranger:
			return restart.Errorf(restart.CodeLocked, "somebody else has it")
		case l.run == c.Run && c.Epoch < l.epoch:
			return restart.Errorf(restart.CodeStaleEpoch, "a later server has taken it for run %s", c.Run)
		case l.run == "" || l.run == c.Run:
			k.w.log("%s takes the lock of %s for run %s", k.p.name, c.Service, c.Run)
			l.run, l.by, l.epoch = c.Run, k.p, c.Epoch
			return nil
		}
		return restart.Errorf(restart.CodeLocked, "run %s has it", l.run)
	})
}

func (k keeper) Held(ctx context.Context, c lock.Claim) error {
	return k.through(ctx, c.Service, func(l *outsideLock) error {
		if l.run != c.Run || l.by != k.p {
			return restart.Errorf(restart.CodeLocked, "its session has ended")
		}
		return nil
	})
}

func (k keeper) Stands(ctx context.Context, c lock.Claim) error {
	return k.through(ctx, c.Service, func(l *outsideLock) error {
		if l.run != c.Run {
			return restart.Errorf(restart.CodeLocked, "its session has ended")
		}
		return nil
	})
}

func (k keeper) Release(ctx context.Context, c lock.Claim) error {
	return k.through(ctx, c.Service, func(l *outsideLock) error {
		if l.run == c.Run {
			k.w.log("%s gives the lock of %s back for run %s", k.p.name, c.Service, c.Run)
			l.run, l.lost = "", k.w.now
		}
		return nil
	})
}

func (k keeper) Check(ctx context.Context) error {
	return k.through(ctx, "", func(*outsideLock) error { return nil })
}

func (keeper) Close() {}

// books are the lock.Ledger of a server.
type books struct{ desk }

func (b books) KeepOutsideLock(ctx context.Context, row store.OutsideLock, _ ...audit.Record) error {
	return only(ctx, b.desk, "keep a lock", func() error {
		b.s.w.outside.rows[row.RunID] = row
		return nil
	})
}

func (b books) DropOutsideLock(ctx context.Context, run, _ string) error {
	return only(ctx, b.desk, "drop a lock", func() error {
		for _, service := range services {
			if slices.Contains(b.s.w.store.Holders(service, "production"), run) {
				return nil // it has its service again
			}
		}
		delete(b.s.w.outside.rows, run)
		return nil
	})
}

func (b books) OutsideLocks(ctx context.Context) ([]store.OutsideLock, error) {
	return through(ctx, b.desk, "list the locks of others", func() ([]store.OutsideLock, error) {
		return slices.SortedFunc(maps.Values(b.s.w.outside.rows), func(a, c store.OutsideLock) int { return strings.Compare(a.RunID, c.RunID) }), nil
	})
}

func (b books) Locks(ctx context.Context) ([]store.Lock, error) {
	return through(ctx, b.desk, "list locks", func() (out []store.Lock, _ error) {
		for _, service := range services {
			for _, run := range b.s.w.store.Holders(service, "production") {
				out = append(out, store.Lock{Service: service, Environment: "production", RunID: run})
			}
		}
		return out, nil
	})
}
