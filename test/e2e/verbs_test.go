package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/company"
)

const seenSince = "it has a new pid since noon"

// killSupervisor kills the process that supervises a task, with -9.
func killSupervisor(t *testing.T, c *company.Company, task string) {
	t.Helper()
	c.Eventually("the supervisor of "+task, func() bool {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		must(t, err)
		for _, name := range lines {
			line, err := os.ReadFile(name)
			if err != nil || !bytes.HasSuffix(line, []byte("\x00"+supervisor.Verb+"\x00"+task+"\x00")) {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			must(t, err)
			return syscall.Kill(pid, syscall.SIGKILL) == nil
		}
		return false
	})
}

// anUnknown starts a run whose first host becomes unknown, and gives it paused.
func anUnknown(t *testing.T, c *company.Company) restart.Run {
	t.Helper()
	before := len(c.WitnessLines())
	c.Hold() // so that its supervisor is still there when it is looked for
	run := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) > before })
	killSupervisor(t, c, run.Tasks[0].ID)
	c.Release()
	run = c.Until(run.ID, restart.RunPaused)
	if run.Cause != restart.CauseUnknown || states(run) != "unknown planned planned" {
		t.Fatalf("%s: %s", run.Summary(), run.Explanation)
	}
	return run
}

// A host is unknown; a person decides, each way; the run ends as decided, and
// nothing runs that was not asked for.
func TestDecideAboutAnUnknownHost(t *testing.T) {
	t.Parallel()
	decide(t, company.Options{Work: 300 * time.Millisecond})
}

// The same on PostgreSQL.
func TestDecideOnPostgreSQL(t *testing.T) {
	t.Parallel()
	decide(t, company.Options{Work: 300 * time.Millisecond, DSN: storetest.StartPostgres(t).NewDSN(t)})
}

func decide(t *testing.T, o company.Options) {
	c := company.New(t, o)
	for verdict, want := range map[restart.Verdict]struct {
		tasks string
		code  int // of watch, at the end
		begun int // on the first host
	}{
		restart.VerdictHappened: {"unknown succeeded succeeded", 0, 1},
		restart.VerdictDidNot:   {"unknown succeeded succeeded", 1, 1},
		restart.VerdictAgain:    {"unknown succeeded succeeded succeeded", 0, 2},
	} {
		run := anUnknown(t, c)
		host := run.Tasks[0].Host
		if _, talk, code := c.CLI("resume", run.ID); code != 3 || !strings.Contains(talk, "restartilka decide "+run.ID+" "+host) {
			t.Errorf("resume: exit %d, %s", code, talk)
		}
		if _, talk, code := c.CLI("decide", run.ID, host, string(verdict), "--reason", seenSince); code != 0 || !strings.Contains(talk, "restartilka resume "+run.ID) {
			t.Fatalf("decide: exit %d, %s", code, talk)
		}
		if _, talk, code := c.CLI("resume", run.ID); code != 0 {
			t.Fatalf("resume: exit %d, %s", code, talk)
		}
		out, talk, code := c.CLI("watch", run.ID)
		run, err := c.Dev.Run(t.Context(), run.ID)
		must(t, err)
		if code != want.code || states(run) != want.tasks {
			t.Errorf("%s: exit %d, %s\n%s\n%s", verdict, code, states(run), out, talk)
		}
		begun := 0
		for line, n := range c.Witnessed() {
			if n > 1 {
				t.Errorf("executed %d times: %s", n, line)
			}
			for _, task := range run.Tasks {
				if task.Host == host && line == task.ID+" "+host+" begin" {
					begun += n
				}
			}
		}
		if begun != want.begun {
			t.Errorf("%s: the script began %d times on %s, want %d", verdict, begun, host, want.begun)
		}
	}
	c.StopServer()
	if out, talk, code := c.CLI("audit", "verify", c.AuditFile()); code != 0 {
		t.Errorf("audit verify: exit %d\n%s\n%s", code, out, talk)
	}
	b, err := os.ReadFile(c.AuditFile())
	must(t, err)
	for _, outcome := range []string{"happened", "did-not", "again"} {
		if n := strings.Count(string(b), `"reason":"`+seenSince+`","outcome":"`+outcome+`"`); n != 1 {
			t.Errorf("%d records of %s", n, outcome)
		}
	}
}

