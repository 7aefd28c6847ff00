package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Claim is one run that a server has taken.
type Claim struct {
	RunID       string
	Epoch       int64 // what the server's writes must carry, see Fence
	Interrupted bool  // it was running when its owner went away without giving it back, and nobody has paused it since
}

// Claim takes up to limit runs for owner, until ttl from now by the database's
// clock: those that are queued or running, or paused with active tasks or a
// person's wish to obey, and that nobody holds or whose lease is over. Each
// gets the next epoch. Of two owners that ask at once, one gets a run.
//
// A running run that another owner (an owner is one life of one server) did not
// give back is interrupted. That is kept as its cause, until its state changes:
// the answer to this claim may be lost, and whoever claims next has to know.
func (s *Store) Claim(ctx context.Context, owner string, ttl time.Duration, limit int) (claims []Claim, err error) {
	if owner == "" {
		return nil, restart.Errorf(restart.CodeInvalid, "a run can't be claimed by nobody")
	}
	err = s.write(ctx, "claim runs", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, `SELECT id, epoch + 1, state = 'running' AND (cause = 'interrupted' OR (owner <> '' AND owner <> ?)) FROM runs
			WHERE state IN ('queued', 'running', 'paused') AND lease_until <= $now AND (state <> 'paused' OR control <> ''
				OR EXISTS (SELECT 1 FROM tasks WHERE tasks.run_id = runs.id AND tasks.state IN (`+activeStates()+`)))
			ORDER BY id LIMIT ?$skip_locked`, owner, page(limit))
		claims, err = collect(rows, err, func(r *sql.Rows) (c Claim, err error) {
			return c, r.Scan(&c.RunID, &c.Epoch, &c.Interrupted)
		})
		if err != nil {
			return err
		}
		for _, c := range claims {
			cause := ""
			if c.Interrupted {
				cause = string(restart.CauseInterrupted)
			}
			if _, err := t.exec(ctx, "UPDATE runs SET owner = ?, epoch = ?, lease_until = $now + ?, version = version + 1, cause = COALESCE(NULLIF(?, ''), cause) WHERE id = ?",
				owner, c.Epoch, ttl.Microseconds(), cause, c.RunID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// Renew moves the end of all of owner's leases to ttl from now, and returns
// the runs that it still holds, by id: one that is missing has ended, or was
// taken by another.
func (s *Store) Renew(ctx context.Context, owner string, ttl time.Duration) (held []string, err error) {
	err = s.write(ctx, "renew leases", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "UPDATE runs SET lease_until = $now + ? WHERE owner = ? AND owner <> '' RETURNING id", ttl.Microseconds(), owner)
		held, err = collect(rows, err, func(r *sql.Rows) (id string, err error) {
			err = r.Scan(&id)
			return id, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(held)
	return held, nil
}

// Release gives a run back, so that any server may claim it at once. A run
// that is no longer held by this fence is left as it is: its holder may have
// claimed it anew in the meantime.
func (s *Store) Release(ctx context.Context, runID string, fence Fence) error {
	return s.write(ctx, "release run "+runID, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "UPDATE runs SET owner = '', lease_until = 0 WHERE id = ? AND owner = ? AND epoch = ? AND owner <> ''", runID, fence.Owner, fence.Epoch)
		return err
	})
}

// endLeases ends every lease, keeping the owners' names, every chat's turn and
// every hold of what is planned.
// It is for a database that one process has to itself: whoever held them is gone.
func (s *Store) endLeases(ctx context.Context) error {
	return s.write(ctx, "end leases", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "UPDATE runs SET lease_until = 0 WHERE owner <> '' AND lease_until <> 0")
		if err == nil {
			_, err = t.exec(ctx, "UPDATE chat_turns SET until_at = 0")
		}
		if err == nil {
			_, err = t.exec(ctx, "UPDATE schedules SET held_until = 0 WHERE ended_at = 0 AND held_until <> 0")
		}
		return err
	})
}
