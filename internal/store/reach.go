package store

import (
	"context"
	"database/sql"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Elsewhere gives what other sources than this one have recorded of a run since
// its newest intent (audit.Record.Intent), that record included; all that they
// have recorded of it where there is none.
func (s *Store) Elsewhere(ctx context.Context, run, source string) (parts []audit.Part, err error) {
	err = s.read(ctx, "find what other servers recorded of run "+run, func(ctx context.Context, t tx) error {
		from, err := newestIntent(ctx, t, run)
		if err != nil {
			return err
		}
		rows, err := t.rows(ctx, `SELECT source, COALESCE(MAX(seq), 0), SUM(CASE WHEN seq IS NULL THEN 1 ELSE 0 END)
			FROM audit_records WHERE run_id = ? AND id >= ? AND source <> ? GROUP BY source ORDER BY source`, run, from, source)
		parts, err = collect(rows, err, func(r *sql.Rows) (p audit.Part, err error) {
			waiting := 0
			err = r.Scan(&p.Source, &p.Last, &waiting)
			p.Unplaced = waiting > 0
			return p, err
		})
		return err
	})
	return parts, err
}

// intentPage is how many starts and resumes are read at once: as a rule the
// first is an intent, and those before it were refused.
const intentPage = 20

// newestIntent gives the id of a run's newest intent; 0 = it has none.
func newestIntent(ctx context.Context, t tx, run string) (int64, error) {
	type asked struct {
		id     int64
		intent bool
	}
	for before := int64(1<<63 - 1); ; {
		rows, err := t.rows(ctx, "SELECT id, body FROM audit_records WHERE run_id = ? AND action || '' IN (?, ?) AND id < ? ORDER BY id DESC LIMIT ?",
			run, string(audit.RunStarted), string(audit.RunResumed), before, intentPage)
		page, err := collect(rows, err, func(r *sql.Rows) (a asked, err error) {
			var body []byte
			if err := r.Scan(&a.id, &body); err != nil {
				return a, err
			}
			rec, err := audit.Decode(body)
			a.intent = rec.Intent()
			return a, err
		})
		if err != nil {
			return 0, err
		}
		for _, a := range page {
			if a.intent {
				return a.id, nil
			}
		}
		if len(page) < intentPage {
			return 0, nil
		}
		before = page[len(page)-1].id
	}
}

// Cursors gives the seq up to which each sink has the trail of source.
func (s *Store) Cursors(ctx context.Context, source string) (map[string]int64, error) {
	var out map[string]int64
	err := s.ask(ctx, "read cursors", func(ctx context.Context, t tx) error {
		out = map[string]int64{}
		rows, err := t.rows(ctx, "SELECT sink, seq FROM audit_cursors WHERE source = ?", source)
		_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
			var sink string
			var seq int64
			err := r.Scan(&sink, &seq)
			out[sink] = seq
			return struct{}{}, err
		})
		return err
	})
	return out, err
}

// AuditBytes adds up the bytes of the records of source's trail from the one
// behind the first number to the second.
func (s *Store) AuditBytes(ctx context.Context, source string, after, upTo int64) (n int64, err error) {
	err = s.ask(ctx, "add up audit records", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT COALESCE(SUM(LENGTH(body)), 0) FROM audit_records WHERE seq IS NOT NULL AND source = ? AND seq > ? AND seq <= ?", source, after, upTo).Scan(&n)
	})
	return n, err
}

// HostsInHand counts the hosts of runs that are not over and that may still
// give records: all that have no end.
func (s *Store) HostsInHand(ctx context.Context) (n int, err error) {
	err = s.ask(ctx, "count hosts in hand", func(ctx context.Context, t tx) error {
		var open []any
		for _, state := range restart.RunStates() {
			if !state.Final() {
				open = append(open, string(state))
			}
		}
		return t.row(ctx, "SELECT count(*) FROM tasks WHERE run_id IN (SELECT id FROM runs WHERE state IN ("+marks(len(open))+")) AND finished_at IS NULL", open...).Scan(&n)
	})
	return n, err
}
