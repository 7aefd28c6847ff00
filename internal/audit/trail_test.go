package audit_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
)

// scripted is a sink that fails as a test says, and remembers when it was called.
type scripted struct {
	mu      sync.Mutex
	level   audit.Level
	sendErr error         // of Send
	lost    error         // of the next Settled
	settle  time.Duration // from Send to settled
	calls   []time.Time
	got     []audit.Record
	sent    []sentAt
	settled int64
}

type sentAt struct {
	seq int64
	at  time.Time
}

func (s *scripted) Name() string       { return "scripted" }
func (s *scripted) Level() audit.Level { return s.level }
func (s *scripted) Close() error       { return nil }

func (s *scripted) Send(_ context.Context, records []audit.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, time.Now())
	if s.sendErr != nil {
		return s.sendErr
	}
	s.got = append(s.got, records...)
	s.sent = append(s.sent, sentAt{records[len(records)-1].Seq, time.Now()})
	return nil
}

func (s *scripted) Settled() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.lost; err != nil {
		s.lost, s.sent = nil, nil
		return s.settled, err
	}
	for len(s.sent) > 0 && time.Since(s.sent[0].at) >= s.settle {
		s.settled = s.sent[0].seq
		s.sent = s.sent[1:]
	}
	return s.settled, nil
}

func (s *scripted) set(change func(*scripted)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func seqs(records []audit.Record) []int64 {
	var out []int64
	for _, r := range records {
		out = append(out, r.Seq)
	}
	return out
}

func commitAll(m *memory, n int) {
	for i := range n {
		m.commit(event(i))
	}
}

func TestTrailShipsToEverySinkOnceAndInOrder(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.jsonl"), filepath.Join(dir, "two.jsonl")
	store := newMemory()
	commitAll(store, 700)
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{openFile(t, one), openFile(t, two)}})
	commitAll(store, 300)
	trail.Wake()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := trail.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{one, two} {
		report := verify(t, read(t, path), store.head)
		if !report.OK || report.Lines != 1000 {
			t.Error(describe(report))
		}
	}
	stats, err := trail.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stats.Sinks {
		if s.Backlog != 0 || s.Settled != 1000 || s.Error != "" || s.Level != audit.LevelSpool {
			t.Errorf("%+v", s)
		}
	}
	stop()
	if got := store.cursors["file:"+one]; got != 1000 {
		t.Errorf("the cursor is stored as %d", got)
	}
	if err := trail.Flush(ctx); err == nil {
		t.Error("a stopped trail flushes")
	}
	trail.Wake() // does not block
}

// A sink that fails is tried after half a second, then later and later, never
// sooner because the server is busy; it gets everything in order in the end.
func TestTrailBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := newMemory(), &scripted{level: audit.LevelSent, sendErr: errors.New("no route to the log server")}
		for i := range 3 {
			r := event(i)
			r.Time = time.Now()
			store.commit(r)
		}
		trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{sink}})
		for i := range 600 {
			store.commit(event(i))
			trail.Wake()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		stats, err := trail.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s := stats.Sinks[0]; s.Backlog != 603 || !strings.Contains(s.Error, "no route") || s.Oldest <= 0 || time.Since(s.Since) < 599*time.Second {
			t.Errorf("%+v", s)
		}
		sink.set(func(s *scripted) {
			want := 500 * time.Millisecond
			for i := 1; i < len(s.calls); i++ {
				pause := s.calls[i].Sub(s.calls[i-1])
				if pause < want/2 || pause > want {
					t.Errorf("pause %d is %s instead of %s to %s", i, pause, want/2, want)
				}
				want = min(2*want, 30*time.Second)
			}
			if len(s.calls) < 20 {
				t.Errorf("tried %d times in ten minutes", len(s.calls))
			}
			s.sendErr = nil
		})
		time.Sleep(31 * time.Second)
		synctest.Wait()
		commitAll(store, 2)
		trail.Wake()
		time.Sleep(time.Second)
		sink.set(func(s *scripted) {
			if report := verify(t, lines(s.got), store.head); !report.OK || report.Lines != 605 {
				t.Error(describe(report))
			}
		})
		if stats, _ = trail.Stats(t.Context()); stats.Sinks[0].Error != "" || stats.Sinks[0].Backlog != 0 || stats.Sinks[0].Oldest != 0 {
			t.Errorf("%+v", stats.Sinks[0])
		}
		stop()
	})
}

