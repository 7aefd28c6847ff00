package agent

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// find gives a task, or the error that says why there is none.
func (a *Agent) find(id string) (*task, error) {
	if err := restart.CheckID(id); err != nil {
		return nil, err
	}
	if t, err := a.inMemory(id); t != nil || err != nil {
		return t, err
	}
	if err := a.absent(id); err != nil {
		if t, found := a.inMemory(id); t != nil || found != nil { // it was just being received
			return t, found
		}
		return nil, err
	}
	return nil, restart.Errorf(restart.CodeNotFound, "this host knows no task %s", id)
}

// inMemory gives a task, or the error that says that it is over; nil, nil = neither is here.
func (a *Agent) inMemory(id string) (*task, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.tasks[id]; ok {
		return t, nil
	}
	if grave, ok := a.graves[id]; ok {
		return nil, over(grave)
	}
	return nil, nil
}

// absent makes sure that the spool has nothing under an id that is not in
// memory: CodeUnavailable. A server takes "not found" as the promise that the
// task never came.
func (a *Agent) absent(id string) error {
	_, err := a.cfg.Spool.Read(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	e := restart.Errorf(restart.CodeUnavailable, "the spool of this host has something under the id of task %s, and this agent can't tell what", id).
		WithHint("restart the agent, which reads its spool again; if this stays, see its log, and look into the folder of that name")
	if err != nil {
		return e.Because(err)
	}
	return e
}

// Get gives a task's status now (GET). CodeNotFound, CodeTombstone.
func (a *Agent) Get(ctx context.Context, id string) (protocol.TaskStatus, error) {
	return a.Wait(ctx, id, -1, 0)
}

// Wait gives a task's status once its revision is above after, or it is done,
// or wait is over (at most protocol.MaxWait).
func (a *Agent) Wait(ctx context.Context, id string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	timer := time.NewTimer(min(max(wait, 0), protocol.MaxWait))
	defer timer.Stop()
	if _, err := a.find(id); err != nil {
		return protocol.TaskStatus{}, err
	}
	if err := a.Refresh(ctx, id); err != nil {
		a.cfg.Logger.Error("a task can't be looked at", "task_id", id, "error", err) // what is in memory is the answer
	}
	for {
		t, err := a.find(id)
		if err != nil {
			return protocol.TaskStatus{}, err
		}
		a.mu.Lock()
		status, changed := t.status, waiting(&t.changed)
		a.mu.Unlock()
		if status.Revision > after || status.Stage == restart.StageDone {
			return a.complete(status), nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return a.complete(status), nil
		case <-a.stopped:
			return a.complete(status), nil
		case <-ctx.Done():
			return protocol.TaskStatus{}, context.Cause(ctx)
		}
	}
}

// complete adds what is kept in files of its own: the evidence, once the task
// is done, and how much output there is.
func (a *Agent) complete(s protocol.TaskStatus) protocol.TaskStatus {
	if s.Stage == restart.StageDone {
		evidence, err := a.cfg.Archive.Evidence(s.Task)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.cfg.Logger.Error("evidence can't be read", "task_id", s.Task, "error", err)
		}
		s.Evidence = evidence
	}
	if size, err := a.cfg.Archive.OutputSize(s.Task); err == nil {
		s.OutputSize = max(s.OutputSize, size)
	}
	s.Chain, s.Asked = a.chain(), headOf(a.cfg.Asked)
	return s
}

// Cancel ends a task (POST cancel): one that has not started never will; of one
// that has, the whole process tree is ended. The answer does not wait for that.
// A task that is done stays as it is.
//
// What root has begun on the host itself is not a server's to end: CodeForbidden.
func (a *Agent) Cancel(ctx context.Context, id string, c protocol.Cancel) (protocol.TaskStatus, error) {
	t, err := a.find(id)
	if err == nil {
		err = notOurs(id, t)
	}
	if err != nil {
		return protocol.TaskStatus{}, err
	}
	return a.cancel(ctx, id, c)
}

