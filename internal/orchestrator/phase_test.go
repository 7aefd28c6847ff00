package orchestrator_test

import (
	"context"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// quiet is agents of which one comes to its script at once, and then has
// nothing new to say, as while a script runs.
type quiet struct {
	*agents
	ended chan struct{}
	asked chan time.Duration // for how long to wait, after the phase of the script
}

func (q *quiet) Status(ctx context.Context, _ restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	s := protocol.TaskStatus{Task: task, Stage: restart.StageStarted, Revision: 1, Phase: "evidence"}
	if after >= 1 {
		s.Revision, s.Phase = 2, "run"
	}
	if after < 2 {
		return s, nil
	}
	select {
	case q.asked <- wait:
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.ended:
		s.Revision, s.Stage, s.Outcome = 3, restart.StageDone, protocol.OutcomeSucceeded
	case <-ctx.Done():
		return s, ctx.Err()
	}
	return s, nil
}

// The phase that a host is in is shown at once, also where it began just after
// the last one was stored: nothing is owed when the agent is asked again.
func TestThePhaseOfALongScriptIsShown(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	q := &quiet{b.agents, make(chan struct{}), make(chan time.Duration, 1)}
	b.run(func(cfg *orchestrator.Config) { cfg.Agents = q })
	b.wait(run.ID, "the phase run", func(r restart.Run) bool { return r.Tasks[0].Phase == "run" })
	if wait := <-q.asked; wait < protocol.MaxWait/2 {
		t.Errorf("the phase was left to be stored after %s", wait)
	}
	close(q.ended)
	b.until(run.ID, restart.RunCompleted)
}
