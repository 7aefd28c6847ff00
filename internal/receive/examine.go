package receive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// piece is what a batch brings for one file: records of one epoch, one after
// the other, as they came.
type piece struct {
	epoch, first int64
	lines        []byte
	digests      []digest
}

func (p *piece) last() int64 { return p.first + int64(len(p.digests)) - 1 }

// batch is what was found in a request.
type batch struct {
	pieces     []piece
	head       audit.Head // of the chain with the pieces
	duplicates int64
}

// refusal is why a record, and what comes behind it, is not taken.
type refusal struct {
	kind       AlarmKind
	epoch, seq int64
	text       string
	rest       []byte // from the record on
}

func (r *refusal) Error() string { return r.text }

// name gives what was refused a name in its folder: the same line has the same
// name whenever it comes again.
func (r *refusal) name() string {
	line, _, _ := bytes.Cut(r.rest, []byte("\n"))
	sum := sha256.Sum256(line)
	return fmt.Sprintf("%s-%06d-%012d-%x.jsonl", r.kind, r.epoch, r.seq, sum[:6])
}

// examine reads the lines of a request. What it gives is good to be stored,
// whatever the error: *audit.Behind, *refusal, or one of reading the store.
func (s *source) examine(body []byte) (batch, error) {
	b := batch{head: s.head}
	for rest := body; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			return b, &refusal{kind: AlarmMalformed, text: "its last line has no end", rest: rest}
		}
		if len(line) >= maxLine { // the store could not read it back
			return b, &refusal{kind: AlarmMalformed, text: fmt.Sprintf("the line has %d bytes, and a record has fewer than %d", len(line), maxLine), rest: rest}
		}
		r, err := audit.ReadLine(line)
		if err != nil && !errors.Is(err, audit.ErrChanged) {
			return b, &refusal{kind: AlarmMalformed, text: "it is not a record as it is written: " + restart.Escape(err.Error()), rest: rest}
		}
		known, err := s.judge(&b, r, err == nil)
		if refused, ok := err.(*refusal); ok { //nolint:errorlint // judge makes it
			refused.epoch, refused.seq, refused.rest = r.Head.Epoch, r.Head.Seq, rest
		}
		if err != nil {
			return b, err
		}
		if known {
			b.duplicates++
		} else {
			b.add(r.Head, rest[:len(line)+1])
		}
		rest = after
	}
	return b, nil
}

func (b *batch) add(r audit.Head, line []byte) {
	if n := len(b.pieces); n == 0 || b.pieces[n-1].epoch != r.Epoch {
		b.pieces = append(b.pieces, piece{epoch: r.Epoch, first: r.Seq})
	}
	p := &b.pieces[len(b.pieces)-1]
	// The lines of a batch follow each other, and those between that are known
	// come before all that are not, but for copies: so they are put together.
	p.lines = append(p.lines, line...)
	p.digests = append(p.digests, digestOf(r.Hash))
	b.head = r
}

func digestOf(text string) (d digest) {
	hex.Decode(d[:], []byte(text)) //nolint:errcheck // of an intact record: 64 digits
	return d
}

// The places that the name of a file has room for.
const (
	mostEpoch = 999_999
	mostSeq   = 999_999_999_999
)

// judge tells whether a record is stored already, or is the next of the chain.
func (s *source) judge(b *batch, line audit.Line, intact bool) (known bool, err error) {
	head, r := b.head, line.Head
	switch {
	case r.Source != s.name:
		return false, &refusal{kind: AlarmForeign, text: "it is a record of " + restart.Quote(r.Source)}
	case r.Epoch < 1 || r.Seq < 1 || r.Epoch > mostEpoch || r.Seq > mostSeq:
		return false, &refusal{kind: AlarmMalformed, text: "it has no place in the trail"}
	case !intact:
		return false, &refusal{kind: AlarmChanged, text: "its hash is not that of its contents"}
	case !head.Before(r):
		return true, s.compare(b, r)
	case r.Seq > head.Seq+1:
		return false, &audit.Behind{Sink: "receiver", After: head.Seq}
	case r.Seq == 1:
		if line.PrevHash != "" {
			return false, &refusal{kind: AlarmBroken, text: "it is the first record, and names one before it"}
		}
		return false, nil
	case r.Epoch == head.Epoch:
		if line.PrevHash != head.Hash {
			return false, &refusal{kind: AlarmBroken, text: "it does not follow the record before it"}
		}
		return false, nil
	}
	return false, s.fork(b, line)
}

// compare holds a record against the one of that place that is stored.
func (s *source) compare(b *batch, r audit.Head) error {
	there, ok, err := s.lookup(b, r.Epoch, r.Seq)
	if err != nil {
		return err
	}
	if ok && there != digestOf(r.Hash) {
		return &refusal{kind: AlarmChanged, text: "another record of that number is stored"}
	}
	if !ok && len(s.segments) > 0 && !s.segments[0].after(r.Epoch, r.Seq) {
		return &refusal{kind: AlarmBroken, text: "it comes too late: the chain went on without it"}
	}
	return nil
}

// after tells whether a place lies before the file.
func (g *segment) after(epoch, seq int64) bool {
	return epoch < g.epoch || epoch == g.epoch && seq < g.first
}

// fork checks the first record of an epoch: it goes on behind a record of an
// earlier one, which the source's backup ended with.
func (s *source) fork(b *batch, r audit.Line) error {
	var epochs []int64
	for _, g := range s.segments {
		epochs = append(epochs, g.epoch)
	}
	for i := range b.pieces {
		epochs = append(epochs, b.pieces[i].epoch)
	}
	for _, epoch := range slices.Backward(slices.Compact(epochs)) {
		base, ok, err := s.lookup(b, epoch, r.Head.Seq-1)
		if err != nil {
			return err
		}
		if ok && base == digestOf(r.PrevHash) {
			return nil
		}
	}
	return &refusal{kind: AlarmBroken, text: "it begins an epoch, and follows no record that is stored"}
}

// lookup gives the digest of a place, of the batch or of what is stored.
func (s *source) lookup(b *batch, epoch, seq int64) (digest, bool, error) {
	for i := range b.pieces {
		if p := &b.pieces[i]; p.epoch == epoch && p.first <= seq && seq <= p.last() {
			return p.digests[seq-p.first], true, nil
		}
	}
	i := len(s.segments) - 1
	for i >= 0 && (s.segments[i].epoch != epoch || s.segments[i].first > seq) {
		i--
	}
	if i < 0 {
		return digest{}, false, nil
	}
	g := s.segments[i]
	if g.digests == nil {
		if s.loaded != nil {
			s.loaded.digests = nil
		}
		s.loaded = g
		if err := g.load(s.name); err != nil {
			return digest{}, false, s.damaged(g, err)
		}
	}
	d, ok := g.get(seq)
	return d, ok, nil
}
