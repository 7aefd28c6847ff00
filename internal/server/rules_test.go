package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// until waits for something to hold, at most 10 s.
func (s *served) until(what string, ok func() bool) {
	s.t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			s.t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// A running server decides by the file as it is now, keeps the good rules where
// it became wrong, and tells both by its metric and in the trail.
func TestRulesAreReadWithoutARestart(t *testing.T) {
	s := serve(t, nil)
	s.becomes(200, "ready")
	file := filepath.Join(s.dir, "rules.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err) // server init has written it
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	has := func(path, text string) func() bool {
		return func() bool { _, body := s.get(path, s.token); return strings.Contains(body, text) }
	}
	status := func(path string, want int) func() bool {
		return func() bool { got, _ := s.get(path, s.token); return got == want }
	}
	s.until("the metric", has("/metrics", "restartilka_rules_up 1"))
	write(strings.Replace(string(good), "[all]", "[restart, audit]", 1))
	s.until("an admin who does not administer", status("/api/v1/certificates", 403))
	if _, body := s.get("/api/v1/certificates", s.token); !strings.Contains(body, "nobody may") {
		t.Errorf("%s", body)
	}
	write("format: 1\nrules: [{allow: [see], to: [everybdy]}, {allow: [al], to: [x]}]\n")
	s.until("the metric to fall", has("/metrics", "restartilka_rules_up 0"))
	if got, body := s.get("/api/v1/certificates", s.token); got != 403 {
		t.Errorf("the good rules do not hold: %d %s", got, body)
	}
	write(string(good))
	s.until("the good rules", status("/api/v1/certificates", 200))
	changes := func() (int, string) {
		_, trail := s.get("/api/v1/audit?action=rules.changed", s.token)
		return strings.Count(trail, `"rules.changed"`), trail
	}
	s.until("the record of the last change", func() bool { n, _ := changes(); return n >= 3 })
	if n, trail := changes(); n != 3 || !strings.Contains(trail, "at the start") {
		t.Errorf("%d changes are recorded:\n%s", n, trail)
	}
	if _, trail := s.get("/api/v1/audit?action=rules.refused", s.token); strings.Count(trail, `"rules.refused"`) != 1 || !strings.Contains(trail, "no action") {
		t.Errorf("refused:\n%s", trail)
	}
}
