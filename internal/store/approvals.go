package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Approval asks for an approval of a run as it leaves its draft (no Verdict), or
// settles one that was asked for. ApprovalWaived of a draft does both: it goes
// with broken glass; so does ApprovalGiven, of a run that was planned for later. A change that moves a run into the wait or out of it
// without one is refused: see restart.CheckApproval.
type Approval struct {
	Digest string // of the plan: what is asked for, or what whoever gives the verdict has seen

	Rule   string        // of a question: which line of the rules asks
	Within time.Duration // of a question: for how long, by the database's clock

	Verdict    restart.ApprovalVerdict
	By, Reason string // of a verdict
}

// asks tells whether the change asks for an approval and leaves it open.
func (a *Approval) asks() bool { return a != nil && a.Verdict == restart.ApprovalPending }

func (a *Approval) verdict() restart.ApprovalVerdict {
	if a == nil {
		return restart.ApprovalPending
	}
	return a.Verdict
}

// CheckApproval holds a change against restart.CheckApproval, for a run in that
// state.
func (c Change) CheckApproval(from restart.RunState) error {
	to := restart.RunState("")
	if c.Run != nil {
		to = c.Run.To
	}
	return restart.CheckApproval(from, to, c.Approval.asks(), c.Approval.verdict(), c.BreakGlass != nil)
}

// Asked gives the approval that a run of a requester has after the change has
// asked for it: of the plan that the run is to have, and of no other.
func (a Approval) Asked(plan *restart.Plan, requester string, at, now time.Time) (restart.Approval, error) {
	if a.Digest == "" || a.Within <= 0 {
		return restart.Approval{}, restart.Errorf(restart.CodeInvalid, "an approval is of a plan, and within some time")
	}
	if plan == nil || a.Digest != plan.Frozen() {
		return restart.Approval{}, restart.Errorf(restart.CodePlanChanged, "an approval is asked for of another plan than the run's").WithHint("ask for the run anew")
	}
	if a.Verdict == restart.ApprovalGiven && (a.By == "" || restart.SamePerson(a.By, requester)) {
		return restart.Approval{}, restart.Errorf(restart.CodeForbidden, "%s may not decide about this run, which %s has asked for: another person approves or rejects it", a.By, requester)
	}
	out := restart.Approval{Digest: a.Digest, Rule: a.Rule, AskedAt: at, Until: now.Add(a.Within)}
	if a.Verdict != restart.ApprovalPending {
		out.Verdict, out.By, out.At, out.Reason = a.Verdict, a.By, &at, a.Reason
	}
	return out, nil
}

// approval carries out the part of a change that is about an approval. The run's
// row is locked: of two verdicts at once, the second finds that there is one.
func approval(ctx context.Context, t tx, run lockedRun, c Change, at int64) error {
	a := *c.Approval
	if run.state == restart.RunDraft {
		plan := c.Run.Plan // CheckApproval lets no draft come here that stays one
		if plan == nil {
			var err error
			if plan, err = loadPlan(ctx, t, run.id); err != nil {
				return err
			}
		}
		asked, err := a.Asked(plan, run.actor, fromMicros(at), fromMicros(run.now))
		if err != nil {
			return err
		}
		settled := int64(0)
		if asked.At != nil {
			settled = at
		}
		_, err = t.exec(ctx, `UPDATE runs SET approval_digest = ?, approval_rule = ?, approval_asked_at = ?, approval_until = ?,
			approval_verdict = ?, approval_by = ?, approval_at = ?, approval_reason = ? WHERE id = ? AND state = 'draft'`,
			asked.Digest, asked.Rule, at, micros(asked.Until), string(asked.Verdict), asked.By, settled, asked.Reason, run.id)
		return err
	}
	before, err := loadRun(ctx, t, run.id, run.version, false)
	if err != nil {
		return err
	}
	if before.Approval == nil {
		before.Approval = &restart.Approval{}
	}
	if err := before.Approval.CheckVerdict(a.Verdict, before.Actor, a.By, a.Digest, fromMicros(run.now)); err != nil {
		return err
	}
	n, err := t.exec(ctx, `UPDATE runs SET approval_verdict = ?, approval_by = ?, approval_at = ?, approval_reason = ?
		WHERE id = ? AND state = 'awaiting_approval' AND approval_verdict = ''`, string(a.Verdict), a.By, at, a.Reason, run.id)
	if err == nil && n != 1 {
		err = restart.Errorf(restart.CodeConflict, "run %s does not wait for an approval any more", run.id)
	}
	return err
}

const approvalColumns = "runs.approval_digest, runs.approval_rule, runs.approval_asked_at, runs.approval_until, runs.approval_verdict, runs.approval_by, runs.approval_at, runs.approval_reason"

// approvalRow is where a row's approval is read into.
type approvalRow struct {
	restart.Approval
	asked, until, at int64
}

func (a *approvalRow) into() []any {
	return []any{&a.Digest, &a.Rule, &a.asked, &a.until, &a.Verdict, &a.By, &a.at, &a.Reason}
}

// approval gives what was read; nil where none was asked for.
func (a *approvalRow) approval() *restart.Approval {
	if a.Digest == "" {
		return nil
	}
	a.AskedAt, a.Until = fromMicros(a.asked), fromMicros(a.until)
	if a.Verdict != restart.ApprovalPending {
		a.At = new(fromMicros(a.at))
	}
	return &a.Approval
}

// Awaiting is a run that waits for an approval, without its plan and tasks.
type Awaiting struct {
	restart.Run
	Hosts int // that it is to touch
}

// Awaiting lists the runs that wait for an approval, by when their time is over,
// at most limit (1 to 200; 0 = 50).
func (s *Store) Awaiting(ctx context.Context, limit int) (out []Awaiting, err error) {
	err = s.ask(ctx, "list approvals", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+runColumns+`, (SELECT count(*) FROM tasks WHERE tasks.run_id = runs.id) FROM runs
			WHERE state = 'awaiting_approval' ORDER BY approval_until, id LIMIT ?`, page(limit))
		out, err = collect(rows, err, func(r *sql.Rows) (a Awaiting, err error) {
			a.Run, err = scanRun(beside{r, &a.Hosts})
			return a, err
		})
		return err
	})
	return out, err
}

// beside scans one column more.
type beside struct {
	scanner
	last any
}

func (b beside) Scan(dest ...any) error { return b.scanner.Scan(append(dest, b.last)...) }

// Overdue lists the runs whose time for an approval is over, by the database's
// clock, at most limit (1 to 200; 0 = 50).
func (s *Store) Overdue(ctx context.Context, limit int) (ids []string, err error) {
	err = s.ask(ctx, "look for approvals that nobody gave", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT id FROM runs WHERE state = 'awaiting_approval' AND approval_until <= $now ORDER BY approval_until, id LIMIT ?", page(limit))
		ids, err = collect(rows, err, func(r *sql.Rows) (id string, err error) {
			err = r.Scan(&id)
			return id, err
		})
		return err
	})
	return ids, err
}
