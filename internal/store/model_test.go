package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// model is what the store promises of runs, in plain memory: a few runs of one
// service over the same two hosts, so that they are in each other's way.
type model struct {
	runs []*modelRun
}

type modelRun struct {
	restart.Run
	owner string
	over  bool // the lease
	holds bool // the service
}

func (m *model) clone() *model {
	c := &model{}
	for _, r := range m.runs {
		copied := *r
		copied.Tasks = slices.Clone(r.Tasks)
		c.runs = append(c.runs, &copied)
	}
	return c
}

// apply returns the model after the change, or the code of the refusal.
func (m *model) apply(i int, c store.Change) (*model, restart.Code) {
	after := m.clone()
	run := after.runs[i]
	if c.Fence != nil && (c.Fence.Owner != run.owner || c.Fence.Epoch != run.Epoch) {
		return m, restart.CodeStaleEpoch
	}
	run.Version++
	if c.Hold {
		for j, other := range after.runs {
			if j != i && other.holds {
				return m, restart.CodeLocked
			}
		}
		run.holds = true
	}
	for _, change := range c.Tasks {
		if code := after.applyTask(run, change); code != "" {
			return m, code
		}
	}
	if c.Run != nil {
		if code := run.move(*c.Run); code != "" {
			return m, code
		}
	}
	if c.Release {
		run.holds = false
	}
	return after, ""
}

func (m *model) applyTask(run *modelRun, c store.TaskChange) restart.Code {
	k := slices.IndexFunc(run.Tasks, func(t restart.Task) bool { return t.ID == c.ID })
	task := &run.Tasks[k]
	if len(c.From) > 0 && !slices.Contains(c.From, task.State) {
		return restart.CodeConflict
	}
	for _, to := range c.Path {
		if !task.State.CanBecome(to) {
			return restart.CodeConflict
		}
		task.State = to
	}
	task.Version = run.Version
	if !task.State.Active() {
		return ""
	}
	for _, other := range m.runs {
		for _, t := range other.Tasks {
			if other != run && t.Host == task.Host && t.State.Active() {
				return restart.CodeLocked
			}
		}
	}
	return ""
}

func (r *modelRun) move(c store.RunChange) restart.Code {
	if len(c.From) > 0 && !slices.Contains(c.From, r.State) {
		return restart.CodeConflict
	}
	if c.To != "" {
		if !r.State.CanBecome(c.To) {
			return restart.CodeConflict
		}
		r.State, r.Cause = c.To, c.Cause
	}
	if c.ReleaseLease {
		r.owner, r.over = "", true
	}
	if c.To != "" && c.To.Final() {
		if r.active() {
			return restart.CodeConflict
		}
		r.owner, r.over, r.holds = "", true, false
	}
	return ""
}

func (r *modelRun) active() bool {
	return slices.ContainsFunc(r.Tasks, func(t restart.Task) bool { return t.State.Active() })
}

// claim gives the runs that owner gets.
func (m *model) claim(owner string, over bool) (claims []store.Claim) {
	for _, r := range m.runs {
		fits := r.State == restart.RunQueued || r.State == restart.RunRunning || r.State == restart.RunPaused && (r.active() || r.Control != restart.ControlNone)
		if !fits || !r.over {
			continue
		}
		claims = append(claims, store.Claim{RunID: r.ID, Epoch: r.Epoch + 1, Interrupted: r.owner != "" && r.owner != owner})
		r.owner, r.over = owner, over
		r.Epoch++
		r.Version++
	}
	return claims
}

// exerciseModel compares random sequences of changes and claims with the model.
func exerciseModel(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	iteration := 0
	rapid.Check(t, func(rt *rapid.T) {
		iteration++
		m := &model{}
		for range 3 {
			run := newRun(2)
			run.Service = fmt.Sprint("svc", iteration)
			mustCreate(t, s, run)
			m.runs = append(m.runs, &modelRun{Run: run, over: true})
		}
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			if rapid.IntRange(0, 4).Draw(rt, "claim") == 0 {
				claimStep(rt, t, s, m)
			} else {
				m = applyStep(rt, t, s, m)
			}
			for _, want := range m.runs {
				diff := cmp.Diff(want.Run, mustRun(t, s, want.ID), cmpopts.IgnoreFields(restart.Run{}, "StartedAt", "FinishedAt"))
				if diff != "" {
					rt.Fatalf("run %s (-model +store):\n%s", want.ID, diff)
				}
			}
			if want, got := m.locks(), locksOf(t, s, m); !cmp.Equal(want, got) {
				rt.Fatalf("locks %v, want %v", got, want)
			}
		}
		bury(t, s)
	})
}

