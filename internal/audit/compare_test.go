package audit_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
)

// book is a chain in the making.
type book struct {
	source  string
	records []audit.Record
}

func (b *book) add(r audit.Record) audit.Head {
	head := audit.Head{Source: b.source}
	if n := len(b.records); n > 0 {
		head = b.records[n-1].Head()
	}
	r.Link(head)
	b.records = append(b.records, r)
	return r.Head()
}

// relink is what somebody does who has changed a chain, and has its keys.
func (b *book) relink() {
	records := b.records
	b.records = nil
	for _, r := range records {
		r.Epoch, r.Seq, r.PrevHash, r.Hash = 0, 0, "", ""
		b.add(r)
	}
}

func (b *book) drop(i int) { b.records = slices.Delete(b.records, i, i+1) }

// sides are two servers and two hosts, each with its own books.
type sides struct {
	now     time.Time
	servers []*book
	asked   map[string]*book
	ledger  map[string]*book
	tasks   int
}

var sideHosts = []string{"web1.example.com", "web2.example.com"}

func newSides() *sides {
	s := &sides{now: epochStart, servers: []*book{{source: "server-1"}, {source: "server-2"}}, asked: map[string]*book{}, ledger: map[string]*book{}}
	for _, h := range sideHosts {
		s.asked[h], s.ledger[h] = &book{source: audit.AgentSource + h + audit.AskedSource}, &book{source: audit.AgentSource + h}
	}
	return s
}

// task makes the record that both sides have of a task, and a minute later.
func (s *sides) task(host string) audit.Record {
	s.tasks++
	s.now = s.now.Add(time.Minute)
	return audit.Record{
		Time: s.now, Actor: "anna", Origin: "cli 192.0.2.7", Run: fmt.Sprintf("run%d", s.tasks), Task: fmt.Sprintf("task%d", s.tasks), Attempt: 1, Service: "nginx",
		Environment: "production", Host: host, ScenarioDigest: strings.Repeat("a", 64), Params: map[string]string{"mode": "hard"}, Reason: "workers hang\nsince 14:00",
	}
}

func as(r audit.Record, action audit.Action, outcome string, params map[string]string) audit.Record {
	r.Action, r.Outcome, r.Params = action, outcome, params
	return r
}

func (s *sides) heads(host string) map[string]string {
	var heads [2]audit.Head
	for i, b := range []*book{s.asked[host], s.ledger[host]} {
		if n := len(b.records); n > 0 {
			heads[i] = b.records[n-1].Head()
		}
	}
	return audit.HostHeads(heads[0], heads[1])
}

// did lets a host do a server's task.
func (s *sides) did(server int, host string) {
	r := s.task(host)
	s.servers[server].add(as(r, audit.TaskIntent, "", r.Params))
	s.asked[host].add(as(r, audit.TaskTaken, "", r.Params))
	s.servers[1-server].add(as(r, audit.TaskOutcome, "succeeded", s.heads(host))) // the other one has taken the run over
}

func (s *sides) refused(server int, host string) {
	r := s.task(host)
	s.servers[server].add(as(r, audit.TaskIntent, "", r.Params))
	s.asked[host].add(as(r, audit.TaskRefused, "busy", nil))
	s.servers[server].add(as(r, audit.TaskOutcome, "refused", nil))
}

func (s *sides) unreachable(server int, host string) {
	r := s.task(host)
	s.servers[server].add(as(r, audit.TaskIntent, "", r.Params))
	s.servers[server].add(as(r, audit.TaskOutcome, "unreachable", nil))
}

func (s *sides) unknown(server int, host string) {
	r := s.task(host)
	s.servers[server].add(as(r, audit.TaskIntent, "", r.Params))
	s.asked[host].add(as(r, audit.TaskTaken, "", r.Params))
	s.servers[server].add(as(r, audit.TaskOutcome, "unknown", nil))
	s.servers[server].add(as(r, audit.TaskLearned, "unknown", s.heads(host)))
}

