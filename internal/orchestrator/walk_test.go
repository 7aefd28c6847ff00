package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// bench is an orchestrator over a real store and agents that only pretend.
type bench struct {
	t       *testing.T
	store   *store.Store
	agents  *agents
	changed chan struct{}
}

// agents counts what is sent, and lets a test answer a PUT in its own way.
type agents struct {
	*apitest.Agents
	put    func(ctx context.Context, n int, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error)
	cancel func()
	status func(task string) protocol.TaskStatus

	mu        sync.Mutex
	puts      int
	forgotten map[string]bool
}

func (a *agents) Put(ctx context.Context, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
	a.mu.Lock()
	a.puts++
	n := a.puts
	a.mu.Unlock()
	if a.put != nil {
		return a.put(ctx, n, host, task, s)
	}
	return a.Agents.Put(ctx, host, task, s)
}

// Status answers sooner than it has to.
func (a *agents) Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	if a.status != nil {
		return a.status(task), nil
	}
	return a.Agents.Status(ctx, host, task, after, min(wait, 50*time.Millisecond))
}

func (a *agents) Cancel(ctx context.Context, host restart.Host, task string, m protocol.Cancel) error {
	if a.cancel != nil {
		a.cancel()
		return nil
	}
	return a.Agents.Cancel(ctx, host, task, m)
}

func (a *agents) Forget(ctx context.Context, host restart.Host, task string, m protocol.Forget) (protocol.Tombstone, error) {
	a.mu.Lock()
	a.forgotten[task] = true
	a.mu.Unlock()
	return a.Agents.Forget(ctx, host, task, m)
}

func (a *agents) sent() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.puts
}

func (a *agents) forgot(task string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.forgotten[task]
}

func newBench(t *testing.T) *bench {
	return &bench{
		t: t, store: storetest.Open(t, storetest.SQLite(t)), changed: make(chan struct{}, 1),
		agents: &agents{Agents: apitest.NewAgents(""), forgotten: map[string]bool{}},
	}
}

// run starts an orchestrator until the end of the test; change may be nil.
func (b *bench) run(change func(*orchestrator.Config)) {
	b.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := b.runUntil(ctx, change)
	b.t.Cleanup(func() {
		stop()
		<-ended
	})
}

// runUntil starts one until the end of ctx; ended is closed when it has left.
func (b *bench) runUntil(ctx context.Context, change func(*orchestrator.Config)) (ended chan struct{}) {
	b.t.Helper()
	key, err := pki.GenerateEnvelopeKey()
	b.must(err)
	cfg := orchestrator.Config{
		Owner: "main/1", Runs: b.store, Tasks: b.store, Agents: b.agents, Key: key, Poll: 20 * time.Millisecond,
		Changed: func(string) {
			select {
			case b.changed <- struct{}{}:
			default:
			}
		},
	}
	if change != nil {
		change(&cfg)
	}
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		orchestrator.New(cfg).Run(ctx)
	}()
	return ended
}

// queue stores a run of a service over hosts, one at a time.
func (b *bench) queue(service string, hosts ...string) restart.Run {
	b.t.Helper()
	now := time.Now().UTC()
	r := restart.Run{
		ID: restart.NewID(now), Scenario: "plain-restart", Digest: "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d", Kind: restart.KindRestart,
		Service: service, Environment: "production", Actor: "anna", Reason: "workers hang since the deploy", State: restart.RunQueued, CreatedAt: now,
		Plan: &restart.Plan{Strategy: restart.Strategy{}.Defaults()},
	}
	for i, h := range hosts {
		r.Plan.Hosts = append(r.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: h}})
		r.Tasks = append(r.Tasks, restart.Task{ID: restart.NewID(now), RunID: r.ID, Host: h, Position: i, Batch: i, Attempt: 1, State: restart.TaskPlanned})
	}
	_, err := b.store.CreateRun(b.t.Context(), r, "", nil, nil)
	b.must(err)
	return r
}

// until waits for a run to get into a state.
func (b *bench) until(id string, state restart.RunState) restart.Run {
	b.t.Helper()
	return b.wait(id, string(state), func(r restart.Run) bool { return r.State == state })
}

