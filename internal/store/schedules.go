package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// keepSchedules is how long a schedule is kept after its end; its run and its
// records are kept for longer.
const keepSchedules = 90 * 24 * time.Hour

const scheduleColumns = `id, run_id, draft, request, unticked, service, environment, host_group, scenario, digest, kind, hosts, start_at, start_until, zone, window_name,
	actor, via, created_at, state, code, why, ended_by, ended_at, restored, approval_digest, approval_rule, approval_verdict, approval_by, approval_at, approval_reason`

// AddSchedule stores a schedule with its plan, which was confirmed as a draft.
// Where the same draft was planned before, nothing is written, and that one is
// returned; one that was started or dropped meanwhile is CodeConflict. The draft
// stays while the schedule is open, and its key with it. Somebody who has most of
// them open gets no more: CodeTooMany. Schedules whose end is long ago are
// dropped.
func (s *Store) AddSchedule(ctx context.Context, p restart.Schedule, most int, messages []Message, records ...audit.Record) (existing *restart.Schedule, err error) {
	if err := checkSchedule(p, messages); err != nil {
		return nil, err
	}
	plan, err := s.packPlan(p.Plan)
	if err != nil {
		return nil, err
	}
	request, err := toJSON(requested{p.Request, p.Ticket})
	if err != nil {
		return nil, err
	}
	unticked, err := toJSON(p.Unticked)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "store schedule "+p.ID, func(ctx context.Context, t tx) error {
		existing = nil
		state, err := lockDraft(ctx, t, p.Draft)
		if err != nil {
			return err
		}
		if before, err := loadSchedule(ctx, t, "draft", p.Draft); err == nil {
			existing = &before
			return nil
		} else if restart.CodeOf(err) != restart.CodeNotFound {
			return err
		}
		if state != restart.RunDraft { // one that was dropped took its key along, which makes another run
			return restart.Errorf(restart.CodeConflict, "run %s is no plan that waits to be started", p.Draft).WithHint("make a new plan")
		}
		if t.dialect.lockName != "" { // of two at once, the second counts the first
			if _, err := t.exec(ctx, t.dialect.lockName, p.Actor); err != nil {
				return err
			}
		}
		var open int
		if err := t.row(ctx, "SELECT count(*) FROM schedules WHERE ended_at = 0 AND actor = ?", p.Actor).Scan(&open); err != nil {
			return err
		}
		if open >= most {
			return restart.Errorf(restart.CodeTooMany, "%s has %d planned runs already; at most %d may wait", p.Actor, open, most).WithHint("cancel some: restartilka planned cancel ID")
		}
		if _, err := t.exec(ctx, "DELETE FROM schedules WHERE ended_at <> 0 AND ended_at < $now - ?", keepSchedules.Microseconds()); err != nil {
			return err
		}
		var a restart.Approval
		if p.Approval != nil {
			a = *p.Approval
		}
		_, err = t.exec(ctx, "INSERT INTO schedules ("+scheduleColumns+", plan, held_until) VALUES ("+marks(32)+", 0)",
			p.ID, p.Run, p.Draft, request, unticked, p.Service, p.Environment, p.Group, p.Scenario, p.Digest, string(p.Kind), p.Hosts, micros(p.At), micros(p.Until), p.Zone, p.Window,
			p.Actor, p.Via, micros(p.CreatedAt), string(p.State), "", "", "", 0, 0, a.Digest, a.Rule, "", "", 0, "", plan)
		if err != nil {
			return err
		}
		if err := insertMessages(ctx, t, messages, micros(p.CreatedAt)); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(p.CreatedAt))
	})
	if faultOf(err) == faultUnique { // the same draft, by two servers at once
		var before restart.Schedule
		if lookup := s.ask(ctx, "read schedule", func(ctx context.Context, t tx) (err error) {
			before, err = loadSchedule(ctx, t, "draft", p.Draft)
			return err
		}); lookup == nil {
			return &before, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return existing, nil
}

// lockDraft keeps a draft from being started or dropped until the commit, and
// tells its state; "" = it is gone. Whoever starts or drops it takes its row, too:
// of two at once, the second sees the first.
func lockDraft(ctx context.Context, t tx, id string) (state restart.RunState, err error) {
	err = t.row(ctx, "UPDATE runs SET version = version WHERE id = ? RETURNING state", id).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return state, err
}

// unplanned refuses to start a draft by itself that is planned for a time to come,
// or that a schedule has started already: what was confirmed once is done once.
func unplanned(ctx context.Context, t tx, draft string) error {
	var id string
	err := t.row(ctx, "SELECT id FROM schedules WHERE draft = ? AND (ended_at = 0 OR state = 'started')", draft).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return restart.Errorf(restart.CodeConflict, "this plan is planned already, as %s", id).WithHint("look at it: restartilka planned; or make a new plan")
}

// requested is what a schedule keeps of what was asked for, as JSON.
type requested struct {
	restart.Request
	Found string `json:"for_ticket,omitempty"` // the ticket that it is for, given or found
}

func checkSchedule(p restart.Schedule, messages []Message) error {
	for _, id := range []string{p.ID, p.Run, p.Draft} {
		if err := restart.CheckID(id); err != nil {
			return err
		}
	}
	if !p.State.Open() || p.Plan == nil || !p.At.Before(p.Until) || (p.State == restart.ScheduleAwaiting) != (p.Approval != nil) {
		return restart.Errorf(restart.CodeInvalid, "a schedule begins with a plan, a time, and an approval where it waits for one")
	}
	return checkMessages(messages)
}

func scanSchedule(row scanner) (p restart.Schedule, err error) {
	var request, unticked string
	var at, until, created, ended, restored, settled int64
	var a restart.Approval
	err = row.Scan(&p.ID, &p.Run, &p.Draft, &request, &unticked, &p.Service, &p.Environment, &p.Group, &p.Scenario, &p.Digest, &p.Kind, &p.Hosts, &at, &until, &p.Zone, &p.Window,
		&p.Actor, &p.Via, &created, &p.State, &p.Code, &p.Why, &p.EndedBy, &ended, &restored, &a.Digest, &a.Rule, &a.Verdict, &a.By, &settled, &a.Reason)
	if err != nil {
		return p, err
	}
	p.At, p.Until, p.CreatedAt, p.Restored = fromMicros(at), fromMicros(until), fromMicros(created), restored != 0
	if ended != 0 {
		p.EndedAt = new(fromMicros(ended))
	}
	if a.Digest != "" {
		a.AskedAt, a.Until = p.CreatedAt, p.Until
		if settled != 0 {
			a.At = new(fromMicros(settled))
		}
		p.Approval = &a
	}
	var asked requested
	err = errors.Join(json.Unmarshal([]byte(request), &asked), json.Unmarshal([]byte(unticked), &p.Unticked))
	p.Request, p.Ticket = asked.Request, asked.Found
	return p, err
}

// withPlan scans the plan beside a schedule.
func withPlan(row scanner) (restart.Schedule, error) {
	var packed []byte
	p, err := scanSchedule(beside{row, &packed})
	if err != nil {
		return p, err
	}
	b, err := unpack(packed)
	if err != nil {
		return p, err
	}
	p.Plan = &restart.Plan{}
	return p, json.Unmarshal(b, p.Plan)
}

func loadSchedule(ctx context.Context, t tx, column, value string) (restart.Schedule, error) {
	p, err := withPlan(t.row(ctx, "SELECT "+scheduleColumns+", plan FROM schedules WHERE "+column+" = ?", value))
	if errors.Is(err, sql.ErrNoRows) {
		return p, restart.Errorf(restart.CodeNotFound, "nothing is planned as %s", restart.Quote(value))
	}
	return p, err
}

// Schedule returns one with its plan, or CodeNotFound.
func (s *Store) Schedule(ctx context.Context, id string) (p restart.Schedule, err error) {
	err = s.ask(ctx, "read schedule", func(ctx context.Context, t tx) error {
		p, err = loadSchedule(ctx, t, "id", id)
		return err
	})
	return p, err
}

// ScheduleOf returns the schedule that a run belongs to, with its plan: as the
// draft that was confirmed for it, or as what it becomes; nil where none does.
func (s *Store) ScheduleOf(ctx context.Context, run string) (found *restart.Schedule, err error) {
	err = s.ask(ctx, "read schedule", func(ctx context.Context, t tx) error {
		p, err := withPlan(t.row(ctx, "SELECT "+scheduleColumns+", plan FROM schedules WHERE draft = ? OR run_id = ?", run, run))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		found = &p
		return err
	})
	return found, err
}

// OpenSchedules lists those that may start still, by their time, at most limit
// (1 to 200; 0 = 50), without their plans.
func (s *Store) OpenSchedules(ctx context.Context, limit int) ([]restart.Schedule, error) {
	return s.schedules(ctx, "ended_at = 0 ORDER BY start_at, id", limit)
}

// AwaitingSchedules lists those that wait for an approval, by when their time is
// over, as OpenSchedules does.
func (s *Store) AwaitingSchedules(ctx context.Context, limit int) ([]restart.Schedule, error) {
	return s.schedules(ctx, "ended_at = 0 AND state = 'awaiting_approval' ORDER BY start_until, id", limit)
}

// EndedSchedules lists those that are over, the last to end first, as
// OpenSchedules does.
func (s *Store) EndedSchedules(ctx context.Context, limit int) ([]restart.Schedule, error) {
	return s.schedules(ctx, "ended_at <> 0 ORDER BY ended_at DESC, id DESC", limit)
}

func (s *Store) schedules(ctx context.Context, where string, limit int) (out []restart.Schedule, err error) {
	err = s.ask(ctx, "list schedules", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+scheduleColumns+" FROM schedules WHERE "+where+" LIMIT ?", page(limit))
		out, err = collect(rows, err, func(r *sql.Rows) (restart.Schedule, error) { return scanSchedule(r) })
		return err
	})
	return out, err
}

