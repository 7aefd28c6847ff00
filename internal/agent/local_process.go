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
// whose control group it is; "" = it is of none. CodeNotFound where there is no
// such process.
func (a *Agent) serviceOf(pid int) (string, error) {
	if pid < 1 {
		return "", restart.Errorf(restart.CodeInvalid, "%d is not the number of a process", pid)
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
	return "", nil
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
