package spool_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func envelopeFor(service string) protocol.Envelope {
	now := time.Now()
	return protocol.Envelope{Version: 1, Task: restart.NewID(now), Run: restart.NewID(now), Host: "web1", Service: service, Expiry: now.Add(time.Second)}
}

func receivedFor(t *testing.T, e protocol.Envelope) spool.Received {
	t.Helper()
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return spool.Received{Sealed: protocol.Sealed{Payload: payload, KeyID: "k", Signature: []byte("s")}, Epoch: 3, ReceivedAt: time.Now()}
}

func doneStatus(e protocol.Envelope, outcome protocol.Outcome) protocol.TaskStatus {
	return protocol.TaskStatus{Task: e.Task, Run: e.Run, Service: e.Service, Stage: restart.StageDone, Outcome: outcome}
}

func stoneFor(e protocol.Envelope) spool.Tombstone {
	stone := spool.Tombstone{Run: e.Run, Epoch: 3, Service: e.Service, At: time.Now()}
	stone.Task = e.Task
	return stone
}

func testATaskCostsNineFsyncs(t *testing.T, b *bed) {
	s := b.spool(t)
	e := envelopeFor("nginx")
	step := func(what string, want int64, act func() error) {
		t.Helper()
		before := b.syncs()
		if err := act(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := b.syncs() - before; got != want {
			t.Errorf("%s took %d fsyncs, want %d", what, got, want)
		}
	}
	step("PUT", 3, func() error { return s.Receive(e, receivedFor(t, e)) })
	task := b.task(t, e.Task)
	step("start", 2, func() error { return task.Start(spool.Started{PID: 1}) })
	step("progress", 0, func() error { return task.Progress(protocol.TaskStatus{}) })
	step("baseline", 0, func() error { return task.Baseline(1) })
	step("done", 2, func() error { return task.Done(doneStatus(e, protocol.OutcomeSucceeded)) })
	step("settle", 0, func() error {
		_, err := s.Settle(e.Task, doneStatus(e, protocol.OutcomeUnknown), spool.Started{})
		return err
	})
	step("DELETE", 2, func() error { return s.Bury(stoneFor(e)) })
}

func testAFailedFsyncLeavesNoTask(t *testing.T, b *bed) {
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.failSyncs(unix.EIO)
	if err := s.Receive(e, receivedFor(t, e)); !errors.Is(err, unix.EIO) {
		t.Fatalf("got %v", err)
	}
	b.failSyncs(nil)
	if _, err := s.Read(e.Task); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the task is there: %v", err)
	}
	b.receive(t, s, e)
}

func testTheRightToRunIsTakenOnce(t *testing.T, b *bed) {
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.receive(t, s, e)
	task := b.task(t, e.Task)
	var won atomic.Int32
	b.together(16, func(i int) {
		var err error
		if i%2 == 0 { // as supervisors do
			if err = task.Start(spool.Started{PID: i}); err == nil {
				won.Add(1)
			}
		} else { // as the agent does
			_, err = s.Settle(e.Task, doneStatus(e, protocol.OutcomeNotStarted), spool.Started{})
		}
		if err != nil && !errors.Is(err, spool.ErrStarted) {
			t.Error(err)
		}
	})
	r, err := s.Read(e.Task)
	if err != nil || r.Started == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.Started.Void != (r.Done != nil) {
		t.Errorf("void %t, done %+v", r.Started.Void, r.Done)
	}
	if may := won.Load(); may > 1 || (may == 1) == r.Started.Void {
		t.Errorf("%d may run, void %t", may, r.Started.Void)
	}
}

