package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authn/ldap"
	"github.com/restartilka/restartilka/internal/authn/oidc"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

const nobodyRestarts = "format: 1\nrules:\n  - {allow: [all], to: [\"role:admin\"]}\n  - {deny: [restart], to: [everybody]}\n"

// TestRulesAreReadAnew: a change holds at the next look, a file that became
// wrong, vanished or is everybody's to write leaves the good rules in force,
// and each is recorded once.
func TestRulesAreReadAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	root := restart.Actor{Name: "root", Roles: []restart.Role{restart.RoleAdmin}}
	write(string(authz.Shipped), 0o644)
	f, err := openRules(path, SignInConfig{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what    string
		change  func()
		record  audit.Action // "" = none
		detail  string
		refused string
		may     bool // an admin restarts
	}{
		{"nothing has changed", func() {}, "", "", "", true},
		{"another file", func() { write(nobodyRestarts, 0o644) }, audit.RulesChanged, "sha256 ", "", false},
		{"again nothing", func() {}, "", "", "", false},
		{"a wrong file", func() { write("format: 1\nrules: [{allow: [fly], to: [owners]}]\n", 0o644) }, audit.RulesRefused, "there is no action \"fly\"", "line 2", false},
		{"which is told once", func() {}, "", "", "line 2", false},
		{"wrong in another way", func() { write("", 0o644) }, audit.RulesRefused, "format is missing", "format is missing", false},
		{"no file", func() { os.Remove(path) }, audit.RulesRefused, "no file", "no such file", false},
		{"everybody's file", func() { write(string(authz.Shipped), 0o666) }, audit.RulesRefused, "written by everybody", "written by everybody", false},
		{"which is told once", func() {}, "", "", "written by everybody", false},
		{"as it was", func() { write(nobodyRestarts, 0o644) }, audit.RulesChanged, ", as before", "", false},
		{"good again", func() { write(string(authz.Shipped), 0o644) }, audit.RulesChanged, authz.Default().Digest(), "", true},
	} {
		step.change()
		rec := f.look()
		switch {
		case rec == nil && step.record != "", rec != nil && rec.Action != step.record, rec != nil && !strings.Contains(rec.Detail, step.detail):
			t.Errorf("%s: record %+v, want %q with %q", step.what, rec, step.record, step.detail)
		}
		if got := f.state().refused; !strings.Contains(got, step.refused) || (got == "") != (step.refused == "") {
			t.Errorf("%s: refused for %q, want %q", step.what, got, step.refused)
		}
		if got := f.inForce().Decide(root, authz.Restart, authz.Object{Service: restart.Service{Name: "shop"}}).Allowed; got != step.may {
			t.Errorf("%s: an admin may restart: %v", step.what, got)
		}
	}
}

func TestNoServerWithoutGoodRules(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if _, err := openRules(path, SignInConfig{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there was opened")
	}
	if err := os.WriteFile(path, []byte("format: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openRules(path, SignInConfig{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), path+": there are no rules") {
		t.Errorf("%v", err)
	}
	upper := "format: 1\nrules:\n  - {allow: [see], to: [everybody]}\n  - {deny: [restart], to: [\"team:Contractors\"]}\n"
	if err := os.WriteFile(path, []byte(upper), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   SignInConfig
		good bool
	}{
		{SignInConfig{LDAP: &ldap.Config{}}, false},
		{SignInConfig{LDAP: &ldap.Config{}, OIDC: &oidc.Config{}}, true},
		{SignInConfig{LDAP: &ldap.Config{}, Proxy: authn.ProxyConfig{GroupsHeader: "X-Groups"}}, true},
		{SignInConfig{}, true},
	} {
		_, err := openRules(path, c.in, slog.New(slog.DiscardHandler))
		if (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), path+": line 4") {
			t.Errorf("%+v: %v", c.in, err)
		}
		if _, again := ReadRules(path, c.in); (again == nil) != c.good {
			t.Errorf("%+v: %v, and looked at once more %v", c.in, err, again)
		}
	}
	if _, err := openRules(filepath.Dir(path), SignInConfig{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder was opened")
	}
	f, err := openRules("", SignInConfig{}, slog.New(slog.DiscardHandler))
	if err != nil || f.inForce() != authz.Default() {
		t.Errorf("without a file: %v", err)
	}
}
