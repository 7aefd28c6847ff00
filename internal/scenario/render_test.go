package scenario_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

const rendering = `format: 1
name: a
serial: 1
author: anna
kind: restart
services: [a]
steps:
  drain: {script: "drain #host# #group#"}
  run: {script: "restart #unit# of #package#"}
  undrain: {script: "undrain #environment#-#project#"}
health:
  new_process: {pid_file: "/run/#service#.pid"}
  http: {url: "https://#host#:8443/#service#", body: "#package#"}
  tcp: {address: "#host#:80"}
  command: {script: "check #unit#"}
silence: ["#service#.down", InstanceDown]
`

var facts = scenario.Facts{Service: "shop", Package: "shop-server", Unit: "shop@1.service", User: "shop", Host: "web1.example.com",
	Group: "shop_front", Environment: "production", Project: "market"}

func parse(t *testing.T, text string) restart.Scenario {
	t.Helper()
	s, err := scenario.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRender(t *testing.T) {
	s := parse(t, rendering)
	got, err := scenario.Render(s, facts)
	if err != nil {
		t.Fatal(err)
	}
	want := scenario.Rendered{
		Drain:   &restart.Step{Script: "drain web1.example.com shop_front"},
		Run:     &restart.Step{Script: "restart shop@1.service of shop-server"},
		Undrain: &restart.Step{Script: "undrain production-market", When: "healthy"},
		Health: restart.Health{
			NewProcess: &restart.ProcessRef{PIDFile: "/run/shop.pid"},
			HTTP:       &restart.HTTPProbe{URL: "https://web1.example.com:8443/shop", Body: "shop-server"},
			TCP:        &restart.TCPProbe{Address: "web1.example.com:80"},
			Command:    &restart.CommandProbe{Script: "check shop@1.service"},
		},
		RunAs:   "shop",
		Silence: []string{"shop.down", "InstanceDown"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Render (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(parse(t, rendering), s); diff != "" {
		t.Errorf("Render changed the scenario (-want +got):\n%s", diff)
	}
}

func TestRenderPrefersTheReviewedFile(t *testing.T) {
	reviewed := rendering + "package: reviewed\nunit: reviewed.service\nuser: reviewed\n"
	got, err := scenario.Render(parse(t, reviewed), facts)
	if err != nil || got.Run.Script != "restart reviewed.service of reviewed" || got.RunAs != "reviewed" {
		t.Errorf("Render gives %+v as %s: %v", got.Run, got.RunAs, err)
	}
	got, err = scenario.Render(parse(t, reviewed+"run_as: root\n"), facts)
	if err != nil || got.RunAs != "root" {
		t.Errorf("Render runs as %q: %v", got.RunAs, err)
	}
}

// TestRenderRefuses: nothing is quoted, so nothing may need it.
func TestRenderRefuses(t *testing.T) {
	s := parse(t, rendering)
	for _, test := range []struct {
		name   string
		change func(*scenario.Facts)
		code   restart.Code
		want   string
	}{
		{"no unit", func(f *scenario.Facts) { f.Unit = "" }, restart.CodeUnknownService,
			`steps.run.script: #unit# is used, and no unit is known for service "shop" (set unit: in /etc/restartilka/services.d/shop.yaml on the host, or in the reviewed scenario)`},
		{"no package", func(f *scenario.Facts) { f.Package = "" }, restart.CodeUnknownService,
			`steps.run.script: #package# is used, and no package is known for service "shop" (set package: in /etc/restartilka/services.d/shop.yaml on the host, or in the reviewed scenario)`},
		{"no user", func(f *scenario.Facts) { f.User = "" }, restart.CodeUnknownService,
			`scenario a runs as the service's own user, and none is known for service "shop" (set user: in /etc/restartilka/services.d/shop.yaml on the host, or user: or run_as: in the reviewed scenario)`},
		{"no host", func(f *scenario.Facts) { f.Host = "" }, restart.CodeInvalid,
			`steps.drain.script: #host# is used, and no host is known for service "shop" (set host: in /etc/restartilka/agent.yaml on the host)`},
		{"no group", func(f *scenario.Facts) { f.Group = "" }, restart.CodeInvalid,
			`steps.drain.script: #group# is used, and no group is known for service "shop" (ask with --group; a run over --hosts has no group)`},
		{"unit of a shell", func(f *scenario.Facts) { f.Unit = "a;reboot.service" }, restart.CodeInvalid, ""},
		{"unit as an option", func(f *scenario.Facts) { f.Unit = "-a.service" }, restart.CodeInvalid, ""},
		{"package of a shell", func(f *scenario.Facts) { f.Package = "$(reboot)" }, restart.CodeInvalid, ""},
		{"group of two lines", func(f *scenario.Facts) { f.Group = "a\nreboot" }, restart.CodeInvalid, ""},
		{"environment with a space", func(f *scenario.Facts) { f.Environment = "a b" }, restart.CodeInvalid, ""},
		{"project with a placeholder", func(f *scenario.Facts) { f.Project = "#unit#" }, restart.CodeInvalid, ""},
		{"service above", func(f *scenario.Facts) { f.Service = "../a" }, restart.CodeInvalid, ""},
		{"host in capitals", func(f *scenario.Facts) { f.Host = "WEB1" }, restart.CodeInvalid, ""},
		{"user of a shell", func(f *scenario.Facts) { f.User = "root;x" }, restart.CodeInvalid, ""},
	} {
		f := facts
		test.change(&f)
		_, err := scenario.Render(s, f)
		if restart.CodeOf(err) != test.code || (test.want != "" && err.Error() != test.want) {
			t.Errorf("%s: %s, %v", test.name, restart.CodeOf(err), err)
		}
	}
	// what only the host's facts make wrong
	twice := strings.Replace(rendering, `pid_file: "/run/#service#.pid"`, `unit: "#package#.service"`, 1)
	f := facts
	f.Package = "a+b"
	if _, err := scenario.Render(parse(t, twice), f); restart.CodeOf(err) != restart.CodeInvalid || !strings.HasPrefix(err.Error(), "health.new_process.unit: unit") {
		t.Errorf("a unit that is none: %v", err)
	}
}

func TestRenderIgnoresFactsThatAreNotUsed(t *testing.T) {
	s := parse(t, small)
	got, err := scenario.Render(s, scenario.Facts{User: "shop"})
	if err != nil || got.Run.Script != "true" || got.Drain != nil || !got.Health.Empty() {
		t.Errorf("Render gives %+v, %v", got, err)
	}
}

var placeholderLeft = regexp.MustCompile(`#[A-Za-z][A-Za-z0-9_-]*#`)

// TestRenderedScripts: whatever facts and whatever script, what comes out is
// refused, or holds no placeholder and nothing outside the values' alphabets.
func TestRenderedScripts(t *testing.T) {
	words := []string{"unit", "package", "service", "host", "group", "environment", "project"}
	name := rapid.OneOf(rapid.StringMatching(`[a-z0-9][a-z0-9@._-]{0,12}`), rapid.StringMatching(`[a-z#$;. "'-]{0,6}`))
	rapid.Check(t, func(t *rapid.T) {
		f := scenario.Facts{
			Service: name.Draw(t, "service"), Package: name.Draw(t, "package"), Unit: name.Draw(t, "unit") + ".service", User: "shop",
			Host: name.Draw(t, "host"), Group: name.Draw(t, "group"), Environment: name.Draw(t, "environment"), Project: name.Draw(t, "project"),
		}
		piece := rapid.OneOf(
			rapid.Map(rapid.SampledFrom(words), func(w string) string { return "#" + w + "#" }),
			rapid.SampledFrom([]string{"#", "##", " ", "a", "-", "\n", "${x##*/}", "#x", "x#", "#unti#", "unit"}),
		)
		text := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "script"), "")
		s := restart.Scenario{Name: "a", Steps: restart.Steps{Run: &restart.Step{Script: text}}}
		r, err := scenario.Render(s, f)
		if err != nil {
			if restart.CodeOf(err) == restart.CodeInternal {
				t.Fatalf("not an error for people: %v", err)
			}
			return
		}
		if left := placeholderLeft.FindString(r.Run.Script); left != "" {
			t.Fatalf("%q left in %q, rendered from %q", left, r.Run.Script, text)
		}
		for word, check := range map[string]error{
			"unit": restart.CheckUnit(f.Unit), "package": restart.CheckPackage(f.Package), "service": restart.CheckServiceName(f.Service), "host": restart.CheckHost(f.Host),
			"group": restart.CheckGroupName(f.Group), "environment": restart.CheckEnvironment(f.Environment), "project": restart.CheckProject(f.Project),
		} {
			if strings.Contains(text, "#"+word+"#") && check != nil {
				t.Fatalf("rendered %q from %q with %v", r.Run.Script, text, check)
			}
		}
		want := strings.NewReplacer("#unit#", f.Unit, "#package#", f.Package, "#service#", f.Service, "#host#", f.Host, "#group#", f.Group,
			"#environment#", f.Environment, "#project#", f.Project).Replace(text)
		if r.Run.Script != want {
			t.Fatalf("rendered %q from %q, want %q", r.Run.Script, text, want)
		}
	})
}
