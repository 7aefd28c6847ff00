package supervisor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupPrefix starts the names of our own cgroups below the agent's.
const cgroupPrefix = "restartilka-"

// cgroup is a cgroup v2 of its own for one script.
type cgroup struct {
	path string
	dir  *os.File
}

func newCgroup(base, name string) (*cgroup, error) {
	path := filepath.Join(base, cgroupPrefix+name)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return &cgroup{path: path, dir: dir}, nil
}

// prepare lets the kernel start the command inside the cgroup: there is no
// moment at which it is outside.
func (c *cgroup) prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(c.dir.Fd())
}

func (c *cgroup) signal(sig syscall.Signal) (int, error) {
	pids, err := c.members()
	if err != nil {
		return 0, err
	}
	if sig == unix.SIGKILL && len(pids) > 0 {
		if err := c.kill(); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return len(pids), err
		}
		// before Linux 5.14: one by one, until none is left
	}
	for _, pid := range pids {
		if sig != 0 {
			unix.Kill(pid, sig) //nolint:errcheck // it may have gone; the next look counts again
		}
	}
	return len(pids), nil
}

// kill lets the kernel kill everything at once, forks in flight included.
func (c *cgroup) kill() error {
	f, err := os.OpenFile(c.path+"/cgroup.kill", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("1")
	return err
}

// members lists the processes of the cgroup and of those below it.
func (c *cgroup) members() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(c.path, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.Name() != "cgroup.procs" {
			return nil
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		for line := range strings.Lines(string(b)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the script's processes: %w", err)
	}
	return pids, nil
}

// close removes the cgroup, unless something lives on in it.
func (c *cgroup) close() {
	c.dir.Close()
	os.Remove(c.path) // SweepCgroups does it once the leftovers are gone
}

// sweepAge spares a cgroup that has just been made, and is empty because its
// script is about to start.
const sweepAge = time.Minute

// SweepCgroups removes what has become empty below base: the cgroups of scripts
// that left something behind, once that has ended. The agent does it at its
// start, and each supervisor at its own.
func SweepCgroups(base string) {
	left, err := filepath.Glob(filepath.Join(base, cgroupPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > sweepAge {
			os.Remove(path) // fails where something lives in it
		}
	}
}

// FindCgroup finds where cgroups for scripts may be made, by the setting of
// agent.yaml: "auto", "off" or a directory. It answers "" where that is nowhere,
// and why in words. For "auto" that is below this process's own cgroup, where
// systemd has delegated that.
func FindCgroup(setting string) (base, why string) { return findCgroup(setting, ownCgroup) }

// FindUnitCgroup is FindCgroup as the agent would be told that runs as this unit
// of systemd, for who is not the agent itself.
func FindUnitCgroup(setting, unit string) (base, why string) {
	return findCgroup(setting, func() (string, error) {
		if !systemdRuns() {
			return ownCgroup()
		}
		at, _, err := cgroupMount()
		if err != nil {
			return "", err
		}
		path := filepath.Join(at, "system.slice", unit)
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s does not run, so that it has no cgroup", unit)
		}
		return path, nil
	})
}

func findCgroup(setting string, auto func() (string, error)) (base, why string) {
	switch setting {
	case "off":
		return "", "cgroup: off in agent.yaml"
	case "auto", "":
		own, err := auto()
		switch {
		case err == nil && delegated(own):
			base = own
		case !systemdRuns():
			return "", "nothing delegates a cgroup where systemd does not run; cgroup: in agent.yaml can name one"
		case err != nil:
			return "", err.Error()
		default:
			return "", "the agent's cgroup is not delegated to it (Delegate=yes in its unit)"
		}
	default:
		base = setting
	}
	if err := usable(base); err != nil {
		return "", err.Error()
	}
	return base, "below " + base
}

// systemdRuns is sd_booted(3).
func systemdRuns() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// usable tries it: it makes a cgroup, and starts a process in it. Every script
// would fail to start where the kernel can't do the second.
func usable(base string) error {
	if _, err := os.Stat(base + "/cgroup.procs"); err != nil {
		return fmt.Errorf("%s is not a cgroup v2", base)
	}
	c, err := newCgroup(base, "try-"+strconv.Itoa(os.Getpid()))
	if err != nil {
		return fmt.Errorf("no cgroup can be made below %s: %w", base, err)
	}
	defer c.close()
	cmd := &exec.Cmd{Path: defaultShell, Args: []string{defaultShell, "-c", ":"}, Env: []string{path}, Dir: "/", SysProcAttr: &syscall.SysProcAttr{}}
	c.prepare(cmd)
	switch err := cmd.Run(); {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.E2BIG): // no clone3(2), or one without CLONE_INTO_CGROUP
		return errors.New("this kernel can't start a process in a cgroup (Linux 5.7 and later can, where clone3 is not forbidden)")
	case err != nil:
		return fmt.Errorf("no process can be started in a cgroup below %s: %w", base, err)
	}
	return nil
}

// ownCgroup gives the directory of this process's cgroup v2.
func ownCgroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		at, root, err := cgroupMount()
		if err != nil {
			return "", err
		}
		below, err := filepath.Rel(root, path)
		if err != nil || strings.HasPrefix(below, "..") {
			return "", errors.New("the agent's cgroup is outside of what is mounted")
		}
		return filepath.Join(at, below), nil
	}
	return "", errors.New("this kernel has no cgroup v2")
}

// cgroupMount finds the mount point of cgroup v2, and which part of the
// hierarchy is mounted there.
func cgroupMount() (at, root string, err error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	at, root, ok := parseMounts(mounts)
	if !ok {
		return "", "", errors.New("cgroup v2 is not mounted")
	}
	return at, root, nil
}

// parseMounts looks for cgroup v2 in mountinfo.
func parseMounts(mountinfo []byte) (at, root string, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	for lines.Scan() {
		left, right, found := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(left)
		if found && len(fields) >= 5 && strings.HasPrefix(right, "cgroup2 ") {
			return fields[4], fields[3], true
		}
	}
	return "", "", false
}

// delegated tells whether systemd has given the cgroup to the agent for its own use.
func delegated(path string) bool {
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		b := make([]byte, 8)
		if n, err := unix.Getxattr(path, name, b); err == nil && string(b[:n]) == "1" {
			return true
		}
	}
	return false
}
