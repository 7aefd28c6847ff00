package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
)

// groupSize is how many writes share a commit at most.
const groupSize = 128

// group lets writes share commits: while one commit is on its way to the disk,
// the writes that arrive wait, and then go into the next one together. A write
// that arrives alone waits for nobody.
type group struct {
	db      *sql.DB // with one connection
	dialect dialect
	source  string
	jobs    chan *job
	stop    chan struct{}
	once    sync.Once
	stopped sync.WaitGroup
}

// job is one write. Whoever swaps taken decides: the loop does it, or the
// caller has withdrawn it.
type job struct {
	do    func(tx) error
	taken atomic.Bool
	done  chan error
}

func newGroup(db *sql.DB, d dialect, source string) *group {
	g := &group{db: db, dialect: d, source: source, jobs: make(chan *job), stop: make(chan struct{})}
	g.stopped.Go(g.loop)
	return g
}

// close waits for the commit in hand; what comes later gets errClosed.
func (g *group) close() {
	g.once.Do(func() { close(g.stop) })
	g.stopped.Wait()
}

// do answers once the write is committed, or has left nothing behind. The end
// of ctx withdraws a write that waits; it does not interrupt one that has
// begun, because SQLite would roll back the writes of others with it.
func (g *group) do(ctx context.Context, do func(context.Context, tx) error) error {
	whole := context.WithoutCancel(ctx)
	j := &job{do: func(t tx) error { return do(whole, t) }, done: make(chan error, 1)}
	select {
	case g.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-g.stop:
		return errClosed
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-j.done // it is being written: the answer is a moment away, and true
	}
}

func (g *group) loop() {
	for {
		select {
		case <-g.stop:
			return
		case j := <-g.jobs:
			g.commit(g.gather(j))
		}
	}
}

// gather takes the writes that wait already, at most groupSize.
func (g *group) gather(first *job) []*job {
	jobs := []*job{first}
	for len(jobs) < groupSize {
		select {
		case j := <-g.jobs:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// commit does the jobs in one transaction and answers each: its own error,
// or, where the transaction as a whole was lost, that error for all.
func (g *group) commit(jobs []*job) {
	results := make(map[*job]error, len(jobs))
	lost := g.try(jobs, results)
	for j, err := range results {
		if err == nil {
			err = lost
		}
		j.done <- err
	}
}

func (g *group) try(jobs []*job, results map[*job]error) (lost error) {
	t, err := g.db.BeginTx(context.Background(), nil)
	if err != nil {
		for _, j := range jobs {
			if j.taken.CompareAndSwap(false, true) {
				results[j] = fmt.Errorf("begin: %w", err)
			}
		}
		return nil
	}
	defer t.Rollback() //nolint:errcheck // after a commit it does nothing, after an error all are told of that error
	useful := false
	for _, j := range jobs {
		if !j.taken.CompareAndSwap(false, true) {
			continue
		}
		if lost != nil {
			results[j] = lost
			continue
		}
		results[j], lost = g.one(tx{t, g.dialect, g.source}, j)
		useful = useful || results[j] == nil
	}
	if lost != nil || !useful {
		return lost
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// one does a job in its own savepoint.
func (g *group) one(t tx, j *job) (own, lost error) {
	ctx := context.Background()
	if _, err := t.exec(ctx, "SAVEPOINT job"); err != nil {
		return err, err
	}
	own = j.do(t)
	if own != nil {
		// On a full disk and the like SQLite has rolled everything back, and this fails.
		if _, err := t.exec(ctx, "ROLLBACK TO job"); err != nil {
			return own, own
		}
	}
	if _, err := t.exec(ctx, "RELEASE job"); err != nil {
		return err, err
	}
	return own, nil
}
