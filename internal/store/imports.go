package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Bounds of what one host can make a server keep by telling of work that was
// done on the host itself.
const (
	// ImportsPerDay is how many tasks of one host are taken over in 24 hours.
	// More stay on the host until there is room again.
	ImportsPerDay = 200
	// ImportOutput is how much is kept of such a task's output, in bytes.
	ImportOutput = 4 << 20
)

// Import is a run that was begun, and has ended, on a host itself.
type Import struct {
	Run     restart.Run // final, with its plan and one task, which is final
	Detail  json.RawMessage
	Output  []protocol.Output // in order, from offset 0; at most ImportOutput bytes of data
	Records []audit.Record
	At      time.Time // when it was taken over
}

// ImportRun takes over a run that was made on a host: all of it with its audit
// records in one transaction. False means that it was taken over before.
// CodeConflict where the run's or the task's id stands for something else, which
// is left as it is; CodeBusy where the host has told of ImportsPerDay tasks
// within a day.
func (s *Store) ImportRun(ctx context.Context, in Import) (taken bool, err error) {
	if err := checkImport(in); err != nil {
		return false, err
	}
	run, task := in.Run, in.Run.Tasks[0]
	params, err := toJSON(run.Params)
	if err != nil {
		return false, err
	}
	plan, err := s.packPlan(run.Plan)
	if err != nil {
		return false, err
	}
	err = s.write(ctx, "take over run "+run.ID, func(ctx context.Context, t tx) error {
		known, err := s.known(ctx, t, in)
		if err != nil || known {
			taken = false
			return err
		}
		if err := insertRun(ctx, t, run, params, ""); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE runs SET epoch = 1, started_at = ?, finished_at = ? WHERE id = ?", maybeMicros(run.StartedAt), maybeMicros(run.FinishedAt), run.ID); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "INSERT INTO plans (run_id, plan) VALUES (?, ?)", run.ID, plan); err != nil {
			return err
		}
		if err := s.importTask(ctx, t, in, task); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "INSERT INTO local_tasks (host, task_id, imported_at) VALUES (?, ?, ?)", task.Host, task.ID, micros(in.At)); err != nil {
			return err
		}
		if err := countTask(ctx, t, task.ID); err != nil {
			return err
		}
		if err := countEnd(ctx, t, run.ID); err != nil {
			return err
		}
		taken = true
		return insertRecords(ctx, t, in.Records, micros(in.At))
	})
	if faultOf(err) == faultUnique { // another server did it at the same time
		return false, restart.Errorf(restart.CodeConflict, "run %s or its task is here already", run.ID).WithHint("it is asked again").Because(err)
	}
	return taken && err == nil, err
}

func checkImport(in Import) error {
	run := in.Run
	for _, err := range []error{restart.CheckID(run.ID), restart.CheckServiceName(run.Service), restart.CheckDigest(run.Digest)} {
		if err != nil {
			return err
		}
	}
	switch {
	case len(run.Tasks) != 1 || run.Plan == nil || !run.State.Final() || !run.Tasks[0].State.Final():
		return restart.Errorf(restart.CodeInvalid, "a run that is taken over has ended, and has a plan and one task")
	case run.CreatedAt.IsZero() || in.At.IsZero():
		return restart.Errorf(restart.CodeInvalid, "run %s does not say when it was made, or taken over", run.ID)
	case in.Detail != nil && !json.Valid(in.Detail):
		return restart.Errorf(restart.CodeInvalid, "the detail of run %s is not JSON", run.ID)
	}
	size := 0
	for _, o := range in.Output {
		size += len(o.Data)
	}
	if size > ImportOutput {
		return restart.Errorf(restart.CodeTooLarge, "the output of run %s has %d bytes; at most %d are kept", run.ID, size, ImportOutput)
	}
	fresh := run.Tasks[0]
	fresh.State = restart.TaskPlanned
	return checkNew(run.ID, []restart.Task{fresh})
}

