package orchestrator_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/restart"
)

// trail is a log that takes an intent when a test says so.
type trail struct {
	asked   chan string // by Secure, with the run
	answers chan error  // to it
	late    atomic.Bool
	mu      sync.Mutex
	asks    int
}

func newTrail() *trail { return &trail{asked: make(chan string, 16), answers: make(chan error)} }

func (l *trail) Secure(ctx context.Context, run string) error {
	l.mu.Lock()
	l.asks++
	l.mu.Unlock()
	l.asked <- run
	select {
	case err := <-l.answers:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *trail) Late() error {
	if l.late.Load() {
		return backlog("the log takes no records")
	}
	return nil
}

func backlog(why string) error { return restart.Errorf(restart.CodeAuditBacklog, "%s", why) }

// No host is asked for anything before the log has the run's start, and again
// before it has that the run goes on; it does not come there: the run waits for
// a person.
func TestNoHostIsTouchedBeforeTheLogHasTheIntent(t *testing.T) {
	t.Parallel()
	b, log := newBench(t), newTrail()
	run := b.queue("shop", "web1", "web2")
	run.Plan.Evidence = []string{restart.EvidenceThreadDump}
	run = b.queueAgain(run)
	var dumps asked
	b.run(func(cfg *orchestrator.Config) { cfg.Trail, cfg.Dumps = log, &dumps })
	untouched := func(when string) {
		t.Helper()
		if n, rounds := b.agents.sent(), dumps.rounds.Load(); n != 0 || rounds != 0 {
			t.Errorf("%s: %d tasks sent, %d rounds of evidence", when, n, rounds)
		}
	}
	if id := <-log.asked; id != run.ID {
		t.Errorf("asked for %s", id)
	}
	untouched("on its way")
	b.wait(run.ID, "the run to say what it waits for", func(r restart.Run) bool {
		return r.State == restart.RunRunning && r.Explanation == "no host is touched before the log has the intent of this run"
	})
	log.answers <- errors.New("the database does not answer") // it is asked again
	<-log.asked
	untouched("not found out")
	log.answers <- backlog("the log has not taken it")
	got := b.until(run.ID, restart.RunPaused)
	if got.Cause != restart.CauseAuditBacklog || got.Explanation != "the log has not taken it" {
		t.Errorf("%s: %s", got.Cause, got.Explanation)
	}
	untouched("late")
	b.resume(got)
	<-log.asked
	untouched("resumed")
	log.answers <- nil
	if got = b.until(run.ID, restart.RunCompleted); got.Explanation != "" {
		t.Errorf("it still says %q", got.Explanation)
	}
	if dumps.rounds.Load() != 1 || b.agents.sent() != 2 || log.asks != 3 {
		t.Errorf("%d rounds, %d tasks, the log asked %d times", dumps.rounds.Load(), b.agents.sent(), log.asks)
	}
}

// Who stops the run while the log is waited for is obeyed at once.
func TestAStopDoesNotWaitForTheLog(t *testing.T) {
	t.Parallel()
	b, log := newBench(t), newTrail()
	run := b.queue("shop", "web1")
	b.run(func(cfg *orchestrator.Config) { cfg.Trail = log })
	<-log.asked
	_, err := b.store.SetControl(t.Context(), run.ID, restart.ControlAbort)
	b.must(err)
	b.until(run.ID, restart.RunAborted)
	if b.agents.sent() != 0 {
		t.Errorf("%d tasks sent", b.agents.sent())
	}
}

// Once records wait too long the host in hand finishes, and no other begins; a
// run that has not begun takes no lock.
func TestALateLogEndsTheWalkBehindTheHostInHand(t *testing.T) {
	t.Parallel()
	b, log := newBench(t), newTrail()
	close(log.answers) // the log takes every intent
	run := b.queue("shop", "web1", "web2")
	b.agents.Set("web1", apitest.Hangs)
	b.run(func(cfg *orchestrator.Config) { cfg.Trail = log })
	b.wait(run.ID, "the first host to be in hand", func(r restart.Run) bool { return r.Tasks[0].State == restart.TaskRunning })
	log.late.Store(true)
	b.agents.Set("web1", apitest.Succeeds)
	got := b.until(run.ID, restart.RunPaused)
	if got.Cause != restart.CauseAuditBacklog || got.Tasks[0].State != restart.TaskSucceeded || got.Tasks[1].State != restart.TaskPlanned {
		t.Errorf("%s: %s", got.Cause, got.Summary())
	}
	other := b.until(b.queue("cart", "web3").ID, restart.RunPaused)
	if other.Cause != restart.CauseAuditBacklog || other.StartedAt != nil {
		t.Errorf("%s, started %v", other.Cause, other.StartedAt)
	}
	locks, err := b.store.Locks(t.Context())
	if err != nil || len(locks) != 1 || locks[0].RunID != run.ID {
		t.Errorf("%+v, %v", locks, err)
	}
}
