package parse

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// pySpyTitle takes the lines that py-spy dump begins with:
//
//	Process 4711: python app.py
//	Python v3.11.7 (/usr/bin/python3.11)
func pySpyTitle(s *source) bool {
	id, ok := bytes.CutPrefix(s.line, []byte("Process "))
	number, _, found := bytes.Cut(id, []byte(": "))
	if !ok || !found || !isDigits(number) {
		return pySpyJSON(s)
	}
	return bytes.HasPrefix(s.peek(), []byte("Python v"))
}

func pySpyJSON(s *source) bool { return beginsWith(s, "[", "{", `"pid"`) }

// pySpyOpens takes a thread of a dump whose beginning is lost.
func pySpyOpens(s *source) bool {
	_, ok := pySpyThread(s.line)
	return ok
}

// pySpyHead is what the first line of a thread says.
type pySpyHead struct{ id, state, name []byte }

// pySpyThread reads `Thread 4711 (active+gil): "MainThread"`; the name may be missing.
func pySpyThread(line []byte) (pySpyHead, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("Thread "))
	id, rest, found := bytes.Cut(rest, []byte(" ("))
	state, name, _ := bytes.Cut(rest, []byte(")"))
	known := bytes.HasPrefix(state, []byte("active")) || bytes.HasPrefix(state, []byte("idle"))
	if !ok || !found || !known || !isDigits(id) && !bytes.HasPrefix(id, []byte("0x")) {
		return pySpyHead{}, false
	}
	name = bytes.TrimPrefix(name, []byte(": "))
	return pySpyHead{id: id, state: state, name: bytes.TrimPrefix(bytes.TrimSuffix(name, []byte(`"`)), []byte(`"`))}, true
}

// pySpy reads one dump of py-spy's text.
type pySpy struct {
	*reading
	open   bool
	thread dump.Thread
	stack  []dump.Frame
	seen   map[string]bool
}

func readPySpy(r *reading) {
	r.next()
	if pySpyJSON(r.source) {
		r.back()
		readPySpyJSON(r)
		return
	}
	r.back()
	p := &pySpy{reading: r, seen: map[string]bool{}}
	for titled := false; p.more(); {
		title := pySpyTitle(p.source)
		head, begins := pySpyThread(p.line)
		if title && (titled || p.open || len(p.seen) > 0) || begins && p.seen[string(head.id)] {
			p.back()
			break
		}
		titled = titled || title
		p.take(p.line, title)
	}
	p.flush()
}

func (p *pySpy) take(line []byte, title bool) {
	head, begins := pySpyThread(line)
	text := bytes.TrimSpace(line)
	switch {
	case len(text) == 0, title:
		p.known()
	case begins:
		p.begin(head)
	case p.dump.Program == "" && bytes.HasPrefix(line, []byte("Python v")):
		p.dump.Program = p.names.text(line)
		p.known()
	case p.open && len(line)-len(text) >= 4 && line[0] == ' ' && line[4] != ' ' && text[len(text)-1] == ')':
		p.stack = append(p.stack, p.names.frame(text, p.names.pySpyFrame))
		p.known()
		p.thread.Lines.Last = p.number
	default: // values of arguments and locals among them
		p.unknown()
	}
}

func (p *pySpy) begin(head pySpyHead) {
	p.flush()
	p.open = true
	p.seen[string(head.id)] = true
	p.thread = dump.Thread{
		ID: p.names.text(head.id), Name: p.names.text(head.name), Detail: p.names.text(head.state),
		CPU: -1, Elapsed: -1, Lines: dump.Span{First: p.number, Last: p.number},
	}
	if isDigits(head.id) {
		p.thread.Native, _ = strconv.ParseInt(string(head.id), 10, 64)
	}
	p.known()
}

func (p *pySpy) flush() {
	if !p.open {
		return
	}
	t := p.thread
	t.Stack = p.names.stack(p.stack)
	t.State = pySpyState(strings.HasPrefix(t.Detail, "active"), t.Stack)
	p.add(t)
	p.open, p.stack = false, p.stack[:0]
}

func pySpyState(active bool, stack []dump.Frame) dump.State {
	if active {
		return dump.Running
	}
	if s := pythonState(stack); s != dump.Unclear {
		return s
	}
	return dump.Waiting
}

// pySpyFrame reads "worker (app.py:12)", and of machine code "read (libc.so.6)".
func (n *names) pySpyFrame(text []byte) dump.Frame {
	open := bytes.LastIndex(text, []byte(" ("))
	if open < 0 {
		return dump.Frame{Function: n.text(text)}
	}
	f := dump.Frame{Function: n.text(text[:open])}
	place := bytes.TrimSuffix(text[open+2:], []byte(")"))
	if colon := bytes.LastIndexByte(place, ':'); colon > 0 {
		if number, err := strconv.Atoi(string(place[colon+1:])); err == nil && number >= 0 {
			f.File, f.Line = n.text(place[:colon]), number
		}
	}
	if f.File == "" {
		f.File = n.text(place)
	}
	f.Native = !bytes.HasSuffix([]byte(f.File), []byte(".py")) && !strings.HasPrefix(f.File, "<") && !strings.HasSuffix(f.File, ".pyx")
	return f
}

// pySpyJSONThread is one thread of py-spy dump --json.
type pySpyJSONThread struct {
	PID    int64   `json:"pid"`
	Thread word    `json:"thread_id"`
	Native int64   `json:"os_thread_id"`
	Name   *string `json:"thread_name"`
	Active bool    `json:"active"`
	GIL    bool    `json:"owns_gil"`
	Frames []struct {
		Name   string  `json:"name"`
		File   string  `json:"filename"`
		Module *string `json:"module"`
		Line   int     `json:"line"`
	} `json:"frames"`
}

func readPySpyJSON(r *reading) {
	d := newDocument(r)
	r.known()
	d.end(d.elements(d.pythonThread))
}

func (d *document) pythonThread() error {
	var j pySpyJSONThread
	span, err := d.one(&j)
	if err != nil {
		return err
	}
	t := dump.Thread{ID: d.names.text([]byte(j.Thread)), Native: max(j.Native, 0), Detail: "idle", CPU: -1, Elapsed: -1, Lines: span}
	if t.Native > 0 {
		t.ID = strconv.FormatInt(t.Native, 10)
	}
	if j.Name != nil {
		t.Name = d.names.text([]byte(*j.Name))
	}
	if j.Active {
		t.Detail = "active"
	}
	if j.GIL {
		t.Detail += "+gil"
	}
	for _, f := range j.Frames {
		frame := dump.Frame{Function: d.names.text([]byte(f.Name)), File: d.names.text([]byte(f.File)), Line: max(f.Line, 0)}
		frame.Native = f.Module != nil && *f.Module != ""
		t.Stack = append(t.Stack, frame)
	}
	t.State = pySpyState(j.Active, t.Stack)
	d.add(t)
	return nil
}
