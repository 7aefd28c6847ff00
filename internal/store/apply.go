package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// lockedRun is what a write has to know of the run whose row it has locked.
type lockedRun struct {
	id, service, environment string
	actor                    string // who asked for it
	group                    string // what its lock is of; "" = the whole environment
	state                    restart.RunState
	control                  restart.Control
	version                  int64 // already raised for this write
	turned                   int64 // the version of its last turn, before this write
	now                      int64 // the database's clock
}

// lockRun raises the run's version, by which it locks the row until the end
// of the transaction, and compares the fence where there is one.
func lockRun(ctx context.Context, t tx, id string, fence *Fence) (lockedRun, error) {
	run := lockedRun{id: id}
	text := "UPDATE runs SET version = version + 1 WHERE id = ?"
	args := []any{id}
	if fence != nil {
		text += " AND owner = ? AND epoch = ?"
		args = append(args, fence.Owner, fence.Epoch)
	}
	err := t.row(ctx, text+" RETURNING version, turned, state, control, service, environment, actor, CASE WHEN holds = 'group' THEN host_group ELSE '' END, $now", args...).
		Scan(&run.version, &run.turned, &run.state, &run.control, &run.service, &run.environment, &run.actor, &run.group, &run.now)
	if !errors.Is(err, sql.ErrNoRows) {
		return run, err
	}
	if fence == nil {
		return run, notFound("run", id)
	}
	return run, staleFence(ctx, t, id, *fence)
}

// staleFence says who has the run instead, or that there is no such run.
func staleFence(ctx context.Context, t tx, id string, fence Fence) error {
	var owner string
	var epoch int64
	err := t.row(ctx, "SELECT owner, epoch FROM runs WHERE id = ?", id).Scan(&owner, &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return notFound("run", id)
	}
	if err != nil {
		return err
	}
	by := "nobody"
	if owner != "" {
		by = restart.Quote(owner)
	}
	return restart.Errorf(restart.CodeStaleEpoch, "run %s is held by %s at epoch %d, no longer by %s at epoch %d", id, by, epoch, restart.Quote(fence.Owner), fence.Epoch)
}

// Apply makes a change, whole or not at all, and returns the run's new version.
//
// A run takes a turn when its state or what people wish of it changes, when a
// task is decided or gets another attempt, and when a task ends as a failure
// (restart.TaskState.Failure). Phases, samples and successes are none.
//
// Errors: CodeNotFound (no such run or task), CodeStaleEpoch (another server
// has claimed the run), CodeConflict (From does not fit, the table forbids a
// step, a final run would keep active tasks, the run has taken another turn
// than Seen knows, the task or the approval is decided already, the draft is
// planned for a time to come), CodePlanChanged
// (see Alone, and an approval of another plan), CodeForbidden (an approval of
// one's own run), CodeLocked (another run holds the service, or works on it on
// that host: the error names it), CodeInvalid, CodeDiskFull and CodeUnavailable.
func (s *Store) Apply(ctx context.Context, c Change) (version int64, err error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	var busy *restart.Task // whose activation met the constraint
	err = s.write(ctx, "change run "+c.RunID, func(ctx context.Context, t tx) error {
		run, err := lockRun(ctx, t, c.RunID, c.Fence)
		if err != nil {
			return err
		}
		version = run.version
		if c.Going && (run.state != restart.RunRunning || run.control != restart.ControlNone) {
			return restart.Errorf(restart.CodeConflict, "run %s does not go on: it is %s, or is to be stopped", run.id, run.state)
		}
		if err := unturned(ctx, t, run, c.Seen); err != nil {
			return err
		}
		at := run.now
		if !c.At.IsZero() {
			at = micros(c.At)
		}
		if c.Alone != nil {
			if err := alone(ctx, t, run, *c.Alone); err != nil {
				return err
			}
		}
		switch {
		case c.Schedule != "":
			err = startSchedule(ctx, t, c.Schedule, run.id, at)
		case run.state == restart.RunDraft && c.Run != nil && c.Run.To != "":
			err = unplanned(ctx, t, run.id)
		}
		if err != nil {
			return err
		}
		if c.Hold {
			if err := holdService(ctx, t, run, at); err != nil {
				return err
			}
		}
		if err := insertTasks(ctx, t, run, c.NewTasks); err != nil {
			return err
		}
		if busy, err = s.changeTasks(ctx, t, run, c.Tasks); err != nil {
			return err
		}
		if err := c.CheckApproval(run.state); err != nil {
			return err
		}
		if c.BreakGlass != nil {
			if err := breakGlass(ctx, t, run, *c.BreakGlass, at); err != nil {
				return err
			}
		}
		if c.Approval != nil {
			if err := approval(ctx, t, run, c, at); err != nil {
				return err
			}
		}
		if c.Run != nil {
			if err := s.changePlan(ctx, t, run, c.Run.Plan); err != nil {
				return err
			}
			if err := changeRun(ctx, t, run, *c.Run, at); err != nil {
				return err
			}
		}
		if c.turns() {
			if err := turn(ctx, t, run); err != nil {
				return err
			}
		}
		if c.Release {
			if err := releaseService(ctx, t, run.id); err != nil {
				return err
			}
		}
		if err := insertMessages(ctx, t, c.Messages, at); err != nil {
			return err
		}
		return insertRecords(ctx, t, c.Records, at)
	})
	if busy != nil && err != nil {
		err = s.activeElsewhere(ctx, c.RunID, busy.Host, err)
	}
	if err != nil {
		return 0, err
	}
	return version, nil
}

