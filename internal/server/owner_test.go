package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
)

// someone is a user that every Debian has, and that is not root.
const someone = "daemon"

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("giving files to another user needs root")
	}
	t.Skip("NOT TESTED: giving files to another user needs root")
}

func TestInitGivesTheServerItsFiles(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	etc, data := filepath.Join(dir, "etc"), filepath.Join(dir, "var")
	if err := os.Mkdir(etc, 0o700); err != nil { // as a careful admin might have made it
		t.Fatal(err)
	}
	r, err := server.Init(t.Context(), server.InitOptions{Dir: etc, Data: data, User: someone})
	if err != nil {
		t.Fatal(err)
	}
	if r.User != someone {
		t.Errorf("the result names %q", r.User)
	}
	var uid, gid uint32
	for file, want := range map[string]string{
		"var": "daemon 700", "var/restartilka.db": "daemon 600",
		"etc/ca.key": "daemon 600", "etc/server.key": "daemon 600", "etc/client.key": "daemon 600", "etc/envelope.key": "daemon 600", "etc/audit.key": "daemon 600",
		"etc": "root 755", "etc/server.yaml": "root 640", "etc/ca.crt": "root 644", "etc/inventory.yaml": "root 644", "etc/scenarios": "root 755",
	} {
		out, err := exec.Command("stat", "-c", "%U %a", filepath.Join(dir, file)).Output()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s is %s (%v), want %s", file, strings.TrimSpace(string(out)), err, want)
		}
	}
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no owner")
	}
	uid, gid = st.Uid, st.Gid
	if uid == 0 || gid == 0 {
		t.Errorf("the data belongs to %d:%d", uid, gid)
	}
	// What the modes mean is for the kernel to say.
	cmd := exec.Command("/bin/sh", "-euc", `cat "$1/server.yaml" "$1"/*.key >/dev/null; : >>"$2/restartilka.db"; ! [ -w "$1" ]; ! [ -w "$1/server.yaml" ]`, "sh", etc, data)
	if err := server.RunAs(cmd, someone); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the server can't work with its files: %v\n%s", err, out)
	}
}

func TestInitForAUserThatIsNotThere(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "etc")
	_, err := server.Init(t.Context(), server.InitOptions{Dir: dir, Data: dir, User: "nobody-of-this-name"})
	if restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("something was written all the same")
	}
}

// Two users who know nothing of a package: a folder of one's own, and a person
// who is not root.
func TestNobodyIsGivenAnythingUnasked(t *testing.T) {
	if got := server.DefaultUser(t.TempDir()); got != "" {
		t.Errorf("for a folder of one's own the user is %q", got)
	}
}
