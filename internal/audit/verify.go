package audit

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxSources bounds the sources of one trail, and so the memory for them.
const maxSources = 1024

// VerifyOptions say what the verifier is told beside the trail.
type VerifyOptions struct {
	// Keys are public keys that seal trails. Where there are any, only what they
	// sign, and keys that they name, is believed; otherwise the first key of each
	// source, which then tells nothing of a chain that was made anew.
	Keys []ed25519.PublicKey
	// Now is when the trail was fetched: a source that seals has to have been
	// heard shortly before. Zero = it is not looked at.
	Now time.Time
	// Sources are those that may be in it; none = any.
	Sources []string
	// Heads are where sources' chains really stand.
	Heads []Head
	// From are the records behind which sources' trails begin here: those before
	// have expired, or lie elsewhere. Without it a chain begins with record 1.
	From []Head
}

// Verify reads one trail as VerifyInputs does.
func Verify(r io.Reader, heads ...Head) (Report, error) {
	return VerifyInputs([]Input{{Reader: r}}, VerifyOptions{Heads: heads})
}

// VerifyInputs reads a trail as it was stored, from its beginning: JSON lines,
// or lines of rsyslog's with a prefix before the JSON, in one file or several,
// the oldest first. It finds records that were deleted, changed, inserted or
// moved, and seals that do not fit. Where public keys are given it finds a
// chain that was made anew with another; where it is told the time, or the head,
// a tail that is missing.
//
// Records that came twice are harmless, as a sink sends again what may have
// been lost; they are counted. They must say the same, and first occurrences
// must be in order.
//
// The input is read once; memory does not grow with its length. The error is
// only for reading: what was found is in the report.
func VerifyInputs(inputs []Input, o VerifyOptions) (Report, error) {
	if len(inputs) == 0 {
		inputs = []Input{{Reader: strings.NewReader("")}}
	}
	v := newVerifier(inputs, o)
	if err := judgeLines(inputs, v.block); err != nil {
		return Report{}, err
	}
	return v.report(o.Heads), nil
}

type verifier struct {
	inputs  []tally
	lines   int64
	foreign int64
	torn    int64
	at      spot // the present line
	faults  found
	notes   found
	chains  map[string]*chain
	spare   int // links that the chains' windows may still take
	trusted map[pubkey]bool
	wanted  map[string]bool // sources; empty = all
	now     time.Time
	from    map[string]Head // by source, where they do not begin with record 1
}

// tally counts what an input holds.
type tally struct {
	name           string
	lines, records int64
}

// spot is a line of an input.
type spot struct {
	input int
	line  int64
}

func (s spot) compare(o spot) int {
	return cmp.Or(cmp.Compare(s.input, o.input), cmp.Compare(s.line, o.line))
}

// found are faults, or notes: the first of them, and how many there are.
type found struct {
	first []Fault
	spots []spot
	count int64
}

func newVerifier(inputs []Input, o VerifyOptions) *verifier {
	v := &verifier{chains: map[string]*chain{}, spare: spareLinks, now: o.Now, trusted: map[pubkey]bool{}, wanted: map[string]bool{}, from: map[string]Head{}}
	for _, in := range inputs {
		v.inputs = append(v.inputs, tally{name: restart.Escape(in.Name)})
	}
	for _, k := range o.Keys {
		v.trusted[pubkeyOf(k)] = true
	}
	for _, s := range o.Sources {
		v.wanted[s] = true
	}
	for _, h := range o.From {
		v.from[h.Source] = h
	}
	return v
}

// fault notes what is wrong with the present line.
func (v *verifier) fault(kind FaultKind, source string, seq int64, format string, args ...any) {
	v.faultAt(v.at, kind, source, seq, format, args...)
}

func (v *verifier) faultAt(at spot, kind FaultKind, source string, seq int64, format string, args ...any) {
	v.faults.add(v, at, kind, source, seq, format, args...)
}

// note takes down what an auditor should know though the trail is whole.
func (v *verifier) note(kind FaultKind, source string, seq int64, format string, args ...any) {
	v.notes.add(v, v.at, kind, source, seq, format, args...)
}

