package agent

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Features are what this host can and can't do for an agent. They don't change
// while it runs.
type Features struct {
	Memory   string   // sealed | unnamed-file, and why
	User     string   // whom the agent runs as
	Init     string   // systemd | other
	Shells   []string // of those that scenarios may name
	Warnings []protocol.Warning
}

// The words of Features.
const (
	memorySealed  = "sealed"
	memoryUnnamed = "unnamed-file"
	initSystemd   = "systemd"
	initOther     = "other"
)

// FeaturesHere looks at this host. base and why are what FindCgroup said.
func FeaturesHere(base, why string) Features {
	f := Features{User: ownUser(), Init: initSystemd, Memory: memorySealed}
	warn := func(kind protocol.WarningKind, message, hint string) {
		f.Warnings = append(f.Warnings, protocol.Warning{Kind: kind, Message: restart.Escape(message), Hint: hint})
	}
	if os.Geteuid() != 0 {
		warn(protocol.WarnUser, "the agent is not root: scripts can run as its own user only", "run it as root, as the unit of its package does")
	}
	if err := supervisor.Sealable(); err != nil {
		f.Memory = memoryUnnamed + " (" + restart.Escape(err.Error()) + ")"
		warn(protocol.WarnMemory, "scripts run from an unnamed file, not from sealed memory: "+err.Error(),
			"allow memfd_create(2) to the agent: Linux has it since 3.17, so that a seccomp filter of its unit or container forbids it")
	} else if mode := memfdMode(); mode != "" && mode != "0" {
		f.Memory = memorySealed + " (vm.memfd_noexec=" + mode + ")"
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		f.Init = initOther
		warn(protocol.WarnInit, "systemd does not run here: units can't be asked, use pid_file or port in health",
			"leave unit: out of services.d on this host, and use scenarios that need none")
	}
	if base == "" {
		warn(protocol.WarnContainment, "scripts are kept together by process group only: "+why, containmentHint(why))
	}
	for _, shell := range []string{"/bin/sh", "/bin/bash", "/bin/dash", "/bin/ksh", "/bin/zsh", "/usr/bin/python3", "/usr/bin/perl"} {
		if _, err := exec.LookPath(shell); err == nil {
			f.Shells = append(f.Shells, shell)
		}
	}
	return f
}

// containment says for reports how scripts are kept together.
func containment(base, why string) string {
	if base == "" {
		return supervisor.ByProcessGroup + " (" + why + ")"
	}
	return supervisor.ByCgroup + " (" + why + ")"
}

// containmentHint says what would bring a cgroup, by what FindCgroup misses.
func containmentHint(why string) string {
	switch {
	case strings.Contains(why, "off in agent.yaml"):
		return "take cgroup: off out of agent.yaml"
	case strings.Contains(why, "nothing delegates"):
		return "mount cgroup v2 (mount -t cgroup2 cgroup2 /sys/fs/cgroup), and set cgroup: /sys/fs/cgroup in agent.yaml"
	case strings.Contains(why, "not delegated"):
		return "set Delegate=yes in the agent's unit, as its package does, and restart the agent"
	}
	return "a host with cgroup v2 (Linux 5.7 or later, cgroup2 mounted) has it; without, a daemon that an earlier step left can lose a process it forks while a later step is ended"
}

// memfdMode gives vm.memfd_noexec: 1 makes sealed memory without the right to
// be executed the default, 2 forbids any other (Linux 6.3 and later,
// admin-guide/sysctl/vm.rst). Both leave the agent what it needs: its scripts
// are read from that memory, never executed. "" where the kernel has no such
// setting.
func memfdMode() string {
	b, err := os.ReadFile("/proc/sys/vm/memfd_noexec")
	if err != nil {
		return ""
	}
	return restart.Escape(strings.TrimSpace(string(b)))
}

func ownUser() string {
	uid := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(uid); err == nil {
		return restart.Escape(u.Username)
	}
	return "user " + uid
}

// checkShell tells whether the interpreter that a scenario names is here.
func checkShell(s restart.Scenario) *restart.Error {
	if s.Shell == "" {
		return nil
	}
	if _, err := exec.LookPath(s.Shell); err != nil {
		return restart.Errorf(restart.CodeNotInstalled, "scenario %s runs by %s, which is not on this host", s.Name, restart.Escape(s.Shell)).
			WithHint("install it there, or have a version of the scenario reviewed that does without")
	}
	return nil
}

const (
	// fullSpool is less than one task may need before it starts.
	fullSpool = protocol.MaxBody
	// A spool with less is told of while there is time: the output of four tasks,
	// or a twentieth of the file system, as far as that is a gigabyte.
	lowSpool      = 4 * (protocol.Head + protocol.Tail)
	lowShare      = 20
	lowShareMost  = 1 << 30
	fullFiles     = 50 // a task takes about a dozen
	lowFiles      = 1000
	unboundedFile = -1
)

// checkSpool reports the room in the spool.
func (a *Agent) checkSpool(problem func(error), warn func(protocol.Warning)) *protocol.SpoolReport {
	var st unix.Statfs_t
	if err := unix.Statfs(a.cfg.SpoolDir, &st); err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // it is made at the start
			problem(restart.Errorf(restart.CodeUnavailable, "the spool %s can't be looked at: %s", a.cfg.SpoolDir, restart.Escape(err.Error())).
				WithHint("repair its file system"))
		}
		return nil
	}
	r := spoolReport(a.cfg.SpoolDir, st)
	hint := "make room on the file system of " + r.Path
	var what string
	switch {
	case r.Free < fullSpool, r.FreeFiles >= 0 && r.FreeFiles < fullFiles:
		problem(restart.Errorf(restart.CodeDiskFull, "the spool of this host is full: %d KiB and %s are free", r.Free>>10, files(r.FreeFiles)).WithHint("%s", hint))
		return r
	case r.Free < lowSpool, r.Free < r.Total/lowShare && r.Free < lowShareMost:
		what = strconv.FormatInt(r.Free>>20, 10) + " MiB of " + strconv.FormatInt(r.Total>>20, 10) + " are free"
	case r.FreeFiles >= 0 && r.FreeFiles < lowFiles:
		what = files(r.FreeFiles) + " are free"
	default:
		return r
	}
	warn(protocol.Warning{Kind: protocol.WarnSpool, Message: "the spool is nearly full: " + what, Hint: hint})
	return r
}

func spoolReport(path string, st unix.Statfs_t) *protocol.SpoolReport {
	free := st.Bavail
	if os.Geteuid() == 0 {
		free = st.Bfree // what is kept for root is ours, too
	}
	r := &protocol.SpoolReport{Path: path, Free: int64(free) * st.Bsize, Total: int64(st.Blocks) * st.Bsize, FreeFiles: int64(st.Ffree)}
	if st.Files == 0 {
		r.FreeFiles = unboundedFile
	}
	return r
}

func files(n int64) string {
	if n < 0 {
		return "any number of files"
	}
	return strconv.FormatInt(n, 10) + " files"
}
