package orchestrator_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

func frozen(context.Context, restart.Run) (restart.Cause, string) {
	return restart.CauseFreeze, "production is frozen"
}

// A queued run that meets a freeze is paused before it has taken anything, so
// that it keeps nobody away while it waits.
func TestAFrozenRunDoesNotBegin(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	b.run(func(cfg *orchestrator.Config) { cfg.MayGoOn = frozen })
	got := b.until(run.ID, restart.RunPaused)
	if got.Cause != restart.CauseFreeze || got.Explanation != "production is frozen" || got.StartedAt != nil || b.agents.sent() != 0 {
		t.Errorf("%s: %s, started %v, %d tasks sent", got.Cause, got.Explanation, got.StartedAt, b.agents.sent())
	}
	if locks, err := b.store.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("it holds %+v (%v)", locks, err)
	}
}

// asked counts rounds of evidence.
type asked struct {
	orchestrator.Dumps
	rounds atomic.Int32
}

func (a *asked) Before(context.Context, restart.Run) { a.rounds.Add(1) }

// To ask a host for its evidence is to touch it: who may not go on may not do
// that either.
func TestNobodyIsAskedForEvidenceAfterARightIsLost(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1", "web2")
	run.Plan.Evidence = []string{restart.EvidenceThreadDump}
	queued := b.queueAgain(run)
	var dumps asked
	b.run(func(cfg *orchestrator.Config) {
		cfg.Dumps = &dumps
		cfg.MayGoOn = func(_ context.Context, r restart.Run) (restart.Cause, string) {
			if r.StartedAt == nil {
				return "", ""
			}
			return restart.CauseRightsLost, "anna may not restart shop any more"
		}
	})
	got := b.until(queued.ID, restart.RunPaused)
	if got.Cause != restart.CauseRightsLost || dumps.rounds.Load() != 0 || b.agents.sent() != 0 {
		t.Errorf("%s, %d rounds, %d tasks sent", got.Cause, dumps.rounds.Load(), b.agents.sent())
	}
}

// A freeze that begins while a run waits between its batches pauses it within
// the poll, not at the end of the wait.
func TestAFreezeIsSeenBetweenBatches(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1", "web2")
	run.Plan.Strategy.PauseBetween = restart.Duration(time.Hour)
	waiting := b.queueAgain(run)
	var freeze atomic.Bool
	b.run(func(cfg *orchestrator.Config) {
		cfg.MayGoOn = func(ctx context.Context, r restart.Run) (restart.Cause, string) {
			if freeze.Load() {
				return frozen(ctx, r)
			}
			return "", ""
		}
	})
	b.wait(waiting.ID, "the first host to be done", func(r restart.Run) bool { return r.Tasks[0].State == restart.TaskSucceeded })
	freeze.Store(true)
	got := b.until(waiting.ID, restart.RunPaused)
	if got.Cause != restart.CauseFreeze || got.Tasks[1].State != restart.TaskPlanned {
		t.Errorf("%s, %s", got.Cause, got.Summary())
	}
}

// queueAgain aborts a queued run, and stores it anew as it has been changed.
func (b *bench) queueAgain(run restart.Run) restart.Run {
	b.t.Helper()
	_, err := b.store.Apply(b.t.Context(), store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	b.must(err)
	now := time.Now().UTC()
	run.ID = restart.NewID(now)
	for i := range run.Tasks {
		run.Tasks[i].ID, run.Tasks[i].RunID = restart.NewID(now), run.ID
	}
	_, err = b.store.CreateRun(b.t.Context(), run, "", nil, nil)
	b.must(err)
	return run
}
