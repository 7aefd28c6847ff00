package server_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/store"
)

func initialised(t *testing.T) (server.InitResult, string) {
	t.Helper()
	dir := t.TempDir()
	r, err := server.Init(t.Context(), server.InitOptions{Dir: filepath.Join(dir, "etc"), Data: filepath.Join(dir, "var"), Listen: "127.0.0.1:18446", Admin: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	return r, dir
}

func TestInitMakesWhatAServerNeeds(t *testing.T) {
	r, dir := initialised(t)
	cfg, err := server.ReadConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := cfg.Check(t.Context()); len(wrong) > 0 {
		t.Errorf("a new configuration is not in order: %v", wrong)
	}
	if !strings.HasPrefix(r.Token, "rtk_") || r.Admin != "anna" || r.URL != "https://localhost:18446" {
		t.Errorf("%+v", r)
	}
	for file, want := range map[string]fs.FileMode{
		"etc/ca.key": 0o600, "etc/server.key": 0o600, "etc/client.key": 0o600, "etc/envelope.key": 0o600, "etc/audit.key": 0o600, "etc/ssh_host_ed25519_key": 0o600, "etc/server.yaml": 0o640,
		"var/restartilka.db": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", file, info, err, want)
		}
	}
	found := false
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			b, readErr := os.ReadFile(path)
			found = found || strings.Contains(string(b), r.Token) || strings.Contains(string(b), r.Password)
			err = readErr
		}
		return err
	})
	if err != nil || found {
		t.Errorf("the token or the password lies on the disk in clear (%v)", err)
	}
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(dir, "var", "restartilka.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u, err := s.User(t.Context(), "anna")
	if err != nil || !slices.Contains(u.Roles, restart.RoleAdmin) || len(r.Password) < 20 {
		t.Fatalf("%+v, %v", u, err)
	}
	if ok, err := authn.NewHasher().Matches(t.Context(), u.Password, r.Password); err != nil || !ok {
		t.Errorf("the first admin's password is another (%v)", err)
	}
}

func TestInitWithAPassword(t *testing.T) {
	dir := t.TempDir()
	o := server.InitOptions{Dir: filepath.Join(dir, "etc"), Data: filepath.Join(dir, "var"), Password: "short"}
	if _, err := server.Init(t.Context(), o); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("a short one: %v", err)
	}
	if _, err := os.Stat(o.Dir); err == nil {
		t.Error("something was made all the same")
	}
	o.Password = "correct horse battery"
	if r, err := server.Init(t.Context(), o); err != nil || r.Password != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