func testAServiceIsHeldByOneTask(t *testing.T, b *bed) {
	s := b.spool(t)
	first, second := envelopeFor("nginx"), envelopeFor("nginx")
	b.receive(t, s, first)
	err := s.Receive(second, receivedFor(t, second))
	busy, ok := errors.AsType[*spool.BusyError](err)
	if !ok || busy.Task != first.Task {
		t.Fatalf("got %v", err)
	}
	if err := s.Receive(first, receivedFor(t, first)); !errors.Is(err, spool.ErrExists) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Settle(first.Task, doneStatus(first, protocol.OutcomeUnknown), spool.Started{}); err != nil {
		t.Fatal(err)
	}
	b.receive(t, s, second)
	// Settling the first again does not free what the second holds.
	if _, err := s.Settle(first.Task, doneStatus(first, protocol.OutcomeUnknown), spool.Started{}); err != nil {
		t.Fatal(err)
	}
	if got := s.Holder("nginx"); got != second.Task {
		t.Errorf("the holder is %q", got)
	}
}

func testTheSupervisorsWordCounts(t *testing.T, b *bed) {
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.receive(t, s, e)
	task := b.task(t, e.Task)
	if err := task.Start(spool.Started{}); err != nil {
		t.Fatal(err)
	}
	if err := task.Done(doneStatus(e, protocol.OutcomeSucceeded)); err != nil {
		t.Fatal(err)
	}
	kept, err := s.Settle(e.Task, doneStatus(e, protocol.OutcomeUnknown), spool.Started{})
	if err != nil || kept.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("%+v, %v", kept, err)
	}
	if err := task.Done(doneStatus(e, protocol.OutcomeFailed)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("done twice: %v", err)
	}
}

func testLoadFinishesWhatACrashCutShort(t *testing.T, b *bed) {
	s := b.spool(t)
	good, unlinked, running, done, buried := envelopeFor("a"), envelopeFor("b"), envelopeFor("c"), envelopeFor("d"), envelopeFor("e")
	for _, e := range []protocol.Envelope{good, unlinked, running, done, buried} {
		b.receive(t, s, e)
	}
	if err := b.task(t, running.Task).Start(spool.Started{}); err != nil {
		t.Fatal(err)
	}
	if err := b.task(t, done.Task).Done(doneStatus(done, protocol.OutcomeSucceeded)); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(stoneFor(buried))
	if err != nil {
		t.Fatal(err)
	}
	root := b.folder(t)
	write(t, sub(t, root, "tombstones"), buried.Task, data) // a crash before its folder was dropped
	for _, name := range []string{"b.task", "c.task"} {     // a crash before the link was durable; an eager administrator
		if err := root.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := root.Make(restart.NewID(time.Now())); err != nil { // a crash in the middle of a PUT
		t.Fatal(err)
	}
	torn := envelopeFor("f")
	b.receive(t, s, torn)
	write(t, sub(t, root, torn.Task), "received", []byte(`{"sealed`))

	contents, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range contents.Tasks {
		ids = append(ids, r.ID)
		if (r.Err != nil) != (r.ID == torn.Task) {
			t.Errorf("task %s: %v", r.ID, r.Err)
		}
	}
	slices.Sort(ids)
	want := []string{good.Task, running.Task, done.Task, torn.Task}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("tasks %v\nwant  %v", ids, want)
	}
	if len(contents.Tombstones) != 1 || contents.Tombstones[0].Task != buried.Task || contents.Tombstones[0].Epoch != 3 {
		t.Errorf("tombstones %+v", contents.Tombstones)
	}
	names, err := root.Names()
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	for _, n := range names {
		if strings.HasSuffix(n, ".task") {
			links = append(links, n)
		}
	}
	slices.Sort(links)
	if !slices.Equal(links, []string{"a.task", "f.task"}) {
		t.Errorf("links %v", links)
	}
}

func TestTheLockTellsWhetherASupervisorLives(t *testing.T) {
	b := onHost(t)
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.receive(t, s, e)
	is := func(want bool) {
		t.Helper()
		if got, err := s.Alive(e.Task); err != nil || got != want {
			t.Errorf("alive: %t, %v", got, err)
		}
	}
	is(false)
	lock, err := s.Lock(e.Task)
	if err != nil {
		t.Fatal(err)
	}
	is(true)
	if _, err := s.Lock(e.Task); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("taken twice: %v", err)
	}
	heir, err := unix.Dup(int(lock.Fd())) // as a child has it
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	is(true)
	unix.Close(heir)
	is(false)
}

