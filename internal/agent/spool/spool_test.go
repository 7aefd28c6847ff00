package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// counter counts fsyncs instead of making them.
type counter struct {
	n    atomic.Int64
	fail error // of the next ones
}

func (c *counter) sync(int) error {
	c.n.Add(1)
	return c.fail
}

func openTest(t *testing.T, c *counter) *Spool {
	t.Helper()
	s, err := Open(Config{Dir: filepath.Join(t.TempDir(), "spool"), Sync: c.sync})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func envelopeFor(service string) protocol.Envelope {
	now := time.Now()
	return protocol.Envelope{Version: 1, Task: restart.NewID(now), Run: restart.NewID(now), Host: "web1", Service: service, Expiry: now.Add(time.Second)}
}

func receivedFor(t *testing.T, e protocol.Envelope) Received {
	t.Helper()
	payload, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return Received{Sealed: protocol.Sealed{Payload: payload, KeyID: "k", Signature: []byte("s")}, Epoch: 3, ReceivedAt: time.Now()}
}

func (s *Spool) receiveTest(t *testing.T, e protocol.Envelope) {
	t.Helper()
	if err := s.Receive(e, receivedFor(t, e)); err != nil {
		t.Fatal(err)
	}
}

func (s *Spool) task(t *testing.T, id string) *Task {
	t.Helper()
	task, err := OpenTask(s.root.name, id, s.root.sync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { task.Close() })
	return task
}

func doneStatus(e protocol.Envelope, outcome protocol.Outcome) protocol.TaskStatus {
	return protocol.TaskStatus{Task: e.Task, Run: e.Run, Service: e.Service, Stage: restart.StageDone, Outcome: outcome}
}

func stoneFor(e protocol.Envelope) Tombstone {
	stone := Tombstone{Run: e.Run, Epoch: 3, Service: e.Service, At: time.Now()}
	stone.Task = e.Task
	return stone
}

func TestATaskCostsNineFsyncs(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	e := envelopeFor("nginx")
	step := func(what string, want int64, act func() error) {
		t.Helper()
		before := c.n.Load()
		if err := act(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := c.n.Load() - before; got != want {
			t.Errorf("%s took %d fsyncs, want %d", what, got, want)
		}
	}
	step("PUT", 3, func() error { return s.Receive(e, receivedFor(t, e)) })
	task := s.task(t, e.Task)
	step("start", 2, func() error { return task.Start(Started{PID: 1}) })
	step("progress", 0, func() error { return task.Progress(protocol.TaskStatus{}) })
	step("baseline", 0, func() error { return task.Baseline(1) })
	step("done", 2, func() error { return task.Done(doneStatus(e, protocol.OutcomeSucceeded)) })
	step("settle", 0, func() error {
		_, err := s.Settle(e.Task, doneStatus(e, protocol.OutcomeUnknown), Started{})
		return err
	})
	step("DELETE", 2, func() error { return s.Bury(stoneFor(e)) })
}

func TestAFailedFsyncLeavesNoTask(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	e := envelopeFor("nginx")
	c.fail = unix.EIO
	if err := s.Receive(e, receivedFor(t, e)); !errors.Is(err, unix.EIO) {
		t.Fatalf("got %v", err)
	}
	c.fail = nil
	if _, err := s.Read(e.Task); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the task is there: %v", err)
	}
	s.receiveTest(t, e)
}

func TestTheRightToRunIsTakenOnce(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	e := envelopeFor("nginx")
	s.receiveTest(t, e)
	task := s.task(t, e.Task)
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			var err error
			if i%2 == 0 { // as supervisors do
				if err = task.Start(Started{PID: i}); err == nil {
					won.Add(1)
				}
			} else { // as the agent does
				_, err = s.Settle(e.Task, doneStatus(e, protocol.OutcomeNotStarted), Started{})
			}
			if err != nil && !errors.Is(err, ErrStarted) {
				t.Error(err)
			}
		})
	}
	all.Wait()
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

func TestAServiceIsHeldByOneTask(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	first, second := envelopeFor("nginx"), envelopeFor("nginx")
	s.receiveTest(t, first)
	err := s.Receive(second, receivedFor(t, second))
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || busy.Task != first.Task {
		t.Fatalf("got %v", err)
	}
	if err := s.Receive(first, receivedFor(t, first)); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Settle(first.Task, doneStatus(first, protocol.OutcomeUnknown), Started{}); err != nil {
		t.Fatal(err)
	}
	s.receiveTest(t, second)
	// Settling the first again does not free what the second holds.
	if _, err := s.Settle(first.Task, doneStatus(first, protocol.OutcomeUnknown), Started{}); err != nil {
		t.Fatal(err)
	}
	if got := s.Holder("nginx"); got != second.Task {
		t.Errorf("the holder is %q", got)
	}
}