// wait waits for something to be true of a run.
func (b *bench) wait(id, what string, holds func(restart.Run) bool) restart.Run {
	b.t.Helper()
	late := time.After(20 * time.Second)
	for {
		r, err := b.store.Run(b.t.Context(), id)
		b.must(err)
		if holds(r) {
			return r
		}
		select {
		case <-b.changed:
		case <-late:
			b.t.Fatalf("waited for %s: %s, %s", what, r.Summary(), r.Explanation)
		}
	}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// A host that goes on and on after a force-abort becomes unknown: it holds up
// neither the run nor the service.
func TestAForceAbortEndsThoughTheHostDoesNot(t *testing.T) {
	b := newBench(t)
	b.agents.Set("web1", apitest.Hangs)
	b.agents.cancel = func() {} // without effect
	run := b.queue("shop", "web1", "web2")
	b.run(func(cfg *orchestrator.Config) { cfg.ContactTimeout = 200 * time.Millisecond })
	b.wait(run.ID, "the first host to be in hand", func(r restart.Run) bool { return r.Tasks[0].State == restart.TaskRunning })
	_, err := b.store.SetControl(t.Context(), run.ID, restart.ControlForceAbort)
	b.must(err)
	got := b.until(run.ID, restart.RunAborted)
	if got.Tasks[0].State != restart.TaskUnknown || got.Tasks[1].State != restart.TaskNotStarted {
		t.Errorf("tasks: %s", got.Summary())
	}
	if b.agents.forgot(got.Tasks[0].ID) {
		t.Error("the host was told to forget what is not known here")
	}
}

// A host that was taken over can't put escapes into what people see, nor make
// the server ask without a pause.
func TestAHostileStatusIsHarmless(t *testing.T) {
	b := newBench(t)
	const evil = "\x1b[2J\u202erun"
	asked := 0
	b.agents.status = func(task string) protocol.TaskStatus {
		asked++
		s := protocol.TaskStatus{
			Task: task, Stage: restart.StageStarted, Revision: 1, Phase: evil, Containment: evil, Warnings: make([]string, 10_000),
			Phases: []protocol.PhaseReport{{Phase: evil, Error: evil}}, Evidence: []protocol.EvidenceItem{{Kind: evil, Error: evil}},
			Asked: &protocol.ChainHead{Seq: -7, Hash: evil}, Chain: &protocol.ChainHead{Seq: 3, Hash: strings.Repeat("a", 1<<20)},
		}
		if asked > 5 {
			s.Stage, s.Outcome, s.FailedPhase, s.Error = restart.StageDone, protocol.OutcomeFailed, evil, evil
		}
		return s
	}
	run := b.queue("shop", "web1")
	began := time.Now()
	b.run(nil)
	got := b.until(run.ID, restart.RunPaused)
	if took := time.Since(began); took < 4*50*time.Millisecond {
		t.Errorf("asked %d times in %s", asked, took)
	}
	raw, err := b.store.TaskDetail(t.Context(), got.Tasks[0].ID)
	b.must(err)
	var detail protocol.TaskStatus
	b.must(json.Unmarshal(raw, &detail))
	if len(detail.Warnings) > 100 {
		t.Errorf("%d warnings are kept", len(detail.Warnings))
	}
	detail.Warnings = nil
	records, _, err := b.store.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID, Action: audit.TaskOutcome})
	b.must(err)
	if p := records[0].Params; len(records) != 1 || len(p) != 4 || p["asked_seq"] != "-7" || p["asked_hash"] != restart.Escape(evil) || p["ledger_seq"] != "3" || len(p["ledger_hash"]) > 300 {
		t.Errorf("the record of the outcome: %+v", records)
	}
	for what, text := range map[string]string{
		"phase": got.Tasks[0].Phase, "cause": got.Tasks[0].Cause, "error": got.Tasks[0].Error, "explanation": got.Explanation, "detail": fmt.Sprintf("%v", detail),
	} {
		if restart.Escape(text) != text {
			t.Errorf("%s: %q", what, text)
		}
	}
}

// What a host says of an unknown task, once it answers again, is kept before
// the host may forget it.
func TestWhatAnUnknownHostSaysLaterIsKept(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	task := run.Tasks[0]
	_, err := b.agents.Agents.Put(t.Context(), restart.Host{Name: "web1"}, task.ID, protocol.Submission{})
	b.must(err)
	_, err = b.store.Apply(t.Context(), store.Change{
		RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseUnknown},
		Tasks: []store.TaskChange{{
			ID: task.ID, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching, restart.TaskUnknown}, Error: "it did not answer",
		}},
	})
	b.must(err)
	b.run(nil) // a server looks for what is to be forgotten when it starts
	got := b.wait(run.ID, "what the host says", func(r restart.Run) bool { return r.Tasks[0].Error != "it did not answer" })
	if got.Tasks[0].State != restart.TaskUnknown || got.Tasks[0].Error != "it did not answer; the host says now: succeeded" {
		t.Errorf("the task is %s: %s", got.Tasks[0].State, got.Tasks[0].Error)
	}
	records, _, err := b.store.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID, Action: audit.TaskLearned})
	b.must(err)
	if len(records) != 1 || records[0].Host != "web1" {
		t.Errorf("records: %+v", records)
	}
}