func (m *model) locks() (ids []string) {
	for _, r := range m.runs {
		if r.holds {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func locksOf(t *testing.T, s *store.Store, m *model) (ids []string) {
	t.Helper()
	locks, err := s.Locks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range locks {
		if l.Service == m.runs[0].Service {
			ids = append(ids, l.RunID)
		}
	}
	return ids
}

func claimStep(rt *rapid.T, t *testing.T, s *store.Store, m *model) {
	owner := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "owner")
	ttl := rapid.SampledFrom([]time.Duration{time.Hour, -time.Second}).Draw(rt, "ttl")
	claims, err := s.Claim(t.Context(), owner, ttl, 200)
	if err != nil {
		rt.Fatal(err)
	}
	if diff := cmp.Diff(m.claim(owner, ttl < 0), claims, cmpopts.SortSlices(func(a, b store.Claim) bool { return a.RunID < b.RunID })); diff != "" {
		rt.Fatalf("claims (-model +store):\n%s", diff)
	}
}

func applyStep(rt *rapid.T, t *testing.T, s *store.Store, m *model) *model {
	i := rapid.IntRange(0, len(m.runs)-1).Draw(rt, "run")
	run := m.runs[i]
	c := store.Change{RunID: run.ID, Hold: rapid.IntRange(0, 3).Draw(rt, "hold") == 0}
	c.Release = !c.Hold && rapid.IntRange(0, 5).Draw(rt, "release") == 0
	if rapid.IntRange(0, 2).Draw(rt, "fenced") == 0 {
		c.Fence = &store.Fence{Owner: rapid.SampledFrom([]string{"a", "b", run.owner}).Draw(rt, "fence owner"), Epoch: run.Epoch - int64(rapid.IntRange(0, 1).Draw(rt, "epochs ago"))}
	}
	if rapid.Bool().Draw(rt, "move run") {
		c.Run = &store.RunChange{To: drawNext(rt, run.State, restart.RunStates()), Cause: "drawn", ReleaseLease: rapid.IntRange(0, 3).Draw(rt, "release lease") == 0}
		if rapid.Bool().Draw(rt, "run from") {
			c.Run.From = []restart.RunState{rapid.SampledFrom(restart.RunStates()).Draw(rt, "from"), run.State}[rapid.IntRange(0, 1).Draw(rt, "right"):]
		}
	}
	for _, task := range run.Tasks {
		if rapid.Bool().Draw(rt, "move task") {
			change := store.TaskChange{ID: task.ID}
			state := task.State
			for range rapid.IntRange(0, 3).Draw(rt, "path") {
				state = drawNext(rt, state, restart.TaskStates())
				change.Path = append(change.Path, state)
			}
			if rapid.IntRange(0, 3).Draw(rt, "task from") == 0 {
				change.From = []restart.TaskState{rapid.SampledFrom(restart.TaskStates()).Draw(rt, "from")}
			}
			c.Tasks = append(c.Tasks, change)
		}
	}
	after, code := m.apply(i, c)
	version, err := s.Apply(t.Context(), c)
	if got := restart.CodeOf(err); got != code {
		rt.Fatalf("%+v: error %v, want code %q", c, err, code)
	}
	if code == "" && version != after.runs[i].Version {
		rt.Fatalf("version %d, want %d", version, after.runs[i].Version)
	}
	return after
}

// drawNext mostly draws a state that may follow, sometimes any.
func drawNext[S interface {
	~string
	CanBecome(S) bool
}](rt *rapid.T, state S, all []S) S {
	var allowed []S
	for _, to := range all {
		if state.CanBecome(to) {
			allowed = append(allowed, to)
		}
	}
	if len(allowed) == 0 || rapid.IntRange(0, 9).Draw(rt, "any") == 0 {
		allowed = all
	}
	return rapid.SampledFrom(allowed).Draw(rt, "next")
}

// bury takes what is left, so that it is not claimed in the next iteration.
func bury(t *testing.T, s *store.Store) {
	t.Helper()
	for {
		claims, err := s.Claim(t.Context(), "grave", 24*time.Hour, 200)
		if err != nil {
			t.Fatal(err)
		}
		if len(claims) == 0 {
			return
		}
	}
}
