package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// serviceOf finds the listed service that a process belongs to, by the unit in
// whose control group it is.
func (a *Agent) serviceOf(pid int) (string, error) {
	if pid < 1 {
		return "", restart.Errorf(restart.CodeInvalid, "name a service of this host, or a process of it").WithHint("restartilka-agent check lists the services")
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return "", restart.Errorf(restart.CodeNotFound, "there is no process %d on this host", pid).Because(err)
	}
	if err != nil {
		return "", fmt.Errorf("look at process %d: %w", pid, err)
	}
	listed := listedUnits(a.cfg.Host.Services)
	units := unitsOf(groups)
	for _, unit := range units {
		if name, ok := listed[unit]; ok {
			return name, nil
		}
	}
	e := restart.Errorf(restart.CodeUnknownService, "process %d belongs to no unit of systemd, so that its service can't be told", pid).
		WithHint("name the service instead")
	if len(units) > 0 {
		e = restart.Errorf(restart.CodeUnknownService, "process %d belongs to %s, which no service of this host names as its unit", pid, restart.Quote(units[0])).
			WithHint("lay a file for it into %s: restartilka-agent discover drafts one", a.cfg.Host.Services)
	}
	return "", e
}

// unitsOf gives the service units that /proc/PID/cgroup names, the nearest to
// the process first.
func unitsOf(groups []byte) []string {
	var out []string
	for line := range bytes.Lines(groups) {
		_, rest, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		_, at, _ := bytes.Cut(rest, []byte(":"))
		for p := path.Clean("/" + string(at)); p != "/"; p = path.Dir(p) {
			if unit := path.Base(p); strings.HasSuffix(unit, ".service") && !slices.Contains(out, unit) {
				out = append(out, unit)
			}
		}
	}
	return out
}

// isJVM tells whether a process has a JVM in it.
func isJVM(pid int) bool {
	if pid < 1 {
		return false
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	return err == nil && bytes.Contains(maps, []byte("/libjvm.so"))
}
