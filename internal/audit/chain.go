package audit

import "slices"

const (
	verifyWindow = 4 * maxInFlight  // a duplicate lies at most about two of them behind
	spareLinks   = 8 * verifyWindow // of all sources together
	maxGaps      = 1024             // remembered of one source; what is lost after so many is only counted
)

// chain is what the verifier knows of one source.
type chain struct {
	report SourceReport
	last   place  // the furthest record
	hash   digest // of it
	seen   *window
	gaps   []gap
	epochs []int64 // those before the last
	seals  sealbook
}

// gap is a piece of the chain that was passed over.
type gap struct {
	epoch, first, last int64
	at                 spot // where it was noticed
}

func newChain(source string, spare *int) *chain {
	return &chain{report: SourceReport{Source: source}, seen: newSharedWindow(verifyWindow, spare)}
}

// begin has the chain go on behind a record that lies elsewhere.
func (c *chain) begin(h Head) {
	c.last, c.hash = place{h.Epoch, h.Seq}, digestOf([]byte(h.Hash))
	c.seen.put(c.last, link{hash: c.hash})
	c.report.From = h.Seq
}

// add takes an intact record.
func (c *chain) add(v *verifier, e *entry) {
	p := e.place
	if p != c.last.next() { // else nothing of that place was seen yet
		if l, ok := c.seen.get(p); ok {
			if l.hash.same(e.hash) {
				c.report.Duplicates++
				return
			}
			c.report.Changed++
			v.fault(FaultChanged, e.source, p.seq, "another record of that number came before")
			return
		}
		if !c.last.before(p) {
			c.late(v, e)
			return
		}
	}
	if c.last.seq > 0 && p.epoch > c.last.epoch && p.seq <= c.last.seq {
		c.fork(v, e)
	} else if p.seq > c.last.seq+1 {
		c.skip(gap{epoch: p.epoch, first: c.last.seq + 1, last: p.seq - 1, at: v.at})
		c.seals.interrupted()
	} else if !e.prev.same(c.hash) {
		c.report.Changed++
		v.fault(FaultChanged, e.source, p.seq, "it does not follow the record before it")
	}
	c.take(e)
	c.seals.see(v, c, e)
}

// take makes e the furthest record.
func (c *chain) take(e *entry) {
	if c.last.seq > 0 && e.place.epoch > c.last.epoch {
		c.report.Restores++
		if len(c.epochs) < maxGaps {
			c.epochs = append(c.epochs, c.last.epoch)
		}
	}
	c.last, c.hash = e.place, e.hash
	c.seen.put(e.place, link{e.hash, e.prev})
	c.report.Stored++
}

// late takes a record that is not the furthest and was not seen lately. If it
// fills a gap it was moved, or it was sent again after others had overtaken it.
func (c *chain) late(v *verifier, e *entry) {
	p := e.place
	c.report.Reordered++
	i := slices.IndexFunc(c.gaps, func(g gap) bool { return g.epoch == p.epoch && g.first <= p.seq && p.seq <= g.last })
	if i < 0 {
		v.fault(FaultReordered, e.source, p.seq, "it comes too late: the trail has got to record %d", c.last.seq)
		return
	}
	v.fault(FaultReordered, e.source, p.seq, "it comes behind record %d", c.last.seq)
	before, ok := c.seen.get(place{p.epoch, p.seq - 1})
	after, ok2 := c.seen.get(p.next())
	if ok && !before.hash.same(e.prev) || ok2 && !after.prev.same(e.hash) {
		c.report.Changed++
		v.fault(FaultChanged, e.source, p.seq, "it does not fit between the records before and after it")
	}
	g := c.gaps[i]
	c.gaps = slices.Delete(c.gaps, i, i+1)
	c.report.Missing -= g.last - g.first + 1
	if g.first < p.seq {
		c.skip(gap{g.epoch, g.first, p.seq - 1, g.at})
	}
	if p.seq < g.last {
		c.skip(gap{g.epoch, p.seq + 1, g.last, g.at})
	}
	c.seen.put(p, link{e.hash, e.prev})
	c.report.Stored++
}

// fork takes the first record after the source was restored from a backup: it
// goes on behind a record that the trail had left behind.
func (c *chain) fork(v *verifier, e *entry) {
	p := e.place
	lost := c.last.seq - max(p.seq-1, c.report.From)
	c.report.Superseded += lost
	c.report.Stored -= lost
	// The backup may be from before an earlier restore.
	known, follows := false, false
	for _, epoch := range append([]int64{c.last.epoch}, c.epochs...) {
		base, ok := c.seen.get(place{epoch, p.seq - 1})
		known, follows = known || ok, follows || ok && base.hash.same(e.prev)
	}
	if known && !follows || p.seq == 1 && e.prev.kind != noDigest {
		c.report.Changed++
		v.fault(FaultChanged, e.source, p.seq, "it does not follow the record that epoch %d was restored to", p.epoch)
	}
	c.seals.forked(v, c, p.seq-1)
}

func (c *chain) skip(g gap) {
	c.report.Missing += g.last - g.first + 1
	if len(c.gaps) < maxGaps {
		c.gaps = append(c.gaps, g)
	}
}

// close reports the gaps that nothing has filled.
func (c *chain) close(v *verifier) {
	c.report.Head = Head{Source: c.report.Source, Epoch: c.last.epoch, Seq: c.last.seq, Hash: c.hash.text()}
	c.report.Generated = c.last.seq
	slices.SortFunc(c.gaps, func(a, b gap) int { return a.at.compare(b.at) })
	for _, g := range c.gaps {
		v.faultAt(g.at, FaultGap, c.report.Source, g.first, "records %d to %d are missing", g.first, g.last)
		if len(c.report.Gaps) < maxFaults {
			c.report.Gaps = append(c.report.Gaps, Gap{First: g.first, Last: g.last})
		}
	}
	c.seals.close(v, c)
}
