package store_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// That a run was interrupted is known until somebody has paused it, whatever
// becomes of the server that has found out.
func exerciseInterrupted(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(1))
	claim := func(owner string, ttl time.Duration) store.Claim {
		t.Helper()
		claims, err := s.Claim(t.Context(), owner, ttl, 10)
		if err != nil || len(claims) != 1 {
			t.Fatalf("claims %v, error %v", claims, err)
		}
		return claims[0]
	}
	move := func(to restart.RunState, cause restart.Cause) {
		t.Helper()
		mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: to, Cause: cause}})
	}
	over := -time.Second
	if c := claim("a", over); c.Interrupted {
		t.Error("a run that nobody had was interrupted")
	}
	if c := claim("b", over); c.Interrupted {
		t.Error("a queued run was interrupted: nothing of it had begun")
	}
	move(restart.RunRunning, "")
	if c := claim("c", over); !c.Interrupted {
		t.Error("another server's running run was not interrupted")
	}
	if c := claim("c", over); !c.Interrupted { // the answer to the first claim was lost
		t.Error("a second claim by the same server has forgotten it")
	}
	if err := s.Release(t.Context(), run.ID, store.Fence{Owner: "c", Epoch: 4}); err != nil { // it was held, and walked by nobody
		t.Fatal(err)
	}
	c := claim("d", over)
	if got := mustRun(t, s, run.ID); !c.Interrupted || got.Cause != restart.CauseInterrupted {
		t.Errorf("a release has made it forgotten: %+v, cause %q", c, got.Cause)
	}
	move(restart.RunPaused, restart.CauseInterrupted)
	move(restart.RunRunning, "")
	if err := s.Release(t.Context(), run.ID, store.Fence{Owner: "d", Epoch: c.Epoch}); err != nil {
		t.Fatal(err)
	}
	if c := claim("e", over); c.Interrupted {
		t.Error("a person has resumed it, and it is interrupted still")
	}
}

func exerciseClaim(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	draft, awaiting := newRun(1), newRun(1)
	draft.State, awaiting.State = restart.RunDraft, restart.RunDraft
	mustCreate(t, s, draft)
	mustAwait(t, s, awaiting, time.Hour)
	one, two := mustCreate(t, s, newRun(1)), mustCreate(t, s, newRun(1))
	if one.ID > two.ID { // ids of one millisecond are in no order
		one, two = two, one
	}
	claim := func(owner string, ttl time.Duration, limit int) []store.Claim {
		t.Helper()
		claims, err := s.Claim(t.Context(), owner, ttl, limit)
		if err != nil {
			t.Fatal(err)
		}
		return claims
	}
	want := func(got []store.Claim, want ...store.Claim) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("claims (-want +got):\n%s", diff)
		}
	}
	before := mustRun(t, s, one.ID)
	want(claim("a", time.Hour, 1), store.Claim{RunID: one.ID, Epoch: 1})
	if after := mustRun(t, s, one.ID); after.Epoch != 1 || after.Version <= before.Version {
		t.Fatalf("epoch %d, version %d after %d", after.Epoch, after.Version, before.Version)
	}
	mustApply(t, s, store.Change{RunID: one.ID, Run: &store.RunChange{To: restart.RunRunning}})
	want(claim("b", time.Hour, 10), store.Claim{RunID: two.ID, Epoch: 1})
	want(claim("a", time.Hour, 10)) // its own lease is not over

	held, err := s.Renew(t.Context(), "a", -time.Second) // over at once, by the database's clock
	if err != nil || !cmp.Equal(held, []string{one.ID}) {
		t.Fatalf("held %v, error %v", held, err)
	}
	want(claim("b", time.Hour, 10), store.Claim{RunID: one.ID, Epoch: 2, Interrupted: true})
	if held, err := s.Renew(t.Context(), "a", time.Hour); err != nil || len(held) != 0 {
		t.Fatalf("a lost lease was renewed: %v, error %v", held, err)
	}
	if err := s.Release(t.Context(), one.ID, store.Fence{Owner: "a", Epoch: 1}); err != nil { // not its own any more: nothing happens
		t.Fatal(err)
	}
	want(claim("c", time.Hour, 10))
	if held, err := s.Renew(t.Context(), "b", time.Hour); err != nil || len(held) != 2 {
		t.Fatalf("held %v, error %v", held, err)
	}
	if err := s.Release(t.Context(), one.ID, store.Fence{Owner: "b", Epoch: 1}); err != nil { // an earlier claim of the same owner
		t.Fatal(err)
	}
	want(claim("c", time.Hour, 10))
	if err := s.Release(t.Context(), one.ID, store.Fence{Owner: "b", Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	want(claim("c", time.Hour, 10), store.Claim{RunID: one.ID, Epoch: 3, Interrupted: true})
	fence := store.Fence{Owner: "c", Epoch: 3}
	mustApply(t, s, store.Change{RunID: one.ID, Fence: &fence, Run: &store.RunChange{ReleaseLease: true}})
	want(claim("d", time.Hour, 10), store.Claim{RunID: one.ID, Epoch: 4, Interrupted: true})
	_, err = s.Claim(t.Context(), "", time.Hour, 1)
	wantCode(t, err, restart.CodeInvalid)
	if held, err := s.Renew(t.Context(), "", time.Hour); err != nil || len(held) != 0 {
		t.Fatalf("nobody holds %v, error %v", held, err)
	}
}

func exerciseClaimPaused(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	idle, active, ended := newRun(1), newRun(1), newRun(1)
	active.Service = "postfix"
	for _, run := range []restart.Run{idle, active, ended} {
		mustCreate(t, s, run)
	}
	mustApply(t, s, store.Change{RunID: idle.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseOperator}})
	mustApply(t, s, store.Change{RunID: active.ID, Run: &store.RunChange{To: restart.RunPaused}, Tasks: []store.TaskChange{{ID: active.Tasks[0].ID, Path: toTask(restart.TaskRunning)}}})
	mustApply(t, s, store.Change{RunID: ended.ID, Run: &store.RunChange{To: restart.RunAborted}})
	claims, err := s.Claim(t.Context(), "a", time.Hour, 10)
	if err != nil || len(claims) != 1 || claims[0].RunID != active.ID {
		t.Fatalf("claims %+v, error %v; want the one with an active task", claims, err)
	}
	if _, err := s.SetControl(t.Context(), idle.ID, restart.ControlPause); err != nil {
		t.Fatal(err)
	}
	if claims, err = s.Claim(t.Context(), "a", time.Hour, 10); err != nil || len(claims) != 0 {
		t.Fatalf("claims %+v, error %v; want none: it is paused already", claims, err)
	}
	mustApply(t, s, store.Change{RunID: idle.ID, Run: &store.RunChange{From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning}})
	fence := claimOne(t, s, "a", time.Hour, idle.ID)
	mustApply(t, s, store.Change{RunID: idle.ID, Fence: &fence, Run: &store.RunChange{To: restart.RunPaused, ReleaseLease: true}})
	if _, err := s.SetControl(t.Context(), idle.ID, restart.ControlAbort); err != nil { // a wish that a server is to obey
		t.Fatal(err)
	}
	claimOne(t, s, "a", time.Hour, idle.ID)
}

