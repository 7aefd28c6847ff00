package orchestrator_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// traitor agents say on web1 that another server has every run.
type traitor struct{ *agents }

var otherServer = &dispatch.RefusedError{Err: restart.Errorf(restart.CodeStaleEpoch, "the run has been taken by another server")}

func (s *traitor) Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	if host.Name == "web1" {
		return protocol.TaskStatus{}, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "no task %s here", task)}
	}
	return s.agents.Status(ctx, host, task, after, wait)
}

func (s *traitor) Put(ctx context.Context, host restart.Host, task string, m protocol.Submission) (protocol.TaskStatus, error) {
	if host.Name == "web1" {
		return protocol.TaskStatus{}, otherServer
	}
	return s.agents.Put(ctx, host, task, m)
}

func (s *traitor) Forget(ctx context.Context, host restart.Host, task string, m protocol.Forget) (protocol.Tombstone, error) {
	if host.Name == "web1" {
		return protocol.Tombstone{}, otherServer
	}
	return s.agents.Forget(ctx, host, task, m)
}

// What one host says of the run's servers is believed where the database says
// the same. Else it is that host's own trouble: it does not hold up the others,
// nor the run's end.
func TestOneHostDoesNotEndAWalk(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1", "web2")
	b.run(func(cfg *orchestrator.Config) { cfg.Agents = &traitor{b.agents} })
	b.until(run.ID, restart.RunPaused)
	got := b.wait(run.ID, "the first host's end", func(r restart.Run) bool { return r.Tasks[0].State.Final() })
	if got.Cause != restart.CauseLockLost || got.Tasks[0].State != restart.TaskRefused || got.Tasks[1].State != restart.TaskPlanned || got.Tasks[0].Cause != string(restart.CodeStaleEpoch) || got.Epoch != 1 {
		t.Errorf("epoch %d, %s: %s", got.Epoch, got.Tasks[0].State, got.Tasks[0].Error)
	}
}

// A task that was sent before its host changed its mind is unknown.
func TestAnIntentOfALostServerOnSuchAHostIsUnknown(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	b.must(move(b, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning}}))
	b.must(move(b, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{
		ID: run.Tasks[0].ID, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching},
	}}}))
	b.run(func(cfg *orchestrator.Config) { cfg.Agents = &traitor{b.agents} })
	b.until(run.ID, restart.RunPaused)
	got := b.wait(run.ID, "the host's end", func(r restart.Run) bool { return r.Tasks[0].State.Final() })
	if got.Tasks[0].State != restart.TaskUnknown || got.Cause != restart.CauseLockLost {
		t.Errorf("%s (%s): %s", got.Tasks[0].State, got.Cause, got.Tasks[0].Error)
	}
}

func move(b *bench, c store.Change) error {
	_, err := b.store.Apply(context.Background(), c)
	return err
}

// trickling agents are done at once, and go on saying a little for ever.
type trickling struct{ *agents }

func (s *trickling) Put(_ context.Context, _ restart.Host, task string, _ protocol.Submission) (protocol.TaskStatus, error) {
	return protocol.TaskStatus{Task: task, Stage: restart.StageDone, Outcome: protocol.OutcomeSucceeded, OutputSize: 1 << 30, Revision: 9}, nil
}

func (s *trickling) Output(ctx context.Context, _ restart.Host, _ string, offset int64, each func(protocol.Output) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; offset++ {
		if err := each(protocol.Output{Offset: offset, Data: []byte("x")}); err != nil {
			return err
		}
		<-tick.C
	}
	return ctx.Err()
}

// Output that never ends holds up an outcome no longer than a silent host does.
func TestOutputWithoutEndHoldsUpNoOutcome(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	b.run(func(cfg *orchestrator.Config) {
		cfg.Agents, cfg.ContactTimeout = &trickling{b.agents}, 200*time.Millisecond
	})
	b.until(run.ID, restart.RunCompleted)
}

// A right that is lost while a host is still being tried counts: nothing is sent.
func TestARightLostDuringTheTriesIsLost(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	var lost atomic.Bool
	b.run(func(cfg *orchestrator.Config) {
		cfg.Agents = &mute{agents: b.agents, then: func() { lost.Store(true) }}
		cfg.MayGoOn = func(context.Context, restart.Run) (restart.Cause, string) {
			if lost.Load() {
				return restart.CauseRightsLost, "anna may no longer restart shop"
			}
			return "", ""
		}
	})
	got := b.wait(run.ID, "an end", func(r restart.Run) bool { return r.Tasks[0].State.Final() })
	if b.agents.sent() != 0 || got.Tasks[0].State != restart.TaskNotStarted {
		t.Errorf("%d sent; %s: %s", b.agents.sent(), got.Tasks[0].State, got.Tasks[0].Error)
	}
}

// together answers the first two questions at the same time.
type together struct {
	*agents
	asked atomic.Int32
	both  chan struct{}
}

func (s *together) Status(ctx context.Context, _ restart.Host, task string, _ int64, _ time.Duration) (protocol.TaskStatus, error) {
	if s.asked.Add(1) == 2 {
		close(s.both)
	}
	select {
	case <-s.both:
	case <-ctx.Done():
	}
	return protocol.TaskStatus{Task: task, Stage: restart.StageDone, Outcome: protocol.OutcomeSucceeded, Revision: 9}, nil
}

// learning tells of each attempt to keep what a host has said.
type learning struct {
	*store.Store
	done chan<- struct{}
}

func (l learning) Apply(ctx context.Context, c store.Change) (int64, error) {
	version, err := l.Store.Apply(ctx, c)
	if len(c.Records) == 1 && c.Records[0].Action == audit.TaskLearned {
		l.done <- struct{}{}
	}
	return version, err
}

// Two servers that ask a host about the same unknown task at once keep its
// answer once.
func TestWhatAHostSaysLaterIsKeptOnce(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	b.must(move(b, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning}}))
	b.must(move(b, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{
		ID: run.Tasks[0].ID, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching, restart.TaskUnknown}, Error: "silent",
	}}}))
	b.must(move(b, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseUnknown, Explanation: "web1: unknown"}}))
	both := &together{agents: b.agents, both: make(chan struct{})}
	learnt := make(chan struct{}, 2)
	for _, owner := range []string{"main/1", "other/1"} {
		b.run(func(cfg *orchestrator.Config) {
			cfg.Agents, cfg.Owner, cfg.Runs = both, owner, learning{b.store, learnt}
		})
	}
	<-learnt
	<-learnt
	found, _, err := b.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.TaskLearned, Limit: 50})
	b.must(err)
	if len(found) != 1 {
		t.Errorf("%d records of what was learned once", len(found))
	}
}
