package dumps

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// depots starts the JVM of each of three hosts: two hang alike, the third works.
// That one is another user's, with a /tmp of its own, where only root may do so.
func depots(t testing.TB, dir string) {
	t.Helper()
	classes := filepath.Join(dir, "classes")
	must(t, os.Mkdir(classes, 0o755))
	compile(t, classes, ".", "testdata/jvm/Depot.java")
	java := append([]string{"java"}, quickly()...)
	hang := slices.Concat(java, []string{"-cp", classes, "Depot", "hang"})
	launch(t, "ready", nil, hang...).writePID(t, dir, "shop1.example.com")
	launch(t, "ready", nil, hang...).writePID(t, dir, "shop2.example.com")
	well := slices.Concat(java, []string{"-cp", classes, "Depot", "well"})
	if os.Getuid() == 0 {
		need(t, "unshare", "setpriv")
		own := filepath.Join(dir, "own")
		must(t, os.Mkdir(own, 0o755))
		must(t, os.Chmod(own, 0o777|os.ModeSticky))
		b, err := os.ReadFile(filepath.Join(classes, "Depot.class"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(own, "Depot.class"), b, 0o644))
		well = slices.Concat([]string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /tmp && cd /tmp && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`, own},
			java, []string{"-cp", "/tmp", "Depot", "well"})
	}
	launch(t, "ready", nil, well...).writePID(t, dir, "shop3.example.com")
}

// evidenceScenario restarts the depot of a host: it ends the process and starts
// one that works, or another program where that is enough.
func evidenceScenario(name, dir, evidence, start string) string {
	return scenario(name, "restart", fmt.Sprintf(`evidence: %[2]s
steps:
  run:
    script: |
      echo "$RESTARTILKA_TASK #host# $(date +%%s%%N)" >> %[1]s/witness
      kill -KILL "$(cat %[1]s/#host#.pid)" || true
      setsid %[3]s >%[1]s/#host#.log 2>&1 </dev/null &
      echo $! > %[1]s/#host#.pid
health:
  new_process: {pid_file: "%[1]s/#host#.pid"}
  command: {script: "[ -s %[1]s/#host#.log ]"}
  healthy_for: 0s
  deadline: 50s
  interval: 100ms
`, dir, evidence, start))
}

// TestGroup looks at three hosts together, of which two hang alike; restarts
// those two with evidence; and keeps, shows and forgets the dumps as promised.
func TestGroup(t *testing.T) {
	t.Parallel()
	need(t, "java", "javac", "setsid")
	dir := t.TempDir()
	t.Cleanup(func() { endAll(dir) })
	depots(t, dir)
	well := strings.Join(append(append([]string{"java"}, quickly()...), "-cp", dir+"/classes", "Depot", "well"), " ")
	c := shop(t, 3, "dumps: {keep: 1h}\n", map[string]string{
		"shop-dump":     pidDump("shop-dump", dir, "  count: 1\n"),
		"shop-restart":  evidenceScenario("shop-restart", dir, "[thread-dump, process, {journal: 50}]", well),
		"shop-required": evidenceScenario("shop-required", dir, "[{thread-dump: true, required: true}]", "sh -c 'echo ready; exec sleep 600'"),
	})
	found := together(t, c)
	evidence(t, c, dir)
	required(t, c, dir)
	kept(t, c, found)
}

// together asks what the dumps of all hosts say.
func together(t *testing.T, c *company.Company) wire.RunDumps {
	draft, err := c.Dev.Draft(t.Context(), restart.Request{Service: service, Scenario: "shop-dump", Reason: reason}, "")
	must(t, err)
	clicked := time.Now()
	run, err := c.Dev.Start(t.Context(), draft.ID, wire.StartRequest{})
	must(t, err)
	c.Eventually("the first verdict", func() bool {
		list, err := c.Dev.Dumps(t.Context(), wire.DumpQuery{Run: run.ID})
		return err == nil && slices.ContainsFunc(list.Items, func(d wire.Dump) bool { return d.Verdict != nil })
	})
	t.Logf("first verdict %s after the click", time.Since(clicked).Round(time.Millisecond))
	_, found := over(t, c, run, "", 3)
	report := found.Report
	t.Logf("%s%s", found.Says, said(report.Findings))
	verdict := report.Verdict()
	if !strings.HasPrefix(found.Says, "2 of 3 hosts ") && !strings.HasPrefix(found.Says, "On 2 of 3 hosts") {
		t.Errorf("the group: %s", found.Says)
	}
	if verdict.OfHosts != 3 || !slices.Equal(verdict.Hosts, []string{"shop1.example.com", "shop2.example.com"}) || verdict.Severity != analyse.Alarm {
		t.Errorf("the verdict: %+v", verdict)
	}
	odd, ok := finding(report.Findings, analyse.OddHost)
	if !ok || odd.Subject != "shop3.example.com" {
		t.Errorf("the outlier: %v %+v", ok, odd)
	}
	for _, d := range found.Dumps {
		if d.Method != "attach" || d.Runtime != dump.JVM || d.Error != "" || d.Summary == nil || d.Summary.Threads < 10 {
			t.Errorf("%s: %+v", d.Host, d)
		}
	}
	return found
}

// evidence restarts two hosts, one after another, and looks at what was kept.
func evidence(t *testing.T, c *company.Company, dir string) {
	const two = "shop1.example.com,shop2.example.com"
	run, _ := over(t, c, click(t, c, "shop-restart", two), "", 2)
	if run.State != restart.RunCompleted {
		t.Fatalf("the restart: %s", run.Summary())
	}
	first, _ := witnessed(t, dir)
	list, err := c.Dev.Dumps(t.Context(), wire.DumpQuery{Run: run.ID, Limit: 200})
	must(t, err)
	by := map[string]wire.Dump{}
	for _, d := range list.Items {
		by[d.Origin+" "+d.Host] = d
	}
	for host := range strings.SplitSeq(two, ",") {
		before, taken, after := by["before "+host], by["evidence "+host], by["after "+host]
		for origin, d := range map[string]wire.Dump{"before": before, "evidence": taken, "after": after} {
			if d.ID == "" || d.Error != "" || d.Stored == 0 {
				t.Fatalf("%s of %s: %+v\n%+v", origin, host, d, list.Items)
			}
		}
		if !before.TakenAt.Before(first) {
			t.Errorf("%s was asked at %s, when a script had already begun at %s", host, before.TakenAt, first)
		}
		whole, err := c.Dev.Dump(t.Context(), before.ID)
		must(t, err)
		kinds := map[string]protocol.EvidenceItem{}
		for _, item := range whole.Evidence {
			kinds[item.Kind] = item
		}
		if process := kinds["process"]; process.Error != "" || !strings.Contains(process.Text, "java") {
			t.Errorf("the process of %s before: %+v", host, process)
		}
		if journal := kinds["journal"]; journal.Error == "" { // a service without a unit has none, and that holds nothing up
			t.Errorf("the journal of %s: %+v", host, journal)
		}
		changed, err := c.Dev.CompareDumps(t.Context(), before.ID, after.ID)
		must(t, err)
		t.Logf("%s: %s", host, changed.Says)
		if !strings.Contains(changed.Says, "gone") {
			t.Errorf("before and after: %s", changed.Says)
		}
	}
}

// required restarts two hosts of which one has no process any more: no thread
// dump can be had there, and the reviewed file says that it must.
func required(t *testing.T, c *company.Company, dir string) {
	must(t, os.WriteFile(filepath.Join(dir, "shop1.example.com.old"), pidOf(t, dir, "shop1.example.com"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "shop1.example.com.pid"), []byte("4194305\n"), 0o644)) // above what Linux gives
	_, lines := witnessed(t, dir)
	run := click(t, c, "shop-required", "shop1.example.com,shop2.example.com")
	run = c.Until(run.ID, restart.RunCompleted, restart.RunPaused, restart.RunFailed)
	_, now := witnessed(t, dir)
	if got := now[len(lines):]; len(got) != 1 || !strings.Contains(got[0], "shop2.example.com") {
		t.Errorf("scripts ran on %q", got)
	}
	for _, task := range run.Tasks {
		done := task.State == restart.TaskSucceeded
		if done != (task.Host == "shop2.example.com") || !done && !strings.Contains(task.Error, "thread-dump") {
			t.Errorf("%s: %s %s", task.Host, task.State, task.Error)
		}
		t.Logf("%s: %s %s", task.Host, task.State, task.Error)
	}
}

// kept looks at dumps as a stranger and as the owner, and lets one grow old.
func kept(t *testing.T, c *company.Company, found wire.RunDumps) {
	id := found.Dumps[0].ID
	created, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "stranger", Owner: "vera", Roles: []restart.Role{restart.RoleDeveloper}})
	must(t, err)
	stranger := c.Client(created.Secret)
	var raw bytes.Buffer
	if err := stranger.WriteDump(t.Context(), &raw, id, client.DumpRaw); err == nil || raw.Len() > 0 {
		t.Errorf("a stranger reads %d bytes", raw.Len())
	} else {
		t.Logf("a stranger is told: %v", err)
	}
	if list, err := stranger.Dumps(t.Context(), wire.DumpQuery{}); err != nil || len(list.Items) > 0 {
		t.Errorf("a stranger lists %d dumps, %v", len(list.Items), err)
	}
	must(t, c.Dev.WriteDump(t.Context(), &raw, id, client.DumpRaw))
	recorded(t, c, "vera", id, "forbidden")
	recorded(t, c, demo.Developer, id, "")
	c.StopServer()
	age(t, c.Database(), id, 2*time.Hour)
	c.StartServer()
	c.Eventually("the old dump to be gone", func() bool {
		_, err := c.Dev.Dump(t.Context(), id)
		return restart.CodeOf(err) == restart.CodeNotFound
	})
	if _, err := c.Dev.Dump(t.Context(), found.Dumps[1].ID); err != nil {
		t.Errorf("a younger dump: %v", err)
	}
}

// recorded waits until the trail has an actor's look at a dump, and how it ended.
func recorded(t *testing.T, c *company.Company, actor, id, outcome string) {
	t.Helper()
	c.Eventually(fmt.Sprintf("the look of %s in the trail", actor), func() bool {
		viewed, err := c.Admin.Audit(t.Context(), wire.AuditQuery{Action: string(audit.DumpViewed), Actor: actor, Newest: true, Limit: 50})
		must(t, err)
		return slices.ContainsFunc(viewed.Items, func(r audit.Record) bool {
			return r.Service == service && r.Outcome == outcome && (outcome != "" || strings.Contains(r.Detail, id))
		})
	})
}

// witnessed gives when the first script began, and what the scripts have written.
func witnessed(t *testing.T, dir string) (first time.Time, lines []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "witness"))
	must(t, err)
	lines = strings.Split(strings.TrimSpace(string(b)), "\n")
	words := strings.Fields(lines[0])
	ns, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	must(t, err)
	return time.Unix(0, ns), lines
}

func pidOf(t testing.TB, dir, host string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, host+".pid"))
	must(t, err)
	return b
}

// endAll ends what the restarts have started.
func endAll(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "shop*"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 && pid < 1<<22 && ours(pid, dir) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// ours tells whether a process is one that the restarts have started: its output
// is in the folder.
func ours(pid int, dir string) bool {
	output, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", pid))
	return err == nil && strings.HasPrefix(output, dir)
}
