// Package hosts looks at real hosts as an admin does: which are ready, what is
// wrong with the others, and which services they have.
package hosts

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/fleet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	fleet.RemovePackages()
	os.Exit(code)
}

func TestHosts(t *testing.T) {
	c := fleet.New(t, fleet.Options{}).Install(nil)
	var looked func(*testing.T, *fleet.Company)
	for _, part := range []struct {
		name string
		test func(t *testing.T, c *fleet.Company)
	}{
		{"all are ready", allReady},
		{"root works without the server", withoutServer},
		{"dumps are asked for", func(t *testing.T, c *fleet.Company) { looked = dumped(c) }},
		{"services are discovered", discovered},
		{"dumps have been taken meanwhile", func(t *testing.T, c *fleet.Company) { looked(t, c) }},
		{"each state is told, with what to do", eachState},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, c.On(t)) }) {
			t.FailNow() // what follows needs hosts that are whole
		}
	}
}

const waitTime = 20 * time.Second

// check asks about all hosts and gives the answers by short name.
func check(t *testing.T, c *fleet.Company, wantExit int, more ...string) map[string]wire.HostCheck {
	t.Helper()
	out, talk, code := c.CLI(append([]string{"hosts", "check", "%all", "--json"}, more...)...)
	var list wire.List[wire.HostCheck]
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != wantExit {
		t.Fatalf("exit %d, want %d: %v\n%s%s", code, wantExit, err, out, talk)
	}
	all := map[string]wire.HostCheck{}
	for _, hc := range list.Items {
		name, _, _ := strings.Cut(hc.Host.Name, ".")
		all[name] = hc
	}
	return all
}

func allReady(t *testing.T, c *fleet.Company) {
	for name, hc := range check(t, c, 0) {
		r := hc.Report
		if hc.State != wire.HostReady || r == nil || r.User != "root" || r.Init != "systemd" || !strings.HasPrefix(r.Memory, "sealed") ||
			!strings.HasPrefix(r.Containment, "cgroup ") || r.Spool == nil || r.Spool.Free == 0 || !slices.Contains(r.Services, "nginx") {
			t.Errorf("%s: %s, %+v", name, hc.State, r)
		}
		if len(hc.Warnings) > 0 {
			t.Errorf("%s: %+v", name, hc.Warnings)
		}
	}
	text := c.MustCLI("hosts", "check", "%all", "--service", "nginx")
	if !strings.HasPrefix(text, "5 ready\n") || !regexp.MustCompile(`(?m)^web05.example.com +ready .*active$`).MatchString(text) {
		t.Errorf("%s", text)
	}
}

