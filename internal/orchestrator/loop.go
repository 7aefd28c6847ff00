package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// loop walks one run while this server has its lease. Its context ends when
// the lease is lost; stop closes when the server goes down.
type loop struct {
	o      *Orchestrator
	claim  store.Claim
	stop   <-chan struct{}
	cancel context.CancelFunc
	wake   chan struct{}
	gates  map[int]gate // used by the walking goroutine only, as are rests, places and hosts
	rests  map[int]time.Time
	places map[string]int // of the run's tasks, by id
	hosts  map[string]int // of the frozen plan, by name
	holds  bool           // the service, while the run is still queued

	gaveBack bool // what the run had of others

	mu       sync.Mutex
	forced   time.Time // when a force-abort was first seen; zero = never
	drivers  map[string]bool
	reported []string // tasks whose agents were told to forget them
	asked    roundState
	endRound context.CancelFunc // nil = none was begun
	intent   intentState
	backlog  string             // why the intent is late
	endWait  context.CancelFunc // of the wait for the log; nil = none was begun
	waits    int                // how many there were, and pauses: what an older one says counts no more
	locks    lockState          // of those that are shared with others
	gone     bool
	heldFor  string // why the next host must not be touched: see holdBack

	wg *crew
}

func (l *loop) nudge() {
	nudge(l.wake)
}

func (l *loop) left() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

func (l *loop) fence() store.Fence {
	return store.Fence{Owner: l.o.cfg.Owner, Epoch: l.claim.Epoch}
}

// walk repeats: snapshot, decide, act; until there is nothing more to do here.
// An error of the store is waited out: a run is never left unwatched.
func (l *loop) walk(ctx context.Context) {
	log := l.o.log.With("run_id", l.claim.RunID, "epoch", l.claim.Epoch)
	defer l.finish(ctx)
	var run restart.Run
	first := true
	for ctx.Err() == nil {
		// Before the run is read: a driver lets go of its task after the outcome is
		// stored, so a task that nobody has in hand here is read as it ended.
		driven := l.driven()
		fresh, err := l.refresh(ctx, run, first)
		if err == nil && fresh.Epoch > l.claim.Epoch {
			err = restart.Errorf(restart.CodeStaleEpoch, "run %s is at epoch %d", fresh.ID, fresh.Epoch) // as the store would say to a write
		}
		if err == nil {
			run, first = fresh, false
			var again bool
			again, err = l.act(ctx, &run, driven)
			if err == nil && !again {
				return
			}
		}
		switch {
		case err == nil:
		case fenced(err):
			log.Warn("another server has this run now")
			l.cancel() // the drivers too: they may ask no host any more
			return
		case ctx.Err() != nil:
			return
		default:
			log.Error("walk a run; trying again", "error", err)
			first = true
			l.o.sleep(ctx, time.Second, nil)
		}
	}
}

// refresh reads the run whole at first, then only what has changed since.
func (l *loop) refresh(ctx context.Context, run restart.Run, whole bool) (restart.Run, error) {
	if whole {
		run, err := l.o.cfg.Runs.Run(ctx, l.claim.RunID)
		l.places = nil
		l.merge(nil, run.Tasks)
		return run, err
	}
	fresh, err := l.o.cfg.Runs.RunSince(ctx, run.ID, run.Version)
	if err != nil {
		return restart.Run{}, err
	}
	fresh.Plan = run.Plan // frozen
	fresh.Tasks = l.merge(run.Tasks, fresh.Tasks)
	return fresh, nil
}

// merge is restart.Merge in place: the tasks are this loop's own, no driver
// gets them, and each of 10,000 hosts that ends comes by here.
func (l *loop) merge(tasks, fresh []restart.Task) []restart.Task {
	if l.places == nil {
		l.places = make(map[string]int, len(fresh))
	}
	for _, t := range fresh {
		i, known := l.places[t.ID]
		if !known {
			i = len(tasks)
			l.places[t.ID], tasks = i, append(tasks, t)
		}
		tasks[i] = t
	}
	return tasks
}

