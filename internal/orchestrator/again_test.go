package orchestrator_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// quicker lets a person act in the moment before a run's end is stored.
type quicker struct {
	*store.Store
	once sync.Once
	act  func(run string)
}

func (q *quicker) Apply(ctx context.Context, c store.Change) (int64, error) {
	if c.Run != nil && c.Run.To.Final() {
		q.once.Do(func() { q.act(c.RunID) })
	}
	return q.Store.Apply(ctx, c)
}

// killed makes the first host of a run unknown.
func (b *bench) killed(run restart.Run) {
	b.t.Helper()
	b.wait(run.ID, "the first host in hand", func(r restart.Run) bool { return r.Tasks[0].State == restart.TaskRunning })
	b.must(b.agents.Agents.Cancel(b.t.Context(), restart.Host{Name: "web1"}, run.Tasks[0].ID, protocol.Cancel{}))
	b.agents.Set("web1", apitest.Succeeds)
}

// A person asks for another attempt just when the run ends: either he is
// refused, or the attempt is made. It is never left planned in a run that is
// over.
func TestAnotherAttemptJustBeforeTheEnd(t *testing.T) {
	b := newBench(t)
	b.agents.Set("web1", apitest.Hangs)
	run := b.queue("shop", "web1")
	again := func(id string) {
		r, err := b.store.Run(t.Context(), id)
		b.must(err)
		c, err := orchestrator.Wish{Run: r, By: "anna", Now: time.Now().UTC()}.Decide("web1", restart.VerdictAgain, "half-way, the cache is not loaded")
		b.must(err)
		_, err = b.store.Apply(t.Context(), *c)
		b.must(err)
	}
	b.run(func(cfg *orchestrator.Config) { cfg.Runs = &quicker{Store: b.store, act: again} })
	b.killed(run)
	run = b.until(run.ID, restart.RunPaused)
	// Somebody decided that it is a failure to live with; then it is looked at again.
	_, err := b.store.Apply(t.Context(), store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning, Acknowledged: new(1), ReleaseLease: true}})
	b.must(err)
	got := b.until(run.ID, restart.RunCompleted)
	if len(got.Tasks) != 2 || got.Tasks[1].State != restart.TaskSucceeded || got.Tasks[1].Attempt != 2 {
		t.Errorf("tasks: %+v", got.Tasks)
	}
	if n := b.agents.sent(); n != 2 {
		t.Errorf("sent %d times, want 2", n)
	}
}

// The envelope of an undrain says that it is for that step alone.
func TestAnUndrainIsSentAsOne(t *testing.T) {
	b := newBench(t)
	only := make(chan string, 2)
	b.agents.put = func(ctx context.Context, _ int, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
		only <- string(s.Sealed.Payload)
		return b.agents.Agents.Put(ctx, host, task, s)
	}
	run := b.queue("shop", "web1")
	undrain := run
	undrain.ID, undrain.Service, undrain.Work, undrain.Parent = restart.NewID(time.Now()), "shop2", restart.WorkUndrain, run.ID
	undrain.Tasks = []restart.Task{{ID: restart.NewID(time.Now()), RunID: undrain.ID, Host: "web1", Attempt: 1, State: restart.TaskPlanned}}
	_, err := b.store.CreateRun(t.Context(), undrain, "", nil, nil)
	b.must(err)
	b.run(nil)
	b.until(run.ID, restart.RunCompleted)
	b.until(undrain.ID, restart.RunCompleted)
	words := map[string]string{}
	for range 2 {
		var e protocol.Envelope
		b.must(json.Unmarshal([]byte(<-only), &e))
		words[e.Run] = e.Only
	}
	if words[run.ID] != "" || words[undrain.ID] != "undrain" {
		t.Errorf("only: %v", words)
	}
}