func (a *Agent) cancel(ctx context.Context, id string, c protocol.Cancel) (protocol.TaskStatus, error) {
	var none protocol.TaskStatus
	if err := a.take(ctx); err != nil {
		return none, err
	}
	defer a.give()
	t, err := a.owned(id, c.Run, c.Epoch)
	if err != nil {
		return none, err
	}
	status, err := a.endUnstarted(id, t, "cancelled before it started")
	if errors.Is(err, spool.ErrStarted) {
		if err := a.cfg.Launcher.Cancel(id); err != nil {
			return none, diskFull(err)
		}
		a.cfg.Logger.Info("task is being cancelled", "run_id", c.Run, "task_id", id)
		return status, nil
	}
	return status, err
}

// owned finds a task for a server that must own its run. What root has begun on
// the host no server owns: of its run every epoch is as good as another, and none
// is kept, so that no server can keep root or the others from it.
func (a *Agent) owned(id, run string, epoch int64) (*task, error) {
	if err := restart.CheckID(run); err != nil {
		return nil, err
	}
	t, err := a.find(id)
	if err != nil {
		return nil, err
	}
	if t.envelope.Run != run && t.envelope.Run != "" {
		return nil, restart.Errorf(restart.CodeConflict, "task %s belongs to run %s", id, t.envelope.Run)
	}
	if t.local() {
		return t, nil
	}
	return t, a.raise(id, run, epoch)
}

// endUnstarted settles a task that has not started as not_started; done ones
// are left as they are. spool.ErrStarted where it has started.
func (a *Agent) endUnstarted(id string, t *task, why string) (protocol.TaskStatus, error) {
	a.mu.Lock()
	status, done := t.status, t.done()
	a.mu.Unlock()
	if done {
		return status, nil
	}
	err := a.settle(id, ended(status, protocol.OutcomeNotStarted, a.cfg.Now(), why))
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.status, err
}

// maxGraves bounds what a server that was taken over can make a host remember.
const maxGraves = 200_000

// Forget makes sure that an id never runs (again), and drops what is kept of it
// (DELETE). A task that is started and not done is not forgotten: CodeConflict.
// A second time gives the same answer.
func (a *Agent) Forget(ctx context.Context, id string, f protocol.Forget) (protocol.Tombstone, error) {
	var none protocol.Tombstone
	for _, err := range []error{restart.CheckID(id), restart.CheckID(f.Run)} {
		if err != nil {
			return none, err
		}
	}
	if err := a.take(ctx); err != nil {
		return none, err
	}
	defer a.give()
	a.mu.Lock()
	grave, buried := a.graves[id]
	_, here := a.tasks[id]
	graves := len(a.graves)
	a.mu.Unlock()
	local := a.begunHere(id)
	if buried && local {
		return grave.Tombstone, nil // see owned
	}
	if buried {
		return a.hear(grave, f)
	}
	stone := spool.Tombstone{Run: f.Run, Epoch: f.Epoch, At: a.cfg.Now().UTC()}
	stone.Task = id
	if !here {
		if err := a.fence(f.Run, f.Epoch); err != nil && !local {
			return none, err
		}
		if err := a.absent(id); err != nil {
			return none, err
		}
		if graves >= maxGraves {
			return none, restart.Errorf(restart.CodeBusy, "this host remembers %d ended tasks, and takes no ids that it has never seen", graves)
		}
		return a.bury(stone)
	}
	t, err := a.owned(id, f.Run, f.Epoch)
	if err != nil {
		return none, err
	}
	// It may have ended since it was looked at last.
	if v, err := a.look(id, t); err != nil {
		a.cfg.Logger.Error("a task can't be looked at", "task_id", id, "error", err)
	} else if v.do == settle {
		if err := a.settle(id, v.status); err != nil {
			return none, err
		}
	}
	a.mu.Lock()
	stone.Stage = t.status.Stage
	over := t.done()
	a.mu.Unlock()
	if t.local() {
		if !over {
			return none, restart.Errorf(restart.CodeConflict, "task %s was begun on the host itself and is not done", id).WithHint("wait for it")
		}
		if err := a.conclude(id, t.status.Outcome, t.status.Error); err != nil { // its record outlives it
			return none, diskFull(err)
		}
	}
	status, err := a.endUnstarted(id, t, "forgotten before it started")
	if errors.Is(err, spool.ErrStarted) {
		return none, restart.Errorf(restart.CodeConflict, "task %s is running and can't be forgotten", id).WithHint("wait for it, or cancel it first")
	}
	if err != nil {
		return none, err
	}
	if status.Outcome != protocol.OutcomeNotStarted {
		stone.Stage = restart.StageDone // it may have begun and ended since it was looked at
	}
	stone.Outcome, stone.Service, stone.ReceivedAt = status.Outcome, status.Service, status.ReceivedAt
	return a.bury(stone)
}

