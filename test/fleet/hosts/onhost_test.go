package hosts

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/fleet"
)

// withoutServer restarts nginx, and dumps it, on a host whose server is off:
// beside the agent and without it. When the server is back, it shows both.
func withoutServer(t *testing.T, c *fleet.Company) {
	const why = `--reason "502s since 14:00, the server does not answer" --yes --json`
	c.Server.Shell("systemctl stop restartilka")
	beside, alone := c.Web[0], c.Web[1]
	alone.Shell("systemctl stop restartilka-agent")
	var tasks []struct{ Run, Task, Outcome, Containment string }
	for _, h := range []*fleet.Host{beside, alone} {
		before := fleet.Invocation(h)
		out := h.Shell("SUDO_USER=anna restartilka-agent run systemd-restart nginx " + why + " 2>/root/talk")
		var s struct{ Run, Task, Outcome, Containment string }
		if err := json.Unmarshal([]byte(out), &s); err != nil || s.Outcome != "succeeded" {
			t.Fatalf("%s: %v\n%s\n%s", h.Name, err, out, h.Read("/root/talk"))
		}
		if fleet.Invocation(h) == before {
			t.Errorf("%s: nginx was not restarted", h.Name)
		}
		if talk := h.Read("/root/talk"); !strings.Contains(talk, "systemctl restart nginx.service") || !strings.Contains(talk, "anna@"+h.Name) {
			t.Errorf("%s: the plan was\n%s", h.Name, talk)
		}
		tasks = append(tasks, s)
	}
	if tasks[0].Containment != "cgroup" {
		t.Errorf("beside the agent: %+v", tasks[0])
	}
	// Any process may be looked at, by root; that of a service is known for it.
	const look = ` --count 1 --reason "requests hang, what do they wait for" 2>&1`
	dump := alone.Shell(`restartilka-agent dump --pid $(systemctl show --property=MainPID --value nginx)` + look)
	if !strings.Contains(dump, "belongs to service nginx") || !strings.Contains(dump, " by proc") || !strings.Contains(dump, "1 thread: ") {
		t.Errorf("the dump:\n%s", dump)
	}
	if init := alone.Shell(`restartilka-agent dump --pid 1` + look); strings.Contains(init, "belongs to") || !strings.Contains(init, "process 1 by proc") {
		t.Errorf("the dump of init:\n%s", init)
	}
	if out, err := alone.Try(`setpriv --reuid=65534 --regid=65534 --clear-groups restartilka-agent run systemd-restart nginx ` + why + ` 2>&1`); err == nil || !strings.Contains(out, "only root") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	if verified, err := alone.Try("cat /var/spool/restartilka/ledger.jsonl"); err != nil || strings.Count(verified, "\n") != 6 {
		t.Errorf("the ledger: %v\n%s", err, verified)
	}

	alone.Shell("systemctl start restartilka-agent")
	c.Server.Shell("systemctl start restartilka")
	for i, s := range tasks {
		end := time.Now().Add(waitTime)
		for code := -1; code != 0; { // until it is there
			if _, _, code = c.CLI("show", s.Run); code != 0 && time.Now().After(end) {
				t.Fatalf("run %s has not been taken over within %s\n%s", s.Run, waitTime, c.Server.Shell("journalctl -u restartilka -n 50"))
			}
		}
		run := c.Until(s.Run, waitTime, restart.RunCompleted)
		host := []*fleet.Host{beside, alone}[i].Name
		if run.Via != restart.ViaHost || run.Actor != "anna@"+host || run.Scenario != "systemd-restart" || len(run.Tasks) != 1 || run.Tasks[0].Host != host || run.Tasks[0].ID != s.Task {
			t.Errorf("%+v", run)
		}
	}
	if text := c.MustCLI("runs", "--service", "nginx"); strings.Count(text, "made on the host") != 2 {
		t.Errorf("%s", text)
	}
}
