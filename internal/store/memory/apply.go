package memory

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Apply is store.Store's: the change is made whole, or not at all.
func (s *Store) Apply(_ context.Context, c store.Change) (version int64, err error) {
	err = s.write("Apply", func() error {
		r, err := s.find(c.RunID)
		if err != nil {
			return err
		}
		if err := r.fenced(c.Fence); err != nil {
			return err
		}
		if c.Going && (r.State != restart.RunRunning || r.Control != restart.ControlNone) {
			return restart.Errorf(restart.CodeConflict, "run %s does not go on: it is %s, or is to be stopped", r.ID, r.State)
		}
		if err := r.unturned(c.Seen); err != nil {
			return err
		}
		if err := s.alone(r, c.Alone); err != nil {
			return err
		}
		at := c.At
		if at.IsZero() {
			at = s.now()
		}
		after := r.clone()
		after.Version++
		if err := s.change(after, c, at); err != nil {
			return err
		}
		*r = *after
		version = r.Version
		for _, rec := range c.Records {
			if rec.Time.IsZero() {
				rec.Time = at
			}
			s.records = append(s.records, rec)
		}
		s.messages = append(s.messages, c.Messages...)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

func (r *run) clone() *run {
	c := *r
	c.Tasks, c.held = slices.Clone(r.Tasks), maps.Clone(r.held)
	c.details, c.sealed = maps.Clone(r.details), maps.Clone(r.sealed)
	return &c
}

func (r *run) fenced(f *store.Fence) error {
	if f != nil && (f.Owner != r.owner || f.Epoch != r.Epoch) {
		return restart.Errorf(restart.CodeStaleEpoch, "run %s is held by %s at epoch %d, no longer by %s at epoch %d", r.ID, r.owner, r.Epoch, f.Owner, f.Epoch)
	}
	return nil
}

// unturned refuses what was decided upon an older version of the run, where it
// has taken another turn since.
func (r *run) unturned(seen int64) error {
	failed := func(t restart.Task) bool { return t.Version > seen && t.State.Failure() }
	switch {
	case seen == 0:
		return nil
	case seen < 0 || seen > r.Version:
		return restart.Errorf(restart.CodeConflict, "run %s has no version %d: it is at %d", r.ID, seen, r.Version)
	case r.turned > seen || slices.ContainsFunc(r.Tasks, failed):
		return restart.Errorf(restart.CodeConflict, "run %s has changed since version %d", r.ID, seen)
	}
	return nil
}

func (s *Store) alone(r *run, a *store.Alone) error {
	switch {
	case a == nil:
		return nil
	case r.State != restart.RunDraft:
		return restart.Errorf(restart.CodeConflict, "run %s is %s: it is no draft any more", r.ID, r.State)
	}
	for _, id := range s.order {
		o := s.runs[id]
		if id != r.ID && r.Parent != "" && o.Parent == r.Parent && o.Work == r.Work && o.State != restart.RunDraft && !slices.Contains(a.Besides, id) {
			return store.OtherChild(restart.Child{ID: id, Work: o.Work, State: o.State, Actor: o.Actor}, r.Parent)
		}
	}
	return nil
}

func (s *Store) change(r *run, c store.Change, at time.Time) error {
	if c.Hold {
		if holder := s.Bearing(r.ID); holder != "" && !r.holds {
			return restart.Errorf(restart.CodeLocked, "run %s holds %s in %s", holder, r.Service, r.Environment)
		}
		r.holds = true
	}
	for _, t := range c.NewTasks {
		t.RunID, t.State, t.Version = r.ID, restart.TaskPlanned, r.Version
		r.Tasks = append(r.Tasks, t)
	}
	for _, t := range c.Tasks {
		if err := s.changeTask(r, t); err != nil {
			return err
		}
	}
	if err := c.CheckApproval(r.State); err != nil {
		return err
	}
	if c.BreakGlass != nil {
		if r.State != restart.RunDraft && r.State != restart.RunAwaitingApproval {
			return restart.Errorf(restart.CodeConflict, "run %s is %s: the glass is broken as a run starts, or not at all", r.ID, r.State)
		}
		r.BreakGlass = true
	}
	if c.Approval != nil {
		if err := r.approval(c, at, s.now()); err != nil {
			return err
		}
	}
	if c.Run != nil {
		if err := r.change(*c.Run, at); err != nil {
			return err
		}
	}
	decided := slices.ContainsFunc(c.Tasks, func(t store.TaskChange) bool { return t.Decision != nil })
	if decided || len(c.NewTasks) > 0 || c.Run != nil && (c.Run.To != "" || c.Run.Control != nil) {
		r.turned = r.Version
	}
	if c.Release {
		r.holds = false
	}
	return nil
}

// approval asks for an approval of the run, or settles it.
func (r *run) approval(c store.Change, at, now time.Time) error {
	a := *c.Approval
	if r.State == restart.RunDraft {
		asked, err := a.Asked(cmp.Or(c.Run.Plan, r.Plan), r.Actor, at, now)
		r.Approval = &asked
		return err
	}
	settled := *r.Approval // CheckApproval lets no other state come here, and only by a question does a run get there
	if err := settled.CheckVerdict(a.Verdict, r.Actor, a.By, a.Digest, now); err != nil {
		return err
	}
	settled.Verdict, settled.By, settled.At, settled.Reason = a.Verdict, a.By, &at, a.Reason
	r.Approval = &settled
	return nil
}

func (s *Store) changeTask(r *run, c store.TaskChange) error {
	i := slices.IndexFunc(r.Tasks, func(t restart.Task) bool { return t.ID == c.ID })
	if i < 0 {
		return restart.Errorf(restart.CodeNotFound, "there is no task %s", c.ID)
	}
	t := &r.Tasks[i]
	if len(c.From) > 0 && !slices.Contains(c.From, t.State) {
		return restart.Errorf(restart.CodeConflict, "task %s is %s", c.ID, t.State)
	}
	if c.Version != 0 && c.Version != t.Version {
		return restart.Errorf(restart.CodeConflict, "task %s has changed since version %d", c.ID, c.Version)
	}
	for _, to := range c.Path {
		if err := t.State.Transition(to); err != nil {
			return err
		}
		t.State = to
	}
	if t.State.Active() && s.activeElsewhere(r, *t) {
		return restart.Errorf(restart.CodeLocked, "another run is working on %s on host %s", r.Service, t.Host)
	}
	t.Version = r.Version
	switch {
	case t.State == restart.TaskUnreachable:
		delete(r.held, t.ID)
	case slices.Contains(c.Path, restart.TaskDispatching):
		r.held[t.ID] = true
	}
	setText(&t.Cause, c.Cause)
	setText(&t.Phase, c.Phase)
	setText(&t.Error, c.Error)
	setPointer(&t.ExitCode, c.ExitCode)
	setPointer(&t.StartedAt, c.StartedAt)
	setPointer(&t.FinishedAt, c.FinishedAt)
	if c.Drained != nil {
		t.Drained = *c.Drained
	}
	if c.Decision != nil {
		if t.State != restart.TaskUnknown || t.Decision != nil {
			return restart.Errorf(restart.CodeConflict, "task %s is %s: only unknown ones are decided, once", c.ID, t.State)
		}
		t.Decision = c.Decision
	}
	return r.detail(c)
}

func (r *run) detail(c store.TaskChange) error {
	if c.Envelope != nil {
		if kept, ok := r.sealed[c.ID]; ok && !bytes.Equal(kept, c.Envelope) {
			return restart.Errorf(restart.CodeConflict, "task %s has an envelope already: it is signed once", c.ID)
		}
		r.sealed[c.ID] = c.Envelope
	}
	if c.Detail != nil {
		r.details[c.ID] = c.Detail
	}
	return nil
}

func (s *Store) activeElsewhere(r *run, t restart.Task) bool {
	busy := func(other *run) bool {
		return slices.ContainsFunc(other.Tasks, func(o restart.Task) bool { return o.ID != t.ID && o.Host == t.Host && o.State.Active() })
	}
	for id, other := range s.runs {
		if other.Service != r.Service {
			continue
		}
		if id == r.ID {
			other = r // as it is being changed
		}
		if busy(other) {
			return true
		}
	}
	return false
}

func setText(at *string, to string) {
	if to != "" {
		*at = to
	}
}

func setPointer[T any](at **T, to *T) {
	if to != nil {
		*at = to
	}
}

func (r *run) change(c store.RunChange, at time.Time) error {
	if len(c.From) > 0 && !slices.Contains(c.From, r.State) {
		return restart.Errorf(restart.CodeConflict, "run %s is %s", r.ID, r.State)
	}
	if c.To != "" {
		if err := r.State.Transition(c.To); err != nil {
			return err
		}
		r.State = c.To
	}
	if c.To != "" || c.Cause != "" {
		r.Cause = c.Cause
	}
	if c.To != "" || c.Explanation != "" || c.Explained {
		r.Explanation = c.Explanation
	}
	if c.SetStarted && r.StartedAt == nil {
		r.StartedAt = &at
	}
	if c.SetFinished {
		r.FinishedAt = &at
	}
	ends := c.To != "" && c.To.Final()
	switch {
	case ends:
		r.Control = restart.ControlNone
	case c.Control != nil && r.Control != restart.ControlAbort && r.Control != restart.ControlForceAbort:
		r.Control = *c.Control
	}
	if c.Acknowledged != nil {
		r.Acknowledged = *c.Acknowledged
	}
	if c.Held != nil {
		r.Held = *c.Held
	}
	if ends || c.ReleaseLease {
		r.owner, r.until = "", time.Time{}
	}
	if !ends {
		return nil
	}
	if n := r.active(); n > 0 {
		return restart.Errorf(restart.CodeConflict, "run %s can't become %s while %d of its tasks may be running", r.ID, c.To, n)
	}
	r.holds = false
	return nil
}