func TestTheSupervisorsWordCounts(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	e := envelopeFor("nginx")
	s.receiveTest(t, e)
	task := s.task(t, e.Task)
	if err := task.Start(Started{}); err != nil {
		t.Fatal(err)
	}
	if err := task.Done(doneStatus(e, protocol.OutcomeSucceeded)); err != nil {
		t.Fatal(err)
	}
	kept, err := s.Settle(e.Task, doneStatus(e, protocol.OutcomeUnknown), Started{})
	if err != nil || kept.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("%+v, %v", kept, err)
	}
	if err := task.Done(doneStatus(e, protocol.OutcomeFailed)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("done twice: %v", err)
	}
}

func TestLoadFinishesWhatACrashCutShort(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	good, unlinked, running, done, buried := envelopeFor("a"), envelopeFor("b"), envelopeFor("c"), envelopeFor("d"), envelopeFor("e")
	for _, e := range []protocol.Envelope{good, unlinked, running, done, buried} {
		s.receiveTest(t, e)
	}
	if err := s.task(t, running.Task).Start(Started{}); err != nil {
		t.Fatal(err)
	}
	if err := s.task(t, done.Task).Done(doneStatus(done, protocol.OutcomeSucceeded)); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(stoneFor(buried))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.graves.put(buried.Task, data); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.task", "c.task"} { // a crash before the link was durable; an eager administrator
		if err := s.root.remove(name); err != nil {
			t.Fatal(err)
		}
	}
	empty, err := s.root.makeSub(restart.NewID(time.Now())) // a crash in the middle of a PUT
	if err != nil {
		t.Fatal(err)
	}
	empty.Close()
	torn := envelopeFor("f")
	s.receiveTest(t, torn)
	if err := os.WriteFile(filepath.Join(s.root.name, torn.Task, "received"), []byte(`{"sealed`), 0o600); err != nil {
		t.Fatal(err)
	}

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
	names, err := s.root.names()
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
	var c counter
	s := openTest(t, &c)
	e := envelopeFor("nginx")
	s.receiveTest(t, e)
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

func TestEpochsRise(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	e := envelopeFor("nginx")
	s.receiveTest(t, e)
	if err := s.Raise(e.Task, 9); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Read(e.Task); err != nil || r.Epoch != 9 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNamesThatAreNotIds(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	for _, id := range []string{"", ".", "..", "../../etc/cron.d/x", "-rf", "tombstones", strings.Repeat("a", 27)} {
		if _, err := s.Read(id); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", id, err)
		}
		e := envelopeFor("nginx")
		e.Task = id
		if err := s.Receive(e, Received{}); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", id, err)
		}
		stone := stoneFor(e)
		if err := s.Bury(stone); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
	e := envelopeFor("../x")
	if err := s.Receive(e, Received{}); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("service ../x: %v", err)
	}
}

func FuzzStageFiles(f *testing.F) {
	e := envelopeFor("nginx")
	payload, err := json.Marshal(e)
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(Received{Sealed: protocol.Sealed{Payload: payload}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"at":"2026-01-02T03:04:05Z","boot_id":"b","void":true}`))
	f.Add([]byte(`{"task":"01m81md7nggqn1jspgfe752rn6","stage":"done","revision":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeReceived(b); err == nil {
			e, err := r.Envelope()
			if err != nil || restart.CheckID(e.Task) != nil || restart.CheckServiceName(e.Service) != nil {
				t.Errorf("%+v, %v", e, err)
			}
		}
		decodeStarted(b) // it must not panic
		decodeStatus(b)  // it must not panic
		decodeEpoch(b)   // it must not panic
		if t2, err := decodeTombstone(b); err == nil && restart.CheckID(t2.Task) != nil {
			t.Errorf("%+v", t2)
		}
	})
}

func TestASymlinkInATasksFolderIsNotFollowed(t *testing.T) {
	var c counter
	s := openTest(t, &c)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	for i, name := range []string{"received", "started", "done", "output.00000000000000000000", "alive"} {
		e := envelopeFor(fmt.Sprintf("nginx%d", i))
		s.receiveTest(t, e)
		good, err := os.ReadFile(filepath.Join(s.root.name, e.Task, "received"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(elsewhere, good, 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.root.name, e.Task, name)
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
			out := s.task(t, e.Task).NewOutput()
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
