package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// draftLife is how long a plan that nobody has confirmed is kept.
const draftLife = 24 * time.Hour

// CreateRun drops drafts older than a day but for those that wait as schedules, and stores a run as draft or queued, with its plan,
// its planned tasks and, unless it is empty, the body of its scenario.
//
// With an idempotency key that the same actor has used before, nothing is
// written and the run that was made then is returned; where that run is for
// something else, the error is CodeConflict.
func (s *Store) CreateRun(ctx context.Context, run restart.Run, idempotencyKey string, scenarioBody []byte, records []audit.Record) (existing *restart.Run, err error) {
	if err := checkRun(run, idempotencyKey, scenarioBody); err != nil {
		return nil, err
	}
	existing, err = s.runByKey(ctx, run, idempotencyKey)
	if existing != nil || err != nil {
		return existing, err
	}
	plan, err := s.packPlan(run.Plan)
	if err != nil {
		return nil, err
	}
	params, err := toJSON(run.Params)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "create run "+run.ID, func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM runs WHERE state = 'draft' AND created_at < $now - ? AND NOT EXISTS (SELECT 1 FROM schedules WHERE schedules.draft = runs.id AND schedules.ended_at = 0)", draftLife.Microseconds()); err != nil {
			return err
		}
		if len(scenarioBody) > 0 {
			if err := s.putScenario(ctx, t, run.Digest, run.Scenario, 0, scenarioBody); err != nil {
				return err
			}
		}
		if err := insertRun(ctx, t, run, params, idempotencyKey); err != nil {
			return err
		}
		if plan != nil {
			if _, err := t.exec(ctx, "INSERT INTO plans (run_id, plan) VALUES (?, ?)", run.ID, plan); err != nil {
				return err
			}
		}
		locked := lockedRun{id: run.ID, service: run.Service, version: 1}
		if err := insertTasks(ctx, t, locked, run.Tasks); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(run.CreatedAt))
	})
	if idempotencyKey != "" && faultOf(err) == faultUnique { // the same request, twice at once
		if existing, lookup := s.runByKey(ctx, run, idempotencyKey); existing != nil || lookup != nil {
			return existing, lookup
		}
	}
	return nil, err
}

// insertRun stores a run's own row, not started yet.
func insertRun(ctx context.Context, t tx, run restart.Run, params, key string) error {
	_, err := t.exec(ctx, `INSERT INTO runs (id, state, cause, explanation, control, scenario, digest, kind, service, environment, project,
		host_group, params, actor, via, reason, ticket, idempotency_key, parent, work, epoch, version, turned, owner, lease_until, acknowledged, held, created_at, holds,
		search, reason_key)
		VALUES (`+marks(20)+`, 0, 1, 1, '', 0, 0, 0, ?, ?, ?, ?)`,
		run.ID, string(run.State), string(run.Cause), run.Explanation, string(run.Control), run.Scenario, run.Digest, string(run.Kind), run.Service,
		run.Environment, run.Project, run.Group, params, run.Actor, run.Via, run.Reason, run.Ticket, key,
		run.Parent, string(run.Work), micros(run.CreatedAt), holds(run.Plan), searched(run.Reason, run.Ticket), reasonKey(run.Reason))
	return err
}

func checkRun(run restart.Run, key string, body []byte) error {
	if err := restart.CheckID(run.ID); err != nil {
		return err
	}
	switch run.State {
	case restart.RunDraft, restart.RunQueued:
	default:
		return restart.Errorf(restart.CodeInvalid, "a run does not begin as %s", restart.Quote(string(run.State)))
	}
	if run.CreatedAt.IsZero() {
		return restart.Errorf(restart.CodeInvalid, "run %s does not say when it was created", run.ID)
	}
	if len(key) > 128 {
		return restart.Errorf(restart.CodeInvalid, "the idempotency key has %d bytes; at most 128 are kept", len(key))
	}
	if len(body) > 0 {
		if err := checkScenario(run.Digest, body); err != nil {
			return err
		}
	}
	return checkNew(run.ID, run.Tasks)
}

// runByKey finds what the actor's key has made before, of the same request; nil
// where nothing.
func (s *Store) runByKey(ctx context.Context, run restart.Run, key string) (*restart.Run, error) {
	found, err := s.RunByKey(ctx, run.Actor, key)
	if err != nil || found == nil {
		return nil, err
	}
	if !sameRequest(*found, run) {
		return nil, OtherRequest(*found)
	}
	return found, nil
}