// changeRun moves the run, on condition of the state that lockRun saw.
func changeRun(ctx context.Context, t tx, run lockedRun, c RunChange, at int64) error {
	if err := among(run.state, c.From); err != nil {
		return restart.Errorf(restart.CodeConflict, "run %s is %s, not %s", run.id, run.state, err.Error())
	}
	var sets []string
	var args []any
	set := func(text string, values ...any) { sets, args = append(sets, text), append(args, values...) }
	if c.To != "" {
		if err := run.state.Transition(c.To); err != nil {
			return err
		}
		set("state = ?", string(c.To))
	}
	if c.To != "" || c.Cause != "" {
		set("cause = ?", string(c.Cause))
	}
	if c.To != "" || c.Explanation != "" || c.Explained {
		set("explanation = ?", c.Explanation)
	}
	if c.SetStarted {
		set("started_at = COALESCE(started_at, ?)", at)
	}
	if c.SetFinished {
		set("finished_at = ?", at)
	}
	ends := c.To != "" && c.To.Final()
	switch {
	case ends:
		set("control = ''")
	case c.Control != nil && run.control != restart.ControlAbort && run.control != restart.ControlForceAbort:
		set("control = ?", string(*c.Control))
	}
	if c.Acknowledged != nil {
		set("acknowledged = ?", *c.Acknowledged)
	}
	if c.Held != nil {
		set("held = ?", toInt(*c.Held))
	}
	if ends || c.ReleaseLease {
		set("owner = '', lease_until = 0")
	}
	if len(sets) > 0 {
		args = append(args, run.id, string(run.state))
		n, err := t.exec(ctx, "UPDATE runs SET "+strings.Join(sets, ", ")+" WHERE id = ? AND state = ?", args...)
		if err != nil {
			return err
		}
		if n != 1 {
			return restart.Errorf(restart.CodeConflict, "run %s is no longer %s", run.id, run.state)
		}
	}
	if !ends {
		return nil
	}
	var active int
	if err := t.row(ctx, "SELECT count(*) FROM tasks WHERE run_id = ? AND state IN ("+activeStates()+")", run.id).Scan(&active); err != nil {
		return err
	}
	if active > 0 {
		return restart.Errorf(restart.CodeConflict, "run %s can't become %s while %d of its tasks may be running", run.id, c.To, active)
	}
	if err := countEnd(ctx, t, run.id); err != nil {
		return err
	}
	return releaseService(ctx, t, run.id)
}

// changePlan replaces the plan of a draft: what was shown, as it was confirmed.
func (s *Store) changePlan(ctx context.Context, t tx, run lockedRun, plan *restart.Plan) error {
	if plan == nil {
		return nil
	}
	if run.state != restart.RunDraft {
		return restart.Errorf(restart.CodeConflict, "the plan of run %s is frozen: it is %s", run.id, run.state)
	}
	packed, err := s.packPlan(plan)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO plans (run_id, plan) VALUES (?, ?) ON CONFLICT (run_id) DO UPDATE SET plan = excluded.plan", run.id, packed)
	return err
}

// taskBatch is how many tasks one statement names.
const taskBatch = 500

