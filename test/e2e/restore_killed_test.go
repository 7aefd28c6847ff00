package e2e

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/test/company"
)

// A restore is killed at each step by which it changes what a server would
// start on. That is then the database of before or the one of the backup,
// whole; or the server refuses and says what to do.
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
	folder := filepath.Dir(c.Database())
	met := map[string]int{}
	for _, step := range []struct {
		path, calls string
		n           int
	}{
		{c.Database() + ".restore", "fsync", 1},    // it is built
		{c.Database() + ".restoring", "fsync", 1},  // the mark is laid
		{folder, "fsync", 1},                       //
		{c.Database(), renames, 1},                 // the old one moves
		{c.Database() + ".restore", renames, 1},    // the new one takes its place
		{folder, "fsync", 2},                       //
		{c.Database() + ".restoring", removals, 1}, // the mark goes
		{folder, "fsync", 3},                       //
	} {
		restore := []string{c.Programs.Server, "restore", file, "--replace", "--config", c.Config()}
		inject := []string{"-f", "-qq", "-o", "/dev/null", "-P", step.path, "-e", "trace=" + step.calls, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", step.calls, step.n)}
		// strace counts the calls of each thread, and Go moves its work from
		// thread to thread as it likes: a call that nobody met is tried again.
		for try := 1; ; try++ {
			destroy(t, c)
			must(t, os.WriteFile(c.Database(), []byte(before), 0o600))
			out, err := exec.CommandContext(t.Context(), "strace", slices.Concat(inject, restore)...).CombinedOutput()
			if err != nil {
				break
			}
			if try == 50 {
				t.Fatalf("%v was not met in %d tries: %s", step, try, out)
			}
		}
		met[found(t, c, of, since)]++
		// Whatever was left behind: the next one succeeds.
		if out, talk, code := c.Program(restore[1:]...); code != 0 || found(t, c, of, since) != "the backup" {
			t.Errorf("the restore after a kill at %v: exit %d\n%s\n%s", step, code, out, talk)
		}
	}
	t.Logf("a server would have found: %v", met)
	for _, state := range []string{"the database of before", "the backup", "refused", "refused, and no database"} {
		if met[state] == 0 {
			t.Errorf("never met: %s", state)
		}
	}
}

const (
	renames  = "rename,renameat,renameat2"
	removals = "unlink,unlinkat"
)

// found tells what a server would start on.
func found(t *testing.T, c *company.Company, of, since string) string {
	t.Helper()
	_, absent := os.Stat(c.Database())
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + c.Database(), Logger: slog.New(slog.DiscardHandler)})
	if restart.CodeOf(err) == restart.CodeConflict && strings.Contains(err.Error(), "interrupted") {
		if absent != nil {
			return "refused, and no database"
		}
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
