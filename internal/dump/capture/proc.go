package capture

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// tick is the unit of times in /proc, which the kernel has fixed for programs.
const tick = 10 * time.Millisecond

// KernelMark is the first line of the kernel's view of a process.
const KernelMark = "restartilka kernel dump 1"

// told are the lines of /proc/PID/status that are shown.
var told = []string{
	"Name", "State", "Pid", "PPid", "NSpid", "TracerPid", "Uid", "Gid", "FDSize", "VmPeak", "VmSize", "VmRSS", "VmSwap", "Threads",
	"SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches",
}

// kernel writes down how the kernel sees each thread. The process itself takes
// no part in it, so that this works whatever has become of it.
func (p *process) kernel(ctx context.Context) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(KernelMark + "\n")
	status, err := p.status()
	if err != nil {
		return nil, err
	}
	for _, name := range told {
		if value, ok := status[name]; ok {
			fmt.Fprintf(&b, "%s: %s\n", name, printable(value))
		}
	}
	threads, err := p.threads()
	if err != nil {
		return nil, err
	}
	hidden := 0
	for i, tid := range threads {
		if ctx.Err() != nil || b.Len() > dump.MaxCapture {
			p.note("only %d of %d threads were looked at in time", i, len(threads))
			break
		}
		if readable := p.thread(&b, tid); !readable {
			hidden++
		}
	}
	if hidden > 0 {
		p.note("the kernel does not show the stacks of %d threads", hidden)
	}
	return b.Bytes(), nil
}

// thread writes down one thread, and tells whether the kernel let us see its
// stack. One that has ended since it was listed is left out.
func (p *process) thread(b *bytes.Buffer, tid int) (readable bool) {
	dir := p.proc("task", strconv.Itoa(tid))
	raw, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return true
	}
	st, err := parseStat(raw)
	if err != nil {
		return true
	}
	name, _ := os.ReadFile(dir + "/comm") // not there = it has none
	fmt.Fprintf(b, "\nthread %d %s %c (%s)\n", tid, strconv.Quote(strings.TrimSuffix(string(name), "\n")), st.state, stateWord(st.state))
	fmt.Fprintf(b, "wchan: %s\n", textOf(dir+"/wchan"))
	fmt.Fprintf(b, "syscall: %s\n", named(textOf(dir+"/syscall")))
	schedstat, _ := os.ReadFile(dir + "/schedstat") // not every kernel has it
	fmt.Fprintf(b, "cpu: %d ms\n", processorTime(schedstat, st).Milliseconds())
	stack, err := os.ReadFile(dir + "/stack")
	if err != nil {
		fmt.Fprintf(b, "  %s\n", notReadable)
		return false
	}
	for line := range strings.Lines(string(stack)) {
		fmt.Fprintf(b, "  %s\n", printable(strings.TrimSpace(line)))
	}
	return true
}

const notReadable = "(not readable)"

// textOf reads a file of one line.
func textOf(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return notReadable
	}
	return printable(string(bytes.TrimSpace(text)))
}

// named puts the name of a system call behind its number, where that is known.
func named(call string) string {
	number, rest, _ := strings.Cut(call, " ")
	if n, err := strconv.Atoi(number); err == nil && calls[n] != "" {
		return number + " (" + calls[n] + ") " + rest
	}
	return call
}

// stateWord says what the kernel's letter stands for, as /proc/PID/status does.
func stateWord(letter byte) string {
	switch letter {
	case 'R':
		return "running"
	case 'S':
		return "sleeping"
	case 'D':
		return "disk sleep"
	case 'T':
		return "stopped"
	case 't':
		return "tracing stop"
	case 'I':
		return "idle"
	case 'P':
		return "parked"
	case 'Z':
		return "zombie"
	}
	return "dead"
}

// printable makes a text of the kernel one line without control characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f:
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// threads lists the process's threads by their numbers, ascending.
func (p *process) threads() ([]int, error) {
	dir, err := os.Open(p.proc("task"))
	if err != nil {
		return nil, noProcess(p.pid, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, noProcess(p.pid, err)
	}
	var out []int
	for _, name := range names {
		if tid, err := strconv.Atoi(name); err == nil {
			out = append(out, tid)
		}
	}
	slices.Sort(out)
	return out, nil
}

// openTo gives what of a file, of where a link leads, and of the folders above
// them others than root may write, and so put another file in its place; "" =
// nothing. In a sticky folder, such as /tmp, nobody replaces what is not his.
func openTo(path string) string {
	led, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path
	}
	for _, at := range []string{path, led} {
		for {
			info, err := os.Stat(at)
			if err != nil || !ownedSafely(info) {
				return at
			}
			if at == filepath.Dir(at) {
				break
			}
			at = filepath.Dir(at)
		}
	}
	return ""
}

// ownedSafely tells whether a file is root's, or ours, and nobody else's to write.
func ownedSafely(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	closed := info.Mode().Perm()&0o022 == 0 || info.IsDir() && info.Mode()&os.ModeSticky != 0
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid()) && closed
}
