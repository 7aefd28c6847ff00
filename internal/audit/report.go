package audit

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// maxFaults bounds the faults that a report lists; the others are counted.
const maxFaults = 100

// Report is what Verify found.
type Report struct {
	OK         bool           `json:"ok"`
	Lines      int64          `json:"lines"`
	Foreign    int64          `json:"foreign"` // lines of other programs, passed over
	Torn       int64          `json:"torn"`    // pieces of lines with a whole record behind them: harmless, as gaps would tell
	Sources    []SourceReport `json:"sources"` // by name
	Faults     []Fault        `json:"faults"`  // the first hundred, by line
	FaultCount int64          `json:"fault_count"`
	Notes      []Fault        `json:"notes"` // the first hundred: what an auditor should know though the trail may be whole
	NoteCount  int64          `json:"note_count"`
}

// SourceReport counts the records of one source.
type SourceReport struct {
	Source      string `json:"source"`
	Generated   int64  `json:"generated"`            // as the head says: the given one, or else the furthest record
	From        int64  `json:"from,omitempty"`       // it was said to begin behind this record; those up to it were not looked for
	Stored      int64  `json:"stored"`               // different records of the chain that are there
	Missing     int64  `json:"missing"`              // records in gaps, and behind the end where the head is known
	Gaps        []Gap  `json:"gaps,omitempty"`       // the first hundred
	Duplicates  int64  `json:"duplicates"`           // the same record again: harmless
	Reordered   int64  `json:"reordered"`            // first seen behind a later one
	Changed     int64  `json:"changed"`              // hash, or link to a neighbour, does not fit
	Restores    int64  `json:"restores,omitempty"`   // how often the source went on in a new epoch: its database was restored from a backup
	Superseded  int64  `json:"superseded,omitempty"` // records that a restored database had forgotten
	Head        Head   `json:"head"`                 // of what is there
	HeadMatches *bool  `json:"head_matches"`         // null where no head was given

	Seals    int64        `json:"seals"`               // records audit.sealed
	Sealed   int64        `json:"sealed"`              // the last of them that is good vouches for all up to this record
	SealedAt *time.Time   `json:"sealed_at,omitempty"` // when
	Unsealed int64        `json:"unsealed"`            // records behind that, but for the seal itself
	Keys     []SealingKey `json:"keys,omitempty"`      // in the order in which they sealed
}

// SealingKey is a key by which a stretch of a trail is sealed.
type SealingKey struct {
	Key    string `json:"key"`    // KeyID
	Public string `json:"public"` // the key itself, base64
	First  int64  `json:"first"`  // the first of its seals in a row, and the last
	Last   int64  `json:"last"`
	Seals  int64  `json:"seals"`
	Good   bool   `json:"good"` // it is one of those given, or was named by one; without any given: by the first
}

// Gap is a range of records that are missing, both ends included.
type Gap struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// FaultKind says what is wrong, or what a note is of.
type FaultKind string

// The kinds of faults. Silence, clock and key can be notes too.
const (
	FaultMalformed FaultKind = "malformed" // a line that is not a record as it was written
	FaultTorn      FaultKind = "torn"      // the last line has no end
	FaultChanged   FaultKind = "changed"   // a hash or a link does not fit
	FaultGap       FaultKind = "gap"       // records are missing
	FaultReordered FaultKind = "reordered" // a record stands behind a later one
	FaultHead      FaultKind = "head"      // the end is not where the source stands
	FaultEmpty     FaultKind = "empty"     // there is nothing to verify
	FaultNewer     FaultKind = "newer"     // a record of a newer version: its hash is good, not all it says is known
	FaultSource    FaultKind = "source"    // a source that should not be there
	FaultSeal      FaultKind = "seal"      // a seal that does not fit what it seals
	FaultKey       FaultKind = "key"       // sealed with a key that nobody vouches for; as a note: another key, in order
	FaultUnsealed  FaultKind = "unsealed"  // records that should be sealed
	FaultSilence   FaultKind = "silence"   // no heartbeat: at the end a fault, before it a note
	FaultClock     FaultKind = "clock"     // the source's clock went back
)

