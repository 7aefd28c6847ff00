package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// books is the trail's ledger without a database: what other servers have
// recorded of any run, and their sinks' cursors.
type books struct {
	*memory
	mu      sync.Mutex
	parts   []audit.Part
	cursors map[string]map[string]int64 // by source and sink
	asked   int                         // records that AuditBytes was asked to add up
}

func (b *books) set(change func(*books)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *books) Elsewhere(context.Context, string, string) ([]audit.Part, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.parts, nil
}

func (b *books) Cursors(_ context.Context, source string) (map[string]int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cursors[source], nil
}

func (b *books) AuditBytes(ctx context.Context, source string, after, upTo int64) (n int64, err error) {
	records, err := b.Sequenced(ctx, source, after, int(upTo-after))
	for i := range records {
		n += int64(len(records[i].Canonical()))
	}
	b.set(func(b *books) { b.asked += len(records) })
	return n, err
}

// needing starts a trail that needs a level within ten seconds.
func needing(t *testing.T, store *memory, level audit.Level, sinks ...audit.Sink) (*audit.Trail, *books, func()) {
	t.Helper()
	b := &books{memory: store, cursors: map[string]map[string]int64{}}
	trail, stop := running(t, audit.Config{
		Store: store, Ledger: b, Sinks: sinks, Need: audit.Need{Level: level, Deadline: 10 * time.Second, Limit: 1 << 20}, Logger: slog.New(slog.DiscardHandler),
	})
	return trail, b, stop
}

func away(level audit.Level) *scripted {
	return &scripted{level: level, sendErr: errors.New("no route to the log server")}
}

func isBacklog(err error) bool { return restart.CodeOf(err) == restart.CodeAuditBacklog }

// An intent has its level when one sink of that level, or a stronger one, has
// settled it, and it has not within the deadline otherwise.
func TestSecureWaitsForTheLevel(t *testing.T) {
	for _, c := range []struct {
		need  audit.Level
		sinks []audit.Level // the last one alone takes records
		ok    bool
	}{
		{audit.LevelSpool, []audit.Level{audit.LevelReceived, audit.LevelSpool}, true},
		{audit.LevelSent, []audit.Level{audit.LevelReceived, audit.LevelSpool}, false},
		{audit.LevelSent, []audit.Level{audit.LevelReceived, audit.LevelSent}, true},
		{audit.LevelReceived, []audit.Level{audit.LevelReceived, audit.LevelSent}, false},
		{audit.LevelReceived, []audit.Level{audit.LevelSent, audit.LevelReceived}, true},
		{audit.LevelReceived, []audit.Level{audit.LevelReceived, audit.LevelStored}, true},
		{audit.LevelStored, []audit.Level{audit.LevelStored, audit.LevelReceived}, false},
	} {
		t.Run(fmt.Sprintf("%s of %v", c.need, c.sinks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, taking := newMemory(), &scripted{level: c.sinks[1], settle: 50 * time.Millisecond}
				trail, _, stop := needing(t, store, c.need, away(c.sinks[0]), taking)
				defer stop()
				store.commit(event(1))
				began := time.Now()
				err := trail.Secure(t.Context(), "run")
				took := time.Since(began)
				switch {
				case c.ok && (err != nil || took > time.Second):
					t.Errorf("%v after %s", err, took)
				case c.ok && c.need != audit.LevelSpool && taking.settled != 1:
					t.Error("it did not wait")
				case !c.ok && (!isBacklog(err) || took != 10*time.Second || !strings.Contains(err.Error(), "audit.require: "+string(c.need))):
					t.Errorf("%v after %s", err, took)
				}
				if late := trail.Late(); c.ok != (late == nil) && took > 10*time.Second {
					t.Errorf("late: %v", late)
				}
			})
		})
	}
}

