package orchestrator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Dumps keeps what hosts say of their processes: thread dumps, and the evidence
// from before a run. Nothing of it decides how a run goes on.
type Dumps interface {
	// Kept tells which dumps of a task are stored, by their numbers.
	Kept(ctx context.Context, task string) ([]int, error)
	// Fetch stores a dump that the task's host has told of. One that is stored
	// already is no error.
	Fetch(ctx context.Context, run restart.Run, task restart.Task, host restart.Host, r protocol.DumpReport) error
	// Before asks every host of a run at once for its evidence, and stores it. It
	// returns when all have answered, when its own time is over, or ctx ends.
	Before(ctx context.Context, run restart.Run)
}

const (
	// dumpsAtOnce is how many dumps of one task are fetched at a time.
	dumpsAtOnce = 2
	// dumpTime bounds the fetching of one dump.
	dumpTime = 30 * time.Second
	// dumpPatience is how long an outcome waits for dumps of which none arrives.
	dumpPatience = 10 * time.Second
)

// dumpKeeper copies a task's dumps from its agent into the store, each as soon
// as the agent tells of it.
type dumpKeeper struct {
	d        *driver
	ctx      context.Context //nolint:containedctx // of the fetching, which stop ends
	cancel   context.CancelFunc
	fetching *crew
	ended    chan struct{} // has a word when one more has come, or was given up

	mu   sync.Mutex
	seen map[int]bool // by number; nil = the store was not asked yet
	left int          // still on their way
}

func (d *driver) keepDumps(ctx context.Context) *dumpKeeper {
	kctx, cancel := context.WithCancel(ctx)
	return &dumpKeeper{d: d, ctx: kctx, cancel: cancel, fetching: newCrew(d.l.o.cfg.Clock, 0), ended: make(chan struct{}, 1)}
}

// look starts to fetch what a status tells of and nobody has fetched yet.
func (k *dumpKeeper) look(status protocol.TaskStatus) {
	if k.d.l.o.cfg.Dumps == nil || len(status.Dumps) == 0 || !k.ask() {
		return
	}
	var fresh []protocol.DumpReport
	k.mu.Lock()
	for _, r := range status.Dumps[:min(len(status.Dumps), protocol.MaxDumps)] {
		if r.N >= 1 && r.N <= protocol.MaxDumps && !k.seen[r.N] {
			k.seen[r.N] = true
			fresh = append(fresh, r)
		}
	}
	k.left += len(fresh)
	k.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	k.fetching.Go(func() {
		some := newCrew(k.d.l.o.cfg.Clock, dumpsAtOnce)
		for _, r := range fresh {
			some.Go(func() {
				k.fetch(r)
				k.mu.Lock()
				k.left--
				k.mu.Unlock()
				nudge(k.ended)
			})
		}
		some.Wait()
	})
}

// ask finds out, once, which are stored already: by a server that had the run
// before, perhaps. False means that the store does not answer.
func (k *dumpKeeper) ask() bool {
	if k.seen != nil { // only look writes it
		return true
	}
	kept, err := k.d.l.o.cfg.Dumps.Kept(k.ctx, k.d.task.ID)
	if err != nil {
		k.d.log.Warn("ask which dumps are stored", "error", err)
		return false
	}
	k.seen = map[int]bool{}
	for _, n := range kept {
		k.seen[n] = true
	}
	return true
}

// fetch tries a few times. A dump that can't be had is no reason for the task
// to end otherwise.
func (k *dumpKeeper) fetch(r protocol.DumpReport) {
	const tries = 3
	for i := range tries {
		fctx, cancel := k.d.l.o.cfg.Clock.WithTimeout(k.ctx, dumpTime)
		err := k.d.l.o.cfg.Dumps.Fetch(fctx, k.d.run, k.d.task, k.d.host, r)
		cancel()
		if err == nil {
			k.d.l.o.cfg.Changed(k.d.run.ID)
			return
		}
		if k.ctx.Err() != nil {
			return
		}
		k.d.log.Warn("fetch a thread dump", "n", r.N, "error", err)
		if _, refused := errors.AsType[*dispatch.RefusedError](err); refused || i == tries-1 || !k.d.l.o.sleep(k.ctx, time.Second, nil) {
			return
		}
	}
}

// drain waits for the dumps that are on their way, for as long as one more
// comes now and then: see outputKeeper.drain.
func (k *dumpKeeper) drain(givenUp func() bool) {
	o := k.d.l.o
	began := o.cfg.Clock.Now()
	for before := k.waiting(); before > 0 && !givenUp() && k.ctx.Err() == nil && o.since(began) < o.cfg.ContactTimeout; {
		until := o.cfg.Clock.Now().Add(dumpPatience)
		for k.waiting() == before && o.cfg.Clock.Now().Before(until) && k.ctx.Err() == nil && !givenUp() {
			o.cfg.Clock.Sleep(k.ctx, min(until.Sub(o.cfg.Clock.Now()), time.Second), k.ended)
		}
		now := k.waiting()
		if now == before {
			return
		}
		before = now
	}
}

func (k *dumpKeeper) waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.left
}

// stop ends the fetching and waits for it.
func (k *dumpKeeper) stop() {
	k.cancel()
	k.fetching.Wait()
}

// roundState is how far the evidence round of a run has come on this server.
type roundState string

// The states of a round. It is made once in a walk, before the first host; a
// server that takes the run over asks whoever has not answered yet.
const (
	roundNone   roundState = "" // none is wanted, or it is over
	roundDue    roundState = "due"
	roundAsking roundState = "asking"
)

// wantsRound tells whether a run's hosts are to be asked for their evidence
// before the first is touched. A single host is asked by its own task.
func wantsRound(run restart.Run) bool {
	return run.Plan != nil && len(run.Plan.Evidence) > 0 && run.Kind != restart.KindThreadDump && run.Work == restart.WorkWhole && len(run.Tasks) > 1
}

// round gives the state for a snapshot.
func (l *loop) round(run restart.Run) roundState {
	if l.o.cfg.Dumps == nil || !wantsRound(run) {
		return roundNone
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// gather asks the hosts, beside the walk: a person who stops the run meanwhile
// is obeyed at once.
func (l *loop) gather(ctx context.Context, run restart.Run) {
	gctx, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	l.asked, l.endRound = roundAsking, cancel
	l.mu.Unlock()
	run.Tasks = append([]restart.Task(nil), run.Tasks...) // the loop goes on with its own
	l.wg.Go(func() {
		defer cancel()
		l.o.cfg.Dumps.Before(gctx, run)
		l.mu.Lock()
		l.asked = roundNone
		l.mu.Unlock()
		l.nudge()
	})
}

// leaveRound ends a round that is under way, for a walk that ends.
func (l *loop) leaveRound() {
	l.mu.Lock()
	cancel := l.endRound
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
