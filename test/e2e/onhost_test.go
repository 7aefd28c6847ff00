package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/company"
)

// onHost is the agent's command line on a host, as its owner.
func onHost(t *testing.T, c *company.Company, h demo.Host, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.Programs.Agent, append(args, "--config", filepath.Join(h.Dir, "agent.yaml"))...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SUDO_USER=anna"}
	return cmd
}

func runOnHost(t *testing.T, c *company.Company, h demo.Host, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := onHost(t, c, h, args...)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode()
}

// begin runs the witness on a host to its end and gives its status.
func begin(t *testing.T, c *company.Company, h demo.Host) protocol.TaskStatus {
	t.Helper()
	out, talk, code := runOnHost(t, c, h, "run", "witness", demo.ServiceName, "--reason", reason, "--yes", "--json")
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	var s protocol.TaskStatus
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return s
}

// rehearse rehearses the witness on a host, and gives its status.
func rehearse(t *testing.T, c *company.Company, h demo.Host) (s protocol.TaskStatus) {
	t.Helper()
	out, talk, code := runOnHost(t, c, h, "run", "witness", demo.ServiceName, "--rehearse", "--reason", reason, "--yes", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || s.Outcome != protocol.OutcomeSucceeded || !strings.Contains(talk, "a rehearsal: every check is for real") || !strings.Contains(talk, "nothing below was run") {
		t.Fatalf("exit %d, %v\n%s\n%s", code, err, out, talk)
	}
	list, _, _ := runOnHost(t, c, h, "task")
	if !strings.Contains(list, "succeeded, a rehearsal") {
		t.Errorf("listed as\n%s", list)
	}
	return s
}

// imported waits for the run of a task that was done on a host, and insists
// that there is one of it, whole.
func imported(t *testing.T, c *company.Company, h demo.Host, s protocol.TaskStatus) restart.Run {
	t.Helper()
	run := c.Until(s.Run, restart.RunCompleted)
	if run.Via != restart.ViaHost || run.Actor != "anna@"+h.Name || run.Reason != reason || run.Service != demo.ServiceName ||
		run.Environment != demo.Environment || run.Scenario != "witness" || len(run.Tasks) != 1 {
		t.Fatalf("the run that was taken over: %+v", run)
	}
	if task := run.Tasks[0]; task.ID != s.Task || task.Host != h.Name || task.State != restart.TaskSucceeded || task.ExitCode == nil || *task.ExitCode != 0 {
		t.Errorf("its task: %+v", task)
	}
	return run
}

// acknowledged waits until the host has been told that it may forget.
func acknowledged(c *company.Company, h demo.Host, s protocol.TaskStatus) {
	c.Eventually("the host to be told", func() bool {
		_, err := os.Stat(filepath.Join(h.Dir, "spool", "tombstones", s.Task))
		return err == nil
	})
}

// trailed counts the records of the local copy of the trail that hold all of
// words. After a crash the copy may have a line twice, and that is one record.
func trailed(t *testing.T, c *company.Company, words ...string) int {
	t.Helper()
	b, err := os.ReadFile(c.AuditFile())
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			records[line] = true
		}
	}
	return len(records)
}

