// Package rolling restarts nginx on real hosts, one after another, and breaks
// whatever can break meanwhile.
package rolling

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/fleet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	fleet.RemovePackages()
	os.Exit(code)
}

// drained is a drain and an undrain step that leave a mark on the host while
// it is out of the balancer.
const drained = "" +
	"  drain: {script: \"touch /var/lib/drained-#package#\"}\n" +
	"  undrain: {script: \"rm /var/lib/drained-#package#\", when: healthy}\n"

// quick restarts nginx by its unit; slow lets a test do something meanwhile.
var scenarios = map[string]string{
	"quick": withSteps(fleet.Scenario("quick", fleet.Witness+"\nsystemctl restart #unit#", ""), drained),
	"slow":  withSteps(fleet.Scenario("slow", fleet.Witness+"\necho before\nsleep 2\nsystemctl restart #unit#\necho after", ""), drained),
}

// withSteps puts more steps in front of the run step.
func withSteps(scenario, steps string) string {
	return strings.Replace(scenario, "steps:\n", "steps:\n"+steps, 1)
}

// limit bounds a run; the longest takes about ten seconds on a quiet machine.
const limit = 2 * time.Minute

// One company goes through all of it, part after part; each leaves the hosts
// as it found them.
func TestOnRealHosts(t *testing.T) {
	c := fleet.New(t, fleet.Options{Log: true}).Install(scenarios)
	for _, part := range []struct {
		name string
		test func(t *testing.T, c *fleet.Company)
	}{
		{"five hosts in order, never two down", fiveInOrder},
		{"a broken third host stops the walk", brokenThird},
		{"a host whose restart fails stops the walk", failingSecond},
		{"each refusal names its cause", ownErrors},
		{"a host cut off before its turn", cutOff},
		{"the agent is killed in mid-task", agentKilled},
		{"the agent is restarted in mid-task", agentRestarted},
		{"the server is killed in mid-run", serverKilled},
		{"a host is rebooted in mid-task", rebooted},
		{"a host loses its power in mid-task", powerLost},
		{"a service that hangs everywhere", hangsEverywhere},
		{"the log host has every record, in order", everythingLogged},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, c.On(t)) }) {
			t.FailNow() // what follows needs hosts that are whole
		}
	}
}

func fiveInOrder(t *testing.T, c *fleet.Company) {
	before := invocations(c.Web)
	watch := fleet.NewWatch(c.Fleet, c.Web)
	run := c.Until(c.Start("quick", "to see that all five are restarted in order"), limit, restart.RunCompleted)
	seen := watch.Stop()
	if seen.Most != 1 || seen.Hosts != 5 {
		t.Errorf("%d hosts were down at one moment (%s), %d at any; want 1 and 5 (%d polls)", seen.Most, seen.Together, seen.Hosts, seen.Polls)
	}
	t.Logf("%d polls", seen.Polls)
	for i, h := range c.Web {
		if after := fleet.Invocation(h); after == before[i] || after == "" {
			t.Errorf("nginx of %s was not restarted", h.Name)
		}
		if run.Tasks[i].Host != h.Name {
			t.Errorf("host %d is %s", i, run.Tasks[i].Host)
		}
		if i > 0 && run.Tasks[i].StartedAt.Before(*run.Tasks[i-1].FinishedAt) {
			t.Errorf("%s began before %s had finished", run.Tasks[i].Host, run.Tasks[i-1].Host)
		}
		executed(t, run, h, 1)
	}
}

// A configuration that starts, and answers 500: health says so, not the script.
func brokenThird(t *testing.T, c *fleet.Company) {
	third := c.Web[2]
	const file = "/etc/nginx/conf.d/broken.conf"
	third.Write(file, "server { listen 80 default_server; return 500; }\n", 0o644)
	third.Shell("rm /etc/nginx/sites-enabled/default") // it has the same default_server
	before := invocations(c.Web)
	id := c.Start("quick", "with a third host whose new configuration is bad")
	run := c.Until(id, limit, restart.RunPaused)
	if run.Cause != restart.CauseFailure {
		t.Errorf("paused because of %s", run.Cause)
	}
	wantStates(t, run, "succeeded succeeded failed planned planned")
	if task := run.Tasks[2]; task.Cause != "health" {
		t.Errorf("web03 failed in %q: %s", task.Cause, task.Error)
	}
	for i, want := range []string{"", "", "/var/lib/drained-nginx-light", "", ""} {
		if got := strings.TrimSpace(c.Web[i].Shell("ls /var/lib/drained-* 2>/dev/null || true")); got != want {
			t.Errorf("%s: drained %q, want %q", c.Web[i].Name, got, want)
		}
	}
	for i := 3; i < 5; i++ {
		if fleet.Invocation(c.Web[i]) != before[i] {
			t.Errorf("%s was touched", c.Web[i].Name)
		}
	}
	text := c.MustCLI("show", id)
	if !strings.Contains(text, "drained") || !strings.Contains(text, "500") {
		t.Errorf("show does not tell of the drained host and its 500:\n%s", text)
	}
	c.MustCLI("abort", id)
	c.Until(id, limit, restart.RunAborted)
	third.RemoveAll(file)
	third.Shell("ln -s /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default; systemctl restart nginx; rm /var/lib/drained-nginx-light")
}

