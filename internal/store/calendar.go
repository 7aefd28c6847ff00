package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// CalendarToken lets programs read what is planned, and nothing else, as its
// owner. The secret itself is not kept, only a hash of it.
type CalendarToken struct {
	Owner     string
	Hash      string
	CreatedAt time.Time
	UsedAt    time.Time // to the minute; zero = never
}

// SetCalendarToken gives somebody a token in the place of the one before.
func (s *Store) SetCalendarToken(ctx context.Context, c CalendarToken, records ...audit.Record) error {
	return s.write(ctx, "make a calendar's token", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `INSERT INTO calendar_tokens (owner, hash, created_at, used_at) VALUES (?, ?, ?, 0)
			ON CONFLICT (owner) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at, used_at = 0`, c.Owner, c.Hash, micros(c.CreatedAt))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(c.CreatedAt))
	})
}

// RemoveCalendarToken ends somebody's token at once; CodeNotFound where he has
// none.
func (s *Store) RemoveCalendarToken(ctx context.Context, owner string, records ...audit.Record) error {
	return s.write(ctx, "end a calendar's token", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "DELETE FROM calendar_tokens WHERE owner = ?", owner)
		if err == nil && n == 0 {
			err = restart.Errorf(restart.CodeNotFound, "%s has no address of a calendar", owner)
		}
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// CalendarTokenOf gives somebody's token, or CodeNotFound.
func (s *Store) CalendarTokenOf(ctx context.Context, owner string) (CalendarToken, error) {
	return s.calendarToken(ctx, "owner", owner)
}

// CalendarTokenByHash finds a token by the hash of its secret, and notes that it
// is used; or CodeNotFound.
func (s *Store) CalendarTokenByHash(ctx context.Context, hash string) (CalendarToken, error) {
	c, err := s.calendarToken(ctx, "hash", hash)
	if err != nil || time.Since(c.UsedAt) < touchAfter {
		return c, err
	}
	return c, s.write(ctx, "touch a calendar's token", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "UPDATE calendar_tokens SET used_at = $now WHERE hash = ?", hash)
		return err
	})
}

func (s *Store) calendarToken(ctx context.Context, column, value string) (c CalendarToken, err error) {
	err = s.ask(ctx, "find a calendar's token", func(ctx context.Context, t tx) error {
		var created, used int64
		err := t.row(ctx, "SELECT owner, hash, created_at, used_at FROM calendar_tokens WHERE "+column+" = ?", value).Scan(&c.Owner, &c.Hash, &created, &used)
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no such address of a calendar")
		}
		c.CreatedAt, c.UsedAt = fromMicros(created), fromMicros(used)
		return err
	})
	return c, err
}
