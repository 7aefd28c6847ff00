package odd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/fleet"
)

// weak is what a kind of host says of itself.
var weak = []struct {
	containment, memory, init string
	warnings                  []protocol.WarningKind
}{
	noMemfd:  {"cgroup (below ", "sealed (vm.memfd_noexec=2)", "systemd", nil},
	legacy:   {"process-group (cgroup v2 is not mounted)", "sealed", "systemd", []protocol.WarningKind{protocol.WarnContainment}},
	hybrid:   {"cgroup (below /sys/fs/cgroup/unified/", "sealed", "systemd", nil},
	sysvinit: {"process-group (nothing delegates a cgroup", "sealed", "other", []protocol.WarningKind{protocol.WarnInit, protocol.WarnContainment}},
	older:    {"cgroup (below ", "sealed", "systemd", nil},
}

// Both the server's `hosts check` and a person's own check on the host say it,
// and say the same.
func saysWhatIsWeaker(t *testing.T, c *fleet.Company) {
	for i, hc := range hostsCheck(t, c) {
		h, want := c.Web[i], weak[i]
		var here protocol.CheckReport
		out := h.Shell("restartilka-agent check --json || true")
		must(t, json.Unmarshal([]byte(out), &here))
		for who, r := range map[string]*protocol.CheckReport{"hosts check": hc.Report, "restartilka-agent check": &here} {
			if hc.State != wire.HostReady || r == nil {
				t.Fatalf("%s is %s: %v", h.Name, hc.State, hc.Error)
			}
			if !strings.HasPrefix(r.Containment, want.containment) || r.Memory != want.memory || r.Init != want.init {
				t.Errorf("%s, %s: %q, %q, %q; want %q", h.Name, who, r.Containment, r.Memory, r.Init, want)
			}
			var kinds []protocol.WarningKind
			for _, w := range r.Warnings {
				switch w.Kind {
				case protocol.WarnContainment, protocol.WarnInit, protocol.WarnMemory, protocol.WarnUser:
					kinds = append(kinds, w.Kind)
				default: // of the machine the test runs on
				}
			}
			if fmt.Sprint(kinds) != fmt.Sprint(want.warnings) {
				t.Errorf("%s, %s: warns of %v, want %v", h.Name, who, kinds, want.warnings)
			}
		}
	}
	// The setting does what it is said to do, there and nowhere else.
	if weak[noMemfd].memory != "sealed" {
		const executable = "python3 -c 'import os; os.memfd_create(\"x\", 0x10)'" // MFD_EXEC
		if out, err := c.Web[noMemfd].Try(executable); err == nil || !strings.Contains(out, "PermissionError") {
			t.Errorf("executable memory is to be had: %v %s", err, out)
		}
		c.Web[legacy].Shell(executable)
	}
}

// What drafts of services.d are made from is there with every systemd.
func discovers(t *testing.T, c *fleet.Company) {
	for i, h := range c.Web {
		out, err := h.Try("restartilka-agent discover")
		if i == sysvinit {
			if err == nil || !strings.Contains(out, "systemd does not run on this host") {
				t.Errorf("%s: %v: %s", h.Name, err, out)
			}
			continue
		}
		for _, want := range []string{"# services.d/nginx.yaml (", "listed already", "listens on [80]", "package: nginx-", "unit: nginx.service"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%s: %v: no %q in\n%s", h.Name, err, want, out)
			}
		}
	}
}

func hostsCheck(t *testing.T, c *fleet.Company) []wire.HostCheck {
	t.Helper()
	var list wire.List[wire.HostCheck]
	out, talk, _ := c.CLI("hosts", "check", "%all", "--service", "nginx", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Items) != len(kinds) {
		t.Fatalf("hosts check: %v\n%s%s", err, out, talk)
	}
	return list.Items
}