// A configuration that nginx refuses: systemctl itself fails, and the host
// stays drained as well.
func failingSecond(t *testing.T, c *fleet.Company) {
	second := c.Web[1]
	const file = "/etc/nginx/conf.d/broken.conf"
	second.Write(file, "this is no configuration\n", 0o644)
	id := c.Start("quick", "with a second host whose configuration nginx refuses")
	run := c.Until(id, limit, restart.RunPaused)
	wantStates(t, run, "succeeded failed planned planned planned")
	if task := run.Tasks[1]; task.Cause != "run" || !task.Drained {
		t.Errorf("web02 failed in %q, drained %v: %s", task.Cause, task.Drained, task.Error)
	}
	// The person repairs the host and goes on with the others.
	second.RemoveAll(file)
	second.Shell("systemctl restart nginx; rm /var/lib/drained-nginx-light")
	c.MustCLI("resume", id)
	run = c.Until(id, limit, restart.RunCompleted, restart.RunFailed)
	wantStates(t, run, "succeeded failed succeeded succeeded succeeded")
	for _, h := range c.Web {
		executed(t, run, h, 1)
	}
}

// Before anything is touched, each host says for itself why it can't be.
func ownErrors(t *testing.T, c *fleet.Company) {
	silent, absent, foreign, bare, other := c.Web[0], c.Web[1], c.Web[2], c.Web[3], c.Web[4]
	silent.Cut()
	absent.Shell("systemctl stop restartilka-agent.path restartilka-agent.service 2>/dev/null || systemctl stop restartilka-agent.service")
	keep := map[string]string{}
	for _, file := range []string{"agent.crt", "agent.key"} {
		keep[file] = foreign.Read("/etc/restartilka/" + file)
	}
	foreign.Shell(`cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3 -subj /CN=x \
  -addext subjectAltName=DNS:web03.example.com -addext extendedKeyUsage=serverAuth -keyout k -out c 2>/dev/null
cat k >/etc/restartilka/agent.key; cat c >/etc/restartilka/agent.crt; systemctl restart restartilka-agent`)
	foreign.Await(20*time.Second, "curl -sf http://127.0.0.1:3132/ping")
	bare.Write("/etc/restartilka/services.d/nginx.yaml", "package: nginx-extras\nunit: nginx.service\n", 0o644)
	other.Write("/etc/restartilka/services.d/nginx.yaml", "package: nginx-light\ntag: \"9.9\"\nunit: nginx.service\n", 0o644)
	before := invocations(c.Web)

	plan, talk, code := c.CLI("restart", "nginx", "--scenario", "quick", "--env", "testing", "--reason", "to read what each host says against it", "--plan")
	for host, want := range map[string]string{
		"web01": "no answer", "web02": "nothing listens", "web03": "authority that is not trusted", "web04": "nginx-extras", "web05": "9.9",
	} {
		line := lineOf(plan+talk, host)
		if !strings.Contains(line, want) {
			t.Errorf("%s: %q does not say %q", host, line, want)
		}
	}
	if code == 0 {
		t.Errorf("a plan without any host exits 0\n%s%s", plan, talk)
	}
	if !slices.Equal(before, invocations(c.Web)) {
		t.Error("a plan touched a host")
	}
	silent.Plug()
	for file, text := range keep {
		foreign.Shell("cat >/etc/restartilka/" + file + " <<'EOF'\n" + text + "EOF\n")
	}
	for _, h := range c.Web {
		h.Write("/etc/restartilka/services.d/nginx.yaml", "package: nginx-light\nunit: nginx.service\n", 0o644)
		h.Shell("systemctl restart restartilka-agent")
		h.Await(20*time.Second, "curl -sf http://127.0.0.1:3132/ping")
	}
	c.Ready()
}

