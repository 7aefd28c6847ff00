package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Store keeps runs. The zero value is not usable: see New.
type Store struct {
	// Before is called before each write, by the method's name; an error ends the
	// write, and nothing of it is done. After is called when a write is done, and
	// its error is the answer all the same: a commit whose answer was lost.
	Before, After func(write string) error

	now      func() time.Time
	runs     map[string]*run
	order    []string // ids, sorted
	records  []audit.Record
	messages []store.Message
}

type run struct {
	restart.Run
	owner   string
	until   time.Time // the end of the lease
	scope   string    // the group that its lock is of; "" = the whole environment
	turned  int64     // the version of its last turn
	holds   bool      // the service, in its scope
	held    map[string]bool
	details map[string]json.RawMessage
	sealed  map[string][]byte
}

// New returns an empty Store whose time is now's.
func New(now func() time.Time) *Store {
	free := func(string) error { return nil }
	return &Store{Before: free, After: free, now: now, runs: map[string]*run{}}
}

// Records lists the audit records, in the order of their commits.
func (s *Store) Records() []audit.Record { return s.records }

// Messages lists what is to be told to receivers outside, in the order of the
// commits. Nobody takes it.
func (s *Store) Messages() []store.Message { return s.messages }

// Runs lists the ids of all runs, sorted.
func (s *Store) Runs() []string { return slices.Clone(s.order) }

// Owner tells who has a run, and whether its lease has not ended.
func (s *Store) Owner(id string) (owner string, leased bool) {
	r := s.runs[id]
	return r.owner, r.owner != "" && r.until.After(s.now())
}

// Holders gives the runs that hold a service in an environment, or groups of
// it, by id.
func (s *Store) Holders(service, environment string) (ids []string) {
	for _, id := range s.order {
		if r := s.runs[id]; r.holds && r.Service == service && r.Environment == environment {
			ids = append(ids, id)
		}
	}
	return ids
}

// Bearing gives a run that keeps another from taking its service; "" = none.
func (s *Store) Bearing(id string) string {
	r := s.runs[id]
	for _, holder := range s.Holders(r.Service, r.Environment) {
		if theirs := s.runs[holder].scope; holder != id && (theirs == "" || r.scope == "" || theirs == r.scope) {
			return holder
		}
	}
	return ""
}

// Create stores a run that is a draft or queued, with its planned tasks.
func (s *Store) Create(r restart.Run, records ...audit.Record) {
	r.Version = 1
	r.Tasks = slices.Clone(r.Tasks)
	for i := range r.Tasks {
		r.Tasks[i].State, r.Tasks[i].Version, r.Tasks[i].RunID = restart.TaskPlanned, 1, r.ID
	}
	scope := ""
	if r.Plan != nil && r.Plan.Holds == restart.HoldsGroup {
		scope = r.Group
	}
	s.runs[r.ID] = &run{Run: r, scope: scope, turned: 1, held: map[string]bool{}, details: map[string]json.RawMessage{}, sealed: map[string][]byte{}}
	at, _ := slices.BinarySearch(s.order, r.ID)
	s.order = slices.Insert(s.order, at, r.ID)
	s.records = append(s.records, records...)
}

// write does one write of that name, between Before and After.
func (s *Store) write(name string, do func() error) error {
	if err := s.Before(name); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.After(name)
}

func (s *Store) find(id string) (*run, error) {
	r, ok := s.runs[id]
	if !ok {
		return nil, restart.Errorf(restart.CodeNotFound, "there is no run %s", id)
	}
	return r, nil
}

