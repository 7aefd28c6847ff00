package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// hanging starts a JVM with a deadlock in it, and gives the folder of a pid file
// that each host takes for that of its own service.
func hanging(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("javac", "--release", "8", "-nowarn", "-Xlint:-options", "-d", dir, "../../internal/dump/capture/testdata/Dumped.java").CombinedOutput(); err != nil {
		t.Fatalf("javac: %v: %s", err, out)
	}
	cmd := exec.Command("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m", "-cp", dir, "Dumped", "200")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); err != nil {
		t.Fatalf("the JVM says %q, %v", line, err)
	}
	// Several agents ask one JVM at once here, as on no host: the signal of one
	// whose file another has removed is a demand for a dump on standard output,
	// and a JVM stands still while nobody reads that.
	go io.Copy(io.Discard, said)
	if err := os.WriteFile(filepath.Join(dir, "hello.pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "hello.pid")
}

func dumpScenario(pidFile string, count int) string {
	return fmt.Sprintf(`format: 1
name: dumps
serial: 1
author: test@restartilka.invalid
kind: thread-dump
services: [%s]
description: Thread dumps of the process
strategy: {batches: [50], task_timeout: 3m, on_failure: continue}
dump:
  runtime: auto
  process: {pid_file: %s}
  count: %d
  interval: 1s
`, demo.ServiceName, pidFile, count)
}

// evident restarts a process into one that sleeps, and wants to keep how things
// were. The pid files of hosts are beside that of the JVM.
func evident(pidFile string) string {
	file := filepath.Join(filepath.Dir(pidFile), "#host#.pid")
	return fmt.Sprintf(`format: 1
name: evident
serial: 1
author: test@restartilka.invalid
kind: restart
services: [%s]
description: Keeps evidence
strategy: {batches: [1], task_timeout: 3m}
evidence: [process, thread-dump]
steps:
  run: {script: "setsid sleep 60 > /dev/null 2>&1 & echo $! > %[2]s"}
health:
  new_process: {pid_file: %[2]s}
  healthy_for: 1s
  deadline: 30s
`, demo.ServiceName, file)
}

// click plans a thread dump of all hosts and confirms it.
func click(t testing.TB, c *company.Company) restart.Run {
	t.Helper()
	run, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Scenario: "dumps", Reason: "it hangs since the deploy"}, "")
	if err == nil {
		run, err = c.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// verdicts counts the hosts of a run of which a dump has a verdict by now.
func verdicts(t testing.TB, c *company.Company, run string) int {
	t.Helper()
	list, err := c.Dev.Dumps(t.Context(), wire.DumpQuery{Run: run, Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, d := range list.Items {
		if d.Verdict != nil && !slices.Contains(hosts, d.Host) {
			hosts = append(hosts, d.Host)
		}
	}
	return len(hosts)
}

// TestDumpsOfAGroup takes dumps of a JVM with a deadlock by real agents on all
// hosts at once; the server, killed while the series goes on, has them all in
// the end, each once.
func TestDumpsOfAGroup(t *testing.T) {
	t.Parallel()
	pid := hanging(t)
	c := company.New(t, company.Options{Hosts: 3, Scenario: func(*company.Company) (string, string) { return "dumps", dumpScenario(pid, 4) }})
	run := click(t, c)
	c.Eventually("the first verdict", func() bool { return verdicts(t, c, run.ID) > 0 })
	c.KillServer()
	c.StartServer()
	run = c.Until(run.ID, restart.RunCompleted, restart.RunPaused)
	c.Eventually("all dumps", func() bool {
		list, err := c.Dev.Dumps(t.Context(), wire.DumpQuery{Run: run.ID, Limit: 200})
		must(t, err)
		return len(list.Items) == 12
	})
	group, err := c.Dev.RunDumps(t.Context(), run.ID, "")
	must(t, err)
	if len(group.Report.Hosts) != 3 || len(group.LeftOut) != 0 || !strings.Contains(strings.ToLower(group.Says), "deadlock") {
		t.Errorf("%d hosts, %v left out: %s", len(group.Report.Hosts), group.LeftOut, group.Says)
	}
	places := map[string]bool{}
	for _, d := range group.Dumps {
		if key := fmt.Sprint(d.Host, d.Place); places[key] || d.Error != "" || d.Method != "attach" || d.Of != 4 || d.Number != d.Place {
			t.Errorf("%+v", d)
		} else {
			places[key] = true
		}
	}
	var raw bytes.Buffer
	must(t, c.Dev.WriteDump(t.Context(), &raw, group.Dumps[0].ID, client.DumpRaw))
	if text := raw.String(); !strings.HasPrefix(text, "#restartilka-dump {") || !strings.Contains(text, "Found one Java-level deadlock") || strings.Contains(text, "hunter2") {
		t.Errorf("the raw dump: %.300s", text)
	}
	series, err := c.Dev.DumpReport(t.Context(), group.Dumps[0].ID, true)
	must(t, err)
	if len(series.Dumps) != 4 || len(series.Report.Deadlocks) == 0 {
		t.Errorf("the series: %d dumps, %s", len(series.Dumps), series.Says)
	}
}

// TestEvidenceOfAGroup: every host has said how things were before the first is
// touched, each task says so once more, and how things are afterwards.
func TestEvidenceOfAGroup(t *testing.T) {
	t.Parallel()
	pid := hanging(t)
	c := company.New(t, company.Options{Hosts: 2, Scenario: func(*company.Company) (string, string) { return "evident", evident(pid) }})
	jvm, err := os.ReadFile(pid)
	must(t, err)
	for _, h := range c.Hosts {
		must(t, os.WriteFile(filepath.Join(filepath.Dir(pid), h.Name+".pid"), jvm, 0o644))
	}
	run := c.Until(c.Start(reason).ID, restart.RunCompleted, restart.RunPaused)
	if run.State != restart.RunCompleted {
		t.Fatalf("%s: %+v", run.Summary(), run.Tasks)
	}
	for origin, want := range map[string]string{"before": "attach", "evidence": "attach", "after": "proc"} {
		group, err := c.Dev.RunDumps(t.Context(), run.ID, origin)
		if err != nil || len(group.Dumps) != 2 || len(group.LeftOut) != 0 {
			t.Errorf("%s: %d dumps, %v left out, %v", origin, len(group.Dumps), group.LeftOut, err)
			continue
		}
		for _, d := range group.Dumps {
			if d.Method != want || d.Error != "" {
				t.Errorf("%s: %+v", origin, d)
			}
			if began := run.Tasks[0].StartedAt; origin == "before" && d.CreatedAt.After(*began) {
				t.Errorf("%s was asked at %s, and the first host touched at %s", d.Host, d.CreatedAt, began)
			}
		}
		one, err := c.Dev.Dump(t.Context(), group.Dumps[0].ID)
		if err != nil || origin == "before" && !slices.ContainsFunc(one.Evidence, func(e protocol.EvidenceItem) bool { return e.Kind == "process" && e.Text != "" }) {
			t.Errorf("%s: %+v, %v", origin, one.Evidence, err)
		}
	}
}

// BenchmarkFirstVerdict measures from the click on 20 hosts to the first verdict
// and to that of every host.
func BenchmarkFirstVerdict(b *testing.B) {
	const hosts = 20
	pid := hanging(b)
	c := company.New(b, company.Options{Hosts: hosts, Scenario: func(*company.Company) (string, string) { return "dumps", dumpScenario(pid, 3) }})
	var first, all time.Duration
	n := 0
	for b.Loop() {
		draft, err := c.Dev.Draft(b.Context(), restart.Request{Service: demo.ServiceName, Scenario: "dumps", Reason: "it hangs since the deploy"}, "")
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		run, err := c.Dev.Start(b.Context(), draft.ID, wire.StartRequest{})
		if err != nil {
			b.Fatal(err)
		}
		c.Eventually("the first verdict", func() bool { return verdicts(b, c, run.ID) > 0 })
		first += time.Since(began)
		c.Eventually("the verdict of every host", func() bool { return verdicts(b, c, run.ID) == hosts })
		all += time.Since(began)
		n++
		c.Until(run.ID, restart.RunCompleted)
	}
	b.ReportMetric(float64(first.Milliseconds())/float64(n), "first-ms")
	b.ReportMetric(float64(all.Milliseconds())/float64(n), "all-ms")
}
