package orchestrator

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Observer is told how runs and tasks end that this server walks, each once it
// is committed. It must not block. took is negative where the thing never
// began.
type Observer interface {
	RunEnded(kind restart.Kind, state restart.RunState, took time.Duration)
	TaskEnded(kind restart.Kind, state restart.TaskState, took time.Duration)
}

// nobody is the Observer of those who want none.
type nobody struct{}

func (nobody) RunEnded(restart.Kind, restart.RunState, time.Duration)   {}
func (nobody) TaskEnded(restart.Kind, restart.TaskState, time.Duration) {}

// Walked counts the runs that this server walks now, each under a lease.
func (o *Orchestrator) Walked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.loops)
}

// since is the time from a beginning, where there was one, to at.
func since(began *time.Time, at time.Time) time.Duration {
	if began == nil {
		return -1
	}
	return max(at.Sub(*began), 0)
}

// tellEnd tells of a run's end, and of its tasks that ended with it.
func (l *loop) tellEnd(run restart.Run, state restart.RunState, unstarted int, at time.Time) {
	for range unstarted {
		l.o.cfg.Observer.TaskEnded(run.Kind, restart.TaskNotStarted, -1)
	}
	l.o.cfg.Observer.RunEnded(run.Kind, state, since(run.StartedAt, at))
}