// Whatever the sink does meanwhile: what was committed before has the level
// when Secure says so, and the deadline is over when it says the contrary.
func TestSecureNeverLies(t *testing.T) {
	type step struct{ what, n int }
	steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
		return step{rapid.IntRange(0, 4).Draw(r, "what"), rapid.IntRange(1, 40_000).Draw(r, "n")}
	}), 1, 12)
	rapid.Check(t, func(r *rapid.T) {
		sink := &scripted{level: audit.LevelReceived, settle: time.Duration(rapid.IntRange(0, 3000).Draw(r, "settle")) * time.Millisecond}
		chosen := steps.Draw(r, "steps")
		lie := ""
		synctest.Test(t, func(t *testing.T) {
			store := newMemory()
			trail, _, stop := needing(t, store, audit.LevelReceived, away(audit.LevelStored), sink)
			defer stop()
			committed := int64(0)
			for _, s := range chosen {
				switch s.what {
				case 0:
					commitAll(store, s.n%5+1)
					committed += int64(s.n%5 + 1)
				case 1:
					sink.set(func(s *scripted) { s.sendErr = errors.New("away") })
				case 2:
					sink.set(func(s *scripted) { s.sendErr = nil })
				case 3:
					sink.set(func(s *scripted) { s.lost = errors.New("connection reset") })
				case 4:
					time.Sleep(time.Duration(s.n) * time.Millisecond)
				}
				began := time.Now()
				err := trail.Secure(t.Context(), "run")
				var settled int64
				sink.set(func(s *scripted) { settled = s.settled })
				switch took := time.Since(began); {
				case err == nil && settled < committed:
					lie = fmt.Sprintf("%d of %d records have the level", settled, committed)
				case err != nil && (!isBacklog(err) || took != 10*time.Second):
					lie = fmt.Sprintf("%v after %s", err, took)
				}
			}
		})
		if lie != "" {
			r.Fatal(lie)
		}
	})
}

// A run that was resumed at another server waits for that one's record, by the
// cursors that it stores.
func TestSecureWaitsForOtherServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trail, b, stop := needing(t, newMemory(), audit.LevelReceived, &scripted{level: audit.LevelReceived})
		defer stop()
		secured := make(chan error, 1)
		ask := func() { secured <- trail.Secure(t.Context(), "run") }

		b.set(func(b *books) { b.parts = []audit.Part{{Source: "main-2", Unplaced: true}} })
		go ask()
		time.Sleep(time.Second)
		b.set(func(b *books) {
			b.parts = []audit.Part{{Source: "main-2", Last: 7}}
			b.cursors["main-2"] = map[string]int64{"relp:log:2514": 6, "syslog:log:6514": 9, "file:/a": 9, "pigeon:x": 9}
		})
		time.Sleep(time.Second)
		if len(secured) != 0 {
			t.Fatalf("it has the record of a weaker sink only: %v", <-secured)
		}
		b.set(func(b *books) { b.cursors["main-2"] = map[string]int64{"http:https://log": 7} })
		if err := <-secured; err != nil {
			t.Error(err)
		}
		b.set(func(b *books) { b.parts = append(b.parts, audit.Part{Source: "dead", Last: 1}) })
		go ask()
		if err := <-secured; !isBacklog(err) || !strings.Contains(err.Error(), "server dead has recorded it") {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := trail.Secure(ctx, "run"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// A next host is held up once a record has waited for the deadline: not by what
// is on its way, however busy the server is, and not while nothing happens.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := newMemory(), &scripted{level: audit.LevelReceived, settle: 4 * time.Second}
		trail, _, stop := needing(t, store, audit.LevelReceived, sink)
		defer stop()
		for i := range 600 { // a minute
			store.commit(event(i))
			trail.Wake()
			time.Sleep(100 * time.Millisecond)
			if err := trail.Late(); err != nil {
				t.Fatalf("busy, after %d: %v", i, err)
			}
		}
		time.Sleep(time.Hour)
		if err := trail.Late(); err != nil {
			t.Fatalf("idle: %v", err)
		}
		sink.set(func(s *scripted) { s.sendErr = errors.New("away") })
		store.commit(event(1))
		trail.Wake()
		time.Sleep(9 * time.Second)
		if err := trail.Late(); err != nil {
			t.Errorf("after 9 s: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := trail.Late(); !isBacklog(err) || !strings.Contains(err.Error(), "11 seconds ago") {
			t.Errorf("after 11 s: %v", err)
		}
		if now := trail.Standing(); now.Late.IsZero() || time.Since(now.Late) < 10*time.Second {
			t.Errorf("%+v", now)
		}
		sink.set(func(s *scripted) { s.sendErr = nil })
		time.Sleep(40 * time.Second)
		if err := trail.Late(); err != nil {
			t.Errorf("it is back: %v", err)
		}
		store.fail(errors.New("database is locked")) // nothing gets a place
		time.Sleep(13 * time.Second)
		if err := trail.Late(); !isBacklog(err) {
			t.Errorf("no place for 13 s: %v", err)
		}
		store.fail(nil)
		time.Sleep(40 * time.Second)
		if err := trail.Late(); err != nil {
			t.Errorf("it gets its place again: %v", err)
		}
	})
}