func testEpochsRise(t *testing.T, b *bed) {
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.receive(t, s, e)
	if err := s.Raise(e.Task, 9); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Read(e.Task); err != nil || r.Epoch != 9 {
		t.Errorf("%+v, %v", r, err)
	}
}

func testNamesThatAreNotIds(t *testing.T, b *bed) {
	s := b.spool(t)
	for _, id := range []string{"", ".", "..", "../../etc/cron.d/x", "-rf", "tombstones", strings.Repeat("a", 27)} {
		if _, err := s.Read(id); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", id, err)
		}
		e := envelopeFor("nginx")
		e.Task = id
		if err := s.Receive(e, spool.Received{}); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", id, err)
		}
		stone := stoneFor(e)
		if err := s.Bury(stone); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
	e := envelopeFor("../x")
	if err := s.Receive(e, spool.Received{}); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("service ../x: %v", err)
	}
}

func TestASymlinkInATasksFolderIsNotFollowed(t *testing.T) {
	b := onHost(t)
	s := b.spool(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for i, name := range []string{"received", "started", "done", "output.00000000000000000000", "alive"} {
		e := envelopeFor(fmt.Sprintf("nginx%d", i))
		b.receive(t, s, e)
		good, err := os.ReadFile(filepath.Join(b.dir, e.Task, "received"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(elsewhere, good, 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(b.dir, e.Task, name)
		if err := errors.Join(os.RemoveAll(path), os.Symlink(elsewhere, path)); err != nil {
			t.Fatal(err)
		}
		switch name {
		case "alive":
			if _, err := s.Lock(e.Task); err == nil {
				t.Error("a lock was taken through a symlink")
			}
		case "received", "started", "done":
			if r, err := s.Read(e.Task); err != nil || r.Err == nil {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		default:
			out := b.task(t, e.Task).NewOutput()
			out.Write([]byte("printed"))
			out.Close()
			if o, err := s.ReadOutput(e.Task, 0, 7); err != nil || len(o.Data) != 0 || o.Truncated != 7 {
				t.Errorf("%+v, %v", o, err)
			}
		}
		if now, err := os.ReadFile(elsewhere); err != nil || string(now) != string(good) {
			t.Errorf("%s: what the link names was changed", name)
		}
		if err := s.Bury(stoneFor(e)); err != nil {
			t.Fatal(err)
		}
	}
}

// What a damaged disk has left of done is no answer, and does not stand in the
// way of one for ever: unknown takes its place, and nothing else does.
func testABrokenDoneBecomesUnknown(t *testing.T, b *bed) {
	s := b.spool(t)
	for _, broken := range []string{"", "{", `{"task":1}`, "\x00\x00"} {
		e := envelopeFor("nginx")
		b.receive(t, s, e)
		task := b.task(t, e.Task)
		if err := task.Start(spool.Started{}); err != nil {
			t.Fatal(err)
		}
		if err := task.Done(doneStatus(e, protocol.OutcomeSucceeded)); err != nil {
			t.Fatal(err)
		}
		folder := sub(t, b.folder(t), e.Task)
		if err := folder.Remove("done"); err != nil {
			t.Fatal(err)
		}
		write(t, folder, "done", []byte(broken))
		for _, outcome := range []protocol.Outcome{protocol.OutcomeNotStarted, protocol.OutcomeSucceeded} {
			if kept, err := s.Settle(e.Task, doneStatus(e, outcome), spool.Started{}); err == nil {
				t.Errorf("%q became %s", broken, kept.Outcome)
			}
		}
		kept, err := s.Settle(e.Task, doneStatus(e, protocol.OutcomeUnknown), spool.Started{})
		if err != nil || kept.Outcome != protocol.OutcomeUnknown {
			t.Errorf("%q: %+v, %v", broken, kept, err)
		}
		if r, err := s.Read(e.Task); err != nil || r.Err != nil || r.Done == nil || r.Done.Outcome != protocol.OutcomeUnknown {
			t.Errorf("%q: afterwards %+v, %v", broken, r, err)
		}
	}
}