// What had not settled when a connection broke is sent again, from there.
func TestTrailSendsAgainWhatHadNotSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := newMemory(), &scripted{level: audit.LevelSent, settle: 2 * time.Second}
		commitAll(store, 2)
		trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{sink}})
		time.Sleep(3 * time.Second) // 1 and 2 have settled
		commitAll(store, 2)
		trail.Wake()
		time.Sleep(time.Second)
		stats, _ := trail.Stats(t.Context())
		if s := stats.Sinks[0]; s.Settled != 2 || s.Backlog != 2 || s.Error != "" {
			t.Errorf("%+v", s)
		}
		sink.set(func(s *scripted) { s.lost = errors.New("connection reset") })
		time.Sleep(5 * time.Second)
		sink.set(func(s *scripted) {
			if diff := cmp.Diff([]int64{1, 2, 3, 4, 3, 4}, seqs(s.got)); diff != "" {
				t.Error(diff)
			}
		})
		stop()
		if store.cursors["scripted"] != 4 {
			t.Errorf("the cursor is %d", store.cursors["scripted"])
		}
	})
}

// A server that was killed goes on behind the stored cursor, so the receiver may
// have records twice, but none is missing.
func TestTrailGoesOnAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		commitAll(store, 4)
		first := &scripted{level: audit.LevelSent, settle: 2 * time.Second}
		_, kill := running(t, audit.Config{Store: store, Sinks: []audit.Sink{first}, Batch: 2})
		time.Sleep(time.Second)
		kill()
		second := &scripted{level: audit.LevelSent, settle: 2 * time.Second}
		_, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{second}})
		time.Sleep(time.Second)
		stop()
		report := verify(t, slices.Concat(lines(first.got), lines(second.got)), store.head)
		if !report.OK || report.Sources[0].Duplicates != 4 {
			t.Error(describe(report))
		}
	})
}

func TestTrailBoundsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := newMemory(), &scripted{level: audit.LevelSent, settle: 2 * time.Second}
		store.commit(make([]audit.Record, 9000)...)
		_, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{sink}})
		time.Sleep(time.Second)
		sink.set(func(s *scripted) {
			if len(s.got) != 8192 {
				t.Errorf("%d records are in flight", len(s.got))
			}
		})
		time.Sleep(10 * time.Second)
		stop()
		if report := verify(t, lines(sink.got), store.head); !report.OK || report.Lines != 9000 {
			t.Error(describe(report))
		}
	})
}

// A cursor costs a commit a second at most, a place in the chain one for many
// records.
func TestTrailIsThriftyWithCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := newMemory(), &scripted{level: audit.LevelSpool}
		trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{sink}})
		for i := range 1000 {
			store.commit(event(i))
			trail.Wake()
			time.Sleep(time.Millisecond)
		}
		if err := trail.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if store.commits > 60 {
			t.Errorf("%d commits for 1000 records in a second", store.commits)
		}
		stop()
	})
}

func TestTrailSurvivesADatabaseThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, sink := newMemory(), &scripted{level: audit.LevelSpool}
		store.fail(errors.New("database is locked"))
		commitAll(store, 2)
		trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{sink}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := trail.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := trail.Stats(t.Context()); err == nil {
			t.Error("there are statistics without a database")
		}
		store.fail(nil)
		if err := trail.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		sink.set(func(s *scripted) {
			if diff := cmp.Diff([]int64{1, 2}, seqs(s.got)); diff != "" {
				t.Error(diff)
			}
		})
		stop()
	})
}

// Flush waits for this machine's disk, not for a remote that is away.
func TestFlushDoesNotWaitForTheRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remote := &scripted{level: audit.LevelSent, sendErr: errors.New("away")}
		local := &scripted{level: audit.LevelSpool}
		store := newMemory()
		trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{remote, local}})
		commitAll(store, 5)
		if err := trail.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(local.got) != 5 {
			t.Errorf("%d records are on the disk", len(local.got))
		}
		stop()
	})
}

func TestTrailHealsAFileThatLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	store := newMemory()
	commitAll(store, 10)
	f := openFile(t, path)
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{f}})
	if err := trail.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	truncate(t, path, 3)
	commitAll(store, 5)
	trail, _ = running(t, audit.Config{Store: store, Sinks: []audit.Sink{openFile(t, path)}})
	if err := trail.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, read(t, path), store.head); !report.OK || report.Lines != 15 {
		t.Error(describe(report))
	}
}

func TestCheckSource(t *testing.T) {
	for _, good := range []string{"server-1", "web1.example.com", "demo", strings.Repeat("a", 64)} {
		if err := audit.CheckSource(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "-x", "a b", "a\nb", "../x", `a"b`, "Ы", strings.Repeat("a.", 100) + "a"} {
		if err := audit.CheckSource(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
		if _, err := audit.New(audit.Config{Source: bad, Store: newMemory()}); err == nil {
			t.Errorf("%q makes a trail", bad)
		}
	}
}