// hear answers for an id that is buried already. A later epoch is kept with it:
// of a run that is over here there may be nothing else by which a server that
// lost the run, or works on a lost database, is known.
func (a *Agent) hear(grave spool.Tombstone, f protocol.Forget) (protocol.Tombstone, error) {
	if err := a.fence(f.Run, f.Epoch); err != nil {
		return grave.Tombstone, err
	}
	if f.Epoch <= grave.Epoch || grave.Run != f.Run {
		return grave.Tombstone, nil
	}
	grave.Epoch = f.Epoch
	return a.bury(grave)
}

// bury makes the tombstone durable and drops the task.
func (a *Agent) bury(stone spool.Tombstone) (protocol.Tombstone, error) {
	if err := a.cfg.Spool.Bury(stone); err != nil {
		return protocol.Tombstone{}, diskFull(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.graves[stone.Task] = stone
	a.epochs[stone.Run] = max(a.epochs[stone.Run], stone.Epoch)
	if t, ok := a.tasks[stone.Task]; ok {
		wake(&t.changed)
		wake(&t.grown)
		delete(a.tasks, stone.Task)
	}
	return stone.Tombstone, nil
}

// Prune forgets tombstones older than protocol.TombstoneLife. It is called at
// the start and once a day.
func (a *Agent) Prune() error {
	old := a.cfg.Now().Add(-protocol.TombstoneLife)
	var ids []string
	a.mu.Lock()
	for id, t := range a.graves {
		if t.At.Before(old) {
			ids = append(ids, id)
		}
	}
	a.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	if err := a.cfg.Archive.Prune(ids); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		delete(a.graves, id)
	}
	// The epochs of runs that nothing is left of can go with them.
	kept := map[string]int64{}
	for _, t := range a.graves {
		kept[t.Run] = a.epochs[t.Run]
	}
	for _, t := range a.tasks {
		kept[t.envelope.Run] = a.epochs[t.envelope.Run]
	}
	a.epochs = kept
	return nil
}

// outputTick is how often output is looked for where the kernel does not tell of it.
const outputTick = time.Second

// Output sends a task's output from an offset on, following until its end, the
// last with EOF set. A negative offset is CodeInvalid.
func (a *Agent) Output(ctx context.Context, id string, offset int64, send func(protocol.Output) error) error {
	if offset < 0 {
		return restart.Errorf(restart.CodeInvalid, "offset %d is not acceptable: it counts from 0", offset)
	}
	tick := time.NewTicker(outputTick)
	defer tick.Stop()
	for {
		t, err := a.find(id)
		if err != nil {
			return err
		}
		// The status first: output that was there before "done" is seen below.
		a.mu.Lock()
		size, grown := int64(-1), waiting(&t.grown)
		if t.done() {
			size = t.status.OutputSize
		}
		a.mu.Unlock()
		o, err := a.cfg.Archive.ReadOutput(id, offset, size)
		if errors.Is(err, fs.ErrNotExist) {
			o, size, err = protocol.Output{}, -1, nil // forgotten just now: find says so in a moment
		}
		if err != nil {
			return err
		}
		if len(o.Data) > 0 || o.Truncated > 0 {
			if err := send(o); err != nil {
				return err
			}
			offset += int64(len(o.Data)) + o.Truncated
			continue
		}
		if size >= 0 {
			return send(protocol.Output{Offset: offset, EOF: true})
		}
		select {
		case <-grown:
		case <-tick.C:
		case <-a.stopped:
			return errStopping
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
