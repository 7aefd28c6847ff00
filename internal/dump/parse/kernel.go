package parse

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// kernelFirst is the line that a dump of any process, taken from /proc, begins
// with. The form is ours: capture writes it, and this file says what it is.
//
//	restartilka kernel dump 1
//	Name:	nginx
//	State:	S (sleeping)
//	PPid:	1
//	Threads:	2
//	VmRSS:	    5124 kB
//
//	thread 4711 "nginx" S (sleeping)
//	wchan: ep_poll
//	syscall: 232 (epoll_wait) 0x8 0x55d0c8 0x200 0xffffffff
//	cpu: 1250 ms
//	  [<0>] ep_poll+0x3a1/0x4c0
//	  [<0>] do_epoll_wait+0x5a/0x1b0
//	  [<0>] do_syscall_64+0x3b/0x90
//
//	thread 4712 "pool \"a\"" D (disk sleep)
//	wchan: (not readable)
//	syscall: (not readable)
//	cpu: 10 ms
//	  (not readable)
//
// After the first line stand lines of /proc/PID/status as they are, as many as
// are wanted. Each thread begins with its line: the word thread, its number, its
// name as Go quotes one (strconv.Quote), the kernel's letter and word for its
// state. Then, in any order and each only where it is known:
//
//	wchan: F              the kernel's function that it sleeps in; 0 = it does not sleep
//	syscall: N (NAME) A…  the number of the system call that it is in, its name in brackets where that is
//	                      known, and its arguments as /proc/TID/syscall has them; or the word running
//	cpu: N ms             processor time that it has used, of user and system together
//	  [<0>] F+0xO/0xS     its kernel stack, the innermost call first, as /proc/TID/stack has it, each after two
//	                      blanks; the brackets may be missing
//
// What can't be read is said as (not readable). Blank lines have no meaning.
//
// The same without its first line, as the scenario process-dump prints it, is
// read too: there a line "unit U, host H, main process N" is the first, names are
// not escaped, the state stands in a line of its own, "system call:" is what
// "syscall:" is here, and "kernel stack:" stands before the stack.
const kernelFirst = "restartilka kernel dump 1"

func kernelTitle(s *source) bool {
	if len(s.line) == 0 || s.line[0] != 'r' && s.line[0] != 'u' {
		return false
	}
	if string(s.line) == kernelFirst {
		return true
	}
	return bytes.HasPrefix(s.line, []byte("unit ")) && bytes.Contains(s.line, []byte(", host ")) &&
		bytes.Contains(s.line, []byte(", main process "))
}

// kernelReader reads one dump of the kernel's words.
type kernelReader struct {
	*reading
	open   bool // thread is being read
	thread dump.Thread
	call   string // name or number of the system call
	wchan  string
	futex  string // address that it waits at
	stack  []dump.Frame
}

func readKernel(r *reading) {
	k := &kernelReader{reading: r}
	for first := true; r.more(); first = false {
		if first {
			r.known()
			continue
		}
		if kernelTitle(r.source) {
			r.back()
			break
		}
		k.take(r.line)
	}
	k.flush()
}

func (k *kernelReader) take(line []byte) {
	text := bytes.TrimSpace(line)
	t, begins := k.threadLine(text)
	switch {
	case len(text) == 0:
		k.known()
	case begins:
		k.flush()
		k.open, k.thread = true, t
		k.understood()
	case !k.open:
		k.process(text)
	case k.attribute(text) || k.frame(line, text):
		k.understood()
	default:
		k.unknown()
	}
}

// understood says that the line at hand belongs to the thread that is being read.
func (k *kernelReader) understood() {
	k.known()
	k.thread.Lines.Last = k.number
}

// process takes a line that stands before the first thread. What the model has
// no place for stays in Rest, where people see it.
func (k *kernelReader) process(text []byte) {
	if name, ok := bytes.CutPrefix(text, []byte("Name:")); ok && k.dump.Program == "" {
		k.dump.Program = k.names.text(bytes.TrimSpace(name))
		k.known()
		return
	}
	k.unknown()
}

// threadLine reads `thread 4711 "name" S (sleeping)`.
func (k *kernelReader) threadLine(text []byte) (dump.Thread, bool) {
	tail, ok := bytes.CutPrefix(text, []byte("thread "))
	number, tail, _ := bytes.Cut(tail, []byte(" "))
	id, err := strconv.ParseInt(string(number), 10, 64)
	if !ok || err != nil || len(tail) == 0 || tail[0] != '"' {
		return dump.Thread{}, false
	}
	end := bytes.LastIndexByte(tail, '"')
	if end == 0 {
		return dump.Thread{}, false
	}
	name := tail[1:end]
	if s, err := strconv.Unquote(string(tail[:end+1])); err == nil {
		name = []byte(s)
	}
	t := dump.Thread{
		ID: strconv.FormatInt(id, 10), Native: id, Name: k.names.text(name), State: dump.Unclear,
		CPU: -1, Elapsed: -1, Lines: dump.Span{First: k.number},
	}
	t.State, t.Detail = k.state(bytes.TrimSpace(tail[end+1:]))
	return t, true
}

