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
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxNamed bounds the hosts that are named because nothing of theirs was given.
const maxNamed = 10_000

// Compare holds a server's trail against what hosts have recorded themselves:
// neither can leave out, invent or change afterwards what both have seen, unless
// both were rewritten. It says nothing about the trail's own chain: see Verify.
//
// Of a host everything counts that its files have, in any order: the ledger of
// what root began there, and the parts of the record of what servers asked. A
// trail of several servers is all their trails, one behind the other.
//
// What happened after until is not compared, as one copy may be older than the
// other; the zero time compares everything. The clocks may be half a minute
// apart, as far as agents let them.
//
// Memory grows with the hosts' files, not with the trail. The error is only for
// reading: what was found is in the Comparison.
func Compare(trail []Input, files []HostFile, until time.Time) (Comparison, error) {
	c := comparer{until: until, hosts: map[string]*hostSide{}, others: map[string]bool{}}
	for _, f := range files {
		if err := c.readHost(f); err != nil {
			return Comparison{}, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		c.beginnings(c.hosts[name])
	}
	for _, input := range trail {
		text, _, err := unpack(input) // what can't be unpacked has no records, as Verify says
		if err == nil && text != nil {
			err = c.readTrail(text)
		}
		if err != nil {
			return Comparison{}, fmt.Errorf("read the audit trail: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		c.conclude(c.hosts[name])
	}
	return c.report(), nil
}

type comparer struct {
	until  time.Time
	hosts  map[string]*hostSide
	others map[string]bool // hosts of the trail of which nothing was given
	last   string          // time of the trail's latest record, as it is written
	faults []Difference
	count  int64
}

func (c *comparer) fault(d Difference, format string, args ...any) {
	c.count++
	if len(c.faults) < maxFaults {
		d.Text = fmt.Sprintf(format, args...)
		c.faults = append(c.faults, d)
	}
}

// counts tells whether what happened then is compared.
func (c *comparer) counts(at time.Time) bool { return c.until.IsZero() || !at.After(c.until) }

// eachLine gives the lines of r, without their ends. One that is too long is
// nil, and so is the last one where it has no end: who copies a file that grows
// gets a piece of a line.
func eachLine(r io.Reader, do func(n int64, line []byte)) error {
	input := bufio.NewReaderSize(r, maxLine)
	for n := int64(1); ; n++ {
		line, err := input.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = input.ReadSlice('\n')
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case long:
			do(n, nil)
		default:
			do(n, line[:len(line)-1])
		}
	}
}

// readTrail reads what servers say of tasks. Lines of which Verify would say
// that they are no records are passed over.
func (c *comparer) readTrail(trail io.Reader) error {
	return eachLine(trail, func(_ int64, line []byte) {
		start := bytes.LastIndex(line, []byte(`{"source":`)) // behind a prefix, or behind a piece that was torn
		if start < 0 {
			return
		}
		line = line[start:]
		if _, rest, ok := bytes.Cut(line, []byte(`,"time_utc":"`)); ok && len(rest) >= len(timeLayout) {
			if at := rest[:len(timeLayout)]; string(at) > c.last {
				c.last = string(at)
			}
		}
		if !bytes.Contains(line, []byte(`,"action":"task.`)) {
			return
		}
		if r, err := Decode(line); err == nil && r.Intact() && !strings.HasPrefix(r.Source, AgentSource) {
			c.told(&r)
		}
	})
}

// told takes what a server has recorded of a task.
func (c *comparer) told(r *Record) {
	side := c.hosts[r.Host]
	if side == nil {
		if len(c.others) < maxNamed {
			c.others[r.Host] = true
		}
		return
	}
	switch r.Action {
	case TaskIntent:
		c.intended(side, r)
	case TaskOutcome, TaskLearned:
		c.ended(side, r)
	case TaskLocal:
		c.takenOver(side, r)
	}
}

// intended holds a server's intent against what the host has taken.
func (c *comparer) intended(side *hostSide, r *Record) {
	t := side.asked.tasks[r.Task]
	if t == nil {
		side.intents[r.Task] = r.Time
		return
	}
	if t.told {
		return // sent again
	}
	t.told = true
	if t.taken == nil {
		return
	}
	side.report.Agreed++
	c.same(side, t.taken, r, member{"run", t.taken.Run, r.Run}, member{"attempt", fmt.Sprint(t.taken.Attempt), fmt.Sprint(r.Attempt)}, member{"service", t.taken.Service, r.Service},
		member{"environment", t.taken.Environment, r.Environment}, member{"scenario_digest", t.taken.ScenarioDigest, r.ScenarioDigest}, member{"actor", t.taken.Actor, r.Actor},
		member{"reason", t.taken.Reason, r.Reason}, member{"params", paramsOf(t.taken), paramsOf(r)})
}

// member is one of a record's as each side has it.
type member struct{ name, host, server string }

func paramsOf(r *Record) string { return string((&Record{Params: r.Params}).Canonical()) }

// same wants both sides to say the same of a task.
func (c *comparer) same(side *hostSide, host, server *Record, members ...member) {
	var names []string
	for _, m := range members {
		if m.host != m.server {
			names = append(names, m.name)
		}
	}
	if len(names) > 0 {
		c.fault(Difference{Kind: DifferenceDiffers, Host: side.report.Host, Task: host.Task, Seq: host.Seq},
			"record %d of %s and record %d of %s tell of the same task and differ in: %s", host.Seq, host.Source, server.Seq, server.Source, strings.Join(names, ", "))
	}
}

// ended holds an outcome against what the host has. One without the heads of
// its chains is of an agent of an earlier version, or of a host that was not
// asked.
func (c *comparer) ended(side *hostSide, r *Record) {
	if !c.counts(r.Time) {
		return
	}
	heads := r.heads()
	for _, h := range heads {
		c.stood(side, h, r)
	}
	if t := side.asked.tasks[r.Task]; t != nil && t.taken != nil {
		return
	}
	if len(heads) > 0 || slices.Contains([]string{"succeeded", "failed", "timed_out", "cancelled"}, r.Outcome) {
		side.pending[r.Task] = pending{outcome: r.Outcome, at: r.Time, place: r.Head(), head: slices.ContainsFunc(heads, func(h Head) bool { return h.Source == side.asked.source })}
	}
}

// stood holds the head that a server was told against the host's files. What
// differs is counted by chain and kind: one rewriting shows in every outcome
// since.
func (c *comparer) stood(side *hostSide, h Head, r *Record) {
	chain := side.chainOf(h.Source)
	kind := DifferenceHead
	switch {
	case chain.known[headKey{h.Seq, h.Hash}]:
		side.report.Heads++
		return
	case h.Seq > chain.last:
		kind = DifferenceShorter
	case h.Seq > 0 && h.Seq < chain.first:
		side.report.Before++
		return
	}
	l := chain.lost[kind]
	if l == nil {
		l = &lostHeads{seq: h.Seq, task: r.Task, from: r.Time, to: r.Time}
		chain.lost[kind] = l
	}
	l.count++
	if r.Time.Before(l.from) {
		l.from, l.seq, l.task = r.Time, h.Seq, r.Task
	}
	if r.Time.After(l.to) {
		l.to = r.Time
	}
}

// takenOver holds what a server tells of work that root has begun on the host
// against the host's ledger.
func (c *comparer) takenOver(side *hostSide, r *Record) {
	t := side.ledger.tasks[r.Task]
	switch {
	case t == nil && c.counts(r.Time) && !side.unknown[r.Task]:
		side.unknown[r.Task] = true
		c.fault(Difference{Kind: DifferenceMissing, Host: side.report.Host, Task: r.Task},
			"record %d of %s tells of work that was begun on the host, and the host's ledger does not have it", r.Seq, r.Source)
	case t == nil:
	case r.Outcome == "" && !t.told:
		t.told = true
		side.report.Agreed++
		c.same(side, t.taken, r, member{"run", t.taken.Run, r.Run}, member{"service", t.taken.Service, r.Service}, member{"scenario_digest", t.taken.ScenarioDigest, r.ScenarioDigest})
	case r.Outcome != "" && t.ended != nil:
		c.same(side, t.ended, r, member{"outcome", t.ended.Outcome, r.Outcome})
		t.ended = nil // once
	}
}

// conclude says what of a host's records no server has told of, and what of a
// server's the host does not have.
func (c *comparer) conclude(side *hostSide) {
	for _, t := range side.asked.inOrder() {
		if !t.told && c.counts(t.record().Time) {
			c.unasked(side, t)
		}
	}
	for _, t := range side.ledger.inOrder() {
		if r := t.taken; !t.told && t.over && c.counts(t.overAt) {
			c.fault(Difference{Kind: DifferenceUntold, Host: side.report.Host, Task: r.Task, Seq: r.Seq},
				"record %d of %s: %s has worked on service %s there, and the trail does not tell of it; a server takes such work over within minutes", r.Seq, r.Source, r.Actor, r.Service)
		}
	}
	for _, task := range slices.Sorted(maps.Keys(side.pending)) {
		c.missing(side, task, side.pending[task])
	}
	for _, chain := range []*hostChain{side.asked, side.ledger} {
		for _, kind := range slices.Sorted(maps.Keys(chain.lost)) {
			c.lostHeads(side, chain, kind, chain.lost[kind])
		}
	}
}

// unasked tells of a request that reached the host and is in no trail.
func (c *comparer) unasked(side *hostSide, t *hostTask) {
	r := t.record()
	d := Difference{Kind: DifferenceUnasked, Host: side.report.Host, Task: r.Task, Seq: r.Seq}
	did := "has taken task " + r.Task
	if t.taken == nil {
		did = "has refused task " + r.Task + " (" + r.Outcome + ")"
	}
	if end, err := time.Parse(timeLayout, c.last); err != nil || r.Time.After(end.Add(skew)) {
		c.fault(d, "record %d of %s: the host %s of service %s, asked as %s, at %s, and the trail ends before that, at %s: copy the trail after the hosts' files, or compare until then",
			r.Seq, r.Source, did, cmp.Or(r.Service, "unknown"), cmp.Or(r.Actor, "nobody"), r.Time.Format(time.RFC3339), cmp.Or(c.last, "no time"))
		return
	}
	c.fault(d, "record %d of %s: the host %s of service %s, asked as %s, and no server's trail has its intent: somebody else has a server's keys, or a trail was rewritten, or is not given",
		r.Seq, r.Source, did, cmp.Or(r.Service, "unknown"), cmp.Or(r.Actor, "nobody"))
}

// missing tells of an outcome of a task that the host has no record of.
func (c *comparer) missing(side *hostSide, task string, p pending) {
	at, intended := side.intents[task]
	if !intended {
		at = p.at
	}
	switch chain := side.asked; {
	case chain.records == 0:
	case chain.first > 1 && at.Before(chain.began.Add(skew)), chain.first == 1 && !p.head && at.Before(chain.began.Add(skew)):
		side.report.Before++ // it has no records of that time any more, or had none yet
	default:
		c.fault(Difference{Kind: DifferenceMissing, Host: side.report.Host, Task: task},
			"record %d of %s says of the task: %s, and the host's record of what servers asked does not have it: the host's was rewritten, or the server has made it up", p.place.Seq, p.place.Source, cmp.Or(p.outcome, "nothing"))
	}
}

func (c *comparer) lostHeads(side *hostSide, chain *hostChain, kind DifferenceKind, l *lostHeads) {
	d := Difference{Kind: kind, Host: side.report.Host, Task: l.task, Seq: l.seq}
	when := fmt.Sprintf("%s, from %s to %s", numbered(l.count, "outcome"), l.from.Format(time.RFC3339), l.to.Format(time.RFC3339))
	if chain.records == 0 {
		c.fault(d, "a server has seen record %d of %s, and no file of that was given: it was removed, or not copied (%s)", l.seq, chain.source, when)
		return
	}
	if kind == DifferenceShorter {
		c.fault(d, "a server has seen record %d of %s, and the host's files end at %d: they were cut off, or copied before that (%s)", l.seq, chain.source, chain.last, when)
		return
	}
	c.fault(d, "a server has seen another record %d of %s than the host's files have: they were rewritten, or the host was set up anew (%s)", l.seq, chain.source, when)
}

// report closes the books.
func (c *comparer) report() Comparison {
	out := Comparison{OK: c.count == 0, Hosts: []HostReport{}, Differences: c.faults, DifferenceCount: c.count, NotGiven: slices.Sorted(maps.Keys(c.others))}
	if !c.until.IsZero() {
		out.Until = &c.until
	}
	for _, name := range slices.Sorted(maps.Keys(c.hosts)) {
		out.Hosts = append(out.Hosts, c.hosts[name].report)
	}
	if out.Differences == nil {
		out.Differences = []Difference{}
	}
	if out.NotGiven == nil {
		out.NotGiven = []string{}
	}
	for i := range out.Differences {
		out.Differences[i].Text = restart.Escape(out.Differences[i].Text)
	}
	return out
}
