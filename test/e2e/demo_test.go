package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/company"
)

// Ctrl-C in the middle of the demo's restart leaves nothing running: no agent,
// no service, no supervisor.
func TestTheDemoLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, company.Build(t).Server, "demo", "--dir", dir, "--listen", "127.0.0.1:0")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var spooled []string
	for len(spooled) == 0 && ctx.Err() == nil {
		<-tick.C
		var err error
		spooled, err = filepath.Glob(filepath.Join(dir, "hosts", "*", "spool", "hello.task"))
		must(t, err)
	}
	must(t, cmd.Process.Signal(syscall.SIGINT))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	for len(mine(t, dir)) > 0 && ctx.Err() == nil {
		<-tick.C // a supervisor that has said how its task ended is on its way out
	}
	if left := mine(t, dir); len(left) > 0 {
		t.Errorf("still running:\n%s", strings.Join(left, "\n"))
	}
	if tasks, err := filepath.Glob(filepath.Join(dir, "hosts", "*", "spool", "*.task")); err != nil || len(tasks) > 0 {
		t.Errorf("still spooled: %v (%v)", tasks, err)
	}
}

// mine lists the processes that have to do with the demo in dir: by an
// argument, or by a file they hold open there.
func mine(t *testing.T, dir string) (out []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, p := range processes {
		if p == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(p, "cmdline")) // a process that has just gone has none
		found := strings.Contains(string(args), dir)
		files, _ := filepath.Glob(filepath.Join(p, "fd", "*"))
		for _, f := range files {
			target, _ := os.Readlink(f)
			found = found || strings.HasPrefix(target, dir)
		}
		if found {
			out = append(out, p+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return out
}
