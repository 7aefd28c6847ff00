package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// errReused says that the number of a process belongs to another one now.
var errReused = errors.New("the number belongs to another process now")

// life is one life of one process, held on to so that nothing is done to
// another one that was given its number.
type life struct {
	pid       int
	start     uint64
	fd        int // a pidfd; -1 on a kernel that has none (before 5.3)
	arguments []string
	withheld  bool // they are not known
}

// hold takes hold of a process that lives and has memory of its own.
func hold(t Target) (*life, error) {
	if t.PID < 1 {
		return nil, restart.Errorf(restart.CodeInvalid, "%d is not the number of a process", t.PID)
	}
	if t.PID == os.Getpid() {
		return nil, restart.Errorf(restart.CodeInvalid, "process %d is the one that takes the dump", t.PID)
	}
	fd, err := unix.PidfdOpen(t.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, noProcess(t.PID, err)
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT): // it is a thread of another process
		return nil, restart.Errorf(restart.CodeInvalid, "%d is a thread, and not a process", t.PID).
			WithHint("give the number of its process: Tgid in /proc/%d/status", t.PID)
	case err != nil:
		fd = -1
	default:
		unix.CloseOnExec(fd)
	}
	l := &life{pid: t.PID, fd: fd}
	if err := l.look(t.StartTime); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// look finds out which life this is, and refuses one that has no threads to show.
func (l *life) look(start uint64) error {
	st, err := statOf(l.pid)
	if err != nil {
		return noProcess(l.pid, err)
	}
	if start != 0 && st.start != start {
		return restart.Errorf(restart.CodeNotFound, "process %d has ended, and its number belongs to another process now", l.pid).Because(errReused)
	}
	l.start = st.start
	if err := st.check(); err != nil {
		return err
	}
	l.arguments, err = patiently(func() ([]string, error) { return arguments(l.pid) })
	if errors.Is(err, errWithheld) {
		l.withheld = true
		return nil
	}
	if err != nil {
		return noProcess(l.pid, err)
	}
	return nil
}

func (l *life) release() {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
}

func noProcess(pid int, cause error) error {
	if errors.Is(cause, fs.ErrPermission) {
		return restart.Errorf(restart.CodeForbidden, "process %d belongs to another user, and can't be looked at", pid).WithHint("only root can").Because(cause)
	}
	return restart.Errorf(restart.CodeNotFound, "there is no process %d on this host", pid).Because(cause)
}

// check says whether the process lives on.
func (l *life) check() error {
	st, err := statOf(l.pid)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || (err == nil && st.dead()):
		return restart.Errorf(restart.CodeNotFound, "process %d has ended meanwhile", l.pid)
	case err != nil:
		return noProcess(l.pid, err)
	case st.start != l.start:
		return restart.Errorf(restart.CodeNotFound, "process %d has ended meanwhile, and its number belongs to another process now", l.pid).Because(errReused)
	}
	return nil
}

// proc gives a path below the process's folder.
func (l *life) proc(elements ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(l.pid)}, elements...)...)
}

// signal sends a signal that the process is known to catch, to this very life.
func (l *life) signal(s unix.Signal) error {
	caught, err := l.catches(s)
	if err != nil {
		return err
	}
	if !caught {
		return restart.Errorf(restart.CodeConflict, "process %d does not catch the signal %s, and would die of it", l.pid, signalName(s))
	}
	if l.fd < 0 {
		if err := l.check(); err != nil {
			return err
		}
		return l.sent(s, unix.Kill(l.pid, s))
	}
	return l.sent(s, unix.PidfdSendSignal(l.fd, s, nil, 0))
}

func (l *life) sent(s unix.Signal, err error) error {
	if err != nil {
		return fmt.Errorf("send the signal %s to process %d: %w", signalName(s), l.pid, err)
	}
	return nil
}

// catches tells whether the process has a handler for a signal.
func (l *life) catches(s unix.Signal) (bool, error) {
	status, err := l.status()
	if err != nil {
		return false, err
	}
	mask, err := strconv.ParseUint(status["SigCgt"], 16, 64)
	if err != nil {
		return false, fmt.Errorf("which signals process %d catches: %w", l.pid, err)
	}
	return mask>>(uint(s)-1)&1 == 1, nil
}

