package hostwork_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/hostwork"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const digest = "d71f2dedfefc8c85ecd579ff9aae6f5ad76bf175d6801a5007a250f4d4b5e4a6"

var (
	web1  = restart.Host{Name: "web1.example.com", Address: "192.0.2.1"}
	web2  = restart.Host{Name: "web2.example.com", Address: "192.0.2.2"}
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// bed is a server's database, and one host whose agent says what a test wants.
type bed struct {
	t      *testing.T
	store  *store.Store
	keeper *hostwork.Keeper

	mu      sync.Mutex
	now     time.Time
	head    audit.Head
	records []json.RawMessage
	tasks   []protocol.LocalTask
	output  []protocol.Output
	forgot  []string
	asked   int
	old     bool                          // an agent that knows no such verb
	lie     func(r *protocol.LocalReport) // changes what it says; nil = nothing
	lost    bool                          // the DELETE does not arrive
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, store: storetest.Open(t, storetest.SQLite(t)), now: start, head: audit.Head{Source: audit.AgentSource + web1.Name}}
	b.keeper = b.newKeeper()
	return b
}

func (b *bed) newKeeper() *hostwork.Keeper {
	return hostwork.New(hostwork.Config{Store: b.store, Agents: b, Inventory: b, Server: "main", Sweep: time.Hour, Now: func() time.Time { return b.now }})
}

// Snapshot implements hostwork.Inventory.
func (b *bed) Snapshot(context.Context) (inventory.Snapshot, error) {
	return inventory.Snapshot{
		Services: []restart.Service{{Name: "nginx", Unit: "nginx.service"}}, Hosts: []restart.Host{web1},
		Groups: []restart.Group{{Name: "front-production", Project: "front", Environment: "production", Services: []string{"nginx"}, Hosts: []string{web1.Name, web2.Name}}},
	}, nil
}

// Local implements hostwork.Agents.
func (b *bed) Local(_ context.Context, h restart.Host, after int64) (protocol.LocalReport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.old {
		return protocol.LocalReport{}, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "this agent has no verb")}
	}
	r := protocol.LocalReport{Host: h.Name, Head: protocol.ChainHead{Seq: b.head.Seq, Hash: b.head.Hash}, Tasks: b.tasks[:min(len(b.tasks), protocol.MaxLocalTasks)]}
	r.More = len(b.tasks) > len(r.Tasks)
	for i, rec := range b.records {
		if int64(i) < after {
			continue
		}
		if len(r.Records) == protocol.MaxLocalRecords {
			r.More = true
			break
		}
		r.Records = append(r.Records, rec)
	}
	if b.lie != nil {
		b.lie(&r)
	}
	return r, nil
}

// Status implements hostwork.Agents.
func (b *bed) Status(_ context.Context, _ restart.Host, id string, _ int64, _ time.Duration) (protocol.TaskStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.tasks {
		if t.Envelope.Task == id {
			return t.Status, nil
		}
	}
	return protocol.TaskStatus{}, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "this host knows no task %s", id)}
}

// Output implements hostwork.Agents.
func (b *bed) Output(_ context.Context, _ restart.Host, _ string, _ int64, each func(protocol.Output) error) error {
	for _, o := range b.output {
		if err := each(o); err != nil {
			return err
		}
	}
	return nil
}

// Forget implements hostwork.Agents.
func (b *bed) Forget(_ context.Context, _ restart.Host, id string, _ protocol.Forget) (protocol.Tombstone, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost {
		return protocol.Tombstone{}, fmt.Errorf("no answer")
	}
	b.forgot = append(b.forgot, id)
	for i, t := range b.tasks {
		if t.Envelope.Task == id {
			b.tasks = append(b.tasks[:i:i], b.tasks[i+1:]...)
			break
		}
	}
	return protocol.Tombstone{Task: id}, nil
}

// did lets the host have done something, with its records.
func (b *bed) did(change ...func(*protocol.LocalTask)) protocol.LocalTask {
	b.t.Helper()
	e := protocol.Envelope{
		Task: restart.NewID(b.now), Run: restart.NewID(b.now), Attempt: 1, Host: web1.Name, Service: "nginx", Environment: "production",
		Scenario: "nginx-restart", Digest: digest, Actor: "anna@" + web1.Name, Reason: "502s since 14:00, workers hang", NotBefore: b.now,
	}
	began, ended := b.now, b.now.Add(time.Second)
	t := protocol.LocalTask{Envelope: e, Kind: "restart", Status: protocol.TaskStatus{
		Task: e.Task, Run: e.Run, Service: e.Service, Stage: restart.StageDone, Outcome: protocol.OutcomeSucceeded, ExitCode: new(0), StartedAt: &began, FinishedAt: &ended,
	}}
	for i, into := range []*json.RawMessage{&t.Intent, &t.Outcome} {
		r := audit.Record{Time: b.now, Actor: e.Actor, Task: e.Task, Host: e.Host, Action: []audit.Action{audit.TaskIntent, audit.TaskOutcome}[i]}
		r.Link(b.head)
		b.head = r.Head()
		*into = r.Canonical()
		b.records = append(b.records, *into)
	}
	for _, c := range change {
		c(&t)
	}
	b.tasks = append(b.tasks, t)
	return t
}