// One scenario fits all: `service` and a pid file are everywhere.
func restartOfAll(t *testing.T, c *fleet.Company) {
	before := pids(c)
	id := c.Start("service-restart", "to see that one scenario restarts every kind of host")
	run := c.Until(id, limit, restart.RunCompleted)
	wantAll(t, c, run, restart.TaskSucceeded)
	for i, pid := range pids(c) {
		if pid == before[i] {
			t.Errorf("nginx of %s is the same process as before", c.Web[i].Name)
		}
		status := detail(t, c, id, c.Web[i])
		if want, _, _ := strings.Cut(weak[i].containment, " "); status.Containment != want {
			t.Errorf("%s: kept in %s, want %s", c.Web[i].Name, status.Containment, want)
		}
		if len(status.Evidence) != 3 || status.Evidence[2].Kind != "process" || status.Evidence[2].When != protocol.DumpAfter {
			t.Fatalf("%s: evidence %+v", c.Web[i].Name, status.Evidence)
		}
		journal, process := status.Evidence[0], status.Evidence[1]
		switch {
		case !strings.Contains(process.Text, "nginx") || process.Error != "":
			t.Errorf("%s: no process in the evidence: %+v", c.Web[i].Name, process)
		case i == sysvinit && (!strings.Contains(journal.Error, "no unit") || !strings.Contains(strings.Join(status.Warnings, ";"), journal.Error)):
			t.Errorf("%s: nobody is told that there is no journal: %+v, %q", c.Web[i].Name, journal, status.Warnings)
		case i != sysvinit && (journal.Error != "" || !strings.Contains(journal.Text, "web server")):
			t.Errorf("%s: no journal in the evidence: %+v", c.Web[i].Name, journal)
		case i != sysvinit && len(status.Warnings) > 0:
			t.Errorf("%s: %q", c.Web[i].Name, status.Warnings)
		}
	}
}

func pids(c *fleet.Company) []string {
	var out []string
	for _, h := range c.Web {
		out = append(out, h.Shell("cat /run/nginx.pid"))
	}
	return out
}

// detail is what an agent said of its task, as the server keeps it.
func detail(t *testing.T, c *fleet.Company, id string, h *fleet.Host) protocol.TaskStatus {
	t.Helper()
	var d wire.TaskDetail
	out, talk, _ := c.CLI("show", id, "--host", h.Name, "--json")
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("show %s: %v\n%s%s", id, err, out, talk)
	}
	return d.Status
}

func forcedAbort(t *testing.T, c *fleet.Company) { forcedAbortOn(t, c, c.Web...) }

// forcedAbortOn ends a script that would never end, and whose daemon has left
// its session: where there is a cgroup it is seen in it.
func forcedAbortOn(t *testing.T, c *fleet.Company, hosts ...*fleet.Host) {
	t.Helper()
	id := c.Start("endless", "to end a script by force", "--hosts", names(hosts))
	run := untilExecuted(c, id, len(hosts))
	in := map[string]string{} // host → what the daemon is kept in, by the kernel's word
	for _, task := range run.Tasks {
		short, _, _ := strings.Cut(task.Host, ".")
		in[task.Host] = "process-group"
		line := c.Host(short).Shell("grep ^0:: /proc/$(cat " + orphan + ")/cgroup")
		if strings.HasSuffix(strings.TrimSpace(line), "/restartilka-"+task.ID+"-run") {
			in[task.Host] = "cgroup"
		}
	}
	c.MustCLI("force-abort", id)
	c.Until(id, limit, restart.RunAborted)
	wantNothingLeft(t, hosts)
	for _, h := range hosts {
		if status := detail(t, c, id, h); status.Containment != in[h.Name] {
			t.Errorf("%s says that its script was kept in %q, and it was in %s", h.Name, status.Containment, in[h.Name])
		}
	}
}

func timedOut(t *testing.T, c *fleet.Company) {
	id := c.Start("brief", "to let a script run over its time")
	run := c.Until(id, limit, restart.RunFailed, restart.RunCompleted)
	for _, task := range run.Tasks {
		if !strings.Contains(task.Error, "not done within 3 seconds: the whole process tree was ended") {
			t.Errorf("%s is %s: %s", task.Host, task.State, task.Error)
		}
		executed(t, c, task)
	}
	wantNothingLeft(t, c.Web)
}