func (s *sides) local(server int, host string) {
	r := s.task(host)
	r.Actor, r.Origin = "root", "host"
	s.ledger[host].add(as(r, audit.TaskIntent, "", r.Params))
	s.ledger[host].add(as(r, audit.TaskOutcome, "failed", r.Params))
	r.Actor += "@" + host
	s.servers[server].add(as(r, audit.TaskLocal, "", r.Params))
	s.servers[server].add(as(r, audit.TaskLocal, "failed", r.Params))
}

func (s *sides) compare(t require, until time.Time) audit.Comparison {
	t.Helper()
	var trail []byte
	for _, b := range s.servers {
		trail = append(trail, lines(b.records)...)
	}
	var files []audit.HostFile
	for _, books := range []map[string]*book{s.asked, s.ledger} {
		for _, h := range slices.Sorted(maps.Keys(books)) {
			if records := books[h].records; len(records) > 0 {
				files = append(files, audit.HostFile{Name: h, Data: bytes.NewReader(lines(records))})
			}
		}
	}
	c, err := audit.Compare([]audit.Input{{Reader: bytes.NewReader(trail)}}, files, until)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// require is what tests and properties have in common.
type require interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// history makes one of what may happen.
func history(t *rapid.T) *sides {
	s := newSides()
	for range rapid.IntRange(3, 20).Draw(t, "events") {
		server, host := rapid.IntRange(0, 1).Draw(t, "server"), rapid.SampledFrom(sideHosts).Draw(t, "host")
		rapid.SampledFrom([]func(int, string){s.did, s.did, s.refused, s.unreachable, s.unknown, s.local}).Draw(t, "event")(server, host)
	}
	return s
}

func said(c audit.Comparison) string {
	var b bytes.Buffer
	c.Write(&b)
	return b.String()
}

func kinds(c audit.Comparison) (all []audit.DifferenceKind) {
	for _, d := range c.Differences {
		all = append(all, d.Kind)
	}
	return all
}

// Two sides that are honest say the same, whenever the comparison ends.
func TestHonestSidesAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := history(t)
		for _, until := range []time.Time{{}, epochStart.Add(time.Duration(rapid.IntRange(0, 25).Draw(t, "minutes")) * time.Minute)} {
			c := s.compare(t, until)
			agreed := int64(0)
			for _, h := range c.Hosts {
				agreed += h.Agreed
			}
			if !c.OK || len(c.Hosts) > 0 && agreed == 0 && c.Hosts[0].Taken+c.Hosts[0].Local > 0 {
				t.Fatal(said(c))
			}
		}
	})
}