// lineOf gives the first line of a text that names a host.
func lineOf(text, host string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, host) {
			return line
		}
	}
	return ""
}

func cutOff(t *testing.T, c *fleet.Company) {
	id := c.Start("slow", "with a second host that is cut off before its turn", "--hosts", "web01.example.com,web02.example.com,web03.example.com")
	untilExecuted(c, id, c.Web[0])
	c.Web[1].Cut()
	run := c.Until(id, limit, restart.RunPaused)
	wantStates(t, run, "succeeded unreachable planned")
	c.Web[1].Plug()
	c.Ready()
	c.MustCLI("abort", id)
	run = c.Until(id, limit, restart.RunAborted)
	executed(t, run, c.Web[0], 1)
	executed(t, run, c.Web[1], 0)
	executed(t, run, c.Web[2], 0)
}

// The supervisor goes on without its agent; systemd starts another, which
// attaches and tells the outcome.
func agentKilled(t *testing.T, c *fleet.Company) {
	id := c.Start("slow", "with an agent that is killed in mid-task", "--hosts", "web01.example.com,web02.example.com")
	untilExecuted(c, id, c.Web[0])
	pid := c.Web[0].Shell("systemctl show --property=MainPID --value restartilka-agent")
	c.Web[0].Shell("kill -KILL " + pid)
	run := c.Until(id, limit, restart.RunCompleted)
	for _, h := range c.Web[:2] {
		executed(t, run, h, 1)
	}
	if now := c.Web[0].Shell("systemctl show --property=MainPID --value restartilka-agent"); now == pid {
		t.Error("the agent was not killed")
	}
}

// systemd stops and starts the agent, twice; the supervisor and its script are
// not in its way. Exit status and output are those of the one script.
func agentRestarted(t *testing.T, c *fleet.Company) {
	id := c.Start("slow", "with an agent that is restarted in mid-task", "--hosts", "web01.example.com")
	untilExecuted(c, id, c.Web[0])
	supervisor := c.Web[0].Shell("pgrep -x restartilka-sup")
	for range 2 {
		c.Web[0].Shell("systemctl restart restartilka-agent")
		if now := c.Web[0].Shell("pgrep -x restartilka-sup"); now != supervisor {
			t.Errorf("the supervisor is process %s, was %s", now, supervisor)
		}
	}
	run := c.Until(id, limit, restart.RunCompleted)
	executed(t, run, c.Web[0], 1)
	if exit := run.Tasks[0].ExitCode; exit == nil || *exit != 0 {
		t.Errorf("exit status %v", exit)
	}
	if out := c.MustCLI("show", id, "--host", "web01.example.com"); !strings.Contains(out, "  before\n  after\n") {
		t.Errorf("the output is not there whole:\n%s", out)
	}
}

func serverKilled(t *testing.T, c *fleet.Company) {
	id := c.Start("slow", "with a server that is killed in mid-run", "--hosts", "web01.example.com,web02.example.com,web03.example.com")
	untilExecuted(c, id, c.Web[1])
	c.Server.Shell("kill -KILL $(systemctl show --property=MainPID --value restartilka)")
	c.Server.Await(30*time.Second, "curl -sf --cacert /etc/restartilka/ca.crt https://restartilka.example.com:8443/readyz")
	run := c.Until(id, limit, restart.RunPaused)
	if run.Cause != restart.CauseInterrupted {
		t.Errorf("paused because of %s", run.Cause)
	}
	wantStates(t, run, "succeeded succeeded planned")
	executed(t, run, c.Web[2], 0)
	c.MustCLI("resume", id)
	run = c.Until(id, limit, restart.RunCompleted)
	for _, h := range c.Web[:3] {
		executed(t, run, h, 1)
	}
}

// Whether a script that a reboot ended has restarted anything can't be known.
func rebooted(t *testing.T, c *fleet.Company) {
	id := c.Start("slow", "with a host that is rebooted in mid-task", "--hosts", "web01.example.com,web02.example.com")
	untilExecuted(c, id, c.Web[0])
	c.Web[0].Reboot()
	unknownThenResume(t, c, id)
}

func powerLost(t *testing.T, c *fleet.Company) {
	id := c.Start("slow", "with a host that loses its power in mid-task", "--hosts", "web01.example.com,web02.example.com")
	untilExecuted(c, id, c.Web[0])
	c.Web[0].PullPlug()
	c.Web[0].Start(0)
	unknownThenResume(t, c, id)
}