// proves refuses a process that is sent no signal, as it does not run on what a
// scenario says: a Go program and a web server catch QUIT too, and end by it.
func (l *life) proves(wanted dump.Runtime) error {
	if found, _ := runtimeOf(l.pid); found != wanted { // what is withheld proves nothing
		return restart.Errorf(restart.CodeConflict, "process %d does not run on %s (found: %s), and is sent no signal: it may end by it", l.pid, wanted, found).
			WithHint("runtime: auto in the scenario, or name the process that is meant")
	}
	return nil
}

// stopped refuses a process that is held: it can't answer, and a signal would
// only wait for it.
func (l *life) stopped() error {
	st, err := statOf(l.pid)
	if err != nil {
		return noProcess(l.pid, err)
	}
	switch st.state {
	case 'T':
		return restart.Errorf(restart.CodeConflict, "process %d is stopped, by SIGSTOP or the like, and can't answer", l.pid).
			WithHint("whoever stopped it can let it go on with kill -CONT %d", l.pid)
	case 't':
		return restart.Errorf(restart.CodeConflict, "process %d is held by a debugger, and can't answer", l.pid)
	}
	return nil
}

// status reads /proc/PID/status.
func (l *life) status() (map[string]string, error) {
	b, err := os.ReadFile(l.proc("status"))
	if err != nil {
		return nil, noProcess(l.pid, err)
	}
	return parseStatus(b), nil
}

// parseStatus reads proc_pid_status(5). The kernel escapes the name that stands
// in its first line, so that each line is its own.
func parseStatus(b []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			out[name] = strings.TrimSpace(value)
		}
	}
	return out
}

// stat is what is needed of /proc/PID/stat.
type stat struct {
	pid   int
	state byte
	flags uint64
	ticks uint64 // used, in user and kernel mode, in hundredths of a second
	start uint64 // in clock ticks since boot
}

func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// check refuses what has no threads of its own.
func (s stat) check() error {
	const kernelThread = 0x00200000 // PF_KTHREAD
	switch {
	case s.flags&kernelThread != 0:
		return restart.Errorf(restart.CodeInvalid, "%d is a thread of the kernel, and no process", s.pid)
	case s.dead():
		return restart.Errorf(restart.CodeNotFound, "process %d has ended: it is a zombie that its parent has not asked about yet", s.pid)
	}
	return nil
}

func statOf(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads proc_pid_stat(5). A name may hold anything, so the fields are
// counted from the last closing bracket.
func parseStat(b []byte) (stat, error) {
	const state, flags, utime, stime, start = 0, 6, 11, 12, 19
	name, rest := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if name < 0 || rest < name {
		return stat{}, errors.New("a stat without a name")
	}
	fields := strings.Fields(string(b[rest+1:]))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:name])))
	if err != nil || len(fields) <= start || len(fields[state]) != 1 {
		return stat{}, errors.New("a stat that can't be read")
	}
	out := stat{pid: pid, state: fields[state][0]}
	var user, system uint64
	for _, f := range []struct {
		at int
		to *uint64
	}{{flags, &out.flags}, {utime, &user}, {stime, &system}, {start, &out.start}} {
		if *f.to, err = strconv.ParseUint(fields[f.at], 10, 64); err != nil {
			return stat{}, fmt.Errorf("field %d of a stat: %w", f.at+3, err)
		}
	}
	out.ticks = user + system
	return out, nil
}

// maxArguments bounds what is read of a command line, in bytes.
const maxArguments = 64 << 10

// arguments reads a process's command line, empty for one that has erased it.
func arguments(pid int) ([]string, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, maxArguments)
	n := 0
	for n < len(b) {
		more, err := f.Read(b[n:])
		if more == 0 || err != nil {
			break
		}
		n += more
	}
	text := strings.TrimRight(string(b[:n]), "\x00")
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\x00"), nil
}
