package parse

import (
	"bytes"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// hotspotFull begins the title of a dump that HotSpot wrote.
const hotspotFull = "Full thread dump "

// stamp is how jstack writes when, on the line before the title.
const stamp = "2006-01-02 15:04:05"

func hotspotTitle(s *source) bool {
	if isHotSpotTitle(s.line) {
		return true
	}
	n := len(s.line)
	switch {
	case n < 2 || s.line[0] < '0' || s.line[0] > '9':
		return false
	case s.line[n-1] == ':' && isDigits(s.line[:n-1]): // jcmd names the process first
		next := s.following(2)
		return len(next) == 2 && isStamp(next[0]) && isHotSpotTitle(next[1])
	}
	return isStamp(s.line) && isHotSpotTitle(s.peek())
}

func isHotSpotTitle(line []byte) bool {
	return bytes.HasPrefix(line, []byte(hotspotFull)) && bytes.Contains(line, []byte(" ("))
}

func isStamp(line []byte) bool {
	if len(line) != len(stamp) {
		return false
	}
	_, err := time.Parse(stamp, string(line))
	return err == nil
}

// hotspotOpens takes a dump whose beginning is lost.
func hotspotOpens(s *source) bool {
	if len(s.line) == 0 {
		return false
	}
	if s.line[0] == '"' {
		_, ok := parseThreadLine(s.line)
		return ok
	}
	return forcedOpens(s.line)
}

// part is where in a dump of HotSpot a line stands.
type part int

const (
	inThreads part = iota
	inSafe         // the list of threads that are safe to look at (SMR)
	inOwned        // "Locked ownable synchronizers:" of a thread
	inDeadlock
	inDeadlockStacks // of threads that were told before
	inHistogram
	between // no thread is being read
)

// hotspot reads one dump of HotSpot's text.
type hotspot struct {
	*reading
	part     part
	open     bool // thread is being read
	thread   dump.Thread
	stack    []dump.Frame
	java     []byte // what Thread.State says
	foreign  bool   // frames are those of an exception that was logged meanwhile
	titled   bool
	complete bool // its last part was seen
	plainly  bool // written by Thread.dump_to_file, which may tell no states
	forced   bool // written by the serviceability agent, which has other parts
}

func readHotSpot(r *reading) {
	h := &hotspot{reading: r, part: between}
	for h.more() {
		if (h.titled || h.open || len(h.dump.Threads) > 0) && (hotspotTitle(h.source) || string(h.line) == forcedFirst) {
			h.back()
			break
		}
		h.take(h.line)
	}
	h.flush()
	if h.titled && !h.complete && !h.forced {
		h.dump.Cut = "it ends before its end: the lines that HotSpot writes behind the last thread are missing"
	}
	ownLocks(h.dump)
}

// take takes one line. What a line is can be told by how it begins, whatever
// part of the dump it stands in; only few lines need the part.
func (h *hotspot) take(line []byte) {
	text := bytes.TrimLeft(line, " \t")
	switch {
	case len(text) == 0:
		h.blank()
	case text[0] == '"' && h.quoted(line):
	case (h.open || len(text) < len(line)) && h.inside(text):
	case h.heading(line):
	case h.forcedLine(line, text):
	case h.part == inSafe && h.safe(line):
	case h.part == inHistogram && h.class(text):
	case h.part == inDeadlock && h.circle(text):
	default:
		h.strange(text)
	}
}

func (h *hotspot) blank() {
	h.foreign = false
	h.known()
}

// strange takes a line that is none of the dump's. An exception that a log has
// written there has frames as the thread has: they are not the thread's.
func (h *hotspot) strange(text []byte) {
	if !h.foreign || !bytes.HasPrefix(text, []byte("at ")) {
		h.foreign = isException(text)
	}
	h.unknown()
}

func isException(text []byte) bool {
	for _, word := range []string{"Exception", "Error", "Throwable", "Caused by:"} {
		if bytes.Contains(text, []byte(word)) {
			return true
		}
	}
	return false
}

// understood says that the line at hand belongs to the thread that is being read.
func (h *hotspot) understood() {
	h.known()
	if h.open {
		h.thread.Lines.Last = h.number
	}
}

// quoted takes a line that begins with a quotation mark: of a thread, or in the
// report of a deadlock.
func (h *hotspot) quoted(line []byte) bool {
	if t, ok := parseThreadLine(line); ok {
		h.begin(t, h.number)
		h.known()
		return true
	}
	if h.part == inDeadlock || h.part == inDeadlockStacks {
		if name, ok := circleName(line); ok {
			h.circleThread(name)
			h.known()
			return true
		}
	}
	return h.brokenName(line)
}

// maxNameLines bounds how many lines a thread's name is looked for in.
const maxNameLines = 4

// brokenName takes the line of a thread whose name has line ends in it.
func (h *hotspot) brokenName(line []byte) bool {
	first := h.number
	t, more, ok := h.joined(line, parseThreadLine)
	if !ok {
		return false
	}
	h.skip(more)
	h.begin(t, first)
	h.understood()
	return true
}

// joined looks whether a line is the first line of a thread together with some
// that follow, and gives how many.
func (h *hotspot) joined(line []byte, parse func([]byte) (threadLine, bool)) (t threadLine, more int, ok bool) {
	whole := bytes.Clone(line)
	for i, next := range h.following(maxNameLines) {
		if len(next) > 0 && next[0] == line[0] || isHotSpotTitle(next) {
			break
		}
		whole = append(append(whole, '\n'), next...)
		if t, ok = parse(whole); ok {
			return t, i + 1, true
		}
	}
	return threadLine{}, 0, false
}

// skip goes on by some lines, which belong to the line at hand.
func (h *hotspot) skip(lines int) {
	h.known()
	for range lines {
		h.next()
	}
	h.known()
}

// begin begins a thread, whose line was read.
func (h *hotspot) begin(t threadLine, first int) {
	if h.open && h.forced && h.thread.Name == "" && len(h.stack) == 0 { // its number stood on a line of its own
		h.open = false
		first = h.thread.Lines.First
		t.native = h.thread.Native
	}
	h.flush()
	h.part, h.open = inThreads, true
	h.thread = dump.Thread{
		ID: h.names.text(t.id), Name: h.names.text(t.name), State: dump.Unclear, Detail: h.names.text(t.detail),
		Native: t.native, Priority: t.priority, Daemon: t.daemon, Internal: t.internal || isInternal(t.name),
		CPU: t.cpu, Elapsed: t.elapsed, Lines: dump.Span{First: first, Last: h.number},
	}
	h.thread.State = stateOfWords(t.detail, t.internal)
	if t.id == nil {
		h.thread.ID = h.names.text(t.address)
	}
}

// heading takes the lines that begin a part of the dump.
func (h *hotspot) heading(line []byte) bool {
	starts := func(text string) bool { return bytes.HasPrefix(line, []byte(text)) }
	switch {
	case hotspotTitle(h.source):
		h.title(line)
	case starts("Threads class SMR info:"):
		h.turn(inSafe)
	case starts("JNI global ref"):
		h.complete = true
		h.turn(between)
	case starts("Found one Java-level deadlock:"):
		h.turn(inDeadlock)
		h.dump.Deadlocks = append(h.dump.Deadlocks, dump.Deadlock{})
	case starts("Java stack information for the threads listed above"):
		h.turn(inDeadlockStacks)
	case starts("Found ") && bytes.Contains(line, []byte(" deadlock")):
		h.turn(between)
	case starts("=====") && (h.part == inDeadlock || h.part == inDeadlockStacks):
		h.known()
	case starts(" num     #instances"), starts("num     #instances"):
		h.turn(inHistogram)
	default:
		return false
	}
	return true
}

func (h *hotspot) title(line []byte) {
	h.known()
	if !isHotSpotTitle(line) {
		if at, err := time.ParseInLocation(stamp, string(line), h.zone); err == nil {
			h.dump.Taken = at
		}
		return
	}
	h.flush()
	h.titled, h.part = true, between
	program := bytes.TrimPrefix(line, []byte(hotspotFull))
	h.dump.Program = h.names.text(bytes.TrimSuffix(program, []byte(":")))
}

// turn goes on to another part of the dump.
func (h *hotspot) turn(p part) {
	h.flush()
	h.part = p
	h.known()
}

// safe takes the list of all threads' addresses.
func (h *hotspot) safe(line []byte) bool {
	switch {
	case line[0] == '}':
		h.part = between
	case bytes.HasPrefix(line, []byte("0x")), bytes.HasPrefix(line, []byte("_")):
	default:
		return false
	}
	h.known()
	return true
}

// flush ends the thread that is being read.
func (h *hotspot) flush() {
	if !h.open {
		return
	}
	h.open, h.foreign = false, false
	h.thread.Stack = h.names.stack(h.stack)
	h.settle()
	h.add(h.thread)
	h.stack, h.java = h.stack[:0], nil
}
