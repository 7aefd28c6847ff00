package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootTime bounds a boot; it takes a second or two.
const bootTime = 90 * time.Second

// Host is one machine of the fleet.
type Host struct {
	Name    string // full
	Address string
	Kind    Kind

	fleet   *Fleet
	dir     string // upper, work, merged
	root    string
	cgroups []string
	nspawn  *exec.Cmd
	ended   chan struct{}
}

func (h *Host) short() string { name, _, _ := strings.Cut(h.Name, "."); return name }

// Path is where a file of the host lies on this machine. /run and /tmp are file
// systems of the host's own: use Shell for what is in there.
func (h *Host) Path(path string) string { return filepath.Join(h.dir, "merged", path) }

// Write makes a file of the host, and its folders.
func (h *Host) Write(path, text string, mode os.FileMode) {
	h.fleet.t.Helper()
	h.fleet.must(os.MkdirAll(filepath.Dir(h.Path(path)), 0o755))
	h.fleet.must(os.WriteFile(h.Path(path), []byte(text), mode))
	h.fleet.must(os.Chmod(h.Path(path), mode))
}

// Read gives a file of the host.
func (h *Host) Read(path string) string {
	h.fleet.t.Helper()
	b, err := os.ReadFile(h.Path(path))
	h.fleet.must(err)
	return string(b)
}

// Push copies a file of this machine onto the host.
func (h *Host) Push(from, to string, mode os.FileMode) {
	h.fleet.t.Helper()
	b, err := os.ReadFile(from)
	h.fleet.must(err)
	h.Write(to, string(b), mode)
}

