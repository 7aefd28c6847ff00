package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

const freezeColumns = "id, environments, services, begins_at, ends_at, weekly, zone, reason, created_by, created_at"

// AddFreeze stores a freeze, which stands from now on.
func (s *Store) AddFreeze(ctx context.Context, f restart.Freeze, records ...audit.Record) error {
	if err := restart.CheckID(f.ID); err != nil {
		return err
	}
	if (f.Weekly == "") != (f.From != nil && f.To != nil) {
		return restart.Errorf(restart.CodeInvalid, "a freeze is either by date or weekly")
	}
	environments, err := toJSON(f.Environments)
	if err != nil {
		return err
	}
	services, err := toJSON(f.Services)
	if err != nil {
		return err
	}
	var begins, ends int64
	if f.Weekly == "" {
		begins, ends = micros(*f.From), micros(*f.To)
	}
	return s.write(ctx, "store freeze "+f.ID, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "INSERT INTO freezes ("+freezeColumns+", removed_at) VALUES ("+marks(10)+", 0)",
			f.ID, environments, services, begins, ends, f.Weekly, f.Zone, f.Reason, f.CreatedBy, micros(f.CreatedAt))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(f.CreatedAt))
	})
}

// Freezes lists the freezes that stand and are not over at a time, in the order
// in which they were made.
func (s *Store) Freezes(ctx context.Context, at time.Time) (out []restart.Freeze, err error) {
	err = s.ask(ctx, "list freezes", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+freezeColumns+" FROM freezes WHERE removed_at = 0 AND (ends_at = 0 OR ends_at > ?) ORDER BY id", micros(at))
		out, err = collect(rows, err, scanFreeze)
		return err
	})
	return out, err
}

func scanFreeze(r *sql.Rows) (f restart.Freeze, err error) {
	var environments, services string
	var begins, ends, created int64
	if err := r.Scan(&f.ID, &environments, &services, &begins, &ends, &f.Weekly, &f.Zone, &f.Reason, &f.CreatedBy, &created); err != nil {
		return f, err
	}
	f.CreatedAt = fromMicros(created)
	if f.Weekly == "" {
		f.From, f.To = new(fromMicros(begins)), new(fromMicros(ends))
	}
	return f, errors.Join(json.Unmarshal([]byte(environments), &f.Environments), json.Unmarshal([]byte(services), &f.Services))
}

// RemoveFreeze lifts a freeze at once. CodeNotFound: there is none of that id;
// CodeConflict: it was lifted before.
func (s *Store) RemoveFreeze(ctx context.Context, id string, at time.Time, records ...audit.Record) error {
	return s.write(ctx, "remove freeze "+id, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE freezes SET removed_at = ? WHERE id = ? AND removed_at = 0", micros(at), id)
		if err != nil {
			return err
		}
		if n == 0 {
			var there int
			if err := t.row(ctx, "SELECT count(*) FROM freezes WHERE id = ?", id).Scan(&there); err != nil {
				return err
			}
			if there == 0 {
				return notFound("freeze", id)
			}
			return restart.Errorf(restart.CodeConflict, "freeze %s is lifted already", id)
		}
		return insertRecords(ctx, t, records, micros(at))
	})
}
