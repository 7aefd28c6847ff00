package orchestrator

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	// dumpPatience is how long an outcome waits for dumps while none arrives here,
	// of whatever task: many hosts are done at once, and the server takes in a few.
	dumpPatience = 10 * time.Second
	// dumpNote bounds the noting of those that were given up.
	dumpNote = 5 * time.Second
)

// Why a dump that its host has told of is kept without bytes.
const (
	noTimeToFetch = "the server had no time to fetch it"
	notFetched    = "the server could not fetch it"
)

// dumpKeeper copies a task's dumps from its agent into the store, each as soon
// as the agent tells of it. One that it gives up is stored without bytes: once
// the task is over, its agent is told to forget.
type dumpKeeper struct {
	d        *driver
	walk     context.Context //nolint:containedctx // once it ends, the next server fetches what is left
	ctx      context.Context //nolint:containedctx // of the fetching, which stop ends
	cancel   context.CancelFunc
	fetching *crew
	ended    chan struct{} // has a word when one more has come, or was given up

	mu   sync.Mutex
	seen map[int]bool // by number; nil = the store was not asked yet
	left map[int]protocol.DumpReport
}

func (d *driver) keepDumps(ctx context.Context) *dumpKeeper {
	kctx, cancel := context.WithCancel(ctx)
	return &dumpKeeper{
		d: d, walk: ctx, ctx: kctx, cancel: cancel, fetching: newCrew(d.l.o.cfg.Clock, 0), ended: make(chan struct{}, 1), left: map[int]protocol.DumpReport{},
	}
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
			k.seen[r.N], k.left[r.N] = true, r
			fresh = append(fresh, r)
		}
	}
	k.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	k.fetching.Go(func() {
		some := newCrew(k.d.l.o.cfg.Clock, dumpsAtOnce)
		for _, r := range fresh {
			some.Go(func() {
				if k.fetch(r) {
					k.mu.Lock()
					delete(k.left, r.N)
					k.mu.Unlock()
				}
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

// fetch tries a few times, and tells whether something is stored. A dump that
// can't be had is no reason for the task to end otherwise.
func (k *dumpKeeper) fetch(r protocol.DumpReport) bool {
	const tries = 3
	o := k.d.l.o
	for i := range tries {
		err := k.store(k.ctx, dumpTime, r)
		if err == nil {
			o.arrived.Add(1)
			return true
		}
		if k.ctx.Err() != nil {
			return false
		}
		k.d.log.Warn("fetch a thread dump", "n", r.N, "error", err)
		if _, refused := errors.AsType[*dispatch.RefusedError](err); refused {
			break
		}
		if i < tries-1 && !o.sleep(k.ctx, time.Second, nil) {
			return false
		}
	}
	return k.note(k.ctx, r, notFetched)
}

func (k *dumpKeeper) store(ctx context.Context, within time.Duration, r protocol.DumpReport) error {
	o := k.d.l.o
	sctx, cancel := o.cfg.Clock.WithTimeout(ctx, within)
	defer cancel()
	err := o.cfg.Dumps.Fetch(sctx, k.d.run, k.d.task, k.d.host, r)
	if err == nil {
		o.cfg.Changed(k.d.run.ID)
	}
	return err
}

// note stores that there was a dump, and why it is not there.
func (k *dumpKeeper) note(ctx context.Context, r protocol.DumpReport, why string) bool {
	r.Stored, r.Error = 0, why
	err := k.store(ctx, dumpNote, r)
	if err != nil && ctx.Err() == nil {
		k.d.log.Warn("note a thread dump that was not fetched", "n", r.N, "why", why, "error", err)
	}
	return err == nil
}

// drain waits for the dumps that are on their way, for as long as this server
// takes one in now and then: see outputKeeper.drain.
func (k *dumpKeeper) drain(givenUp func() bool) {
	o := k.d.l.o
	began := o.cfg.Clock.Now()
	arrived, until := o.arrived.Load(), began.Add(dumpPatience)
	for k.waiting() > 0 && !givenUp() && k.ctx.Err() == nil && o.since(began) < o.cfg.ContactTimeout {
		now := o.cfg.Clock.Now()
		if n := o.arrived.Load(); n != arrived {
			arrived, until = n, now.Add(dumpPatience)
		}
		if !now.Before(until) {
			return
		}
		o.cfg.Clock.Sleep(k.ctx, min(until.Sub(now), time.Second), k.ended)
	}
}

func (k *dumpKeeper) waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.left)
}

// stop ends the fetching, waits for it, and notes what is left, unless that is
// for the next server to fetch. It may be called twice.
func (k *dumpKeeper) stop() {
	k.cancel()
	k.fetching.Wait()
	left := slices.SortedFunc(maps.Values(k.left), func(a, b protocol.DumpReport) int { return a.N - b.N })
	clear(k.left)
	if len(left) == 0 || k.walk.Err() != nil {
		return
	}
	ctx, cancel := k.d.l.o.cfg.Clock.WithTimeout(k.walk, dumpNote)
	defer cancel()
	k.d.log.Warn("give up thread dumps that were not fetched in time", "dumps", len(left))
	for _, r := range left {
		k.note(ctx, r, noTimeToFetch)
	}
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
