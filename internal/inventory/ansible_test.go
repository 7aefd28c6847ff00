package inventory

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
)

func twoServices(t testing.TB) described {
	d, err := parseServices([]byte("services: [{name: nginx}, {name: postgresql}]\ngroups: [{name: db, environment: production, services: [postgresql]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The file was written by ansible-inventory 2.14 --list.
func TestAnsibleFile(t *testing.T) {
	b, err := os.ReadFile("testdata/ansible-inventory-2.14.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseAnsible(b, twoServices(t))
	if err != nil {
		t.Fatal(err)
	}
	nginx := []string{"nginx"}
	want := Snapshot{
		Services: []restart.Service{{Name: "nginx"}, {Name: "postgresql"}},
		Groups: []restart.Group{
			{Name: "db", Environment: "production", Services: []string{"postgresql"}, Hosts: []string{"db1.example.com"}},
			{Name: "ungrouped", Hosts: []string{"lonely.example.com"}},
			{Name: "web", Project: "shop", Services: nginx, Hosts: []string{"web01.test.example.com", "web02.test.example.com", "web1.example.com", "web2.example.com"}},
			{Name: "web_production", Project: "shop", Environment: "production", Services: nginx, Hosts: []string{"web1.example.com", "web2.example.com"}},
			{Name: "web_testing", Project: "shop", Environment: "testing", Services: nginx, Hosts: []string{"web01.test.example.com", "web02.test.example.com"}},
		},
		Hosts: []restart.Host{
			{Name: "lonely.example.com"},
			{Name: "web01.test.example.com"},
			{Name: "web02.test.example.com"},
			{Name: "web1.example.com", Address: "10.0.1.1", DataCentre: "dc1", Tags: []string{"canary"}},
			{Name: "web2.example.com", Address: "10.0.1.2", DataCentre: "dc2"},
			{Name: "db1.example.com"},
		},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	g, err := newView(s).groupFor("nginx", "testing", "")
	if err != nil || g.Name != "web_testing" {
		t.Errorf("group of nginx in testing: %q, %v", g.Name, err)
	}
}

func TestAnsibleMaps(t *testing.T) {
	for name, c := range map[string]struct {
		json    string
		hosts   string // "name address dc tag,tag; …"
		groups  string // "name project environment service,service: host host; …"
		problem string // words of it
	}{
		"empty":           {`{}`, "", "", ""},
		"real names":      {`{"g":{"hosts":["A","b_1"]},"_meta":{"hostvars":{"b_1":{"restartilka_host":"b1.example.com","restartilka_address":"10.0.0.1","ansible_host":"10.0.0.2"}}}}`, "a; b1.example.com 10.0.0.1", "g: a b1.example.com", ""},
		"left out":        {`{"g":{"hosts":["a","b_1"]},"G H":{"hosts":["a"]}}`, "a", "g: a", `host "b_1" is not a valid name`},
		"bad values":      {`{"g":{"hosts":["a"]},"_meta":{"hostvars":{"a":{"restartilka_data_centre":"x y","restartilka_tags":["ok","not ok",7],"ansible_host":"{{ ip }}","restartilka_environment":"{{ e }}"}}}}`, "a ok,7", "g: a", "ansible_host of a is not an address"},
		"bad address":     {`{"g":{"hosts":["a"]},"_meta":{"hostvars":{"a":{"restartilka_address":"10.0.0.1:80"}}}}`, "", "g", "left out host a"},
		"unknown service": {`{"g":{"hosts":["a"]},"_meta":{"hostvars":{"a":{"restartilka_services":["ngnix","nginx"]}}}}`, "a", "g nginx: a", `left out service "ngnix"`},
		"not on all":      {`{"g":{"hosts":["a","b"]},"_meta":{"hostvars":{"a":{"restartilka_services":"nginx","restartilka_project":"p"}}}}`, "a; b", "g: a b", ""},
		"the meant group": {`{"g":{"hosts":["a"]},"h":{"hosts":["a"]},"_meta":{"hostvars":{"a":{"restartilka_services":"nginx","restartilka_group":"h"}}}}`, "a", "g: a; h nginx: a", ""},
		"described":       {`{"db":{"hosts":["a"]}}`, "a", "db production postgresql: a", ""},
		"described, gone": {`{}`, "", "", "the services file describes group db"},
		"order of all":    {`{"all":{"children":["z","y"]},"y":{"hosts":["c","a"]},"z":{"hosts":["b","c"]},"_meta":{"hostvars":{"d":{}}}}`, "b; c; a; d", "y: c a; z: b c", ""},
		"export":          {`{"g":{"hosts":["a"],"vars":{"restartilka_services":["nginx"]}}}`, "a", "g: a", "without --export"},
	} {
		t.Run(name, func(t *testing.T) {
			d := twoServices(t)
			if !strings.HasPrefix(name, "described") {
				d.groups = nil
			}
			s, err := parseAnsible([]byte(c.json), d)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkSnapshot(s); err != nil {
				t.Fatal(err)
			}
			var hosts, groups []string
			for _, h := range s.Hosts {
				hosts = append(hosts, strings.Join(strings.Fields(h.Name+" "+h.Address+" "+h.DataCentre+" "+strings.Join(h.Tags, ",")), " "))
			}
			for _, g := range s.Groups {
				line := strings.Join(strings.Fields(g.Name+" "+g.Project+" "+g.Environment+" "+strings.Join(g.Services, ",")), " ")
				if len(g.Hosts) > 0 {
					line += ": " + strings.Join(g.Hosts, " ")
				}
				groups = append(groups, line)
			}
			if got := strings.Join(hosts, "; "); got != c.hosts {
				t.Errorf("hosts %q, want %q", got, c.hosts)
			}
			if got := strings.Join(groups, "; "); got != c.groups {
				t.Errorf("groups %q, want %q", got, c.groups)
			}
			if !strings.Contains(s.Problem, c.problem) || (c.problem == "") != (s.Problem == "") {
				t.Errorf("problem %q, want %q", s.Problem, c.problem)
			}
		})
	}
}

func TestAnsibleRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "not the JSON",
		"all:\n  hosts:":      "not the JSON",
		"[]":                  "not the JSON",
		`{"g":{"hosts":"a"}}`: `section "g"`,
		`{"_meta":[]}`:        `section "_meta"`,
		`{"a":{"children":["b"]},"b":{"children":["a"]}}`: "holds itself",
		`{"g":{"hosts":["A","a"]}}`:                       "are both a",
		`{"g":{},"G":{}}`:                                 "differ in case only",
	} {
		if _, err := parseAnsible([]byte(text), described{}); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzAnsible(f *testing.F) {
	b, err := os.ReadFile("testdata/ansible-inventory-2.14.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"a":{"hosts":["x"],"children":["b"]},"b":{"children":["a"]},"_meta":{"hostvars":{"x":{"restartilka_services":1,"restartilka_tags":{}}}}}`)
	f.Add(`{"g":{"hosts":["a","B_1"],"vars":{}},"all":{"children":["g","G"]}}`)
	f.Add(`{"_meta":{"hostvars":{"a":{"restartilka_host":"b","ansible_host":"::1","restartilka_group":["g"]}}}}`)
	d := twoServices(f)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseAnsible([]byte(text), d)
		checkParsed(t, s, err)
	})
}
