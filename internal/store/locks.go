package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Lock says that a run holds a service in an environment.
type Lock struct {
	Service, Environment string
	RunID                string
	Since                time.Time
}

// Locks lists the services that are held, by name.
func (s *Store) Locks(ctx context.Context) (out []Lock, err error) {
	err = s.read(ctx, "list locks", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT service, environment, run_id, since FROM service_locks ORDER BY service, environment")
		out, err = collect(rows, err, func(r *sql.Rows) (l Lock, err error) {
			var since int64
			err = r.Scan(&l.Service, &l.Environment, &l.RunID, &since)
			l.Since = fromMicros(since)
			return l, err
		})
		return err
	})
	return out, err
}

// holdService takes the lock for the run, or names who has it (CodeLocked).
func holdService(ctx context.Context, t tx, run lockedRun, at int64) error {
	n, err := t.exec(ctx, "INSERT INTO service_locks (service, environment, run_id, since) VALUES (?, ?, ?, ?) ON CONFLICT (service, environment) DO NOTHING",
		run.service, run.environment, run.id, at)
	if err != nil || n == 1 {
		return err
	}
	var holder, actor string
	err = t.row(ctx, "SELECT runs.id, runs.actor FROM service_locks JOIN runs ON runs.id = service_locks.run_id WHERE service_locks.service = ? AND service_locks.environment = ?",
		run.service, run.environment).Scan(&holder, &actor)
	if err == nil && holder == run.id {
		return nil
	}
	where := run.service
	if run.environment != "" {
		where += " in " + run.environment
	}
	if err != nil { // given back in this very moment
		return restart.Errorf(restart.CodeLocked, "another run was holding %s", where).WithHint("ask again").Because(err)
	}
	return restart.Errorf(restart.CodeLocked, "run %s by %s holds %s", holder, restart.Quote(actor), where).
		WithHint("wait for it, or look: restartilka show %s", holder)
}

func releaseService(ctx context.Context, t tx, runID string) error {
	_, err := t.exec(ctx, "DELETE FROM service_locks WHERE run_id = ?", runID)
	return err
}