// wantNothingLeft waits until the daemon is gone, and the script, and its cgroup.
func wantNothingLeft(t *testing.T, hosts []*fleet.Host) {
	t.Helper()
	must(t, fleet.Each(hosts, func(h *fleet.Host) error {
		out, err := h.Try("for i in $(seq 500); do left=0; kill -0 $(cat " + orphan + ") 2>/dev/null && left=1; pgrep -x sleep >/dev/null && left=1; pgrep -x restartilka-sup >/dev/null && left=1\n" +
			"[ $left = 0 ] && exit 0; sleep 0.02; done; ps -ef; exit 1")
		if err == nil {
			out, err = h.Try("found=$(find /sys/fs/cgroup -type d -name 'restartilka-*-run'); echo \"$found\"; [ -z \"$found\" ]")
		}
		if err != nil {
			return fmt.Errorf("something is left on %s: %w\n%s", h.Name, err, out)
		}
		return nil
	}))
}

// The supervisor goes on while its agent is restarted by the init system, and
// what a script that succeeds has started goes on as well.
func agentRestarted(t *testing.T, c *fleet.Company) {
	const supervisor = "pgrep -x restartilka-sup"
	id := c.Start("leaves", "with agents that are restarted in mid-task")
	untilExecuted(c, id, len(c.Web))
	must(t, fleet.Each(c.Web, func(h *fleet.Host) error {
		before, err := h.Try(supervisor)
		if err != nil {
			return fmt.Errorf("%s: no supervisor: %w", h.Name, err)
		}
		if out, err := restartAgent(h); err != nil {
			return fmt.Errorf("%s: restart the agent: %w\n%s", h.Name, err, out)
		}
		if after, err := h.Try(supervisor); after != before {
			return fmt.Errorf("%s: supervisor %q, and before %q: %w", h.Name, after, before, err)
		}
		return nil
	}))
	wantAll(t, c, c.Until(id, limit, restart.RunCompleted, restart.RunFailed, restart.RunPaused), restart.TaskSucceeded)
	for _, h := range c.Web {
		h.Shell("kill -0 $(cat " + orphan + ") && kill -KILL $(cat " + orphan + ")")
	}
}

// names joins the names of hosts for --hosts.
func names(hosts []*fleet.Host) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return strings.Join(out, ",")
}

// untilExecuted waits until a run's script has begun on all of its n hosts.
func untilExecuted(c *fleet.Company, id string, n int) restart.Run {
	return c.When(id, limit, func(run restart.Run) bool {
		begun := 0
		for _, task := range run.Tasks {
			short, _, _ := strings.Cut(task.Host, ".")
			for _, seen := range fleet.Witnessed(c.Host(short)) {
				if seen == task.ID {
					begun++
				}
			}
		}
		return begun == n
	})
}

// Debian 11: its dpkg, its systemd 247 and its journal are understood.
func olderRelease(t *testing.T, c *fleet.Company) {
	h := c.Web[older]
	const file, plain = "/etc/restartilka/services.d/nginx.yaml", "package: nginx-light\nunit: nginx.service\n"
	h.Write(file, plain+"tag: \"1.18\"\n", 0o644)
	before := fleet.Invocation(h)
	id := c.Start("unit", "to see systemd 247 and dpkg of Debian 11", "--hosts", h.Name)
	wantAll(t, c, c.Until(id, limit, restart.RunCompleted, restart.RunFailed, restart.RunPaused), restart.TaskSucceeded)
	if fleet.Invocation(h) == before {
		t.Error("nginx was not restarted")
	}
	report := hostsCheck(t, c)[older].Report
	if s := report.Service; s == nil || !strings.HasPrefix(s.Installed, "1.18.0-") || s.UnitState != "active" {
		t.Errorf("the service is %+v", s)
	}
	h.Write(file, plain, 0o644)
}

