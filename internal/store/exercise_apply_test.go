package store_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func exerciseRunPairs(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for _, from := range restart.RunStates() {
		for _, to := range restart.RunStates() {
			run := newRun(0)
			path := toRun(from)
			run.State, run.Plan = path[0], planOf("web0.example.com")
			mustCreate(t, s, run)
			for _, state := range path[1:] {
				mustApply(t, s, stepTo(mustRun(t, s, run.ID), state))
			}
			change := stepTo(mustRun(t, s, run.ID), to)
			change.Run.From = []restart.RunState{from}
			_, err := s.Apply(t.Context(), change)
			want := from
			if from.CanBecome(to) {
				want = to
			}
			if got := mustRun(t, s, run.ID).State; got != want || (err == nil) != from.CanBecome(to) {
				t.Errorf("%s → %s: is %s, error %v", from, to, got, err)
			}
			if err != nil {
				wantCode(t, err, restart.CodeConflict)
			}
		}
	}
}

func exerciseTaskPairs(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for _, from := range restart.TaskStates() {
		for _, to := range restart.TaskStates() {
			run := newRun(1)
			run.Service = "svc-" + strings.ToLower(run.ID) // its own, so that no other pair is in the way
			id := mustCreate(t, s, run).Tasks[0].ID
			mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: id, Path: toTask(from)}}})
			_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: id, From: []restart.TaskState{from}, Path: []restart.TaskState{to}}}})
			want := from
			if from.CanBecome(to) {
				want = to
			}
			if got := mustRun(t, s, run.ID).Tasks[0].State; got != want || (err == nil) != from.CanBecome(to) {
				t.Errorf("%s → %s: is %s, error %v", from, to, got, err)
			}
			if err != nil {
				wantCode(t, err, restart.CodeConflict)
			}
		}
	}
}

func exerciseWholeChange(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(2))
	at, exit, drained, control := epochStart.Add(time.Minute), 3, true, restart.ControlPause
	version := mustApply(t, s, store.Change{
		RunID: run.ID, At: at, Hold: true,
		Run: &store.RunChange{From: []restart.RunState{restart.RunQueued}, To: restart.RunRunning, SetStarted: true, Control: &control},
		Tasks: []store.TaskChange{{
			ID: run.Tasks[0].ID, From: []restart.TaskState{restart.TaskPlanned, restart.TaskRunning}, Path: toTask(restart.TaskFailed), Cause: "run", Phase: "health",
			Error: "exit status 3", ExitCode: &exit, StartedAt: &epochStart, FinishedAt: &at, Drained: &drained,
		}},
		Records: []audit.Record{{Action: audit.RunStarted, Run: run.ID, Actor: "anna"}},
	})
	want := run
	want.State, want.Control, want.StartedAt, want.Version = restart.RunRunning, control, &at, version
	want.Tasks[0].State, want.Tasks[0].Cause, want.Tasks[0].Phase, want.Tasks[0].Error = restart.TaskFailed, "run", "health", "exit status 3"
	want.Tasks[0].ExitCode, want.Tasks[0].StartedAt, want.Tasks[0].FinishedAt, want.Tasks[0].Drained = &exit, &epochStart, &at, true
	want.Tasks[0].Version = version
	if diff := cmp.Diff(want, mustRun(t, s, run.ID)); diff != "" {
		t.Fatalf("after the change (-want +got):\n%s", diff)
	}
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID})
	if err != nil || len(records) != 1 || !records[0].Time.Equal(at) || records[0].Seq != 0 {
		t.Fatalf("records %+v, error %v", records, err)
	}

	// What is not named stays; a later start does not move the first.
	undrained := false
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseFailure, Explanation: "web0 failed"}})
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{Explanation: "web0 failed again"}, Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Drained: &undrained}}})
	got := mustRun(t, s, run.ID)
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{Explained: true}})
	if bare := mustRun(t, s, run.ID); bare.Explanation != "" || bare.Cause != restart.CauseFailure {
		t.Errorf("(%s): %q", bare.Cause, bare.Explanation)
	}
	if got.State != restart.RunPaused || got.Cause != restart.CauseFailure || got.Explanation != "web0 failed again" || got.Control != control {
		t.Fatalf("run %+v", got)
	}
	if task := got.Tasks[0]; task.Drained || task.Error != "exit status 3" || task.ExitCode == nil {
		t.Fatalf("task %+v", task)
	}
	failures, held := 1, true
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true, Acknowledged: &failures, Held: &held}})
	got = mustRun(t, s, run.ID)
	if !got.StartedAt.Equal(at) || got.Cause != "" || got.Explanation != "" || got.Acknowledged != 1 || !got.Held {
		t.Fatalf("resumed: %+v", got)
	}
}