func unknownThenResume(t *testing.T, c *fleet.Company, id string) {
	run := c.Until(id, limit, restart.RunPaused)
	if run.Cause != restart.CauseUnknown {
		t.Errorf("paused because of %s", run.Cause)
	}
	wantStates(t, run, "unknown planned")
	executed(t, run, c.Web[1], 0)
	c.MustCLI("decide", id, run.Tasks[0].Host, "did-not", "--reason", "the host came back, and nginx was not restarted by us")
	c.MustCLI("resume", id)
	run = c.Until(id, limit, restart.RunCompleted, restart.RunFailed)
	wantStates(t, run, "unknown succeeded")
	executed(t, run, c.Web[0], 1) // and never again
	executed(t, run, c.Web[1], 1)
	c.Web[0].Shell("rm -f /var/lib/drained-nginx-light")
}

// No host is healthy, so nothing is lost by restarting several at once.
func hangsEverywhere(t *testing.T, c *fleet.Company) {
	for _, h := range c.Web {
		// nginx's unit would wait ten seconds for a process that hangs.
		h.Write("/etc/systemd/system/nginx.service.d/quick.conf", "[Service]\nExecStop=\nTimeoutStopSec=1\n", 0o644)
		h.Shell("systemctl daemon-reload; systemctl kill --signal=STOP nginx")
	}
	before := invocations(c.Web)
	run := c.Until(c.Start("quick", "the service hangs on all five hosts"), limit, restart.RunCompleted)
	wantStates(t, run, "succeeded succeeded succeeded succeeded succeeded")
	if want := []int{2, 2, 1}; !slices.Equal(run.Plan.Batches, want) {
		t.Errorf("batches %v, want %v as when_down says", run.Plan.Batches, want)
	}
	for i, h := range c.Web {
		if fleet.Invocation(h) == before[i] {
			t.Errorf("nginx of %s was not restarted", h.Name)
		}
		h.Shell("curl -sf -m 2 http://127.0.0.1/")
	}
}

// R6: what the log host has is whole, and is all that the server has.
func everythingLogged(t *testing.T, c *fleet.Company) {
	local := c.Server.Read("/var/lib/restartilka/audit/audit.jsonl")
	want := strings.Count(local, "\n")
	c.Log.Await(30*time.Second, "test $(sort -u "+fleet.LogFile+" | wc -l) -ge "+strconv.Itoa(want))
	if err := fleet.Copy(c.Log, fleet.LogFile, c.Server, 0o644); err != nil {
		t.Fatal(err)
	}
	var report audit.Report
	out, talk, code := c.CLI("audit", "verify", fleet.LogFile, "--json")
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || len(report.Sources) != 1 {
		t.Fatalf("audit verify: exit %d, %v\n%s%s", code, err, out, talk)
	}
	s := report.Sources[0]
	if s.Stored < int64(want) || s.Missing != 0 || s.Changed != 0 || s.Reordered != 0 {
		t.Errorf("of at least %d records: %+v", want, s)
	}
	t.Logf("%d records, %d sent twice", s.Stored, s.Duplicates)
}

func invocations(hosts []*fleet.Host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, fleet.Invocation(h))
	}
	return out
}

// wantStates compares the states of a run's hosts, in the plan's order.
func wantStates(t *testing.T, run restart.Run, want string) {
	t.Helper()
	var got []string
	for _, task := range restart.Latest(run.Tasks) {
		got = append(got, string(task.State))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("states %v, want %s", got, want)
		for _, task := range run.Tasks {
			t.Logf("%s: %s %s %s", task.Host, task.State, task.Cause, task.Error)
		}
	}
}

// executed wants n executions of the run's script on a host, by the host's own
// witness, and no task's script twice.
func executed(t *testing.T, run restart.Run, h *fleet.Host, n int) {
	t.Helper()
	times := map[string]int{}
	for _, task := range fleet.Witnessed(h) {
		times[task]++
	}
	got := 0
	for _, task := range run.Tasks {
		if task.Host == h.Name {
			got += times[task.ID]
		}
	}
	if got != n {
		t.Errorf("the script ran %d times on %s, want %d", got, h.Name, n)
	}
}

// untilExecuted waits until a run's script has begun on a host.
func untilExecuted(c *fleet.Company, id string, h *fleet.Host) {
	c.When(id, limit, func(run restart.Run) bool {
		seen := fleet.Witnessed(h)
		return slices.ContainsFunc(run.Tasks, func(task restart.Task) bool { return task.Host == h.Name && slices.Contains(seen, task.ID) })
	})
}
