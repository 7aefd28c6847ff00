package parse

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// innermostFirst ends the line that a thread of Python's faulthandler begins with.
const innermostFirst = "(most recent call first):"

func faulthandlerTitle(s *source) bool {
	if len(s.line) == 0 {
		return false
	}
	switch s.line[0] {
	case 'T', 'C', 'S':
		_, ok := pythonThread(s.line)
		return ok || isPythonFatal(s)
	case 'F':
		return isPythonFatal(s)
	}
	return false
}

// isPythonFatal takes the lines that stand before the threads.
func isPythonFatal(s *source) bool {
	return bytes.HasPrefix(s.line, []byte("Fatal Python error: ")) ||
		bytes.HasPrefix(s.line, []byte("Timeout (")) && bytes.HasSuffix(s.line, []byte(")!"))
}

// pythonHead is what the first line of a thread says.
type pythonHead struct {
	id, name []byte
	current  bool // the one that asked for the dump, or died
	native   bool // frames of machine code follow
}

// pythonThread reads "Thread 0x00007f10 [name] (most recent call first):", and
// the same of the current thread; the name is told since 3.14.
func pythonThread(line []byte) (pythonHead, bool) {
	head, ok := bytes.CutSuffix(line, []byte(" "+innermostFirst))
	if !ok {
		return pythonHead{}, false
	}
	switch string(head) {
	case "Stack":
		return pythonHead{current: true}, true
	case "Current thread's C stack trace":
		return pythonHead{current: true, native: true}, true
	}
	rest, current := bytes.CutPrefix(head, []byte("Current thread "))
	if !current {
		if rest, ok = bytes.CutPrefix(head, []byte("Thread ")); !ok {
			return pythonHead{}, false
		}
	}
	id, name, _ := bytes.Cut(rest, []byte(" "))
	if !bytes.HasPrefix(id, []byte("0x")) {
		return pythonHead{}, false
	}
	name = bytes.TrimSuffix(bytes.TrimPrefix(name, []byte("[")), []byte("]"))
	return pythonHead{id: id, name: name, current: current}, true
}

// python reads one dump of faulthandler.
type python struct {
	*reading
	open, native bool
	joined       bool // the stack of machine code was given to its thread
	thread       dump.Thread
	stack        []dump.Frame
	seen         map[string]bool
}

func readFaulthandler(r *reading) {
	p := &python{reading: r, seen: map[string]bool{}}
	for p.more() {
		if p.another() {
			p.back()
			break
		}
		p.take(p.line)
	}
	p.flush()
}

// another tells whether the line at hand begins another dump: each thread is in
// one dump once.
func (p *python) another() bool {
	if len(p.seen) > 0 && isPythonFatal(p.source) {
		return true
	}
	head, ok := pythonThread(p.line)
	return ok && !head.native && p.seen[string(head.id)]
}

func (p *python) take(line []byte) {
	head, begins := pythonThread(line)
	text := bytes.TrimSpace(line)
	switch {
	case len(text) == 0:
		p.known()
	case begins:
		p.begin(head)
	case isPythonFatal(p.source):
		p.dump.Fatal = p.names.text(line)
		p.known()
	case p.open && len(line) > 2 && line[0] == ' ' && p.frame(text):
		p.known()
		p.thread.Lines.Last = p.number
	default:
		p.unknown()
	}
}

func (p *python) begin(head pythonHead) {
	p.flush()
	p.open, p.native = true, head.native
	id := p.names.text(head.id)
	if !head.native {
		p.seen[string(head.id)] = true
	}
	switch {
	case head.native:
		id = "c"
	case id == "":
		id = "current"
	}
	p.thread = dump.Thread{
		ID: id, Name: p.names.text(head.name), State: dump.Unclear, CPU: -1, Elapsed: -1,
		Lines: dump.Span{First: p.number, Last: p.number},
	}
	if head.current && !head.native {
		p.thread.Detail, p.thread.State = "current", dump.Running
	}
	p.known()
}