// exerciseGoing: what is to happen only while a run goes on does not happen
// once it is paused, or somebody wishes it stopped; an abort is not forgotten.
func exerciseGoing(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(3))
	next := 0
	start := func() error {
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Going: true, Tasks: []store.TaskChange{{ID: run.Tasks[next].ID, Path: []restart.TaskState{restart.TaskIntentLogged}}}})
		if err == nil {
			next++
		}
		return err
	}
	move := func(to restart.RunState) {
		t.Helper()
		none := restart.ControlNone
		mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: to, Control: &none}})
	}
	wantCode(t, start(), restart.CodeConflict) // queued
	move(restart.RunRunning)
	if err := start(); err != nil {
		t.Fatal(err)
	}
	for _, wish := range []restart.Control{restart.ControlPause, restart.ControlAbort} {
		if _, err := s.SetControl(t.Context(), run.ID, wish); err != nil {
			t.Fatal(err)
		}
		wantCode(t, start(), restart.CodeConflict)
		move(restart.RunPaused)
		wantCode(t, start(), restart.CodeConflict)
		move(restart.RunRunning)
		if err := start(); (err == nil) != (wish == restart.ControlPause) {
			t.Fatalf("resumed after %s: %v", wish, err)
		}
	}
	if got := mustRun(t, s, run.ID); got.Control != restart.ControlAbort {
		t.Fatalf("the abort became %q", got.Control)
	}
}

func exercisePlan(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	draft := newRun(1)
	draft.State = restart.RunDraft
	mustCreate(t, s, draft)
	for _, hash := range []string{"first", "second"} {
		mustApply(t, s, store.Change{RunID: draft.ID, Run: &store.RunChange{Plan: &restart.Plan{Hash: hash}}})
		if got := mustRun(t, s, draft.ID); got.Plan == nil || got.Plan.Hash != hash {
			t.Fatalf("plan %+v, want %s", got.Plan, hash)
		}
	}
	mustApply(t, s, store.Change{RunID: draft.ID, Run: &store.RunChange{To: restart.RunQueued, Plan: &restart.Plan{Hash: "confirmed"}}})
	_, err := s.Apply(t.Context(), store.Change{RunID: draft.ID, Run: &store.RunChange{Plan: &restart.Plan{Hash: "another"}}})
	wantCode(t, err, restart.CodeConflict)
	if got := mustRun(t, s, draft.ID); got.Plan.Hash != "confirmed" || got.State != restart.RunQueued {
		t.Fatalf("run %s with plan %s", got.State, got.Plan.Hash)
	}
}

