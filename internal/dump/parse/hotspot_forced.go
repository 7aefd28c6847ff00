package parse

import (
	"bytes"
	"strconv"

	"github.com/restartilka/restartilka/internal/dump"
)

// The serviceability agent (jstack -F, jstack -m, jhsdb jstack) reads the memory
// of a stuck JVM from outside, and writes what it finds in a form of its own.

// forcedFirst is the first line that is its own.
const forcedFirst = "Deadlock Detection:"

// forcedOpens tells whether a dump of the serviceability agent begins with a line.
func forcedOpens(line []byte) bool {
	if string(line) == forcedFirst {
		return true
	}
	if line[0] != 'T' && line[0] != '-' {
		return false
	}
	_, _, ok := forcedThread(line)
	return ok
}

// forcedThread reads "Thread 4711: (state = BLOCKED)", and of the mixed form
// "----------------- 4711 -----------------".
func forcedThread(line []byte) (id, state []byte, ok bool) {
	if behind, found := bytes.CutPrefix(line, []byte("Thread ")); found {
		id, state, ok = bytes.Cut(behind, []byte(": (state = "))
		return id, bytes.TrimSuffix(state, []byte(")")), ok && isDigits(id)
	}
	if behind, found := bytes.CutPrefix(line, []byte("----------------- ")); found {
		id, _, ok = bytes.Cut(behind, []byte(" ---"))
		return id, nil, ok && isDigits(id)
	}
	return nil, nil, false
}

// forcedStates are the states as HotSpot calls them within.
var forcedStates = map[string]dump.State{
	"BLOCKED":       dump.Unclear, // asleep, for whatever reason
	"IN_NATIVE":     dump.Running,
	"IN_VM":         dump.Running,
	"IN_JAVA":       dump.Running,
	"NEW":           dump.New,
	"UNINITIALIZED": dump.New,
}

// forcedLine takes a line of the serviceability agent.
func (h *hotspot) forcedLine(line, text []byte) bool {
	if line[0] == 'D' || line[0] == 'N' || line[0] == 'L' {
		return h.forcedWords(line)
	}
	if id, state, ok := forcedThread(line); ok {
		h.forcedBegin(id, state)
		return true
	}
	if !h.open || h.part != inThreads {
		return false
	}
	if bytes.HasPrefix(text, []byte("0x")) {
		return h.mixedFrame(text)
	}
	if call, ok := bytes.CutPrefix(text, []byte("- ")); ok && len(text) < len(line) && bytes.Contains(call, []byte(" @bci=")) {
		h.push(h.names.frame(call, h.names.forcedFrame))
		return true
	}
	return false
}

func (h *hotspot) forcedWords(line []byte) bool {
	switch {
	case string(line) == forcedFirst, bytes.HasPrefix(line, []byte("No deadlocks found")):
		h.forced = true
		h.turn(between)
	case string(line) == "Locked ownable synchronizers:" && h.open:
		h.part = inOwned
		h.understood()
	default:
		return false
	}
	return true
}

func (h *hotspot) forcedBegin(id, state []byte) {
	h.flush()
	h.forced, h.open, h.part = true, true, inThreads
	native, _ := strconv.ParseInt(string(id), 10, 64)
	h.thread = dump.Thread{
		ID: h.names.text(id), Native: native, State: dump.Unclear, Detail: h.names.text(state),
		CPU: -1, Elapsed: -1, Lines: dump.Span{First: h.number},
	}
	if s, ok := forcedStates[string(state)]; ok {
		h.thread.State = s
	}
	h.understood()
}

func (h *hotspot) push(f dump.Frame) {
	h.stack = append(h.stack, f)
	h.understood()
}

// forcedFrame reads "java.lang.Object.wait(long) @bci=2, line=502 (Compiled frame)".
func (n *names) forcedFrame(call []byte) dump.Frame {
	function, place, _ := bytes.Cut(call, []byte(" @bci="))
	if open := bytes.LastIndexByte(function, '('); open > 0 {
		function = function[:open]
	}
	f := dump.Frame{Function: n.text(function)}
	if _, number, ok := bytes.Cut(place, []byte("line=")); ok {
		f.Line, _ = strconv.Atoi(string(number[:run(number, digit)]))
	}
	return f
}

// mixedFrame takes "0x00007f10	__pthread_cond_wait + 0xc5", and of Java
// "0x00007f10	* java.lang.Object.wait(long) bci:2 line:502 (Interpreted frame)".
func (h *hotspot) mixedFrame(text []byte) bool {
	_, call, ok := bytes.Cut(text, []byte("\t"))
	if !ok || len(call) == 0 {
		return false
	}
	if java, ok := bytes.CutPrefix(call, []byte("* ")); ok {
		function, _, _ := bytes.Cut(java, []byte("("))
		f := dump.Frame{Function: h.names.text(function)}
		if _, number, ok := bytes.Cut(java, []byte("line:")); ok {
			f.Line, _ = strconv.Atoi(string(number[:run(number, digit)]))
		}
		h.push(f)
		return true
	}
	function, _, _ := bytes.Cut(call, []byte(" + 0x"))
	h.push(dump.Frame{Function: h.names.text(function), Native: true})
	return true
}
