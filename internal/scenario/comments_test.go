package scenario_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/scenario"
)

// head is everything but steps and health, three lines of it.
const head = `{format: 1, name: a, serial: 1, author: anna, kind: custom, services: [a], description: d,`

// TestCommentsInStepsAndHealth: what YAML takes for a comment never reaches
// the host, so it must not stand where a reviewer reads it as part of a script.
func TestCommentsInStepsAndHealth(t *testing.T) {
	const top = "format: 1\nname: a\nserial: 1\nauthor: anna\nkind: custom\nservices: [a]\ndescription: d\n" // seven lines
	for _, test := range []struct {
		name, text string
		want       []int // lines of comments
	}{
		{"unquoted placeholder", "steps:\n  run:\n    script: systemctl restart #unit#\n", []int{10}},
		{"nothing but a placeholder", "steps:\n  run:\n    script: #unit#\n", []int{10}},
		{"placeholder inside a plain word", "steps:\n  run:\n    script: touch /run/drain-#package#\n", nil},
		{"cut after a placeholder inside", "steps:\n  run:\n    script: touch /run/drain-#package# #unit#\n", []int{10}},
		{"double quotes", "steps:\n  run:\n    script: \"restart #unit# # note\"\n", nil},
		{"double quotes, escaped quote", "steps:\n  run:\n    script: \"a \\\" # b\" # real\n", []int{10}},
		{"double quotes, escaped backslash", "steps:\n  run:\n    script: \"a \\\\\" # real\n", []int{10}},
		{"single quotes", "steps:\n  run:\n    script: 'restart '' # note'\n", nil},
		{"single quotes, then a comment", "steps:\n  run:\n    script: 'a''b' # real\n", []int{10}},
		{"quotes over lines", "steps:\n  run:\n    script: 'a\n\n      # in\n      b' # out\n", []int{13}},
		{"literal block", "steps:\n  run:\n    script: |\n      # in\n      true # in\n\n      # in\n", nil},
		{"folded block", "steps:\n  run:\n    script: >-\n      # in\n      true # in\n", nil},
		{"block with indented first line", "steps:\n  run:\n    script: |2\n         true\n      # in\n", nil},
		{"block at the end without a line feed", "steps:\n  run:\n    script: |\n      true\n      # in", nil},
		{"header of a block", "steps:\n  run:\n    script: | # out\n      # in\n", []int{10}},
		{"less indented than the block", "steps:\n  run:\n    script: |\n      true\n     # out\n  undrain: {script: \"a\"}\n", []int{12}},
		{"blank block", "steps:\n  drain:\n    script: |\n\n  run: {script: a} # out\n", []int{12}},
		{"at the margin, inside", "steps:\n  run:\n    script: a\n# out\n  drain: {script: b}\n", []int{11}},
		{"at the margin, behind", "steps:\n  run:\n    script: a\n# fine\n\n# fine\nhealth: {tcp: {address: \"127.0.0.1:1\"}}\n# fine\n", nil},
		{"indented, behind", "steps:\n  run:\n    script: a\n  # out\nhealth: {tcp: {address: \"127.0.0.1:1\"}}\n", []int{11}},
		{"beside the key", "steps: # out\n  run:\n    script: a\n", []int{8}},
		{"above the key", "# fine\nsteps:\n  run:\n    script: a\n", nil},
		{"health, no value", "steps: {run: {script: a}}\nhealth:\n  tcp: {address: \"127.0.0.1:1\"}\n  http: {url: #host#\n  }\n", []int{11}},
		{"health, at the end", "steps: {run: {script: a}}\nhealth:\n  tcp: {address: \"127.0.0.1:1\"}  # out", []int{10}},
		{"after a tab", "steps: {run: {script: a}}\t# out\n", []int{8}},
		{"flow over lines", "steps: {\n  # out\n  run: {script: \"a # in\"}, # out\n}\n", []int{9, 10}},
		{"characters of several bytes", "steps: {drain: {script: \"ééé # in\"}, run: {script: 'é # in'}} # out\n", []int{8}},
		{"a # inside plain words", "steps: {run: {script: a#b}}\nhealth: {command: {script: a#b}}\n", nil},
		{"quoted key", "\"steps\": {run: {script: a}} # out\n", []int{8}},
	} {
		var got []int
		for _, f := range scenario.Lint([]byte(top + test.text)) {
			if f.Code == "comment" {
				got = append(got, f.Line)
			} else if f.Level == scenario.LevelError && len(test.want) == 0 {
				t.Errorf("%s: %v", test.name, f)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: lines of comments (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestCommentsInAFlowDocument(t *testing.T) {
	text := head + " # fine\nsteps: {run: {script: 'a # in'}},\nhealth: {tcp: {address: '127.0.0.1:1'},\n# out\n healthy_for: 1s}, # out\nsilence: [A]} # fine\n"
	var got []string
	for _, f := range scenario.Lint([]byte(text)) {
		got = append(got, fmt.Sprint(f.Line, " ", f.Code))
	}
	// the comment behind "}," on line 5 stands before the next key: between the sections, it could belong to either
	if diff := cmp.Diff([]string{"4 comment", "5 comment"}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestManyCommentsAreQuick: a hostile file costs no more than its size.
func TestManyCommentsAreQuick(t *testing.T) {
	for name, text := range map[string]string{
		"comments":     "steps:\n" + strings.Repeat(" # x\n", 20_000) + "  run: {script: a}\n",
		"one long row": "steps: {" + strings.Repeat("é: 'é', ", 6_000) + "}",
		"placeholders": "steps: {run: {script: '" + strings.Repeat("#a# ", 25_000) + "'}}",
		"parameters":   small + "health: {command: {script: '" + strings.Repeat("$PARAM_A ", 10_000) + "'}}",
		"anchors":      strings.Repeat("- &a 1\n", 14_000),
	} {
		found := scenario.Lint([]byte(text))
		if len(found) == 0 || len(found) > 200 {
			t.Errorf("%s: %d findings", name, len(found))
		}
	}
}