// known tells whether the task was taken over from this host before.
func (s *Store) known(ctx context.Context, t tx, in Import) (bool, error) {
	task := in.Run.Tasks[0]
	var n, recent int
	err := t.row(ctx, "SELECT count(*) FROM local_tasks WHERE host = ? AND task_id = ?", task.Host, task.ID).Scan(&n)
	if err != nil || n > 0 {
		return true, err
	}
	if err := t.row(ctx, "SELECT (SELECT count(*) FROM runs WHERE id = ?) + (SELECT count(*) FROM tasks WHERE id = ?)", in.Run.ID, task.ID).Scan(&n); err != nil {
		return false, err
	}
	if n > 0 {
		return false, restart.Errorf(restart.CodeConflict, "host %s tells of run %s and task %s as made there, and one of them stands for something else here", task.Host, in.Run.ID, task.ID)
	}
	day := micros(in.At.Add(-24 * time.Hour))
	if err := t.row(ctx, "SELECT count(*) FROM local_tasks WHERE host = ? AND imported_at > ?", task.Host, day).Scan(&recent); err != nil {
		return false, err
	}
	if recent >= ImportsPerDay {
		return false, restart.Errorf(restart.CodeBusy, "host %s has told of %d tasks within a day; the others stay there until there is room again", task.Host, recent).
			WithHint("look at what is done on that host: restartilka-agent task")
	}
	return false, nil
}

func (s *Store) importTask(ctx context.Context, t tx, in Import, task restart.Task) error {
	run := lockedRun{id: in.Run.ID, service: in.Run.Service, version: 1}
	if err := insertTasks(ctx, t, run, in.Run.Tasks); err != nil {
		return err
	}
	_, err := t.exec(ctx, "UPDATE tasks SET state = ?, cause = ?, phase = ?, error = ?, exit_code = ?, drained = ?, started_at = ?, finished_at = ? WHERE id = ?",
		string(task.State), task.Cause, task.Phase, task.Error, maybe(task.ExitCode), toInt(task.Drained), maybeMicros(task.StartedAt), maybeMicros(task.FinishedAt), task.ID)
	if err != nil {
		return err
	}
	if in.Detail != nil {
		if err := s.putDetail(ctx, t, task.ID, nil, in.Detail); err != nil {
			return err
		}
	}
	end := int64(0)
	for _, o := range in.Output {
		from := end
		end += int64(len(o.Data)) + o.Truncated
		if err := s.insertChunks(ctx, t, task.ID, from, from, end, o.Data); err != nil {
			return err
		}
	}
	if end == 0 {
		return nil
	}
	_, err = t.exec(ctx, "INSERT INTO outputs (task_id, received) VALUES (?, ?)", task.ID, end)
	return err
}

// LocalHead gives how far a host's own chain of records was seen; the zero
// head = never.
func (s *Store) LocalHead(ctx context.Context, host string) (head protocol.ChainHead, err error) {
	err = s.ask(ctx, "read the head of a host's chain", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT seq, hash FROM local_chains WHERE host = ?", host).Scan(&head.Seq, &head.Hash)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return head, err
}

// MoveLocalHead notes that a host's chain was seen up to a head, with audit
// records beside it. It does nothing where the head is no longer the one it is
// moved from: another server has seen more.
func (s *Store) MoveLocalHead(ctx context.Context, host string, from, to protocol.ChainHead, records ...audit.Record) error {
	if err := restart.CheckHost(host); err != nil {
		return err
	}
	return s.write(ctx, "note the head of the chain of "+host, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, `INSERT INTO local_chains (host, seq, hash) VALUES (?, ?, ?)
			ON CONFLICT (host) DO UPDATE SET seq = excluded.seq, hash = excluded.hash WHERE local_chains.seq = ? AND local_chains.hash = ?`,
			host, to.Seq, to.Hash, from.Seq, from.Hash)
		if err != nil || n == 0 {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}
