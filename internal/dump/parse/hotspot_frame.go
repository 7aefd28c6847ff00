package parse

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// inside takes a line that stands below a thread's first one, indented.
func (h *hotspot) inside(text []byte) bool {
	switch {
	case bytes.HasPrefix(text, []byte("at ")):
		return isCall(text) && h.frame(text)
	case bytes.HasPrefix(text, []byte("- ")):
		return h.mark(text[2:])
	case bytes.HasPrefix(text, []byte("java.lang.Thread.State: ")):
		if !h.open {
			return false
		}
		h.java = bytes.TrimSpace(text[len("java.lang.Thread.State: "):])
	case bytes.HasPrefix(text, []byte("Locked ownable synchronizers:")):
		if !h.open && h.part != inDeadlockStacks {
			return false
		}
		h.part = ownedIn(h.part)
	case bytes.HasPrefix(text, []byte("Carrying virtual thread #")):
		if !h.open {
			return false
		}
		h.thread.Carries = h.names.text(text[len("Carrying virtual thread #"):])
	case bytes.HasPrefix(text, []byte("Mounted virtual thread ")):
		return h.mounted(text[len("Mounted virtual thread "):])
	case bytes.HasPrefix(text, []byte("Compiling:")), bytes.HasPrefix(text, []byte("JavaThread state: ")):
		h.thread.Detail = join(h.thread.Detail, h.names.text(text))
	case bytes.HasPrefix(text, []byte("No compile task")):
	default:
		return h.foreignEnd(text)
	}
	h.understood()
	return true
}

func ownedIn(p part) part {
	if p == inDeadlockStacks {
		return p
	}
	return inOwned
}

// foreignEnd takes "... 12 more", with which the frames of an exception end.
func (h *hotspot) foreignEnd(text []byte) bool {
	if h.foreign && bytes.HasPrefix(text, []byte("... ")) {
		h.unknown()
		return true
	}
	return false
}

// isCall tells whether text is a call; the last line of a dump may be part of one.
func isCall(text []byte) bool {
	return len(text) <= maxName && (text[len(text)-1] == ')' || bytes.IndexByte(text[len("at "):], ' ') < 0)
}

// frame takes "at java.lang.Object.wait(java.base@17.0.9/Native Method)".
func (h *hotspot) frame(text []byte) bool {
	switch {
	case h.foreign:
		h.thread.Elided = h.thread.Elided || h.open
		return false
	case h.part == inDeadlockStacks:
	case !h.open || h.part != inThreads:
		return false
	default:
		h.stack = append(h.stack, h.names.frame(text, h.names.javaFrame))
	}
	h.understood()
	return true
}

// javaFrame reads "at CLASS.METHOD(MODULE/FILE:LINE)".
func (n *names) javaFrame(text []byte) dump.Frame {
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("at ")))
	open := bytes.LastIndexByte(text, '(')
	if open < 0 || text[len(text)-1] != ')' {
		return dump.Frame{Function: n.text(text)}
	}
	function := text[:open]
	f := dump.Frame{}
	if end := moduleEnd(function); end > 0 {
		f.Module = n.text(bytes.TrimRight(function[:end], "/"))
		function = function[end:]
	}
	f.Function = n.text(function)
	place := text[open+1 : len(text)-1]
	if slash := bytes.LastIndexByte(place, '/'); slash >= 0 {
		f.Module = n.text(bytes.TrimRight(place[:slash], "/"))
		place = place[slash+1:]
	}
	switch string(place) {
	case "Native Method":
		f.Native = true
		return f
	case "Unknown Source":
		return f
	}
	if colon := bytes.LastIndexByte(place, ':'); colon >= 0 {
		if line, err := strconv.Atoi(string(place[colon+1:])); err == nil && line > 0 {
			f.Line = line
			place = place[:colon]
		}
	}
	f.File = n.text(place)
	return f
}

// moduleEnd gives where the module ends that stands before a class, as in
// "java.base/java.lang.Object.wait0"; 0 = there is none. A hidden class has a
// slash of its own, before its address.
func moduleEnd(function []byte) int {
	for end := len(function); ; {
		slash := bytes.LastIndexByte(function[:end], '/')
		if slash < 0 {
			return 0
		}
		if !bytes.HasPrefix(function[slash+1:], []byte("0x")) {
			return slash + 1
		}
		end = slash
	}
}

