package control

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// Sees refuses who may not look at runs, or may not any more.
func (c *Control) Sees(actor restart.Actor) error {
	return c.rights().Require(actor, authz.See, authz.Object{})
}

// Follow calls each with the run whenever its version has risen above after,
// until it is final, each fails or ctx ends (nil). The run comes whole the
// first time and when it leaves its draft, otherwise without plan and with the
// changed tasks only.
func (c *Control) Follow(ctx context.Context, actor restart.Actor, id string, after int64, each func(restart.Run) error) error {
	run, err := c.Run(ctx, actor, id)
	if err != nil {
		return err
	}
	return c.walk(ctx, run, after, func() error { return c.Sees(actor) }, each)
}

// walk is Follow of a run that has been read; may is asked before each
// further look.
func (c *Control) walk(ctx context.Context, run restart.Run, after int64, may func() error, each func(restart.Run) error) error {
	changed, stop := c.cfg.Hub.Watch(run.ID)
	defer stop()
	poll := time.NewTicker(time.Second)
	defer poll.Stop()
	for {
		if run.Version > after {
			if err := each(run); err != nil {
				return err
			}
			after = run.Version
		}
		if run.State.Final() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-poll.C:
		}
		if err := may(); err != nil {
			return err // the rules have changed
		}
		fresh, err := c.since(ctx, run.ID, run.State, after)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		run = fresh
	}
}

// since reads what has changed of a run that was in some state. Its plan is
// frozen as it leaves its draft, so then it is read whole.
func (c *Control) since(ctx context.Context, id string, was restart.RunState, after int64) (restart.Run, error) {
	run, err := c.cfg.Store.RunSince(ctx, id, after)
	if err != nil {
		return run, err
	}
	if was == restart.RunDraft && run.State != was {
		return c.cfg.Store.Run(ctx, id)
	}
	run.Plan = nil
	return run, nil
}

// Glance is a run as all those see it who look at it at once: as Follow gives
// it, with what was said of the health of hosts in hand among the changed ones,
// by task, and the freeze that stands in its way where that matters.
type Glance struct {
	restart.Run
	Notes  map[string]string
	Frozen bool
}

// Broadcast is Follow for all readers of a run at once, from its present state
// on; Notes are of so many hosts at most. It asks for nobody's rights: who passes
// on what it gives asks for those of each reader, now and then, by Sees.
func (c *Control) Broadcast(ctx context.Context, id string, notes int, each func(Glance) error) error {
	run, err := c.cfg.Store.Run(ctx, id)
	if err != nil {
		return err
	}
	plan := run.Plan
	return c.walk(ctx, run, -1, func() error { return nil }, func(run restart.Run) error {
		if run.Plan != nil {
			plan = run.Plan
		}
		g := Glance{Run: run, Notes: c.notes(ctx, run.Tasks, notes)}
		run.Plan = plan
		if run.State == restart.RunDraft || run.State == restart.RunAwaitingApproval || run.State == restart.RunPaused {
			f, err := c.freezeInWay(ctx, run)
			g.Frozen = err == nil && f != nil // where it can't be found out it is left to the press, which asks again
		}
		return each(g)
	})
}

// Notes gives the newest look at the health of hosts in hand, of so many of
// them at most, by task.
func (c *Control) Notes(ctx context.Context, actor restart.Actor, run restart.Run, most int) map[string]string {
	if c.Sees(actor) != nil {
		return nil
	}
	return c.notes(ctx, run.Tasks, most)
}

func (c *Control) notes(ctx context.Context, tasks []restart.Task, most int) map[string]string {
	notes := map[string]string{}
	for _, t := range tasks {
		if t.State != restart.TaskRunning || most == 0 {
			continue
		}
		most--
		raw, err := c.cfg.Store.TaskDetail(ctx, t.ID)
		if err == nil {
			status, bad := decodeDetail(raw)
			if n := len(status.Health); n > 0 {
				notes[t.ID] = status.Health[n-1].Detail
			}
			err = bad
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Logger.WarnContext(ctx, "read what a host said", "run_id", t.RunID, "task_id", t.ID, "host", t.Host, "error", err)
		}
	}
	return notes
}
