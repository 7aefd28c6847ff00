package security

import (
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/test/company"
)

// CVE-2022-29186: one key for every installation, as it came in the package.
// Here each installation makes its own, and nothing that is shipped holds one.
func TestNoKeyIsShipped(t *testing.T) {
	programs := company.Build(t)
	seen := map[[32]byte]string{}
	tokens := map[string]bool{}
	for _, dir := range []string{t.TempDir(), t.TempDir()} {
		out, err := exec.CommandContext(t.Context(), programs.Server, "server", "init", "--json", "--dir", filepath.Join(dir, "etc"), "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0").Output()
		must(t, err)
		var first struct{ Token string }
		must(t, json.Unmarshal(out, &first))
		if tokens[first.Token] || len(first.Token) < 20 {
			t.Errorf("the first token is %q", first.Token)
		}
		tokens[first.Token] = true
		keys, err := filepath.Glob(filepath.Join(dir, "etc", "*.key"))
		must(t, err)
		if len(keys) < 4 {
			t.Errorf("keys: %v", keys)
		}
		for _, file := range keys {
			b, err := os.ReadFile(file)
			must(t, err)
			sum := sha256.Sum256(b)
			if before := seen[sum]; before != "" {
				t.Errorf("%s and %s are one key", before, file)
			}
			seen[sum] = file
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", file, info.Mode(), err)
			}
		}
	}
	root, err := filepath.Abs("../..")
	must(t, err)
	private := regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n[A-Za-z0-9+/]{32}`)
	password := regexp.MustCompile(`(?i)(password|passwd|secret|token)\s*[:=]\s*["']?(admin|changeme|restartilka|default|password)["']?\s*$`)
	inCode := regexp.MustCompile(`(?i)\b(password|passwd|secret|token)\s*(:|=|:=)\s*"(admin|changeme|restartilka|default|password)"`)
	for _, folder := range []string{"packaging", "examples", "scenarios", "cmd", "internal"} {
		for path, b := range readAll(t, filepath.Join(root, folder)) {
			if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/testdata/") {
				continue
			}
			if private.Match(b) {
				t.Errorf("%s holds a private key", path)
			}
			for line := range strings.Lines(string(b)) {
				looksFor := password
				if strings.HasSuffix(path, ".go") {
					looksFor = inCode // a value there is a literal, not a name
				}
				if looksFor.MatchString(strings.TrimRight(line, "\n")) {
					t.Errorf("%s has a default: %s", path, line)
				}
			}
		}
	}
	for _, program := range []string{programs.Server, programs.Agent} {
		b, err := os.ReadFile(program)
		must(t, err)
		if private.Match(b) {
			t.Errorf("%s holds a private key", program)
		}
	}
}
