package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// OutsideLockState tells how a run stands with a lock that is shared with others.
type OutsideLockState string

// The states of a lock that is shared with others.
const (
	OutsideWaiting  OutsideLockState = "waiting"  // it was asked for, and perhaps taken
	OutsideHeld     OutsideLockState = "held"     //
	OutsideLost     OutsideLockState = "lost"     // the run had it
	OutsideBypassed OutsideLockState = "bypassed" // the run goes on without
)

// OutsideLock is a lock that is shared with others, as a run last knew of it.
// It is stored before the lock is asked for, and dropped when it has been given
// back: so nothing is left taken by a run that is over.
type OutsideLock struct {
	RunID  string
	Name   string // of the lock, in the configuration
	Kind   string
	Place  string // where it is, for people
	State  OutsideLockState
	Note   string // who has it meanwhile, or why it is lost
	Server string // which wrote this
	Since  time.Time
}

// KeepOutsideLock stores how a run stands with a lock, with what the trail is to
// have of it. CodeNotFound: there is no such run.
func (s *Store) KeepOutsideLock(ctx context.Context, l OutsideLock, records ...audit.Record) error {
	if err := restart.CheckID(l.RunID); err != nil {
		return err
	}
	return s.write(ctx, "keep a lock of run "+l.RunID, func(ctx context.Context, t tx) error {
		var there int
		if err := t.row(ctx, "SELECT count(*) FROM runs WHERE id = ?", l.RunID).Scan(&there); err != nil {
			return err
		}
		if there == 0 {
			return notFound("run", l.RunID)
		}
		_, err := t.exec(ctx, `INSERT INTO outside_locks (run_id, name, kind, place, state, note, server, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (run_id, name) DO UPDATE SET kind = excluded.kind, place = excluded.place, state = excluded.state, note = excluded.note, server = excluded.server, since = excluded.since`,
			l.RunID, l.Name, l.Kind, l.Place, string(l.State), l.Note, l.Server, micros(l.Since))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(l.Since))
	})
}

// DropOutsideLock forgets a lock that was given back; one that is not there is
// forgotten already. Where the run holds its service again it is kept: the run
// has taken the lock anew, or is about to.
func (s *Store) DropOutsideLock(ctx context.Context, run, name string) error {
	return s.write(ctx, "drop a lock of run "+run, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "DELETE FROM outside_locks WHERE run_id = ? AND name = ? AND NOT EXISTS (SELECT 1 FROM scoped_locks WHERE scoped_locks.run_id = outside_locks.run_id)", run, name)
		return err
	})
}

// OutsideLocks lists what runs have of others or wait for, by run and name.
func (s *Store) OutsideLocks(ctx context.Context) (out []OutsideLock, err error) {
	err = s.ask(ctx, "list the locks of others", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT run_id, name, kind, place, state, note, server, since FROM outside_locks ORDER BY run_id, name")
		out, err = collect(rows, err, func(r *sql.Rows) (l OutsideLock, err error) {
			var since int64
			err = r.Scan(&l.RunID, &l.Name, &l.Kind, &l.Place, &l.State, &l.Note, &l.Server, &since)
			l.Since = fromMicros(since)
			return l, err
		})
		return err
	})
	return out, err
}
