package lock

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

const (
	tendEvery = 15 * time.Second
	tendTime  = 5 * time.Second // for one lock
)

// Run looks now and then, until ctx ends, for locks of runs that hold their
// service no more, and gives them back: a server may have crashed before it did,
// or the keeper of the lock was away. Any server may; to give back twice is to
// give back once.
func (l *Locks) Run(ctx context.Context) {
	if len(l.all) == 0 {
		return
	}
	for t := time.NewTicker(tendEvery); ; {
		l.try(l.Tend(ctx), "")
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// Tend looks once.
func (l *Locks) Tend(ctx context.Context) error {
	before := l.keys()
	rows, err := l.cfg.Ledger.OutsideLocks(ctx) // first: whoever has a row has had its service before
	if err != nil || ctx.Err() != nil {
		return err
	}
	l.forget(before, rows)
	if len(rows) == 0 {
		return nil
	}
	services, err := l.cfg.Ledger.Locks(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		err := l.within(ctx, tendTime, func(ctx context.Context) error { return l.tendOne(ctx, row, holds(services, row.RunID)) })
		if ctx.Err() != nil {
			return nil
		}
		l.try(err, row.RunID)
	}
	return nil
}

// holds tells whether a run holds its service.
func holds(services []store.Lock, run string) bool {
	return slices.ContainsFunc(services, func(s store.Lock) bool { return s.RunID == run })
}

// keys are the locks of which something is known.
func (l *Locks) keys() []key {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.known))
}

// named tells whether one of the rows is of a lock of a run.
func named(rows []store.OutsideLock, k key) bool {
	return slices.ContainsFunc(rows, func(r store.OutsideLock) bool { return r.RunID == k.run && r.Name == k.lock })
}

// forget drops what was known, before the rows were read, of runs that another
// server has ended. What has come to be known since is of rows that are younger.
func (l *Locks) forget(before []key, rows []store.OutsideLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range before {
		if !named(rows, k) {
			delete(l.known, k)
			delete(l.silent, k)
		}
	}
	now := l.cfg.Now()
	maps.DeleteFunc(l.unsure, func(k key, at time.Time) bool { return !named(rows, k) && now.Sub(at).Abs() >= settled })
}

// giveBack releases a lock of a run that has held its service no more a moment
// ago: it may have been resumed since.
func (l *Locks) giveBack(ctx context.Context, o opened, claim Claim) error {
	services, err := l.cfg.Ledger.Locks(ctx)
	if err != nil || holds(services, claim.Run) {
		return err
	}
	return l.release(ctx, o, claim)
}

func (l *Locks) tendOne(ctx context.Context, row store.OutsideLock, holds bool) error {
	run, err := l.cfg.Ledger.Run(ctx, row.RunID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(l.all, func(o opened) bool { return o.Name == row.Name && o.Kind == row.Kind })
	if i < 0 {
		if holds {
			return nil
		}
		l.cfg.Logger.Warn("a run had a lock that the configuration does not name any more; it is forgotten here", "run_id", row.RunID, "lock", row.Name, "place", row.Place)
		return l.cfg.Ledger.DropOutsideLock(ctx, row.RunID, row.Name)
	}
	o, claim := l.all[i], claimOf(run, l.cfg.Server, l.cfg.Now().UTC())
	switch {
	case !holds:
		if _, known := l.last(claim.key(o.Name)); !known && (row.State == store.OutsideWaiting || row.State == store.OutsideBypassed) {
			l.doubt(claim, o.Name, false) // another server may have asked a moment ago, and not heard
		}
		claim = claim.at(o, row)
		return l.giveBack(ctx, o, claim)
	case run.State == restart.RunRunning: // the walk itself asks
		return nil
	case row.State != store.OutsideHeld && (run.State != restart.RunPaused || !o.queues()): // it asks, or can't have come to have it
		return nil
	}
	state, note := row.State, row.Note
	switch err := o.Stands(ctx, claim); {
	case err == nil:
		state, note = store.OutsideHeld, ""
	case restart.CodeOf(err) != restart.CodeLocked:
		return nil
	case row.State == store.OutsideHeld:
		state, note = store.OutsideLost, sentence(err)
	case row.State == store.OutsideWaiting:
		note = sentence(err)
	}
	if state == row.State && note == row.Note {
		return nil
	}
	if now, err := l.cfg.Ledger.Run(ctx, run.ID); err != nil || now.State != run.State || now.Epoch != run.Epoch { // a walk writes this row again
		return err
	}
	return l.keep(ctx, o, claim, state, note)
}