// prepare makes the host's file system and network, before its first boot.
func (h *Host) prepare() error {
	for _, sub := range []string{"upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(h.dir, sub), 0o755); err != nil {
			return err
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%[2]s/work", h.root, h.dir)
	if out, err := exec.CommandContext(h.fleet.t.Context(), "mount", "-t", "overlay", "overlay", "-o", layers, filepath.Join(h.dir, "merged")).CombinedOutput(); err != nil {
		return fmt.Errorf("mount the file system of %s: %w: %s", h.Name, err, out)
	}
	for path, text := range map[string]string{"/etc/hostname": h.Name + "\n", "/etc/hosts": h.fleet.names()} {
		if err := os.WriteFile(h.Path(path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, unit := range h.masked() {
		if err := os.Symlink("/dev/null", h.Path("/etc/systemd/system/"+unit)); err != nil {
			return err
		}
	}
	for i := range h.cgroups {
		if err := os.MkdirAll(h.cgroups[i], 0o755); err != nil {
			return err
		}
	}
	return h.makeNetwork()
}

// masked are the units that only other hosts run.
func (h *Host) masked() []string {
	if strings.HasPrefix(h.Name, "web") {
		return nil
	}
	return []string{"nginx.service"}
}

// start boots the host; it returns before the boot is over.
func (h *Host) start() error {
	args := []string{
		"--register=no", "--keep-unit", "-q", "-M", h.namespace(), "--hostname=" + h.Name, "-D", filepath.Join(h.dir, "merged"),
		"--network-namespace-path=/run/netns/" + h.namespace(), "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe", "-b",
	}
	log, err := os.OpenFile(filepath.Join(h.dir, "console"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(h.fleet.t.Context()), "/bin/sh", append([]string{"-c", h.fleet.enter(h.cgroups) + `exec setsid systemd-nspawn "$@"`, "sh"}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), h.Kind.Hierarchy.environment()...)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // how a host ends is not of interest
		close(ended)
	}()
	h.nspawn, h.ended = cmd, ended
	return nil
}

// Leader is the process id, on this machine, of the host's PID 1 (0 = none).
func (h *Host) Leader() int {
	if h.nspawn == nil {
		return 0
	}
	pid := h.nspawn.Process.Pid
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	for child := range strings.FieldsSeq(string(b)) {
		n, _ := strconv.Atoi(child)
		// nspawn's helpers come and go; the leader is the one in namespaces of its own.
		mine, _ := os.Readlink("/proc/self/ns/pid")
		its, _ := os.Readlink("/proc/" + child + "/ns/pid_for_children")
		if its != "" && its != mine {
			return n
		}
	}
	return 0
}

// await waits until the host has booted.
func (h *Host) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	err := errors.New("not started")
	var out string
	for {
		if h.Leader() != 0 {
			if h.Kind.Init == Sysvinit {
				out, err = h.Try("test -e " + bootedFile)
			} else if out, err = h.Try("systemctl is-system-running --wait"); strings.Contains(out, "degraded") {
				out, _ = h.Try("systemctl --failed --no-legend --plain")
				return fmt.Errorf("%s came up with failed units: %s", h.Name, out)
			}
			if err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			console, _ := os.ReadFile(filepath.Join(h.dir, "console"))
			return fmt.Errorf("%s did not come up: %w: %s\n%s", h.Name, err, out, tail(string(console), 2000))
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// Command makes a command that runs on the host, as root, with a clean
// environment.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	in := []string{"--target", strconv.Itoa(h.Leader()), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--",
		"/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb", name}
	return exec.CommandContext(ctx, "nsenter", append(in, args...)...)
}

// Sysctl sets a value of the host's own process namespace ("vm/memfd_noexec").
// The host's /proc/sys can't be written to, so that a /proc is mounted beside it
// for the purpose.
func (h *Host) Sysctl(name, value string) error {
	out, err := h.Try("unshare --mount sh -euc 'mount -t proc proc /mnt; echo " + value + " >/mnt/sys/" + name + "'")
	if err != nil {
		return fmt.Errorf("%s: set %s: %w: %s", h.Name, name, err, out)
	}
	return nil
}

// Try runs a shell script on the host and gives all that it wrote.
func (h *Host) Try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.fleet.t.Context()), 2*time.Minute)
	defer cancel()
	out, err := h.Command(ctx, "/bin/sh", "-euc", script).CombinedOutput()
	return string(out), err
}

// Shell runs a shell script on the host, and fails the test where it fails.
func (h *Host) Shell(script string) string {
	h.fleet.t.Helper()
	out, err := h.Try(script)
	if err != nil {
		h.fleet.t.Fatalf("%s: %s: %v\n%s", h.short(), script, err, out)
	}
	return out
}

// Await runs a shell script on the host until it succeeds, for at most limit.
func (h *Host) Await(limit time.Duration, script string) string {
	h.fleet.t.Helper()
	end := time.Now().Add(limit)
	for {
		out, err := h.Try(script)
		if err == nil {
			return out
		}
		if time.Now().After(end) {
			h.fleet.t.Fatalf("%s: not within %s: %s: %v\n%s", h.short(), limit, script, err, out)
		}
		pause(h.fleet.t.Context(), 20*time.Millisecond)
	}
}

// Reboot boots a host with systemd anew, as its own `reboot` does, and waits for it.
func (h *Host) Reboot() {
	h.fleet.t.Helper()
	before := h.Leader()
	h.Try("systemctl reboot --no-block") //nolint:errcheck // the host may be gone before it answers
	h.Start(before)
}

// PullPlug takes the host's power away: no process of it gets to end by itself,
// nor to see another end. Killing them one after the other would let a parent
// note how its child ended; with PID 1 the kernel ends its whole namespace, every
// process before any parent is told (pid_namespaces(7)).
func (h *Host) PullPlug() {
	h.fleet.t.Helper()
	leader := h.Leader()
	if leader < 2 {
		h.fleet.t.Fatalf("%s is off already", h.short())
	}
	h.fleet.must(unix.Kill(leader, unix.SIGKILL))
	select {
	case <-h.ended: // nspawn ends with its PID 1
	case <-time.After(bootTime):
		h.fleet.t.Fatalf("%s: nspawn outlives its PID 1", h.short())
	}
	h.fleet.must(killAll(h.cgroups))
}

// Start boots a host that is off, or waits for one whose PID 1 is another than
// before, and waits until it is up.
func (h *Host) Start(before int) {
	h.fleet.t.Helper()
	for end := time.Now().Add(bootTime); time.Now().Before(end); pause(h.fleet.t.Context(), 10*time.Millisecond) { // bounded by bootTime
		select {
		case <-h.ended: // it is off, or was not booted anew by nspawn itself
			h.fleet.must(h.start())
			h.fleet.must(h.await(h.fleet.t.Context()))
			return
		default:
		}
		if now := h.Leader(); now != 0 && now != before {
			break
		}
	}
	h.fleet.must(h.await(h.fleet.t.Context()))
}

// killAll ends every process of the groups.
func killAll(groups []string) error {
	end := time.Now().Add(10 * time.Second)
	for {
		out, _ := exec.CommandContext(context.Background(), "find", append(append([]string{}, groups...), "-name", "cgroup.procs", "-exec", "cat", "{}", "+")...).Output()
		pids := strings.Fields(string(out))
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes %v don't end", pids)
		}
		for _, pid := range pids {
			n, _ := strconv.Atoi(pid)
			if p, err := os.FindProcess(n); err == nil && n > 1 {
				p.Kill() //nolint:errcheck // it may be gone
			}
		}
		pause(context.Background(), 10*time.Millisecond)
	}
}

// pause lets some time pass between two looks, or ends with ctx. Who calls it
// bounds the looking.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
