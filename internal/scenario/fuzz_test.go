package scenario_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/scenarios"
)

// FuzzParse: no bytes make it panic; Parse and Lint agree; the same bytes are
// the same scenario; and what is accepted can be rendered with whole facts, or
// is refused in words for people.
func FuzzParse(f *testing.F) {
	for _, text := range []string{whole, small, rendering, "", "{", "a: 1\n---", "- 1\n\n\n", "a:\n", "a: &x [*x]", "steps: {run: {script: |\n  a\n}}", "{a: b, c: [d, 'e', \"f\"]}"} {
		f.Add([]byte(text))
	}
	entries, err := scenarios.Files.ReadDir(".")
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range entries {
		b, err := scenarios.Files.ReadFile(entry.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scenario.Parse(b)
		refused := false
		for _, finding := range scenario.Lint(b) {
			refused = refused || finding.Level == scenario.LevelError
			if finding.Message == "" || finding.Code == "" || finding.Line < 0 || finding.Line > 1+strings.Count(string(b), "\n") {
				t.Errorf("finding %+v", finding)
			}
			if shown := finding.String(); restart.Escape(shown) != shown {
				t.Errorf("finding %q can't be shown", shown)
			}
		}
		if refused != (err != nil) {
			t.Fatalf("Parse gives %v, and Lint %v", err, scenario.Lint(b))
		}
		if err != nil {
			if code := restart.CodeOf(err); code != restart.CodeInvalid && code != restart.CodeTooLarge {
				t.Errorf("Parse gives %v with code %s", err, code)
			}
			return
		}
		again, err := scenario.Parse(append([]byte(nil), b...))
		if diff := cmp.Diff(s, again); err != nil || diff != "" {
			t.Errorf("the same bytes again: %v\n%s", err, diff)
		}
		if (s.Steps.Run == nil) == (s.Dump == nil) || s.Steps.Run != nil && strings.TrimSpace(s.Steps.Run.Script) == "" || s.Dump != nil && s.Kind != restart.KindThreadDump || s.Serial < 1 || len(s.Services) == 0 || restart.CheckScenarioName(s.Name) != nil {
			t.Errorf("accepted: %+v", s)
		}
		refuseLineComments(t, b)
		r, err := scenario.Render(s, facts)
		if err != nil && restart.CodeOf(err) == restart.CodeInternal {
			t.Errorf("Render gives %v", err)
		}
		switch {
		case err != nil:
		case r.Run != nil && placeholderLeft.MatchString(r.Run.Script):
			t.Errorf("a placeholder is left in %q", r.Run.Script)
		case r.Dump != nil && (placeholderLeft.MatchString(r.Dump.URL+r.Dump.Log) || r.Dump.Process == restart.ProcessRef{} || r.Dump.Count < 1):
			t.Errorf("it would dump %+v", r.Dump)
		}
	})
}

// refuseLineComments asks the YAML reader's own memory of comments: what it
// keeps of those at the end of a line must not be inside steps, dump and health.
func refuseLineComments(t *testing.T, b []byte) {
	var document yaml.Node
	if err := yaml.Unmarshal(b, &document); err != nil {
		t.Fatal(err)
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.LineComment != "" {
			t.Errorf("line %d: the comment %q was accepted", n.Line, n.LineComment)
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	top := document.Content[0].Content
	for i := 0; i+1 < len(top); i += 2 {
		if name := top[i].Value; name == "steps" || name == "dump" || name == "health" {
			for _, child := range top[i+1].Content {
				walk(child)
			}
		}
	}
}
