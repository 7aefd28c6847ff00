package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

func lay(t *testing.T, dir, name string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(" hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnlyWhatNobodyElseCanReachIsASecret(t *testing.T) {
	dir := t.TempDir()
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o602: false, 0o610: false, 0o644: false} {
		got, err := secret.ReadWord(lay(t, dir, "file", mode), 100)
		if (err == nil) != good || (good && got != "hunter2") || (!good && (restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "chmod 0600"))) {
			t.Errorf("mode %04o: %q, %v", mode, got, err)
		}
	}
	if _, err := secret.Read(lay(t, dir, "file", 0o600), 3); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("too long: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, dir, filepath.Join(dir, "absent"), ""} {
		if _, err := secret.Read(path, 100); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", path, err)
		}
	}
	two := lay(t, dir, "two", 0o600)
	if err := os.WriteFile(two, []byte("a b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.ReadWord(two, 100); err == nil || strings.Contains(err.Error(), "a b") {
		t.Errorf("two words: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	if got := secret.Locate(dir, "credential:dsn"); got != "credential:dsn" || !secret.Named(got) {
		t.Errorf("without systemd: %q", got)
	}
	if _, err := secret.Read("credential:dsn", 100); err == nil || !strings.Contains(err.Error(), "LoadCredential=dsn:FILE") {
		t.Errorf("without systemd: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	lay(t, dir, "dsn", 0o440) // as the mask of systemd's access list shows
	if got, err := secret.ReadWord(secret.Locate("/elsewhere", "credential:dsn"), 100); err != nil || got != "hunter2" {
		t.Errorf("%q, %v", got, err)
	}
	lay(t, dir, "dsn", 0o444)
	if _, err := secret.Read(secret.Locate("/elsewhere", "credential:dsn"), 100); err == nil {
		t.Error("one that everybody can read was read")
	}
	for _, bad := range []string{"../dsn", "", ".", "..", "a/b", "a\x00"} {
		if got := secret.Locate(dir, "credential:"+bad); !secret.Named(got) {
			t.Errorf("%q leads to %s", bad, got)
		}
		if _, err := secret.Read("credential:"+bad, 100); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "not the name of a credential") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, c := range [][2]string{{"", ""}, {"x", dir + "/x"}, {"/x", "/x"}, {"./credential:x", dir + "/credential:x"}} {
		if got := secret.Locate(dir, c[0]); got != c[1] {
			t.Errorf("%q leads to %q, want %q", c[0], got, c[1])
		}
	}
}
