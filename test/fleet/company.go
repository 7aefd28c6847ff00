package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Company is restartilka on a fleet, installed from its packages: the server
// with its unit on its own host, an agent on each web host, nginx as the
// service, and, where the fleet has a log host, rsyslog over TLS.
type Company struct {
	*Fleet
	Token string // of anna, the first admin
}

// serviceFile is services.d/nginx.yaml of every web host.
const serviceFile = "package: nginx-light\nunit: nginx.service\n"

// Install installs and starts everything. Scenarios are laid onto the server's
// shelf and onto every host, beside the shipped ones, by their names.
func (f *Fleet) Install(scenarios map[string]string) *Company {
	f.t.Helper()
	c := f.InstallServer(scenarios)
	c.Issue(f.Web...)
	f.must(Each(f.Web, func(h *Host) error { return c.installAgent(h, scenarios) }))
	return c
}

// InstallServer is Install without the agents: the server, which knows the web
// hosts, and the log host. Scenarios are laid onto the server's shelf.
func (f *Fleet) InstallServer(scenarios map[string]string) *Company {
	f.t.Helper()
	c := &Company{Fleet: f}
	c.installServer(scenarios)
	if f.Log != nil {
		c.installLog()
	}
	c.Server.Shell("systemctl enable --now -q restartilka")
	c.Server.Await(20*time.Second, "systemctl is-active restartilka || journalctl --no-pager -n 20 -u restartilka; curl -sf --cacert /etc/restartilka/ca.crt https://restartilka.example.com:8443/readyz")
	return c
}

func (c *Company) installServer(scenarios map[string]string) {
	c.t.Helper()
	c.Server.Push(c.Packages().Server, "/root/restartilka.deb", 0o644)
	c.Server.Shell("dpkg -i /root/restartilka.deb")
	var first struct{ Token string }
	out := c.Server.Shell("restartilka server init --dns restartilka.example.com --admin anna --json 2>/dev/null")
	if err := json.Unmarshal([]byte(out), &first); err != nil {
		c.t.Fatalf("server init: %v\n%s", err, out)
	}
	c.Token = first.Token
	var inv strings.Builder
	inv.WriteString("services:\n  - {name: nginx, package: nginx-light, unit: nginx.service, port: 80}\ngroups:\n  - {name: web-testing, environment: testing, services: [nginx], hosts: [")
	for i, h := range c.Web {
		if i > 0 {
			inv.WriteString(", ")
		}
		inv.WriteString(h.Name)
	}
	inv.WriteString("]}\nhosts:\n")
	for _, h := range c.Web {
		fmt.Fprintf(&inv, "  - {name: %s}\n", h.Name)
	}
	c.Server.Write("/etc/restartilka/inventory.yaml", inv.String(), 0o644)
	for name, text := range scenarios {
		c.Server.Write("/etc/restartilka/scenarios/"+name+".yaml", text, 0o644)
	}
}

// LogFile is where the log host keeps the audit trail.
const LogFile = "/var/log/restartilka.jsonl"

// installLog makes the log host a receiver over TLS, with a certificate by the
// fleet's own openssl, and names it in server.yaml.
func (c *Company) installLog() {
	c.t.Helper()
	c.Log.Shell(`mkdir -p /etc/rsyslog-tls && cd /etc/rsyslog-tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=log.example.com \
  -addext subjectAltName=DNS:log.example.com -keyout log.key -out log.crt 2>/dev/null`)
	c.Log.Write("/etc/rsyslog.conf", `
global(workDirectory="/var/spool/rsyslog" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="/etc/rsyslog-tls/log.crt"
       defaultNetstreamDriverCertFile="/etc/rsyslog-tls/log.crt" defaultNetstreamDriverKeyFile="/etc/rsyslog-tls/log.key")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" port="6514")
template(name="msg" type="string" string="%msg%\n")
if $programname == "restartilka" then action(type="omfile" file="`+LogFile+`" template="msg")
`, 0o644)
	c.Log.Shell("systemctl restart rsyslog")
	c.must(Copy(c.Log, "/etc/rsyslog-tls/log.crt", c.Server, 0o644))
	config := c.Server.Read("/etc/restartilka/server.yaml")
	config = strings.Replace(config, "  sinks:\n", "  sinks:\n    - {kind: syslog, address: \"log.example.com:6514\", ca: /etc/rsyslog-tls/log.crt}\n", 1)
	c.must(os.WriteFile(c.Server.Path("/etc/restartilka/server.yaml"), []byte(config), 0o640)) // keeps its owner
}

// Issue has the server make credentials for hosts, and lays them there.
func (c *Company) Issue(hosts ...*Host) {
	c.t.Helper()
	names := []string{}
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	c.Server.Shell("rm -rf /root/issued")
	c.MustCLI(append([]string{"host", "issue", "--out", "/root/issued"}, names...)...)
	for _, h := range hosts {
		for _, file := range []string{"agent.key", "agent.crt", "ca.crt", "server.pub", "agent.yaml"} {
			b := c.Server.Read("/root/issued/" + h.Name + "/" + file)
			mode := os.FileMode(0o644)
			if file == "agent.key" {
				mode = 0o600
			}
			h.Write("/etc/restartilka/"+file, b, mode)
		}
	}
}

func (c *Company) installAgent(h *Host, scenarios map[string]string) error {
	h.Push(c.Packages().Agent, "/root/restartilka-agent.deb", 0o644)
	h.Write("/etc/restartilka/services.d/nginx.yaml", serviceFile, 0o644)
	for name, text := range scenarios {
		h.Write("/etc/restartilka/scenarios.d/"+name+".yaml", text, 0o644)
	}
	if out, err := h.Try("dpkg -i /root/restartilka-agent.deb"); err != nil {
		return fmt.Errorf("install the agent on %s: %w\n%s", h.short(), err, out)
	}
	out, err := h.Try("for i in $(seq 100); do curl -sf http://127.0.0.1:3132/ping && exit 0; sleep 0.05; done; systemctl status restartilka-agent; exit 1")
	if err != nil {
		return fmt.Errorf("the agent of %s does not start: %w\n%s", h.short(), err, out)
	}
	return nil
}

