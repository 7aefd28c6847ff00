package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// What the reference says is tried here, on the example that it names.
func TestReference(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "..", "examples", "inventory.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseYAML(example)
	if err != nil {
		t.Fatal(err)
	}
	v := newView(s)
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "inventory.md"))
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]int{}
	blocks := strings.Split(string(text), "\n```")
	for i := 1; i < len(blocks); i += 2 {
		language, block, _ := strings.Cut(blocks[i], "\n")
		tried[language]++
		switch language {
		case "expressions":
			for line := range strings.SplitSeq(block, "\n") {
				tryExpression(t, v, line)
			}
		case "yaml":
			tryYAML(t, block)
		}
	}
	if tried["expressions"] != 1 || tried["yaml"] != 12 {
		t.Errorf("blocks found: %v", tried)
	}
	if g, err := v.groupFor("nginx", "testing", ""); err != nil || g.Name != "shop-front-testing" {
		t.Errorf("nginx in testing: %q, %v", g.Name, err)
	}
}

func tryExpression(t *testing.T, v *view, line string) {
	t.Helper()
	expr, want, good := strings.Cut(line, "→")
	if !good {
		expr, want, _ = strings.Cut(line, "✗")
	}
	expr, want = strings.TrimSpace(expr), strings.TrimSpace(want)
	hosts, err := v.eval(expr)
	var got []string
	for _, h := range hosts {
		got = append(got, h.Name)
	}
	if good && (err != nil || strings.Join(got, " ") != want) || !good && (err == nil || err.Error() != want) {
		t.Errorf("%s: %q, %v, the reference says %q", expr, got, err, want)
	}
}

func tryYAML(t *testing.T, block string) {
	t.Helper()
	if !strings.HasPrefix(block, "inventory:") {
		if _, err := parseServices([]byte(block)); err != nil {
			t.Errorf("%v in:\n%s", err, block)
		}
		return
	}
	var file struct {
		Inventory Config `yaml:"inventory"`
	}
	if err := yaml.Load([]byte(block), &file, yaml.WithKnownFields()); err != nil {
		t.Errorf("%v in:\n%s", err, block)
		return
	}
	if _, err := New(file.Inventory); err != nil {
		t.Errorf("%v in:\n%s", err, block)
	}
}
