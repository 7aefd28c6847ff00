package inventory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestYAMLRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown section":        {"servces:\n- name: nginx\n", `line 1: unknown key "servces" (did you mean services?)`},
		"unknown key":            {"services:\n- name: nginx\n  prot: 80\n", `line 3: unknown key "prot" (did you mean port`},
		"key twice":              {"services:\n- name: nginx\n  port: 80\n  port: 81\n", "line 4: "},
		"broken":                 {"services:\n- name: [\n", "line "},
		"a tab":                  {"services:\n\t- name: x\n", "line 2: "},
		"a word":                 {"services: nginx\n", "line 1: "},
		"port is a word":         {"services:\n- name: nginx\n  port: http\n", `line 3: "http" is not what belongs here (a whole number)`},
		"port too high":          {"services:\n- name: a\n- name: nginx\n  port: 70000\n", "line 3: port 70000"},
		"two documents":          {"services: []\n---\nservices: []\n", "line "},
		"alias":                  {"hosts: &h\n- name: a\ngroups: *h\n", "line 3: aliases"},
		"service name":           {"services:\n- name: ../../etc/cron.d/x\n", "line 2: service"},
		"option as a name":       {"services:\n- name: -rf\n", "line 2: service"},
		"no name":                {"services:\n- port: 80\n", `line 2: service "" is not a valid name`},
		"service twice":          {"services:\n- name: a\n- name: a\n", "line 3: service a is there already, in line 2"},
		"package":                {"services:\n- {name: a, package: UPPER}\n", "line 2: package"},
		"unit":                   {"services:\n- {name: a, unit: nginx}\n", "line 2: unit"},
		"runtime":                {"services:\n- {name: a, runtime: java}\n", "jvm, go, python, process"},
		"project":                {"services:\n- {name: a, project: A}\n", "line 2: project"},
		"an owner with capitals": {"services:\n- {name: a, owners: [Anna]}\n", "user names have no capitals: anna; a team: team:Anna"},
		"owner":                  {"services:\n- {name: a, owners: [\"x y\"]}\n", "line 2: owner"},
		"description":            {"services:\n- name: a\n  description: \"a\\nb\"\n", "line 2: the description"},
		"host name":              {"hosts:\n- name: Web1\n", "line 2: host"},
		"host twice":             {"hosts:\n- name: web1\n- name: web[1-3]\n", "line 3: host web1 is there already, in line 2"},
		"address":                {"hosts:\n- {name: web1, address: \"10.0.0.1:80\"}\n", "line 2: address"},
		"address of a range":     {"hosts:\n- {name: \"web[1-3]\", address: 10.0.0.1}\n", "line 2: "},
		"data centre":            {"hosts:\n- {name: web1, data_centre: \"a@b\"}\n", "line 2: data centre"},
		"tag":                    {"hosts:\n- {name: web1, tags: [\"a,b\"]}\n", "line 2: tag"},
		"range too long":         {"hosts:\n- name: web[1-20000]\n", "line 2: the ranges give more than 10000"},
		"group name":             {"groups:\n- name: a@b\n", "line 2: group"},
		"group all":              {"groups:\n- name: all\n", "line 2: group"},
		"group twice":            {"groups:\n- name: a\n- name: a\n", "line 3: group a is there already, in line 2"},
		"environment":            {"groups:\n- {name: a, environment: Testing}\n", "line 2: environment"},
		"group's dc":             {"groups:\n- {name: a, data_centre: \"#\"}\n", "line 2: data centre"},
		"unknown service":        {"services:\n- name: nginx\ngroups:\n- name: a\n  services:\n  - ngnix\n", `line 6: group a names an unknown service "ngnix" (did you mean nginx?)`},
		"service in it twice":    {"services:\n- name: nginx\ngroups:\n- name: a\n  services: [nginx, nginx]\n", "line 5: group a names service nginx twice"},
		"unknown host":           {"hosts:\n- name: web1\ngroups:\n- name: a\n  hosts:\n  - web1\n  - wbe1\n", `line 7: group a names a host that the hosts section does not list: "wbe1" (did you mean web1?)`},
		"unknown group":          {"groups:\n- name: a\n  children:\n  - b\n", `line 4: group a names an unknown group "b"`},
		"holds itself":           {"groups:\n- name: a\n  children: [a]\n", "line 2: group a holds itself: a, a"},
		"holds itself by way":    {"groups:\n- {name: a, children: [b]}\n- {name: b, children: [c]}\n- {name: c, children: [a]}\n", "holds itself: a, b, c, a"},
		"two data centres":       {"hosts:\n- {name: web1, data_centre: dc1}\ngroups:\n- {name: a, hosts: [web1], data_centre: dc2}\n", "line 4: host web1 is in two data centres: dc2 here, and dc1 by line 2"},
		"two by groups":          {"hosts:\n- {name: web1}\ngroups:\n- {name: a, hosts: [web1], data_centre: dc1}\n- {name: b, children: [a], data_centre: dc2}\n", "line 5: host web1 is in two data centres: dc2 here, and dc1 by line 4"},
		"nested without bound":   {"groups:\n" + chain(40), "nested more than 32 deep"},
		"invalid UTF-8":          {"services:\n- name: \xff\xfe\n", "line"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseYAML([]byte(c.text))
			if restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want: %s", err, c.want)
			}
			if s.Hosts != nil || s.Groups != nil || s.Services != nil {
				t.Error("a part of it is believed")
			}
		})
	}
	if _, err := ParseYAML(make([]byte, largestYAML+1)); restart.CodeOf(err) != restart.CodeTooLarge {
		t.Errorf("too large: %v", err)
	}
}

