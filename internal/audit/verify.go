package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxSources bounds the sources of one input, and so the memory for them.
const maxSources = 1024

// Verify reads a trail as it was stored, from its beginning: JSON lines, or
// lines of rsyslog's with a prefix before the JSON. It finds records that were
// deleted, changed, inserted or moved. It cannot see that the last records are
// missing, unless it is told where the sources' chains really stand: heads.
//
// Records that came twice are harmless, as a sink sends again what may have
// been lost; they are counted. They must say the same, and first occurrences
// must be in order.
//
// The input is read once; memory does not grow with its length. The error is
// only for reading: what was found is in the report.
func Verify(r io.Reader, heads ...Head) (Report, error) {
	v := verifier{chains: map[string]*chain{}}
	input := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := input.ReadSlice('\n')
		if len(line) > 0 {
			v.lines++
		}
		switch {
		case err == nil:
			v.line(line[:len(line)-1])
		case errors.Is(err, bufio.ErrBufferFull):
			v.fault(FaultMalformed, "", 0, "the line has more than %d bytes", maxLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = input.ReadSlice('\n')
			}
			if err != nil && err != io.EOF {
				return Report{}, fmt.Errorf("read the audit trail: %w", err)
			}
		case err == io.EOF:
			if len(line) > 0 {
				v.line(line)
				v.fault(FaultTorn, "", 0, "the last line has no end")
			}
			return v.report(heads), nil
		default:
			return Report{}, fmt.Errorf("read the audit trail: %w", err)
		}
	}
}

type verifier struct {
	lines   int64 // also the number of the present line
	foreign int64
	torn    int64
	faults  []Fault
	count   int64 // of all faults
	chains  map[string]*chain
}

// fault notes what is wrong with the present line.
func (v *verifier) fault(kind FaultKind, source string, seq int64, format string, args ...any) {
	v.faultAt(v.lines, kind, source, seq, format, args...)
}

func (v *verifier) faultAt(line int64, kind FaultKind, source string, seq int64, format string, args ...any) {
	v.count++
	if len(v.faults) < maxFaults {
		v.faults = append(v.faults, Fault{Line: line, Kind: kind, Source: source, Seq: seq, Text: fmt.Sprintf(format, args...)})
	}
}

// line takes one line apart. Lines of other programs in a file of rsyslog's
// are passed over; a line that could ever have been ours has to be a record.
func (v *verifier) line(line []byte) {
	start := bytes.Index(line, []byte(`{"source":`))
	if start < 0 {
		prefix, _, _ := bytes.Cut(line, []byte("{"))
		if len(bytes.TrimSpace(prefix)) > 0 && !bytes.Contains(prefix, []byte(appName)) {
			v.foreign++
			return
		}
		v.fault(FaultMalformed, "", 0, "this is not a record")
		return
	}
	r, err := Decode(line[start:])
	if err != nil {
		// A receiver that was killed left a piece of a line, and went on behind
		// it. The piece was not acknowledged: its record must come again.
		if again := bytes.LastIndex(line, []byte(`{"source":`)); again > start {
			if whole, wholeErr := Decode(line[again:]); wholeErr == nil {
				r, err = whole, nil
				v.torn++
			}
		}
	}
	if err == nil {
		err = checkAnySource(r.Source)
	}
	if err == nil && (r.Epoch < 1 || r.Seq < 1) {
		err = errors.New("it has no place in the trail")
	}
	if err != nil {
		v.fault(FaultMalformed, "", 0, "this is not a record as it was written: %s", restart.Escape(err.Error()))
		return
	}
	c := v.chains[r.Source]
	if !r.Intact() {
		v.fault(FaultChanged, r.Source, r.Seq, "its hash is not that of its contents")
		if c != nil {
			c.report.Changed++
			if placeOf(&r) == c.last.next() { // the change itself is reported, so no gap besides
				c.take(&r)
			}
		}
		return
	}
	if c == nil {
		if len(v.chains) == maxSources {
			v.fault(FaultMalformed, "", 0, "there are more than %d sources", maxSources)
			return
		}
		c = newChain(r.Source)
		v.chains[r.Source] = c
	}
	c.add(v, &r)
}

// report closes the books.
func (v *verifier) report(heads []Head) Report {
	for _, source := range slices.Sorted(maps.Keys(v.chains)) {
		v.chains[source].close(v)
	}
	for _, h := range heads {
		v.compare(h)
	}
	out := Report{Lines: v.lines, Foreign: v.foreign, Torn: v.torn, Faults: v.faults, FaultCount: v.count, Sources: []SourceReport{}}
	for _, source := range slices.Sorted(maps.Keys(v.chains)) {
		out.Sources = append(out.Sources, v.chains[source].report)
	}
	if len(out.Sources) == 0 {
		v.fault(FaultEmpty, "", 0, "there is no record of restartilka in it")
		out.Faults, out.FaultCount = v.faults, v.count
	}
	slices.SortStableFunc(out.Faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	out.OK = out.FaultCount == 0
	return out
}

// compare holds a source against where its chain really stands.
func (v *verifier) compare(h Head) {
	if h.Seq == 0 {
		return
	}
	c := v.chains[h.Source]
	if c == nil {
		c = newChain(h.Source)
		v.chains[h.Source] = c
	}
	at := place{h.Epoch, h.Seq}
	matches := c.last == at && c.hash == h.Hash
	c.report.Generated, c.report.HeadMatches = h.Seq, &matches
	switch {
	case matches:
	case c.last.before(at):
		c.report.Missing += max(h.Seq-c.last.seq, 0)
		v.fault(FaultHead, h.Source, h.Seq, "the trail ends at record %d, its source stands at %d", c.last.seq, h.Seq)
	case c.last == at:
		v.fault(FaultHead, h.Source, h.Seq, "its source has another record of that number")
	default:
		v.fault(FaultHead, h.Source, h.Seq, "the trail goes on to record %d, its source stands at %d", c.last.seq, h.Seq)
	}
}