// state reads "S (sleeping)".
func (k *kernelReader) state(text []byte) (dump.State, string) {
	if len(text) == 0 {
		return dump.Unclear, ""
	}
	detail := k.names.text(text)
	if bytes.HasPrefix(text, []byte("gone")) {
		return dump.Ended, detail
	}
	switch text[0] {
	case 'R':
		return dump.Running, detail
	case 'D':
		return dump.InIO, detail
	case 'S', 'I':
		return dump.Waiting, detail
	case 'T', 't':
		return dump.Stopped, detail
	case 'Z', 'X', 'x':
		return dump.Ended, detail
	}
	return dump.Unclear, detail
}

// attribute takes a line "key: value" of a thread.
func (k *kernelReader) attribute(text []byte) bool {
	key, value, ok := bytes.Cut(text, []byte(":"))
	if !ok {
		return false
	}
	value = bytes.TrimSpace(value)
	readable := string(value) != "(not readable)"
	switch string(key) {
	case "wchan":
		if readable && string(value) != "0" {
			k.wchan = k.names.text(value)
		}
	case "syscall", "system call":
		if readable {
			k.systemCall(bytes.Fields(value))
		}
	case "cpu":
		if ms, err := strconv.ParseInt(string(bytes.TrimSuffix(value, []byte(" ms"))), 10, 64); err == nil && ms >= 0 && ms < 1<<43 {
			k.thread.CPU = time.Duration(ms) * time.Millisecond
		}
	case "State":
		k.thread.State, k.thread.Detail = k.state(value)
	case "kernel stack":
	default:
		return false
	}
	return true
}

func (k *kernelReader) systemCall(fields [][]byte) {
	if len(fields) == 0 || string(fields[0]) == "running" || string(fields[0]) == "-1" {
		return
	}
	k.call = k.names.text(fields[0])
	arguments := fields[1:]
	if len(arguments) > 0 && arguments[0][0] == '(' {
		k.call = k.names.text(bytes.Trim(arguments[0], "()"))
		arguments = arguments[1:]
	}
	if strings.HasPrefix(k.call, "futex") && len(arguments) > 0 {
		k.futex = k.names.text(arguments[0])
	}
}

// frame takes a line of the kernel's stack.
func (k *kernelReader) frame(line, text []byte) bool {
	if string(text) == "(not readable)" {
		return true
	}
	bracketed := bytes.HasPrefix(text, []byte("[<"))
	if !bracketed && (line[0] != ' ' && line[0] != '\t' || !bytes.Contains(text, []byte("+0x"))) {
		return false
	}
	k.stack = append(k.stack, k.names.frame(text, k.names.kernelFrame))
	return true
}

// kernelFrame reads "[<0>] nfs_wait_bit_killable+0x20/0x30 [nfs]".
func (n *names) kernelFrame(text []byte) dump.Frame {
	if bytes.HasPrefix(text, []byte("[<")) {
		if _, behind, ok := bytes.Cut(text, []byte("] ")); ok {
			text = behind
		}
	}
	call, module, _ := bytes.Cut(text, []byte(" ["))
	function, _, _ := bytes.Cut(call, []byte("+0x"))
	return dump.Frame{Function: n.text(function), Module: n.text(bytes.TrimSuffix(module, []byte("]"))), Native: true}
}

// flush ends the thread that is being read.
func (k *kernelReader) flush() {
	if !k.open {
		return
	}
	t := k.thread
	if len(k.stack) == 0 && k.wchan != "" {
		k.stack = append(k.stack, dump.Frame{Function: k.wchan, Native: true})
		t.Elided = true
	}
	t.Stack = k.names.stack(k.stack)
	if t.State == dump.Waiting {
		t.State = waitOf(k.call, t.Stack)
	}
	if k.futex != "" {
		t.WaitsFor = &dump.Lock{ID: k.futex, Kind: dump.Mutex}
	}
	switch {
	case k.call == "":
	case isDigits([]byte(k.call)):
		t.Detail = k.names.text([]byte(join(t.Detail, "system call "+k.call)))
	default:
		t.Detail = k.names.text([]byte(join(t.Detail, k.call)))
	}
	k.add(t)
	*k = kernelReader{reading: k.reading, stack: k.stack[:0]}
}

// join puts a second text behind the first.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ", " + b
}

// waitingCalls are parts of the names of system calls and of functions of the
// kernel, and what a thread that sleeps in them does.
var waitingCalls = []struct {
	part  string
	state dump.State
}{
	{"futex", dump.Waiting},
	{"nanosleep", dump.TimedWaiting},
	{"epoll", dump.InIO},
	{"ep_poll", dump.InIO},
	{"poll", dump.InIO},
	{"select", dump.InIO},
	{"read", dump.InIO},
	{"write", dump.InIO},
	{"recv", dump.InIO},
	{"send", dump.InIO},
	{"accept", dump.InIO},
	{"connect", dump.InIO},
	{"sync", dump.InIO},
	{"io_uring", dump.InIO},
	{"wait_woken", dump.InIO},
	{"flock", dump.Blocked},
}

// waitOf tells what a sleeping thread waits for.
func waitOf(call string, stack []dump.Frame) dump.State {
	where := []string{call}
	for _, f := range stack {
		where = append(where, f.Function)
	}
	for _, name := range where {
		if name == "" || strings.HasPrefix(name, "do_syscall") || strings.Contains(name, "thread") {
			continue
		}
		for _, w := range waitingCalls {
			if strings.Contains(name, w.part) {
				return w.state
			}
		}
	}
	return dump.Waiting
}