// A stop that is stored before the next host's intent is, is obeyed, however
// far the walk has got with that host.
func TestNoIntentIsStoredAfterAStop(t *testing.T) {
	for _, wish := range []restart.Control{restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort} {
		t.Run(string(wish), func(t *testing.T) {
			b := newBench(t)
			run := b.queue("shop", "web1", "web2")
			b.run(func(cfg *orchestrator.Config) {
				cfg.MayGoOn = func(ctx context.Context, r restart.Run) (restart.Cause, string) { // the last thing before the intent
					if r.State != restart.RunRunning {
						return "", "" // it is asked before the run begins, too
					}
					if _, err := b.store.SetControl(ctx, r.ID, wish); err != nil {
						t.Error(err)
					}
					return "", ""
				}
			})
			state := restart.RunAborted
			if wish == restart.ControlPause {
				state = restart.RunPaused
			}
			got := b.until(run.ID, state)
			if b.agents.sent() != 0 {
				t.Errorf("%d tasks were sent after the stop: %s", b.agents.sent(), got.Summary())
			}
		})
	}
}

// A run that is paused for another reason in the moment of an abort is aborted
// all the same.
func TestAnAbortIsNotLostInAPause(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	b.run(func(cfg *orchestrator.Config) {
		cfg.MayGoOn = func(ctx context.Context, r restart.Run) (restart.Cause, string) {
			if _, err := b.store.SetControl(ctx, r.ID, restart.ControlAbort); err != nil {
				t.Error(err)
			}
			return restart.CauseRightsLost, "anna has no right any more"
		}
	})
	b.until(run.ID, restart.RunAborted)
}

// A wish to pause that comes when the run is paused already leaves nothing to
// obey: no server takes the run for it, again and again.
func TestAPauseOfAPausedRunWakesNobody(t *testing.T) {
	b := newBench(t)
	run := b.queue("shop", "web1")
	_, err := b.store.Apply(t.Context(), store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseOperator}})
	b.must(err)
	_, err = b.store.SetControl(t.Context(), run.ID, restart.ControlPause)
	b.must(err)
	claims, err := b.store.Claim(t.Context(), "main/1", time.Minute, 10)
	b.must(err)
	if len(claims) != 0 {
		t.Errorf("claimed: %+v", claims)
	}
}

// A host that refuses a task the second time may still get the first request:
// what is on its way decides, not the refusal.
func TestARefusalAfterALostAnswerSettlesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		arrives bool
		want    restart.TaskState
		run     restart.RunState
	}{
		"the first request arrives late": {true, restart.TaskSucceeded, restart.RunCompleted},
		"the first request is lost":      {false, restart.TaskNotStarted, restart.RunPaused},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.agents.put = func(ctx context.Context, n int, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
				if n == 1 {
					return protocol.TaskStatus{}, errors.New("no answer")
				}
				if c.arrives {
					if _, err := b.agents.Agents.Put(ctx, host, task, s); err != nil {
						t.Error(err)
					}
				}
				return protocol.TaskStatus{}, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeBusy, "another task holds the service")}
			}
			run := b.queue("shop", "web1")
			b.run(nil)
			got := b.until(run.ID, c.run)
			if got.Tasks[0].State != c.want {
				t.Errorf("the task is %s (%s), want %s", got.Tasks[0].State, got.Tasks[0].Error, c.want)
			}
			if !c.arrives && !b.agents.forgot(got.Tasks[0].ID) {
				t.Error("the id was not ended on the host before it was called not started")
			}
		})
	}
}

// forgetful loses the first release of a run, as a database does that goes
// away in that moment.
type forgetful struct {
	*store.Store
	mu   sync.Mutex
	lost map[string]bool
}

func (f *forgetful) Release(ctx context.Context, run string, fence store.Fence) error {
	f.mu.Lock()
	first := !f.lost[run]
	f.lost[run] = true
	f.mu.Unlock()
	if first {
		return errors.New("connection reset")
	}
	return f.Store.Release(ctx, run, fence)
}

// A run whose lease could not be given back is not held for ever by a server
// that has others in hand.
func TestARunThatNobodyWalksIsGivenBack(t *testing.T) {
	b := newBench(t)
	b.agents.Set("web1", apitest.Hangs)
	b.agents.Set("web2", apitest.Fails)
	busy, stuck := b.queue("shop", "web1"), b.queue("bare", "web2")
	b.run(func(cfg *orchestrator.Config) {
		cfg.Runs = &forgetful{Store: b.store, lost: map[string]bool{}}
		cfg.Lease = 300 * time.Millisecond
	})
	b.until(stuck.ID, restart.RunPaused)
	b.until(busy.ID, restart.RunRunning)
	_, err := b.store.SetControl(t.Context(), stuck.ID, restart.ControlAbort)
	b.must(err)
	b.until(stuck.ID, restart.RunAborted)
	b.agents.Set("web1", apitest.Succeeds)
	b.until(busy.ID, restart.RunCompleted)
}