// Without a server, root works on the host, beside its agent and without it;
// the server shows it when it is back, once.
func TestWorkOnTheHostWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 2, Work: 20 * time.Millisecond})
	c.StopServer()
	beside := begin(t, c, c.Hosts[0]) // through the agent's socket
	rehearsed := rehearse(t, c, c.Hosts[0])
	c.StopAgent(c.Hosts[1])
	alone := begin(t, c, c.Hosts[1]) // in the command's own process
	if got := c.Witnessed(); len(got) != 4 || got[beside.Task+" "+c.Hosts[0].Name+" end"] != 1 || got[alone.Task+" "+c.Hosts[1].Name+" end"] != 1 {
		t.Errorf("the witness saw %v", got)
	}
	list, _, code := runOnHost(t, c, c.Hosts[1], "task")
	if code != 0 || !strings.Contains(list, alone.Task) || !strings.Contains(list, "succeeded") {
		t.Errorf("the list, exit %d:\n%s", code, list)
	}
	c.StartAgent(c.Hosts[1])
	c.StartServer()
	for i, s := range []protocol.TaskStatus{beside, alone} {
		run := imported(t, c, c.Hosts[i], s)
		acknowledged(c, c.Hosts[i], s)
		show, _, code := c.CLI("show", run.ID, "--host", c.Hosts[i].Name)
		if code != 0 || !strings.Contains(show, "restarted "+demo.ServiceName+" on "+c.Hosts[i].Name) {
			t.Errorf("the output is not shown, exit %d:\n%s", code, show)
		}
		c.Eventually("both records", func() bool { return trailed(t, c, `"action":"task.local"`, s.Task) == 2 })
		if n := trailed(t, c, `"action":"task.local"`, s.Task, `"origin":"host"`, `"actor":"anna@`+c.Hosts[i].Name, "made on the host"); n != 2 {
			t.Errorf("%d records say where they are from", n)
		}
		_, talk, code := runOnHost(t, c, c.Hosts[i], "task", s.Task)
		if code != 0 || !strings.Contains(talk, "a server has taken it over: restartilka show "+run.ID) {
			t.Errorf("the task on its host, exit %d: %s", code, talk)
		}
	}
	if run := c.Until(rehearsed.Run, restart.RunCompleted); run.Work != restart.WorkRehearse || run.Via != restart.ViaHost {
		t.Errorf("the rehearsal that was taken over: %+v", run)
	}
	runs, _, _ := c.CLI("runs")
	if strings.Count(runs, "made on the host") != 3 {
		t.Errorf("the list of runs:\n%s", runs)
	}
	show, _, _ := c.CLI("show", beside.Run)
	if !strings.Contains(show, "made on the host itself") {
		t.Errorf("the run:\n%s", show)
	}
	compared(t, c, "begun on the host 2, told by both 2,", "begun on the host 1, told by both 1,")
}

// compared insists that the trail and the hosts' own records say the same.
func compared(t *testing.T, c *company.Company, words ...string) {
	t.Helper()
	c.StopServer()
	out, talk, code := c.CLI(append([]string{"audit", "verify", c.AuditFile()}, c.HostRecords()...)...)
	if code != 0 || slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) }) {
		t.Errorf("audit verify: exit %d\n%s\n%s", code, out, talk)
	}
}

// A server that is killed while it takes over what was done, at any moment,
// takes each task over once.
func TestTakeOverWhileTheServerIsKilled(t *testing.T) {
	t.Parallel()
	takeOverKilled(t, company.Options{Hosts: 2})
}

// The same on PostgreSQL.
func TestTakeOverWhileTheServerIsKilledOnPostgreSQL(t *testing.T) {
	t.Parallel()
	takeOverKilled(t, company.Options{Hosts: 2, DSN: storetest.StartPostgres(t).NewDSN(t), Server: "runs: {lease: 3s}\n"})
}

// told counts the tasks that hosts were told to forget.
func told(c *company.Company) (n int) {
	for _, h := range c.Hosts {
		stones, err := filepath.Glob(filepath.Join(h.Dir, "spool", "tombstones", "*"))
		if err == nil {
			n += len(stones)
		}
	}
	return n
}

