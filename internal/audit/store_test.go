package audit_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/store"
)

var (
	_ audit.Store  = (*store.Store)(nil)
	_ audit.Ledger = (*store.Store)(nil)
)

// The whole way, with a real database, file and connection, and a server that
// is started twice while many write.
func TestTrailOfARealDatabase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.jsonl")
	r := newReceiver(t)
	var head audit.Head
	const writers, each = 4, 25
	for life := range 2 {
		db, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(dir, "restartilka.db")})
		if err != nil {
			t.Fatal(err)
		}
		trail, stop := running(t, audit.Config{Store: db, Sinks: []audit.Sink{openFile(t, path), r.sink(t, 50*time.Millisecond)}})
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				for i := range each {
					if err := db.AppendAudit(context.Background(), event(w*1000+i)); err != nil {
						t.Error(err)
					}
					trail.Wake()
				}
			})
		}
		writing.Wait()
		if err := trail.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if head, err = db.AuditHead(t.Context(), source); err != nil {
			t.Fatal(err)
		}
		if want := int64((life + 1) * writers * each); head.Seq != want {
			t.Errorf("the head is at %d instead of %d", head.Seq, want)
		}
		if report := verify(t, read(t, path), head); !report.OK || report.Lines != head.Seq {
			t.Error(describe(report))
		}
		stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	r.await(t, func(got []audit.Record) bool { return len(got) > 0 && got[len(got)-1].Seq == head.Seq })
	if report := verify(t, lines(r.records()), head); !report.OK {
		t.Error(describe(report))
	}
}
