package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	silenceColumns = "s.run_id, s.task_id, s.host, s.system, s.alerts, s.state, s.foreign_id, s.failure, s.asked_at, s.ends_at"
	openSilence    = "s.state IN ('asked', 'placed')"
)

// PlacedSilence is one with what a record of it says of its run.
type PlacedSilence struct {
	restart.Silence
	Actor, Service, Environment string
	Attempt                     int
}

// AskSilence stores that a system is about to be asked to be silent. again tells
// that the task has had one there before, which may be there still: the row is
// of both then, and knows the id of none.
func (s *Store) AskSilence(ctx context.Context, a restart.Silence) (again bool, err error) {
	alerts, err := toJSON(a.Alerts)
	if err != nil {
		return false, err
	}
	err = s.write(ctx, "store a silence", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM silences WHERE task_id = ? AND system = ? AND state IN ('refused', 'lifted')", a.Task, a.System); err != nil {
			return err
		}
		n, err := t.exec(ctx, "UPDATE silences SET state = 'asked', foreign_id = '', failure = '', alerts = ?, asked_at = $now, ends_at = ? WHERE task_id = ? AND system = ?",
			alerts, micros(a.EndsAt), a.Task, a.System)
		if again = n > 0; again || err != nil {
			return err
		}
		_, err = t.exec(ctx, "INSERT INTO silences (task_id, system, run_id, host, alerts, state, foreign_id, failure, asked_at, ends_at) VALUES (?, ?, ?, ?, ?, 'asked', '', '', $now, ?)",
			a.Task, a.System, a.Run, a.Host, alerts, micros(a.EndsAt))
		return err
	})
	return again, err
}

