package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Recover reads the spool and does what a crash, an upgrade or a reboot has
// left to do: attach to supervisors that live, launch what may still start,
// settle what can't. It is called once, before any other verb. After an error
// the agent knows less than its spool, and must not serve: CodeUnavailable.
// What can't be done yet about a task that it knows is logged, and tried again.
func (a *Agent) Recover(ctx context.Context) error {
	c, err := a.cfg.Spool.Load()
	if err != nil {
		return restart.Errorf(restart.CodeUnavailable, "the spool can't be read, so this agent does not start: %s", restart.Escape(err.Error())).
			WithHint("systemd starts it again, and what runs goes on without it; if this stays, see to the disk (journalctl -k), or to the limits on memory and open files").Because(err)
	}
	for _, err := range c.Broken {
		a.cfg.Logger.Error("the spool holds something that can't be read", "error", err)
	}
	a.mu.Lock()
	for _, t := range c.Tombstones {
		a.graves[t.Task] = t
		a.epochs[t.Run] = max(a.epochs[t.Run], t.Epoch)
		if t.Service != "" && !t.ReceivedAt.IsZero() {
			a.accepted[t.Service] = append(a.accepted[t.Service], t.ReceivedAt)
		}
	}
	for _, r := range c.Tasks {
		t := &task{status: current(r)}
		if r.Received != nil {
			t.received = *r.Received
			if e, err := r.Received.Envelope(); err == nil {
				t.envelope = e
				a.epochs[e.Run] = max(a.epochs[e.Run], r.Epoch)
				a.accepted[e.Service] = append(a.accepted[e.Service], r.Received.ReceivedAt)
			}
		}
		a.tasks[r.ID] = t
	}
	a.mu.Unlock()
	if err := a.Prune(); err != nil {
		a.cfg.Logger.Error("old tombstones are not pruned", "error", err)
	}
	var all error
	for _, r := range c.Tasks {
		a.cfg.Attend(r.ID)
		all = errors.Join(all, a.Refresh(ctx, r.ID))
	}
	if err := a.take(ctx); err != nil {
		return err
	}
	defer a.give()
	if all = errors.Join(all, a.concludeAll()); all != nil {
		a.cfg.Logger.Error("not everything could be recovered; it will be tried again", "error", all)
	}
	return nil
}

// Refresh looks at a task's files and does what they call for. It is called
// when something has changed, now and then, and by the verbs.
func (a *Agent) Refresh(ctx context.Context, id string) error {
	a.mu.Lock()
	t, ok := a.tasks[id]
	over := ok && t.done()
	a.mu.Unlock()
	if !ok || over {
		return nil
	}
	v, err := a.look(id, t)
	if err != nil {
		return err
	}
	if v.do == keep {
		a.note(id, v.status)
		return nil
	}
	if err := a.take(ctx); err != nil {
		return err
	}
	defer a.give()
	return a.act(ctx, id)
}

// look asks whether the supervisor lives, and only then reads the files: what
// a supervisor wrote before it ended is there.
func (a *Agent) look(id string, t *task) (verdict, error) {
	alive, err := a.cfg.Launcher.Alive(id)
	if err != nil {
		return verdict{}, fmt.Errorf("look at task %s: %w", id, err)
	}
	r, err := a.cfg.Spool.Read(id)
	if err != nil {
		return verdict{}, fmt.Errorf("look at task %s: %w", id, err)
	}
	a.mu.Lock()
	launches := t.launches
	a.mu.Unlock()
	return judge(r, alive, launches, a.cfg.Now(), a.cfg.BootID), nil
}

// act does, in turn, what a task's files call for.
func (a *Agent) act(ctx context.Context, id string) error {
	a.mu.Lock()
	t, ok := a.tasks[id]
	a.mu.Unlock()
	if !ok {
		return nil
	}
	v, err := a.look(id, t) // somebody may have acted before it was our turn
	if err != nil {
		return err
	}
	switch v.do {
	case launch:
		a.mu.Lock()
		t.launches++
		a.mu.Unlock()
		if err := a.cfg.Launcher.Launch(context.WithoutCancel(ctx), id); err != nil {
			return fmt.Errorf("launch the supervisor of task %s: %w", id, err)
		}
		a.note(id, v.status)
	case settle:
		return a.settle(id, v.status)
	default:
		a.note(id, v.status)
	}
	return nil
}

// settle makes a task done in the spool, and tells it.
func (a *Agent) settle(id string, final protocol.TaskStatus) error {
	status, err := a.cfg.Spool.Settle(id, final, spool.Started{At: a.cfg.Now().UTC(), BootID: a.cfg.BootID})
	if err != nil {
		return diskFull(err)
	}
	ended := a.note(id, status)
	if a.cfg.Local != nil {
		if err := a.conclude(id, status.Outcome, status.Error); err != nil {
			a.cfg.Logger.Error("the outcome of local work is not in the ledger yet; it will be tried again", "task_id", id, "error", err) // by concludeAll
		}
	}
	if ended {
		a.mu.Lock()
		a.counts[status.Outcome]++
		if status.StartedAt != nil && status.FinishedAt != nil {
			a.took.observe(max(status.FinishedAt.Sub(*status.StartedAt).Seconds(), 0))
		}
		a.mu.Unlock()
		a.cfg.Logger.Info("task done", "run_id", status.Run, "task_id", id, "service", status.Service, "outcome", string(status.Outcome), "error", status.Error)
	}
	return nil
}

// note keeps a newer status and wakes who waits for it. It tells whether the
// task has become done by it.
func (a *Agent) note(id string, s protocol.TaskStatus) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.tasks[id]
	if !ok || t.done() || (s.Revision <= t.status.Revision && s.Stage == t.status.Stage) {
		return false
	}
	s.Revision = max(s.Revision, t.status.Revision+1) // it must rise, whatever a crash has lost
	t.status = s
	wake(&t.changed)
	if t.done() {
		wake(&t.grown)
	}
	return t.done()
}

// Grown wakes who follows a task's output.
func (a *Agent) Grown(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.tasks[id]; ok {
		wake(&t.grown)
	}
}

func wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

func waiting(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}

// Active lists the tasks that are not done.
func (a *Agent) Active() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for id, t := range a.tasks {
		if !t.done() {
			out = append(out, id)
		}
	}
	return out
}
