package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/restart"
)

// Ref says which process is meant, by exactly one of its fields.
type Ref struct {
	Unit    string `json:"unit,omitempty"`     // its main process
	PIDFile string `json:"pid_file,omitempty"` // an absolute path
	Port    string `json:"port,omitempty"`     // who listens there: a number, or ADDRESS:PORT
	Command string `json:"command,omitempty"`  // a regular expression (RE2) that its whole command line must hold
}

// maxPattern bounds a command's pattern, in bytes.
const maxPattern = 1000

// Check refuses a reference that could never name a process.
func (r Ref) Check() error {
	set := 0
	for _, s := range []string{r.Unit, r.PIDFile, r.Port, r.Command} {
		if s != "" {
			set++
		}
	}
	if set != 1 {
		return restart.Errorf(restart.CodeInvalid, "the process is named by exactly one of unit, pid_file, port and command")
	}
	if r.Command != "" {
		_, err := r.pattern()
		return err
	}
	return nil
}

func (r Ref) pattern() (*regexp.Regexp, error) {
	if len(r.Command) > maxPattern {
		return nil, restart.Errorf(restart.CodeInvalid, "the pattern of a command is longer than %d bytes", maxPattern)
	}
	pattern, err := regexp.Compile(r.Command)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the pattern of a command, %s, is not a regular expression: %v", restart.Quote(r.Command), err)
	}
	if pattern.MatchString("") {
		return nil, restart.Errorf(restart.CodeInvalid, "the pattern of a command, %s, fits every process", restart.Quote(r.Command))
	}
	return pattern, nil
}

// Find finds the one process that ref means. CodeNotFound where there is none,
// CodeConflict where there are several, with their numbers.
func Find(ctx context.Context, ref Ref) (Target, error) {
	if err := ref.Check(); err != nil {
		return Target{}, err
	}
	if ref.Command != "" {
		return byCommand(ctx, ref)
	}
	found, absent, err := health.System{}.Explain(ctx, restart.ProcessRef{Unit: ref.Unit, PIDFile: ref.PIDFile, Port: ref.Port})
	if err != nil {
		return Target{}, err
	}
	if found.PID < 1 {
		if absent == "" {
			absent = fmt.Sprintf("unit %s has no main process", ref.Unit)
		}
		return Target{}, restart.Errorf(restart.CodeNotFound, "there is no process to take a dump of: %s", absent)
	}
	t := Target{PID: found.PID, StartTime: found.StartTime}
	st, err := statOf(t.PID)
	if err != nil {
		return Target{}, noProcess(t.PID, err)
	}
	if err := st.check(); err != nil {
		return Target{}, err
	}
	if ref.Unit != "" {
		return wrapped(t), nil
	}
	return t, nil
}

// shells are programs that people wrap their service in.
var shells = []string{"sh", "bash", "dash", "ksh", "zsh", "ash", "busybox", "su", "sudo", "runuser", "setpriv", "env", "nohup", "timeout", "tini", "dumb-init"}

// wrapped gives the one process that a unit's main process started, where that
// one is only a shell around it, and t itself otherwise.
func wrapped(t Target) Target {
	for range 4 {
		exe, err := os.Readlink("/proc/" + strconv.Itoa(t.PID) + "/exe")
		if err != nil || !slices.Contains(shells, exe[strings.LastIndexByte(exe, '/')+1:]) {
			return t
		}
		pid := strconv.Itoa(t.PID)
		children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		if err != nil {
			return t
		}
		numbers := strings.Fields(string(children))
		if len(numbers) != 1 {
			return t
		}
		child, err := strconv.Atoi(numbers[0])
		if err != nil {
			return t
		}
		st, err := statOf(child)
		if err != nil || st.check() != nil {
			return t
		}
		t = Target{PID: child, StartTime: st.start}
	}
	return t
}

// byCommand looks at the command lines of all processes but this one and the
// one that started it.
func byCommand(ctx context.Context, ref Ref) (Target, error) {
	pattern, err := ref.pattern()
	if err != nil {
		return Target{}, err
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return Target{}, restart.Errorf(restart.CodeUnavailable, "the processes of this host can't be listed: %v", err)
	}
	var found []Target
	var withheld []int
	for _, entry := range processes {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || pid == os.Getppid() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return Target{}, err
		}
		args, err := patiently(func() ([]string, error) { return arguments(pid) })
		if errors.Is(err, errWithheld) {
			withheld = append(withheld, pid)
		}
		if err != nil || len(args) == 0 || !pattern.MatchString(strings.Join(args, " ")) {
			continue
		}
		st, err := statOf(pid)
		if err != nil || st.check() != nil {
			continue // it has just ended
		}
		found = append(found, Target{PID: pid, StartTime: st.start})
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Target{}, several(ref, found)
	case len(withheld) > 0:
		return Target{}, restart.Errorf(restart.CodeUnavailable, "no command line fits %s, and the kernel did not show those of %d processes in time, such as process %d", restart.Quote(ref.Command), len(withheld), withheld[0]).
			WithHint("such a process hangs in the kernel: name the one that is meant by its unit, pid_file or port")
	}
	return Target{}, restart.Errorf(restart.CodeNotFound, "no process on this host has a command line that fits %s", restart.Quote(ref.Command))
}

// several refuses to choose, and names at most ten.
func several(ref Ref, found []Target) error {
	const most = 10
	var names []string
	for _, t := range found[:min(most, len(found))] {
		names = append(names, strconv.Itoa(t.PID))
	}
	more := ""
	if len(found) > most {
		more = fmt.Sprintf(" and %d more", len(found)-most)
	}
	return restart.Errorf(restart.CodeConflict, "%d processes have a command line that fits %s: %s%s", len(found), restart.Quote(ref.Command), strings.Join(names, ", "), more).
		WithHint("make the pattern in the scenario narrower, so that it fits one")
}
