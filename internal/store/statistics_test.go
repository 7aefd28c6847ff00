package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func TestStatistics(t *testing.T) { storetest.Each(t, exerciseStatistics) }

func exerciseStatistics(t *testing.T, newDSN storetest.NewDSN) {
	s, err := store.Open(t.Context(), store.Config{DSN: newDSN(t), Source: "main"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	now := time.Now().UTC().Truncate(time.Second)
	count := func() store.Statistics {
		t.Helper()
		got, err := s.Statistics(t.Context(), time.Hour, 30*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	empty := count()
	if len(empty.OpenRuns) != 5 || len(empty.Paused) != len(restart.PauseCauses()) || !empty.PausedSince.IsZero() || empty.Waiting != 0 || empty.Records != 0 {
		t.Errorf("of an empty database: %+v", empty)
	}

	move := func(run restart.Run, c store.RunChange, at time.Time, records ...audit.Record) {
		t.Helper()
		if _, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Run: &c, At: at, Records: records}); err != nil {
			t.Fatal(err)
		}
	}
	pause := func(n int, at time.Time) restart.Run {
		t.Helper()
		run := mustCreate(t, s, newRun(n))
		rec := audit.Record{Time: at, Action: audit.RunPaused, Run: run.ID, Actor: "anna"}
		move(run, store.RunChange{To: restart.RunPaused, Cause: restart.CauseFailure}, at, rec)
		return run
	}
	mustCreate(t, s, newRun(1))
	first := pause(2, now.Add(-2*time.Hour))
	pause(3, now.Add(-time.Hour))
	got := count()
	if got.OpenRuns[restart.RunQueued] != 1 || got.OpenRuns[restart.RunPaused] != 2 || got.Paused[restart.CauseFailure] != 2 || got.Paused[restart.CauseGate] != 0 {
		t.Errorf("runs: %+v", got)
	}
	if !got.PausedSince.Equal(now.Add(-2 * time.Hour)) {
		t.Errorf("paused since %v", got.PausedSince)
	}
	// Resumed and paused again: the wait begins anew, and the other one is the oldest.
	move(first, store.RunChange{To: restart.RunRunning}, now)
	move(first, store.RunChange{To: restart.RunPaused, Cause: restart.CauseHold}, now, audit.Record{Time: now, Action: audit.RunPaused, Run: first.ID, Actor: "anna"})
	if got = count(); !got.PausedSince.Equal(now.Add(-time.Hour)) || got.Paused[restart.CauseHold] != 1 {
		t.Errorf("after a second pause: %+v", got)
	}
	move(first, store.RunChange{To: restart.RunAborted}, now)
	if got = count(); got.OpenRuns[restart.RunPaused] != 1 || len(got.OpenRuns) != 5 {
		t.Errorf("after an end: %+v", got)
	}

	waiting := got.Waiting
	if n, err := s.Sequence(t.Context(), "main", 2, link); n != 2 || err != nil {
		t.Fatalf("sequenced %d, %v", n, err)
	}
	if got = count(); got.Records != 2 || got.Waiting != waiting-2 || waiting < 3 {
		t.Errorf("audit: %d placed, %d wait, %d waited before", got.Records, got.Waiting, waiting)
	}
	for i, seen := range []time.Duration{0, -2 * time.Hour} { // the second has rested too long
		err := s.CreateSession(t.Context(), store.Session{
			ID: string(rune(97 + i)), Hash: string(rune(97 + i)), Owner: "anna", CreatedAt: now.Add(-3 * time.Hour), LastSeenAt: now.Add(seen), ExpiresAt: now.Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for serial, c := range map[string]store.Certificate{
		"1": {Host: "renewed", NotAfter: now.Add(-time.Hour)}, "2": {Host: "renewed", NotAfter: now.Add(90 * 24 * time.Hour)},
		"3": {Host: "soon", NotAfter: now.Add(24 * time.Hour)}, "4": {Host: "over", NotAfter: now.Add(-time.Hour)},
		"5": {Host: "gone", NotAfter: now.Add(time.Hour), RevokedAt: now},
	} {
		c.Serial, c.IssuedAt = serial, now.Add(-100*24*time.Hour)
		if err := s.PutCertificate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	got = count()
	if got.Sessions != 1 {
		t.Errorf("%d sessions", got.Sessions)
	}
	if diff := cmp.Diff(store.CertificateCounts{Good: 1, Expiring: 1, Expired: 1}, got.Hosts); diff != "" {
		t.Errorf("certificates (-want +got):\n%s", diff)
	}
	if err := s.SchemaFits(t.Context()); err != nil {
		t.Errorf("its own schema: %v", err)
	}
	if pool := s.Pool(); pool.Max < 1 || pool.InUse != 0 || pool.Idle < 1 {
		t.Errorf("pool: %+v", pool)
	}
	if size, err := s.Size(); err != nil || (s.File() != "") != (size > 10000) {
		t.Errorf("%q has %d bytes, %v", s.File(), size, err)
	}
}

// Another program has changed the schema while this one runs.
func TestSchemaThatNoLongerFits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, newDSN storetest.NewDSN) {
		dsn := newDSN(t)
		s := storetest.Open(t, dsn)
		if _, err := raw(t, dsn).Exec("INSERT INTO schema_version (version, name, applied_at) VALUES (9999, 'later', 0)"); err != nil {
			t.Fatal(err)
		}
		wantCode(t, s.SchemaFits(t.Context()), restart.CodeConflict)
	})
}
