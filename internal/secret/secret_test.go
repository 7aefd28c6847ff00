package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		mode os.FileMode
		want string // in the error; "" = none
	}{
		"its owner's":     {" word of honour\n", 0o600, ""},
		"a credential":    {"word of honour", 0o440, ""},
		"others read it":  {"word of honour", 0o644, "chmod 600"},
		"group writes it": {"word of honour", 0o660, "chmod 600"},
		"too short":       {"word\n\n\n\n\n\n\n", 0o600, "does not hold 8 to 4096 bytes (make one)"},
		"too long":        {strings.Repeat("x", 5000), 0o600, "does not hold"},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tc.mode); err != nil {
			t.Fatal(err)
		}
		got, err := secret.Read("the.key", path, 8, "make one")
		switch {
		case tc.want == "" && (err != nil || string(got) != "word of honour"):
			t.Errorf("%s: %q, %v", name, got, err)
		case tc.want != "" && (restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "the.key")):
			t.Errorf("%s: %v", name, err)
		case err != nil && strings.Contains(err.Error(), "word"):
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
	if _, err := secret.Read("the.key", filepath.Join(t.TempDir(), "none"), 1, ""); restart.CodeOf(err) != restart.CodeInvalid {
		t.Error(err)
	}
}
