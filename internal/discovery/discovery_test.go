package discovery_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/discovery"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

var (
	nginx  = protocol.Discovered{Name: "nginx", Unit: "nginx.service", Package: "nginx-common", Description: "A web server: fast", Ports: []int{80, 443}}
	worker = protocol.Discovered{Name: "worker@01", Unit: "worker@01.service", User: "www-data", Runtime: "jvm"}
	hosts  = []restart.Host{{Name: "web1", Address: "10.0.0.1", DataCentre: "dc1"}, {Name: "web2"}, {Name: "db1"}}
	groups = []restart.Group{{Name: "front", Environment: "production", Project: "shop", Hosts: []string{"web1", "web2", "web9"}}, {Name: "idle", Hosts: []string{"web9"}}}
)

func reports() []discovery.Report {
	other := worker
	other.User = "worker"
	return []discovery.Report{
		{Host: "web1", Services: []protocol.Discovered{nginx, worker}},
		{Host: "web2", Services: []protocol.Discovered{nginx}},
		{Host: "db1", Services: []protocol.Discovered{other}},
	}
}

// TestAFragmentIsAnInventory: our own reader takes what is drafted.
func TestAFragmentIsAnInventory(t *testing.T) {
	known := []restart.Service{{Name: "front-nginx", Unit: "nginx.service", Owners: []string{"anna", "team:web"}}}
	services := discovery.Merge(reports(), known)
	text := discovery.Fragment(services, hosts, groups, known)
	s, err := inventory.ParseYAML(text)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	if len(s.Services) != 2 || s.Services[0].Name != "front-nginx" || s.Services[0].Port != 80 || s.Services[0].Package != "nginx-common" ||
		s.Services[0].Description != nginx.Description || !slices.Equal(s.Services[0].Owners, known[0].Owners) || s.Services[1].Runtime != "jvm" {
		t.Errorf("%+v", s.Services)
	}
	if len(s.Groups) != 2 || s.Groups[0].Name != "front" || s.Groups[0].Environment != "production" || !slices.Equal(s.Groups[0].Hosts, []string{"web1", "web2"}) ||
		!slices.Equal(s.Groups[0].Services, []string{"front-nginx"}) || s.Groups[1].Name != "worker-01" || !slices.Equal(s.Groups[1].Hosts, []string{"web1", "db1"}) {
		t.Errorf("%+v", s.Groups)
	}
	if len(s.Hosts) != 3 || s.Hosts[0].Address != "10.0.0.1" || s.Hosts[0].DataCentre != "dc1" {
		t.Errorf("%+v", s.Hosts)
	}
	for _, want := range []string{"# on 2 hosts: web1, web2", "# it listens on 80, 443", "# the hosts differ", "already"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestNothingFound(t *testing.T) {
	if s, err := inventory.ParseYAML(discovery.Fragment(nil, hosts, groups, nil)); err != nil || len(s.Services) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestAServiceFileIsRead: by the agent's own reader, as it would be on a host.
func TestAServiceFileIsRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []protocol.Discovered{nginx, worker, {Name: "on", Unit: "on.service", Description: "no", User: "yes", Package: "1st"}} {
		if err := os.WriteFile(filepath.Join(dir, d.Name+".yaml"), discovery.ServiceFile(d), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := host.ReadService(dir, d.Name)
		if err != nil || s.Unit != d.Unit || s.Package != d.Package || s.User != d.User || s.Description != d.Description {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

func TestMergeKeepsTheHostsOwnName(t *testing.T) {
	listed := nginx
	listed.Name, listed.Listed = "edge", "edge"
	got := discovery.Merge([]discovery.Report{{Host: "web1", Services: []protocol.Discovered{listed}}}, []restart.Service{{Name: "front", Unit: "nginx.service"}})
	if len(got) != 1 || got[0].Name != "edge" || !got[0].Agree() {
		t.Errorf("%+v", got)
	}
}

// TestAnyFragmentIsAnInventory: whatever a host says, within the rules that a
// server has checked.
func TestAnyFragmentIsAnInventory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9][a-z0-9@_-]{0,63}`)
		var all []discovery.Report
		for i := range rapid.IntRange(1, 3).Draw(t, "hosts") {
			r := discovery.Report{Host: hosts[i].Name}
			for range rapid.IntRange(0, 4).Draw(t, "services") {
				n := name.Draw(t, "name")
				r.Services = append(r.Services, protocol.Discovered{
					Name: n, Unit: "u" + n + ".service", Description: restart.Escape(rapid.StringN(0, 40, 200).Draw(t, "description")),
					Package: rapid.SampledFrom([]string{"", "nginx", "2048", "on1"}).Draw(t, "package"),
				})
			}
			all = append(all, r)
		}
		text := discovery.Fragment(discovery.Merge(all, nil), hosts[:len(all)], groups, nil)
		if _, err := inventory.ParseYAML(text); err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
	})
}
