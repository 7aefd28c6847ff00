// Package ansible sets hosts up with the role of packaging/ansible, by a real
// ansible-playbook over real sshd.
package ansible

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/fleet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	fleet.RemovePackages()
	os.Exit(code)
}

// quick is a scenario of the company's own, which the role lays onto the hosts.
var quick = map[string]string{"quick": fleet.Scenario("quick", "systemctl restart #unit#", "")}

// Each of the three hosts gets its agent another way: web01 by a token, web02
// at first by a wrong one, web03 from a repository and with credentials that
// lie on the controller.
func TestRole(t *testing.T) {
	need(t)
	booted := time.Now()
	c := fleet.New(t, fleet.Options{Web: 3}).InstallServer(quick)
	a := newController(t, c)
	t.Logf("hosts and server: %s", time.Since(booted).Round(100*time.Millisecond))
	for _, part := range []struct {
		name string
		test func(t *testing.T, a *controller)
	}{
		{"the play is well formed", wellFormed},
		{"a check of bare hosts changes nothing", checkBare},
		{"one wrong token fails one host", wrongToken},
		{"a scenario that would be refused is not laid", badScenario},
		{"the next run mends it and leaves the others alone", mended},
		{"one more run, and a check, change nothing", unchanged},
		{"nginx is restarted on all", restarted},
	} {
		began := time.Now()
		if !t.Run(part.name, func(t *testing.T) { part.test(t, a.on(t)) }) {
			t.FailNow() // what follows needs what this one leaves
		}
		t.Logf("%s: %s", part.name, time.Since(began).Round(100*time.Millisecond))
	}
}

func wellFormed(t *testing.T, a *controller) {
	for _, inventory := range []string{a.inventory(), "inventory.example.yml"} {
		if out, code := a.play("-i", inventory, "--syntax-check"); code != 0 {
			t.Errorf("%s: exit %d\n%s", inventory, code, out)
		}
	}
}

func checkBare(t *testing.T, a *controller) {
	hosts := []*fleet.Host{a.Web[0], a.Web[2]}
	out, code := a.play("--check", "--limit", hosts[0].Name+","+hosts[1].Name)
	if code != 0 || strings.Count(out, "this check ends with it") != 2 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	for _, h := range hosts {
		if found, err := h.Try("ls -d /usr/sbin/restartilka-agent /etc/restartilka /var/cache/restartilka-agent* 2>/dev/null"); err == nil || found != "" {
			t.Errorf("a check has left %s on %s", found, h.Name)
		}
	}
}

func wrongToken(t *testing.T, a *controller) {
	wrong := a.token[:strings.LastIndex(a.token, ".")+1] + strings.Repeat("A", 43)
	a.web02 = wrong
	out, code := a.play("-vvv") // with every command line that ansible starts
	if code != 2 {
		t.Errorf("exit %d", code)
	}
	recap := a.recap(out)
	for host, want := range map[string]string{"web01": "ok", "web02": "failed", "web03": "ok"} {
		if got := recap[host]; got.state() != want || got["changed"] == 0 {
			t.Errorf("%s is %s, want %s: %v", host, got.state(), want, got)
		}
	}
	for _, says := range []string{
		"web02.example.com has not joined: ", "the join token is not valid", "restartilka host join-token HOST", "Then run the play again",
	} {
		if !strings.Contains(out, says) {
			t.Errorf("web02's failure does not say %q", says)
		}
	}
	if t.Failed() {
		t.Fatalf("%s", out)
	}
	for _, secret := range []string{a.token, wrong} {
		if strings.Contains(out, secret) {
			t.Errorf("ansible shows the token, or starts a command with it")
		}
	}
	if found := a.Web[0].Shell("{ grep -rlF " + a.token + " /root /etc /var /tmp /home || true; }; journalctl --quiet --no-pager | grep -F " + a.token + " || true"); found != "" {
		t.Errorf("web01 keeps the token in %s", found)
	}
	for i, h := range []*fleet.Host{a.Web[0], a.Web[2]} {
		got := h.Shell("cd /etc/restartilka && stat -c '%n %U:%G %a' agent.key agent.yaml services.d/nginx.yaml scenarios.d/quick.yaml; systemctl is-active restartilka-agent")
		if want := "agent.key root:root 600\nagent.yaml root:root 644\nservices.d/nginx.yaml root:root 644\nscenarios.d/quick.yaml root:root 644\nactive\n"; got != want {
			t.Errorf("%s:\n%s", h.Name, got)
		}
		settings := h.Read("/etc/restartilka/agent.yaml")
		for _, line := range []string{"host: " + h.Name, "environments:\n- testing", "servers:\n- main", "task_rate_per_hour: 100"} {
			if !strings.Contains(settings, line) {
				t.Errorf("agent.yaml %d has no %q:\n%s", i, line, settings)
			}
		}
	}
	if a.Web[1].Shell("systemctl is-active restartilka-agent || true") == "active\n" {
		t.Error("web02's agent runs without credentials")
	}
}