// What waits for the log is added up, and nothing is dropped when it is too much.
func TestTheSpoolFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := newMemory(), away(audit.LevelReceived)
		trail, b, stop := needing(t, store, audit.LevelReceived, sink)
		defer stop()
		each := int64(len(chained(100)[99].Canonical()))
		fill := func(percent int64) audit.Standing {
			for int64(len(store.records)+len(store.waiting))*each < percent<<20/100 {
				store.commit(event(1))
			}
			trail.Wake()
			time.Sleep(5 * time.Second)
			return trail.Standing()
		}
		for _, c := range []struct {
			percent int64
			want    audit.Fill
			room    bool
			past    bool
		}{{0, audit.FillLow, true, true}, {60, audit.FillLow, true, true}, {75, audit.FillWarn, true, true}, {90, audit.FillFull, false, true}, {105, audit.FillFull, false, false}} {
			now := fill(c.percent)
			if now.Fill != c.want || int64(now.Percent()) < c.percent*9/10 || int64(now.Percent()) > c.percent*11/10+1 {
				t.Errorf("%d %%: %+v", c.percent, now)
			}
			if err := trail.Room(0, 3, false); (err == nil) != c.room || err != nil && !isBacklog(err) {
				t.Errorf("%d %%: %v", c.percent, err)
			}
			if err := trail.Room(0, 3, true); (err == nil) != c.past {
				t.Errorf("%d %%, past the log: %v", c.percent, err)
			}
			if err := trail.Room(0, 10_000, true); (err == nil) != (c.room && trail.Late() == nil) {
				t.Errorf("%d %%, 10,000 hosts past the log: %v", c.percent, err)
			}
		}
		if err := trail.Room(40, 1, true); err == nil {
			t.Error("there is room for what there is none for")
		}
		sink.set(func(s *scripted) { s.sendErr = nil })
		time.Sleep(time.Minute)
		if now := trail.Standing(); now.Used != 0 || now.Fill != audit.FillLow {
			t.Errorf("all taken: %+v", now)
		}
		if report := verify(t, lines(sink.got), store.head); !report.OK || report.Lines != store.head.Seq {
			t.Error(describe(report))
		}
		b.set(func(b *books) { b.asked = 0 })
		time.Sleep(time.Hour)
		if b.asked != 0 {
			t.Errorf("%d records were added up while nothing happened", b.asked)
		}
	})
}

// Of much that waits only what comes and goes is added up.
func TestAFullSpoolIsNotAddedUpAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		store.commit(make([]audit.Record, 30_000)...)
		trail, b, stop := needing(t, store, audit.LevelReceived, away(audit.LevelReceived))
		defer stop()
		time.Sleep(time.Minute)
		before := trail.Standing().Used
		b.set(func(b *books) { b.asked = 0 })
		for range 20 {
			commitAll(store, 5)
			trail.Wake()
			time.Sleep(3 * time.Second)
		}
		whole, err := b.AuditBytes(t.Context(), source, 0, 1<<40)
		if err != nil || trail.Standing().Used != whole || whole <= before {
			t.Errorf("%d before, %d now, %d in all, %v", before, trail.Standing().Used, whole, err)
		}
		if asked := b.asked - int(store.head.Seq); asked > 100 {
			t.Errorf("%d records were added up for 100", asked)
		}
	})
}

// A trail that can't know how far records have come does not say so.
func TestATrailThatNeedsALevelNeedsALedger(t *testing.T) {
	_, err := audit.New(audit.Config{Source: source, Store: newMemory(), Need: audit.Need{Level: audit.LevelSent}})
	if err == nil {
		t.Error("it is made without")
	}
}