func discovered(t *testing.T, c *fleet.Company) {
	first := c.Web[0]
	first.Write("/etc/systemd/system/worker@.service", "[Unit]\nDescription=Worker %i\n[Service]\nUser=www-data\nExecStart=/usr/bin/python3 -m http.server 90%i\n", 0o644)
	first.Shell("systemctl daemon-reload; systemctl start worker@01")
	first.Await(waitTime, "curl -sf -o /dev/null http://127.0.0.1:9001/")

	began := time.Now()
	draft, talk, code := c.CLI("hosts", "discover", "%all", "--out", "/root/drafts")
	if code != 0 {
		t.Fatalf("exit %d\n%s%s", code, draft, talk)
	}
	t.Logf("discovered in %s", time.Since(began).Round(time.Millisecond))
	s, err := inventory.ParseYAML([]byte(draft))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, draft)
	}
	find := func(name string) restart.Service {
		i := slices.IndexFunc(s.Services, func(s restart.Service) bool { return s.Name == name })
		if i < 0 {
			t.Fatalf("there is no %s in:\n%s%s", name, draft, talk)
		}
		return s.Services[i]
	}
	if nginx := find("nginx"); nginx.Unit != "nginx.service" || !slices.Contains([]string{"nginx-common", "nginx-light", "nginx"}, nginx.Package) || nginx.Port != 80 {
		t.Errorf("%+v", nginx)
	}
	if worker := find("worker@01"); worker.Unit != "worker@01.service" || worker.Port != 9001 || worker.Runtime != "python" || worker.Package != "" {
		t.Errorf("%+v", worker)
	}
	for _, service := range s.Services {
		if strings.HasPrefix(service.Name, "systemd-") || strings.Contains(service.Name, "getty") || service.Name == "dbus" || service.Name == "restartilka-agent" {
			t.Errorf("%s is of the system itself", service.Name)
		}
	}
	i := slices.IndexFunc(s.Groups, func(g restart.Group) bool { return g.Name == "web-testing" })
	if i < 0 || len(s.Groups[i].Hosts) != 5 || !slices.Contains(s.Groups[i].Services, "nginx") {
		t.Errorf("%+v", s.Groups)
	}

	// What was drafted is laid onto the host, and the agent lists it.
	first.Write("/etc/restartilka/services.d/worker@01.yaml", c.Server.Read("/root/drafts/worker@01/services.d/worker@01.yaml"), 0o644)
	one := check(t, c, 0, "--service", "nginx")["web01"]
	if !slices.Contains(one.Report.Services, "worker@01") {
		t.Errorf("%+v", one.Report.Services)
	}
	if _, talk, code := c.CLI("hosts", "discover", "%all", "--out", "/root/drafts"); code != 2 || !strings.Contains(talk, "nothing is overwritten") {
		t.Errorf("exit %d: %s", code, talk)
	}
	if local := first.Shell("restartilka-agent discover"); !strings.Contains(local, "# services.d/nginx.yaml (active, listed already, listens on [80])") || !strings.Contains(local, "user: www-data") {
		t.Errorf("%s", local)
	}
	if records := c.MustCLI("audit", "search", "--action", "hosts.discovered"); !strings.Contains(records, "anna") {
		t.Errorf("%s", records)
	}
	first.Shell("rm /etc/restartilka/services.d/worker@01.yaml; systemctl stop worker@01; rm /etc/systemd/system/worker@.service")
}

func eachState(t *testing.T, c *fleet.Company) {
	closed, foreign, mixed, silent, distrusted := c.Web[0], c.Web[1], c.Web[2], c.Web[3], c.Web[4]
	const stop = "systemctl stop restartilka-agent.path restartilka-agent.service"
	closed.Shell(stop)
	foreign.Shell(stop)
	foreign.Write("/etc/nginx/conf.d/port.conf", "server { listen 3131; return 200; }\n", 0o644)
	foreign.Shell("systemctl reload nginx")
	foreign.Await(waitTime, "curl -sf -o /dev/null http://127.0.0.1:3131/")
	for _, file := range []string{"agent.key", "agent.crt"} { // of another host
		mixed.Write("/etc/restartilka/"+file, distrusted.Read("/etc/restartilka/"+file), 0o600)
	}
	silent.Shell("ip route add blackhole 10.77.0.2/32") // hears, and can't answer
	distrusted.Shell("rm /etc/restartilka/scenarios.d/systemd-restart.yaml; echo '# of our own' >>/etc/restartilka/scenarios.d/systemd-reload.yaml")

	got := check(t, c, 1)
	for name, want := range map[string]struct {
		state wire.HostState
		says  []string
	}{
		"web01": {wire.HostClosed, []string{"nothing listens", "start it"}},
		"web02": {wire.HostNoAgent, []string{"does not speak TLS"}},
		"web03": {wire.HostCertificate, []string{"web05.example.com"}},
		"web04": {wire.HostSilent, []string{"no answer", "firewall"}},
		"web05": {wire.HostTrust, []string{"missing: systemd-restart", "of other bytes: systemd-reload (serial 1)", "scenarios.d"}},
	} {
		hc := got[name]
		if hc.State != want.state || hc.Error == nil || hc.Error.Hint == "" {
			t.Errorf("%s is %s: %v; want %s", name, hc.State, hc.Error, want.state)
			continue
		}
		for _, part := range want.says {
			if !strings.Contains(hc.Error.Error(), part) {
				t.Errorf("%s: %v does not say %q", name, hc.Error, part)
			}
		}
	}
	text, talk, code := c.CLI("hosts", "check", "%all")
	if code != 1 || !strings.HasPrefix(text, "0 ready, 1 silent, 1 closed, 1 no-agent, 1 certificate, 1 trust\n") || !strings.Contains(text, "\n  do: ") {
		t.Errorf("exit %d\n%s%s", code, text, talk)
	}
	t.Logf("%s", text)
}