// act carries out what decide says, and waits. false means: leave the run.
func (l *loop) act(ctx context.Context, run *restart.Run, driven map[string]bool) (bool, error) {
	if run.State != restart.RunRunning {
		l.claim.Interrupted = false // only a run that was walking can have been interrupted
		l.heldOver()
	}
	now := l.o.cfg.Clock.Now()
	commands := decide(l.snapshot(*run, driven), now)
	var until time.Time
	acted := false
	for _, c := range commands {
		if cause, why := l.barred(ctx, *run, c); cause != "" {
			return true, l.apply(ctx, *run, pause{cause, why}, now)
		}
		switch c := c.(type) {
		case take:
			return true, l.take(ctx, *run, now)
		case leave:
			if run.State.Final() && !l.gaveBack { // the answer to its end was lost, perhaps
				l.giveBackLocks(ctx, *run)
			}
			return false, nil
		case wait:
			until = c.until
			if since, waited := l.rests[c.batch]; !waited || since.After(now) { // a clock was set back
				l.rests[c.batch] = now
			}
		case reconcile:
			l.drive(ctx, *run, l.taskOf(*run, c.task), true)
		case start:
			if driven[c.task] {
				continue // its intent is on its way into the store
			}
			if cause, why := l.may(ctx, *run); cause != "" {
				return true, l.apply(ctx, *run, pause{cause, why}, now)
			}
			l.drive(ctx, *run, l.taskOf(*run, c.task), false)
		case cancel:
			l.kill(ctx, *run, l.taskOf(*run, c.task))
		case look:
			l.gates[c.batch] = l.sample(ctx, *run, c.batch)
			acted = true
		case gather:
			l.gather(ctx, *run)
		case secure:
			l.secure(ctx, *run)
		default:
			if err := l.apply(ctx, *run, c, now); err != nil {
				if restart.CodeOf(err) == restart.CodeConflict {
					return true, nil // somebody was quicker: look again
				}
				return true, err
			}
			acted = true
		}
	}
	if acted {
		return true, nil
	}
	d := l.o.cfg.Poll
	if !until.IsZero() {
		d = min(d, max(until.Sub(now), time.Millisecond))
	}
	l.o.cfg.Clock.Sleep(ctx, d, l.wake, l.stopped())
	return true, nil
}

// stopped is the server's stop signal, once: after it was seen, waiting on it
// again would spin.
func (l *loop) stopped() <-chan struct{} {
	if l.isStopping() {
		return nil
	}
	return l.stop
}

func (l *loop) isStopping() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *loop) may(ctx context.Context, run restart.Run) (restart.Cause, string) {
	if l.o.cfg.MayGoOn != nil {
		if cause, why := l.o.cfg.MayGoOn(ctx, run); cause != "" {
			return cause, why
		}
	}
	if why := l.heldBack(); why != "" {
		return restart.CauseGate, why
	}
	if cause, why := l.late(run); cause != "" {
		return cause, why
	}
	return l.lost(ctx, run)
}

// driven names the tasks that a driver has in hand.
func (l *loop) driven() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.drivers)
}

func (l *loop) snapshot(run restart.Run, driven map[string]bool) snapshot {
	intent, backlog := l.standing(run)
	return snapshot{
		run: run, driven: driven, interrupted: l.claim.Interrupted, autoResume: l.o.cfg.AutoResume,
		gates: l.gates, rests: l.rests, round: l.round(run), intent: intent, backlog: backlog, locks: l.shared(run), stopping: l.isStopping(),
	}
}

// apply makes a change of the run itself, with its record, in one transaction.
func (l *loop) apply(ctx context.Context, run restart.Run, c command, now time.Time) error {
	none := restart.ControlNone
	change := store.Change{RunID: run.ID, Fence: new(l.fence()), At: now}
	var rec audit.Record
	switch c := c.(type) {
	case begin:
		change.Run = &store.RunChange{From: []restart.RunState{restart.RunQueued}, To: restart.RunRunning, SetStarted: run.StartedAt == nil}
		change.Hold = run.HoldsService()
		rec = record(run, audit.RunStarted, now)
		rec.Detail = frozenHosts(run)
		if by := run.ApprovedBy(); by != "" {
			rec.Detail = by + "; hosts: " + rec.Detail
		}
	case pause:
		l.intentOver() // before anybody can have it go on by another
		l.heldOver()
		l.setLocks(locksDue)
		change.Release = run.State == restart.RunQueued // it has begun nothing, and keeps nobody away
		change.Run = &store.RunChange{
			From: []restart.RunState{restart.RunRunning, restart.RunQueued}, To: restart.RunPaused,
			Cause: c.cause, Explanation: c.why, Control: &none,
		}
		if c.cause == restart.CauseHold {
			change.Run.Held = new(true)
		}
		rec = record(run, audit.RunPaused, now)
		rec.Outcome, rec.Detail = string(c.cause), c.why
	case end:
		change.Run = &store.RunChange{
			From: []restart.RunState{run.State}, To: c.state, Cause: c.cause, Explanation: c.why, SetFinished: true, Control: &none,
		}
		change.Release = true
		change.Seen = run.Version // a person may just have asked for another attempt: it must not be left planned
		for _, t := range run.Tasks {
			if t.State == restart.TaskPlanned {
				change.Tasks = append(change.Tasks, store.TaskChange{
					ID: t.ID, From: []restart.TaskState{restart.TaskPlanned}, Path: []restart.TaskState{restart.TaskNotStarted}, Cause: string(c.state),
				})
			}
		}
		rec = record(run, audit.RunEnded, now)
		rec.Outcome, rec.Detail = string(c.state), c.why
	default:
		return fmt.Errorf("orchestrator: no effect for command %T", c)
	}
	change.Records = []audit.Record{rec}
	err := l.tell(&change, run)
	if err != nil {
		return err
	}
	_, err = l.o.cfg.Runs.Apply(ctx, change)
	if restart.CodeOf(err) == restart.CodeLocked && change.Hold {
		return l.queueBehind(ctx, run, err, now)
	}
	if err != nil {
		return err
	}
	if c, ended := c.(end); ended {
		l.tellEnd(run, c.state, len(change.Tasks), now)
	}
	if change.Release {
		l.giveBackLocks(ctx, run)
	}
	if len(change.Messages) > 0 {
		l.o.cfg.Announced()
	}
	l.o.cfg.Committed()
	l.o.cfg.Changed(run.ID)
	return nil
}

