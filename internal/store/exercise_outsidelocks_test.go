package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseOutsideLocks keeps what runs have of others.
func exerciseOutsideLocks(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(1))
	waiting := store.OutsideLock{
		RunID: run.ID, Name: "cluster", Kind: "zookeeper", Place: "/locks/nginx/production", State: store.OutsideWaiting, Note: "deploy-7 has it", Server: "main", Since: epochStart,
	}
	reboots := store.OutsideLock{RunID: run.ID, Name: "reboots", Kind: "fleetlock", Place: "group default", State: store.OutsideHeld, Server: "main", Since: epochStart}
	for _, l := range []store.OutsideLock{reboots, waiting} {
		if err := s.KeepOutsideLock(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want ...store.OutsideLock) {
		t.Helper()
		got, err := s.OutsideLocks(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	}
	want(waiting, reboots)

	past := waiting
	past.State, past.Note, past.Since = store.OutsideBypassed, "it does not answer", epochStart.Add(time.Minute)
	if err := s.KeepOutsideLock(t.Context(), past, audit.Record{Action: audit.LockBypassed, Run: run.ID, Actor: "anna"}); err != nil {
		t.Fatal(err)
	}
	want(past, reboots)
	if got, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: audit.LockBypassed}); err != nil || len(got) != 1 || got[0].Run != run.ID {
		t.Errorf("in the trail: %+v, %v", got, err)
	}

	for range 2 {
		if err := s.DropOutsideLock(t.Context(), run.ID, "cluster"); err != nil {
			t.Fatal(err)
		}
	}
	want(reboots)
	mustApply(t, s, store.Change{RunID: run.ID, Hold: true, Run: &store.RunChange{To: restart.RunRunning}})
	if err := s.DropOutsideLock(t.Context(), run.ID, "reboots"); err != nil {
		t.Fatal(err)
	}
	want(reboots) // of a run that holds its service again
	wantCode(t, s.KeepOutsideLock(t.Context(), store.OutsideLock{RunID: newID(), Name: "x"}), restart.CodeNotFound)
	wantCode(t, s.KeepOutsideLock(t.Context(), store.OutsideLock{RunID: "../x", Name: "x"}), restart.CodeInvalid)
}
