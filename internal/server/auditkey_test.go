package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
)

func TestTheKeyOfTheAuditTrailIsChanged(t *testing.T) {
	r, dir := initialised(t)
	cfg, err := server.ReadConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	first, err := cfg.AuditKey()
	if err != nil || first.Server != "main" || first.File != r.AuditKey {
		t.Fatalf("%+v, %v", first, err)
	}
	if text, err := os.ReadFile(r.AuditKey); err != nil || string(text) != first.PEM {
		t.Errorf("the file has %s, the command says %s (%v)", text, first.PEM, err)
	}
	second, err := cfg.NewAuditKey()
	if err != nil || second.Key == first.Key || strings.Count(second.PEM, "-----BEGIN") != 2 {
		t.Fatalf("%+v, %v", second, err)
	}
	if now, err := cfg.AuditKey(); err != nil || now != second {
		t.Errorf("%+v, %v", now, err)
	}
	keys, err := audit.ParsePublicKeys([]byte(second.PEM))
	if err != nil || len(keys) != 1 || audit.KeyID(keys[0]) != second.Key {
		t.Errorf("%v, %v", keys, err)
	}
	secret := filepath.Join(dir, "etc", "audit.key")
	if kept := cfg.Keep(r.Config); slices.Contains(kept, secret) {
		t.Error("the private key is among what a backup is to be kept with")
	}
	// Without the setting nothing is made.
	text, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.Config, []byte(strings.Replace(string(text), "  key: audit.key\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err = server.ReadConfig(r.Config); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.NewAuditKey(); restart.CodeOf(err) != restart.CodeInvalid {
		t.Error(err)
	}
	if _, err := cfg.AuditKey(); restart.CodeOf(err) != restart.CodeInvalid {
		t.Error(err)
	}
}