// queueBehind leaves a run queued while another holds the service, and says so
// once in its explanation.
func (l *loop) queueBehind(ctx context.Context, run restart.Run, held error, now time.Time) error {
	var e *restart.Error
	errors.As(held, &e)
	if run.Explanation != e.Message {
		_, err := l.o.cfg.Runs.Apply(ctx, store.Change{
			RunID: run.ID, Fence: new(l.fence()), At: now,
			Run: &store.RunChange{From: []restart.RunState{restart.RunQueued}, Explanation: e.Message},
		})
		if err != nil {
			return err
		}
		l.o.cfg.Changed(run.ID)
	}
	l.o.sleep(ctx, l.o.cfg.Poll, l.wake)
	return nil
}

func frozenHosts(run restart.Run) string {
	var names []string
	for _, h := range run.Plan.Chosen() {
		names = append(names, h.Name)
	}
	return strings.Join(names, " ")
}

// drive puts a task into the hands of a driver, once.
func (l *loop) drive(ctx context.Context, run restart.Run, t restart.Task, resumed bool) {
	l.mu.Lock()
	taken := l.drivers[t.ID]
	l.drivers[t.ID] = true
	l.mu.Unlock()
	if taken {
		return
	}
	run.Tasks = nil // the loop's own
	d := &driver{l: l, run: run, task: t, host: l.hostOf(run, t.Host), log: l.o.log.With("run_id", run.ID, "task_id", t.ID, "host", t.Host)}
	l.wg.Go(func() {
		err := d.drive(ctx, resumed)
		switch {
		case err == nil:
			l.loud(ctx, d)
		case ctx.Err() != nil:
		case fenced(err):
			d.log.Warn("another server has this run now", "epoch", l.claim.Epoch)
			l.cancel()
		default:
			d.log.Error("drive a task; trying again", "error", err)
			l.o.sleep(ctx, time.Second, nil)
		}
		l.mu.Lock()
		delete(l.drivers, t.ID)
		l.mu.Unlock()
		l.nudge()
	})
}

// finish waits for the drivers and gives the lease back.
func (l *loop) finish(ctx context.Context) {
	l.cancelIfStopping()
	l.leaveRound()
	l.intentOver()
	l.wg.Wait()
	l.mu.Lock()
	l.gone = true
	reported := l.reported
	l.mu.Unlock()
	bctx, done := l.o.cfg.Clock.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if len(reported) > 0 {
		if err := l.o.cfg.Tasks.MarkReported(bctx, reported); err != nil {
			l.o.log.Warn("mark tasks as reported", "run_id", l.claim.RunID, "error", err)
		}
	}
	if err := l.o.cfg.Runs.Release(bctx, l.claim.RunID, l.fence()); err != nil && !fenced(err) {
		l.o.log.Warn("release a run", "run_id", l.claim.RunID, "error", err)
	}
	l.o.cfg.Changed(l.claim.RunID)
}

// cancelIfStopping ends the drivers of a server that goes down. Their tasks
// stay as they are in the store; the agents go on by themselves.
func (l *loop) cancelIfStopping() {
	if l.isStopping() {
		l.cancel()
	}
}

func (l *loop) taskOf(r restart.Run, id string) restart.Task {
	if i, ok := l.places[id]; ok && i < len(r.Tasks) && r.Tasks[i].ID == id {
		return r.Tasks[i]
	}
	return restart.Task{}
}
