package parse

import (
	"bytes"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// isHeader tells whether a line is what a capture puts before a dump.
func isHeader(line []byte) bool {
	return len(line) > 0 && line[0] == '#' && bytes.HasPrefix(line, []byte("#restartilka-dump "))
}

// takeHeader takes the line at hand, if it is a header, for the dumps that follow.
// A header that can't be read stays in the Rest of its dump.
func (r *reading) takeHeader() bool {
	if !isHeader(r.line) {
		return false
	}
	r.endHeader()
	r.closeRest()
	r.header, r.dump, r.headed, r.waits = nil, nil, 0, true
	if h, ok, err := dump.ReadHeader(r.line); ok && err == nil {
		r.header, r.headed = &h, r.number
		r.prefix = ""
		return true
	}
	r.rest.add(r.number, r.raw())
	return true
}

// endHeader makes a dump of what follows a header where nobody knew it: that a
// dump was taken, and what came of it, is not to be lost.
func (r *reading) endHeader() {
	if !r.waits || r.header == nil {
		return
	}
	r.waits = false
	d := &dump.Dump{Runtime: r.header.Runtime, Format: dump.Unknown, Header: r.header, Rest: r.rest.all(), Lines: dump.Span{First: r.headed, Last: r.headed}}
	finish(d)
	r.dumps = append(r.dumps, d)
	r.dump = d
}

// finish adds to a dump what its header knows.
func finish(d *dump.Dump) {
	if d.Threads == nil {
		d.Threads = []dump.Thread{}
	}
	if d.Header == nil {
		return
	}
	if !d.Header.Taken.IsZero() {
		d.Taken = d.Header.Taken
	}
	for i := range d.Threads {
		measured(&d.Threads[i], d.Header)
	}
}

// measured tells of one thread what the kernel said when the dump was taken.
func measured(t *dump.Thread, h *dump.Header) {
	if t.Native == 0 {
		return
	}
	if cpu, ok := h.CPU[t.Native]; ok {
		t.CPU = time.Duration(cpu)
	}
	if len(h.CPU) == 0 && len(h.States) == 0 {
		return
	}
	t.State = kernelState(t.State, h.States[t.Native], t.Internal)
}

// kernelState joins what the runtime says of a thread and what the kernel says.
// The runtime knows what a thread waits for, the kernel whether it moves at all.
func kernelState(s dump.State, letter string, internal bool) dump.State {
	switch letter {
	case "T", "t":
		return dump.Stopped
	case "Z", "X", "x":
		return dump.Ended
	case "D":
		if s == dump.Running || s == dump.Unclear {
			return dump.InIO
		}
	case "R":
		if s == dump.InIO || s == dump.Unclear {
			return dump.Running
		}
	case "", "S", "I":
		if s == dump.Unclear || s == dump.Running && internal {
			return dump.Waiting
		}
	}
	return s
}
