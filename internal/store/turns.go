package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// turns tells whether a change is one that a person must have seen who acts on
// the run. Tasks that end as failures are found by their own versions.
func (c Change) turns() bool {
	if len(c.NewTasks) > 0 || c.Run != nil && (c.Run.To != "" || c.Run.Control != nil) {
		return true
	}
	for i := range c.Tasks {
		if c.Tasks[i].Decision != nil {
			return true
		}
	}
	return false
}

func turn(ctx context.Context, t tx, run lockedRun) error {
	_, err := t.exec(ctx, "UPDATE runs SET turned = ? WHERE id = ?", run.version, run.id)
	return err
}

// unturned returns nil where a run has taken no turn after the version that was
// seen (0 = nobody asks), else a CodeConflict that says how it stands now.
func unturned(ctx context.Context, t tx, run lockedRun, seen int64) error {
	if seen == 0 {
		return nil
	}
	before := run.version - 1
	if seen < 0 || seen > before {
		return restart.Errorf(restart.CodeConflict, "run %s has no version %d: it is at %d", run.id, seen, before).
			WithHint("look at it again: restartilka show %s", run.id)
	}
	const most = 5 // hosts that are named
	rows, err := t.rows(ctx, "SELECT host, state FROM tasks WHERE run_id = ? AND version > ? AND state IN ("+taskStates(restart.TaskState.Failure)+") ORDER BY position, attempt LIMIT ?",
		run.id, seen, most+1)
	bad, err := collect(rows, err, func(r *sql.Rows) (string, error) {
		var host, state string
		err := r.Scan(&host, &state)
		return host + " is " + state, err
	})
	if err != nil || run.turned <= seen && len(bad) == 0 {
		return err
	}
	if len(bad) > most {
		bad = append(bad[:most], "and more")
	}
	now := fmt.Sprintf("it is %s now", run.state)
	if run.control != restart.ControlNone {
		now += fmt.Sprintf(", %s asked for", run.control)
	}
	if len(bad) > 0 {
		now += "; " + strings.Join(bad, ", ")
	}
	return restart.Errorf(restart.CodeConflict, "run %s has changed since you looked at it (version %d): %s", run.id, seen, now).
		WithHint("look at it again, then decide: restartilka show %s", run.id)
}

// Unturned returns nil where a run has taken no turn after the version that was
// seen (0 = any), else a CodeConflict that says how it stands: for what changes
// nothing of the run itself.
func (s *Store) Unturned(ctx context.Context, runID string, seen int64) error {
	if seen == 0 {
		return nil
	}
	return s.read(ctx, "compare versions", func(ctx context.Context, t tx) error {
		run := lockedRun{id: runID}
		err := t.row(ctx, "SELECT version + 1, turned, state, control FROM runs WHERE id = ?", runID).Scan(&run.version, &run.turned, &run.state, &run.control)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("run", runID)
		}
		if err != nil {
			return err
		}
		return unturned(ctx, t, run, seen)
	})
}

// decideTask lays a person's decision beside an unknown task, once.
func decideTask(ctx context.Context, t tx, task restart.Task, state restart.TaskState, d restart.Decision) error {
	if state != restart.TaskUnknown {
		return restart.Errorf(restart.CodeConflict, "task %s is %s: only unknown ones are decided", task.ID, state)
	}
	n, err := t.exec(ctx, "UPDATE tasks SET verdict = ?, decided_by = ?, decided_why = ?, decided_at = ? WHERE id = ? AND verdict = ''",
		string(d.Verdict), d.By, d.Reason, micros(d.At), task.ID)
	if err == nil && n != 1 {
		err = restart.Errorf(restart.CodeConflict, "task %s is decided already", task.ID)
	}
	return err
}

// loadChildren lists the runs that were made from one, the oldest first;
// drafts are left out.
func loadChildren(ctx context.Context, t tx, id string) ([]restart.Child, error) {
	rows, err := t.rows(ctx, "SELECT id, work, state, actor FROM runs WHERE parent = ? AND parent <> '' AND state <> 'draft' ORDER BY id LIMIT 100", id)
	return collect(rows, err, func(r *sql.Rows) (c restart.Child, err error) {
		return c, r.Scan(&c.ID, &c.Work, &c.State, &c.Actor)
	})
}
