package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// countsMigration is the migration that brought counts: of runs that are older,
// what it has added is filled in by fillHistory, once all migrations are made.
const countsMigration = 10

// Recount makes all counts anew from the runs that are there. Nothing has to:
// counts are kept as runs end.
func (s *Store) Recount(ctx context.Context) error {
	return s.write(ctx, "count all runs", func(ctx context.Context, t tx) error {
		if t.dialect.patience != "" {
			if _, err := t.exec(ctx, t.dialect.patience); err != nil {
				return err
			}
		}
		return recount(ctx, t)
	})
}

// fillHistory gives runs of before the migration what it has added.
func fillHistory(ctx context.Context, t tx) error {
	type told struct{ id, reason, ticket string }
	for after := ""; ; {
		rows, err := t.rows(ctx, "SELECT id, reason, ticket FROM runs WHERE id > ? ORDER BY id LIMIT 1000", after)
		runs, err := collect(rows, err, func(r *sql.Rows) (x told, err error) {
			err = r.Scan(&x.id, &x.reason, &x.ticket)
			return x, err
		})
		if err != nil {
			return err
		}
		for _, x := range runs {
			if _, err := t.exec(ctx, "UPDATE runs SET search = ?, reason_key = ? WHERE id = ?", searched(x.reason, x.ticket), reasonKey(x.reason), x.id); err != nil {
				return err
			}
			after = x.id
		}
		if len(runs) == 0 {
			return recount(ctx, t)
		}
	}
}

// recount goes service by service, so that it holds the runs of one at a time.
func recount(ctx context.Context, t tx) error {
	for _, text := range []string{
		"DELETE FROM run_counts", "DELETE FROM run_times", "DELETE FROM reason_counts", "DELETE FROM host_counts", "UPDATE runs SET again = 0 WHERE again <> 0",
		`INSERT INTO host_counts (week, host, environment, tasks, failed, took)
			SELECT week, host, environment, SUM(one), SUM(bad), SUM(took) FROM (SELECT ` + hostCount + ` WHERE ` + countedTask + `) AS done GROUP BY week, host, environment`,
	} {
		if _, err := t.exec(ctx, text); err != nil {
			return err
		}
	}
	rows, err := t.rows(ctx, "SELECT DISTINCT service FROM runs")
	services, err := collect(rows, err, func(r *sql.Rows) (s string, err error) {
		err = r.Scan(&s)
		return s, err
	})
	if err != nil {
		return err
	}
	n := newCounts()
	for _, service := range services {
		rows, err := t.rows(ctx, "SELECT "+endedColumns+" FROM runs WHERE runs.service = ? AND "+counted, service)
		runs, err := collect(rows, err, func(r *sql.Rows) (ended, error) { return scanEnded(r) })
		if err != nil {
			return err
		}
		for ids := range slices.Chunk(n.addAll(runs), taskBatch) {
			if _, err := t.exec(ctx, "UPDATE runs SET again = 1 WHERE id IN ("+marks(len(ids))+")", ids...); err != nil {
				return err
			}
		}
	}
	return n.write(ctx, t)
}

// addAll counts all runs of one service, and names those that did not help.
func (n counts) addAll(runs []ended) (unhelpful []any) {
	type place struct{ environment, group string }
	restarts, reasons := map[place][]ended{}, map[string][]ended{} // that were completed; by reason
	slices.SortFunc(runs, func(a, b ended) int { return int(a.finished - b.finished) })
	for _, e := range runs {
		n.add(e)
		if e.kind == restart.KindRestart && e.work == restart.WorkWhole && e.state == restart.RunCompleted {
			at := place{e.environment, e.group}
			restarts[at] = append(restarts[at], e)
		}
		if e.key == "" {
			continue
		}
		for _, before := range slices.Backward(reasons[e.key]) {
			if before.finished < e.finished && before.id < e.id && before.id >= e.lately() {
				n.reason(e)
				break
			}
		}
		reasons[e.key] = append(reasons[e.key], e)
	}
	again := map[string]bool{}
	for _, e := range runs {
		if !e.restarted() {
			continue
		}
		all := restarts[place{e.environment, e.group}]
		from, _ := slices.BinarySearchFunc(all, e.created-Soon.Microseconds()+1, func(x ended, at int64) int { return int(x.finished - at) })
		for _, before := range all[from:] {
			if before.finished > e.created {
				break
			}
			if !again[before.id] && before.id != e.id {
				again[before.id] = true
				n.again(before, before.finished)
				unhelpful = append(unhelpful, before.id)
			}
		}
	}
	return unhelpful
}
