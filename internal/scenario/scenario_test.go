package scenario_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/scenarios"
)

// whole uses every key of the format.
const whole = `# a comment here is fine
---
format: 1
name: nginx-restart
serial: 3
author: anna@example.com
kind: restart
services: [nginx, "shop-*"]
description: Restart nginx, out of the balancer while it is down
package: nginx-light
unit: nginx.service
user: www-data
run_as: root
shell: /bin/bash
params:
  mode: {type: enum, values: [soft, on, 1.10], default: soft, description: how}
  count: {type: int, min: -1, max: 10}
  wait: {type: duration, default: 90s}
  force: {type: bool, default: false}
  label: {type: string, max_length: 20}
strategy:
  order: by:datacenter
  batches: [1, 2, "25%"]
  when_down: {batches: [50%]}
  pause_between: 5s
  hold_after_first: true
  min_available: 50%
  max_failures: 2
  on_failure: abort
  task_timeout: 6m
evidence: [{journal: 300}, process]
steps:
  drain: {script: "touch /run/drain-#package#"}
  run:
    script: |
      # a comment of the shell
      echo "$PARAM_MODE $PARAM_COUNT $PARAM_WAIT" '# no comment either' # nor this
      systemctl restart #unit#
      echo "${PARAM_FORCE}" "$PARAM_LABEL"
  undrain: {script: 'rm -f /run/drain-#package#', when: always}

# between sections is fine
health:
  new_process: {unit: "#unit#"}
  http: {url: "http://127.0.0.1:8080/#service#", status: 204, body: "ok # not a comment", timeout: 2s}
  tcp: {address: "[::1]:80", timeout: 1s}
  command: {script: "test -e /run/#service#", timeout: 3s}
  healthy_for: 10s
  deadline: 2m
  interval: 500ms
# and so is this
silence: [InstanceDown, "#service#Slow"] # and this
holds: group
expires: 2999-12-31
`

func seconds(n float64) restart.Duration { return restart.Duration(n * float64(time.Second)) }