// frame takes a line below a thread's first one.
func (p *python) frame(text []byte) bool {
	switch {
	case bytes.HasPrefix(text, []byte(`File "`)):
		p.stack = append(p.stack, p.names.frame(text, p.names.pythonFrame))
	case bytes.HasPrefix(text, []byte(`Binary file "`)):
		p.stack = append(p.stack, p.names.frame(text, p.names.binaryFrame))
	case string(text) == "...":
		p.thread.Elided = true
	case text[0] == '<', string(text) == "Garbage-collecting":
		p.thread.Detail = join(p.thread.Detail, p.names.text(text))
	default:
		return false
	}
	return true
}

// pythonFrame reads `File "/srv/app.py", line 12 in worker`.
func (n *names) pythonFrame(text []byte) dump.Frame {
	place := bytes.TrimPrefix(text, []byte(`File "`))
	end := bytes.LastIndex(place, []byte(`", line `))
	if end < 0 {
		return dump.Frame{Function: n.text(text)}
	}
	number, function, _ := bytes.Cut(place[end+len(`", line `):], []byte(" in "))
	f := dump.Frame{Function: n.text(function), File: n.text(place[:end])}
	f.Line, _ = strconv.Atoi(string(number))
	return f
}

// binaryFrame reads `Binary file "/usr/lib/libc.so.6", at raise+0x1c [0x7f10]`.
func (n *names) binaryFrame(text []byte) dump.Frame {
	file, at, _ := bytes.Cut(bytes.TrimPrefix(text, []byte(`Binary file "`)), []byte(`", at `))
	function, _, _ := bytes.Cut(at, []byte(" ["))
	name, _, _ := bytes.Cut(function, []byte("+0x"))
	if len(name) == 0 {
		name = function
	}
	return dump.Frame{Function: n.text(name), File: n.text(file), Native: true}
}

// flush ends the thread that is being read. What is told of the machine code of
// the current thread belongs to the thread told before, further in.
func (p *python) flush() {
	if !p.open {
		return
	}
	p.open = false
	t := p.thread
	if last := len(p.dump.Threads) - 1; p.native && !p.joined && last >= 0 && p.dump.Threads[last].Detail != "" {
		p.joined = true
		before := &p.dump.Threads[last]
		before.Stack = append(p.names.stack(p.stack), before.Stack...)
		before.Lines.Last = t.Lines.Last
		before.Detail = join(before.Detail, t.Detail)
		p.stack = p.stack[:0]
		return
	}
	t.Stack = p.names.stack(p.stack)
	if t.State == dump.Unclear {
		t.State = pythonState(t.Stack)
	}
	p.add(t)
	p.stack = p.stack[:0]
}

// pythonWaits are functions of Python's library in which a thread waits.
var pythonWaits = []struct {
	file, function string
	state          dump.State
}{
	{"threading.py", "wait", dump.Waiting},
	{"threading.py", "join", dump.Waiting},
	{"threading.py", "acquire", dump.Waiting},
	{"threading.py", "_wait_for_tstate_lock", dump.Waiting},
	{"queue.py", "get", dump.Waiting},
	{"connection.py", "poll", dump.InIO},
	{"connection.py", "_recv", dump.InIO},
	{"selectors.py", "select", dump.InIO},
	{"socket.py", "readinto", dump.InIO},
	{"socket.py", "accept", dump.InIO},
	{"ssl.py", "read", dump.InIO},
	{"ssl.py", "do_handshake", dump.InIO},
	{"subprocess.py", "_try_wait", dump.Waiting},
	{"subprocess.py", "_communicate", dump.InIO},
}

// pythonState guesses what a thread does by the function of Python's own library
// that it is in: faulthandler says nothing of it.
func pythonState(stack []dump.Frame) dump.State {
	if len(stack) == 0 {
		return dump.Unclear
	}
	top := stack[0]
	for _, w := range pythonWaits {
		if top.Function == w.function && (top.File == w.file || strings.HasSuffix(top.File, "/"+w.file)) {
			return w.state
		}
	}
	return dump.Unclear
}