// SettleSilence notes what became of a silence, by its State, Foreign and
// Failure, with the records of that. Where it has moved on meanwhile nothing is
// noted: CodeConflict.
func (s *Store) SettleSilence(ctx context.Context, a restart.Silence, records ...audit.Record) error {
	return s.write(ctx, "note what became of a silence", func(ctx context.Context, t tx) error {
		var from []any
		for _, state := range restart.SilenceStates() {
			if state.CanBecome(a.State) {
				from = append(from, string(state))
			}
		}
		if len(from) == 0 {
			return restart.Errorf(restart.CodeConflict, "a silence becomes nothing like %s", restart.Quote(string(a.State)))
		}
		args := append([]any{string(a.State), a.Foreign, a.Failure, a.Task, a.System}, from...)
		n, err := t.exec(ctx, "UPDATE silences SET state = ?, foreign_id = ?, failure = ? WHERE task_id = ? AND system = ? AND state IN ("+marks(len(from))+")", args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return restart.Errorf(restart.CodeConflict, "the silence of task %s in %s has moved on", a.Task, restart.Quote(a.System))
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// SilenceFailed notes why an open silence is not placed, or not lifted yet.
func (s *Store) SilenceFailed(ctx context.Context, a restart.Silence, records ...audit.Record) error {
	return s.write(ctx, "note what is wrong with a silence", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE silences SET failure = ? WHERE task_id = ? AND system = ? AND state IN ('asked', 'placed')", a.Failure, a.Task, a.System)
		if err != nil || n == 0 {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// OpenSilences lists what is, or may be, silent because of a task.
func (s *Store) OpenSilences(ctx context.Context, task string) (out []PlacedSilence, err error) {
	err = s.ask(ctx, "list the silences of a task", func(ctx context.Context, t tx) error {
		out, err = placedSilences(ctx, t, "s.task_id = ? AND "+openSilence+" ORDER BY s.system", task)
		return err
	})
	return out, err
}

// LeftSilences lists those that stand for nothing any more: their task is over,
// or has not begun within grace of being silenced, or they have ended by
// themselves. Of each system up to limit, so that one of which nothing can be
// lifted hides nothing of another; before those that could not be lifted, of
// which it is a matter of luck which come, those that were not tried.
func (s *Store) LeftSilences(ctx context.Context, grace time.Duration, limit int) (out []PlacedSilence, err error) {
	idle, args := idleSilence(grace)
	where := `(s.task_id, s.system) IN (SELECT task_id, system FROM (
			SELECT s.task_id, s.system, row_number() OVER (PARTITION BY s.system ORDER BY CASE WHEN s.failure = '' THEN 0 ELSE 1 END, random()) AS place
			FROM silences s LEFT JOIN tasks t ON t.id = s.task_id WHERE ` + openSilence + " AND (s.ends_at <= $now OR " + idle + ")) AS due WHERE place <= ?) ORDER BY s.asked_at"
	args = append(args, page(limit))
	err = s.ask(ctx, "list silences that are left", func(ctx context.Context, t tx) error {
		out, err = placedSilences(ctx, t, where, args...)
		return err
	})
	return out, err
}

// idleSilence is the condition that a silence s stands for nothing that its task
// t does, with its arguments.
func idleSilence(grace time.Duration) (where string, args []any) {
	for _, state := range restart.TaskStates() {
		if state.Final() {
			args = append(args, string(state))
		}
	}
	where = "(t.id IS NULL OR t.state IN (" + marks(len(args)) + ") OR (t.state = 'planned' AND s.asked_at <= $now - ?))"
	return where, append(args, grace.Microseconds())
}

// SilenceCounts tell how many silences of ours stand in one system, or may.
type SilenceCounts struct {
	Held  int64 // for a task in hand, or about to begin
	Due   int64 // of a task that is over: alerts are silent that should not be
	Ended int64 // by themselves; that they have, or what they left behind, is to be dealt with still
}

// CountSilences counts them by system; one with none is not among them. grace is
// that of LeftSilences.
func (s *Store) CountSilences(ctx context.Context, grace time.Duration) (out map[string]SilenceCounts, err error) {
	idle, args := idleSilence(grace)
	err = s.ask(ctx, "count silences", func(ctx context.Context, t tx) error {
		out = map[string]SilenceCounts{}
		rows, err := t.rows(ctx, `SELECT s.system, count(*), SUM(CASE WHEN s.ends_at <= $now THEN 1 ELSE 0 END), SUM(CASE WHEN s.ends_at > $now AND `+idle+` THEN 1 ELSE 0 END)
			FROM silences s LEFT JOIN tasks t ON t.id = s.task_id WHERE `+openSilence+" GROUP BY s.system", args...)
		type one struct {
			system string
			SilenceCounts
		}
		all, err := collect(rows, err, func(r *sql.Rows) (x one, err error) {
			var open int64
			err = r.Scan(&x.system, &open, &x.Ended, &x.Due)
			x.Held = open - x.Ended - x.Due
			return x, err
		})
		for _, x := range all {
			out[x.system] = x.SilenceCounts
		}
		return err
	})
	return out, err
}

func placedSilences(ctx context.Context, t tx, where string, args ...any) ([]PlacedSilence, error) {
	rows, err := t.rows(ctx, "SELECT "+silenceColumns+`, runs.actor, runs.service, runs.environment, COALESCE(t.attempt, 0)
		FROM silences s JOIN runs ON runs.id = s.run_id LEFT JOIN tasks t ON t.id = s.task_id WHERE `+where, args...)
	return collect(rows, err, func(r *sql.Rows) (p PlacedSilence, err error) {
		p.Silence, err = scanSilence(r, &p.Actor, &p.Service, &p.Environment, &p.Attempt)
		return p, err
	})
}

// mostSilences bounds those that come with a run.
const mostSilences = 200

// loadSilences lists the silences of a run, the newest first.
func loadSilences(ctx context.Context, t tx, run string) ([]restart.Silence, error) {
	rows, err := t.rows(ctx, "SELECT "+silenceColumns+" FROM silences s WHERE s.run_id = ? ORDER BY s.asked_at DESC, s.task_id, s.system LIMIT ?", run, mostSilences)
	return collect(rows, err, func(r *sql.Rows) (restart.Silence, error) { return scanSilence(r) })
}

func scanSilence(r *sql.Rows, more ...any) (a restart.Silence, err error) {
	var alerts string
	var asked, ends int64
	if err := r.Scan(append([]any{&a.Run, &a.Task, &a.Host, &a.System, &alerts, &a.State, &a.Foreign, &a.Failure, &asked, &ends}, more...)...); err != nil {
		return a, err
	}
	a.AskedAt, a.EndsAt = fromMicros(asked), fromMicros(ends)
	return a, json.Unmarshal([]byte(alerts), &a.Alerts)
}
