package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// newImport is a run that was done on host web0 itself.
func newImport() store.Import {
	run := newRun(1)
	began := epochStart.Add(time.Second)
	run.State, run.Via, run.Actor, run.Epoch = restart.RunFailed, restart.ViaHost, "anna@web0.example.com", 1
	run.Cause, run.Explanation = restart.CauseFailure, "the script ended with exit status 3"
	run.StartedAt, run.FinishedAt = &began, new(began.Add(time.Second))
	run.Plan = &restart.Plan{Hosts: []restart.PlannedHost{{Host: restart.Host{Name: "web0.example.com", Address: "192.0.2.7"}}}, Batches: []int{1}}
	t := &run.Tasks[0]
	t.State, t.Phase, t.Error, t.ExitCode, t.Drained = restart.TaskFailed, "run", run.Explanation, new(3), true
	t.StartedAt, t.FinishedAt = run.StartedAt, run.FinishedAt
	return store.Import{
		Run: run, Detail: json.RawMessage(`{"task":"x"}`), At: epochStart.Add(time.Hour),
		Output:  []protocol.Output{{Data: []byte("one\n")}, {Offset: 4, Truncated: 10}, {Offset: 14, Data: []byte("two\n")}},
		Records: []audit.Record{{Action: audit.TaskLocal, Run: run.ID, Actor: run.Actor}, {Action: audit.TaskLocal, Run: run.ID, Outcome: "failed"}},
	}
}

// exerciseImport takes over runs that were made on hosts: whole, once, and
// nothing that stands for something else.
func exerciseImport(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	in := newImport()
	var tries sync.WaitGroup
	took := make(chan bool, 8)
	for range cap(took) { // several servers at once
		tries.Go(func() {
			taken, err := s.ImportRun(t.Context(), in)
			if err != nil && restart.CodeOf(err) != restart.CodeConflict {
				t.Error(err)
			}
			took <- taken
		})
	}
	tries.Wait()
	n := 0
	for range cap(took) {
		if <-took {
			n++
		}
	}
	if taken, err := s.ImportRun(t.Context(), in); err != nil || taken || n != 1 {
		t.Errorf("taken over %d times, and again %v, %v", n, taken, err)
	}
	if diff := cmp.Diff(in.Run, mustRun(t, s, in.Run.ID)); diff != "" {
		t.Errorf("it is not what was told (-told +stored):\n%s", diff)
	}
	pieces, err := s.Output(t.Context(), in.Run.Tasks[0].ID, 0, 0)
	if diff := cmp.Diff(in.Output, pieces); diff != "" || err != nil {
		t.Errorf("output: %v\n%s", err, diff)
	}
	if detail, err := s.TaskDetail(t.Context(), in.Run.Tasks[0].ID); err != nil || string(detail) != string(in.Detail) {
		t.Errorf("detail %s, %v", detail, err)
	}
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: in.Run.ID})
	if err != nil || len(records) != 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
	if left, err := s.Unreported(t.Context(), "", 0); err != nil || len(left) != 0 {
		t.Errorf("the orchestrator would tell the host: %+v, %v", left, err)
	}

	// Ids that stand for something: another host's, a server's own run and task.
	own := mustCreate(t, s, newRun(2))
	for name, change := range map[string]func(*store.Import){
		"another host's task": func(i *store.Import) { i.Run.Tasks[0].ID = in.Run.Tasks[0].ID },
		"another host's run":  func(i *store.Import) { i.Run.ID = in.Run.ID },
		"a server's run":      func(i *store.Import) { i.Run.ID = own.ID },
		"a server's task":     func(i *store.Import) { i.Run.Tasks[0].ID = own.Tasks[1].ID },
	} {
		forged := newImport()
		forged.Run.Tasks[0].Host = "web1.example.com"
		change(&forged)
		forged.Run.Tasks[0].RunID = forged.Run.ID
		if taken, err := s.ImportRun(t.Context(), forged); taken || restart.CodeOf(err) != restart.CodeConflict {
			t.Errorf("%s: %v, %v", name, taken, err)
		}
	}
	if diff := cmp.Diff(own, mustRun(t, s, own.ID)); diff != "" {
		t.Errorf("the server's run has changed:\n%s", diff)
	}
	for name, change := range map[string]func(*store.Import){
		"not over":       func(i *store.Import) { i.Run.State = restart.RunRunning },
		"task not over":  func(i *store.Import) { i.Run.Tasks[0].State = restart.TaskRunning },
		"two tasks":      func(i *store.Import) { i.Run.Tasks = append(i.Run.Tasks, i.Run.Tasks[0]) },
		"no plan":        func(i *store.Import) { i.Run.Plan = nil },
		"no such host":   func(i *store.Import) { i.Run.Tasks[0].Host = "a b" },
		"no JSON":        func(i *store.Import) { i.Detail = json.RawMessage("{") },
		"no id":          func(i *store.Import) { i.Run.ID = "../x" },
		"no time":        func(i *store.Import) { i.At = time.Time{} },
		"no service":     func(i *store.Import) { i.Run.Service = "" },
		"no such digest": func(i *store.Import) { i.Run.Digest = "x" },
	} {
		bad := newImport()
		change(&bad)
		if taken, err := s.ImportRun(t.Context(), bad); taken || restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v, %v", name, taken, err)
		}
	}
	large := newImport()
	large.Output = []protocol.Output{{Data: []byte(strings.Repeat("x", store.ImportOutput+1))}}
	if _, err := s.ImportRun(t.Context(), large); restart.CodeOf(err) != restart.CodeTooLarge {
		t.Errorf("too much output: %v", err)
	}
}

