package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

const maxExpired = 2000 // records in one transaction

// ExpireAudit deletes the oldest records of a source's trail, 2000 of them at
// most, and returns how many it were. Deleted is only what is older than
// e.Keep, what each of e.Sinks has by its stored cursor, and what a seal stands
// behind that they have too. The record audit.expired, which is stored with it,
// tells where the trail now begins; cursors that were before that are there now.
func (s *Store) ExpireAudit(ctx context.Context, e audit.Expiry) (n int, err error) {
	if e.Source == "" || e.Keep <= 0 || len(e.Sinks) == 0 {
		return 0, restart.Errorf(restart.CodeInvalid, "records expire of one source, after some time, and when a sink has them")
	}
	err = s.write(ctx, "let audit records expire", func(ctx context.Context, t tx) error {
		n, err = expireAudit(ctx, t, e)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func expireAudit(ctx context.Context, t tx, e audit.Expiry) (int, error) {
	upTo, err := sealedEverywhere(ctx, t, e)
	if err != nil || upTo == 0 {
		return 0, err
	}
	first, last, n, err := older(ctx, t, e, upTo)
	if err != nil || n == 0 {
		return 0, err
	}
	gone, err := t.exec(ctx, "DELETE FROM audit_records WHERE source = ? AND seq IS NOT NULL AND seq <= ?", e.Source, last.Seq)
	if err != nil {
		return 0, err
	}
	if gone != int64(n) {
		return 0, fmt.Errorf("%d records of %s were deleted, and not %d", gone, e.Source, n)
	}
	if _, err := t.exec(ctx, "UPDATE audit_heads SET expired = ? WHERE source = ?", last.Seq, e.Source); err != nil {
		return 0, err
	}
	return n, insertRecords(ctx, t, []audit.Record{{
		Source: e.Source, Actor: "server:" + e.Source, Origin: "local", Action: audit.AuditExpired,
		Params: map[string]string{
			"first": strconv.FormatInt(first, 10), "last": strconv.FormatInt(last.Seq, 10),
			"epoch": strconv.FormatInt(last.Epoch, 10), "head": last.Hash,
		},
		Detail: fmt.Sprintf("older than %s; every sink has them, and the seal behind them", restart.Days(e.Keep)),
	}}, 0)
}

// sealedEverywhere gives the last record before the last seal that every sink
// has; 0 = there is none.
func sealedEverywhere(ctx context.Context, t tx, e audit.Expiry) (seq int64, err error) {
	args := []any{e.Source}
	for _, sink := range e.Sinks {
		args = append(args, sink)
	}
	var known int
	var reached int64
	err = t.row(ctx, "SELECT count(*), COALESCE(MIN(seq), 0) FROM audit_cursors WHERE source = ? AND sink IN ("+repeat("?", len(e.Sinks))+")", args...).Scan(&known, &reached)
	if err != nil || known < len(e.Sinks) {
		return 0, err
	}
	var seal int64
	err = t.row(ctx, "SELECT seq FROM audit_records WHERE source = ? AND seq IS NOT NULL AND seq <= ? AND action = ? ORDER BY seq DESC LIMIT 1",
		e.Source, reached, string(audit.AuditSealed)).Scan(&seal)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return seal - 1, err
}

// older reads the records from the first on, up to upTo or to one that is too
// young, and gives the number of the first, the place of the last, and how many
// they are.
func older(ctx context.Context, t tx, e audit.Expiry, upTo int64) (first int64, last audit.Head, n int, err error) {
	var now int64
	if err := t.row(ctx, "SELECT $now").Scan(&now); err != nil {
		return 0, last, 0, err
	}
	before := fromMicros(now).Add(-e.Keep)
	rows, err := t.rows(ctx, "SELECT body FROM audit_records WHERE source = ? AND seq IS NOT NULL AND seq <= ? ORDER BY seq LIMIT ?", e.Source, upTo, maxExpired)
	type mark struct {
		head audit.Head
		time time.Time
	}
	marks, err := collect(rows, err, func(r *sql.Rows) (m mark, err error) {
		var body []byte
		if err := r.Scan(&body); err != nil {
			return m, err
		}
		record, err := audit.Decode(body)
		return mark{record.Head(), record.Time}, err
	})
	if err != nil {
		return 0, last, 0, err
	}
	for ; n < len(marks) && marks[n].time.Before(before); n++ {
		last = marks[n].head
	}
	if n > 0 {
		first = marks[0].head.Seq
	}
	return first, last, n, nil
}
