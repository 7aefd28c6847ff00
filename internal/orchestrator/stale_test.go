package orchestrator_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// lateRuns answers the first question for an active run only after its task is
// over and its driver has let go of it.
type lateRuns struct {
	orchestrator.Runs
	over func(task string) bool

	seen    chan struct{} // closed when a task was read as active
	once    sync.Once
	refused chan struct{} // gets a value when a change was refused

	conflicts atomic.Int32
}

func (l *lateRuns) RunSince(ctx context.Context, id string, version int64) (restart.Run, error) {
	select {
	case <-l.seen: // whoever drives the task again has time to be noticed before the run ends
		select {
		case <-l.refused:
		case <-time.After(200 * time.Millisecond):
		}
	default:
	}
	run, err := l.Runs.RunSince(ctx, id, version)
	for _, t := range run.Tasks {
		if !t.State.Active() {
			continue
		}
		l.once.Do(func() { close(l.seen) })
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !l.over(t.ID) && ctx.Err() == nil {
			<-tick.C
		}
		<-tick.C // the driver's last step is after the one that can be seen
	}
	return run, err
}

func (l *lateRuns) Apply(ctx context.Context, c store.Change) (int64, error) {
	version, err := l.Runs.Apply(ctx, c)
	if restart.CodeOf(err) == restart.CodeConflict {
		l.conflicts.Add(1)
		select {
		case l.refused <- struct{}{}:
		default:
		}
	}
	return version, err
}

// A task that ends while the run is being read is not taken for one that
// nobody has in hand: its host is not asked again.
func TestATaskThatEndsMeanwhileIsNotReconciled(t *testing.T) {
	b := newBench(t)
	late := &lateRuns{Runs: b.store, over: b.agents.forgot, seen: make(chan struct{}), refused: make(chan struct{}, 1)}
	b.agents.put = func(ctx context.Context, _ int, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
		select {
		case <-late.seen:
		case <-ctx.Done():
			return protocol.TaskStatus{}, errors.New("the run was never read with the task active")
		}
		return b.agents.Agents.Put(ctx, host, task, s)
	}
	run := b.queue("shop", "web1")
	b.run(func(cfg *orchestrator.Config) { cfg.Runs = late })
	b.until(run.ID, restart.RunCompleted)
	if late.conflicts.Load() > 0 {
		t.Error("the task was driven again after its end")
	}
}
