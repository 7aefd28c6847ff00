package security

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exists tells whether a test is where it is said to be: FILE:NAME, the file as
// it lies in the repository.
func exists(t *testing.T, where string) bool {
	t.Helper()
	file, name, ok := strings.Cut(where, ":")
	if !ok {
		return false
	}
	b, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		return false
	}
	return regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`).Match(b)
}

// A lesson without a test has not been learned.
func TestEachLessonHasItsTest(t *testing.T) {
	doc, err := os.ReadFile("../../docs/security.md")
	must(t, err)
	for _, l := range lessons {
		if l.run == nil && l.test == "" {
			t.Errorf("%s, %s: no test", l.id, l.what)
		}
		if l.test != "" && !exists(t, l.test) {
			t.Errorf("%s, %s: there is no test %s", l.id, l.what, l.test)
		}
		if !strings.Contains(string(doc), strings.TrimPrefix(l.id, "OliveTin-")) {
			t.Errorf("%s, %s: docs/security.md does not tell of it", l.id, l.what)
		}
	}
}

// Each line of the threat model names the tests that show it, and they exist.
func TestTheThreatModelIsShown(t *testing.T) {
	doc, err := os.ReadFile("../../docs/security.md")
	must(t, err)
	model, _, _ := strings.Cut(string(doc), "\n## What is not promised")
	_, model, ok := strings.Cut(model, "\n## Threat model")
	if !ok {
		t.Fatal("docs/security.md has no threat model")
	}
	named := regexp.MustCompile("`([a-z][A-Za-z0-9_/]*_test\\.go):([A-Z][A-Za-z0-9_]*)`")
	lines := 0
	for line := range strings.Lines(model) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what ") || strings.HasPrefix(line, "| --") {
			continue
		}
		lines++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test is named: %s", line)
		}
		for _, test := range tests {
			if !exists(t, test[1]+":"+test[2]) {
				t.Errorf("there is no test %s:%s", test[1], test[2])
			}
		}
	}
	if lines < 40 {
		t.Errorf("only %d lines", lines)
	}
}
