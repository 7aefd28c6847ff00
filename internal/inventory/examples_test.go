package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// The example of several inventories gives what its README says.
func TestExampleOfSeveral(t *testing.T) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "examples", "inventories"))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var file struct {
		Inventory Config `yaml:"inventory"`
	}
	if err := yaml.Load([]byte(read("inventory.yaml")), &file, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	for _, p := range file.Inventory.FilePaths() {
		if *p != "" {
			*p = filepath.Join(dir, *p)
		}
	}
	i, err := New(file.Inventory)
	if err != nil {
		t.Fatal(err)
	}
	s, err := i.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	blocks := strings.Split(read("README.md"), "\n```")
	for n := 1; n < len(blocks); n += 2 {
		language, block, _ := strings.Cut(blocks[n], "\n")
		told[language] = block
	}
	var groups []string
	for _, g := range s.Groups {
		groups = append(groups, strings.Join([]string{g.Name, strings.Join(g.Services, " "), strings.Join(g.Hosts, " ")}, " "))
	}
	var want []string
	for line := range strings.Lines(told["groups"]) {
		want = append(want, strings.Join(strings.Fields(line), " "))
	}
	if got, want := strings.Join(groups, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("groups\n%s\nwant\n%s", got, want)
	}
	if s.Problem != strings.TrimSpace(told["problem"]) {
		t.Errorf("problem\n%s\nwant\n%s", s.Problem, told["problem"])
	}
}
