// Package odd restarts nginx on hosts unlike the usual one, through the whole
// product, and reads what each says of what is weaker there.
package odd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/fleet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	fleet.RemovePackages()
	os.Exit(code)
}

// limit bounds a run; the longest takes about ten seconds on a quiet machine.
const limit = 2 * time.Minute

// The hosts of one company.
const (
	noMemfd  = iota // Debian 12 that forbids executable memory
	legacy          // Debian 12 with cgroup v1 alone
	hybrid          // Debian 12 with cgroup v2 beside v1
	sysvinit        // Debian 12 without systemd
	older           // Debian 11
)

var kinds = []fleet.Kind{
	noMemfd: {},
	legacy:  {Hierarchy: fleet.Legacy},
	hybrid:  {Hierarchy: fleet.Hybrid},
	sysvinit: {Init: fleet.Sysvinit, Software: []string{
		"sysvinit-core", "nginx-light", "curl", "iproute2", "procps", "supervisor", "systemd-sysv-", "systemd-",
	}},
	older: {Release: fleet.Bullseye, Software: []string{"systemd", "systemd-sysv", "dbus", "nginx-light", "curl", "iproute2", "procps"}},
}

// One company has them all, and goes through all of it part after part; each
// leaves the hosts as it found them.
func TestOddHosts(t *testing.T) {
	maps.Copy(scenarios, examples(t))
	c := fleet.New(t, fleet.Options{Kinds: kinds}).Install(scenarios)
	prepare(t, c)
	for _, part := range []struct {
		name string
		test func(t *testing.T, c *fleet.Company)
	}{
		{"each says what is weaker", saysWhatIsWeaker},
		{"drafts of its services", discovers},
		{"one restart of all of them", restartOfAll},
		{"a forced abort leaves nothing of a script", forcedAbort},
		{"nor does the end of its time", timedOut},
		{"an agent restarted in mid-task, and what a script leaves", agentRestarted},
		{"an older release has what its unit needs", olderRelease},
		{"supervisord with a pid file, and a boot by sysvinit", supervisord},
		{"without systemd it takes a cgroup that is named", withoutSystemd},
		{"where sealed memory is forbidden altogether", withoutSealedMemory},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, c.On(t)) }) {
			t.FailNow() // what follows needs hosts that are whole
		}
	}
}

// prepare makes the hosts odd where their kind does not yet, and shortens what
// they wait for between TERM and KILL.
func prepare(t *testing.T, c *fleet.Company) {
	switch machine, known := memfdNoexec(t); {
	case known:
		must(t, c.Web[noMemfd].Sysctl("vm/memfd_noexec", "2"))
		if after, _ := memfdNoexec(t); after != machine {
			t.Fatalf("the machine's own vm.memfd_noexec became %q", after)
		}
	default:
		t.Log("NOT TESTED: this kernel is older than Linux 6.3 and has no vm.memfd_noexec")
		weak[noMemfd].memory = "sealed"
	}
	if _, err := c.Web[hybrid].Try("test -d /sys/fs/cgroup/unified"); err != nil {
		t.Log("NOT TESTED: on this machine, with cgroup v2 alone, no host can have it beside v1")
		weak[hybrid].containment = weak[older].containment
	}
	// Without systemd no unit is listed; the package is the same.
	c.Web[sysvinit].Write("/etc/restartilka/services.d/nginx.yaml", "package: nginx-light\n", 0o644)
	must(t, fleet.Each(c.Web, func(h *fleet.Host) error {
		out, err := h.Try("echo 'grace: 500ms' >>/etc/restartilka/agent.yaml")
		if err == nil {
			out, err = restartAgent(h)
		}
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", h.Name, err, out)
		}
		return nil
	}))
}

// restartAgent restarts the agent as an administrator would, by whatever init
// system there is, and waits until it answers.
func restartAgent(h *fleet.Host) (string, error) {
	return h.Try("service restartilka-agent restart >/dev/null\n" +
		"for i in $(seq 200); do curl -sf http://127.0.0.1:3132/ping >/dev/null && exit 0; sleep 0.05; done; exit 1")
}

// memfdNoexec is the machine's own setting, where its kernel has one.
func memfdNoexec(t *testing.T) (string, bool) {
	b, err := os.ReadFile("/proc/sys/vm/memfd_noexec")
	if errors.Is(err, fs.ErrNotExist) {
		return "", false
	}
	must(t, err)
	return strings.TrimSpace(string(b)), true
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantAll wants every host of a run in one state, and its script executed once.
func wantAll(t *testing.T, c *fleet.Company, run restart.Run, want restart.TaskState) {
	t.Helper()
	for _, task := range restart.Latest(run.Tasks) {
		if task.State != want {
			t.Errorf("%s is %s, want %s: %s %s", task.Host, task.State, want, task.Cause, task.Error)
		}
		executed(t, c, task)
	}
}

// executed wants a task's script executed once, by the host's own witness.
func executed(t *testing.T, c *fleet.Company, task restart.Task) {
	t.Helper()
	short, _, _ := strings.Cut(task.Host, ".")
	times := 0
	for _, id := range fleet.Witnessed(c.Host(short)) {
		if id == task.ID {
			times++
		}
	}
	if times != 1 {
		t.Errorf("the script ran %d times on %s", times, task.Host)
	}
}
