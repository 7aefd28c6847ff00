package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// taskColumns are read by scanTask. A host that a task has left drained is no
// longer so once a later task by the same scenario has succeeded there and has
// not left it drained: a retry, or an undrain alone. That is looked up instead
// of stored, so that it can't be lost between two transactions.
const taskColumns = `id, run_id, host, position, batch, attempt, state, cause, phase, error, exit_code,
	CASE WHEN drained = 0 THEN 0 WHEN EXISTS (
		SELECT 1 FROM tasks AS later JOIN runs AS after_run ON after_run.id = later.run_id
		WHERE later.host = tasks.host AND later.service = tasks.service AND later.state = 'succeeded' AND later.drained = 0
		AND later.finished_at > tasks.finished_at AND after_run.digest = (SELECT digest FROM runs AS own_run WHERE own_run.id = tasks.run_id)
	) THEN 0 ELSE 1 END, started_at, finished_at, version, verdict, decided_by, decided_why, decided_at`

func scanTask(r *sql.Rows) (task restart.Task, err error) {
	var exit, started, finished sql.NullInt64
	var drained, decidedAt int64
	var decision restart.Decision
	err = r.Scan(&task.ID, &task.RunID, &task.Host, &task.Position, &task.Batch, &task.Attempt, &task.State, &task.Cause, &task.Phase, &task.Error,
		&exit, &drained, &started, &finished, &task.Version, &decision.Verdict, &decision.By, &decision.Reason, &decidedAt)
	if decision.Verdict != "" {
		decision.At = fromMicros(decidedAt)
		task.Decision = &decision
	}
	if exit.Valid {
		code := int(exit.Int64)
		task.ExitCode = &code
	}
	task.Drained = drained != 0
	task.StartedAt, task.FinishedAt = fromMaybeMicros(started), fromMaybeMicros(finished)
	return task, err
}

// Task returns one task of a run: CodeNotFound where the run has none of that id.
func (s *Store) Task(ctx context.Context, runID, taskID string) (task restart.Task, err error) {
	err = s.ask(ctx, "read task", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+taskColumns+" FROM tasks WHERE id = ? AND run_id = ?", taskID, runID)
		found, err := collect(rows, err, scanTask)
		if err == nil && len(found) == 0 {
			return notFound("task", taskID)
		}
		if err == nil {
			task = found[0]
		}
		return err
	})
	return task, err
}

