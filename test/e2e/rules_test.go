package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/test/company"
)

// TestRulesAreTestedOffline: `server rules test` finds what is wrong, what is
// probably not meant, and what is not as the cases want it; without a server.
func TestRulesAreTestedOffline(t *testing.T) {
	t.Parallel()
	program, dir := company.Build(t).Server, t.TempDir()
	run := func(args ...string) (said string, code int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			return out.String(), e.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.String(), 0
	}
	config := filepath.Join(dir, "etc", "server.yaml")
	if said, code := run("server", "init", "--dir", filepath.Dir(config), "--data", filepath.Join(dir, "var"), "--user", ""); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, "etc", name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := filepath.Join(dir, "etc", "rules.yaml")
	const head = "format: 1\nrules:\n  - {allow: [see], to: [everybody]}\n  - {allow: [all], to: [\"role:admin\"]}\n"
	doubtful := write("doubtful.yaml", head+"  - {allow: [restart], to: [owners], environments: [prodction]}\n")
	wrong := write("wrong.yaml", head+"  - {allow: [restrat], to: [owners]}\n")
	open := write("open.yaml", head)
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	good := write("good.cases.yaml", "cases: [{who: anna, action: restart, service: shop, owners: [anna], want: allow}, {who: vera, action: restart, service: shop, owners: [anna], want: deny}]\n")
	bad := write("bad.cases.yaml", "cases:\n  - {who: vera, action: restart, service: shop, owners: [anna], want: allow}\n")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--config", config}, 0, rules + " is in order\n"},
		{[]string{"--config", config, "--cases", good}, 0, "in order, and all of 2 cases are\n"},
		{[]string{rules, "--cases", bad}, 1, "case of line 2 failed: vera restart shop: want allow, got deny: vera does not own shop\n"},
		{[]string{rules, "--cases", bad, "--json"}, 1, `"line": 2`},
		{[]string{doubtful, "--config", config}, 0, `warning: doubtful.yaml, line 5: the inventory has no environment "prodction"`},
		{[]string{doubtful}, 0, "is in order"}, // no configuration, no inventory
		{[]string{wrong}, 1, "did you mean restart?"},
		{[]string{open}, 1, "chmod o-w"},
		{[]string{rules, "--cases", rules}, 1, `unknown key "format"`},
		{[]string{filepath.Join(dir, "none.yaml")}, 1, "no such file"},
		{[]string{"--config", filepath.Join(dir, "none.yaml")}, 2, "there is no"},
		{[]string{rules, wrong}, 2, "one argument too many"},
	} {
		if said, code := run(append([]string{"server", "rules", "test"}, c.args...)...); code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("%v: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, said)
		}
	}
	if said, code := run("config", "check", "--config", config, "--user", ""); code != 0 {
		t.Errorf("config check: %d: %s", code, said)
	}
	write("rules.yaml", "format: 1\nrules: []\n")
	if said, code := run("config", "check", "--config", config, "--user", ""); code == 0 || !strings.Contains(said, "rules: ") {
		t.Errorf("config check of wrong rules: %d: %s", code, said)
	}
}
