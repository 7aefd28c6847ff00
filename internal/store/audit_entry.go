package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// AuditAround is a record with those beside it in the chain of its source; nil =
// there is none, or it has no place yet.
type AuditAround struct {
	AuditEntry
	Previous, Next *AuditEntry
	Cursors        []AuditCursor // of its source, by the names of the sinks
}

// AuditCursor tells up to which record a sink has everything of a source.
type AuditCursor struct {
	Sink string
	Seq  int64
}

// AuditEntry finds a record by its number in the database (CodeNotFound).
func (s *Store) AuditEntry(ctx context.Context, id int64) (out AuditAround, err error) {
	err = s.read(ctx, "read an audit record", func(ctx context.Context, t tx) error {
		found, err := oneEntry(ctx, t, "id = ?", id)
		if err != nil {
			return err
		}
		if found == nil {
			return restart.Errorf(restart.CodeNotFound, "there is no audit record %d", id)
		}
		out = AuditAround{AuditEntry: *found}
		if out.Seq == 0 {
			return nil
		}
		if out.Previous, err = oneEntry(ctx, t, "seq IS NOT NULL AND source = ? AND seq = ?", out.Source, out.Seq-1); err != nil {
			return err
		}
		if out.Next, err = oneEntry(ctx, t, "seq IS NOT NULL AND source = ? AND seq = ?", out.Source, out.Seq+1); err != nil {
			return err
		}
		rows, err := t.rows(ctx, "SELECT sink, seq FROM audit_cursors WHERE source = ? ORDER BY sink", out.Source)
		out.Cursors, err = collect(rows, err, func(r *sql.Rows) (c AuditCursor, err error) {
			err = r.Scan(&c.Sink, &c.Seq)
			return c, err
		})
		return err
	})
	return out, err
}

// oneEntry gives the record that is named so; nil = there is none.
func oneEntry(ctx context.Context, t tx, where string, args ...any) (*AuditEntry, error) {
	var e AuditEntry
	var body []byte
	err := t.row(ctx, "SELECT id, body FROM audit_records WHERE "+where, args...).Scan(&e.ID, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	e.Record, err = audit.Decode(body)
	return &e, err
}

// AuditPlaces gives the numbers of all records that have a place and that a
// filter names, in the order of their chains: source by source. Where there are
// more than most it gives none, and tells.
func (s *Store) AuditPlaces(ctx context.Context, f AuditFilter, most int) (ids []int64, more bool, err error) {
	q, err := f.question()
	if err != nil {
		return nil, false, err
	}
	q.rest = append(q.rest, condition{"seq IS NOT NULL", nil})
	where, args := allOf(slices.Concat(q.leading, q.rest, q.bounds))
	err = s.read(ctx, "find audit records", func(ctx context.Context, t tx) error {
		var n int
		if err := t.row(ctx, "SELECT count(*) FROM (SELECT 1 FROM audit_records WHERE "+where+" LIMIT ?) AS found", append(slices.Clone(args), most+1)...).Scan(&n); err != nil {
			return err
		}
		if more = n > most; more {
			return nil
		}
		rows, err := t.rows(ctx, "SELECT id FROM audit_records WHERE "+where+" ORDER BY source, seq", args...)
		ids, err = collect(rows, err, func(r *sql.Rows) (id int64, err error) {
			err = r.Scan(&id)
			return id, err
		})
		return err
	})
	return ids, more, err
}

// AuditEntries gives records by their numbers, in the order in which these are;
// one that is gone meanwhile is left out.
func (s *Store) AuditEntries(ctx context.Context, ids []int64) (entries []AuditEntry, err error) {
	err = s.read(ctx, "read audit records", func(ctx context.Context, t tx) error {
		for batch := range slices.Chunk(ids, taskBatch) {
			args, at := make([]any, len(batch)), make(map[int64]int, len(batch))
			for i, id := range batch {
				args[i], at[id] = id, i
			}
			rows, err := t.rows(ctx, "SELECT id, body FROM audit_records WHERE id IN ("+marks(len(batch))+")", args...)
			found, err := collect(rows, err, func(r *sql.Rows) (AuditEntry, error) { return scanEntry(r) })
			if err != nil {
				return err
			}
			slices.SortFunc(found, func(a, b AuditEntry) int { return at[a.ID] - at[b.ID] })
			entries = append(entries, found...)
		}
		return nil
	})
	return entries, err
}
