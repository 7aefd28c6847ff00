package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// AppendAudit stores records that belong to no other change, unsequenced. A
// zero Time becomes now.
func (s *Store) AppendAudit(ctx context.Context, records ...audit.Record) error {
	if len(records) == 0 {
		return nil
	}
	return s.write(ctx, "store audit records", func(ctx context.Context, t tx) error {
		return insertRecords(ctx, t, records, 0)
	})
}

// LastRecord gives the record that was stored last; nil = there is none.
func (s *Store) LastRecord(ctx context.Context) (*audit.Record, error) {
	var body []byte
	err := s.ask(ctx, "find the last audit record", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT body FROM audit_records ORDER BY id DESC LIMIT 1").Scan(&body)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil || body == nil {
		return nil, err
	}
	record, err := audit.Decode(body)
	return &record, err
}

// insertRecords stores records without a place in the trail. at is the time of
// those that have none; 0 = now. A record that has a source, by itself or by
// Config.Source, is sequenced for that source only; the others for whichever
// source asks first.
func insertRecords(ctx context.Context, t tx, records []audit.Record, at int64) error {
	for batch := range slices.Chunk(records, taskBatch) {
		if at == 0 {
			if err := t.row(ctx, "SELECT $now").Scan(&at); err != nil {
				return err
			}
		}
		args := make([]any, 0, len(batch)*recordWidth)
		for _, r := range batch {
			if r.Time.IsZero() {
				r.Time = fromMicros(at)
			}
			if r.Source == "" {
				r.Source = t.source
			}
			r.Epoch, r.Seq, r.PrevHash, r.Hash = 0, 0, "", ""
			r.Clean()
			args = append(args, recordRow(&r)...)
		}
		_, err := t.exec(ctx, "INSERT INTO audit_records ("+recordColumns+") VALUES "+repeat("("+marks(recordWidth)+")", len(batch)), args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Sequence gives up to limit records (1 to 1000; 0 = 1000) their place in the
// trail of source, in the order in which they were stored, and returns how
// many. link is called for each with the head before it, and fills in source,
// epoch, seq and the hashes: audit.Record.Link. It is called again for the
// same records where the transaction has to be tried again.
func (s *Store) Sequence(ctx context.Context, source string, limit int, link func(head audit.Head, r *audit.Record)) (n int, err error) {
	if source == "" {
		return 0, restart.Errorf(restart.CodeInvalid, "a trail needs the name of its source")
	}
	if limit <= 0 || limit > maxSequence {
		limit = maxSequence
	}
	waiting := 0
	err = s.ask(ctx, "look for audit records", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT count(*) FROM (SELECT 1 FROM audit_records WHERE seq IS NULL AND source IN ('', ?) LIMIT 1) AS waiting", source).Scan(&waiting)
	})
	if err != nil || waiting == 0 {
		return 0, err
	}
	err = s.write(ctx, "sequence audit records", func(ctx context.Context, t tx) error {
		n, err = sequence(ctx, t, source, limit, link)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

const maxSequence = 1000

func sequence(ctx context.Context, t tx, source string, limit int, link func(audit.Head, *audit.Record)) (int, error) {
	head, err := lockHead(ctx, t, source)
	if err != nil {
		return 0, err
	}
	type pending struct {
		id     int64
		record audit.Record
	}
	rows, err := t.rows(ctx, "SELECT id, body FROM audit_records WHERE seq IS NULL AND source IN ('', ?) ORDER BY id LIMIT ?$skip_locked", source, limit)
	records, err := collect(rows, err, func(r *sql.Rows) (p pending, err error) {
		var body []byte
		if err := r.Scan(&p.id, &body); err != nil {
			return p, err
		}
		p.record, err = audit.Decode(body)
		return p, err
	})
	if err != nil || len(records) == 0 {
		return 0, err
	}
	for batch := range slices.Chunk(records, taskBatch) {
		var args []any
		for i := range batch {
			r := &batch[i].record
			link(head, r)
			if err := follows(head, r); err != nil {
				return 0, err
			}
			head = r.Head()
			args = append(args, batch[i].id, r.Seq, r.Canonical())
		}
		_, err := t.exec(ctx, "WITH placed (id, seq, body) AS (VALUES "+repeat("(CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS $blob))", len(batch))+`)
			UPDATE audit_records SET source = ?, seq = placed.seq, body = placed.body FROM placed WHERE audit_records.id = placed.id`, append(args, source)...)
		if err != nil {
			return 0, err
		}
	}
	return len(records), moveHead(ctx, t, head)
}

// lockHead gives the head of source's chain and locks its row: one sequencer at
// a time for a source. A source that is new begins in the epoch of the others:
// after a restore, one of its name may have begun in the lost database too.
func lockHead(ctx context.Context, t tx, source string) (audit.Head, error) {
	head := audit.Head{Source: source}
	err := t.row(ctx, `INSERT INTO audit_heads (source, epoch, seq, hash) VALUES (?, COALESCE((SELECT MAX(epoch) FROM audit_heads), 1), 0, '')
		ON CONFLICT (source) DO UPDATE SET seq = audit_heads.seq RETURNING epoch, seq, hash`, source).Scan(&head.Epoch, &head.Seq, &head.Hash)
	return head, err
}

func moveHead(ctx context.Context, t tx, head audit.Head) error {
	_, err := t.exec(ctx, "UPDATE audit_heads SET epoch = ?, seq = ?, hash = ? WHERE source = ?", head.Epoch, head.Seq, head.Hash, head.Source)
	return err
}

// follows fails unless r was linked to head.
func follows(head audit.Head, r *audit.Record) error {
	if r.Source != head.Source || r.Seq != head.Seq+1 || r.PrevHash != head.Hash || r.Hash == "" {
		return fmt.Errorf("record %d of source %s does not follow number %d", r.Seq, r.Source, head.Seq)
	}
	return nil
}

// Seal calls seal with the head of source's chain and the last record
// audit.sealed of it, nil without one, and stores the linked records that it
// gives behind that head, in one transaction. It is called again where the
// transaction has to be tried again.
func (s *Store) Seal(ctx context.Context, source string, seal func(head audit.Head, last *audit.Record) []audit.Record) error {
	return s.write(ctx, "seal the audit trail", func(ctx context.Context, t tx) error {
		head, err := lockHead(ctx, t, source)
		if err != nil {
			return err
		}
		last, err := lastSeal(ctx, t, source)
		if err != nil {
			return err
		}
		records := seal(head, last)
		for i := range records {
			r := &records[i]
			if err := follows(head, r); err != nil {
				return err
			}
			head = r.Head()
			_, err := t.exec(ctx, "INSERT INTO audit_records (seq, "+recordColumns+") VALUES ("+marks(1+recordWidth)+")", append([]any{r.Seq}, recordRow(r)...)...)
			if err != nil {
				return err
			}
		}
		if len(records) == 0 {
			return nil
		}
		return moveHead(ctx, t, head)
	})
}

// lastSeal finds the seal that stands furthest in the chain of source; nil =
// there is none.
func lastSeal(ctx context.Context, t tx, source string) (*audit.Record, error) {
	var body []byte
	err := t.row(ctx, "SELECT body FROM audit_records WHERE source = ? AND seq IS NOT NULL AND action = ? ORDER BY seq DESC LIMIT 1",
		source, string(audit.AuditSealed)).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := audit.Decode(body)
	return &r, err
}

// Sealed gives the number of the last record of source's trail that a seal
// stands behind; 0 = none.
func (s *Store) Sealed(ctx context.Context, source string) (seq int64, err error) {
	err = s.read(ctx, "find the last seal", func(ctx context.Context, t tx) error {
		r, err := lastSeal(ctx, t, source)
		if err != nil || r == nil {
			return err
		}
		seal, err := audit.ReadSeal(r)
		seq = seal.Last
		return err
	})
	return seq, err
}

// Sequenced returns up to limit records of a source's trail (1 to 1000; 0 =
// 1000), in order, from the one after the number given.
func (s *Store) Sequenced(ctx context.Context, source string, after int64, limit int) (records []audit.Record, err error) {
	if limit <= 0 || limit > maxSequence {
		limit = maxSequence
	}
	err = s.ask(ctx, "read audit trail", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT body FROM audit_records WHERE seq IS NOT NULL AND source = ? AND seq > ? ORDER BY seq LIMIT ?", source, after, limit)
		records, err = collect(rows, err, func(r *sql.Rows) (audit.Record, error) {
			var body []byte
			if err := r.Scan(&body); err != nil {
				return audit.Record{}, err
			}
			return audit.Decode(body)
		})
		return err
	})
	return records, err
}

// AuditHead tells where a source's trail stands; Seq 0 where it has no record yet.
func (s *Store) AuditHead(ctx context.Context, source string) (head audit.Head, err error) {
	head = audit.Head{Source: source, Epoch: 1}
	err = s.ask(ctx, "read head of audit trail", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT epoch, seq, hash FROM audit_heads WHERE source = ?", source).Scan(&head.Epoch, &head.Seq, &head.Hash)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return head, err
}

// Cursor returns the number of the last record of source that sink has taken, or
// that has expired: a sink that comes later begins with what is here. 0 = none.
func (s *Store) Cursor(ctx context.Context, sink, source string) (seq int64, err error) {
	err = s.ask(ctx, "read cursor", func(ctx context.Context, t tx) error {
		return t.row(ctx, `SELECT COALESCE(MAX(seq), 0) FROM (SELECT seq FROM audit_cursors WHERE sink = ? AND source = ?
			UNION ALL SELECT expired FROM audit_heads WHERE source = ?) AS reached`, sink, source, source).Scan(&seq)
	})
	return seq, err
}

// SetCursor notes that sink has taken source's trail up to seq. A cursor never goes back.
func (s *Store) SetCursor(ctx context.Context, sink, source string, seq int64) error {
	return s.write(ctx, "move cursor", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `INSERT INTO audit_cursors (sink, source, seq) VALUES (?, ?, ?)
			ON CONFLICT (sink, source) DO UPDATE SET seq = excluded.seq WHERE audit_cursors.seq < excluded.seq`, sink, source, seq)
		return err
	})
}
