package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/memory"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// model is the store in memory, with a clock that stands: a lease of an hour
// never ends, one that is over already is.
type model struct {
	*memory.Store
	runs []string
}

func newModel() *model {
	return &model{Store: memory.New(func() time.Time { return epochStart })}
}

func (m *model) run(rt *rapid.T, id string) restart.Run {
	r, err := m.Run(context.Background(), id)
	if err != nil {
		rt.Fatal(err)
	}
	return r
}

// exerciseModel compares random sequences of changes and claims with the model.
func exerciseModel(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	iteration := 0
	rapid.Check(t, func(rt *rapid.T) {
		iteration++
		bury(t, s) // what the one before has left, also where it was given up in the middle
		m, parent := newModel(), newID()
		for i := range 3 {
			run := newRun(2)
			run.Service = fmt.Sprint("svc", iteration)
			run.Group = rapid.SampledFrom([]string{"blue", "green"}).Draw(rt, "group")
			run.Plan = &restart.Plan{Holds: rapid.SampledFrom([]restart.Holds{restart.HoldsEnvironment, restart.HoldsGroup}).Draw(rt, "holds")}
			if i > 0 {
				run.Parent, run.Work = parent, rapid.SampledFrom([]restart.Work{restart.WorkWhole, restart.WorkUndrain}).Draw(rt, "work")
			}
			if i == 2 && rapid.Bool().Draw(rt, "draft") { // the last: to make another drops old drafts
				run.State = restart.RunDraft
			}
			mustCreate(t, s, run)
			m.Create(run)
			m.runs = append(m.runs, run.ID)
		}
		if rapid.Bool().Draw(rt, "unknown") { // so that there is something to decide about
			lost := rapid.SampledFrom(m.run(rt, m.runs[0]).Tasks).Draw(rt, "lost")
			both(rt, t, s, m, store.Change{RunID: m.runs[0], At: epochStart, Tasks: []store.TaskChange{{ID: lost.ID, Path: toTask(restart.TaskUnknown)}}})
		}
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0:
				claimStep(rt, t, s, m)
			case 1:
				wishStep(rt, t, s, m)
			default:
				applyStep(rt, t, s, m)
			}
			alike(rt, t, s, m)
		}
		told(rt, t, s, m)
	})
}

// alike looks at everything that both can be asked.
func alike(rt *rapid.T, t *testing.T, s *store.Store, m *model) {
	for _, id := range m.runs {
		want := m.run(rt, id)
		if diff := cmp.Diff(want, mustRun(t, s, id), untilOf); diff != "" {
			rt.Fatalf("run %s (-model +store):\n%s", id, diff)
		}
		since := want.Version - int64(rapid.IntRange(0, 2).Draw(rt, "versions ago"))
		changed, err := m.RunSince(t.Context(), id, since)
		got, gotErr := s.RunSince(t.Context(), id, since)
		if diff := cmp.Diff(changed, got, untilOf); diff != "" || err != nil || gotErr != nil {
			rt.Fatalf("run %s since version %d (-model +store):\n%s %v %v", id, since, diff, err, gotErr)
		}
	}
	locks, err := s.Locks(t.Context())
	if err != nil {
		rt.Fatal(err)
	}
	service := m.run(rt, m.runs[0]).Service
	var holders []string
	for _, l := range locks {
		if l.Service == service {
			holders = append(holders, l.RunID)
		}
	}
	slices.Sort(holders)
	if want := m.Holders(service, "production"); !slices.Equal(holders, want) {
		rt.Fatalf("runs %q hold the service, want %q", holders, want)
	}
	unreported(rt, t, s, m)
}