// balanced is a scenario that notes what it does; a host is broken while a file
// of its name lies in broken.
func balanced(c *company.Company) (string, string) {
	return "witness", fmt.Sprintf(`format: 1
name: witness
serial: 1
author: test@restartilka.invalid
kind: restart
services: [%s]
description: Out of the balancer and back
strategy: {batches: [1], task_timeout: 30s}
steps:
  drain: {script: 'echo "out #host#" >> %[2]s'}
  run:
    script: |
      echo "run #host#" >> %[2]s
      test ! -e %[3]s/#host#
  undrain:
    script: |
      test ! -e %[3]s/undrain-#host#
      echo "in #host#" >> %[2]s
`, demo.ServiceName, c.WitnessFile(), c.Dir)
}

// A host fails and stays drained. A retry does what is left, by a run of its
// own; an undrain alone puts hosts back, and does nothing else.
func TestRetryAndUndrain(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Scenario: balanced})
	broken := func(name string, is bool) {
		t.Helper()
		path := filepath.Join(c.Dir, name)
		if is {
			must(t, os.WriteFile(path, nil, 0o600))
		} else {
			must(t, os.Remove(path))
		}
	}
	h1, h2, h3 := c.Hosts[0].Name, c.Hosts[1].Name, c.Hosts[2].Name
	saw := func(what string, lines ...string) {
		t.Helper()
		if got := strings.Join(c.WitnessLines(), ", "); got != strings.Join(lines, ", ") {
			t.Errorf("%s: the witness saw %s\nwant %s", what, got, strings.Join(lines, ", "))
		}
		must(t, os.Remove(c.WitnessFile()))
	}
	for _, h := range []string{h1, h2} {
		broken(h, true)
	}
	run := c.Start(reason)
	c.Until(run.ID, restart.RunPaused)
	_, _, code := c.CLI("resume", run.ID) // in spite of the first
	c.Until(run.ID, restart.RunPaused)
	if _, _, aborted := c.CLI("abort", run.ID); code != 0 || aborted != 0 {
		t.Fatalf("resume: exit %d, abort: exit %d", code, aborted)
	}
	run = c.Until(run.ID, restart.RunAborted)
	saw("two that fail", "out "+h1, "run "+h1, "out "+h2, "run "+h2)
	if !run.Tasks[0].Drained || !run.Tasks[1].Drained || states(run) != "failed failed not_started" {
		t.Fatalf("%+v", run.Tasks)
	}
	if out, _, _ := c.CLI("show", run.ID); strings.Count(out, "failed, drained") != 2 {
		t.Errorf("show: %s", out)
	}

	// The undrain step alone; one host on which it fails keeps no other out.
	broken("undrain-"+h1, true)
	out, talk, code := c.CLI("undrain", run.ID, "--yes", "--reason", "repaired by hand, they answer")
	if code != 1 || !strings.Contains(out, "1 succeeded, 1 failed") {
		t.Errorf("undrain: exit %d\n%s\n%s", code, out, talk)
	}
	saw("undrain", "in "+h2)
	broken("undrain-"+h1, false)
	if out, talk, code := c.CLI("undrain", run.ID, h2, "--yes", "--reason", "repaired by hand, they answer"); code != 2 || !strings.Contains(talk, "drained are: "+h1) {
		t.Errorf("undrain of one that is not drained: exit %d\n%s\n%s", code, out, talk)
	}

	// What is left: all three, the drained one first put back by it.
	for _, h := range []string{h1, h2} {
		broken(h, false)
	}
	out, talk, code = c.CLI("retry", run.ID, "--yes", "--reason", "the disks have room again")
	if code != 0 || !strings.Contains(out, "3 succeeded") {
		t.Errorf("retry: exit %d\n%s\n%s", code, out, talk)
	}
	saw("retry", "out "+h1, "run "+h1, "in "+h1, "out "+h2, "run "+h2, "in "+h2, "out "+h3, "run "+h3, "in "+h3)
	got, err := c.Dev.Run(t.Context(), run.ID)
	must(t, err)
	if len(got.Children) != 2 || len(got.Drained()) != 0 {
		t.Errorf("children %+v, drained %+v", got.Children, got.Drained())
	}
	if out, _, _ := c.CLI("show", run.ID); strings.Contains(out, ", drained") || !strings.Contains(out, "undrained by: run "+got.Children[0].ID) || !strings.Contains(out, "retried by: run "+got.Children[1].ID) {
		t.Errorf("show: %s", out)
	}
	if _, talk, code := c.CLI("undrain", run.ID, "--yes", "--reason", "repaired by hand, they answer"); code != 3 || !strings.Contains(talk, "left no host drained") {
		t.Errorf("undrain again: exit %d, %s", code, talk)
	}
}
