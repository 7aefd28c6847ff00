package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/server"
)

// Paths of sources are relative to server.yaml, as all are, and go into a
// backup; caches don't, and what may be secret in an address is not shown.
func TestInventoryOfSeveralSources(t *testing.T) {
	r, _ := initialised(t)
	dir := filepath.Dir(r.Config)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(b), "inventory:\n  kind: yaml\n  path: inventory.yaml\n")
	write("server.yaml", before+`inventory:
  kind: merged
  services_file: services.yaml
  sources:
    - {name: hosts, kind: prometheus, files: ["targets-*.json"]}
    - {name: far, kind: json, url: "http://127.0.0.1:1/hosts?key=hidden", cache_dir: kept, optional: true, mapping: {hosts: {each: /*, name: .}}}
`+after)
	write("services.yaml", "services: [{name: nginx}]\n")
	write("targets-a.json", `[{"targets": ["web1.example.com:80"], "labels": {"service": "nginx"}}]`)
	cfg, err := server.ReadConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	kept := cfg.Keep(r.Config)
	for _, name := range []string{"services.yaml", "targets-a.json"} {
		if !slices.Contains(kept, filepath.Join(dir, name)) {
			t.Errorf("%s is not kept: %v", name, kept)
		}
	}
	if slices.Contains(kept, filepath.Join(dir, "kept")) {
		t.Error("a cache is kept")
	}
	shown, err := cfg.Show()
	if err != nil || strings.Contains(string(shown), "hidden") || !strings.Contains(string(shown), "http://127.0.0.1:1/hosts?…") {
		t.Errorf("%v\n%s", err, shown)
	}
	if !strings.Contains(cfg.Inventory.Sources[1].URL, "hidden") {
		t.Error("what is shown is what is used")
	}
	s := serveAgain(t, r, nil)
	s.becomes(200, "inventory ok")
	_, body := s.get("/metrics", s.token)
	for _, want := range []string{`restartilka_inventory_source_up{source="hosts"} 1`, `restartilka_inventory_source_up{source="far"} 0`, `restartilka_inventory_source_last_success_timestamp_seconds{source="far"} 0`, "restartilka_inventory_up 0", "restartilka_inventory_hosts 1"} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if wrong := cfg.Check(t.Context()); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), "source far gives nothing") {
		t.Errorf("config check: %v", wrong)
	}
}
