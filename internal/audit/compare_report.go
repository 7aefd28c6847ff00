package audit

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Comparison is what Compare found.
type Comparison struct {
	OK              bool         `json:"ok"`
	Until           *time.Time   `json:"until,omitempty"` // what happened later is not compared
	Hosts           []HostReport `json:"hosts"`           // by name
	NotGiven        []string     `json:"not_given"`       // hosts of the trail of which there was no file
	Differences     []Difference `json:"differences"`     // the first hundred
	DifferenceCount int64        `json:"difference_count"`
}

// HostReport counts what one host and the trail say.
type HostReport struct {
	Host    string       `json:"host"`
	Asked   *ChainReport `json:"asked"`   // of what servers asked; null where no file of it was given
	Ledger  *ChainReport `json:"ledger"`  // of what root has begun there; null where no file of it was given
	Taken   int64        `json:"taken"`   // tasks of servers that the host has taken
	Refused int64        `json:"refused"` // and such that it has refused
	Local   int64        `json:"local"`   // tasks that root has begun there
	Agreed  int64        `json:"agreed"`  // tasks of which both sides tell
	Heads   int64        `json:"heads"`   // heads that a server has seen and that the host's files have
	Before  int64        `json:"before"`  // tasks and heads from before the first record that is there
}

// ChainReport tells what of a host's chain is there.
type ChainReport struct {
	Source  string `json:"source"`
	Records int64  `json:"records"`
	First   int64  `json:"first"`
	Last    int64  `json:"last"`
	Chains  int64  `json:"chains"` // more than one: the host was set up anew, and files from before that were given too
}

// DifferenceKind says what the two sides do not agree about.
type DifferenceKind string

// The kinds of differences. The first three are of a host's files alone.
const (
	DifferenceMalformed DifferenceKind = "malformed" // a line that is not a host's record as it was written
	DifferenceChanged   DifferenceKind = "changed"   // a record whose hash does not fit
	DifferenceGap       DifferenceKind = "gap"       // records of the host are missing
	DifferenceUnasked   DifferenceKind = "unasked"   // the host was asked, and no server's trail has the intent
	DifferenceUntold    DifferenceKind = "untold"    // root has worked on the host, and the trail does not tell of it
	DifferenceMissing   DifferenceKind = "missing"   // the trail tells of a task that the host does not have
	DifferenceDiffers   DifferenceKind = "differs"   // both tell of the task, and not the same
	DifferenceHead      DifferenceKind = "head"      // a server has seen another record than the host has now
	DifferenceShorter   DifferenceKind = "shorter"   // a server has seen more records than the host has now
)

// Difference is one thing about which a host and the trail do not agree. Its
// text is safe to print.
type Difference struct {
	Kind DifferenceKind `json:"kind"`
	Host string         `json:"host,omitempty"`
	Task string         `json:"task,omitempty"`
	Seq  int64          `json:"seq,omitempty"` // in the host's chain
	Text string         `json:"text"`
}

func (d Difference) String() string {
	about := []string{string(d.Kind)}
	for _, s := range []string{d.Host, d.Task} {
		if s != "" {
			about = append(about, s)
		}
	}
	return strings.Join(about, ": ") + ": " + d.Text
}

// Write writes the comparison for people: a line a host, a line a difference,
// and the verdict.
func (c Comparison) Write(w io.Writer) error {
	var b strings.Builder
	for _, h := range c.Hosts {
		fmt.Fprintf(&b, "%s: %s, %s; taken %d, refused %d, begun on the host %d, told by both %d, heads that match %d, from before %d\n",
			h.Host, h.Asked.say("what servers asked"), h.Ledger.say("what root began"), h.Taken, h.Refused, h.Local, h.Agreed, h.Heads, h.Before)
	}
	for _, d := range c.Differences {
		fmt.Fprintln(&b, d)
	}
	if more := c.DifferenceCount - int64(len(c.Differences)); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	if n := len(c.NotGiven); n > 0 {
		const most = 10
		names := strings.Join(c.NotGiven[:min(n, most)], ", ")
		if n > most {
			names += ", …"
		}
		fmt.Fprintf(&b, "not compared, as nothing of theirs was given: %s of the trail: %s\n", numbered(int64(n), "host"), names)
	}
	if c.Until != nil {
		fmt.Fprintf(&b, "compared until %s\n", c.Until.UTC().Format(time.RFC3339))
	}
	if c.OK {
		fmt.Fprintf(&b, "the hosts say the same: %s compared\n", numbered(int64(len(c.Hosts)), "host"))
	} else {
		fmt.Fprintf(&b, "the hosts do NOT say the same: %s\n", numbered(c.DifferenceCount, "difference"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// say tells what there is of a chain.
func (r *ChainReport) say(what string) string {
	switch {
	case r == nil:
		return what + ": not given"
	case r.Chains > 1:
		return fmt.Sprintf("%s: records %d to %d in %d chains", what, r.First, r.Last, r.Chains)
	}
	return fmt.Sprintf("%s: records %d to %d", what, r.First, r.Last)
}
