package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/server"
)

// The files of sinks are found beside server.yaml, checked by "config check",
// asked to be kept with a backup, and no secret is shown.
func TestConfigurationOfSinks(t *testing.T) {
	r, _ := initialised(t)
	dir := filepath.Dir(r.Config)
	plain, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(plain), "  sinks:\n", `  sinks:
    - {kind: http, format: bulk, url: "https://logs.example.com/audit/_bulk?token=hidden", ca: ca.crt, credentials_file: bulk.secret}
    - {kind: relp, address: "logs.example.com:2514", ca: ca.crt}
`, 1)
	if err := os.WriteFile(r.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := server.ReadConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := cfg.Show()
	if err != nil || strings.Contains(string(shown), "hidden") || !strings.Contains(string(shown), "https://logs.example.com/audit/_bulk?…") ||
		!strings.Contains(string(shown), "relp") {
		t.Errorf("%s, %v", shown, err)
	}
	if !strings.Contains(cfg.Audit.Sinks[0].URL, "hidden") {
		t.Error("what is shown is what is used")
	}
	secret := filepath.Join(dir, "bulk.secret")
	if kept := cfg.Keep(r.Config); !slices.Contains(kept, secret) {
		t.Errorf("%v", kept)
	}
	const number = "audit.sinks, number 1: "
	if err := errors.Join(cfg.Check(t.Context())...); err == nil || !strings.Contains(err.Error(), number) || strings.Contains(err.Error(), "hidden") {
		t.Errorf("no credentials: %v", err)
	}
	if err := os.WriteFile(secret, []byte("ApiKey x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cfg.Check(t.Context())...); err != nil {
		t.Errorf("all there: %v", err)
	}
}