func takeOverKilled(t *testing.T, o company.Options) {
	c := company.New(t, o)
	c.StopServer()
	var done []protocol.TaskStatus
	for range 4 {
		for _, h := range c.Hosts {
			done = append(done, begin(t, c, h))
		}
	}
	for range kills() {
		c.StartServer()
		<-time.After(time.Duration(rand.IntN(60)) * time.Millisecond) // the whole takes about 50 ms
		c.KillServer()
		t.Logf("killed when hosts had been told of %d of %d tasks", told(c), len(done))
	}
	c.StartServer()
	for i, s := range done {
		h := c.Hosts[i%len(c.Hosts)]
		imported(t, c, h, s)
		acknowledged(c, h, s)
	}
	var all struct{ Items []restart.Run }
	out, _, _ := c.CLI("runs", "--json")
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all.Items) != len(done) {
		t.Errorf("%d runs for %d tasks (%v)", len(all.Items), len(done), err)
	}
	for _, s := range done {
		c.Eventually("both records", func() bool { return trailed(t, c, `"action":"task.local"`, s.Task) >= 2 })
	}
	if n := len(c.Witnessed()); n != 2*len(done) {
		t.Errorf("the witness saw %d lines", n)
	}
	for _, s := range done {
		if n := trailed(t, c, `"action":"task.local"`, s.Task); n != 2 {
			t.Errorf("%d records of task %s", n, s.Task)
		}
	}
	compared(t, c, "begun on the host 4, told by both 4,")
}

// While root's work is in hand, the server's is refused on that host, and the
// other way round.
func TestAServiceIsHeldByWhoeverWorksOnIt(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 1, Work: 3 * time.Second})
	h := c.Hosts[0]
	here := onHost(t, c, h, "run", "witness", demo.ServiceName, "--reason", reason, "--yes")
	if err := here.Start(); err != nil {
		t.Fatal(err)
	}
	held := func() bool {
		_, err := os.Stat(filepath.Join(h.Dir, "spool", demo.ServiceName+".task"))
		return err == nil
	}
	c.Eventually("the service to be held", held)
	run := c.Start("the server wants it at the same time")
	run = c.Until(run.ID, restart.RunPaused, restart.RunFailed, restart.RunCompleted)
	if task := run.Tasks[0]; task.State != restart.TaskRefused || task.Cause != string(restart.CodeBusy) || !strings.Contains(task.Error, "anna@"+h.Name+" has begun on the host itself") {
		t.Errorf("the server's task: %+v", task)
	}
	if err := here.Wait(); err != nil {
		t.Errorf("root's work: %v", err)
	}
	if _, err := c.Dev.Abort(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	c.Until(run.ID, restart.RunAborted)
	run = c.Start("the server comes first this time")
	c.Eventually("the service to be held", held)
	_, talk, code := runOnHost(t, c, h, "run", "witness", demo.ServiceName, "--reason", reason, "--yes")
	if code != 3 || !strings.Contains(talk, "held on this host by task") {
		t.Errorf("exit %d: %s", code, talk)
	}
	c.Until(run.ID, restart.RunCompleted)
}

// What is refused on the host, and with which exit status.
func TestRefusalsOnTheHost(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 1})
	h := c.Hosts[0]
	for name, x := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no reason":         {[]string{"run", "witness", demo.ServiceName, "--yes"}, 3, "a reason is needed"},
		"poor reason":       {[]string{"run", "witness", demo.ServiceName, "--reason", "restart", "--yes"}, 3, "too short"},
		"unreviewed":        {[]string{"run", "other", demo.ServiceName, "--reason", reason, "--yes"}, 3, `no reviewed scenario "other"`},
		"unknown service":   {[]string{"run", "witness", "nginx", "--reason", reason, "--yes"}, 2, "does not list service nginx"},
		"unknown parameter": {[]string{"run", "witness", demo.ServiceName, "--reason", reason, "--yes", "--param", "mode=hard"}, 2, "mode"},
		"nobody to ask":     {[]string{"run", "witness", demo.ServiceName, "--reason", reason}, 2, "--yes does it without asking"},
		"half a command":    {[]string{"run", "witness", "--reason", reason, "--yes"}, 2, "a scenario and a service are wanted"},
		"no dump scenario":  {[]string{"dump", demo.ServiceName, "--reason", reason, "--yes"}, 3, "no reviewed scenario of kind thread-dump"},
		"half a dump":       {[]string{"dump", demo.ServiceName, "--reason", reason, "--yes", "--count", "2"}, 2, "--count is for --pid"},
		"a foreign flag":    {[]string{"dump", "--pid", fmt.Sprint(os.Getpid()), "--reason", reason, "--scenario", "x"}, 2, "--scenario is for a service"},
		"no such process":   {[]string{"dump", "--pid", "4194304", "--reason", reason, "--yes"}, 2, "there is no process"},
		"no such task":      {[]string{"task", "01m827bjnnmc2f9y8qcywtacv6"}, 2, "knows no task"},
		"other environment": {[]string{"run", "witness", demo.ServiceName, "--reason", reason, "--yes", "--env", "production"}, 3, "not in environment"},
	} {
		t.Run(name, func(t *testing.T) {
			_, talk, code := runOnHost(t, c, h, x.args...)
			if code != x.code || !strings.Contains(talk, x.want) {
				t.Errorf("exit %d, want %d with %q: %s", code, x.code, x.want, talk)
			}
		})
	}
	if n := len(c.Witnessed()); n != 0 {
		t.Errorf("something ran: %v", c.Witnessed())
	}
	t.Run("not root", func(t *testing.T) {
		if os.Geteuid() != 0 {
			if os.Getenv("CI") == "true" {
				t.Fatal("root is needed to be somebody else")
			}
			t.Skip("NOT TESTED: only root can be somebody else")
		}
		open(t, filepath.Dir(c.Programs.Agent), c.Dir)
		for _, running := range []bool{true, false} {
			if !running {
				c.StopAgent(h)
			}
			cmd := onHost(t, c, h, "run", "witness", demo.ServiceName, "--reason", reason, "--yes")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "only root") {
				t.Errorf("agent runs: %v, exit %d: %s", running, cmd.ProcessState.ExitCode(), out)
			}
		}
	})
}

