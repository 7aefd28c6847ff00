package scenario_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/scenarios"
)

// dumping uses every key of a dump that can stand beside the others.
const dumping = `format: 1
name: shop-dump
serial: 1
author: anna@example.com
kind: thread-dump
services: [shop]
description: Dumps of the shop
strategy: {task_timeout: 1m}
dump:
  runtime: auto
  process: {command: "java .*#service#/shop\\.jar"}
  count: 4
  interval: 2s
  timeout: 8s
  histogram: false
  virtual: false
  method: auto
  url: "http://127.0.0.1:6060/debug/pprof/goroutine"
  signal: USR1
  log: "/var/log/#service#/out.log"
  redact: ["token=[^ ]+"]
`

func TestDumpReadsEveryKey(t *testing.T) {
	got, err := scenario.Parse([]byte(dumping))
	if err != nil {
		t.Fatal(err)
	}
	want := &restart.DumpStep{
		Process: restart.ProcessRef{Command: `java .*#service#/shop\.jar`}, Count: 4, Interval: seconds(2), Timeout: seconds(8), PlatformOnly: true,
		URL: "http://127.0.0.1:6060/debug/pprof/goroutine", Signal: "USR1", Log: "/var/log/#service#/out.log", Redact: []string{"token=[^ ]+"},
	}
	if diff := cmp.Diff(want, got.Dump); diff != "" || got.Steps != (restart.Steps{}) {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	if found := scenario.Lint([]byte(dumping)); len(found) > 0 {
		t.Errorf("Lint finds %v", found)
	}
	r, err := scenario.Render(got, scenario.Facts{Service: "shop.eu", User: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	// A value is a text, also within an expression.
	if r.Dump.Process.Command != `java .*shop\.eu/shop\.jar` || r.Dump.Log != "/var/log/shop.eu/out.log" || r.RunAs != "" {
		t.Errorf("rendered for %q: %+v", r.RunAs, r.Dump)
	}
	if got.Dump.Log != "/var/log/#service#/out.log" {
		t.Errorf("Render changed the scenario: %+v", got.Dump)
	}
}

const smallDump = `format: 1
name: a
serial: 1
author: anna
kind: thread-dump
description: d
services: [a]
dump: {}
`

func TestDumpDefaults(t *testing.T) {
	got, err := scenario.Parse([]byte(smallDump))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&restart.DumpStep{Count: 3, Interval: seconds(5), Timeout: seconds(10)}, got.Dump); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	r, err := scenario.Render(got, scenario.Facts{Service: "a", Unit: "a.service"})
	if err != nil || r.Dump.Process.Unit != "a.service" {
		t.Errorf("rendered: %+v, %v", r.Dump, err)
	}
	if _, err := scenario.Render(got, scenario.Facts{Service: "a"}); restart.CodeOf(err) != restart.CodeUnknownService {
		t.Errorf("without a unit: %v", err)
	}
	if r, err = scenario.Render(restart.Scenario{Name: "a", RunAs: "shop", Dump: got.Dump}, scenario.Facts{Unit: "a.service"}); err != nil || r.RunAs != "shop" {
		t.Errorf("run_as: %q, %v", r.RunAs, err)
	}
}

func TestDumpRefuses(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"kind: thread-dump", "kind: restart", "line 9: contradiction: kind is restart, and dump is what a thread-dump scenario does"},
		{"dump:\n", "steps: {run: {script: a}}\ndump:\n", "line 9: contradiction: steps stand beside dump: a dump is taken without a script, and nothing is to be drained for it"},
		{"dump:\n", "health: {command: {script: \"id -u\"}}\ndump:\n", "line 9: contradiction: health stands beside dump: a dump changes nothing, and a service that hangs is not healthy"},
		{"dump:\n", "health: {tcp: {address: \"127.0.0.1:80\"}}\ndump:\n", "line 9: contradiction: health stands beside dump"},
		{"  runtime: auto", "  runtime: node", `line 10: value: dump.runtime is "node", which is not known`},
		{"  runtime: auto", "  kind: jvm", `line 10: unknown-key: dump has no key "kind"`},
		{"  runtime: auto", "  runtime: jvm # the shop's", "line 10: comment: a YAML comment inside dump is refused"},
		{"{command: \"java .*#service#/shop\\\\.jar\"}", "{command: \"(\"}", `line 11: value: dump.process.command: "(" is not a regular expression`},
		{"{command: \"java .*#service#/shop\\\\.jar\"}", "{command: \"a*\"}", `line 11: value: dump.process.command: "a*" matches every text, the empty one too`},
		{"{command: \"java .*#service#/shop\\\\.jar\"}", "{unit: shop.service, port: 80}", "line 11: value: dump.process must have exactly one of unit, pid_file, port and command"},
		{"{command: \"java .*#service#/shop\\\\.jar\"}", "{unit: \"#unti#\"}", "line 11: placeholder: dump.process.unit: #unti# is not a placeholder"},
		{"count: 4", "count: 21", "line 12: value: dump.count is 21; it must be from 1 to 20"},
		{"count: 4", "count: 0", "line 12: value: dump.count is 0; it must be from 1 to 20"},
		{"count: 4", "count: 20\n  interval_: 1", `line 13: unknown-key: dump has no key "interval_"`},
		{"interval: 2s", "interval: 20s", "line 12: contradiction: the series may take 1m8s and task_timeout is 1m0s"},
		{"timeout: 8s", "timeout: 16s", "line 12: contradiction: the series may take 1m4s and task_timeout is 1m0s"},
		{"timeout: 8s", "timeout: 3m", "line 14: value: dump.timeout is 3m0s; it must be from 1s to 2m0s"},
		{"method: auto", "method: gdb", `line 17: value: dump.method is "gdb", which is not known`},
		{"signal: USR1", "signal: KILL", `line 19: value: dump.signal is "KILL", which is not known`},
		{"signal: USR1", "signal: HUP", `line 19: value: dump.signal is "HUP", which is not known`},
		{"log: \"/var/log/#service#/out.log\"", "log: out.log", `line 20: value: dump.log: "out.log" is not the path of a file`},
		{"url: \"http://127.0.0.1", "url: \"ftp://127.0.0.1", `line 18: value: dump.url: "ftp://127.0.0.1:6060/debug/pprof/goroutine" is not an address to ask`},
		{"/debug/pprof/goroutine\"", "/debug/pprof/goroutine?debug=2\"", `line 18: value: dump.url: "http://127.0.0.1:6060/debug/pprof/goroutine?debug=2" asks for something by itself`},
		{"[\"token=[^ ]+\"]", "[\"[\"]", `line 21: value: dump.redact item 1: "[" is not a regular expression`},
		{"runtime: auto", "runtime: jvm", "line 18: contradiction: url has no effect on runtime jvm: it is of go"},
		{"dump:\n", "evidence: [thread-dump]\ndump:\n", "line 9: contradiction: a thread-dump scenario takes the dump itself; it can't be its own evidence"},
	} {
		if strings.Count(dumping, test.from) != 1 {
			t.Fatalf("%q stands %d times in the file", test.from, strings.Count(dumping, test.from))
		}
		found := scenario.Lint([]byte(strings.Replace(dumping, test.from, test.to, 1)))
		if len(found) == 0 || found[0].Level != scenario.LevelError {
			t.Errorf("%q → %q: found %v; want %s", test.from, test.to, found, test.want)
			continue
		}
		f := found[0]
		if !strings.HasPrefix(strings.Replace(f.String(), ": ", ": "+f.Code+": ", 1), test.want) || f.Hint == "" && f.Code == "contradiction" {
			t.Errorf("%q → %q:\n got %s (%s)\nwant %s", test.from, test.to, f, f.Code, test.want)
		}
	}
	for _, test := range []struct{ dump, want string }{
		{"method: pprof", "method is pprof, and no url says where the program answers"},
		{"runtime: python, method: attach", "method has no effect on runtime python: it is of jvm"},
		{"runtime: go, histogram: true", "histogram has no effect on runtime go: it is of jvm"},
	} {
		_, err := scenario.Parse([]byte(strings.Replace(smallDump, "{}", "{"+test.dump+"}", 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.dump, err)
		}
	}
	_, err := scenario.Parse([]byte(strings.Replace(smallDump, "dump: {}\n", "", 1)))
	if e, ok := errors.AsType[*restart.Error](err); !ok || e.Message != "steps is missing" || !strings.Contains(e.Hint, "dump: {runtime: auto}") {
		t.Errorf("neither steps nor dump: %v", err)
	}
}

func TestDumpAdvice(t *testing.T) {
	for _, test := range []struct{ from, to, want string }{
		{"{}", "{runtime: go}", "line 8: without url the goroutines can't be asked for"},
		{"{}", "{runtime: go, url: \"http://example.com/debug/pprof/goroutine\"}", "line 8: the url names another host"},
		{"{}", "{runtime: go, url: \"http://#host#:6060/debug/pprof\"}", ""},
		{"{}", "{histogram: true}", "line 8: for a histogram a JVM stands still"},
		{"services: [a]\ndump: {}", "services: [\"*\"]\ndump: {process: {port: 80}}", "line 8: the scenario fits every service, and its process is the same for all of them"},
		{"dump: {}", "run_as: root\ndump: {}", ""},
	} {
		found := scenario.Lint([]byte(strings.Replace(smallDump, test.from, test.to, 1)))
		switch {
		case test.want == "" && len(found) > 0:
			t.Errorf("%s: %v", test.to, found)
		case test.want != "" && (len(found) != 1 || found[0].Level != scenario.LevelWarning || !strings.HasPrefix(found[0].String(), test.want)):
			t.Errorf("%s: %v; want %s", test.to, found, test.want)
		}
	}
}

// TestShippedDumps: what ships says in words what it does, without a script.
func TestShippedDumps(t *testing.T) {
	for name, want := range map[string]string{
		restart.AnyDump: "runtime: found out on the host", "jvm-dump": "runtime: jvm", "process-dump": "runtime: process",
	} {
		b, err := scenarios.Files.ReadFile(name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		r, err := scenario.Render(parse(t, string(b)), scenario.Facts{Service: "shop", Unit: "shop.service", Host: "web1"})
		if err != nil || r.Dump == nil || r.Run != nil {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		if text := r.Dump.String(); !strings.HasPrefix(text, "3 thread dumps, one every 5s, of the main process of shop.service, each within 10s\n") || !strings.Contains(text, want) {
			t.Errorf("%s: %s", name, text)
		}
	}
}