func (b *bed) visit(want int) error {
	b.t.Helper()
	n, err := b.keeper.Visit(b.t.Context(), web1)
	if n != want {
		b.t.Errorf("%d tasks taken over, want %d (%v)", n, want, err)
	}
	return err
}

func (b *bed) run(id string) restart.Run {
	b.t.Helper()
	run, err := b.store.Run(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return run
}

func (b *bed) records2(action audit.Action) []audit.Record {
	b.t.Helper()
	records, _, err := b.store.AuditSearch(b.t.Context(), store.AuditFilter{Action: action, Limit: 200})
	if err != nil {
		b.t.Fatal(err)
	}
	return records
}

func TestTakeOver(t *testing.T) {
	b := newBed(t)
	if err := b.visit(0); err != nil { // nothing there
		t.Fatal(err)
	}
	b.output = []protocol.Output{{Data: []byte("done\n")}}
	task := b.did()
	b.lost = true
	if err := b.visit(1); err == nil {
		t.Error("the host was not told, and nobody says so")
	}
	b.lost = false
	if err := b.visit(0); err != nil || len(b.forgot) != 1 { // once stored, only told
		t.Errorf("%v, forgot %v", err, b.forgot)
	}
	run := b.run(task.Envelope.Run)
	if run.State != restart.RunCompleted || run.Via != restart.ViaHost || run.Environment != "production" || run.Project != "front" || run.Group != "front-production" ||
		run.Actor != "anna@"+web1.Name || len(run.Tasks) != 1 || run.Tasks[0].State != restart.TaskSucceeded || run.Plan.Service.Unit != "nginx.service" {
		t.Errorf("%+v", run)
	}
	records := b.records2(audit.TaskLocal)
	if len(records) != 2 || records[0].Origin != "host" || records[0].Outcome != "" || records[1].Outcome != "succeeded" || !strings.Contains(records[1].Detail, "its record 2 ") {
		t.Errorf("%+v", records)
	}
	if head, err := b.store.LocalHead(t.Context(), web1.Name); err != nil || head.Seq != 2 || head.Hash != b.head.Hash {
		t.Errorf("head %+v, %v", head, err)
	}
	if n := len(b.records2(audit.HostChainBroken)); n != 0 {
		t.Errorf("%d records of a broken chain", n)
	}
	// What goes on is left alone.
	b.did(func(t *protocol.LocalTask) {
		t.Status.Stage, t.Status.Outcome, t.Outcome = restart.StageStarted, "", nil
	})
	if err := b.visit(0); err != nil {
		t.Error(err)
	}
}

func TestEnds(t *testing.T) {
	b := newBed(t)
	for outcome, want := range map[protocol.Outcome][2]string{
		protocol.OutcomeSucceeded:  {"completed", "succeeded"},
		protocol.OutcomeFailed:     {"failed", "failed"},
		protocol.OutcomeTimedOut:   {"failed", "timed_out"},
		protocol.OutcomeCancelled:  {"aborted", "cancelled"},
		protocol.OutcomeNotStarted: {"aborted", "not_started"},
		protocol.OutcomeUnknown:    {"failed", "unknown"},
		"<b>":                      {"failed", "unknown"},
	} {
		task := b.did(func(t *protocol.LocalTask) { t.Status.Outcome, t.Status.Error = outcome, "why" })
		if err := b.visit(1); err != nil {
			t.Fatal(err)
		}
		if run := b.run(task.Envelope.Run); string(run.State) != want[0] || string(run.Tasks[0].State) != want[1] {
			t.Errorf("%s: run %s, task %s", outcome, run.State, run.Tasks[0].State)
		}
	}
}

// An agent of an earlier version has nothing to tell, and nobody minds.
func TestOldAgent(t *testing.T) {
	b := newBed(t)
	b.old = true
	if err := b.visit(0); err != nil || b.asked != 1 {
		t.Errorf("%v, asked %d times", err, b.asked)
	}
	b.old = false
	b.did()
	if err := b.visit(1); err != nil {
		t.Fatal(err)
	}
	b.old = true // the agent's package was downgraded: its records are not lost
	if err := b.visit(0); err != nil || len(b.records2(audit.HostChainBroken)) != 0 {
		t.Errorf("%v, %+v", err, b.records2(audit.HostChainBroken))
	}
}

// A host that was taken over tells of itself alone, as itself, in plain text.
func TestForgingHost(t *testing.T) {
	for name, forge := range map[string]func(*protocol.LocalTask){
		"another host":    func(t *protocol.LocalTask) { t.Envelope.Host = web2.Name },
		"a path as id":    func(t *protocol.LocalTask) { t.Envelope.Task = "../../etc/passwd" },
		"no service":      func(t *protocol.LocalTask) { t.Envelope.Service = "-rf" },
		"no digest":       func(t *protocol.LocalTask) { t.Envelope.Digest = "<script>" },
		"another's state": func(t *protocol.LocalTask) { t.Status.Task = restart.NewID(start) },
	} {
		b := newBed(t)
		b.did(forge)
		if err := b.visit(0); err == nil {
			t.Errorf("%s is taken", name)
		}
		if runs, _, err := b.store.Runs(t.Context(), store.RunFilter{}); err != nil || len(runs) != 0 || len(b.forgot) != 0 {
			t.Errorf("%s: %d runs, forgot %v, %v", name, len(runs), b.forgot, err)
		}
	}
	b := newBed(t)
	task := b.did(func(t *protocol.LocalTask) {
		t.Envelope.Actor, t.Envelope.Reason, t.Envelope.Scenario, t.Kind = "dana", "<script>\n\x1b[2Jalert(1)", "a\x00b", "everything"
		t.Envelope.Params = map[string]string{"mode": "\u202eevil", "bad name": "x", "long": strings.Repeat("x", 1<<20)}
		t.Envelope.Environment, t.Envelope.Group = "testing", "others"
		t.Envelope.NotBefore = start.AddDate(100, 0, 0)
		t.Status.Error = "\x1b]0;owned\x07" + strings.Repeat("e", 1<<20)
		t.Status.Phases = make([]protocol.PhaseReport, 10_000)
		t.Status.FailedPhase = "\n"
		t.Intent, t.Outcome = json.RawMessage(`{"forged":1}`), json.RawMessage(`"x"`)
	})
	if err := b.visit(1); err != nil {
		t.Fatal(err)
	}
	run := b.run(task.Envelope.Run)
	if run.Actor != "dana@"+web1.Name || run.Scenario != "unknown" || run.Kind != restart.KindCustom || run.Environment != "production" || run.CreatedAt.After(start) || len(run.Params) != 1 {
		t.Errorf("%+v", run)
	}
	detail, err := b.store.TaskDetail(t.Context(), task.Envelope.Task)
	if err != nil || len(detail) > 100<<10 {
		t.Errorf("%d bytes of detail, %v", len(detail), err)
	}
	shown, err := json.Marshal(run)
	if err != nil || len(shown) > 20<<10 {
		t.Errorf("%d bytes of run, %v", len(shown), err)
	}
	for _, text := range []string{run.Reason, run.Tasks[0].Error, run.Tasks[0].Phase, run.Explanation, run.Params["mode"]} {
		if restart.Escape(text) != text {
			t.Errorf("%q can do harm", text)
		}
	}
	for _, r := range b.records2(audit.TaskLocal) {
		if r.Actor != "dana@"+web1.Name || !strings.Contains(r.Detail, "without a record of its own") {
			t.Errorf("%+v", r)
		}
	}
}

// Ids of others are not taken over, and what they stand for stays.
func TestForgedIDs(t *testing.T) {
	b := newBed(t)
	own := restart.Run{
		ID: restart.NewID(start), Scenario: "nginx-restart", Digest: digest, Kind: restart.KindRestart, Service: "nginx", Actor: "dana", Reason: "502s since 14:00",
		State: restart.RunQueued, CreatedAt: start, Tasks: []restart.Task{{ID: restart.NewID(start), Host: web1.Name, Attempt: 1}},
	}
	if _, err := b.store.CreateRun(t.Context(), own, "", nil, nil); err != nil {
		t.Fatal(err)
	}
	b.did(func(t *protocol.LocalTask) { t.Envelope.Run = own.ID })
	b.did(func(t *protocol.LocalTask) { t.Envelope.Task, t.Status.Task = own.Tasks[0].ID, own.Tasks[0].ID })
	honest := b.did()
	if err := b.visit(1); restart.CodeOf(err) != restart.CodeConflict && !strings.Contains(fmt.Sprint(err), "stands for something else") {
		t.Errorf("%v", err)
	}
	b.run(honest.Envelope.Run)
	if got := b.run(own.ID); got.State != restart.RunQueued || got.Via != "" || len(got.Tasks) != 1 || got.Tasks[0].State != restart.TaskPlanned {
		t.Errorf("%+v", got)
	}
}

// A host that tells without end is heard as far as its day allows; nothing is
// lost of an honest one.
func TestFloodingHost(t *testing.T) {
	b := newBed(t)
	for range store.ImportsPerDay + 30 {
		b.did()
	}
	if err := b.visit(store.ImportsPerDay); restart.CodeOf(err) != restart.CodeBusy && !strings.Contains(fmt.Sprint(err), "within a day") {
		t.Errorf("%v", err)
	}
	if len(b.tasks) != 30 {
		t.Errorf("%d are left on the host", len(b.tasks))
	}
	b.now = b.now.Add(25 * time.Hour)
	if err := b.visit(30); err != nil {
		t.Error(err)
	}
	b.lie = func(r *protocol.LocalReport) { // an endless answer
		r.More = true
		r.Records = make([]json.RawMessage, 10*protocol.MaxLocalRecords)
		r.Tasks = make([]protocol.LocalTask, 10_000)
	}
	b.asked = 0
	b.visit(0) // what it says is nonsense
	if b.asked > 30 {
		t.Errorf("it was asked %d times", b.asked)
	}
}

// Output is bounded, and one that does not fit together is refused.
func TestOutput(t *testing.T) {
	b := newBed(t)
	for range 100 {
		b.output = append(b.output, protocol.Output{Offset: int64(len(b.output)) << 16, Data: make([]byte, 1<<16)})
	}
	task := b.did(func(t *protocol.LocalTask) { t.Status.OutputSize = 100 << 16 })
	if err := b.visit(1); err != nil {
		t.Fatal(err)
	}
	end, err := b.store.OutputEnd(t.Context(), task.Envelope.Task)
	if err != nil || end != 100<<16 {
		t.Errorf("output ends at %d, %v", end, err)
	}
	got, err := b.store.Output(t.Context(), task.Envelope.Task, store.ImportOutput, 0)
	if err != nil || len(got) != 1 || got[0].Truncated != 100<<16-store.ImportOutput {
		t.Errorf("behind the bound: %+v, %v", got, err)
	}
	b.output = []protocol.Output{{Offset: 7, Data: []byte("x")}}
	b.did()
	if b.visit(0) == nil {
		t.Error("output with a hole")
	}
}

// A chain that does not go on where it was is noted once, and followed from there.
func TestBrokenChain(t *testing.T) {
	for name, lie := range map[string]func(*bed) func(*protocol.LocalReport){
		"rewritten": func(b *bed) func(*protocol.LocalReport) {
			b.head, b.records = audit.Head{Source: audit.AgentSource + web1.Name}, nil
			b.now = b.now.Add(time.Minute)
			b.did()
			b.did()
			return nil
		},
		"forgotten": func(b *bed) func(*protocol.LocalReport) {
			b.head, b.records = audit.Head{}, nil
			return nil
		},
		"changed": func(b *bed) func(*protocol.LocalReport) {
			b.did()
			return func(r *protocol.LocalReport) {
				if len(r.Records) > 0 {
					r.Records[0] = json.RawMessage(strings.Replace(string(r.Records[0]), "anna", "olga", 1))
				}
			}
		},
		"withheld": func(b *bed) func(*protocol.LocalReport) {
			b.did()
			return func(r *protocol.LocalReport) { r.Records = nil }
		},
		"another's": func(b *bed) func(*protocol.LocalReport) {
			b.head.Source = audit.AgentSource + web2.Name
			b.did()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.did()
			if err := b.visit(1); err != nil {
				t.Fatal(err)
			}
			b.lie = lie(b)
			b.keeper.Visit(t.Context(), web1) // what counts is what is noted
			b.keeper.Visit(t.Context(), web1) // and that once
			records := b.records2(audit.HostChainBroken)
			if len(records) != 1 || records[0].Host != web1.Name || !strings.Contains(records[0].Detail, "seen before: record 2") {
				t.Errorf("%+v", records)
			}
		})
	}
}

// Whoever says that its chain has gone on is visited soon; a sweep visits all.
func TestSeenAndSwept(t *testing.T) {
	b := newBed(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.keeper.Run(ctx) })
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for %s", what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	asked := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.asked
	}
	until("the first sweep", func() bool { return asked() == 1 })
	b.mu.Lock()
	task := b.did()
	head := protocol.ChainHead{Seq: b.head.Seq, Hash: b.head.Hash}
	b.mu.Unlock()
	for range 100 {
		b.keeper.Seen(web1, head)
	}
	until("the run", func() bool { _, err := b.store.Run(t.Context(), task.Envelope.Run); return err == nil })
	until("the host to be told", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.forgot) == 1 })
	stop()
	running.Wait()
	before := asked()
	b.keeper.Seen(web1, head) // that is what the last visit saw
	if before > 4 || asked() != before {
		t.Errorf("asked %d times, then %d", before, asked())
	}
}