// ScheduleCounts tell how many runs are planned for a time to come.
type ScheduleCounts struct {
	Open map[restart.ScheduleState]int64 // of every state that is open, and only of those
	// Late is for how long the one that was to start first has been waiting past
	// its time; 0 = none is.
	Late time.Duration
}

// CountSchedules counts what is planned. What waits for an approval past its
// time is late by its people, and not counted as Late.
func (s *Store) CountSchedules(ctx context.Context) (out ScheduleCounts, err error) {
	type group struct {
		state restart.ScheduleState
		n     int64
	}
	err = s.read(ctx, "count schedules", func(ctx context.Context, t tx) error {
		out = ScheduleCounts{Open: map[restart.ScheduleState]int64{}}
		for _, state := range restart.ScheduleStates() {
			if state.Open() {
				out.Open[state] = 0
			}
		}
		rows, err := t.rows(ctx, "SELECT state, count(*) FROM schedules WHERE ended_at = 0 GROUP BY state")
		groups, err := collect(rows, err, func(r *sql.Rows) (g group, err error) {
			err = r.Scan(&g.state, &g.n)
			return g, err
		})
		if err != nil {
			return err
		}
		for _, g := range groups {
			out.Open[g.state] = g.n
		}
		var late int64
		err = t.row(ctx, "SELECT COALESCE($now - MIN(start_at), 0) FROM schedules WHERE ended_at = 0 AND state = 'waiting'").Scan(&late)
		out.Late = time.Duration(max(late, 0)) * time.Microsecond
		return err
	})
	return out, err
}

