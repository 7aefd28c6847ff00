package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// EndedRun is a run that is over, as a digest counts it.
type EndedRun struct {
	Run, Service, Environment string
	Kind                      restart.Kind
	State                     restart.RunState
	Actor, Reason, ReasonKey  string    // ReasonKey is the same where one reason is given again; "" = none
	At                        time.Time // when it ended
	Again                     bool      // it was completed, and within a day the same was restarted again
}

// longestRun is how long before its end a run was asked for at most, to be found
// among those that have ended: ids are by when runs were asked for, or planned for.
const longestRun = 30 * 24 * time.Hour

// EndedRuns lists the runs that had begun and ended from since on and before
// until, as statistics count them: no rehearsals. The oldest end comes first.
func (s *Store) EndedRuns(ctx context.Context, since, until time.Time) (runs []EndedRun, err error) {
	err = s.ask(ctx, "list runs that have ended", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT runs.id, runs.service, runs.environment, runs.kind, runs.state, runs.actor, runs.reason, runs.reason_key, runs.finished_at, runs.again FROM runs WHERE runs.id >= ? AND runs.id < ? AND runs.finished_at >= ? AND runs.finished_at < ? AND "+
			counted+" ORDER BY runs.finished_at, runs.id", restart.FirstID(since.Add(-longestRun)), restart.FirstID(until), micros(since), micros(until))
		runs, err = collect(rows, err, func(r *sql.Rows) (e EndedRun, err error) {
			var at, again int64
			err = r.Scan(&e.Run, &e.Service, &e.Environment, &e.Kind, &e.State, &e.Actor, &e.Reason, &e.ReasonKey, &at, &again)
			e.At, e.Again = fromMicros(at), again == 1
			return e, err
		})
		return err
	})
	return runs, err
}

// KeepDigest stores the digest of a channel for a week, named by the day on
// which it was due. first is false where that was made before, and then nothing
// is stored: of several servers one makes it.
func (s *Store) KeepDigest(ctx context.Context, channel, week string, at time.Time, m []Message) (first bool, err error) {
	if err := checkMessages(m); err != nil {
		return false, err
	}
	err = s.write(ctx, "store a digest", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "INSERT INTO digests (channel, week, made_at) VALUES (?, ?, ?) ON CONFLICT (channel, week) DO NOTHING", channel, week, micros(at))
		first = n == 1
		if err != nil || !first {
			return err
		}
		return insertMessages(ctx, t, m, micros(at))
	})
	return first && err == nil, err
}

// DigestMade tells whether the digest of a channel was made for a week.
func (s *Store) DigestMade(ctx context.Context, channel, week string) (made bool, err error) {
	err = s.ask(ctx, "look for a digest", func(ctx context.Context, t tx) error {
		n := 0
		err := t.row(ctx, "SELECT count(*) FROM digests WHERE channel = ? AND week = ?", channel, week).Scan(&n)
		made = n > 0
		return err
	})
	return made, err
}