func exerciseAtomic(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(2))
	before := mustRun(t, s, run.ID)
	good := store.TaskChange{ID: run.Tasks[0].ID, Path: toTask(restart.TaskRunning), Envelope: []byte("sealed")}
	for name, c := range map[string]struct {
		change store.Change
		code   restart.Code
	}{
		"task of nobody":     {store.Change{Tasks: []store.TaskChange{good, {ID: newID(), Path: toTask(restart.TaskRunning)}}}, restart.CodeNotFound},
		"From does not fit":  {store.Change{Tasks: []store.TaskChange{good, {ID: run.Tasks[1].ID, From: []restart.TaskState{restart.TaskRunning}}}}, restart.CodeConflict},
		"forbidden step":     {store.Change{Tasks: []store.TaskChange{good, {ID: run.Tasks[1].ID, Path: []restart.TaskState{restart.TaskRunning}}}}, restart.CodeConflict},
		"forbidden for run":  {store.Change{Tasks: []store.TaskChange{good}, Run: &store.RunChange{To: restart.RunCompleted}}, restart.CodeConflict},
		"run From":           {store.Change{Tasks: []store.TaskChange{good}, Run: &store.RunChange{From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning}}, restart.CodeConflict},
		"known task":         {store.Change{Tasks: []store.TaskChange{good}, NewTasks: run.Tasks[1:]}, restart.CodeConflict},
		"task twice":         {store.Change{Tasks: []store.TaskChange{good, good}}, restart.CodeInvalid},
		"detail not JSON":    {store.Change{Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Detail: json.RawMessage("{")}}}, restart.CodeInvalid},
		"hold and release":   {store.Change{Hold: true, Release: true}, restart.CodeInvalid},
		"stale fence":        {store.Change{Fence: &store.Fence{Owner: "s", Epoch: 1}, Tasks: []store.TaskChange{good}}, restart.CodeStaleEpoch},
		"end with an active": {store.Change{Tasks: []store.TaskChange{good}, Run: &store.RunChange{To: restart.RunAborted}}, restart.CodeConflict},
	} {
		c.change.RunID = run.ID
		c.change.Records = []audit.Record{{Action: audit.TaskIntent, Run: run.ID}}
		c.change.Hold = c.change.Hold || c.code != restart.CodeInvalid
		if _, err := s.Apply(t.Context(), c.change); restart.CodeOf(err) != c.code {
			t.Errorf("%s: error %v, want code %s", name, err, c.code)
		}
		if diff := cmp.Diff(before, mustRun(t, s, run.ID)); diff != "" {
			t.Errorf("%s left something (-before +after):\n%s", name, diff)
		}
	}
	if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{}); err != nil || len(records) != 0 {
		t.Errorf("records were left: %v, %v", records, err)
	}
	if locks, err := s.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("locks were left: %v, %v", locks, err)
	}
	if envelope, err := s.TaskEnvelope(t.Context(), good.ID); err != nil || envelope != nil {
		t.Errorf("an envelope was left: %q, %v", envelope, err)
	}
	_, err := s.Apply(t.Context(), store.Change{RunID: newID()})
	wantCode(t, err, restart.CodeNotFound)
	_, err = s.Apply(t.Context(), store.Change{RunID: "x"})
	wantCode(t, err, restart.CodeInvalid)
}

func exerciseFence(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(2))
	task := run.Tasks[0].ID
	old := claimOne(t, s, "one", -time.Second, run.ID)
	mustApply(t, s, store.Change{RunID: run.ID, Fence: &old, Run: &store.RunChange{To: restart.RunRunning}, Tasks: []store.TaskChange{{ID: task, Path: toTask(restart.TaskRunning)}}})
	if err := s.Progress(t.Context(), old, task, "drain", nil); err != nil {
		t.Fatal(err)
	}
	current := claimOne(t, s, "two", time.Hour, run.ID)
	if current.Epoch != old.Epoch+1 {
		t.Fatalf("epoch %d after %d", current.Epoch, old.Epoch)
	}
	for name, stale := range map[string]store.Fence{
		"old owner": old, "old epoch": {Owner: "two", Epoch: old.Epoch}, "other owner": {Owner: "one", Epoch: current.Epoch}, "no owner": {Epoch: current.Epoch},
	} {
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Fence: &stale, Run: &store.RunChange{To: restart.RunPaused}})
		if restart.CodeOf(err) != restart.CodeStaleEpoch {
			t.Errorf("%s: change: %v", name, err)
		}
		if err := s.Progress(t.Context(), stale, task, "run", nil); restart.CodeOf(err) != restart.CodeStaleEpoch {
			t.Errorf("%s: progress: %v", name, err)
		}
	}
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseOperator}}) // a person needs no lease
	mustApply(t, s, store.Change{RunID: run.ID, Fence: &current, Tasks: []store.TaskChange{{ID: task, Path: []restart.TaskState{restart.TaskSucceeded}}}})
}