// dueSchedule is what has to be looked at now: whose time has come, or whose
// approval is too late, or that came with a backup.
const dueSchedule = "ended_at = 0 AND held_until <= $now AND (restored <> 0 OR state = 'waiting' AND start_at <= $now OR state = 'awaiting_approval' AND start_until <= $now)"

// DueSchedules takes up to limit schedules that are to be started or given up
// now, with their plans, and tells the database's time. Nobody else gets them
// for the time of hold; a server that dies with one leaves it to the next after
// that.
func (s *Store) DueSchedules(ctx context.Context, hold time.Duration, limit int) (due []restart.Schedule, now time.Time, err error) {
	waiting := 0
	err = s.ask(ctx, "look for schedules", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT count(*) FROM (SELECT 1 FROM schedules WHERE "+dueSchedule+" LIMIT 1) AS due").Scan(&waiting)
	})
	if err != nil || waiting == 0 {
		return nil, now, err
	}
	err = s.write(ctx, "take schedules", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+scheduleColumns+", plan FROM schedules WHERE "+dueSchedule+" ORDER BY start_at, id LIMIT ?$skip_locked", page(limit))
		if due, err = collect(rows, err, func(r *sql.Rows) (restart.Schedule, error) { return withPlan(r) }); err != nil {
			return err
		}
		var at int64
		if err := t.row(ctx, "SELECT $now").Scan(&at); err != nil {
			return err
		}
		now = fromMicros(at)
		for _, p := range due {
			if _, err := t.exec(ctx, "UPDATE schedules SET held_until = $now + ? WHERE id = ?", hold.Microseconds(), p.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, now, err
	}
	return due, now, nil
}

// DelaySchedule notes what keeps an open schedule from starting, and when it is
// looked at again.
func (s *Store) DelaySchedule(ctx context.Context, id string, code restart.Code, why string, again time.Duration) error {
	return s.write(ctx, "delay schedule "+id, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "UPDATE schedules SET code = ?, why = ?, held_until = $now + ? WHERE id = ? AND ended_at = 0", string(code), why, again.Microseconds(), id)
		return err
	})
}

