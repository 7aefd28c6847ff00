package orchestrator_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// hush is a Quiet that notes what it is told, and how many tasks hosts had been
// sent by then.
type hush struct {
	agents *agents
	refuse func(task restart.Task) error

	mu     sync.Mutex
	hosts  map[string]string // by task
	said   []string
	sent   []int
	limits []time.Duration
}

func newHush(b *bench) *hush { return &hush{agents: b.agents, hosts: map[string]string{}} }

func (h *hush) Begin(_ context.Context, _ restart.Run, task restart.Task, host restart.Host, limit time.Duration) error {
	sent := h.agents.sent()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hosts[task.ID] = host.Name
	h.said, h.sent, h.limits = append(h.said, "begin "+host.Name), append(h.sent, sent), append(h.limits, limit)
	if h.refuse != nil {
		return h.refuse(task)
	}
	return nil
}

func (h *hush) End(_ context.Context, _ restart.Run, task string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := h.hosts[task]
	if host == "" {
		host = "of another server"
	}
	h.said = append(h.said, "end "+host)
}

// until waits until it was told so much.
func (h *hush) until(b *bench, times int) []string {
	b.t.Helper()
	late := time.After(20 * time.Second)
	for {
		h.mu.Lock()
		said := slices.Clone(h.said)
		h.mu.Unlock()
		if len(said) >= times {
			slices.Sort(said) // an end may be told after the next begin
			return said
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-late:
			b.t.Fatalf("told: %q", said)
		}
	}
}

// silenced queues a run whose scenario names an alert.
func silenced(b *bench, hosts ...string) restart.Run {
	b.t.Helper()
	run := b.queue("shop", hosts...)
	run.Plan.Silence, run.Plan.Deadline = []string{"InstanceDown"}, restart.Duration(2*time.Minute)
	return b.queueAgain(run)
}

// Each host is quiet from before it is asked until its outcome, whatever that is.
func TestHostsAreQuietWhileTheyAreInHand(t *testing.T) {
	b := newBench(t)
	run := silenced(b, "web1", "web2", "web3")
	b.agents.Set("web2", apitest.Fails)
	h := newHush(b)
	b.run(func(cfg *orchestrator.Config) { cfg.Quiet = h })
	b.until(run.ID, restart.RunPaused)
	if diff := cmp.Diff([]string{"begin web1", "begin web2", "end web1", "end web2"}, h.until(b, 4)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{0, 1}, h.sent); diff != "" {
		t.Errorf("hosts were asked before (-want +got):\n%s", diff)
	}
	// The envelope's life, evidence, drain and run, undrain, health.
	if want := protocol.Lifetime + 30*time.Second + 2*5*time.Minute + 2*time.Minute; h.limits[0] != want {
		t.Errorf("for at most %s, not %s", h.limits[0], want)
	}
}

// Where nothing is to be silent, nobody is told.
func TestNobodyIsToldOfARunWithoutSilences(t *testing.T) {
	b := newBench(t)
	h := newHush(b)
	b.run(func(cfg *orchestrator.Config) { cfg.Quiet = h })
	b.until(b.queue("shop", "web1", "web2").ID, restart.RunCompleted)
	if len(h.said) != 0 {
		t.Errorf("told: %q", h.said)
	}
}

// A host about which somebody must be quiet, and can't, is not touched: the run
// is paused, and goes on when it is resumed.
func TestAHostThatCantBeQuietIsNotTouched(t *testing.T) {
	b := newBench(t)
	run := silenced(b, "web1", "web2")
	h := newHush(b)
	var mu sync.Mutex
	down := true
	h.refuse = func(task restart.Task) error {
		mu.Lock()
		defer mu.Unlock()
		if down && task.Host == "web2" {
			return restart.Errorf(restart.CodeUnavailable, "monitoring does not answer")
		}
		return nil
	}
	b.run(func(cfg *orchestrator.Config) { cfg.Quiet = h })
	got := b.until(run.ID, restart.RunPaused)
	if got.Cause != restart.CauseGate || got.Explanation != "monitoring does not answer" || got.Tasks[1].State != restart.TaskPlanned || b.agents.sent() != 1 {
		t.Fatalf("%s: %s; %s; %d tasks sent", got.Cause, got.Explanation, got.Summary(), b.agents.sent())
	}
	mu.Lock()
	down = false
	mu.Unlock()
	_, err := b.store.Apply(t.Context(), store.Change{RunID: run.ID, Run: &store.RunChange{From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning, ReleaseLease: true}})
	b.must(err)
	b.until(run.ID, restart.RunCompleted)
	if diff := cmp.Diff([]string{"begin web1", "begin web2", "begin web2", "end web1", "end web2", "end web2"}, h.until(b, 6)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A stop that comes while monitoring is told is obeyed, and what was silenced is
// loud again.
func TestAStopWhileMonitoringIsTold(t *testing.T) {
	b := newBench(t)
	run := silenced(b, "web1")
	h := newHush(b)
	h.refuse = func(restart.Task) error {
		_, err := b.store.SetControl(t.Context(), run.ID, restart.ControlAbort)
		return err
	}
	b.run(func(cfg *orchestrator.Config) { cfg.Quiet = h })
	got := b.until(run.ID, restart.RunAborted)
	if b.agents.sent() != 0 || got.Tasks[0].State != restart.TaskNotStarted {
		t.Errorf("%d tasks sent; %s", b.agents.sent(), got.Summary())
	}
	if diff := cmp.Diff([]string{"begin web1", "end web1"}, h.until(b, 2)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A server that takes a run over with a host in hand has it loud at the outcome;
// one that stops leaves it quiet.
func TestTheNextServerEndsTheQuiet(t *testing.T) {
	b := newBench(t)
	run := silenced(b, "web1")
	task := run.Tasks[0].ID
	_, err := b.store.Apply(t.Context(), store.Change{
		RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true}, Hold: true,
		Tasks: []store.TaskChange{{ID: task, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching}}},
	})
	b.must(err)
	_, err = b.agents.Agents.Put(t.Context(), restart.Host{Name: "web1"}, task, protocol.Submission{})
	b.must(err)
	h := newHush(b)
	b.run(func(cfg *orchestrator.Config) { cfg.Quiet = h })
	if diff := cmp.Diff([]string{"end of another server"}, h.until(b, 1)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}

	b = newBench(t)
	run = silenced(b, "web1")
	b.agents.Set("web1", apitest.Hangs)
	h = newHush(b)
	ctx, stop := context.WithCancel(context.Background())
	ended := b.runUntil(ctx, func(cfg *orchestrator.Config) { cfg.Quiet = h })
	b.wait(run.ID, "the host to be in hand", func(r restart.Run) bool { return r.Tasks[0].State == restart.TaskRunning })
	stop()
	<-ended
	if diff := cmp.Diff([]string{"begin web1"}, h.until(b, 1)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
