package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// BreakGlass says who starts a run past its safeguards, and what stood in the
// way, for people.
type BreakGlass struct{ By, Waived string }

// BrokenGlass is a run that was started so, and what became of the review.
type BrokenGlass struct {
	BreakGlass
	Run        restart.Run // with its tasks, without its plan
	At         time.Time
	ReviewedBy string
	ReviewedAt time.Time // zero = nobody has looked at it yet
	Note       string
}

func breakGlass(ctx context.Context, t tx, run lockedRun, b BreakGlass, at int64) error {
	if run.state != restart.RunDraft && run.state != restart.RunAwaitingApproval {
		return restart.Errorf(restart.CodeConflict, "run %s is %s: the glass is broken as a run starts, or not at all", run.id, run.state)
	}
	if _, err := t.exec(ctx, "UPDATE runs SET break_glass = 1 WHERE id = ?", run.id); err != nil {
		return err
	}
	_, err := t.exec(ctx, "INSERT INTO broken_glass (run_id, broken_by, broken_at, waived, reviewed_by, reviewed_at, note) VALUES (?, ?, ?, ?, '', 0, '')", run.id, b.By, at, b.Waived)
	return err
}

const glassColumns = "broken_glass.broken_by, broken_glass.broken_at, broken_glass.waived, broken_glass.reviewed_by, broken_glass.reviewed_at, broken_glass.note"

// Unreviewed lists the runs whose broken glass nobody has looked at, the oldest
// first, at most limit (1 to 200; 0 = 50).
func (s *Store) Unreviewed(ctx context.Context, limit int) (out []BrokenGlass, err error) {
	err = s.read(ctx, "list broken glass", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT run_id, "+glassColumns+" FROM broken_glass WHERE reviewed_at = 0 ORDER BY broken_at, run_id LIMIT ?", page(limit))
		out, err = collect(rows, err, scanGlass)
		if err != nil {
			return err
		}
		for i := range out {
			if out[i].Run, err = loadRun(ctx, t, out[i].Run.ID, 0, false); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// UnreviewedServices counts the runs of Unreviewed by their service.
func (s *Store) UnreviewedServices(ctx context.Context) (out map[string]int, err error) {
	type count struct {
		service string
		n       int
	}
	err = s.ask(ctx, "count broken glass", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT runs.service, count(*) FROM broken_glass JOIN runs ON runs.id = broken_glass.run_id WHERE broken_glass.reviewed_at = 0 GROUP BY runs.service")
		counts, err := collect(rows, err, func(r *sql.Rows) (c count, err error) {
			err = r.Scan(&c.service, &c.n)
			return c, err
		})
		out = make(map[string]int, len(counts))
		for _, c := range counts {
			out[c.service] = c.n
		}
		return err
	})
	return out, err
}

// Glass gives what is known of the glass that a run has broken: CodeNotFound
// where it has broken none.
func (s *Store) Glass(ctx context.Context, runID string) (b BrokenGlass, err error) {
	err = s.read(ctx, "read broken glass", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT run_id, "+glassColumns+" FROM broken_glass WHERE run_id = ?", runID)
		found, err := collect(rows, err, scanGlass)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return restart.Errorf(restart.CodeNotFound, "no glass was broken by run %s", restart.Quote(runID))
		}
		b = found[0]
		b.Run, err = loadRun(ctx, t, runID, 0, false)
		return err
	})
	return b, err
}

// glassReview gives what a review of a run's broken glass has found; nil where
// there was none yet.
func glassReview(ctx context.Context, t tx, runID string) (*restart.GlassReview, error) {
	var r restart.GlassReview
	var at int64
	err := t.row(ctx, "SELECT reviewed_by, reviewed_at, note FROM broken_glass WHERE run_id = ?", runID).Scan(&r.By, &at, &r.Note)
	if errors.Is(err, sql.ErrNoRows) || err == nil && at == 0 {
		return nil, nil
	}
	r.At = fromMicros(at)
	return &r, err
}

func scanGlass(r *sql.Rows) (b BrokenGlass, err error) {
	var at, reviewed int64
	err = r.Scan(&b.Run.ID, &b.By, &at, &b.Waived, &b.ReviewedBy, &reviewed, &b.Note)
	b.At, b.ReviewedAt = fromMicros(at), fromMicros(reviewed)
	return b, err
}

// ReviewGlass notes that somebody has looked at it, who can't be the one who
// broke it (CodeForbidden). CodeNotFound: the run has broken none; CodeConflict:
// it is reviewed already.
func (s *Store) ReviewGlass(ctx context.Context, runID, by, note string, at time.Time, records ...audit.Record) error {
	return s.write(ctx, "review run "+runID, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE broken_glass SET reviewed_by = ?, reviewed_at = ?, note = ? WHERE run_id = ? AND reviewed_at = 0 AND broken_by <> ?", by, micros(at), note, runID, by)
		if err != nil {
			return err
		}
		if n == 0 {
			return whyNotReviewed(ctx, t, runID, by)
		}
		return insertRecords(ctx, t, records, micros(at))
	})
}

func whyNotReviewed(ctx context.Context, t tx, runID, by string) error {
	var breaker, reviewer string
	err := t.row(ctx, "SELECT broken_by, reviewed_by FROM broken_glass WHERE run_id = ?", runID).Scan(&breaker, &reviewer)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return restart.Errorf(restart.CodeNotFound, "no glass was broken by run %s", restart.Quote(runID))
	case err != nil:
		return err
	case reviewer != "":
		return restart.Errorf(restart.CodeConflict, "run %s is reviewed already, by %s", runID, restart.Quote(reviewer))
	}
	return restart.Errorf(restart.CodeForbidden, "%s broke the glass for run %s and can't review it", restart.Quote(by), runID).WithHint("ask another auditor or admin")
}
