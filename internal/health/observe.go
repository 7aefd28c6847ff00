package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/restartilka/restartilka/internal/restart"
)

// Observe finds the main process of a service on this host: see System.Observe.
func Observe(ctx context.Context, ref restart.ProcessRef) (Process, error) {
	return System{}.Observe(ctx, ref)
}

// Observe finds the main process of a service. That there is none is an answer,
// not an error: then Process.Exists is false. An error means that it could not
// be found out: CodeInvalid for a reference that is wrong, CodeNotFound for a
// unit that does not exist, CodeUnavailable where systemd, /proc or a file does
// not answer.
func (s System) Observe(ctx context.Context, ref restart.ProcessRef) (Process, error) {
	process, _, err := s.Explain(ctx, ref)
	return process, err
}

// Explain is Observe, and also says in a few words why there is no process.
func (s System) Explain(ctx context.Context, ref restart.ProcessRef) (p Process, absent string, err error) {
	if err := checkRef(ref); err != nil {
		return Process{}, "", err
	}
	switch {
	case ref.Unit != "":
		p, absent, err = s.byUnit(ctx, ref.Unit)
	case ref.PIDFile != "":
		p, absent, err = s.byPIDFile(ref.PIDFile)
	default:
		p, absent, err = s.byPort(ref.Port)
	}
	if err != nil {
		return Process{}, "", err
	}
	if p.BootID, err = s.bootID(); err != nil {
		return Process{}, "", err
	}
	return p, absent, nil
}

// Runs tells whether the very process p is still running, and not another one
// that was given its number since.
func (s System) Runs(p Process) (bool, error) {
	st, err := s.stat(p.PID)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, unavailable(err, "process %d can't be looked at", p.PID)
	}
	return !st.dead() && st.startTime == p.StartTime, nil
}

func checkRef(ref restart.ProcessRef) error {
	set := 0
	for _, s := range []string{ref.Unit, ref.PIDFile, ref.Port} {
		if s != "" {
			set++
		}
	}
	if set != 1 {
		return restart.Errorf(restart.CodeInvalid, "new_process must name exactly one of unit, pid_file and port")
	}
	if ref.Unit != "" {
		return restart.CheckUnit(ref.Unit)
	}
	if ref.PIDFile != "" && (!filepath.IsAbs(ref.PIDFile) || filepath.Clean(ref.PIDFile) != ref.PIDFile || restart.Escape(ref.PIDFile) != ref.PIDFile) {
		return restart.Errorf(restart.CodeInvalid, "pid_file %s is not a plain absolute path", restart.Quote(ref.PIDFile))
	}
	return nil
}

// byUnit asks systemd. A unit is up while it is active: one that is activating
// may still fail, and one that waits to be restarted has failed. Its invocation
// is known all the same, so that a start which merely went on is not a new one.
func (s System) byUnit(ctx context.Context, unit string) (Process, string, error) {
	shown, err := s.showUnit(ctx, unit)
	if err != nil {
		return Process{}, "", err
	}
	p, absent := Process{InvocationID: shown.invocationID}, ""
	switch shown.active {
	case "active", "reloading", "refreshing":
	default:
		absent = fmt.Sprintf("unit %s is %s (%s)", unit, shown.active, shown.sub)
	}
	if shown.mainPID > 0 {
		st, err := s.stat(shown.mainPID)
		switch {
		case gone(err) || (err == nil && st.dead()):
			return p, fmt.Sprintf("the main process %d of unit %s has just ended", shown.mainPID, unit), nil
		case err != nil:
			return Process{}, "", unavailable(err, "the main process %d of unit %s can't be looked at", shown.mainPID, unit)
		}
		p.PID, p.StartTime = st.pid, st.startTime
	} else if shown.invocationID == "" && absent == "" { // else: a unit that starts something and has no process of its own
		absent = fmt.Sprintf("unit %s has no main process", unit)
	}
	p.Up = absent == ""
	return p, absent, nil
}

// byPIDFile reads the first line of a pid file. What else it holds is never
// shown: whoever may write the file could point it at another one.
func (s System) byPIDFile(path string) (Process, string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hold us up
	if errors.Is(err, os.ErrNotExist) {
		return Process{}, fmt.Sprintf("there is no pid file %s", path), nil
	}
	if err != nil {
		return Process{}, "", unavailable(err, "the pid file %s can't be opened", path)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return Process{}, "", restart.Errorf(restart.CodeUnavailable, "the pid file %s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return Process{}, "", unavailable(err, "the pid file %s can't be read", path)
	}
	pid, ok := parsePIDFile(text)
	if !ok {
		return Process{}, fmt.Sprintf("the pid file %s does not start with a pid", path), nil
	}
	st, err := s.stat(pid)
	if gone(err) || (err == nil && st.dead()) {
		return Process{}, fmt.Sprintf("the process %d of the pid file %s does not run", pid, path), nil
	}
	if err != nil {
		return Process{}, "", unavailable(err, "the process %d of the pid file %s can't be looked at", pid, path)
	}
	return Process{PID: st.pid, StartTime: st.startTime, Up: true}, "", nil
}

// parsePIDFile reads a pid from the first line; some services write more below.
func parsePIDFile(text []byte) (int, bool) {
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.ParseUint(strings.TrimSpace(line), 10, 31)
	return int(pid), err == nil && pid > 0
}

// gone tells whether an error of reading in /proc/PID says that the process has
// ended, before or while it was read.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

func unavailable(cause error, format string, args ...any) error {
	if path, ok := errors.AsType[*os.PathError](cause); ok {
		cause = path.Err // the sentence has the path already
	}
	return restart.Errorf(restart.CodeUnavailable, "%s: %v", fmt.Sprintf(format, args...), cause).Because(cause)
}
