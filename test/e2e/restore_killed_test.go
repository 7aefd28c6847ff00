package e2e

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/test/company"
)

// A restore is killed at one after another of the system calls that make, name, sync or
// remove a file. What a server would start on afterwards is the database of
// before or the one of the backup, whole; or it refuses and says what to do.
func TestARestoreKilledAtEachStep(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is needed")
		}
		t.Skip("NOT TESTED: strace is not installed")
	}
	c := company.New(t, company.Options{Hosts: 1})
	of := c.Until(c.Start("a run that the backup has").ID, restart.RunCompleted).ID
	file := backUp(t, c)
	since := c.Until(c.Start("a run that only the database has").ID, restart.RunCompleted).ID
	c.StopServer()
	before := readFile(t, c.Database())
	const calls = "openat,open,rename,renameat,renameat2,fsync,fdatasync,unlink,unlinkat"
	met := map[string]int{}
	for n := 1; ; n++ {
		destroy(t, c)
		must(t, os.WriteFile(c.Database(), []byte(before), 0o600))
		restore := []string{c.Programs.Server, "restore", file, "--replace", "--config", c.Config()}
		cmd := exec.CommandContext(t.Context(), "strace", append([]string{"-f", "-qq", "-o", "/dev/null", "-P", filepath.Dir(c.Database()), "-P", c.Database(), "-P", c.Database() + ".restore",
			"-P", c.Database() + ".restoring", "-P", c.Database() + ".lock", "-e", "trace=" + calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n)}, restore...)...)
		out, err := cmd.CombinedOutput()
		if _, killed := errors.AsType[*exec.ExitError](err); err != nil && !killed {
			t.Fatal(err)
		}
		ended := found(t, c, of, since)
		met[ended]++
		if err == nil {
			if ended != "the backup" {
				t.Errorf("a restore that was not killed left %s: %s", ended, out)
			}
			break
		}
		if n > 200 {
			t.Fatal("a restore never ends")
		}
		// Whatever was left behind: the next one succeeds.
		if out, talk, code := c.Program(restore[1:]...); code != 0 || found(t, c, of, since) != "the backup" {
			t.Errorf("the restore after a kill at step %d: exit %d\n%s\n%s", n, code, out, talk)
		}
	}
	t.Logf("a server would have found: %v", met)
	if met["the database of before"] < 2 || met["refused"] < 2 || met["the backup"] < 2 {
		t.Errorf("not every step was met: %v", met)
	}
}

// found tells what a server would start on.
func found(t *testing.T, c *company.Company, of, since string) string {
	t.Helper()
	if _, err := os.Stat(c.Database()); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(c.Database() + ".restoring"); err != nil {
			t.Error("there is neither a database nor a mark: a server would begin an empty one")
			return "nothing"
		}
	}
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + c.Database(), Logger: slog.New(slog.DiscardHandler)})
	if restart.CodeOf(err) == restart.CodeConflict && strings.Contains(err.Error(), "interrupted") {
		return "refused"
	}
	must(t, err)
	defer s.Close()
	if _, err := s.Run(t.Context(), of); err != nil {
		t.Errorf("the run of the backup is not there: %v", err)
	}
	if _, err := s.Run(t.Context(), since); err == nil {
		return "the database of before"
	}
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: "server.restored"})
	if err != nil || len(records) != 1 {
		t.Errorf("%d records of a restore, %v", len(records), err)
	}
	return "the backup"
}