// OtherRequest is the refusal of an idempotency key that has made a run of
// another request.
func OtherRequest(before restart.Run) error {
	return restart.Errorf(restart.CodeConflict, "this idempotency key has made another run: %s", before.ID).WithHint("use a new key for a new request")
}

// sameRequest compares what was asked for: by the plans, which keep it, or else
// by what the runs themselves have of it.
func sameRequest(a, b restart.Run) bool {
	if a.Plan != nil && b.Plan != nil && !a.Plan.Request.Same(b.Plan.Request) {
		return false
	}
	return a.Service == b.Service && a.Environment == b.Environment && a.Scenario == b.Scenario && a.Reason == b.Reason && a.Parent == b.Parent && a.Work == b.Work &&
		maps.Equal(a.Params, b.Params)
}

// RunByKey finds the run that an actor's idempotency key has made; nil where
// none.
func (s *Store) RunByKey(ctx context.Context, actor, key string) (*restart.Run, error) {
	if key == "" {
		return nil, nil
	}
	var found *restart.Run
	err := s.read(ctx, "look for an earlier request", func(ctx context.Context, t tx) error {
		var id string
		err := t.row(ctx, "SELECT id FROM runs WHERE actor = ? AND idempotency_key = ? AND idempotency_key <> ''", actor, key).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		before, err := loadRun(ctx, t, id, 0, true)
		found = &before
		return err
	})
	return found, err
}

// DropDraft drops a draft that is no use any more, with its idempotency key,
// unless it was started or planned for a time to come meanwhile.
func (s *Store) DropDraft(ctx context.Context, id string) error {
	return s.write(ctx, "drop draft "+id, func(ctx context.Context, t tx) error {
		if state, err := lockDraft(ctx, t, id); err != nil || state != restart.RunDraft {
			return err
		}
		if err := unplanned(ctx, t, id); err != nil {
			if restart.CodeOf(err) == restart.CodeConflict {
				return nil
			}
			return err
		}
		_, err := t.exec(ctx, "DELETE FROM runs WHERE id = ? AND state = 'draft'", id)
		return err
	})
}

// holds says what the lock of a run with that plan is of.
func holds(plan *restart.Plan) string {
	if plan == nil {
		return string(restart.HoldsEnvironment)
	}
	return string(plan.Holds)
}

func (s *Store) packPlan(plan *restart.Plan) ([]byte, error) {
	if plan == nil {
		return nil, nil
	}
	b, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	return s.packer.pack(b)
}

// Run returns a run with its plan, all its tasks and the runs that were made
// from it, or CodeNotFound.
func (s *Store) Run(ctx context.Context, id string) (run restart.Run, err error) {
	err = s.read(ctx, "read run", func(ctx context.Context, t tx) error {
		if run, err = loadRun(ctx, t, id, 0, true); err != nil {
			return err
		}
		if run.BreakGlass {
			if run.GlassReview, err = glassReview(ctx, t, id); err != nil {
				return err
			}
		}
		if run.Silences() {
			if run.Silenced, err = loadSilences(ctx, t, id); err != nil {
				return err
			}
		}
		run.Children, err = loadChildren(ctx, t, id)
		return err
	})
	return run, err
}

// RunSince returns a run without its plan, and only the tasks that changed
// after version: what a live view needs that knows the run as of then.
func (s *Store) RunSince(ctx context.Context, id string, version int64) (run restart.Run, err error) {
	err = s.read(ctx, "read run", func(ctx context.Context, t tx) error {
		run, err = loadRun(ctx, t, id, version, false)
		return err
	})
	return run, err
}

const runColumns = `runs.id, runs.state, runs.cause, runs.explanation, runs.control, runs.scenario, runs.digest, runs.kind, runs.service, runs.environment,
	runs.project, runs.host_group, runs.params, runs.actor, runs.via, runs.reason, runs.ticket, runs.epoch, runs.version, runs.acknowledged, runs.held, runs.break_glass,
	runs.parent, runs.work, runs.created_at, runs.started_at, runs.finished_at, ` + approvalColumns

