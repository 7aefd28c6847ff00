package fleet

import (
	"os"
	"os/exec"
	"testing"
)

// tools are the programs without which there is no fleet.
var tools = []string{"debootstrap", "systemd-nspawn", "ip", "nsenter", "dpkg-deb"}

// need ends the test where a fleet can't be had: loudly skipped on somebody's
// machine, failed in CI.
func need(t testing.TB) {
	t.Helper()
	lacking := ""
	if os.Getuid() != 0 {
		lacking = "root"
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			lacking = tool + " (see scripts/packages.txt)"
		}
	}
	switch {
	case lacking == "":
	case os.Getenv("CI") == "true":
		t.Fatalf("the fleet needs %s", lacking)
	default:
		t.Skipf("NOT TESTED on real hosts: the fleet needs %s", lacking)
	}
}
