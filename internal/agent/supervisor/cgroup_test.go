package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// testCgroup makes a cgroup to work below, and removes it at the end.
func testCgroup(t *testing.T) string {
	t.Helper()
	lacking := func(what string) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is needed", what)
		}
		t.Skipf("NOT TESTED: %s is needed", what)
	}
	if os.Geteuid() != 0 {
		lacking("root")
	}
	at, _, err := cgroupMount()
	if err != nil {
		lacking(err.Error())
	}
	dir := filepath.Join(at, "restartilka-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, _ := filepath.Glob(dir + "/" + cgroupPrefix + "*")
		for _, path := range append(left, dir) {
			if err := os.Remove(path); err != nil {
				t.Error(err)
			}
		}
		if len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	return dir
}

const triedBelow = "RESTARTILKA_TEST_CGROUP"

// A kernel before Linux 5.7 makes cgroups, and can't start a process in one:
// that is found before a script would fail by it.
func TestACgroupCountsOnlyWhereProcessesStartInIt(t *testing.T) {
	if dir := os.Getenv(triedBelow); dir != "" {
		base, why := FindCgroup(dir)
		fmt.Printf("base %q, %s\n", base, why)
		return
	}
	dir := testCgroup(t)
	if base, why := FindCgroup(dir); base != dir || why != "below "+dir {
		t.Errorf("%q, %q", base, why)
	}
	strace, err := exec.LookPath("strace")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("strace is needed")
	}
	if err != nil {
		t.Skip("NOT TESTED: strace is not installed")
	}
	// Threads of a test by cgo are made by the same call, and do without it only after ENOSYS.
	cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3", "-e", "inject=clone3:error=ENOSYS", os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), triedBelow+"="+dir)
	out, err := cmd.CombinedOutput()
	if want := `base "", this kernel can't start a process in a cgroup`; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s; want %s", err, out, want)
	}
}
