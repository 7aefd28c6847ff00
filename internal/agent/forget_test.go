package agent_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// spied lets a test do something right after a task's files were read.
type spied struct {
	*spool.Spool
	afterRead func()
}

func (s *spied) Read(id string) (spool.Record, error) {
	r, err := s.Spool.Read(id)
	if s.afterRead != nil {
		s.afterRead()
	}
	return r, err
}

// idle launches nothing, and says of every supervisor that it lives.
type idle struct{}

func (idle) Launch(context.Context, string) error { return nil }
func (idle) Alive(string) (bool, error)           { return true, nil }
func (idle) Cancel(string) error                  { return nil }

// agentWithout is an agent in this process, without supervisors of its own.
func (b *bed) agentWithout() (*agent.Agent, *spied) {
	b.t.Helper()
	s, err := spool.Open(spool.Config{Dir: b.spoolDir})
	b.must(err)
	b.t.Cleanup(s.Close)
	spy := &spied{Spool: s}
	public := b.key.Public().(ed25519.PublicKey)
	a, err := agent.New(agent.Config{
		Host: host.Host{Name: testHost, Scenarios: b.path("scenarios.d"), Services: b.path("services.d")},
		Keys: func() (map[string]ed25519.PublicKey, error) {
			return map[string]ed25519.PublicKey{protocol.KeyID(public): public}, nil
		},
		Spool: spy, Archive: s, Launcher: idle{}, Packages: host.Packages{}, BootID: host.BootID(), Logger: slog.New(slog.DiscardHandler),
	})
	b.must(err)
	return a, spy
}

// A script can begin and end between the last look at a task and its being
// forgotten. The tombstone must not say then that it never began: the server
// would call the task not started.
func TestATombstoneKnowsOfAScriptThatWasQuick(t *testing.T) {
	b := newBed(t)
	e := b.envelope(b.script("true"))
	a, spy := b.agentWithout()
	_, err := a.Put(t.Context(), e.Task, b.seal(e))
	b.must(err)
	spy.afterRead = func() {
		spy.afterRead = nil
		task, err := spool.OpenTask(b.spoolDir, e.Task, nil)
		b.must(err)
		defer task.Close()
		b.must(task.Start(spool.Started{At: time.Now(), BootID: host.BootID()}))
		b.must(task.Done(protocol.TaskStatus{
			Task: e.Task, Run: e.Run, Service: e.Service, Stage: restart.StageDone, Revision: 9, Outcome: protocol.OutcomeSucceeded,
		}))
	}
	stone, err := a.Forget(t.Context(), e.Task, protocol.Forget{Run: e.Run, Epoch: 1})
	b.must(err)
	if stone.Stage != restart.StageDone || stone.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("tombstone %+v of a task that ran", stone)
	}
}

// Whoever follows the output of a task whose folder has gone from the disk can
// still go away, and costs nothing until then.
func TestOutputOfALostFolderEndsWithItsReader(t *testing.T) {
	b := newBed(t)
	e := b.envelope(b.script("true"))
	a, _ := b.agentWithout()
	_, err := a.Put(t.Context(), e.Task, b.seal(e))
	b.must(err)
	b.must(os.RemoveAll(b.spoolDir + "/" + e.Task))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Output(ctx, e.Task, 0, func(protocol.Output) error { return nil }) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it is still being followed")
	}
}

// An id that is buried already still tells of a later epoch: a server that lost
// the run, or works on a lost database, is refused from then on, also by the
// next agent.
func TestATombstoneKeepsALaterEpoch(t *testing.T) {
	b := newBed(t)
	digest := b.script("true")
	r := b.start()
	e := b.envelope(digest)
	r.submit(e)
	r.until(e.Task, done)
	first, err := r.forget(e, 3)
	b.must(err)
	again, err := r.forget(e, 1_000_003) // the server was restored, and asks what became of it
	b.must(err)
	if again != first {
		t.Errorf("the second answer is %+v, the first was %+v", again, first)
	}
	r.kill()
	r = b.start()
	_, err = r.forget(e, 4)
	wantCode(t, err, restart.CodeStaleEpoch)
	lost := b.envelope(digest)
	lost.Run = e.Run
	s := b.seal(lost)
	s.Epoch = 4
	_, err = r.put(s, lost.Task)
	wantCode(t, err, restart.CodeStaleEpoch)
	next := b.envelope(digest) // what was refused stays so: the restored server sends another
	next.Run = e.Run
	s = b.seal(next)
	s.Epoch = 1_000_003
	_, err = r.put(s, next.Task)
	b.must(err)
	r.until(next.Task, done) // nothing is written to the spool any more
}