// claimOne claims until the run is the owner's, and gives the fence.
func claimOne(t *testing.T, s *store.Store, owner string, ttl time.Duration, runID string) store.Fence {
	t.Helper()
	claims, err := s.Claim(t.Context(), owner, ttl, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		if c.RunID == runID {
			return store.Fence{Owner: owner, Epoch: c.Epoch}
		}
	}
	t.Fatalf("%s did not get run %s: %+v", owner, runID, claims)
	return store.Fence{}
}

func exerciseEnd(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(1))
	fence := claimOne(t, s, "one", time.Hour, run.ID)
	task := run.Tasks[0].ID
	mustApply(t, s, store.Change{RunID: run.ID, Fence: &fence, Hold: true, Run: &store.RunChange{To: restart.RunRunning}, Tasks: []store.TaskChange{{ID: task, Path: toTask(restart.TaskRunning)}}})
	_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Fence: &fence, Run: &store.RunChange{To: restart.RunAborted}})
	wantCode(t, err, restart.CodeConflict)
	mustApply(t, s, store.Change{RunID: run.ID, Fence: &fence, Run: &store.RunChange{To: restart.RunCompleted, SetFinished: true}, Tasks: []store.TaskChange{{ID: task, Path: []restart.TaskState{restart.TaskSucceeded}}}})
	if got := mustRun(t, s, run.ID); got.FinishedAt == nil || time.Since(*got.FinishedAt).Abs() > time.Hour {
		t.Fatalf("finished at %v, want the database's time", got.FinishedAt)
	}
	if locks, err := s.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Fatalf("an ended run holds %v, error %v", locks, err)
	}
	if held, err := s.Renew(t.Context(), "one", time.Hour); err != nil || len(held) != 0 {
		t.Fatalf("an ended run is leased: %v, error %v", held, err)
	}
}

func exerciseAttempts(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(2))
	first := run.Tasks[0]
	mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: first.ID, Path: toTask(restart.TaskUnknown)}}})
	again := restart.Task{ID: newID(), Host: first.Host, Position: first.Position, Attempt: 2}
	version := mustApply(t, s, store.Change{RunID: run.ID, NewTasks: []restart.Task{again}})
	got := mustRun(t, s, run.ID)
	if len(got.Tasks) != 3 || got.Tasks[1].ID != again.ID || got.Tasks[1].State != restart.TaskPlanned || got.Tasks[1].Version != version {
		t.Fatalf("tasks %+v", got.Tasks)
	}
	again.ID = newID()
	_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, NewTasks: []restart.Task{again}})
	wantCode(t, err, restart.CodeConflict)
}

func exerciseServiceLock(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	one, two, other := newRun(1), newRun(1), newRun(1)
	other.Environment = "testing"
	for _, run := range []restart.Run{one, two, other} {
		mustCreate(t, s, run)
	}
	mustApply(t, s, store.Change{RunID: one.ID, Hold: true, At: epochStart})
	mustApply(t, s, store.Change{RunID: one.ID, Hold: true})
	mustApply(t, s, store.Change{RunID: other.ID, Hold: true})
	_, err := s.Apply(t.Context(), store.Change{RunID: two.ID, Hold: true})
	wantCode(t, err, restart.CodeLocked)
	if !strings.Contains(err.Error(), one.ID) || !strings.Contains(err.Error(), "anna") {
		t.Fatalf("the holder is not named: %v", err)
	}
	locks, err := s.Locks(t.Context())
	if err != nil || len(locks) != 2 || locks[0] != (store.Lock{Service: "nginx", Environment: "production", RunID: one.ID, Actor: "anna", State: restart.RunQueued, Since: epochStart}) {
		t.Fatalf("locks %+v, error %v", locks, err)
	}
	mustApply(t, s, store.Change{RunID: two.ID, Release: true}) // not its own: nothing
	_, err = s.Apply(t.Context(), store.Change{RunID: two.ID, Hold: true})
	wantCode(t, err, restart.CodeLocked)
	mustApply(t, s, store.Change{RunID: one.ID, Release: true})
	mustApply(t, s, store.Change{RunID: two.ID, Hold: true})
}

func exerciseServiceLockRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	var runs []restart.Run
	for range 8 {
		runs = append(runs, mustCreate(t, s, newRun(1)))
	}
	winners := race(t, len(runs), func(i int) error {
		_, err := s.Apply(t.Context(), store.Change{RunID: runs[i].ID, Hold: true, Run: &store.RunChange{To: restart.RunRunning}})
		return err
	})
	if winners != 1 {
		t.Fatalf("%d runs hold one service", winners)
	}
}

