package agent_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
)

// mustNotStartBound is mustNotStart for an agent whose user is bound by the modes of files.
func (b *bed) mustNotStartBound() string {
	b.t.Helper()
	self, err := os.Executable()
	b.must(err)
	command := []string{self, "serve", b.settings}
	if os.Geteuid() == 0 {
		command = append([]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"}, command...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err == nil || ctx.Err() != nil {
		b.t.Fatalf("the agent started: %s", out)
	}
	return string(out)
}

// An agent that can't read one of its tasks does not listen: it would say of
// the task that it never came, and give its service to another. Once it can
// read it, all is as it was.
func TestAnAgentThatCantReadItsSpoolDoesNotListen(t *testing.T) {
	b := newBed(t)
	e := b.envelope(b.witnessed("until [ -e " + b.path("go") + " ]; do sleep 0.05; done"))
	r := b.start()
	r.submit(e)
	r.until(e.Task, func(s protocol.TaskStatus) bool { return s.Phase == protocol.PhaseRun })
	r.kill()
	for _, file := range []string{"received", "started", "alive"} {
		path := filepath.Join(b.spoolDir, e.Task, file)
		b.must(os.Chmod(path, 0))
		if out := b.mustNotStartBound(); !strings.Contains(out, "the spool can't be read") || !strings.Contains(out, e.Task+"/"+file) {
			t.Errorf("without %s: %s", file, out)
		}
		b.must(os.Chmod(path, 0o600))
	}
	r = b.start()
	if s, err := r.get(e.Task); err != nil || s.Phase != protocol.PhaseRun {
		t.Errorf("%+v, %v", s, err)
	}
	b.write("go", nil, 0o600)
	if s := r.until(e.Task, done); s.Outcome != protocol.OutcomeSucceeded || b.witness("began", e.Task) != 1 {
		t.Errorf("%+v", s)
	}
}

// A server whose DELETE of local work is refused leaves nothing behind: root
// can still end the work, and any server take it over, at any epoch.
func TestNoServersEpochKeepsRootOrOthersFromLocalWork(t *testing.T) {
	b := newBed(t)
	b.script("sleep 60")
	r := b.start()
	h := b.here()
	began, err := h.Begin(t.Context(), ask())
	r.must(err)
	r.until(began.Task, func(s protocol.TaskStatus) bool { return s.Phase == protocol.PhaseRun })
	forget := func(id string, epoch int64) error {
		return r.call(http.MethodDelete, "/v1/tasks/"+id, protocol.Forget{Run: began.Run, Epoch: epoch}, nil)
	}
	if err := forget(began.Task, 1<<50); err == nil {
		t.Fatal("running work was forgotten")
	}
	if _, err := os.Stat(filepath.Join(b.spoolDir, began.Task, "epoch")); err == nil {
		t.Error("its epoch was kept")
	}
	r.must(forget(b.envelope("").Task, 1<<50)) // and by an id that was never here, of the same run
	if _, err := h.CancelHere(t.Context(), began.Task); err != nil {
		t.Errorf("root can't cancel: %v", err)
	}
	ended(t, h, began.Task)
	for _, epoch := range []int64{1, 1 << 50, 1} { // the answer may be lost, and another server be quicker
		if err := forget(began.Task, epoch); err != nil {
			t.Errorf("it can't be taken over at epoch %d: %v", epoch, err)
		}
	}
}