func TestParseReadsEveryKey(t *testing.T) {
	got, err := scenario.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := restart.Scenario{
		Digest: scenario.Digest([]byte(whole)), Format: 1, Name: "nginx-restart", Serial: 3, Author: "anna@example.com", Kind: restart.KindRestart,
		Services: []string{"nginx", "shop-*"}, Description: "Restart nginx, out of the balancer while it is down",
		Package: "nginx-light", Unit: "nginx.service", User: "www-data", RunAs: "root", Shell: "/bin/bash",
		Params: []restart.Param{
			{Name: "mode", Type: "enum", Values: []string{"soft", "on", "1.10"}, Default: new("soft"), Description: "how"},
			{Name: "count", Type: "int", Min: new(int64(-1)), Max: new(int64(10))},
			{Name: "wait", Type: "duration", Default: new("1m30s")},
			{Name: "force", Type: "bool", Default: new("false")},
			{Name: "label", Type: "string", MaxLength: 20},
		},
		Strategy: restart.Strategy{
			Order: "by:datacenter", Batches: []restart.Amount{{Count: 1}, {Count: 2}, {Percent: 25}}, WhenDown: []restart.Amount{{Percent: 50}},
			PauseBetween: seconds(5), HoldAfterFirst: true, MinAvailable: "50%", MaxFailures: 2, OnFailure: "abort", TaskTimeout: seconds(360),
		},
		Holds:    restart.HoldsGroup,
		Expires:  time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC),
		Evidence: []restart.Evidence{{Kind: "journal", Lines: 300}, {Kind: "process"}},
		Steps: restart.Steps{
			Drain: &restart.Step{Script: "touch /run/drain-#package#"},
			Run: &restart.Step{Script: "# a comment of the shell\necho \"$PARAM_MODE $PARAM_COUNT $PARAM_WAIT\" '# no comment either' # nor this\n" +
				"systemctl restart #unit#\necho \"${PARAM_FORCE}\" \"$PARAM_LABEL\"\n"},
			Undrain: &restart.Step{Script: "rm -f /run/drain-#package#", When: "always"},
		},
		Health: restart.Health{
			NewProcess: &restart.ProcessRef{Unit: "#unit#"},
			HTTP:       &restart.HTTPProbe{URL: "http://127.0.0.1:8080/#service#", Status: 204, Body: "ok # not a comment", Timeout: seconds(2)},
			TCP:        &restart.TCPProbe{Address: "[::1]:80", Timeout: seconds(1)},
			Command:    &restart.CommandProbe{Script: "test -e /run/#service#", Timeout: seconds(3)},
			HealthyFor: seconds(10), Deadline: seconds(120), Interval: seconds(.5),
		},
		Silence: []string{"InstanceDown", "#service#Slow"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	if found := scenario.Lint([]byte(whole)); len(found) > 0 {
		t.Errorf("Lint finds %v", found)
	}
}

// small is the least that is a scenario.
const small = `format: 1
name: a
serial: 1
author: anna
kind: restart
services: [a]
steps: {run: {script: "true"}}
`

func TestParseFillsInDefaults(t *testing.T) {
	got, err := scenario.Parse([]byte(small + "evidence: [journal]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := restart.Strategy{Order: "inventory", Batches: []restart.Amount{{Count: 1}}, OnFailure: "pause", TaskTimeout: seconds(300)}
	if diff := cmp.Diff(want, got.Strategy); diff != "" {
		t.Errorf("Strategy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]restart.Evidence{{Kind: "journal", Lines: 200}}, got.Evidence); diff != "" {
		t.Errorf("Evidence (-want +got):\n%s", diff)
	}
}

// with gives whole with one stretch of it replaced, so that every refusal is
// tested in a file that is right otherwise.
func with(t *testing.T, from, to string) string {
	t.Helper()
	if strings.Count(whole, from) != 1 {
		t.Fatalf("%q stands %d times in the whole scenario", from, strings.Count(whole, from))
	}
	return strings.Replace(whole, from, to, 1)
}

func TestLintRefuses(t *testing.T) {
	for _, test := range []struct {
		from, to string
		want     string // of the first finding
	}{
		// the text itself
		{"anna@example.com", "anna\x00", "line 6: text: the file holds a NUL byte"},
		{"anna@example.com", "anna\xff", "line 6: text: the byte 0xff is not UTF-8 text"},
		{"anna@example.com", "anna\u202e", "line 6: text: the character U+202E can't be shown to a reviewer"},
		{"anna@example.com", "anna\u00a0b", "line 6: text: the character U+00A0 can't be shown to a reviewer"},
		{"anna@example.com\n", "anna\r\n", "line 6: text: the line ends as in Windows (CR LF)"},
		{"# a comment here is fine\n---", "\ufeff---", "line 1: text: the file begins with a byte order mark"},
		{"anna@example.com", `"anna\u202e"`, `line 6: text: author holds a character that can't be shown: "anna\u{202e}"`},
		{"test -e /run/#service#", `test \0`, `line 47: text: health.command.script holds a character that can't be shown: "test \x00"`},
		// YAML that hides something
		{"# a comment here is fine", "%YAML 1.1", "line 1: structure: YAML directives are not read"},
		{"silence: [InstanceDown", "---\nsilence: [InstanceDown", "line 52: structure: a second document begins here"},
		{"[nginx, \"shop-*\"]", "&x [nginx]", "line 8: structure: the anchor &x is not read"},
		{"user: www-data", "<<: {a: b}", "line 12: type: a key of the scenario is not a plain word"},
		{"user: www-data", "? [a]\n: b", "line 12: type: a key of the scenario is not a plain word"},
		{"  mode: {type: enum", `  "mo\u202ede": {type: enum`, "line 16: type: a key of params is not a plain word"},
		{"  mode: {type: enum", "  " + strings.Repeat("m", 101) + ": {type: enum", "line 16: type: a key of params is not a plain word"},
		{"restart #unit#", "restart #" + strings.Repeat("u", 50) + "#", "line 38: placeholder: steps.run.script: #" + strings.Repeat("u", 40) + "…# is not a placeholder"},
		{"author: anna@example.com", "author: !!str 5", "line 6: structure: YAML tags (!…) are not read"},
		{"author: anna@example.com", "author: ! 5", "line 6: structure: YAML tags (!…) are not read"},
		{"evidence: [{journal: 300}, process]", "evidence: !!seq [process]", "line 31: structure: YAML tags (!…) are not read"},
		{"params:\n", "params: !!map\n", "line 15: structure: YAML tags (!…) are not read"},
		{"shell: /bin/bash", "shell: [", "line 16: syntax: this is not YAML: did not find expected ',' or ']'"},
		{"  order: by:datacenter", "\torder: by:datacenter", "line 22: syntax: this is not YAML: found character that cannot start any token"},
		// the day
		{"expires: 2999-12-31", "expires: 2027-02-29", `line 54: value: expires is "2027-02-29", which is no day`},
		{"expires: 2999-12-31", "expires: tomorrow", `line 54: value: expires is "tomorrow", which is no day`},
		{"expires: 2999-12-31", "expires: 2027-03-31T00:00:00Z", `line 54: value: expires is "2027-03-31T00:00:00Z", which is no day`},
		{"expires: 2999-12-31", "expires:", "line 54: value: expires has no value"},
		// keys
		{"shell: /bin/bash", "shel: /bin/bash", `line 14: unknown-key: the scenario has no key "shel"`},
		{"  interval: 500ms", "  retries: 3", `line 50: unknown-key: health has no key "retries"`},
		{"  drain: {script: ", "  drain: {when: always, script: ", `line 33: unknown-key: steps.drain has no key "when"`},
		{"user: www-data", "name: other", `line 12: duplicate-key: "name" stands twice; first on line 4`},
		{"status: 204,", "status: 204, status: 205,", `line 45: duplicate-key: "status" stands twice; first on line 45`},
		{"serial: 3\n", "", "line 0: missing: serial is missing"},
		{"type: bool, ", "", "line 19: missing: params.force.type is missing"},
		// values
		{"format: 1", "format: 2", "line 3: value: format is 2; this program reads format 1"},
		{"format: 1", "format: 0", "line 3: value: format must be 1"},
		{"serial: 3", "serial: 0", "line 5: value: serial is 0; it must be from 1 to 1000000000"},
		{"serial: 3", "serial: 0x10", `line 5: type: serial must be a whole number, and "0x10" is not one`},
		{"serial: 3", `serial: "3"`, `line 5: type: serial must be a whole number, and "3" is not one`},
		{"name: nginx-restart", "name: ../../etc/cron.d/x", `line 4: value: name: scenario "../../etc/cron.d/x" is not a valid name`},
		{"name: nginx-restart", "name: -rf", `line 4: value: name: scenario "-rf" is not a valid name`},
		{"name: nginx-restart", "name: 2024", `line 4: type: name must be text, and "2024" is not, for YAML`},
		{"name: nginx-restart", "name:", "line 4: value: name has no value"},
		{"name: nginx-restart", "name: [a]", "line 4: type: name must be one value"},
		{"kind: restart", "kind: restat", `line 7: value: kind is "restat", which is not known`},
		{`[nginx, "shop-*"]`, "[]", "line 8: value: services has 0 items; it must have from 1 to 1000"},
		{`[nginx, "shop-*"]`, "nginx", "line 8: type: services must be a list"},
		{`[nginx, "shop-*"]`, "\n  - nginx\n  - nginx", `line 10: value: services item 2 repeats "nginx"`},
		{`[nginx, "shop-*"]`, `["[a"]`, `line 8: value: services item 1: "[a" is not a pattern of service names`},
		{"shell: /bin/bash", "shell: bash", `line 14: value: shell: "bash" is not the path of a program`},
		{"shell: /bin/bash", "shell: /bin/bash -x", `line 14: value: shell: "/bin/bash -x" is not the path of a program`},
		{"run_as: root", `run_as: "#user#"`, `line 13: value: run_as: user "#user#" is not a valid name`},
		{"order: by:datacenter", "order: invntory", `line 22: value: strategy.order is "invntory", which is not known`},
		{`[1, 2, "25%"]`, "[0]", `line 23: value: strategy.batches item 1: "0" is out of range`},
		{`[1, 2, "25%"]`, "[1, 200%]", `line 23: value: strategy.batches item 2: "200%" is out of range`},
		{`[1, 2, "25%"]`, "[half]", `line 23: value: strategy.batches item 1: "half" is not a number of hosts`},
		{`[1, 2, "25%"]`, "[-1]", `line 23: value: strategy.batches item 1: "-1" is not a number of hosts`},
		{`[1, 2, "25%"]`, "[0%]", `line 23: value: strategy.batches item 1: "0%" is out of range`},
		{`[1, 2, "25%"]`, "[101%]", `line 23: value: strategy.batches item 1: "101%" is out of range`},
		{`[1, 2, "25%"]`, "[]", "line 23: value: strategy.batches has 0 items; it must have from 1 to 100"},
		{`[1, 2, "25%"]`, "1", "line 23: type: strategy.batches must be a list"},
		{`[1, 2, "25%"]`, "", "line 23: value: strategy.batches has no value"},
		{"[50%]", "[]", "line 24: value: strategy.when_down.batches has 0 items; it must have from 1 to 100"},
		{"[50%]", "[0]", `line 24: value: strategy.when_down.batches item 1: "0" is out of range`},
		{"[50%]", "[-5]", `line 24: value: strategy.when_down.batches item 1: "-5" is not a number of hosts`},
		{"[50%]", "[200%]", `line 24: value: strategy.when_down.batches item 1: "200%" is out of range`},
		{"pause_between: 5s", "pause_between: -5s", "line 25: value: strategy.pause_between is -5s; it must be from 0s to 24h0m0s"},
		{"pause_between: 5s", "pause_between: 25h", "line 25: value: strategy.pause_between is 25h0m0s; it must be from 0s to 24h0m0s"},
		{"min_available: 50%", "min_available: 0", `line 27: value: strategy.min_available: min_available "0" is not understood`},
		{"min_available: 50%", "min_available: 120%", `line 27: value: strategy.min_available: min_available "120%" is not understood`},
		{"min_available: 50%", "min_available: -1", `line 27: value: strategy.min_available: min_available "-1" is not understood`},
		{"min_available: 50%", "min_available: N+1", `line 27: value: strategy.min_available: min_available "N+1" is not understood`},
		{"max_failures: 2", "max_failures: -1", "line 28: value: strategy.max_failures is -1; it must be from 0 to 1000000"},
		{"max_failures: 2", "max_failures: 50%", `line 28: type: strategy.max_failures must be a whole number, and "50%" is not one`},
		{"task_timeout: 6m", "task_timeout: 25h", "line 30: value: strategy.task_timeout is 25h0m0s; it must be from 1s to 24h0m0s"},
		{"deadline: 2m", "deadline: 0s", "line 49: value: health.deadline is 0s; it must be from 1s to 24h0m0s"},
		{"{batches: [50%]}", "{}", "line 24: missing: strategy.when_down.batches is missing"},
		{"hold_after_first: true", "hold_after_first: yes", `line 26: type: strategy.hold_after_first must be true or false, and "yes" is neither`},
		{"min_available: 50%", "min_available: N-x", `line 27: value: strategy.min_available: min_available "N-x" is not understood`},
		{"on_failure: abort", "on_failure: retry", `line 29: value: strategy.on_failure is "retry", which is not known`},
		{"task_timeout: 6m", "task_timeout: 6", `line 30: type: strategy.task_timeout must be a duration, and "6" is not one`},
		{"task_timeout: 6m", "task_timeout: 0s", "line 30: value: strategy.task_timeout is 0s; it must be from 1s to 24h0m0s"},
		{"task_timeout: 6m", "task_timeout: -6m", "line 30: value: strategy.task_timeout is -6m0s; it must be from 1s to 24h0m0s"},
		{"{journal: 300}, process", "{journal: 300, process: true}", "line 31: value: evidence item 1 must name one kind of evidence"},
		{"{journal: 300}, process", "journal, {journal: 9}", "line 31: value: evidence item 2 asks for journal a second time"},
		{"{journal: 300}, process", "heap", `line 31: value: evidence item 1 is "heap", which is not known`},
		{"when: always", "when: never", `line 40: value: steps.undrain.when is "never", which is not known`},
		{`'rm -f /run/drain-#package#'`, "''", "line 40: value: steps.undrain.script is empty"},
		{`new_process: {unit: "#unit#"}`, "new_process: {}", "line 44: value: health.new_process must have exactly one of unit, pid_file and port"},
		{`new_process: {unit: "#unit#"}`, "new_process: {port: 99999}", `line 44: value: health.new_process.port: "99999" is not a port`},
		{`new_process: {unit: "#unit#"}`, "new_process: {pid_file: run/x}", `line 44: value: health.new_process.pid_file: "run/x" is not the path of a file`},
		{`new_process: {unit: "#unit#"}`, `new_process: {unit: "#package#"}`, `line 44: value: health.new_process.unit: unit "nginx-light" is not a valid name`},
		{"http://127.0.0.1:8080/", "ftp://127.0.0.1/", `line 45: value: health.http.url: "ftp://127.0.0.1/sample" is not an address to ask`},
		{"http://127.0.0.1:8080/", "http://u:p@127.0.0.1/", `line 45: value: health.http.url: "http://u:p@127.0.0.1/sample" is not an address to ask`},
		{"[::1]:80", "::1", `line 46: value: health.tcp.address: "::1" is not an address to connect to`},
		{"InstanceDown", "Instance.*", `line 52: value: silence item 1: "Instance.*" is not the name of an alert`},
		// parameters
		{"  mode: {type: enum", "  Mode: {type: enum", `line 16: value: params.Mode: parameter "Mode" is not a valid name`},
		{"values: [soft, on, 1.10], ", "", "line 16: missing: params.mode.values is missing"},
		{"[soft, on, 1.10]", "[soft, 'a b']", `line 16: value: params.mode.values item 2: parameter mode: "a b" is not acceptable`},
		{"default: soft", "default: hard", `line 16: value: params.mode.default: parameter mode: "hard" is not acceptable`},
		{"min: -1, max: 10", "min: 11, max: 10", "line 17: value: params.count.min is 11, above max, which is 10: no value fits"},
		{"min: -1, max: 10", "values: [1]", "line 17: value: params.count.values has no meaning for the type int"},
		{"max_length: 20", "max_length: 9999", "line 20: value: params.label.max_length is 9999; it must be from 1 to 1024"},
		{"$PARAM_WAIT", "$PARAM_WAITS", "line 37: parameter: steps.run.script reads $PARAM_WAITS, and no such parameter is declared"},
		{"test -e /run/#service#", "test $PARAM_MODE", "line 47: parameter: health.command.script reads $PARAM_MODE, and health has no parameters: it is also asked outside of a run"},
		// placeholders
		{"restart #unit#", "restart #unti#", "line 38: placeholder: steps.run.script: #unti# is not a placeholder"},
		{"restart #unit#", "restart ##unit#", `line 38: placeholder: steps.run.script: #unit# shares a "#" with what stands beside it`},
		{"restart #unit#", "restart #unit#host#", `line 38: placeholder: steps.run.script: #unit# shares a "#" with what stands beside it`},
		{"#service#Slow", "#Service#Slow", "line 52: placeholder: silence item 2: #Service# is not a placeholder"},
		// contradictions
		{"healthy_for: 10s", "healthy_for: 2m", "line 48: contradiction: healthy_for is 2m0s and the deadline is 2m0s: no host can be healthy in time"},
		{"deadline: 2m", "deadline: 9s", "line 48: contradiction: healthy_for is 10s and the deadline is 9s: no host can be healthy in time"},
		{"  healthy_for: 10s\n  deadline: 2m\n", "  healthy_for: 3m\n", "line 48: contradiction: healthy_for is 3m0s and the deadline is 2m0s: no host can be healthy in time"},
		{"min_available: 50%", "min_available: N", "line 27: contradiction: min_available N lets no healthy host be touched, ever"},
		{"interval: 500ms", "interval: 3m", "line 50: contradiction: interval is 3m0s and the deadline is 2m0s: nothing would be sampled in time"},
		{"holds: group", "holds: host", "line 53: value: holds is \"host\", which is not known"},
		{"kind: restart", "kind: custom", "line 44: contradiction: kind is custom, which may keep the process, and new_process demands another one"},
		{"kind: restart", "kind: thread-dump", "line 44: contradiction: kind is thread-dump, which may keep the process, and new_process demands another one"},
		{"min_available: 50%", "min_available: 100%", "line 27: contradiction: min_available 100% lets no healthy host be touched, ever"},
		{"min_available: 50%", "min_available: N-0", "line 27: contradiction: min_available N-0 lets no healthy host be touched, ever"},
		{"min_available: 50%", "min_available: N-1", "line 23: contradiction: a batch of 2 hosts can never start under min_available N-1"},
		{`[1, 2, "25%"]`, `["100%"]`, "line 23: contradiction: a batch of 100% takes all hosts down at once, and min_available 50% wants some of them up"},
	} {
		text := with(t, test.from, test.to)
		found := scenario.Lint([]byte(text))
		if len(found) == 0 {
			t.Errorf("%q → %q: nothing found; want %s", test.from, test.to, test.want)
			continue
		}
		f := found[0]
		if got := fmt.Sprintf("line %d: %s: %s", f.Line, f.Code, f.Message); got != test.want || f.Level != scenario.LevelError {
			t.Errorf("%q → %q:\n got %s (%s)\nwant %s", test.from, test.to, got, f.Level, test.want)
		}
		if _, err := scenario.Parse([]byte(text)); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q → %q: Parse gives %v", test.from, test.to, err)
		}
	}
}

func TestWholeFileRefusals(t *testing.T) {
	deep := strings.Repeat("[", 20_000)
	for name, test := range map[string]struct {
		text string
		want string
		code restart.Code
	}{
		"empty":         {"", "the file is empty", restart.CodeInvalid},
		"only comments": {"# nothing\n", "the file is empty", restart.CodeInvalid},
		"a list":        {"[1]\n", "line 1: the scenario must be a section of keys and values", restart.CodeInvalid},
		"a word":        {"hello\n", "line 1: the scenario must be a section of keys and values", restart.CodeInvalid},
		"alias":         {"a: &x 1\nb: *x\n", "line 1: the anchor &x is not read", restart.CodeInvalid},
		"deep":          {deep, "line 1: this is not YAML", restart.CodeInvalid},
		"large":         {small + strings.Repeat("#\n", scenario.MaxSize/2), "the file has", restart.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scenario.Parse([]byte(test.text))
			e, ok := errors.AsType[*restart.Error](err)
			if !ok || e.Code != test.code || !strings.HasPrefix(e.Message, test.want) {
				t.Errorf("Parse gives %v", err)
			}
		})
	}
	// exactly the bound is read
	full := small + strings.Repeat("#", scenario.MaxSize-len(small))
	if _, err := scenario.Parse([]byte(full)); err != nil {
		t.Errorf("a file of %d bytes: %v", len(full), err)
	}
}

// TestTags: a tag may change what a value is, even one that seems to say what
// is so anyway.
func TestTags(t *testing.T) {
	for _, tagged := range []string{"!!str anna", "!!str 3", "! 3", `! "3"`, `!!str "3"`, "!<tag:yaml.org,2002:str> a", "!foo a", "!!null", "!", "!!seq [a]", "! |\n  a"} {
		found := scenario.Lint([]byte(strings.Replace(small, "author: anna", "author: "+tagged, 1)))
		if len(found) != 1 || found[0].Line != 4 || found[0].Message != "YAML tags (!…) are not read" {
			t.Errorf("%s: %v", tagged, found)
		}
	}
}

func TestLintTellsEverythingAtOnce(t *testing.T) {
	text := with(t, "shell: /bin/bash", "shell: bash")
	text = strings.Replace(text, "serial: 3", "serial: x", 1)
	text = strings.Replace(text, "[1, 2, \"25%\"]", "[0, 200%]", 1)
	text = strings.Replace(text, "kind: restart", "kind: other", 1)
	var lines []int
	for _, f := range scenario.Lint([]byte(text)) {
		lines = append(lines, f.Line)
	}
	if diff := cmp.Diff([]int{5, 7, 14, 23, 23}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	_, err := scenario.Parse([]byte(text))
	if e, ok := errors.AsType[*restart.Error](err); !ok || !strings.HasSuffix(e.Message, "; and 4 more") {
		t.Errorf("Parse gives %v", err)
	}
}

func TestLintHelps(t *testing.T) {
	for old, hint := range map[string]string{
		"shell: /bin/bash|shel: /bin/bash":            "did you mean shell?",
		"kind: restart|kind: restat":                  "did you mean restart? one of: restart, thread-dump, custom",
		"restart #unit#|restart #unti#":               "did you mean unit?; if no placeholder is meant, as in s#a#b#, use another separator such as s|a|b|",
		"healthy_for: 10s|healthy_for: 3m":            "raise health.deadline well above healthy_for, or lower healthy_for",
		"task_timeout: 6m|task_timeout: 6":            "a number with its unit, such as 500ms, 10s, 2m or 1h",
		"name: nginx-restart|name: 2024":              `put it in "quotes"`,
		"$PARAM_COUNT|$PARAM_COUNTER":                 "declare counter under params; a variable of the script's own needs another name than PARAM_…",
		"order: by:datacenter|order: by:datacentre":   "did you mean by:datacenter? one of: inventory, reverse, shuffle, by:datacenter",
		"min_available: 50%|min_available: N":         "N-1 allows one host at a time",
		"values: [soft, on, 1.10]|values: [soft, on]": "",
	} {
		from, to, _ := strings.Cut(old, "|")
		found := scenario.Lint([]byte(with(t, from, to)))
		switch {
		case hint == "" && len(found) > 0:
			t.Errorf("%s: %v", to, found)
		case hint != "" && (len(found) == 0 || found[0].Hint != hint):
			t.Errorf("%s: %v; want the hint %s", to, found, hint)
		}
	}
}

// TestDocumentedExamples lints what the reference shows: it must be right.
func TestDocumentedExamples(t *testing.T) {
	b, err := os.ReadFile("../../docs/reference/scenario.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(format: .*?)```").FindAllSubmatch(b, -1)
	if len(examples) < 3 {
		t.Fatalf("the reference has %d whole examples", len(examples))
	}
	for _, e := range examples {
		if found := scenario.Lint(e[1]); len(found) > 0 {
			t.Errorf("%s\n%v", e[1], found)
		}
	}
}

func TestShippedScenarios(t *testing.T) {
	entries, err := scenarios.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		b, err := scenarios.Files.ReadFile(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if found := scenario.Lint(b); len(found) > 0 {
			t.Errorf("%s: %v", entry.Name(), found)
		}
		s, err := scenario.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", entry.Name(), err)
			continue
		}
		if s.Name+".yaml" != entry.Name() || !s.Fits("any.service-1") {
			t.Errorf("%s: named %s, fits %v", entry.Name(), s.Name, s.Services)
		}
		if _, err := scenario.Render(s, scenario.Facts{Service: "a", Unit: "a.service", Host: "h"}); err != nil {
			t.Errorf("%s needs more than a unit: %v", entry.Name(), err)
		}
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"jvm-dump", "process-dump", "systemd-reload", "systemd-restart", "thread-dump"}, names); diff != "" {
		t.Errorf("shipped (-want +got):\n%s", diff)
	}
}

func TestNew(t *testing.T) {
	for unit, service := range map[string]string{
		"nginx.service": "nginx", "nginx": "nginx", "worker@1.service": "worker@1", "Shop_API.service": "shop_api", "a:b.service": "a-b",
	} {
		b, err := scenario.New(unit)
		if err != nil {
			t.Errorf("New(%s): %v", unit, err)
			continue
		}
		if found := scenario.Lint(b); len(found) > 0 {
			t.Errorf("New(%s): %v", unit, found)
		}
		s, err := scenario.Parse(b)
		if err != nil || s.Name != service+"-restart" || !s.Fits(service) || s.Kind != restart.KindRestart {
			t.Errorf("New(%s) is %s for %v: %v", unit, s.Name, s.Services, err)
		}
		r, err := scenario.Render(s, scenario.Facts{Service: service, Unit: "other.service"})
		if err != nil || !strings.HasPrefix(r.Run.Script, "systemctl restart ") || strings.Contains(r.Run.Script, "other") {
			t.Errorf("New(%s) runs %+v: %v", unit, r.Run, err)
		}
	}
	for _, unit := range []string{"", "-rf", "../x", "a b", "nginx.socket", "nginx.service\nname: x", strings.Repeat("a", 70) + ".service"} {
		if b, err := scenario.New(unit); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("New(%q) = %s, %v", unit, b, err)
		}
	}
}
