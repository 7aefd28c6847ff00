package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestUnitsOf(t *testing.T) {
	for text, want := range map[string][]string{
		"0::/system.slice/nginx.service\n":                                       {"nginx.service"},
		"0::/system.slice/system-shop.slice/shop@1.service/worker\n":             {"shop@1.service"},
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n": {"x.service", "user@1000.service"},
		"12:cpu:/\n1:name=systemd:/system.slice/nginx.service\n0::/\n":           {"nginx.service"},
		"0::/\n": nil, "": nil, "nonsense": nil, "0::/../../nginx.service\n": {"nginx.service"},
		"0::/system.slice/nginx.service (deleted)\n": nil,
	} {
		if got := unitsOf([]byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// A process is its service's by its unit alone; one that is not of a listed
// unit is nobody's.
func TestServiceOfProcess(t *testing.T) {
	a := &Agent{cfg: Config{Host: host.Host{Services: t.TempDir()}}}
	for pid, want := range map[int]restart.Code{0: restart.CodeInvalid, -1: restart.CodeInvalid, 1 << 22: restart.CodeNotFound} {
		if _, err := a.serviceOf(pid); restart.CodeOf(err) != want {
			t.Errorf("%d: %v", pid, err)
		}
	}
	if name, err := a.serviceOf(os.Getpid()); err != nil || name != "" {
		t.Errorf("of none: %q, %v", name, err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.serviceOf(gone.Process.Pid); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("an ended one: %v", err)
	}
}

// Of several scenarios that fit, the one that names the service is meant, then
// the newest; where that leaves a doubt, it is said.
func TestChoice(t *testing.T) {
	dir := t.TempDir()
	lay := func(file, name string, serial, services, kind string) {
		t.Helper()
		text := "format: 1\nname: " + name + "\nserial: " + serial + "\nauthor: anna@example.com\nkind: " + kind + "\nservices: [" + services +
			"]\ndescription: for a test\nsteps:\n  run:\n    script: echo " + file + "\n"
		if err := os.WriteFile(filepath.Join(dir, file+".yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lay("a", "jvm-dump", "1", `"*"`, "thread-dump")
	lay("b", "process-dump", "1", `"*"`, "thread-dump")
	lay("c", "shop-restart", "2", "shop", "restart")
	lay("d", "shop-restart", "10", "shop", "restart")
	a := &Agent{cfg: Config{Host: host.Host{Scenarios: dir}}}
	dump := Ask{Service: "shop", Kind: restart.KindThreadDump}
	if _, err := a.choose(dump); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "--scenario") {
		t.Errorf("two dumps: %v", err)
	}
	lay("g", restart.AnyDump, "1", `"*"`, "thread-dump")
	if s, err := a.choose(dump); err != nil || s.Name != restart.AnyDump {
		t.Errorf("of whatever it is: %s, %v", s.Name, err)
	}
	lay("e", "shop-dump", "1", "shop", "thread-dump")
	if s, err := a.choose(Ask{Service: "shop", Kind: restart.KindThreadDump}); err != nil || s.Name != "shop-dump" {
		t.Errorf("its own: %s, %v", s.Name, err)
	}
	if s, err := a.choose(Ask{Service: "shop", Scenario: "shop-restart"}); err != nil || s.Serial != 10 {
		t.Errorf("the newest: %d, %v", s.Serial, err)
	}
	lay("f", "shop-restart", "10", "shop", "restart")
	if _, err := a.choose(Ask{Service: "shop", Scenario: "shop-restart"}); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "--digest") {
		t.Errorf("two of one serial: %v", err)
	}
	if _, err := a.choose(Ask{Service: "nginx", Scenario: "shop-restart"}); restart.CodeOf(err) != restart.CodeNotReviewed || !strings.Contains(err.Error(), "jvm-dump, process-dump, thread-dump") {
		t.Errorf("not for it: %v", err)
	}
	if _, err := a.choose(Ask{Service: "shop", Scenario: "shop-restart", Kind: restart.KindThreadDump}); restart.CodeOf(err) != restart.CodeNotReviewed {
		t.Errorf("of another kind: %v", err)
	}
}