// told compares what receivers outside are to be told.
func told(rt *rapid.T, t *testing.T, s *store.Store, m *model) {
	due, err := s.DueMessages(t.Context(), []string{m.run(rt, m.runs[0]).Service}, time.Hour, 200)
	if err != nil {
		rt.Fatal(err)
	}
	var want, got []string
	for _, message := range m.Messages() {
		want = append(want, message.ID)
	}
	for _, d := range due {
		got = append(got, d.ID)
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(want, got) {
		rt.Fatalf("messages %q, want %q", got, want)
	}
}

// drawSeen mostly draws nothing, or a version of a run that somebody may have
// looked at.
func drawSeen(rt *rapid.T, run restart.Run) int64 {
	if rapid.IntRange(0, 2).Draw(rt, "seen") > 0 {
		return 0
	}
	return run.Version - int64(rapid.IntRange(-1, 3).Draw(rt, "turns ago"))
}

// unreported compares what agents are still to be told, and tells some of it.
func unreported(rt *rapid.T, t *testing.T, s *store.Store, m *model) {
	want, _ := m.Unreported(t.Context(), "", 200)
	all, err := s.Unreported(t.Context(), "", 200)
	if err != nil {
		rt.Fatal(err)
	}
	var got []restart.Task
	for _, task := range all {
		if slices.Contains(m.runs, task.RunID) {
			got = append(got, task)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatalf("unreported (-model +store):\n%s", diff)
	}
	for _, task := range want {
		if rapid.IntRange(0, 3).Draw(rt, "report") == 0 {
			if err := errors.Join(m.MarkReported(t.Context(), []string{task.ID}), s.MarkReported(t.Context(), []string{task.ID})); err != nil {
				rt.Fatal(err)
			}
		}
	}
}

func claimStep(rt *rapid.T, t *testing.T, s *store.Store, m *model) {
	owner := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "owner")
	ttl := rapid.SampledFrom([]time.Duration{time.Hour, -time.Second}).Draw(rt, "ttl")
	claims, err := s.Claim(t.Context(), owner, ttl, 200)
	if err != nil {
		rt.Fatal(err)
	}
	want, _ := m.Claim(t.Context(), owner, ttl, 200)
	if diff := cmp.Diff(want, claims, cmpopts.SortSlices(func(a, b store.Claim) bool { return a.RunID < b.RunID })); diff != "" {
		rt.Fatalf("claims (-model +store):\n%s", diff)
	}
}

// wishStep is what people and the ends of loops do beside Apply.
func wishStep(rt *rapid.T, t *testing.T, s *store.Store, m *model) {
	id := rapid.SampledFrom(m.runs).Draw(rt, "run")
	owner, _ := m.Owner(id)
	fence := store.Fence{Owner: owner, Epoch: m.run(rt, id).Epoch - int64(rapid.IntRange(0, 1).Draw(rt, "epochs ago"))}
	switch rapid.IntRange(0, 3).Draw(rt, "wish") {
	case 0:
		if err := errors.Join(m.Release(t.Context(), id, fence), s.Release(t.Context(), id, fence)); err != nil {
			rt.Fatal(err)
		}
	case 1:
		task := rapid.SampledFrom(m.run(rt, id).Tasks).Draw(rt, "task").ID
		want, got := m.Progress(t.Context(), fence, task, "run", nil), s.Progress(t.Context(), fence, task, "run", nil)
		if restart.CodeOf(want) != restart.CodeOf(got) {
			rt.Fatalf("progress: %v, want %v", got, want)
		}
	default:
		c := rapid.SampledFrom([]restart.Control{restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort}).Draw(rt, "control")
		seen := drawSeen(rt, m.run(rt, id))
		_, want := m.Wish(t.Context(), id, c, seen)
		_, got := s.Wish(t.Context(), id, c, seen)
		if restart.CodeOf(want) != restart.CodeOf(got) {
			rt.Fatalf("%s: %v, want %v", c, got, want)
		}
	}
}

func applyStep(rt *rapid.T, t *testing.T, s *store.Store, m *model) {
	run := m.run(rt, rapid.SampledFrom(m.runs).Draw(rt, "run"))
	owner, _ := m.Owner(run.ID)
	c := store.Change{RunID: run.ID, At: epochStart, Going: rapid.IntRange(0, 3).Draw(rt, "going") == 0, Seen: drawSeen(rt, run)}
	c.Hold = run.State != restart.RunDraft && rapid.IntRange(0, 2).Draw(rt, "hold") == 0 // a draft is dropped, and takes nothing
	c.Release = !c.Hold && rapid.IntRange(0, 5).Draw(rt, "release") == 0
	if rapid.IntRange(0, 2).Draw(rt, "fenced") == 0 {
		c.Fence = &store.Fence{Owner: rapid.SampledFrom([]string{"a", "b", owner}).Draw(rt, "fence owner"), Epoch: run.Epoch - int64(rapid.IntRange(0, 1).Draw(rt, "epochs ago"))}
	}
	if rapid.Bool().Draw(rt, "move run") {
		c.Run = drawRunChange(rt, run)
	}
	starts := run.State == restart.RunDraft && rapid.Bool().Draw(rt, "start")
	if starts {
		c.Run, c.Going = &store.RunChange{To: restart.RunQueued}, false
	}
	if among := map[bool]int{true: 1, false: 19}[starts]; (starts || run.State != restart.RunDraft) && rapid.IntRange(0, among).Draw(rt, "glass") == 0 {
		c.BreakGlass = &store.BreakGlass{By: "anna", Waived: "drawn"}
	}
	drawApproval(rt, run, &c)
	if among := map[bool]int{true: 1, false: 19}[starts]; rapid.IntRange(0, among).Draw(rt, "alone") == 0 {
		c.Alone = &store.Alone{Besides: m.runs[:rapid.IntRange(0, len(m.runs)).Draw(rt, "siblings known")]}
	}
	if rapid.IntRange(0, 3).Draw(rt, "message") == 0 {
		c.Messages = []store.Message{{ID: newID(), Event: "drawn", Channels: []string{run.Service}, Body: []byte(`{}`)}}
	}
	for _, task := range run.Tasks {
		if rapid.Bool().Draw(rt, "move task") {
			c.Tasks = append(c.Tasks, drawTaskChange(rt, task))
		}
	}
	if last := run.Tasks[len(run.Tasks)-1]; rapid.IntRange(0, 5).Draw(rt, "new task") == 0 {
		c.NewTasks = []restart.Task{{ID: newID(), Host: last.Host, Position: last.Position, Batch: last.Batch, Attempt: last.Attempt + 1, State: restart.TaskPlanned}}
	}
	both(rt, t, s, m, c)
}

// untilOf leaves out what the database's own clock says.
var untilOf = cmpopts.IgnoreFields(restart.Approval{}, "Until")

// drawApproval mostly draws what a run's step needs, sometimes anything.
func drawApproval(rt *rapid.T, run restart.Run, c *store.Change) {
	verdicts := append(restart.ApprovalVerdicts(), restart.ApprovalPending)
	switch {
	case run.State == restart.RunAwaitingApproval && rapid.IntRange(0, 3).Draw(rt, "settles") > 0:
		v := rapid.SampledFrom(restart.ApprovalVerdicts()).Draw(rt, "verdict")
		c.Approval = &store.Approval{Verdict: v}
		c.Run, c.BreakGlass = &store.RunChange{To: v.Leads()}, nil
		if v == restart.ApprovalWaived {
			c.BreakGlass = &store.BreakGlass{By: "anna", Waived: "an approval"}
		}
	case run.State == restart.RunDraft && rapid.IntRange(0, 2).Draw(rt, "asks") == 0:
		c.Approval, c.Run, c.BreakGlass = &store.Approval{}, &store.RunChange{To: restart.RunAwaitingApproval}, nil
		c.Going = false
	case rapid.IntRange(0, 19).Draw(rt, "any approval") == 0:
		c.Approval = &store.Approval{Verdict: rapid.SampledFrom(verdicts).Draw(rt, "any verdict")}
	}
	if a := c.Approval; a != nil {
		digest := run.Plan.Frozen()
		a.Digest, a.Rule, a.Within, a.Reason = rapid.SampledFrom([]string{digest, digest, digest, "other", ""}).Draw(rt, "digest"), "drawn", time.Hour, "drawn"
		a.By = rapid.SampledFrom([]string{"anna", "Anna", "bob"}).Draw(rt, "by")
	}
}

// both applies a change here and there.
func both(rt *rapid.T, t *testing.T, s *store.Store, m *model, c store.Change) {
	want, wantErr := m.Apply(t.Context(), c)
	version, err := s.Apply(t.Context(), c)
	if got := restart.CodeOf(err); got != restart.CodeOf(wantErr) {
		rt.Fatalf("%+v: error %v, want %v", c, err, wantErr)
	}
	if version != want {
		rt.Fatalf("version %d, want %d", version, want)
	}
}

func drawRunChange(rt *rapid.T, run restart.Run) *store.RunChange {
	c := &store.RunChange{
		To: drawNext(rt, run.State, restart.RunStates()), Cause: "drawn", ReleaseLease: rapid.IntRange(0, 3).Draw(rt, "release lease") == 0,
		SetStarted: rapid.Bool().Draw(rt, "started"), SetFinished: rapid.Bool().Draw(rt, "finished"),
	}
	if rapid.Bool().Draw(rt, "stays") {
		c.To, c.Explanation = "", rapid.SampledFrom([]string{"drawn", ""}).Draw(rt, "explanation")
		c.Explained = rapid.Bool().Draw(rt, "explained")
	}
	if rapid.Bool().Draw(rt, "run from") {
		c.From = []restart.RunState{rapid.SampledFrom(restart.RunStates()).Draw(rt, "from"), run.State}[rapid.IntRange(0, 1).Draw(rt, "right"):]
	}
	if rapid.Bool().Draw(rt, "control") {
		c.Control = new(rapid.SampledFrom([]restart.Control{restart.ControlNone, restart.ControlPause}).Draw(rt, "to control"))
	}
	if rapid.Bool().Draw(rt, "counts") {
		c.Acknowledged, c.Held = new(rapid.IntRange(0, 3).Draw(rt, "acknowledged")), new(rapid.Bool().Draw(rt, "held"))
	}
	return c
}

func drawTaskChange(rt *rapid.T, task restart.Task) store.TaskChange {
	change := store.TaskChange{ID: task.ID, Error: rapid.SampledFrom([]string{"", "drawn"}).Draw(rt, "error")}
	if rapid.IntRange(0, 5).Draw(rt, "as of") == 0 {
		change.Version = task.Version - int64(rapid.IntRange(0, 1).Draw(rt, "versions behind"))
	}
	state := task.State
	for range rapid.IntRange(0, 3).Draw(rt, "path") {
		state = drawNext(rt, state, restart.TaskStates())
		change.Path = append(change.Path, state)
	}
	if rapid.IntRange(0, 3).Draw(rt, "task from") == 0 {
		change.From = []restart.TaskState{rapid.SampledFrom(restart.TaskStates()).Draw(rt, "from")}
	}
	if rapid.IntRange(0, 3).Draw(rt, "sealed") == 0 {
		change.Envelope = []byte(rapid.SampledFrom([]string{"one", "other"}).Draw(rt, "envelope"))
	}
	if rapid.IntRange(0, 3).Draw(rt, "told") == 0 {
		change.ExitCode, change.Drained, change.FinishedAt = new(3), new(rapid.Bool().Draw(rt, "drained")), new(epochStart)
	}
	if among := map[bool]int{true: 1, false: 19}[state == restart.TaskUnknown]; rapid.IntRange(0, among).Draw(rt, "decided") == 0 {
		change.Decision = &restart.Decision{Verdict: rapid.SampledFrom(restart.Verdicts()).Draw(rt, "verdict"), By: "anna", Reason: "drawn", At: epochStart}
	}
	return change
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

// bury takes what is left, so that it is neither claimed nor told in the next
// iteration.
func bury(t *testing.T, s *store.Store) {
	t.Helper()
	tasks, err := s.Unreported(t.Context(), "", 200)
	for _, task := range tasks {
		err = errors.Join(err, s.MarkReported(t.Context(), []string{task.ID}))
	}
	if err != nil {
		t.Fatal(err)
	}
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