func (f *found) add(v *verifier, at spot, kind FaultKind, source string, seq int64, format string, args ...any) {
	f.count++
	if len(f.first) < maxFaults {
		f.spots = append(f.spots, at)
		f.first = append(f.first, Fault{File: v.inputs[at.input].name, Line: at.line, Kind: kind, Source: source, Seq: seq, Text: fmt.Sprintf(format, args...)})
	}
}

// sorted gives what was found by its place.
func (f *found) sorted() []Fault {
	order := make([]int, len(f.first))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return f.spots[a].compare(f.spots[b]) })
	var out []Fault
	for _, i := range order {
		out = append(out, f.first[i])
	}
	return out
}

// block takes the lines of a block, in order.
func (v *verifier) block(b *block) {
	v.at = spot{b.input, b.first}
	switch {
	case b.packed != "":
		v.fault(FaultMalformed, "", 0, "this file is packed with %s: unpack it first", b.packed)
	case b.long:
		v.lines++
		v.inputs[b.input].lines++
		v.fault(FaultMalformed, "", 0, "%s", tooLong)
	}
	v.lines += int64(len(b.entries))
	v.inputs[b.input].lines += int64(len(b.entries))
	for i := range b.entries {
		v.at.line = b.entries[i].line
		v.entry(&b.entries[i])
	}
	if b.torn {
		v.fault(FaultTorn, "", 0, "the last line has no end")
	}
}

// entry takes one line.
func (v *verifier) entry(e *entry) {
	if e.torn {
		v.torn++
	}
	switch e.kind {
	case entryForeign:
		v.foreign++
		return
	case entryBad:
		v.fault(FaultMalformed, "", 0, "%s", e.why)
		return
	case entryNewer:
		v.fault(FaultNewer, e.source, e.place.seq, "%s", e.why)
	}
	v.inputs[v.at.input].records++
	if len(v.wanted) > 0 && !v.wanted[e.source] {
		v.fault(FaultSource, e.source, e.place.seq, "this source should not be in the trail")
	}
	c := v.chains[e.source]
	if !e.intact {
		v.fault(FaultChanged, e.source, e.place.seq, "its hash is not that of its contents")
		if c != nil {
			c.report.Changed++
			if e.place == c.last.next() { // the change itself is reported, so no gap besides
				c.take(e)
				c.seals.interrupted()
			}
		}
		return
	}
	if c == nil {
		if len(v.chains) == maxSources {
			v.fault(FaultMalformed, "", 0, "there are more than %d sources", maxSources)
			return
		}
		c = newChain(e.source, &v.spare)
		if from, ok := v.from[e.source]; ok {
			c.begin(from)
		}
		v.chains[e.source] = c
	}
	c.add(v, e)
}

// report closes the books.
func (v *verifier) report(heads []Head) Report {
	for _, source := range slices.Sorted(maps.Keys(v.chains)) {
		v.chains[source].close(v)
	}
	for _, h := range heads {
		v.compare(h)
	}
	out := Report{Lines: v.lines, Foreign: v.foreign, Torn: v.torn, Sources: []SourceReport{}}
	for _, source := range slices.Sorted(maps.Keys(v.chains)) {
		out.Sources = append(out.Sources, v.chains[source].report)
	}
	v.empty(len(out.Sources) == 0)
	out.Faults, out.FaultCount = v.faults.sorted(), v.faults.count
	out.Notes, out.NoteCount = v.notes.sorted(), v.notes.count
	out.OK = out.FaultCount == 0
	return out
}

// empty tells of inputs that hold lines and no record: somebody named a file
// that is no trail. A file without a line is one to which nothing was written
// yet, where others have records.
func (v *verifier) empty(nothing bool) {
	for i, in := range v.inputs {
		if in.records == 0 && (nothing || in.lines > 0) {
			v.faultAt(spot{input: i}, FaultEmpty, "", 0, "there is no record of restartilka in it")
		}
	}
}

// compare holds a source against where its chain really stands.
func (v *verifier) compare(h Head) {
	if h.Seq == 0 {
		return
	}
	c := v.chains[h.Source]
	if c == nil {
		c = newChain(h.Source, &v.spare)
		v.chains[h.Source] = c
	}
	at := place{h.Epoch, h.Seq}
	hash := digestOf([]byte(h.Hash))
	matches := c.last == at && c.hash.same(hash)
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

// isHost tells whether a source is a host, whose chains nobody seals.
func isHost(source string) bool { return strings.HasPrefix(source, AgentSource) }