// exerciseClaimRace lets several servers claim at once, each by its own store
// where the database allows several.
func exerciseClaimRace(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	stores := []*store.Store{storetest.Open(t, dsn)}
	if other, err := store.Open(t.Context(), store.Config{DSN: dsn}); err == nil {
		t.Cleanup(func() { other.Close() })
		stores = append(stores, other)
	}
	const runs, owners = 40, 6
	for range runs {
		mustCreate(t, stores[0], newRun(1))
	}
	var mu sync.Mutex
	by := map[string]string{}
	var wait sync.WaitGroup
	for i := range owners {
		wait.Go(func() {
			owner, s := fmt.Sprint("server", i), stores[i%len(stores)]
			for !t.Failed() {
				claims, err := s.Claim(t.Context(), owner, time.Hour, 3)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, c := range claims {
					if before, taken := by[c.RunID]; taken || c.Epoch != 1 {
						t.Errorf("run %s went to %s and to %s, epoch %d", c.RunID, before, owner, c.Epoch)
					}
					by[c.RunID] = owner
				}
				done := len(by) == runs
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wait.Wait()
}

func exerciseProgress(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(2))
	task := run.Tasks[0].ID
	fence := claimOne(t, s, "a", time.Hour, run.ID)
	version := mustApply(t, s, store.Change{RunID: run.ID, Fence: &fence, Tasks: []store.TaskChange{{ID: task, Path: toTask(restart.TaskRunning)}}})
	if err := s.Progress(t.Context(), fence, task, "drain", json.RawMessage(`{"revision":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.Progress(t.Context(), fence, task, "", nil); err != nil {
		t.Fatal(err)
	}
	since, err := s.RunSince(t.Context(), run.ID, version)
	if err != nil || since.Version != version+2 || len(since.Tasks) != 1 || since.Tasks[0].Phase != "drain" || since.Tasks[0].State != restart.TaskRunning {
		t.Fatalf("since %d: %+v, error %v", version, since, err)
	}
	if detail, err := s.TaskDetail(t.Context(), task); err != nil || string(detail) != `{"revision":2}` {
		t.Fatalf("detail %q, error %v", detail, err)
	}
	wantCode(t, s.Progress(t.Context(), fence, run.Tasks[1].ID, "drain", nil), restart.CodeConflict) // planned
	wantCode(t, s.Progress(t.Context(), fence, newID(), "drain", nil), restart.CodeNotFound)
	wantCode(t, s.Progress(t.Context(), fence, task, "drain", json.RawMessage("{")), restart.CodeInvalid)
}

func exerciseReported(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ends := []restart.TaskState{
		restart.TaskSucceeded, restart.TaskUnknown, restart.TaskRefused, // to be forgotten
		restart.TaskUnreachable, restart.TaskNotStarted, restart.TaskRunning, restart.TaskPlanned, // nothing to forget, or not yet
	}
	run := mustCreate(t, s, newRun(len(ends)))
	c := store.Change{RunID: run.ID}
	for i, state := range ends {
		c.Tasks = append(c.Tasks, store.TaskChange{ID: run.Tasks[i].ID, Path: toTask(state)})
	}
	mustApply(t, s, c)
	var ids []string
	for _, task := range run.Tasks {
		ids = append(ids, task.ID)
	}
	unreported := func() (got []string) {
		tasks, err := s.Unreported(t.Context(), "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			if task.RunID != run.ID {
				t.Errorf("task of run %q", task.RunID)
			}
			got = append(got, task.ID)
		}
		return got
	}
	if diff := cmp.Diff(sorted(ids[:3]), unreported()); diff != "" {
		t.Fatalf("unreported (-want +got):\n%s", diff)
	}
	if err := s.MarkReported(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkReported(t.Context(), append([]string{ids[5]}, ids[:2]...)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids[2:3], unreported()); diff != "" {
		t.Fatalf("after two were reported (-want +got):\n%s", diff)
	}
	mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: ids[5], Path: []restart.TaskState{restart.TaskFailed}}}})
	if diff := cmp.Diff(sorted([]string{ids[2], ids[5]}), unreported()); diff != "" {
		t.Fatalf("one that ended since (-want +got):\n%s", diff)
	}
}
