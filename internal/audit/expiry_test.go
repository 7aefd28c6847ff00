package audit_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

var _ audit.Expirer = (*store.Store)(nil)

// leaving is a store from which so many records go, one number a call.
type leaving struct {
	mu     sync.Mutex
	gone   []int // of the calls to come; behind them 0
	err    error
	asked  []audit.Expiry
	moment []time.Time
}

func (l *leaving) ExpireAudit(_ context.Context, e audit.Expiry) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked, l.moment = append(l.asked, e), append(l.moment, time.Now())
	if l.err != nil {
		return 0, l.err
	}
	if len(l.gone) > 0 {
		n, l.gone = l.gone[0], l.gone[1:]
	}
	return n, nil
}

func TestOldRecordsGoOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := &leaving{gone: []int{2000, 5}}
		_, stop := running(t, audit.Config{
			Store: newMemory(), Sinks: []audit.Sink{&scripted{level: audit.LevelReceived}}, Keep: 40 * 24 * time.Hour, Expirer: l,
		})
		time.Sleep(time.Hour)
		l.mu.Lock()
		l.err = errors.New("away")
		l.mu.Unlock()
		time.Sleep(24 * time.Hour)
		l.mu.Lock()
		l.err = nil
		l.mu.Unlock()
		time.Sleep(24 * time.Hour)
		stop()
		var at []string
		for _, m := range l.moment {
			at = append(at, m.Sub(began).String())
		}
		if diff := cmp.Diff([]string{"10m0s", "10m1s", "10m2s", "24h10m2s", "48h10m2s"}, at); diff != "" {
			t.Errorf("it is done at (-want +got):\n%s", diff)
		}
		want := audit.Expiry{Source: source, Keep: 40 * 24 * time.Hour, Sinks: []string{"scripted"}}
		if diff := cmp.Diff(want, l.asked[0]); diff != "" {
			t.Error(diff)
		}
	})
}

// forgetful has lost its records from some number on, and takes them anew only
// once it is well.
type forgetful struct {
	scripted
	has  int64
	sick bool
}

func (f *forgetful) Send(_ context.Context, records []audit.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if records[0].Seq != f.has+1 {
		return &audit.Behind{Sink: "scripted", After: f.has}
	}
	if f.sick {
		return errors.New("no room")
	}
	f.has = records[len(records)-1].Seq
	return nil
}

func (f *forgetful) Settled() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.has, nil
}

func (f *forgetful) now(has int64, sick bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if has >= 0 {
		f.has = has
	}
	f.sick = sick
}

// While a sink lacks records that it had, the database keeps them.
func TestNothingGoesThatASinkHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sink, m := &leaving{}, &forgetful{scripted: scripted{level: audit.LevelReceived}}, newMemory()
		m.commit(make([]audit.Record, 9)...)
		trail, stop := running(t, audit.Config{Store: m, Sinks: []audit.Sink{sink}, Keep: 40 * 24 * time.Hour, Expirer: l})
		time.Sleep(5 * time.Minute)
		sink.now(2, true)
		m.commit(audit.Record{Actor: "anna"})
		trail.Wake()
		time.Sleep(12 * time.Hour)
		if len(l.asked) > 0 {
			t.Errorf("old records go at %v", l.moment)
		}
		sink.now(-1, false)
		time.Sleep(24 * time.Hour)
		stop()
		if len(l.asked) != 1 || sink.has != 10 {
			t.Errorf("asked %d times; it has %d", len(l.asked), sink.has)
		}
	})
}

func TestNothingGoesUnlessItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leaving{}
		_, stop := running(t, audit.Config{Store: newMemory(), Sinks: []audit.Sink{&scripted{level: audit.LevelReceived}}, Expirer: l})
		_, stopOther := running(t, audit.Config{Store: newMemory(), Keep: time.Hour, Expirer: l})
		time.Sleep(100 * time.Hour)
		stop()
		stopOther()
		if len(l.asked) > 0 {
			t.Errorf("%+v", l.asked)
		}
	})
}

func TestKeepNeedsASealAndAnAnswer(t *testing.T) {
	file := audit.SinkConfig{Kind: "file", Path: "/a"}
	syslog := audit.SinkConfig{Kind: "syslog", Address: "a:1", CA: "ca"}
	http := audit.SinkConfig{Kind: "http", URL: "http://127.0.0.1:1/", Format: "lines"}
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		keep  time.Duration
		key   string
		sinks []audit.SinkConfig
		wrong string
	}{
		"for ever":           {0, "", []audit.SinkConfig{file}, ""},
		"answered":           {400 * day, "audit.key", []audit.SinkConfig{file, syslog, http}, ""},
		"too short":          {day, "audit.key", []audit.SinkConfig{http}, "30d"},
		"too long":           {8000 * day, "audit.key", []audit.SinkConfig{http}, "7320d"},
		"negative":           {-40 * day, "audit.key", []audit.SinkConfig{http}, "30d"},
		"never sealed":       {400 * day, "", []audit.SinkConfig{http}, "audit.key"},
		"on this machine":    {400 * day, "audit.key", []audit.SinkConfig{file}, "another machine"},
		"never acknowledged": {400 * day, "audit.key", []audit.SinkConfig{file, syslog}, "another machine"},
	} {
		err := audit.Settings{Require: "spool", Keep: restart.Days(c.keep), Key: c.key, Sinks: c.sinks}.Check()
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A chain whose beginning has expired is verified from there, and the report
// says what it did not look for.
func TestVerifyFromWhereATrailBegins(t *testing.T) {
	records := chained(9)
	kept := lines(records[4:])
	from := func(h audit.Head) audit.Report {
		t.Helper()
		report, err := audit.VerifyInputs([]audit.Input{{Reader: bytes.NewReader(kept)}}, audit.VerifyOptions{From: []audit.Head{h}})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	r := from(records[3].Head())
	if s := r.Sources[0]; !r.OK || s.Stored != 5 || s.From != 4 || s.Missing != 0 {
		t.Error(describe(r))
	}
	if !strings.Contains(describe(r), "begins behind record 4, as was given; records up to that were NOT looked for") {
		t.Error(describe(r))
	}
	if r := verify(t, kept); r.OK || r.Sources[0].Missing != 4 {
		t.Errorf("without it: %s", describe(r))
	}
	if r := from(records[2].Head()); r.OK || r.Sources[0].Missing != 1 {
		t.Errorf("one is missing: %s", describe(r))
	}
	forged := records[3].Head()
	forged.Hash = records[2].Hash
	if r := from(forged); r.OK || r.Sources[0].Changed != 1 {
		t.Errorf("behind another record: %s", describe(r))
	}
	kept = append(kept, lines(records[2:3])...) // what was before does not come behind
	if r := from(records[3].Head()); r.OK || r.Sources[0].Reordered != 1 {
		t.Errorf("one from before: %s", describe(r))
	}
}