// CLI runs restartilka on the server's host, as anna, and gives what it wrote
// and its exit code.
func (c *Company) CLI(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 3*time.Minute)
	defer cancel()
	cmd := c.Server.Command(ctx, "/usr/bin/env", append([]string{
		"RESTARTILKA_URL=https://restartilka.example.com:8443", "RESTARTILKA_CA=/etc/restartilka/ca.crt", "RESTARTILKA_TOKEN=" + c.Token, "restartilka",
	}, args...)...)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode()
}

// MustCLI is CLI where only exit code 0 is right.
func (c *Company) MustCLI(args ...string) string {
	c.t.Helper()
	out, talk, code := c.CLI(args...)
	if code != 0 {
		c.t.Fatalf("restartilka %s: exit %d\n%s%s", strings.Join(args, " "), code, out, talk)
	}
	return out
}

// Ready waits until every web host is ready, as the server sees it.
func (c *Company) Ready() {
	c.t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		out, talk, code := c.CLI("hosts", "check", "%all", "--service", "nginx")
		if code == 0 {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("hosts check: exit %d\n%s%s", code, out, talk)
		}
	}
}

// Start asks for a restart of nginx and gives the run's id at once.
func (c *Company) Start(scenario, reason string, more ...string) string {
	c.t.Helper()
	args := append([]string{"run", scenario, "nginx", "--env", "testing", "--reason", reason, "--yes", "--detach", "--json"}, more...)
	var run struct{ ID string }
	out := c.MustCLI(args...)
	if err := json.Unmarshal([]byte(out), &run); err != nil || run.ID == "" {
		c.t.Fatalf("no run in %q: %v", out, err)
	}
	return run.ID
}

// Show gives a run as it is now.
func (c *Company) Show(id string) restart.Run {
	c.t.Helper()
	var run restart.Run
	out, talk, _ := c.CLI("show", id, "--json") // its exit code tells how the run stands
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		c.t.Fatalf("show %s: %v\n%s%s", id, err, out, talk)
	}
	return run
}

// Until waits until a run is in one of the states, and gives it.
func (c *Company) Until(id string, limit time.Duration, states ...restart.RunState) restart.Run {
	c.t.Helper()
	return c.When(id, limit, func(r restart.Run) bool { return slices.Contains(states, r.State) })
}

// When waits until a run fits, and gives it.
func (c *Company) When(id string, limit time.Duration, fits func(r restart.Run) bool) restart.Run {
	c.t.Helper()
	end := time.Now().Add(limit)
	for {
		run := c.Show(id)
		if fits(run) {
			return run
		}
		if time.Now().After(end) {
			b, _ := json.MarshalIndent(run, "", " ")
			c.t.Fatalf("run %s is not as wanted within %s:\n%s", id, limit, b)
		}
		pause(c.t.Context(), 150*time.Millisecond)
	}
}

// States gives the state of a run's hosts by their short names.
func States(run restart.Run) map[string]restart.TaskState {
	out := map[string]restart.TaskState{}
	for _, task := range run.Tasks {
		name, _, _ := strings.Cut(task.Host, ".")
		out[name] = task.State
	}
	return out
}

// On gives the same company for a part of a test that has a t of its own.
func (c *Company) On(t testing.TB) *Company {
	return &Company{Fleet: c.Fleet.On(t), Token: c.Token}
}

// Invocation is systemd's id of nginx's present start on a host.
func Invocation(h *Host) string {
	h.fleet.t.Helper()
	return strings.TrimSpace(h.Shell("systemctl show --property=InvocationID --value nginx.service"))
}

// Witnessed are the task ids that scripts of a scenario with Witness have
// appended on a host.
func Witnessed(h *Host) []string {
	h.fleet.t.Helper()
	b, err := os.ReadFile(h.Path(WitnessFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.fleet.t.Fatal(err)
	}
	return strings.Fields(string(b))
}

// WitnessFile is where a script with Witness appends.
const WitnessFile = "/var/log/witness"

// Witness is a line of a script that appends the task's id to a file, durably:
// it counts executions without asking the product.
const Witness = `echo "$RESTARTILKA_TASK" >>` + WitnessFile + "; sync " + WitnessFile

// Scenario gives a scenario for nginx with a script, quick enough for tests:
// a new process that answers over HTTP for a second. More is added at its end.
func Scenario(name, script, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `format: 1
name: %s
serial: 1
author: test@restartilka.invalid
kind: restart
services: [nginx]
description: For a test
run_as: root
strategy: {batches: [1], when_down: {batches: ["50%%"]}, min_available: N-1, task_timeout: 1m}
steps:
  run:
    script: |
`, name)
	for line := range strings.Lines(script) {
		b.WriteString("      " + line)
	}
	b.WriteString("\nhealth:\n  new_process: {unit: \"#unit#\"}\n  http: {url: \"http://127.0.0.1/\", status: 200}\n  healthy_for: 1s\n  deadline: 6s\n")
	b.WriteString(more)
	return b.String()
}

// RemoveAll removes files of a host, by a pattern.
func (h *Host) RemoveAll(pattern string) {
	h.fleet.t.Helper()
	found, err := filepath.Glob(h.Path(pattern))
	h.fleet.must(err)
	for _, path := range found {
		h.fleet.must(os.RemoveAll(path))
	}
}
