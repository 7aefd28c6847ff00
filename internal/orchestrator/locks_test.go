package orchestrator_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// shared are locks of others that a test gives and takes away.
type shared struct {
	mu       sync.Mutex
	holder   string // who else has them; "" = nobody
	by       map[string]bool
	gone     string // why they are lost; "" = they are not
	broken   int    // how often the ledger of the locks fails before it does not
	taken    int
	released map[string]int
	asked    int // how often a host was asked about
	seen     func()
}

func newShared() *shared {
	return &shared{by: map[string]bool{}, released: map[string]int{}, seen: func() {}}
}

func (s *shared) Concern(run restart.Run) bool { return run.Service == "shop" }

func (s *shared) Take(_ context.Context, run restart.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen()
	if s.broken > 0 {
		s.broken--
		return errors.New("the database does not answer")
	}
	if s.holder != "" {
		return restart.Errorf(restart.CodeLocked, "%s has the lock cluster", s.holder)
	}
	s.by[run.ID], s.taken, s.gone = true, s.taken+1, ""
	return nil
}

func (s *shared) Held(context.Context, restart.Run) (restart.Cause, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.gone != "" {
		return restart.CauseLockLost, s.gone
	}
	return "", ""
}

func (s *shared) Release(_ context.Context, run restart.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, run.ID)
	s.released[run.ID]++
}

func (s *shared) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *shared) has(run string) (has bool, released int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[run], s.released[run]
}

// A run waits in the queue for what others have, with the service its own; the
// walk that it then does asks before each host, and gives back at its end.
func TestLocksOfOthersAreWaitedFor(t *testing.T) {
	b, locks := newBench(t), newShared()
	locks.holder = "deploy-7"
	locks.seen = func() {
		if held, err := b.store.Locks(t.Context()); err != nil || len(held) != 1 {
			t.Errorf("the lock of others is taken before our own: %v %v", held, err)
		}
	}
	run := b.queue("shop", "web1", "web2")
	b.run(func(cfg *orchestrator.Config) { cfg.Locks = locks })
	got := b.wait(run.ID, "the run to say what it waits for", func(r restart.Run) bool { return r.Explanation != "" })
	if got.State != restart.RunQueued || got.Explanation != "deploy-7 has the lock cluster" || b.agents.sent() != 0 {
		t.Errorf("%s: %s, %d tasks sent", got.State, got.Explanation, b.agents.sent())
	}
	if has, _ := locks.has(run.ID); has {
		t.Error("it has what others have")
	}
	locks.set(func() { locks.holder = "" })
	got = b.until(run.ID, restart.RunCompleted)
	if got.Explanation != "" {
		t.Errorf("it still says %q", got.Explanation)
	}
	b.wait(run.ID, "the locks to be given back", func(restart.Run) bool { has, n := locks.has(run.ID); return !has && n == 1 })
	if locks.set(func() {}); locks.taken != 1 || locks.asked < 2 {
		t.Errorf("taken %d times, asked %d times for two hosts", locks.taken, locks.asked)
	}
}

// A queued run that is stopped, or may not begin, keeps nobody away: neither us
// nor others.
func TestAQueuedRunThatIsPausedKeepsNoLock(t *testing.T) {
	b, locks := newBench(t), newShared()
	locks.holder = "deploy-7"
	run := b.queue("shop", "web1")
	b.run(func(cfg *orchestrator.Config) { cfg.Locks = locks })
	b.wait(run.ID, "the run to wait", func(r restart.Run) bool { return r.Explanation != "" })
	_, err := b.store.Wish(t.Context(), run.ID, restart.ControlPause, 0, audit.Record{Actor: "anna", Action: audit.RunPauseRequested, Run: run.ID})
	b.must(err)
	b.until(run.ID, restart.RunPaused)
	if held, err := b.store.Locks(t.Context()); err != nil || len(held) != 0 {
		t.Errorf("it holds %+v, %v", held, err)
	}
	b.wait(run.ID, "its place to be given back", func(restart.Run) bool { _, n := locks.has(run.ID); return n == 1 })

	// Resumed, it is not queued any more: what others have pauses it, and names them.
	b.resume(run)
	got := b.wait(run.ID, "the run to be paused anew", func(r restart.Run) bool { return r.Cause == restart.CauseLockLost })
	if got.Explanation != "deploy-7 has the lock cluster" || b.agents.sent() != 0 {
		t.Errorf("%s, %d tasks sent", got.Explanation, b.agents.sent())
	}
	locks.set(func() { locks.holder = "" })
	b.resume(run)
	b.until(run.ID, restart.RunCompleted)
}

// A lock that is lost while a host is in hand pauses the run before the next;
// the host in hand is finished. Who resumes takes it anew.
func TestALostLockStopsTheWalk(t *testing.T) {
	b, locks := newBench(t), newShared()
	run := b.queue("shop", "web1", "web2")
	b.agents.put = func(ctx context.Context, n int, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
		if n == 1 {
			locks.set(func() { locks.gone = "the lock cluster is gone; deploy-7 has it now" })
		}
		return b.agents.Agents.Put(ctx, host, task, s)
	}
	b.run(func(cfg *orchestrator.Config) { cfg.Locks = locks })
	got := b.until(run.ID, restart.RunPaused)
	if got.Cause != restart.CauseLockLost || got.Explanation != "the lock cluster is gone; deploy-7 has it now" ||
		got.Tasks[0].State != restart.TaskSucceeded || got.Tasks[1].State != restart.TaskPlanned {
		t.Errorf("%s: %s; %s", got.Cause, got.Explanation, got.Summary())
	}
	if has, n := locks.has(run.ID); !has || n != 0 {
		t.Error("a paused run has given back what it had")
	}
	b.resume(run)
	b.until(run.ID, restart.RunCompleted)
	if locks.set(func() {}); locks.taken != 2 {
		t.Errorf("taken %d times; another time by who resumes", locks.taken)
	}
}

// What is wrong with the database is no answer about a lock: a run that goes on
// waits it out, and is not paused.
func TestALedgerThatFailsPausesNothing(t *testing.T) {
	b, locks := newBench(t), newShared()
	locks.holder = "deploy-7"
	run := b.queue("shop", "web1")
	b.run(func(cfg *orchestrator.Config) { cfg.Locks = locks })
	b.wait(run.ID, "the run to wait", func(r restart.Run) bool { return r.Explanation != "" })
	_, err := b.store.Wish(t.Context(), run.ID, restart.ControlPause, 0, audit.Record{Actor: "anna", Action: audit.RunPauseRequested, Run: run.ID})
	b.must(err)
	b.until(run.ID, restart.RunPaused)
	locks.set(func() { locks.holder, locks.broken = "", 1 })
	b.resume(run)
	got := b.wait(run.ID, "the run to go on", func(r restart.Run) bool { return r.State.Final() || r.Cause == restart.CauseLockLost })
	if got.State != restart.RunCompleted {
		t.Errorf("%s: %s, %s", got.State, got.Cause, got.Explanation)
	}
}

// What a run does not share is never asked for, and costs nothing.
func TestRunsThatShareNothingTakeNothing(t *testing.T) {
	b, locks := newBench(t), newShared()
	run := b.queue("cart", "web1")
	b.run(func(cfg *orchestrator.Config) { cfg.Locks = locks })
	b.until(run.ID, restart.RunCompleted)
	if locks.set(func() {}); locks.taken+locks.asked+len(locks.released) != 0 {
		t.Errorf("%+v", locks)
	}
}
