package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/protocol"
)

// A task's output is kept in segments named by the offset of their first byte:
// one of protocol.Head bytes for the start, then ones of segmentSize for the
// end, of which the oldest go once what is left holds protocol.Tail bytes.
const (
	segmentPrefix = "output."
	segmentSize   = 8 << 20
	// chunk is the most that one protocol.Output line carries.
	chunk = 64 << 10
)

type segment struct {
	offset int64
	size   int64
}

func segmentName(offset int64) string { return fmt.Sprintf("%s%020d", segmentPrefix, offset) }

func (g segment) name() string { return segmentName(g.offset) }
func (g segment) end() int64   { return g.offset + g.size }

// listSegments gives the segments in order.
func listSegments(d dir) ([]segment, error) {
	names, err := d.Names()
	if err != nil {
		return nil, err
	}
	var out []segment
	for _, n := range names {
		digits, ok := strings.CutPrefix(n, segmentPrefix)
		if !ok {
			continue
		}
		offset, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || offset < 0 {
			continue
		}
		st, err := d.Stat(n)
		if err != nil {
			return nil, err
		}
		if st.Regular { // and not dropped just now
			out = append(out, segment{offset, st.Size})
		}
	}
	slices.SortFunc(out, func(a, b segment) int { return cmp.Compare(a.offset, b.offset) })
	return out, nil
}

// Output takes what scripts print. It never fails and never waits for room:
// what the disk does not take is dropped and counted. One goroutine writes.
type Output struct {
	d       dir
	file    File
	start   int64 // offset of its first byte
	room    int64 // left in file
	offset  int64 // of the next byte
	dropped int64 // because the disk did not take it
}

// NewOutput starts a task's output.
func (t *Task) NewOutput() *Output { return &Output{d: t.d} }

// Write keeps p, or drops it. The error is always nil.
func (o *Output) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if o.room == 0 {
			o.next()
		}
		part := rest[:min(int64(len(rest)), max(o.room, 1))]
		if o.file == nil { // the disk is full: all of it is dropped, and the next Write tries again
			part = rest
		}
		o.keep(part)
		rest = rest[len(part):]
	}
	return len(p), nil
}

// keep writes one part into the open segment.
func (o *Output) keep(part []byte) {
	n := 0
	if o.file != nil {
		var err error
		if n, err = o.file.WriteAt(part, o.offset-o.start); err != nil {
			o.shut()
			if n == 0 && o.offset == o.start {
				o.d.remove(segmentName(o.start)) //nolint:errcheck // an empty one does no harm
			}
		} else {
			o.room -= int64(n)
		}
	}
	o.dropped += int64(len(part) - n)
	o.offset += int64(len(part))
}

// next opens the segment for the byte at offset, and lets old ones go.
func (o *Output) next() {
	o.shut()
	f, err := o.d.Open(segmentName(o.offset), ToReplace)
	if err != nil {
		return
	}
	o.file, o.start, o.room = f, o.offset, segmentSize
	if o.offset < protocol.Head {
		o.room = protocol.Head - o.offset
	}
	o.forget()
}

// forget drops the oldest segments of the tail that are not needed.
func (o *Output) forget() {
	segments, err := listSegments(o.d)
	if err != nil {
		return
	}
	var kept int64
	for _, g := range slices.Backward(segments) {
		if g.offset < protocol.Head {
			return
		}
		if kept >= protocol.Tail {
			o.d.remove(g.name()) //nolint:errcheck // it will be tried again
		}
		kept += g.size
	}
}

func (o *Output) shut() {
	if o.file != nil {
		o.file.Close()
	}
	o.file, o.room = nil, 0
}

// Size is how many bytes have been printed so far, dropped ones included.
func (o *Output) Size() int64 { return o.offset }

// Dropped is how many bytes the disk did not take.
func (o *Output) Dropped() int64 { return o.dropped }

// Close ends the output.
func (o *Output) Close() error {
	o.shut()
	return nil
}

// OutputSize tells how many bytes of a task's output there are by its files.
func (s *Spool) OutputSize(id string) (int64, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	segments, err := listSegments(d)
	if err != nil || len(segments) == 0 {
		return 0, err
	}
	return segments[len(segments)-1].end(), nil
}

// ReadOutput gives the piece of a task's output that begins at offset: data
// (at most 64 KiB), or how much is missing there, or a zero Output where
// nothing follows yet. size is that of the whole output where it is final, and
// -1 while it grows.
func (s *Spool) ReadOutput(id string, offset, size int64) (protocol.Output, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return protocol.Output{}, err
	}
	defer d.Close()
	segments, err := listSegments(d)
	if err != nil {
		return protocol.Output{}, err
	}
	for _, g := range segments {
		if g.end() <= offset {
			continue
		}
		if g.offset > offset {
			return protocol.Output{Offset: offset, Truncated: g.offset - offset}, nil
		}
		return readSegment(d, g, offset)
	}
	if size > offset {
		return protocol.Output{Offset: offset, Truncated: size - offset}, nil
	}
	return protocol.Output{Offset: offset}, nil
}

func readSegment(d dir, g segment, offset int64) (protocol.Output, error) {
	f, err := d.Open(g.name(), ToRead)
	if errors.Is(err, fs.ErrNotExist) { // dropped just now
		return protocol.Output{Offset: offset, Truncated: g.end() - offset}, nil
	}
	if err != nil {
		return protocol.Output{}, err
	}
	defer f.Close()
	b := make([]byte, min(chunk, g.end()-offset))
	n, err := f.ReadAt(b, offset-g.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return protocol.Output{}, d.fail("read", g.name(), err)
	}
	return protocol.Output{Offset: offset, Data: b[:n]}, nil
}