func badScenario(t *testing.T, a *controller) {
	good := a.write("scenarios.d/quick.yaml", quick["quick"]+"surprise: yes\n")
	defer a.write("scenarios.d/quick.yaml", quick["quick"])
	out, code := a.play("--limit", "web01.example.com")
	if code != 2 || !strings.Contains(out, "No scenario was laid") || !strings.Contains(out, good) || !strings.Contains(out, "surprise") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if strings.Contains(a.Web[0].Read("/etc/restartilka/scenarios.d/quick.yaml"), "surprise") {
		t.Error("it was laid")
	}
}

// With the right token, web02 joins, though it has the remains of credentials
// by now; for the other two it is a second run, which changes nothing.
func mended(t *testing.T, a *controller) {
	second := a.Web[1]
	second.Write("/etc/restartilka/agent.yaml", "host: "+second.Name+"\nservers: [main]\ngrace: 9s\n", 0o644)
	second.Write("/etc/restartilka/agent.crt", a.Web[0].Read("/etc/restartilka/agent.crt"), 0o644)
	second.Write("/etc/restartilka/agent.key", "this is no key\n", 0o600)
	a.web02 = ""
	before := a.Web[0].Read("/etc/restartilka/agent.crt")
	out, code := a.play()
	recap := a.recap(out)
	if code != 0 || recap["web02"]["changed"] == 0 || recap["web01"]["changed"] != 0 || recap["web03"]["changed"] != 0 {
		t.Errorf("exit %d\n%s", code, out)
	}
	if a.Web[0].Read("/etc/restartilka/agent.crt") != before {
		t.Error("web01 got another certificate")
	}
	if settings := second.Read("/etc/restartilka/agent.yaml"); strings.Contains(settings, "grace") {
		t.Errorf("a key that nobody wants any more stays in agent.yaml:\n%s", settings)
	}
	if out := a.MustCLI("hosts", "check", "%all", "--service", "nginx", "--env", "testing"); !strings.HasPrefix(out, "3 ready\n") {
		t.Errorf("%s", out)
	}
}

// The token has been used up: a host that has joined needs none.
func unchanged(t *testing.T, a *controller) {
	a.token = ""
	for _, args := range [][]string{{"--diff", "--limit", "web02.example.com"}, {"--check", "--limit", "web01.example.com"}} {
		out, code := a.play(args...)
		for host, counts := range a.recap(out) {
			if code != 0 || counts.state() != "ok" || counts["changed"] != 0 {
				t.Errorf("%s: exit %d, %s: %v\n%s", args[0], code, host, counts, out)
			}
		}
	}
}

func restarted(t *testing.T, a *controller) {
	var before []string
	for _, h := range a.Web {
		before = append(before, fleet.Invocation(h))
	}
	run := a.Until(a.Start("quick", "the first restart after ansible"), time.Minute, restart.RunCompleted, restart.RunPaused, restart.RunFailed)
	if run.State != restart.RunCompleted {
		t.Errorf("the run is %s: %+v", run.State, run.Tasks)
	}
	for i, h := range a.Web {
		if fleet.Invocation(h) == before[i] {
			t.Errorf("nginx of %s was not restarted", h.Name)
		}
	}
}

// counts are one host's line of ansible's recap.
type counts map[string]int

func (c counts) state() string {
	switch {
	case c == nil:
		return "not there"
	case c["unreachable"] > 0:
		return "unreachable"
	case c["failed"] > 0:
		return "failed"
	}
	return "ok"
}

var (
	recapLine = regexp.MustCompile(`(?m)^(web\d+)\.example\.com +: (.*)$`)
	recapPart = regexp.MustCompile(`(\w+)=(\d+)`)
)
