package orchestrator

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// kill asks the agent to end a task's process tree. It is repeated with each
// round of the loop until the task has ended.
func (l *loop) kill(ctx context.Context, run restart.Run, t restart.Task) {
	l.mu.Lock()
	if l.forced.IsZero() {
		l.forced = l.o.cfg.Clock.Now()
	}
	l.mu.Unlock()
	cctx, done := l.o.cfg.Clock.WithTimeout(ctx, 5*time.Second)
	defer done()
	if err := l.o.cfg.Agents.Cancel(cctx, hostOf(run, t.Host), t.ID, protocol.Cancel{Run: run.ID, Epoch: l.claim.Epoch}); err != nil {
		l.o.log.Warn("cancel a task", "run_id", run.ID, "task_id", t.ID, "host", t.Host, "error", err)
	}
}

// givenUp tells whether a force-abort has waited long enough for its hosts: one
// that does not answer, or goes on answering that its task runs, must not hold
// the run and its service for ever.
func (l *loop) givenUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.forced.IsZero() && l.o.since(l.forced) >= l.o.cfg.ContactTimeout
}
