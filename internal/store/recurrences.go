package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Recurring is a service that was restarted again and again for one reason.
type Recurring struct {
	Service, Environment string
	Runs                 int
	Latest               string // run
	key                  string // of the reason
}

// mostRecurring bounds one answer of Recurring.
const mostRecurring = 100

// Recurring lists what was restarted, for the same reason, at least so many
// times since a moment, and was not noted within the time of again before now.
// Only runs count that began and are over, rehearsals and undrains left out.
func (s *Store) Recurring(ctx context.Context, since time.Time, times int, again time.Duration) (out []Recurring, err error) {
	err = s.ask(ctx, "look for restarts that recur", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, `SELECT runs.service, runs.environment, runs.reason_key, count(*), MAX(runs.id) FROM runs
			WHERE runs.id >= ? AND runs.kind = 'restart' AND runs.reason_key <> '' AND `+counted+` AND NOT EXISTS (SELECT 1 FROM recurrences
				WHERE recurrences.service = runs.service AND recurrences.environment = runs.environment AND recurrences.reason_key = runs.reason_key AND recurrences.noted_at > $now - ?)
			GROUP BY runs.service, runs.environment, runs.reason_key HAVING count(*) >= ? ORDER BY 4 DESC, 5 DESC LIMIT ?`,
			restart.FirstID(since), again.Microseconds(), times, mostRecurring)
		out, err = collect(rows, err, func(r *sql.Rows) (x Recurring, err error) {
			err = r.Scan(&x.Service, &x.Environment, &x.key, &x.Runs, &x.Latest)
			return x, err
		})
		return err
	})
	return out, err
}

// NoteRecurrence notes that a ticket is opened about restarts that recur, with
// the message that does it. first is false where that was noted within the time
// of again before, and then nothing is stored: of several servers one notes it.
func (s *Store) NoteRecurrence(ctx context.Context, r Recurring, m Message, at time.Time, again time.Duration, records ...audit.Record) (first bool, err error) {
	if err := checkMessages([]Message{m}); err != nil {
		return false, err
	}
	err = s.write(ctx, "note restarts that recur", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, `INSERT INTO recurrences (service, environment, reason_key, noted_at, runs, latest, message, ticket, url) VALUES (?, ?, ?, $now, ?, ?, ?, '', '')
			ON CONFLICT (service, environment, reason_key) DO UPDATE SET noted_at = excluded.noted_at, runs = excluded.runs, latest = excluded.latest, message = excluded.message, ticket = '', url = ''
			WHERE recurrences.noted_at <= $now - ?`,
			r.Service, r.Environment, r.key, r.Runs, r.Latest, m.ID, again.Microseconds())
		first = n == 1
		if err != nil || !first {
			return err
		}
		if err := insertMessages(ctx, t, []Message{m}, micros(at)); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
	return first && err == nil, err
}

// TicketOpened notes which ticket was opened for a message, with its records:
// once.
func (s *Store) TicketOpened(ctx context.Context, message, ticket, url string, records ...audit.Record) error {
	return s.write(ctx, "note a ticket", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE recurrences SET ticket = ?, url = ? WHERE message = ? AND ticket = ''", ticket, url, message)
		if err != nil || n == 0 {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// RecurrenceTicket gives the ticket about restarts of a service for a reason like
// this one; "" = there is none.
func (s *Store) RecurrenceTicket(ctx context.Context, service, environment, reason string) (ticket string, err error) {
	key := reasonKey(reason)
	if key == "" {
		return "", nil
	}
	err = s.ask(ctx, "look for a ticket", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT ticket FROM recurrences WHERE service = ? AND environment = ? AND reason_key = ?", service, environment, key).Scan(&ticket)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return ticket, err
}
