package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseReach: what other servers have recorded of a run since its newest
// intent is found, whatever was refused meanwhile.
func exerciseReach(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	add := func(source string, action audit.Action, outcome string) {
		t.Helper()
		err := s.AppendAudit(t.Context(), audit.Record{Source: source, Action: action, Run: "r1", Outcome: outcome, Detail: "web1"})
		if err != nil {
			t.Fatal(err)
		}
	}
	place := func(source string) {
		t.Helper()
		if _, err := s.Sequence(t.Context(), source, 0, link); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := func(when string, want ...audit.Part) {
		t.Helper()
		got, err := s.Elsewhere(t.Context(), "r1", "mine")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", when, err, diff)
		}
	}
	elsewhere("nothing is recorded")
	add("old", audit.RunRequested, "")
	elsewhere("there is no intent", audit.Part{Source: "old", Unplaced: true})
	add("old", audit.RunStarted, "")
	add("old", audit.TaskIntent, "")
	place("old")
	elsewhere("it was begun elsewhere", audit.Part{Source: "old", Last: 3})
	add("two", audit.RunResumed, "")
	elsewhere("it was resumed elsewhere", audit.Part{Source: "two", Unplaced: true})
	for range 45 { // more than are read at once
		add("two", audit.RunResumed, string(restart.CodeForbidden))
	}
	place("two")
	add("old", audit.TaskLearned, "succeeded")
	elsewhere("refused since", audit.Part{Source: "old", Unplaced: true}, audit.Part{Source: "two", Last: 46})
	add("mine", audit.RunResumed, "")
	elsewhere("it was resumed here")
	if err := s.AppendAudit(t.Context(), audit.Record{Source: "two", Action: audit.RunResumed, Run: "r2"}); err != nil {
		t.Fatal(err)
	}
	elsewhere("another run")

	for sink, seq := range map[string]int64{"relp:a:1": 7, "file:/x": 9} {
		if err := s.SetCursor(t.Context(), sink, "two", seq); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Cursors(t.Context(), "two")
	if diff := cmp.Diff(map[string]int64{"relp:a:1": 7, "file:/x": 9}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := s.Cursors(t.Context(), "mine"); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}

	records, err := s.Sequenced(t.Context(), "two", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	for _, r := range records[10:30] {
		want += int64(len(r.Canonical()))
	}
	if n, err := s.AuditBytes(t.Context(), "two", 10, 30); n != want || err != nil {
		t.Errorf("%d bytes, %v, want %d", n, err, want)
	}
	if n, err := s.AuditBytes(t.Context(), "nobody", 0, 30); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// exerciseHostsInHand: hosts count until they have ended, or their run has.
func exerciseHostsInHand(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for i := range 3 {
		run := mustCreate(t, s, newRun(2))
		if i == 2 {
			mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{From: []restart.RunState{run.State}, To: restart.RunAborted, SetFinished: true}})
		}
	}
	if n, err := s.HostsInHand(t.Context()); err != nil || n != 4 {
		t.Errorf("%d hosts, %v, want 4", n, err)
	}
}
