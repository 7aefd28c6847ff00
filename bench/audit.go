package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// recordCost is what a record costs in the transaction that it belongs to.
type recordCost struct {
	Cost    float64     `json:"cost_ms"` // the difference of the two medians
	With    Percentiles `json:"with_ms"`
	Without Percentiles `json:"without_ms"`
}

// record measures, on both databases, the same small transaction with an audit
// record and without one, in turns, over a trail that has some history. The
// figure is the dearer of the two databases'.
func (s *session) record(b *bed) error {
	const source = "main"
	dsns := map[string]string{"SQLite": "sqlite:" + filepath.Join(b.TempDir(), "record.db")}
	if storetest.HavePostgres() {
		dsn, err := storetest.StartPostgres(b).Schema(b.ctx)
		b.must(err)
		dsns["PostgreSQL"] = dsn
	} else {
		s.absent("audit_record_ms on PostgreSQL", "PostgreSQL is not installed")
	}
	each := map[string]recordCost{}
	var worst float64
	for database, dsn := range dsns {
		st, err := store.Open(b.ctx, store.Config{DSN: dsn, Source: source, Logger: slog.New(slog.DiscardHandler)})
		b.must(err)
		b.must(fillTrail(b.ctx, st, source, max(s.shipped/2, 100)))
		cost, err := costOfRecord(b, st, max(s.shipped/200, 10))
		st.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
		each[database] = cost
		worst = max(worst, cost.Cost)
	}
	s.results.AuditRecord = new(worst)
	s.detail("audit_record_ms", each)
	return nil
}

func costOfRecord(b *bed, st *store.Store, turns int) (recordCost, error) {
	var with, without []time.Duration
	for n := range 2 * turns {
		u := store.User{Name: fmt.Sprintf("person%06d", n), Method: "local", CreatedAt: time.Now()}
		var records []audit.Record
		if n%2 == 0 {
			records = []audit.Record{{Actor: "root", Origin: "cli local", Action: audit.UserCreated, Reason: "starts on Monday, see OPS-4711", Params: map[string]string{"user": u.Name}}}
		}
		begun := time.Now()
		if err := st.CreateUser(b.ctx, u, records...); err != nil {
			return recordCost{}, err
		}
		if took := time.Since(begun); n%2 == 0 {
			with = append(with, took)
		} else {
			without = append(without, took)
		}
	}
	out := recordCost{With: percentiles(with), Without: percentiles(without)}
	out.Cost = round(out.With.P50-out.Without.P50, 3)
	return out, nil
}