// insertTasks adds planned tasks to a run, many in one statement.
func insertTasks(ctx context.Context, t tx, run lockedRun, tasks []restart.Task) error {
	for batch := range slices.Chunk(tasks, taskBatch) {
		args := make([]any, 0, len(batch)*8)
		for _, task := range batch {
			args = append(args, task.ID, run.id, run.service, task.Host, task.Position, task.Batch, task.Attempt, run.version)
		}
		rows := repeat("(?, ?, ?, ?, ?, ?, ?, 'planned', '', '', '', 0, ?, 0)", len(batch))
		_, err := t.exec(ctx, "INSERT INTO tasks (id, run_id, service, host, position, batch, attempt, state, cause, phase, error, drained, version, held) VALUES "+rows, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// putDetail stores a task's envelope, once, and what the agent said last.
func (s *Store) putDetail(ctx context.Context, t tx, taskID string, envelope []byte, detail json.RawMessage) error {
	packed, err := s.packer.pack(detail)
	if err != nil {
		return err
	}
	n, err := t.exec(ctx, `INSERT INTO task_details (task_id, envelope, detail) VALUES (?, ?, ?)
		ON CONFLICT (task_id) DO UPDATE SET envelope = COALESCE(task_details.envelope, excluded.envelope), detail = COALESCE(excluded.detail, task_details.detail)
		WHERE excluded.envelope IS NULL OR task_details.envelope IS NULL OR task_details.envelope = excluded.envelope`,
		taskID, maybeBytes(envelope), maybeBytes(packed))
	if err != nil {
		return err
	}
	if n == 0 {
		return restart.Errorf(restart.CodeConflict, "task %s has an envelope already: it is signed once", taskID)
	}
	return nil
}

// Progress stores what the agent said of a task that is active, under the
// fence of its run: the phase ("" = unchanged) and the detail (nil =
// unchanged). It is no transition; the run's version rises, so that live views
// see it. CodeConflict where the task is not active.
func (s *Store) Progress(ctx context.Context, fence Fence, taskID, phase string, detail json.RawMessage) error {
	if detail != nil && !json.Valid(detail) {
		return restart.Errorf(restart.CodeInvalid, "the detail of task %s is not JSON", restart.Quote(taskID))
	}
	return s.write(ctx, "store progress of task "+taskID, func(ctx context.Context, t tx) error {
		var runID string
		err := t.row(ctx, "SELECT run_id FROM tasks WHERE id = ?", taskID).Scan(&runID)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("task", taskID)
		}
		if err != nil {
			return err
		}
		run, err := lockRun(ctx, t, runID, &fence)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, "UPDATE tasks SET phase = COALESCE(NULLIF(?, ''), phase), version = ? WHERE id = ? AND state IN ("+activeStates()+")",
			phase, run.version, taskID)
		if err != nil {
			return err
		}
		if n == 0 {
			return restart.Errorf(restart.CodeConflict, "task %s is not active", taskID)
		}
		if detail == nil {
			return nil
		}
		return s.putDetail(ctx, t, taskID, nil, detail)
	})
}

// TaskDetail returns what the agent said last of a task: nil where nothing,
// CodeNotFound where there is no such task.
func (s *Store) TaskDetail(ctx context.Context, taskID string) (json.RawMessage, error) {
	packed, err := s.taskBlob(ctx, taskID, "detail")
	if err != nil {
		return nil, err
	}
	return unpack(packed)
}

// TaskDetails returns the details of the tasks of a run's first hosts, so many
// of them: by task, without those of which nothing is known.
func (s *Store) TaskDetails(ctx context.Context, runID string, hosts int) (map[string]json.RawMessage, error) {
	type detail struct {
		task   string
		packed []byte
	}
	var found []detail
	err := s.ask(ctx, "read details of run "+runID, func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT tasks.id, task_details.detail FROM tasks JOIN task_details ON task_details.task_id = tasks.id WHERE tasks.run_id = ? AND tasks.position < ? AND task_details.detail IS NOT NULL", runID, hosts)
		found, err = collect(rows, err, func(r *sql.Rows) (d detail, err error) {
			err = r.Scan(&d.task, &d.packed)
			return d, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(found))
	for _, d := range found {
		if out[d.task], err = unpack(d.packed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// TaskEnvelope returns a task's sealed envelope, byte for byte: nil where it
// has none yet, CodeNotFound where there is no such task.
func (s *Store) TaskEnvelope(ctx context.Context, taskID string) ([]byte, error) {
	return s.taskBlob(ctx, taskID, "envelope")
}

func (s *Store) taskBlob(ctx context.Context, taskID, column string) (b []byte, err error) {
	err = s.ask(ctx, "read "+column+" of task", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT task_details."+column+" FROM tasks LEFT JOIN task_details ON task_details.task_id = tasks.id WHERE tasks.id = ?", taskID).Scan(&b)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("task", taskID)
		}
		return err
	})
	return b, err
}

// Unreported lists tasks that are final and whose agent may still hold them:
// they were dispatched, and the agent has not been told to forget. Oldest
// first, those behind the id after, at most limit (1 to 200; 0 = 50).
func (s *Store) Unreported(ctx context.Context, after string, limit int) (tasks []restart.Task, err error) {
	err = s.ask(ctx, "list unreported tasks", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+taskColumns+" FROM tasks WHERE held = 1 AND state IN ("+taskStates(restart.TaskState.Final)+") AND id > ? ORDER BY id LIMIT ?", after, page(limit))
		tasks, err = collect(rows, err, scanTask)
		return err
	})
	return tasks, err
}

// MarkReported notes that the agents of these tasks were told to forget them.
// Tasks that are not final are left as they are.
func (s *Store) MarkReported(ctx context.Context, taskIDs []string) error {
	if len(taskIDs) == 0 {
		return nil
	}
	return s.write(ctx, "mark tasks as reported", func(ctx context.Context, t tx) error {
		for batch := range slices.Chunk(taskIDs, taskBatch) {
			args := make([]any, len(batch))
			for i, id := range batch {
				args[i] = id
			}
			if _, err := t.exec(ctx, "UPDATE tasks SET held = 0 WHERE held = 1 AND state IN ("+taskStates(restart.TaskState.Final)+") AND id IN ("+marks(len(batch))+")", args...); err != nil {
				return err
			}
		}
		return nil
	})
}
