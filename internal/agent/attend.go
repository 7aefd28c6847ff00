package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
)

const (
	// attendTick is how often every active task is looked at, whatever the
	// kernel has told.
	attendTick = time.Second
	pruneTick  = 24 * time.Hour
)

// Attendant lets an Agent know what happens to its tasks: what their
// supervisors write, and when they end.
type Attendant struct {
	spool  *spool.Spool
	watch  *spool.Watch // nil = the kernel gave none; attendTick stands in
	exited chan string
	log    *slog.Logger
}

// NewAttendant makes an Attendant for the spool.
func NewAttendant(s *spool.Spool, log *slog.Logger) *Attendant {
	watch, err := spool.NewWatch()
	if err != nil {
		log.Warn("tasks are looked at once a second only", "error", err)
	}
	return &Attendant{spool: s, watch: watch, exited: make(chan string, 16), log: log}
}

// Attend watches the folder of a task.
func (d *Attendant) Attend(id string) {
	if d.watch == nil {
		return
	}
	if err := d.watch.Add(d.spool, id); err != nil {
		d.log.Warn("a task is looked at once a second only", "task_id", id, "error", err)
	}
}

// Exited tells that a task's supervisor has ended.
func (d *Attendant) Exited(id string) {
	select {
	case d.exited <- id:
	default: // attendTick finds it
	}
}

// Run attends to the agent's tasks until ctx ends.
func (d *Attendant) Run(ctx context.Context, a *Agent) {
	changes := make(chan []spool.Change)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.listen(ctx, changes)
	}()
	defer func() {
		if d.watch != nil {
			d.watch.Close() // ends listen
		}
		<-ended
	}()
	tick, prune := time.NewTicker(attendTick), time.NewTicker(pruneTick)
	defer tick.Stop()
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case seen := <-changes:
			d.changed(ctx, a, seen)
		case id := <-d.exited:
			d.refresh(ctx, a, id)
		case <-tick.C:
			d.refresh(ctx, a, a.Active()...)
		case <-prune.C:
			if err := a.Prune(); err != nil {
				d.log.Error("old tombstones are not pruned", "error", err)
			}
		}
	}
}

func (d *Attendant) listen(ctx context.Context, changes chan<- []spool.Change) {
	for d.watch != nil {
		seen, err := d.watch.Next()
		if err != nil {
			if ctx.Err() == nil {
				d.log.Error("tasks are looked at once a second only", "error", err)
			}
			return
		}
		select {
		case changes <- seen:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Attendant) changed(ctx context.Context, a *Agent, seen []spool.Change) {
	for _, c := range seen {
		switch c.What {
		case spool.ChangedOutput:
			a.Grown(c.Task)
		case spool.Overflow:
			d.refresh(ctx, a, a.Active()...)
		default:
			d.refresh(ctx, a, c.Task)
		}
	}
}

func (d *Attendant) refresh(ctx context.Context, a *Agent, ids ...string) {
	for _, id := range ids {
		if err := a.Refresh(ctx, id); err != nil && ctx.Err() == nil {
			d.log.Error("a task can't be settled; it will be tried again", "task_id", id, "error", err)
		}
	}
}