// Whoever changes one side alone is found, also where he makes its chain anew.
func TestOneSideRewritten(t *testing.T) {
	t.Parallel()
	const host = "web1.example.com"
	find := func(b *book, actions ...audit.Action) int {
		return slices.IndexFunc(b.records, func(r audit.Record) bool { return r.Host == host && slices.Contains(actions, r.Action) })
	}
	forget := func(b *book, actions ...audit.Action) {
		b.drop(find(b, actions...))
		b.relink()
	}
	for name, c := range map[string]struct {
		change func(s *sides)
		kinds  []audit.DifferenceKind // that must be among those found
	}{
		"the host forgets a task":      {func(s *sides) { forget(s.asked[host], audit.TaskTaken) }, []audit.DifferenceKind{audit.DifferenceHead, audit.DifferenceShorter, audit.DifferenceMissing}},
		"the host says another name":   {func(s *sides) { b := s.asked[host]; b.records[0].Actor = "boris"; b.relink() }, []audit.DifferenceKind{audit.DifferenceDiffers, audit.DifferenceHead}},
		"the host's record is cut off": {func(s *sides) { b := s.asked[host]; b.records = b.records[:1] }, []audit.DifferenceKind{audit.DifferenceShorter}},
		"a record of it was changed":   {func(s *sides) { s.asked[host].records[0].Actor = "boris" }, []audit.DifferenceKind{audit.DifferenceChanged}},
		"a record of it is missing":    {func(s *sides) { s.asked[host].drop(1) }, []audit.DifferenceKind{audit.DifferenceGap}},
		"its beginning is missing":     {func(s *sides) { s.asked[host].drop(0) }, []audit.DifferenceKind{audit.DifferenceGap}},
		"root hides what he did":       {func(s *sides) { s.ledger[host].records = s.ledger[host].records[2:]; s.ledger[host].relink() }, []audit.DifferenceKind{audit.DifferenceMissing}},
		"root says that it was well":   {func(s *sides) { s.ledger[host].records[1].Outcome = "succeeded"; s.ledger[host].relink() }, []audit.DifferenceKind{audit.DifferenceDiffers, audit.DifferenceHead}},
		"the server forgets an intent": {func(s *sides) { forget(s.servers[0], audit.TaskIntent) }, []audit.DifferenceKind{audit.DifferenceUnasked}},
		"the server says another name": {func(s *sides) { b := s.servers[0]; b.records[find(b, audit.TaskIntent)].Actor = "boris"; b.relink() }, []audit.DifferenceKind{audit.DifferenceDiffers}},
		"the server says other values": {func(s *sides) { b := s.servers[0]; b.records[find(b, audit.TaskIntent)].Params = nil; b.relink() }, []audit.DifferenceKind{audit.DifferenceDiffers}},
		"the server hides root's work": {func(s *sides) { forget(s.servers[0], audit.TaskLocal); forget(s.servers[0], audit.TaskLocal) }, []audit.DifferenceKind{audit.DifferenceUntold}},
		"the server makes up an end": {func(s *sides) {
			r := s.task(host)
			s.servers[0].add(as(r, audit.TaskIntent, "", nil))
			s.servers[0].add(as(r, audit.TaskOutcome, "succeeded", nil))
		}, []audit.DifferenceKind{audit.DifferenceMissing}},
		"the server makes up a head": {func(s *sides) {
			b := s.servers[1]
			b.records[find(b, audit.TaskOutcome)].Params["asked_hash"] = strings.Repeat("0", 64)
			b.relink()
		}, []audit.DifferenceKind{audit.DifferenceHead}},
		"a head that makes no sense": {func(s *sides) {
			b := s.servers[1]
			b.records[find(b, audit.TaskOutcome)].Params["asked_seq"] = "many"
			b.relink()
		}, []audit.DifferenceKind{audit.DifferenceHead}},
		"somebody has a server's keys": {func(s *sides) { s.asked[host].add(as(s.task(host), audit.TaskTaken, "", nil)); s.did(0, host) }, []audit.DifferenceKind{audit.DifferenceUnasked}},
		"somebody has tried them": {func(s *sides) {
			s.asked[host].add(as(s.task(host), audit.TaskRefused, "not_reviewed", nil))
			s.did(0, host)
		}, []audit.DifferenceKind{audit.DifferenceUnasked}},
		"a trail that ends before that": {func(s *sides) { s.asked[host].add(as(s.task(host), audit.TaskTaken, "", nil)) }, []audit.DifferenceKind{audit.DifferenceUnasked}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSides()
			s.did(0, host)
			s.local(0, host)
			s.refused(0, host)
			s.did(0, host)
			s.unreachable(0, host)
			if c := s.compare(t, time.Time{}); !c.OK {
				t.Fatal(said(c))
			}
			c.change(s)
			got := s.compare(t, time.Time{})
			for _, k := range c.kinds {
				if got.OK || !slices.Contains(kinds(got), k) {
					t.Errorf("%s is not found:\n%s", k, said(got))
				}
			}
			if strings.Contains(name, "ends before") != strings.Contains(said(got), "the trail ends before that") {
				t.Errorf("%s", said(got))
			}
		})
	}
}

// Copies are made one after the other: what is younger than both is not held
// against anybody.
func TestCompareUntil(t *testing.T) {
	t.Parallel()
	const host = "web1.example.com"
	s := newSides()
	s.did(0, host)
	until := s.now.Add(30 * time.Second)
	s.did(0, host)
	s.local(0, host)
	for name, forget := range map[string]func(s *sides){
		"the hosts' files are older": func(s *sides) { s.asked[host].records = s.asked[host].records[:1]; s.ledger[host].records = nil },
		"the trail is older": func(s *sides) {
			s.servers[0].records = s.servers[0].records[:1]
			s.servers[1].records = s.servers[1].records[:1]
		},
	} {
		was := *s
		was.asked, was.ledger = map[string]*book{host: {records: s.asked[host].records}}, map[string]*book{host: {records: s.ledger[host].records}}
		was.servers = []*book{{records: s.servers[0].records}, {records: s.servers[1].records}}
		forget(&was)
		if c := was.compare(t, until); !c.OK || c.Until == nil {
			t.Errorf("%s: %s", name, said(c))
		}
		if c := was.compare(t, time.Time{}); c.OK {
			t.Errorf("%s, and nobody minds: %s", name, said(c))
		}
	}
}