// Fault is one thing that is wrong. Its text is safe to print.
type Fault struct {
	File   string    `json:"file,omitempty"` // where files have names
	Line   int64     `json:"line"`           // where it shows, from 1; 0 = it is of the whole file
	Kind   FaultKind `json:"kind"`
	Source string    `json:"source,omitempty"`
	Seq    int64     `json:"seq,omitempty"`
	Text   string    `json:"text"`
}

func (f Fault) String() string {
	var where []string
	if f.File != "" {
		where = append(where, f.File)
	}
	if f.Line > 0 {
		where = append(where, fmt.Sprintf("line %d", f.Line))
	}
	parts := []string{string(f.Kind), f.Text}
	switch {
	case f.Seq > 0:
		parts = []string{string(f.Kind), fmt.Sprintf("record %d of %s", f.Seq, f.Source), f.Text}
	case f.Source != "":
		parts = []string{string(f.Kind), f.Source, f.Text}
	}
	if len(where) > 0 {
		parts = append([]string{strings.Join(where, ", ")}, parts...)
	}
	return strings.Join(parts, ": ")
}

// Write writes the report for people: a line a source, a line a fault, and the
// verdict.
func (r Report) Write(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Sources {
		head := "not given"
		if s.HeadMatches != nil {
			head = map[bool]string{true: "matches", false: "DIFFERS"}[*s.HeadMatches]
		}
		fmt.Fprintf(&b, "%s: generated %d, stored %d, missing %d, gaps %d, duplicates %d, reordered %d, changed %d, head %s\n",
			s.Source, s.Generated, s.Stored, s.Missing, len(s.Gaps), s.Duplicates, s.Reordered, s.Changed, head)
		if s.From > 0 {
			fmt.Fprintf(&b, "%s: begins behind record %d, as was given; records up to that were NOT looked for\n", s.Source, s.From)
		}
		if s.Restores > 0 {
			fmt.Fprintf(&b, "%s: a backup was restored %s; %d records are of what was lost by it\n", s.Source, times(s.Restores), s.Superseded)
		}
		s.writeSeals(&b)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(&b, "note:", n)
	}
	if more := r.NoteCount - int64(len(r.Notes)); more > 0 {
		fmt.Fprintf(&b, "and %d notes more\n", more)
	}
	for _, f := range r.Faults {
		fmt.Fprintln(&b, f)
	}
	if more := r.FaultCount - int64(len(r.Faults)); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	if r.OK {
		fmt.Fprintf(&b, "the trail is whole: %s\n", numbered(r.Lines, "line"))
	} else {
		fmt.Fprintf(&b, "NOT the trail as it was written: %s in %s\n", numbered(r.FaultCount, "fault"), numbered(r.Lines, "line"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeSeals tells what vouches for the source's records.
func (s *SourceReport) writeSeals(b *strings.Builder) {
	if s.Seals == 0 {
		return
	}
	if s.SealedAt == nil {
		fmt.Fprintf(b, "%s: %s, NONE of them good\n", s.Source, numbered(s.Seals, "seal"))
		return
	}
	fmt.Fprintf(b, "%s: %s; sealed up to record %d, at %s; behind that %s not\n",
		s.Source, numbered(s.Seals, "seal"), s.Sealed, s.SealedAt.Format(time.RFC3339), are(s.Unsealed))
	for _, k := range s.Keys {
		word := "good"
		if !k.Good {
			word = "NOT trusted"
		}
		fmt.Fprintf(b, "%s: records %d to %d: %s by key %s, %s\n", s.Source, k.First, k.Last, numbered(k.Seals, "seal"), k.Key, word)
	}
}

// are is the beginning of a sentence on so many records.
func are(n int64) string {
	if n == 1 {
		return "1 record is"
	}
	return fmt.Sprintf("%d records are", n)
}

func numbered(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
