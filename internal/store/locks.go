package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Lock says that a run holds a service in an environment, or in one group of it.
type Lock struct {
	Service, Environment string
	Group                string // "" = the whole environment
	RunID, Actor         string
	State                restart.RunState // of the run
	Since                time.Time
}

// Bears tells whether the lock keeps away a run that wants the service in a
// group; "" = in the whole environment.
func (l Lock) Bears(service, environment, group string) bool {
	return l.Service == service && l.Environment == environment && (l.Group == "" || group == "" || l.Group == group)
}

const lockColumns = "scoped_locks.service, scoped_locks.environment, scoped_locks.host_group, scoped_locks.run_id, runs.actor, runs.state, scoped_locks.since"

func scanLock(r *sql.Rows) (l Lock, err error) {
	var since int64
	err = r.Scan(&l.Service, &l.Environment, &l.Group, &l.RunID, &l.Actor, &l.State, &since)
	l.Since = fromMicros(since)
	return l, err
}

// Locks lists the services that are held, by name.
func (s *Store) Locks(ctx context.Context) (out []Lock, err error) {
	err = s.ask(ctx, "list locks", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+lockColumns+" FROM scoped_locks JOIN runs ON runs.id = scoped_locks.run_id ORDER BY 1, 2, 3")
		out, err = collect(rows, err, scanLock)
		return err
	})
	return out, err
}

// holdService takes the lock for the run, or names who has it (CodeLocked).
// Whoever takes a lock of a service in an environment takes the row of that
// place first, and keeps it until the commit: so of two runs that bear each
// other, the second sees what the first has taken.
func holdService(ctx context.Context, t tx, run lockedRun, at int64) error {
	_, err := t.exec(ctx, `INSERT INTO lock_places (service, environment) VALUES (?, ?)
		ON CONFLICT (service, environment) DO UPDATE SET service = excluded.service`, run.service, run.environment)
	if err != nil {
		return err
	}
	rows, err := t.rows(ctx, "SELECT "+lockColumns+" FROM scoped_locks JOIN runs ON runs.id = scoped_locks.run_id WHERE scoped_locks.service = ? AND scoped_locks.environment = ? ORDER BY scoped_locks.since",
		run.service, run.environment)
	there, err := collect(rows, err, scanLock)
	if err != nil {
		return err
	}
	for _, l := range there {
		switch {
		case l.RunID == run.id:
			return nil
		case l.Bears(run.service, run.environment, run.group):
			return heldBy(l)
		}
	}
	_, err = t.exec(ctx, "INSERT INTO scoped_locks (service, environment, host_group, run_id, since) VALUES (?, ?, ?, ?, ?)", run.service, run.environment, run.group, run.id, at)
	return err
}

// heldBy names who holds what is wanted.
func heldBy(l Lock) error {
	where := l.Service
	switch {
	case l.Group != "":
		where += " in group " + l.Group
	case l.Environment != "":
		where += " in " + l.Environment
	}
	return restart.Errorf(restart.CodeLocked, "run %s by %s holds %s", l.RunID, restart.Quote(l.Actor), where).
		WithHint("wait for it, or look: restartilka show %s", l.RunID)
}

func releaseService(ctx context.Context, t tx, runID string) error {
	_, err := t.exec(ctx, "DELETE FROM scoped_locks WHERE run_id = ?", runID)
	return err
}