// changeTasks moves tasks of the run. Where the constraint of one active task
// per service and host refuses one, it is returned beside the error. Hosts are
// taken by name, so that two runs over the same hosts can't wait for each other.
func (s *Store) changeTasks(ctx context.Context, t tx, run lockedRun, changes []TaskChange) (*restart.Task, error) {
	tasks, err := findTasks(ctx, t, run.id, changes)
	if err != nil {
		return nil, err
	}
	byHost := slices.Clone(changes)
	slices.SortStableFunc(byHost, func(a, b TaskChange) int { return strings.Compare(tasks[a.ID].Host, tasks[b.ID].Host) })
	for _, c := range byHost {
		task, ok := tasks[c.ID]
		if !ok {
			return nil, notFound("task", c.ID)
		}
		err := s.changeTask(ctx, t, run, task, c)
		if faultOf(err) == faultUnique {
			return &task, err
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// findTasks reads the host and state of the tasks to change, by id.
func findTasks(ctx context.Context, t tx, runID string, changes []TaskChange) (map[string]restart.Task, error) {
	tasks := make(map[string]restart.Task, len(changes))
	for batch := range slices.Chunk(changes, taskBatch) {
		args := []any{runID}
		for _, c := range batch {
			args = append(args, c.ID)
		}
		rows, err := t.rows(ctx, "SELECT id, host, state FROM tasks WHERE run_id = ? AND id IN ("+marks(len(batch))+")", args...)
		found, err := collect(rows, err, func(r *sql.Rows) (task restart.Task, err error) {
			err = r.Scan(&task.ID, &task.Host, &task.State)
			return task, err
		})
		if err != nil {
			return nil, err
		}
		for _, task := range found {
			tasks[task.ID] = task
		}
	}
	return tasks, nil
}

func (s *Store) changeTask(ctx context.Context, t tx, run lockedRun, task restart.Task, c TaskChange) error {
	to, err := walk(c.ID, task.State, c.From, c.Path)
	if err != nil {
		return err
	}
	var held any // unchanged
	switch {
	case to == restart.TaskUnreachable: // nothing was sent, so there is nothing to forget
		held = 0
	case slices.Contains(c.Path, restart.TaskDispatching):
		held = 1
	}
	var drained any
	if c.Drained != nil {
		drained = toInt(*c.Drained)
	}
	text := `UPDATE tasks SET state = ?, version = ?,
		cause = COALESCE(NULLIF(?, ''), cause), phase = COALESCE(NULLIF(?, ''), phase), error = COALESCE(NULLIF(?, ''), error),
		exit_code = COALESCE(?, exit_code), started_at = COALESCE(?, started_at), finished_at = COALESCE(?, finished_at),
		drained = COALESCE(?, drained), held = COALESCE(?, held)
		WHERE id = ? AND state = ?`
	args := []any{
		string(to), run.version, c.Cause, c.Phase, c.Error, maybe(c.ExitCode), maybeMicros(c.StartedAt), maybeMicros(c.FinishedAt),
		drained, held, c.ID, string(task.State),
	}
	if c.Version != 0 {
		text, args = text+" AND version = ?", append(args, c.Version)
	}
	n, err := t.exec(ctx, text, args...)
	if err != nil {
		return err
	}
	if n != 1 {
		return restart.Errorf(restart.CodeConflict, "task %s is no longer %s, or has changed since", c.ID, task.State)
	}
	if countsTask(to) && !task.State.Final() {
		if err := countTask(ctx, t, c.ID); err != nil {
			return err
		}
	}
	if c.Decision != nil {
		if err := decideTask(ctx, t, task, to, *c.Decision); err != nil {
			return err
		}
	}
	if c.Envelope == nil && c.Detail == nil {
		return nil
	}
	return s.putDetail(ctx, t, c.ID, c.Envelope, c.Detail)
}

// activeElsewhere says who works on the service on that host.
func (s *Store) activeElsewhere(ctx context.Context, runID, host string, cause error) error {
	var id, actor, service string
	err := s.ask(ctx, "find who works on a host", func(ctx context.Context, t tx) error {
		return t.row(ctx, `SELECT runs.id, runs.actor, runs.service FROM tasks JOIN runs ON runs.id = tasks.run_id
			WHERE tasks.host = ? AND tasks.state IN (`+activeStates()+`) AND tasks.service = (SELECT service FROM runs WHERE id = ?)`, host, runID).
			Scan(&id, &actor, &service)
	})
	if err != nil { // it has ended in the meantime
		return restart.Errorf(restart.CodeLocked, "another run was working on this service on host %s", host).WithHint("ask again").Because(cause)
	}
	return restart.Errorf(restart.CodeLocked, "run %s by %s is working on %s on host %s", id, restart.Quote(actor), service, host).
		WithHint("wait for it, or look: restartilka show %s", id).Because(cause)
}

// among returns nil where wanted is empty or has state, else an error whose
// text lists what was wanted.
func among[S ~string](state S, wanted []S) error {
	if len(wanted) == 0 || slices.Contains(wanted, state) {
		return nil
	}
	words := make([]string, len(wanted))
	for i, w := range wanted {
		words[i] = string(w)
	}
	return fmt.Errorf("%s", strings.Join(words, " or "))
}

// activeStates lists the active states of a task as SQL literals.
func activeStates() string { return taskStates(restart.TaskState.Active) }

func taskStates(fits func(restart.TaskState) bool) string {
	var out []string
	for _, state := range restart.TaskStates() {
		if fits(state) {
			out = append(out, "'"+string(state)+"'")
		}
	}
	return strings.Join(out, ", ")
}