// ScheduleChange moves a schedule, but for its start, which is a part of the
// start of its run: see Change.Schedule.
type ScheduleChange struct {
	ID       string
	To       restart.ScheduleState
	Code     restart.Code
	Why      string
	By       string                  // who ends it, or decides about it; "" = nobody
	Verdict  restart.ApprovalVerdict // of who decides; "" = nobody does
	Reason   string                  // of the verdict
	At       time.Time
	Messages []Message
	Records  []audit.Record
}

// ChangeSchedule makes a change, whole or not at all. CodeNotFound; CodeConflict
// where the schedule can't take that step any more; CodeForbidden of an approval
// of one's own.
func (s *Store) ChangeSchedule(ctx context.Context, c ScheduleChange) error {
	if err := checkMessages(c.Messages); err != nil {
		return err
	}
	return s.write(ctx, "change schedule "+c.ID, func(ctx context.Context, t tx) error {
		p, err := loadSchedule(ctx, t, "id", c.ID)
		if err != nil {
			return err
		}
		if err := p.State.Transition(c.To); err != nil {
			return err
		}
		if c.To == restart.ScheduleStarted || (c.Verdict != "") != (c.To == restart.ScheduleWaiting || c.To == restart.ScheduleRejected) {
			return restart.Errorf(restart.CodeConflict, "a schedule does not become %s so", c.To)
		}
		if c.Verdict != "" && restart.SamePerson(c.By, p.Actor) {
			return restart.Errorf(restart.CodeForbidden, "%s may not decide about this run, which %s has asked for: another person approves or rejects it", c.By, p.Actor)
		}
		sets, args := "state = ?, code = ?, why = ?", []any{string(c.To), string(c.Code), c.Why}
		if c.Verdict != "" {
			sets, args = sets+", approval_verdict = ?, approval_by = ?, approval_at = ?, approval_reason = ?", append(args, string(c.Verdict), c.By, micros(c.At), c.Reason)
		}
		if !c.To.Open() {
			sets, args = sets+", ended_by = ?, ended_at = ?", append(args, c.By, micros(c.At))
		}
		n, err := t.exec(ctx, "UPDATE schedules SET "+sets+" WHERE id = ? AND state = ?", append(args, c.ID, string(p.State))...)
		if err == nil && n != 1 {
			err = restart.Errorf(restart.CodeConflict, "what is planned as %s is no longer %s", c.ID, p.State)
		}
		if err != nil {
			return err
		}
		if err := insertMessages(ctx, t, c.Messages, micros(c.At)); err != nil {
			return err
		}
		return insertRecords(ctx, t, c.Records, micros(c.At))
	})
}

// startSchedule ends a schedule with the start of its run, while it is its time.
// The run gets the idempotency key of the draft, so that who asks again gets it.
// Of two starts the second finds it ended; so does one that comes after it was
// cancelled. What comes too late is CodeUnavailable, and leaves it as it is.
func startSchedule(ctx context.Context, t tx, id, run string, at int64) error {
	n, err := t.exec(ctx, "UPDATE schedules SET state = 'started', code = '', why = '', ended_at = ? WHERE id = ? AND run_id = ? AND state = 'waiting' AND restored = 0 AND start_until > $now", at, id, run)
	if err != nil {
		return err
	}
	if n == 1 {
		return passKey(ctx, t, id, run)
	}
	var waits int
	if err := t.row(ctx, "SELECT count(*) FROM schedules WHERE id = ? AND run_id = ? AND state = 'waiting' AND restored = 0", id, run).Scan(&waits); err != nil {
		return err
	}
	if waits > 0 {
		return restart.Errorf(restart.CodeUnavailable, "its time was over before all was looked at")
	}
	return restart.Errorf(restart.CodeConflict, "what is planned as %s waits no more for run %s", id, run)
}

// passKey gives a run the idempotency key of the draft of its schedule.
func passKey(ctx context.Context, t tx, schedule, run string) error {
	var draft, key string
	err := t.row(ctx, "SELECT runs.id, runs.idempotency_key FROM schedules JOIN runs ON runs.id = schedules.draft WHERE schedules.id = ?", schedule).Scan(&draft, &key)
	if errors.Is(err, sql.ErrNoRows) || err == nil && key == "" {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, "UPDATE runs SET idempotency_key = '' WHERE id = ?", draft); err != nil {
		return err
	}
	_, err = t.exec(ctx, "UPDATE runs SET idempotency_key = ? WHERE id = ?", key, run)
	return err
}