// A host's oldest parts go in the end; one that was set up anew has two chains.
func TestWhatAHostHasLost(t *testing.T) {
	t.Parallel()
	const host = "web1.example.com"
	s := newSides()
	for range 3 {
		s.did(0, host)
	}
	old := s.asked[host].records
	s.asked[host] = &book{source: s.asked[host].source}
	s.did(0, host)
	c := s.compare(t, time.Time{})
	if c.OK || !slices.Contains(kinds(c), audit.DifferenceHead) || !slices.Contains(kinds(c), audit.DifferenceShorter) || !slices.Contains(kinds(c), audit.DifferenceMissing) {
		t.Errorf("%s", said(c))
	}
	s.asked["old"] = &book{records: old} // somebody has kept the disk
	if c = s.compare(t, time.Time{}); !c.OK || c.Hosts[0].Asked.Chains != 2 {
		t.Errorf("%s", said(c))
	}
}

// Files that are no host's are named, and what is there is still compared.
func TestForeignHostFiles(t *testing.T) {
	t.Parallel()
	const host = "web1.example.com"
	s := newSides()
	s.did(0, host)
	s.did(0, "web2.example.com")
	trail := append(lines(s.servers[0].records), lines(s.servers[1].records)...)
	good := lines(s.asked[host].records)
	for name, c := range map[string]struct {
		data string
		want []audit.DifferenceKind
	}{
		"empty":             {"", []audit.DifferenceKind{audit.DifferenceMalformed}},
		"a server's":        {string(lines(s.servers[0].records)), []audit.DifferenceKind{audit.DifferenceMalformed}},
		"something else":    {"hello\n", []audit.DifferenceKind{audit.DifferenceMalformed}},
		"a line too long":   {string(good) + strings.Repeat("x", 70<<10) + "\n", []audit.DifferenceKind{audit.DifferenceMalformed}},
		"torn as it is cut": {string(good) + string(good[:20]), nil},
		"twice":             {string(good) + string(good), nil},
	} {
		got, err := audit.Compare([]audit.Input{{Reader: bytes.NewReader(trail)}}, []audit.HostFile{{Name: "x\x1b[2J", Data: strings.NewReader(c.data)}}, time.Time{})
		if err != nil || !got.OK && len(c.want) == 0 || len(c.want) > 0 && !slices.Contains(kinds(got), c.want[0]) {
			t.Errorf("%s: %v %s", name, err, said(got))
		}
		if strings.Contains(said(got), "\x1b") {
			t.Errorf("%s: %q can do harm", name, said(got))
		}
		if len(c.want) == 0 && (len(got.NotGiven) != 1 || got.NotGiven[0] != "web2.example.com") {
			t.Errorf("%s: not given: %v", name, got.NotGiven)
		}
	}
}

func FuzzCompare(f *testing.F) {
	s := newSides()
	s.did(0, sideHosts[0])
	s.local(1, sideHosts[0])
	s.refused(0, sideHosts[0])
	trail := append(lines(s.servers[0].records), lines(s.servers[1].records)...)
	host := append(lines(s.asked[sideHosts[0]].records), lines(s.ledger[sideHosts[0]].records)...)
	f.Add(trail, host)
	f.Add(host, trail)
	f.Fuzz(func(t *testing.T, trail, host []byte) {
		c, err := audit.Compare([]audit.Input{{Reader: bytes.NewReader(trail)}}, []audit.HostFile{{Name: "asked.jsonl", Data: bytes.NewReader(host)}}, time.Time{})
		if err != nil || c.OK != (c.DifferenceCount == 0) || c.OK && len(c.Hosts) == 0 {
			t.Fatalf("%v: %+v", err, c)
		}
		if text := said(c); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Fatalf("%q can do harm", text)
		}
	})
}
