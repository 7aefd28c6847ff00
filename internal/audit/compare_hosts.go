package audit

import (
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

// HostFile is a file of a host's own records, as it lay in its spool:
// ledger.jsonl, asked.jsonl, or a part of that which was set aside.
type HostFile struct {
	Name string // for people
	Data io.Reader
}

// hostSide is what one host has recorded, and what of a trail waits for it.
type hostSide struct {
	report        HostReport
	asked, ledger *hostChain
	intents       map[string]time.Time // of tasks that the host has no record of
	pending       map[string]pending   // outcomes of such tasks
	unknown       map[string]bool      // local work that the ledger does not have
}

// pending is an outcome that the host should have a record for.
type pending struct {
	outcome string
	at      time.Time
	place   Head
	head    bool // the host has said then where its record of what was asked stood
}

// hostChain is one of a host's two chains, as its files have it.
type hostChain struct {
	source      string
	records     int64
	bytes       int64
	first, last int64
	began       time.Time // of the first record that is there
	known       map[headKey]bool
	starts      []start // where a piece begins that does not follow the line before it
	tasks       map[string]*hostTask
	lost        map[DifferenceKind]*lostHeads
}

// headKey names a record of a chain by what the next one holds of it.
type headKey struct {
	seq  int64
	hash string
}

// start is the first record of a piece of a chain.
type start struct {
	file string
	seq  int64
	prev string
}

// lostHeads are those of one chain that the host's files don't have.
type lostHeads struct {
	count    int64
	seq      int64 // of the first
	task     string
	from, to time.Time
}

// hostTask is what a host has recorded of a task.
type hostTask struct {
	taken, refused *Record
	ended          *Record // of local work
	over           bool
	overAt         time.Time
	told           bool // the trail has it
}

func (t *hostTask) record() *Record { return cmp.Or(t.taken, t.refused) }

func newHostSide(host string) *hostSide {
	chain := func(source string) *hostChain {
		return &hostChain{source: source, known: map[headKey]bool{}, tasks: map[string]*hostTask{}, lost: map[DifferenceKind]*lostHeads{}}
	}
	return &hostSide{
		report: HostReport{Host: host}, asked: chain(AgentSource + host + AskedSource), ledger: chain(AgentSource + host),
		intents: map[string]time.Time{}, pending: map[string]pending{}, unknown: map[string]bool{},
	}
}

func (s *hostSide) chainOf(source string) *hostChain {
	if source == s.asked.source {
		return s.asked
	}
	return s.ledger
}

// inOrder gives the tasks as the chain has them.
func (c *hostChain) inOrder() []*hostTask {
	return slices.SortedFunc(maps.Values(c.tasks), func(a, b *hostTask) int { return cmp.Compare(a.record().Seq, b.record().Seq) })
}

// readHost reads a file of a host's records and follows its chain. What does
// not fit is told, and what stands behind it is read all the same.
func (c *comparer) readHost(f HostFile) error {
	var last Head
	records := 0
	err := eachLine(f.Data, func(n int64, line []byte) {
		r, err := Decode(line)
		host, ours := strings.CutPrefix(r.Source, AgentSource)
		host = strings.TrimSuffix(host, AskedSource)
		if err == nil && (!ours || checkAnySource(r.Source) != nil) {
			err = fmt.Errorf("its source is %s, which is no host's own", restart.Quote(r.Source))
		}
		if err == nil && (r.Seq < 1 || r.Epoch < 1) {
			err = errors.New("it has no place in a chain")
		}
		if err != nil {
			c.fault(Difference{Kind: DifferenceMalformed}, "%s, line %d: this is not a host's record: %v", restart.Quote(f.Name), n, err)
			return
		}
		records++
		side := c.hosts[host]
		if side == nil {
			side = newHostSide(host)
			c.hosts[host] = side
		}
		chain := side.chainOf(r.Source)
		if !r.Intact() {
			c.fault(Difference{Kind: DifferenceChanged, Host: host, Seq: r.Seq}, "%s, line %d: record %d was changed: its hash is not that of its contents", restart.Quote(f.Name), n, r.Seq)
		}
		if last.Source != r.Source || last.Seq+1 != r.Seq || last.Hash != r.PrevHash {
			chain.starts = append(chain.starts, start{f.Name, r.Seq, r.PrevHash})
		}
		last = r.Head()
		chain.bytes += int64(len(line)) + 1
		chain.take(&r)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name, err)
	}
	if records == 0 {
		c.fault(Difference{Kind: DifferenceMalformed}, "%s holds no record of a host", restart.Quote(f.Name))
	}
	return nil
}

// take keeps what of a record is compared. The same record may be in two files.
func (c *hostChain) take(r *Record) {
	if c.known[headKey{r.Seq, r.Hash}] {
		return
	}
	c.known[headKey{r.Seq, r.Hash}] = true
	if c.records == 0 || r.Seq < c.first {
		c.first, c.began = r.Seq, r.Time
	}
	c.records, c.last = c.records+1, max(c.last, r.Seq)
	if r.Task == "" {
		return
	}
	t := c.tasks[r.Task]
	if t == nil {
		t = &hostTask{}
	}
	begins := TaskIntent
	if strings.HasSuffix(c.source, AskedSource) {
		begins = TaskTaken
	}
	kept := *r
	kept.PrevHash, kept.Hash, kept.Detail = "", "", ""
	switch {
	case r.Action == begins && t.taken == nil:
		t.taken = &kept
	case r.Action == TaskRefused && t.refused == nil:
		t.refused = &kept
	case r.Action == TaskOutcome && t.taken != nil && !t.over:
		t.ended, t.over, t.overAt = &kept, true, r.Time
		return
	default:
		return
	}
	c.tasks[r.Task] = t
}

// beginnings wants each piece of a host's chains to go on behind another one,
// or to be a chain's beginning. Only the record of what was asked may have lost
// its oldest parts, and only where as many are there as a host keeps.
func (c *comparer) beginnings(side *hostSide) {
	for _, chain := range []*hostChain{side.asked, side.ledger} {
		report := chain.report()
		for _, s := range chain.starts {
			switch {
			case s.seq == 1 && s.prev == "":
				report.Chains++
			case chain.known[headKey{s.seq - 1, s.prev}]:
			case s.seq == chain.first && chain == side.asked && chain.bytes >= AskedPart*AskedParts:
				report.Chains++
			default:
				c.fault(Difference{Kind: DifferenceGap, Host: side.report.Host, Seq: s.seq}, "%s: record %d of %s does not follow any that is there: records before it are missing, or were changed",
					restart.Quote(s.file), s.seq, chain.source)
			}
		}
		switch {
		case chain.records == 0:
		case chain == side.asked:
			side.report.Asked = report
		default:
			side.report.Ledger = report
		}
	}
	for _, t := range side.asked.tasks {
		if t.taken != nil {
			side.report.Taken++
		} else {
			side.report.Refused++
		}
	}
	side.report.Local = int64(len(side.ledger.tasks))
}

func (c *hostChain) report() *ChainReport {
	return &ChainReport{Source: c.source, Records: c.records, First: c.first, Last: c.last}
}