// exerciseImportFlood: a host that tells of work without end fills the history
// no faster than its day allows, and keeps nobody else from being heard.
func exerciseImportFlood(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	tell := func(host string, at time.Time) error {
		in := newImport()
		in.At, in.Run.Tasks[0].Host = at, host
		_, err := s.ImportRun(t.Context(), in)
		return err
	}
	for i := range store.ImportsPerDay {
		if err := tell("web0.example.com", epochStart.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(i, err)
		}
	}
	wantCode(t, tell("web0.example.com", epochStart.Add(time.Hour)), restart.CodeBusy)
	if err := tell("web1.example.com", epochStart.Add(time.Hour)); err != nil {
		t.Errorf("another host: %v", err)
	}
	if err := tell("web0.example.com", epochStart.Add(24*time.Hour+time.Second)); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// exerciseLocalHead: a host's chain is noted by one server at a time, with its
// records.
func exerciseLocalHead(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	const host = "web0.example.com"
	zero, one, two := protocol.ChainHead{}, protocol.ChainHead{Seq: 1, Hash: "a"}, protocol.ChainHead{Seq: 2, Hash: "b"}
	for i, step := range []struct{ from, to, want protocol.ChainHead }{
		{zero, one, one}, {zero, two, one}, {one, two, two}, {one, zero, two}, {two, one, one},
	} {
		rec := audit.Record{Action: audit.HostChainBroken, Host: host, Actor: fmt.Sprint("step", i)}
		if err := s.MoveLocalHead(t.Context(), host, step.from, step.to, rec); err != nil {
			t.Fatal(err)
		}
		if got, err := s.LocalHead(t.Context(), host); err != nil || got != step.want {
			t.Errorf("step %d: %+v, %v", i, got, err)
		}
		records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Actor: rec.Actor})
		if moved := step.to == step.want; err != nil || (len(records) == 1) != moved {
			t.Errorf("step %d: moved %v, %d records, %v", i, moved, len(records), err)
		}
	}
	if got, err := s.LocalHead(t.Context(), "web1.example.com"); err != nil || got != zero {
		t.Errorf("another host: %+v, %v", got, err)
	}
}