// chain is n groups, each in the one before.
func chain(n int) string {
	var b strings.Builder
	for i := range n {
		name := strings.Repeat("x", i+1)
		b.WriteString("- {name: " + name + ", children: [" + name + "x]}\n")
	}
	b.WriteString("- {name: " + strings.Repeat("x", n+1) + "}\n")
	return b.String()
}

func TestYAMLNests(t *testing.T) {
	s, err := ParseYAML([]byte(`
groups:
  - name: both
    children: [second, first]
    hosts: [web3]
  - {name: first, hosts: ["web[1-2]"], data_centre: dc1}
  - {name: second, hosts: [web2, web3]}
hosts:
  - {name: "web[1-3]", tags: [x]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Snapshot{
		Groups: []restart.Group{
			{Name: "both", Hosts: []string{"web3", "web2", "web1"}, Services: []string{}},
			{Name: "first", Hosts: []string{"web1", "web2"}, Services: []string{}},
			{Name: "second", Hosts: []string{"web2", "web3"}, Services: []string{}},
		},
		Hosts: []restart.Host{
			{Name: "web1", DataCentre: "dc1", Tags: []string{"x"}},
			{Name: "web2", DataCentre: "dc1", Tags: []string{"x"}},
			{Name: "web3", Tags: []string{"x"}},
		},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestServicesFileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"hosts:\n- name: web1\n":                    "line 2: a services file has no hosts section",
		"groups:\n- {name: a, hosts: [web1]}\n":     "line 2: group \"a\" has hosts",
		"groups:\n- {name: a, children: [b]}\n":     "line 2: group",
		"groups:\n- {name: a, data_centre: dc1}\n":  "line 2: group",
		"groups:\n- {name: a, services: [nginx]}\n": "line 2: group a names an unknown service",
	} {
		if _, err := parseServices([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// A snapshot that a parser gives holds every rule, whatever the bytes were.
func FuzzYAML(f *testing.F) {
	f.Add("services:\n- {name: nginx, port: 80, owners: [a]}\ngroups:\n- {name: g, hosts: ['web[1-3]'], services: [nginx]}\nhosts:\n- {name: 'web[1-3]'}\n")
	f.Add("groups:\n- {name: a, children: [b]}\n- {name: b, children: [a]}\n")
	f.Add("hosts: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseYAML([]byte(text))
		checkParsed(t, s, err)
	})
}

func checkParsed(t *testing.T, s Snapshot, err error) {
	if err == nil {
		err = checkSnapshot(s)
	} else if code := restart.CodeOf(err); code == restart.CodeInvalid || code == restart.CodeTooLarge || code == restart.CodeUnavailable {
		return
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
}
