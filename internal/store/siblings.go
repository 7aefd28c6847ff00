package store

import (
	"context"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// alone keeps a draft that was made from another run from starting where one
// that its plan does not know of has started meanwhile, to do the same. Whoever
// starts such a run takes the parent's row first, and keeps it until the commit:
// so of two at once, the second sees that the first is a draft no more.
func alone(ctx context.Context, t tx, run lockedRun, a Alone) error {
	if run.state != restart.RunDraft {
		return restart.Errorf(restart.CodeConflict, "run %s is %s: it is no draft any more", run.id, run.state)
	}
	var parent string
	var work restart.Work
	if err := t.row(ctx, "SELECT parent, work FROM runs WHERE id = ?", run.id).Scan(&parent, &work); err != nil || parent == "" {
		return err
	}
	if _, err := t.exec(ctx, "UPDATE runs SET version = version WHERE id = ?", parent); err != nil {
		return err
	}
	children, err := loadChildren(ctx, t, parent)
	if err != nil {
		return err
	}
	for _, c := range children {
		if c.ID != run.id && c.Work == work && !slices.Contains(a.Besides, c.ID) {
			return OtherChild(c, parent)
		}
	}
	return nil
}

// OtherChild is the refusal of Alone, which names the run that was quicker.
func OtherChild(c restart.Child, parent string) error {
	return restart.Errorf(restart.CodePlanChanged, "the plan is not true any more: run %s by %s has been started since, to do the same work that run %s has left; it is %s",
		c.ID, restart.Quote(c.Actor), parent, c.State).WithHint("look at it: restartilka show %s; then plan again", c.ID)
}
