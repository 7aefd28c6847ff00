package parse

import (
	"bytes"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// hotspotPlainTitle takes the three lines that Thread.dump_to_file begins with:
// the process, the time, the version.
func hotspotPlainTitle(s *source) bool {
	if !isDigits(s.line) {
		return false
	}
	_, err := time.Parse(time.RFC3339Nano, string(s.peek()))
	return err == nil
}

// hotspotPlainOpens takes a thread of a dump whose beginning is lost.
func hotspotPlainOpens(s *source) bool {
	_, ok := plainThread(s.line)
	return ok
}

// plainThread reads `#21 "spinner" virtual RUNNABLE 2026-11-23T04:03:58.677747262Z`;
// JDK 21 ends it behind the name, or behind the word virtual.
func plainThread(line []byte) (threadLine, bool) {
	if len(line) < 4 || line[0] != '#' {
		return threadLine{}, false
	}
	id, tail, _ := bytes.Cut(line[1:], []byte(" "))
	end := bytes.LastIndexByte(tail, '"')
	if !isDigits(id) || end < 1 || tail[0] != '"' || !isPlainEnd(bytes.Fields(tail[end+1:])) {
		return threadLine{}, false
	}
	return threadLine{id: id, name: tail[1:end], detail: bytes.TrimSpace(tail[end+1:]), cpu: -1, elapsed: -1}, true
}

// isPlainName tells whether a line begins as a thread's does.
func isPlainName(line []byte) bool {
	id, name, ok := bytes.Cut(line, []byte(" \""))
	return ok && len(id) > 1 && id[0] == '#' && isDigits(id[1:]) && len(name) > 0
}

// isPlainEnd tells whether words are those behind a name: nothing else is, so
// that a name ends where it does, whatever is in it.
func isPlainEnd(words [][]byte) bool {
	if len(words) > 0 && string(words[0]) == "virtual" {
		words = words[1:]
	}
	if len(words) > 0 {
		if _, ok := javaStates[string(words[0])]; ok {
			words = words[1:]
		}
	}
	return len(words) == 0 || len(words) == 1 && words[0][0] >= '0' && words[0][0] <= '9'
}

func readHotSpotPlain(r *reading) {
	h := &hotspot{reading: r, part: between}
	for h.more() {
		if hotspotPlainTitle(h.source) {
			if len(h.dump.Threads) > 0 || h.open || h.titled {
				h.back()
				break
			}
			h.plainTitle()
			continue
		}
		h.plain(h.line)
	}
	h.flush()
	carry(h.dump)
	ownLocks(h.dump)
}

func (h *hotspot) plainTitle() {
	h.titled = true
	h.known()
	h.next()
	h.known()
	h.dump.Taken, _ = time.Parse(time.RFC3339Nano, string(h.line))
	if version := h.peek(); len(version) > 0 && version[0] >= '1' && version[0] <= '9' && bytes.IndexByte(version, ' ') < 0 {
		h.next()
		h.known()
		h.dump.Program = h.names.text(version)
	}
}

func (h *hotspot) plain(line []byte) {
	text := bytes.TrimLeft(line, " \t")
	first := h.number
	t, begins := plainThread(line)
	if !begins && isPlainName(line) {
		var more int
		if t, more, begins = h.joined(line, plainThread); begins {
			h.skip(more)
		}
	}
	switch {
	case len(text) == 0:
		h.blank()
	case begins:
		h.plainBegin(t, first)
	case len(text) == len(line) || !h.open:
		h.strange(text)
	case bytes.HasPrefix(text, []byte("at ")), bytes.HasPrefix(text, []byte("- ")):
		if !h.inside(text) {
			h.strange(text)
		}
	case text[len(text)-1] == ')' && bytes.IndexByte(text, '(') > 0 && bytes.IndexByte(text[:bytes.IndexByte(text, '(')], ' ') < 0:
		h.push(h.names.frame(text, h.names.javaFrame))
	default:
		h.strange(text)
	}
}

func (h *hotspot) plainBegin(t threadLine, first int) {
	words := bytes.Fields(t.detail)
	t.detail = nil
	virtual := len(words) > 0 && string(words[0]) == "virtual"
	if virtual {
		words = words[1:]
	}
	h.begin(t, first)
	h.thread.Virtual, h.plainly = virtual, true
	if len(words) > 0 {
		if _, ok := javaStates[string(words[0])]; ok {
			h.java = words[0]
		}
	}
	h.known()
}

// statesOfMounted are native methods at the top of the stack of a thread of
// which no state is told, and what it does there.
var statesOfMounted = map[string]dump.State{
	"jdk.internal.misc.Unsafe.park":     dump.Waiting,
	"java.lang.Object.wait0":            dump.Waiting,
	"java.lang.Thread.sleepNanos0":      dump.TimedWaiting,
	"java.lang.Thread.sleep0":           dump.TimedWaiting,
	"java.lang.Thread.sleep":            dump.TimedWaiting,
	"java.lang.VirtualThread.park":      dump.Waiting,
	"java.lang.VirtualThread.parkNanos": dump.TimedWaiting,
}

// isVirtual tells whether a stack is one of a virtual thread: JDK 21 does not
// say it in JSON.
func isVirtual(stack []dump.Frame) bool {
	return len(stack) > 0 && stack[len(stack)-1].Function == "java.lang.VirtualThread.run"
}

// stateOfStack guesses the state of a thread, of which none is told, by where it is.
func stateOfStack(stack []dump.Frame) dump.State {
	if len(stack) == 0 {
		return dump.Unclear
	}
	top := stack[0]
	if s, ok := statesOfMounted[top.Function]; ok {
		return s
	}
	if top.Native && ioFunctions[top.Function] {
		return dump.InIO
	}
	for _, m := range top.Locks {
		if m.Mark == dump.WaitingToLock {
			return dump.Blocked
		}
	}
	return dump.Running
}
