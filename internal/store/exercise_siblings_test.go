package store_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseSiblings starts drafts that were made from the same run: one after
// another, and at once over connections of their own.
func exerciseSiblings(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	stores := []*store.Store{storetest.Open(t, dsn)}
	if other, err := store.Open(t.Context(), store.Config{DSN: dsn}); err == nil {
		t.Cleanup(func() { other.Close() })
		stores = append(stores, other)
	}
	s := stores[0]
	parent := mustCreate(t, s, newRun(1))
	drafts := func(n int, work restart.Work) (all []restart.Run) {
		for range n {
			run := newRun(0)
			run.State, run.Parent, run.Work = restart.RunDraft, parent.ID, work
			run.CreatedAt = time.Now().UTC() // an old draft is dropped as the next run is made
			all = append(all, mustCreate(t, s, run))
		}
		return all
	}
	start := func(s *store.Store, run restart.Run, besides ...string) error {
		_, err := s.Apply(t.Context(), store.Change{
			RunID: run.ID, Alone: &store.Alone{Besides: besides}, Run: &store.RunChange{From: []restart.RunState{restart.RunDraft}, To: restart.RunQueued},
		})
		return err
	}
	whole, undrains := drafts(3, restart.WorkWhole), drafts(1, restart.WorkUndrain)
	if err := start(s, whole[0]); err != nil { // drafts are in nobody's way
		t.Fatal(err)
	}
	err := start(s, whole[1])
	wantCode(t, err, restart.CodePlanChanged)
	if e, ok := errors.AsType[*restart.Error](err); !ok || !strings.Contains(e.Message, whole[0].ID) || !strings.Contains(e.Hint, "plan again") {
		t.Errorf("%v", err)
	}
	if got := mustRun(t, s, whole[1].ID); got.State != restart.RunDraft || got.Version != 1 {
		t.Errorf("a refused start has left %s, version %d", got.State, got.Version)
	}
	if err := start(s, undrains[0]); err != nil { // other work
		t.Error(err)
	}
	mustApply(t, s, store.Change{RunID: whole[0].ID, Run: &store.RunChange{To: restart.RunAborted}})
	wantCode(t, start(s, whole[1]), restart.CodePlanChanged) // whatever has become of it
	if err := start(s, whole[1], whole[0].ID); err != nil {  // whose plan knows of it
		t.Error(err)
	}
	wantCode(t, start(s, whole[1], whole[0].ID), restart.CodeConflict) // it has started
	wantCode(t, start(s, whole[2], whole[0].ID), restart.CodePlanChanged)

	for range 12 {
		parent = mustCreate(t, s, newRun(1))
		runs := drafts(4, restart.WorkWhole)
		errs := make([]error, len(runs))
		var wait sync.WaitGroup
		for i := range runs {
			wait.Go(func() { errs[i] = start(stores[i%len(stores)], runs[i]) })
		}
		wait.Wait()
		winners := 0
		for _, err := range errs {
			if err == nil {
				winners++
				continue
			}
			wantCode(t, err, restart.CodePlanChanged)
		}
		if winners != 1 {
			t.Fatalf("%d of %d have started: %v", winners, len(runs), errs)
		}
	}
}
