package orchestrator_test

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// mute agents leave the first question about a task without an answer.
type mute struct {
	*agents
	asked  atomic.Int32
	then   func() // before that is known
	answer error  // nil = a connection that says nothing
}

func (m *mute) Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	if m.asked.Add(1) > 1 {
		return m.agents.Status(ctx, host, task, after, wait)
	}
	if m.then != nil {
		m.then()
	}
	return protocol.TaskStatus{}, cmp.Or(m.answer, errors.New("no answer"))
}

// A host is called unreachable only after it was asked twice: what was silent
// the first time may have been a connection that was forgotten on the way, or a
// handshake that came too late because this server was busy.
func TestAHostIsAskedTwiceBeforeItIsUnreachable(t *testing.T) {
	for name, first := range map[string]error{"silent": nil, "not reached": dispatch.Unreached("web1", dispatch.Silent)} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			run := b.queue("shop", "web1")
			b.run(func(cfg *orchestrator.Config) {
				cfg.Agents, cfg.DialRetry = &mute{agents: b.agents, answer: first}, time.Nanosecond
			})
			if got := b.wait(run.ID, "an end", func(r restart.Run) bool { return r.Tasks[0].State.Final() }); got.Tasks[0].State != restart.TaskSucceeded {
				t.Errorf("%s: %s", got.Tasks[0].State, got.Tasks[0].Error)
			}
		})
	}
}

// The same holds for the task itself, as long as nothing was sent.
func TestATaskIsBroughtTwiceBeforeItsHostIsUnreachable(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	b.agents.put = func(ctx context.Context, n int, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
		if n == 1 {
			return protocol.TaskStatus{}, dispatch.Unreached(host.Name, dispatch.Silent)
		}
		return b.agents.Agents.Put(ctx, host, task, s)
	}
	b.run(func(cfg *orchestrator.Config) { cfg.DialRetry = time.Nanosecond })
	if got := b.wait(run.ID, "an end", func(r restart.Run) bool { return r.Tasks[0].State.Final() }); got.Tasks[0].State != restart.TaskSucceeded {
		t.Errorf("%s: %s", got.Tasks[0].State, got.Tasks[0].Error)
	}
}

// Whoever stops a run while a host is still being tried is obeyed: nothing is
// sent to it, and it is known that nothing was.
func TestNothingIsSentAfterAStopDuringTheTries(t *testing.T) {
	for _, wish := range []restart.Control{restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort} {
		for _, where := range []string{"the question", "the task"} {
			t.Run(string(wish)+" while trying "+where, func(t *testing.T) {
				b := newBench(t)
				run := b.queue("shop", "web1", "web2")
				stop := func() {
					if _, err := b.store.SetControl(context.WithoutCancel(t.Context()), run.ID, wish); err != nil {
						t.Error(err)
					}
				}
				var brought atomic.Int32
				b.agents.put = func(ctx context.Context, n int, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
					if n == 1 && where == "the task" {
						stop()
						return protocol.TaskStatus{}, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeStopping, "the agent is stopping")}
					}
					brought.Add(1)
					return b.agents.Agents.Put(ctx, host, task, s)
				}
				b.run(func(cfg *orchestrator.Config) {
					if where == "the question" {
						cfg.Agents = &mute{agents: b.agents, then: stop}
					}
				})
				got := b.wait(run.ID, "the stop", func(r restart.Run) bool { return r.State == restart.RunPaused || r.State == restart.RunAborted })
				if brought.Load() != 0 || got.Tasks[0].State != restart.TaskNotStarted {
					t.Errorf("%d tasks reached a host after the stop: %s", brought.Load(), got.Summary())
				}
			})
		}
	}
}

// elder agents had the task before this database did.
type elder struct {
	*agents
	first func(task string) (protocol.TaskStatus, error)
	asked atomic.Int32
}

func (e *elder) Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	if e.asked.Add(1) == 1 {
		return e.first(task)
	}
	return e.agents.Status(ctx, host, task, after, wait)
}

// A database that was restored from a backup has tasks as planned that have
// run since. They are never sent: the host says what became of them, or, where
// it has forgotten them, a person has to.
func TestATaskThatRanBeforeTheRestoreIsNotSent(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		status protocol.TaskStatus
		err    error
		want   restart.TaskState
	}{
		"done":      {status: protocol.TaskStatus{Stage: restart.StageDone, Outcome: protocol.OutcomeSucceeded, FinishedAt: &now}, want: restart.TaskSucceeded},
		"failed":    {status: protocol.TaskStatus{Stage: restart.StageDone, Outcome: protocol.OutcomeFailed, FinishedAt: &now}, want: restart.TaskFailed},
		"forgotten": {err: &dispatch.RefusedError{Err: restart.Errorf(restart.CodeTombstone, "it is over")}, want: restart.TaskUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			run := b.queue("shop", "web1")
			b.run(func(cfg *orchestrator.Config) {
				cfg.Agents = &elder{agents: b.agents, first: func(task string) (protocol.TaskStatus, error) {
					c.status.Task = task
					return c.status, c.err
				}}
			})
			got := b.wait(run.ID, "an end", func(r restart.Run) bool { return r.Tasks[0].State.Final() })
			if got.Tasks[0].State != c.want || b.agents.sent() != 0 {
				t.Errorf("%d sent; %s: %s", b.agents.sent(), got.Tasks[0].State, got.Tasks[0].Error)
			}
		})
	}
}
