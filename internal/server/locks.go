package server

import (
	"context"

	"github.com/restartilka/restartilka/internal/lock"
)

// newLocks opens the locks that runs share with others. Nobody is connected to
// before a run wants one.
func (s *Server) newLocks(changed func(run string)) (*lock.Locks, error) {
	return lock.New(lock.Config{
		Settings: s.cfg.Locks, Ledger: s.store, Server: s.cfg.Name, Committed: s.trail.Wake, Changed: changed, Observe: s.meters.shared, Logger: s.log,
	})
}

// tryLocks asks each keeper of a lock whether it answers.
func (c *Config) tryLocks(ctx context.Context) []error {
	locks, err := lock.New(lock.Config{Settings: c.Locks})
	if err != nil {
		return []error{err}
	}
	defer locks.Close()
	return locks.Check(ctx)
}