// marks are what HotSpot writes below a frame, and what it means. The longer
// stand before the shorter that they begin with.
var marks = []struct {
	text string
	mark dump.Mark
	kind dump.LockKind
}{
	{"locked ", dump.Locked, dump.Monitor},
	{"eliminated ", dump.Eliminated, dump.Monitor},
	{"waiting to lock ", dump.WaitingToLock, dump.Monitor},
	{"waiting to re-lock in wait() ", dump.WaitingToLock, dump.Monitor},
	{"waiting on the Class initialization monitor for ", dump.WaitingOn, dump.Class},
	{"waiting on ", dump.WaitingOn, dump.Condition},
	{"parking to wait for ", dump.ParkingFor, dump.Condition},
}

// mark takes what stands below a frame, behind "- ".
func (h *hotspot) mark(text []byte) bool {
	if h.part == inOwned {
		return h.owned(text)
	}
	h.foreign = false // an exception has no such lines
	for _, m := range marks {
		behind, ok := bytes.CutPrefix(text, []byte(m.text))
		if !ok {
			continue
		}
		switch {
		case h.part == inDeadlockStacks:
		case !h.open || len(h.stack) == 0:
			return false
		default:
			h.below(dump.Marked{Mark: m.mark, Lock: h.lock(behind, m.kind)})
		}
		h.understood()
		return true
	}
	return h.part == inDeadlockStacks && h.owned(text)
}

func (h *hotspot) below(m dump.Marked) {
	f := &h.stack[len(h.stack)-1]
	if m.Mark == dump.ParkingFor && (heldByOne(m.Lock.Class) || m.Lock.Owner != "") {
		m.Lock.Kind = dump.Synchronizer
	}
	f.Locks = append(f.Locks, m)
}

// heldByOne tells whether a class, of something that threads park for, is one
// that some thread holds.
func heldByOne(class string) bool {
	return !strings.Contains(class, "ConditionObject") &&
		(strings.Contains(class, "ReentrantLock") || strings.Contains(class, "ReentrantReadWriteLock") || strings.Contains(class, "StampedLock"))
}

// lock reads "<0x00000007> (a java.lang.Object)".
func (h *hotspot) lock(text []byte, kind dump.LockKind) dump.Lock {
	text = bytes.TrimSpace(text)
	if kind == dump.Class {
		return dump.Lock{Kind: kind, Class: h.names.text(text)}
	}
	l := dump.Lock{Kind: kind}
	if len(text) > 0 && text[0] == '<' {
		if end := bytes.IndexByte(text, '>'); end > 0 {
			id := text[1:end]
			if bytes.HasPrefix(id, []byte("0x")) {
				l.ID = h.names.text(id)
			} else if bytes.IndexByte(id, '@') > 0 {
				return h.named(id, kind)
			}
			text = bytes.TrimSpace(text[end+1:])
		}
	}
	class, ok := bytes.CutPrefix(text, []byte("(a "))
	if ok {
		l.Class = h.names.text(bytes.TrimSuffix(class, []byte(")")))
	}
	return l
}

// named reads "java.lang.Object@1d2ca32b, owner #12", of which the end may be missing.
func (h *hotspot) named(text []byte, kind dump.LockKind) dump.Lock {
	object, owner, ok := bytes.Cut(text, []byte(", owner #"))
	l := h.names.object(object, kind)
	if ok {
		l.Owner = h.names.text(owner[:run(owner, digit)])
	}
	return l
}

// owned takes a line of "Locked ownable synchronizers:", behind "- ".
func (h *hotspot) owned(text []byte) bool {
	switch {
	case bytes.HasPrefix(text, []byte("None")):
	case len(text) == 0 || text[0] != '<':
		return false
	case h.open:
		h.thread.Holds = append(h.thread.Holds, h.lock(text, dump.Synchronizer))
	}
	h.understood()
	return true
}

// mounted takes "Mounted virtual thread #12": the frames below it are those of
// another thread, which runs on the one that is being read.
func (h *hotspot) mounted(text []byte) bool {
	id := bytes.TrimLeft(text, "\"#")
	if n := run(id, digit); n > 0 {
		id = id[:n]
	}
	if !h.open || len(id) == 0 {
		return false
	}
	carrier := h.thread
	h.thread.Carries = h.names.text(id)
	h.flush()
	h.part, h.open = inThreads, true
	h.thread = dump.Thread{
		ID: h.names.text(id), State: dump.Unclear, Virtual: true, Carrier: carrier.ID,
		CPU: -1, Elapsed: -1, Lines: dump.Span{First: h.number, Last: h.number},
	}
	h.known()
	return true
}
