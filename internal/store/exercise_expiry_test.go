package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseRecordsExpire lets nothing go that a sink lacks, that is young, or behind
// which no sink has a seal.
func exerciseRecordsExpire(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	key, err := audit.MakeKey(filepath.Join(t.TempDir(), "audit.key"), epochStart)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	// 1 to 3 of 90 days ago, their seal, 5 to 7 of 50 days ago, their seal, and
	// two of today that no seal stands behind. Then one of another source.
	for _, batch := range []struct {
		age    time.Duration
		n      int
		sealed bool
	}{{90 * day, 3, true}, {50 * day, 3, true}, {0, 2, false}} {
		at := time.Now().Add(-batch.age)
		for range batch.n {
			addPlaced(t, s, "main", audit.Record{Action: audit.SignIn, Time: at})
		}
		if batch.sealed {
			err := s.Seal(t.Context(), "main", func(head audit.Head, _ *audit.Record) []audit.Record {
				r := key.Seal(head, 1, at)
				r.Link(head)
				return []audit.Record{r}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	addPlaced(t, s, "other", audit.Record{Action: audit.SignIn, Time: time.Now().Add(-90 * day)})
	whole := placed(t, s, "main")
	expire := func(keep time.Duration, want int, sinks ...string) {
		t.Helper()
		if n, err := s.ExpireAudit(t.Context(), audit.Expiry{Source: "main", Keep: keep, Sinks: sinks}); n != want || err != nil {
			t.Errorf("keep %s for %v: %d records go instead of %d, %v", keep, sinks, n, want, err)
		}
	}
	moved := func(sink string, seq int64) {
		t.Helper()
		if err := s.SetCursor(t.Context(), sink, "main", seq); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.ExpireAudit(t.Context(), audit.Expiry{Source: "main", Keep: day})
	wantCode(t, err, restart.CodeInvalid)
	expire(day, 0, "relp:a") // it has nothing yet
	moved("relp:a", 10)
	expire(day, 0, "relp:a", "file:b") // another has nothing yet
	moved("file:b", 3)
	expire(day, 0, "relp:a", "file:b") // it has three, and no seal
	moved("file:b", 4)
	expire(100*day, 0, "relp:a", "file:b") // all is younger
	expire(60*day, 3, "relp:a", "file:b")
	expire(60*day, 0, "relp:a", "file:b")
	moved("file:b", 10)
	expire(60*day, 1, "relp:a", "file:b") // the first seal
	expire(time.Nanosecond, 3, "relp:a", "file:b")
	expire(time.Nanosecond, 0, "relp:a", "file:b")

	if _, err := s.Sequence(t.Context(), "main", 0, link); err != nil {
		t.Fatal(err)
	}
	kept := placed(t, s, "main")
	if diff := cmp.Diff(whole[7:], kept[:3]); diff != "" { // the second seal, and what is behind it
		t.Errorf("what is kept (-want +got):\n%s", diff)
	}
	before := whole[6].Head()
	for _, r := range kept {
		if r.Seq != before.Seq+1 || r.PrevHash != before.Hash || !r.Intact() {
			t.Errorf("it does not follow record %d: %s", before.Seq, r.Canonical())
		}
		before = r.Head()
	}
	var told []map[string]string
	for _, r := range kept[3:] {
		if r.Action != audit.AuditExpired || r.Actor != "server:main" {
			t.Errorf("%s", r.Canonical())
		}
		told = append(told, r.Params)
	}
	want := []map[string]string{
		{"first": "1", "last": "3", "epoch": "1", "head": whole[2].Hash},
		{"first": "4", "last": "4", "epoch": "1", "head": whole[3].Hash},
		{"first": "5", "last": "7", "epoch": "1", "head": whole[6].Hash},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
	for sink, want := range map[string]int64{"relp:a": 10, "http:new": 7} {
		if got, err := s.Cursor(t.Context(), sink, "main"); got != want || err != nil {
			t.Errorf("%s stands at %d instead of %d, %v", sink, got, want, err)
		}
	}
	if rest := placed(t, s, "other"); len(rest) != 1 {
		t.Errorf("another source lost records: %v", rest)
	}
	if last, err := s.Sealed(t.Context(), "main"); last != 7 || err != nil {
		t.Errorf("sealed up to %d, %v", last, err)
	}
}

func addPlaced(t *testing.T, s *store.Store, source string, r audit.Record) {
	t.Helper()
	if err := s.AppendAudit(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sequence(t.Context(), source, 0, link); err != nil {
		t.Fatal(err)
	}
}

func placed(t *testing.T, s *store.Store, source string) []audit.Record {
	t.Helper()
	records, err := s.Sequenced(t.Context(), source, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return records
}