// race does n things at once; each succeeds or is refused with CodeLocked.
func race(t *testing.T, n int, do func(i int) error) (winners int) {
	t.Helper()
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = do(i) })
	}
	wait.Wait()
	for _, err := range errs {
		if err == nil {
			winners++
			continue
		}
		wantCode(t, err, restart.CodeLocked)
	}
	return winners
}

func exerciseActive(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	one, two, dump := mustCreate(t, s, newRun(1)), mustCreate(t, s, newRun(1)), newRun(1)
	dump.Service = "postfix"
	mustCreate(t, s, dump)
	start := func(run restart.Run) error {
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Path: []restart.TaskState{restart.TaskIntentLogged}}}})
		return err
	}
	if err := start(one); err != nil {
		t.Fatal(err)
	}
	err := start(two)
	wantCode(t, err, restart.CodeLocked)
	if !strings.Contains(err.Error(), one.ID) || !strings.Contains(err.Error(), "anna") || !strings.Contains(err.Error(), one.Tasks[0].Host) {
		t.Fatalf("the holder is not named: %v", err)
	}
	if err := start(dump); err != nil {
		t.Fatalf("another service on the same host: %v", err)
	}
	mustApply(t, s, store.Change{RunID: one.ID, Tasks: []store.TaskChange{{ID: one.Tasks[0].ID, Path: []restart.TaskState{restart.TaskNotStarted}}}})
	if err := start(two); err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
}

func exerciseActiveRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	var runs []restart.Run
	for range 8 {
		runs = append(runs, mustCreate(t, s, newRun(3)))
	}
	winners := race(t, len(runs), func(i int) error {
		c := store.Change{RunID: runs[i].ID}
		for k := range runs[i].Tasks { // in different orders, so that transactions can meet head-on
			task := runs[i].Tasks[(i+k)%len(runs[i].Tasks)]
			c.Tasks = append(c.Tasks, store.TaskChange{ID: task.ID, Path: toTask(restart.TaskDispatching)})
		}
		_, err := s.Apply(t.Context(), c)
		return err
	})
	if winners != 1 {
		t.Fatalf("%d runs work on the same hosts", winners)
	}
}

func exerciseDetail(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(1))
	task := run.Tasks[0].ID
	change := func(envelope []byte, detail string) error {
		c := store.TaskChange{ID: task, Envelope: envelope}
		if detail != "" {
			c.Detail = json.RawMessage(detail)
		}
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Tasks: []store.TaskChange{c}})
		return err
	}
	if detail, err := s.TaskDetail(t.Context(), task); detail != nil || err != nil {
		t.Fatalf("a new task has detail %q, error %v", detail, err)
	}
	envelope := []byte("{\"payload\":\"\x00\xff\"}")
	long := `{"text":"` + strings.Repeat("journal line ", 5000) + `"}`
	for _, err := range []error{change(nil, `{"n":1}`), change(envelope, ""), change(envelope, long)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, change([]byte("another"), `{"n":3}`), restart.CodeConflict)
	if got, err := s.TaskEnvelope(t.Context(), task); err != nil || string(got) != string(envelope) {
		t.Fatalf("envelope %q, error %v", got, err)
	}
	if got, err := s.TaskDetail(t.Context(), task); err != nil || string(got) != long {
		t.Fatalf("detail of %d bytes, error %v", len(got), err)
	}
	for hosts, want := range map[int]int{0: 0, 1: 1, 200: 1} {
		if all, err := s.TaskDetails(t.Context(), run.ID, hosts); err != nil || len(all) != want || want == 1 && string(all[task]) != long {
			t.Fatalf("of %d hosts there are details of %d, error %v", hosts, len(all), err)
		}
	}
	_, err := s.TaskDetail(t.Context(), newID())
	wantCode(t, err, restart.CodeNotFound)
	_, err = s.TaskEnvelope(t.Context(), newID())
	wantCode(t, err, restart.CodeNotFound)
}