// open lets everybody read what a test's folders hold, keys left out.
func open(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for p := dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
			if err := os.Chmod(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
			if err != nil || filepath.Ext(p) == ".key" || e.Name() == "spool" {
				if e != nil && e.IsDir() && e.Name() == "spool" {
					return filepath.SkipDir
				}
				return err
			}
			return os.Chmod(p, 0o755)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Ctrl-C detaches: the work goes on, and the person comes back to it. A cancel
// on the host ends it.
func TestDetachAndCancelOnTheHost(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"beside the agent": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := company.New(t, company.Options{Hosts: 1, Work: 2 * time.Second})
			h := c.Hosts[0]
			c.StopServer()
			if !running {
				c.StopAgent(h)
			}
			begun := func() (*exec.Cmd, *bytes.Buffer) {
				cmd, talk := onHost(t, c, h, "run", "witness", demo.ServiceName, "--reason", reason, "--yes"), &bytes.Buffer{}
				cmd.Stderr = talk
				before := len(c.Witnessed())
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				c.Eventually("the script to begin", func() bool { return len(c.Witnessed()) > before })
				return cmd, talk
			}
			cmd, talk := begun()
			cmd.Process.Signal(os.Interrupt)
			cmd.Wait()
			_, id, ok := strings.Cut(talk.String(), "restartilka-agent task ")
			if !ok || cmd.ProcessState.ExitCode() != 130 {
				t.Fatalf("exit %d: %s", cmd.ProcessState.ExitCode(), talk)
			}
			id = strings.TrimSpace(id)
			out, said, code := runOnHost(t, c, h, "task", id)
			if code != 0 || !strings.Contains(out, "restarted "+demo.ServiceName) {
				t.Errorf("come back: exit %d\n%s\n%s", code, out, said)
			}
			cmd, talk = begun()
			cmd.Process.Signal(os.Interrupt)
			cmd.Wait()
			_, id, _ = strings.Cut(talk.String(), "restartilka-agent task ")
			_, said, code = runOnHost(t, c, h, "task", strings.TrimSpace(id), "--cancel")
			if code != 1 || !strings.Contains(said, "cancelled") {
				t.Errorf("cancelled: exit %d: %s", code, said)
			}
		})
	}
}