// Claim is store.Store's.
func (s *Store) Claim(_ context.Context, owner string, ttl time.Duration, limit int) (claims []store.Claim, err error) {
	err = s.write("Claim", func() error {
		now := s.now()
		for _, id := range s.order {
			r := s.runs[id]
			if len(claims) == limit || !r.claimable() || r.until.After(now) {
				continue
			}
			interrupted := r.State == restart.RunRunning && (r.Cause == restart.CauseInterrupted || r.owner != "" && r.owner != owner)
			if interrupted {
				r.Cause = restart.CauseInterrupted
			}
			claims = append(claims, store.Claim{RunID: id, Epoch: r.Epoch + 1, Interrupted: interrupted})
			r.owner, r.until = owner, now.Add(ttl)
			r.Epoch++
			r.Version++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claims, nil
}

func (r *run) claimable() bool {
	switch r.State {
	case restart.RunQueued, restart.RunRunning:
		return true
	case restart.RunPaused:
		return r.Control != restart.ControlNone || r.active() > 0
	}
	return false
}

func (r *run) active() (n int) {
	for i := range r.Tasks {
		if r.Tasks[i].State.Active() {
			n++
		}
	}
	return n
}

// Renew is store.Store's.
func (s *Store) Renew(_ context.Context, owner string, ttl time.Duration) (held []string, err error) {
	err = s.write("Renew", func() error {
		for _, id := range s.order {
			if r := s.runs[id]; owner != "" && r.owner == owner {
				r.until = s.now().Add(ttl)
				held = append(held, id)
			}
		}
		return nil
	})
	return held, err
}

// Release is store.Store's.
func (s *Store) Release(_ context.Context, id string, fence store.Fence) error {
	return s.write("Release", func() error {
		if r, ok := s.runs[id]; ok && fence.Owner != "" && r.owner == fence.Owner && r.Epoch == fence.Epoch {
			r.owner, r.until = "", time.Time{}
		}
		return nil
	})
}

// EndLeases is what opening a SQLite file does.
func (s *Store) EndLeases() {
	for _, r := range s.runs {
		r.until = time.Time{}
	}
}

// Run is store.Store's.
func (s *Store) Run(_ context.Context, id string) (restart.Run, error) {
	r, err := s.find(id)
	if err != nil {
		return restart.Run{}, err
	}
	out := r.Run
	out.Tasks = sorted(r.Tasks)
	return out, nil
}

// RunSince is store.Store's.
func (s *Store) RunSince(_ context.Context, id string, version int64) (restart.Run, error) {
	r, err := s.find(id)
	if err != nil {
		return restart.Run{}, err
	}
	out := r.Run
	out.Plan, out.Tasks = nil, []restart.Task{}
	for _, t := range r.Tasks {
		if t.Version > version {
			out.Tasks = append(out.Tasks, t)
		}
	}
	out.Tasks = sorted(out.Tasks)
	return out, nil
}

func sorted(tasks []restart.Task) []restart.Task {
	out := append([]restart.Task{}, tasks...)
	slices.SortStableFunc(out, func(a, b restart.Task) int {
		if a.Position != b.Position {
			return a.Position - b.Position
		}
		return a.Attempt - b.Attempt
	})
	return out
}

// SetControl is store.Store's.
func (s *Store) SetControl(ctx context.Context, id string, c restart.Control, records ...audit.Record) (restart.Run, error) {
	return s.Wish(ctx, id, c, 0, records...)
}

// Wish is store.Store's.
func (s *Store) Wish(_ context.Context, id string, c restart.Control, seen int64, records ...audit.Record) (out restart.Run, err error) {
	err = s.write("SetControl", func() error {
		r, err := s.find(id)
		if err != nil {
			return err
		}
		switch r.State {
		case restart.RunQueued, restart.RunRunning, restart.RunPaused:
		default:
			return restart.Errorf(restart.CodeConflict, "run %s is %s: there is nothing to stop", id, r.State)
		}
		if err := r.unturned(seen); err != nil {
			return err
		}
		wishes := []restart.Control{restart.ControlNone, restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort}
		before := slices.Index(wishes, r.Control)
		if before >= slices.Index(wishes, restart.ControlAbort) && slices.Index(wishes, c) < before {
			return restart.Errorf(restart.CodeConflict, "run %s is being aborted; that is not taken back", id)
		}
		r.Version++
		if r.State != restart.RunPaused || c != restart.ControlPause {
			r.Control, r.turned = c, r.Version
		}
		s.records = append(s.records, records...)
		return nil
	})
	if err != nil {
		return out, err
	}
	return s.Run(context.Background(), id)
}

// Progress is store.Store's.
func (s *Store) Progress(_ context.Context, fence store.Fence, task, phase string, detail json.RawMessage) error {
	return s.write("Progress", func() error {
		r, i := s.findTask(task)
		if r == nil {
			return restart.Errorf(restart.CodeNotFound, "there is no task %s", task)
		}
		if err := r.fenced(&fence); err != nil {
			return err
		}
		t := &r.Tasks[i]
		if !t.State.Active() {
			return restart.Errorf(restart.CodeConflict, "task %s is not active", task)
		}
		r.Version++
		t.Version = r.Version
		if phase != "" {
			t.Phase = phase
		}
		if detail != nil {
			r.details[task] = detail
		}
		return nil
	})
}

func (s *Store) findTask(id string) (*run, int) {
	for _, r := range s.runs {
		if i := slices.IndexFunc(r.Tasks, func(t restart.Task) bool { return t.ID == id }); i >= 0 {
			return r, i
		}
	}
	return nil, -1
}

// AppendOutput drops what it is given: nothing is promised of output here.
func (s *Store) AppendOutput(context.Context, string, int64, []byte, int64) error { return nil }

// OutputEnd is 0: see AppendOutput.
func (s *Store) OutputEnd(context.Context, string) (int64, error) { return 0, nil }

// Unreported is store.Store's.
func (s *Store) Unreported(_ context.Context, after string, limit int) (tasks []restart.Task, err error) {
	for _, r := range s.runs {
		for _, t := range r.Tasks {
			if r.held[t.ID] && t.State.Final() && t.ID > after {
				tasks = append(tasks, t)
			}
		}
	}
	slices.SortFunc(tasks, func(a, b restart.Task) int { return strings.Compare(a.ID, b.ID) })
	return tasks[:min(len(tasks), limit)], nil
}

// MarkReported is store.Store's.
func (s *Store) MarkReported(_ context.Context, tasks []string) error {
	return s.write("MarkReported", func() error {
		for _, id := range tasks {
			if r, i := s.findTask(id); r != nil && r.Tasks[i].State.Final() {
				delete(r.held, id)
			}
		}
		return nil
	})
}

// Envelope gives a task's sealed envelope; nil = it has none.
func (s *Store) Envelope(task string) []byte {
	r, _ := s.findTask(task)
	if r == nil {
		return nil
	}
	return bytes.Clone(r.sealed[task])
}