type scanner interface{ Scan(dest ...any) error }

func scanRun(row scanner) (run restart.Run, err error) {
	var params string
	var created, held, glass int64
	var started, finished sql.NullInt64
	var approval approvalRow
	err = row.Scan(append([]any{
		&run.ID, &run.State, &run.Cause, &run.Explanation, &run.Control, &run.Scenario, &run.Digest, &run.Kind, &run.Service, &run.Environment,
		&run.Project, &run.Group, &params, &run.Actor, &run.Via, &run.Reason, &run.Ticket, &run.Epoch, &run.Version, &run.Acknowledged, &held, &glass,
		&run.Parent, &run.Work, &created, &started, &finished,
	}, approval.into()...)...)
	if err != nil {
		return run, err
	}
	run.Held, run.BreakGlass, run.Approval = held == 1, glass == 1, approval.approval()
	run.CreatedAt, run.StartedAt, run.FinishedAt = fromMicros(created), fromMaybeMicros(started), fromMaybeMicros(finished)
	err = json.Unmarshal([]byte(params), &run.Params)
	return run, err
}

func loadRun(ctx context.Context, t tx, id string, since int64, withPlan bool) (restart.Run, error) {
	run, err := scanRun(t.row(ctx, "SELECT "+runColumns+" FROM runs WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return run, notFound("run", id)
	}
	if err != nil {
		return run, err
	}
	if withPlan {
		if run.Plan, err = loadPlan(ctx, t, id); err != nil {
			return run, err
		}
	}
	rows, err := t.rows(ctx, "SELECT "+taskColumns+" FROM tasks WHERE run_id = ? AND version > ? ORDER BY position, attempt", id, since)
	run.Tasks, err = collect(rows, err, scanTask)
	if run.Tasks == nil {
		run.Tasks = []restart.Task{} // "tasks": [] in JSON, not null
	}
	return run, err
}

func loadPlan(ctx context.Context, t tx, id string) (*restart.Plan, error) {
	var packed []byte
	err := t.row(ctx, "SELECT plan FROM plans WHERE run_id = ?", id).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	var plan restart.Plan
	return &plan, json.Unmarshal(b, &plan)
}

// SetControl leaves a person's wish on a run that is queued, running or
// paused, and returns the run. A wish to abort is not taken back by a weaker
// one (CodeConflict); the same wish again changes nothing but the trail.
func (s *Store) SetControl(ctx context.Context, runID string, c restart.Control, records ...audit.Record) (run restart.Run, err error) {
	return s.Wish(ctx, runID, c, 0, records...)
}

// Wish is SetControl by somebody who acts upon a version of the run: as
// Change.Seen says.
func (s *Store) Wish(ctx context.Context, runID string, c restart.Control, seen int64, records ...audit.Record) (run restart.Run, err error) {
	wishes := []restart.Control{restart.ControlNone, restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort}
	strength := slices.Index(wishes, c)
	if strength < 0 {
		return run, restart.Errorf(restart.CodeInvalid, "%s is not a wish that a run knows", restart.Quote(string(c)))
	}
	err = s.write(ctx, "ask of run "+runID, func(ctx context.Context, t tx) error {
		locked, err := lockRun(ctx, t, runID, nil)
		if err != nil {
			return err
		}
		switch locked.state {
		case restart.RunQueued, restart.RunRunning, restart.RunPaused:
		default:
			return restart.Errorf(restart.CodeConflict, "run %s is %s: there is nothing to stop", runID, locked.state)
		}
		if err := unturned(ctx, t, locked, seen); err != nil {
			return err
		}
		before := slices.Index(wishes, locked.control)
		if before >= slices.Index(wishes, restart.ControlAbort) && strength < before {
			return restart.Errorf(restart.CodeConflict, "run %s is being aborted; that is not taken back", runID)
		}
		if locked.state != restart.RunPaused || c != restart.ControlPause { // else it has what it wishes already
			if _, err := t.exec(ctx, "UPDATE runs SET control = ?, turned = version WHERE id = ?", string(c), runID); err != nil {
				return err
			}
		}
		if err := insertRecords(ctx, t, records, locked.now); err != nil {
			return err
		}
		run, err = loadRun(ctx, t, runID, 0, true)
		return err
	})
	return run, err
}