// What a script prints as a dump goes to standard output or into a file, by
// itself. Dumps that the agent takes are read, and kept where that is said.
func TestDumpOnTheHost(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 1})
	h := c.Hosts[0]
	const dump = `format: 1
name: hello-dump
serial: 1
author: test@restartilka.invalid
kind: thread-dump
services: [hello]
description: What the threads do
steps:
  run: {script: "echo thread main waits"}
`
	if err := os.WriteFile(filepath.Join(h.Dir, "scenarios.d", "hello-dump.yaml"), []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	c.StopServer()
	out, talk, code := runOnHost(t, c, h, "dump", demo.ServiceName, "--reason", reason, "--yes")
	if code != 0 || out != "thread main waits\n" {
		t.Errorf("exit %d, %q: %s", code, out, talk)
	}
	file := filepath.Join(t.TempDir(), "dump.txt")
	out, talk, code = runOnHost(t, c, h, "dump", demo.ServiceName, "--reason", reason, "--yes", "--out", file)
	text, err := os.ReadFile(file)
	if code != 0 || out != "" || err != nil || string(text) != "thread main waits\n" {
		t.Errorf("exit %d, %q in the file, %v: %s", code, text, err, talk)
	}
	if _, talk, code = runOnHost(t, c, h, "dump", demo.ServiceName, "--reason", reason, "--yes", "--out", file); code != 2 {
		t.Errorf("over a file: exit %d: %s", code, talk)
	}
	dumpsOfAProcess(t, c, h)
	c.StartServer()
	c.Eventually("all dumps", func() bool {
		runs, _, _ := c.CLI("runs")
		return strings.Count(runs, "hello-dump") == 3
	})
}

// dumpsOfAProcess takes them by a scenario, which is a newer version of the
// script, and as root's own look.
func dumpsOfAProcess(t *testing.T, c *company.Company, h demo.Host) {
	t.Helper()
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sleeper.Process.Kill(); sleeper.Wait() })
	pid := fmt.Sprint(sleeper.Process.Pid)
	for name, text := range map[string]string{
		"pid": pid,
		"scenarios.d/hello-dump.yaml": "format: 1\nname: hello-dump\nserial: 2\nauthor: test@restartilka.invalid\nkind: thread-dump\nservices: [hello]\ndescription: What the threads do\n" +
			"dump: {count: 2, interval: 500ms, process: {pid_file: " + filepath.Join(h.Dir, "pid") + "}}\n",
	} {
		if err := os.WriteFile(filepath.Join(h.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "dumps.txt")
	out, talk, code := runOnHost(t, c, h, "dump", demo.ServiceName, "--reason", reason, "--yes", "--out", file)
	text, err := os.ReadFile(file)
	if code != 0 || err != nil || strings.Count(string(text), "#restartilka-dump ") != 2 || !strings.Contains(out, "1 thread: ") || !strings.Contains(talk, "dump 2 of 2: process "+pid+" by proc") || !strings.Contains(talk, "the dumps are in "+file) {
		t.Errorf("of a service: exit %d, %v\n%s\n%s\n%s", code, err, out, talk, text)
	}
	out, talk, code = runOnHost(t, c, h, "dump", "--pid", pid, "--reason", reason, "--count", "1", "--json")
	if code != 0 || !strings.Contains(out, `"findings":[`) || !strings.Contains(talk, "dump: process "+pid+" by proc") || !strings.Contains(talk, "kept nowhere") {
		t.Errorf("of a process: exit %d\n%s\n%s", code, out, talk)
	}
	if out, talk, code = runOnHost(t, c, h, "dump", "--pid", pid, "--reason", reason, "--count", "1", "--raw"); code != 0 || !strings.HasPrefix(out, "#restartilka-dump ") {
		t.Errorf("raw: exit %d\n%s\n%s", code, out, talk)
	}
	ledger, err := os.ReadFile(filepath.Join(h.Dir, "spool", "ledger.jsonl"))
	if err != nil || strings.Count(string(ledger), `"dump.taken"`) != 4 || !strings.Contains(string(ledger), "process "+pid+", sleep: 1 dumps; 1 were taken") {
		t.Errorf("the host's own record: %v\n%s", err, ledger)
	}
}