// Hosts and people come by the server's name; localhost is no help to them.
func TestInitNamesTheServerByItsFirstName(t *testing.T) {
	dir := t.TempDir()
	r, err := server.Init(t.Context(), server.InitOptions{Dir: filepath.Join(dir, "etc"), Data: filepath.Join(dir, "var"), DNS: []string{"restartilka.example.com", "other.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "https://restartilka.example.com:8443"
	if cfg, err := server.ReadConfig(r.Config); err != nil || cfg.URL != want || r.URL != want {
		t.Errorf("init says %s, the configuration %s (%v), want %s", r.URL, cfg.URL, err, want)
	}
}

func TestInitChangesNothingThatIsThere(t *testing.T) {
	r, dir := initialised(t)
	before, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.Init(t.Context(), server.InitOptions{Dir: filepath.Join(dir, "etc"), Data: filepath.Join(dir, "var")})
	if restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("a second init: %v", err)
	}
	if after, err := os.ReadFile(r.Config); err != nil || string(after) != string(before) {
		t.Errorf("the configuration was changed (%v)", err)
	}
	for name, o := range map[string]server.InitOptions{
		"a name with a slash":     {Name: "../x"},
		"an admin with a space":   {Admin: "an na"},
		"an address without port": {Listen: "127.0.0.1"},
	} {
		o.Dir, o.Data = filepath.Join(dir, "new"), filepath.Join(dir, "new")
		if _, err := server.Init(t.Context(), o); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(o.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestBadConfigurations(t *testing.T) {
	r, _ := initialised(t)
	good, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new, says string }{
		"an unknown key":         {"listen:", "lisen:", "lisen"},
		"a name that is none":    {"name: main", "name: ../x", "name"},
		"no scenarios":           {"scenarios: scenarios", "scenarios: \"\"", "scenarios is needed"},
		"two databases":          {"database:\n", "database:\n  dsn_file: dsn\n", "either"},
		"no level of the log":    {"  require: spool\n", "", "require"},
		"a level of no sink":     {"require: spool", "require: stored", "no sink offers stored"},
		"an absurd deadline":     {"audit:\n", "audit:\n  deadline: 1h\n", "audit.deadline"},
		"a spool of nothing":     {"audit:\n", "audit:\n  spool: {limit: 3B}\n", "audit.spool.limit"},
		"an unknown sink":        {"kind: file", "kind: kafka", "kafka"},
		"a lease that is absurd": {"audit:\n", "runs: {lease: 1ms}\naudit:\n", "runs.lease"},
		"a broken glob":          {"audit:\n", "runs: {second_step: ['prod[']}\naudit:\n", "runs.second_step"},
		"an unknown wish":        {"audit:\n", "runs: {after_interruption: pray}\naudit:\n", "pray"},
		"a port that is none":    {"  ca_key:", "  port: 70000\n  ca_key:", "agents.port"},
		"a proxy of everybody":   {"audit:\n", "sign_in: {proxy: {addresses: [0.0.0.0/0], user_header: X-User}}\naudit:\n", "sign_in.proxy"},
		"a proxy without header": {"audit:\n", "sign_in: {proxy: {addresses: [10.0.0.5]}}\naudit:\n", "user_header"},
		"a method of later":      {"audit:\n", "sign_in: {magic: true}\naudit:\n", "magic"},
		"two documents":          {"audit:\n", "---\naudit:\n", ""},
	} {
		path := filepath.Join(filepath.Dir(r.Config), "bad.yaml")
		text := strings.Replace(string(good), c.old, c.new, 1)
		if text == string(good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := server.ReadConfig(path); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = server.ReadConfig(filepath.Join(t.TempDir(), "server.yaml"))
	if restart.CodeOf(err) != restart.CodeNotFound || !strings.Contains(err.Error(), "server init --dir") {
		t.Errorf("no file: %v", err)
	}
}

func TestCheckReadsWhatIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(dir string) error
		says  string
	}{
		"a key that others can read": {func(dir string) error { return os.Chmod(filepath.Join(dir, "ca.key"), 0o644) }, "ca_key"},
		"no key of the audit trail":  {func(dir string) error { return os.Remove(filepath.Join(dir, "audit.key")) }, "audit key new"},
		"no envelope key":            {func(dir string) error { return os.Remove(filepath.Join(dir, "envelope.key")) }, "envelope_key"},
		"a broken scenario": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "scenarios", "x.yaml"), []byte("format: 1\nnaem: x\n"), 0o600)
		}, "x.yaml"},
		"a broken inventory": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "inventory.yaml"), []byte("services: [{nam: x}]\n"), 0o600)
		}, "inventory"},
	} {
		r, _ := initialised(t)
		cfg, err := server.ReadConfig(r.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(filepath.Dir(r.Config)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(cfg.Check(t.Context())...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadConfig(f *testing.F) {
	f.Add("name: main\nlisten: 127.0.0.1:1\n")
	f.Add("audit: {sinks: [{kind: file}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "server.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if cfg, err := server.ReadConfig(path); err == nil && (cfg.Name == "" || cfg.Agents.EnvelopeKey == "" || cfg.Audit.Require == "" && !cfg.Audit.Remote()) {
			t.Errorf("taken: %+v", cfg)
		}
	})
}