// nginx as a child of supervisord, which restarts it; its pid file tells the
// new process.
func supervisord(t *testing.T, c *fleet.Company) {
	h := c.Web[sysvinit]
	h.Shell("service nginx stop >/dev/null")
	h.Write("/etc/supervisor/conf.d/nginx.conf", "[program:nginx]\ncommand=/usr/sbin/nginx -g 'daemon off;'\nstartsecs=0\n", 0o644)
	h.Shell("supervisorctl update; for i in $(seq 100); do [ -s /run/nginx.pid ] && exit 0; sleep 0.05; done; exit 1")
	before := h.Shell("cat /run/nginx.pid")
	id := c.Start("supervisor-restart", "to restart what supervisord runs", "--hosts", h.Name)
	wantAll(t, c, c.Until(id, limit, restart.RunCompleted, restart.RunFailed, restart.RunPaused), restart.TaskSucceeded)
	after := h.Shell("cat /run/nginx.pid")
	if status := h.Shell("supervisorctl status nginx"); after == before || !strings.Contains(status, "pid "+strings.TrimSpace(after)) {
		t.Errorf("pid %s, before %s; supervisord says %s", after, before, status)
	}
	h.RemoveAll("/etc/supervisor/conf.d/nginx.conf")
	h.PullPlug() // an orderly end takes sysvinit ten seconds
	h.Start(0)   // the init scripts start nginx, and the agent
	h.Await(20*time.Second, "curl -sf http://127.0.0.1:3132/ping && curl -sf http://127.0.0.1/")
}

// A cgroup that somebody has mounted and named is used without systemd, too.
func withoutSystemd(t *testing.T, c *fleet.Company) {
	h := c.Web[sysvinit]
	wrongScenario(t, c, h)
	h.Shell("mkdir -p /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; echo 'cgroup: /sys/fs/cgroup' >>/etc/restartilka/agent.yaml")
	if out, err := restartAgent(h); err != nil {
		t.Fatal(err, out)
	}
	if got := hostsCheck(t, c)[sysvinit].Report.Containment; got != "cgroup (below /sys/fs/cgroup)" {
		t.Errorf("containment: %q", got)
	}
	forcedAbortOn(t, c, h)
}

// A scenario that asks systemd fails before its script has run, and says why;
// so does the evidence.
func wrongScenario(t *testing.T, c *fleet.Company, h *fleet.Host) {
	t.Helper()
	const file, plain = "/etc/restartilka/services.d/nginx.yaml", "package: nginx-light\n"
	h.Write(file, plain+"unit: nginx.service\n", 0o644)
	id := c.Start("unit", "to ask systemd where there is none", "--hosts", h.Name)
	run := c.Until(id, limit, restart.RunCompleted, restart.RunFailed, restart.RunPaused)
	task := run.Tasks[0]
	if task.State != restart.TaskFailed || !strings.Contains(task.Error, "this host has no /usr/bin/systemctl") || slices.Contains(fleet.Witnessed(h), task.ID) {
		t.Errorf("it is %s: %s", task.State, task.Error)
	}
	if said := strings.Join(detail(t, c, id, h).Warnings, "; "); !strings.Contains(said, "this host has no journal") {
		t.Errorf("warnings: %q", said)
	}
	c.CLI("abort", id) // where it is paused
	h.Write(file, plain, 0o644)
}

// Memory by memfd_create(2) may be forbidden as a whole, as by a filter of
// system calls: scripts run from an unnamed file of the spool, and it is said.
func withoutSealedMemory(t *testing.T, c *fleet.Company) {
	h := c.Web[noMemfd]
	h.Write("/etc/systemd/system/restartilka-agent.service.d/filter.conf", "[Service]\nSystemCallFilter=~memfd_create\nSystemCallErrorNumber=EPERM\n", 0o644)
	h.Shell("systemctl daemon-reload")
	if out, err := restartAgent(h); err != nil {
		t.Fatal(err, out)
	}
	report := hostsCheck(t, c)[noMemfd].Report
	if !strings.HasPrefix(report.Memory, "unnamed-file (") {
		t.Errorf("memory: %q", report.Memory)
	}
	id := c.Start("unit", "to see a restart without sealed memory", "--hosts", h.Name)
	wantAll(t, c, c.Until(id, limit, restart.RunCompleted, restart.RunFailed, restart.RunPaused), restart.TaskSucceeded)
	if warnings := strings.Join(detail(t, c, id, h).Warnings, "; "); !strings.Contains(warnings, "unnamed file") {
		t.Errorf("the task does not tell of it: %q", warnings)
	}
}
