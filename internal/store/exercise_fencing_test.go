package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseFencing looks at what a restore changes on purpose.
func exerciseFencing(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s := storetest.Open(t, dsn)
	open, waiting := fill(t, s)
	b, m := makeBackup(t, dsn, store.BackupOptions{})
	before := mustRun(t, s, open.ID)
	// The future that will be lost, in the trail of this server and of a new one.
	for range 5 {
		if err := s.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn, Time: epochStart}); err != nil {
			t.Fatal(err)
		}
	}
	for _, source := range []string{"main", "late"} {
		if err := s.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn, Time: epochStart, Source: source}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sequence(t.Context(), source, 0, link); err != nil {
			t.Fatal(err)
		}
	}
	shipped := trail(t, s)

	first, out := restoreTo(t, newDSN(t), b)
	if !slices.Equal(out.Paused, []string{open.ID, waiting.ID}) && !slices.Equal(out.Paused, []string{waiting.ID, open.ID}) {
		t.Errorf("paused %v", out.Paused)
	}
	if out.Drafts != 2 || out.Joins != 1 { // one of them of a schedule that is over
		t.Errorf("%+v", out)
	}
	after := mustRun(t, first, open.ID)
	if after.State != restart.RunPaused || after.Cause != restart.CauseInterrupted || !strings.Contains(after.Explanation, m.MadeAt.UTC().Format("2006-01-02 15:04:05 UTC")) {
		t.Errorf("%s (%s): %s", after.State, after.Cause, after.Explanation)
	}
	if after.Epoch < before.Epoch+store.EpochJump || after.Epoch < time.Now().Add(-time.Minute).UnixMilli() || after.Version < before.Version+store.EpochJump {
		t.Errorf("epoch %d after %d, version %d after %d", after.Epoch, before.Epoch, after.Version, before.Version)
	}
	if !after.Restored() || before.Restored() {
		t.Error("it can't be told that the run was restored")
	}
	for i, task := range after.Tasks {
		if task.State != before.Tasks[i].State || task.Version != after.Version {
			t.Errorf("task %d is %s, was %s; version %d of %d", i, task.State, before.Tasks[i].State, task.Version, after.Version)
		}
	}
	// The lease is void: whoever comes takes the run with tasks in flight, and only that.
	claims, err := first.Claim(t.Context(), "main/2", time.Hour, 10)
	if err != nil || len(claims) != 1 || claims[0].RunID != open.ID || claims[0].Epoch != after.Epoch+1 {
		t.Errorf("%+v %v", claims, err)
	}
	if locks, err := first.Locks(t.Context()); err != nil || len(locks) != 1 || locks[0].RunID != open.ID {
		t.Errorf("locks %v %v", locks, err)
	}
	if n := countRecords(t, first, audit.ServerRestored); n != 1 {
		t.Errorf("%d records of the restore", n)
	}
	if n := countRecords(t, first, audit.RunPaused); n != 2 {
		t.Errorf("%d records of pauses", n)
	}
	found, _, err := first.AuditSearch(t.Context(), store.AuditFilter{Action: audit.ServerRestored})
	if err != nil || found[0].Actor != "anna" || !strings.Contains(found[0].Detail, out.Digest) || !strings.Contains(found[0].Detail, "2 runs paused") {
		t.Errorf("%+v %v", found, err)
	}
	// Both trails go on in a new epoch, and what the sinks have got fits together.
	for _, source := range []string{"main", "late"} {
		if err := first.AppendAudit(t.Context(), audit.Record{Action: audit.ServerStarted, Source: source, Time: epochStart}); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Sequence(t.Context(), source, 0, link); err != nil {
			t.Fatal(err)
		}
	}
	once := trail(t, first)
	checkTrail(t, 1, shipped, once)

	// The same backup again, as it is: above everything that the first restore gave out.
	second, again := restoreTo(t, newDSN(t), b)
	if later := mustRun(t, second, open.ID); later.Epoch <= claims[0].Epoch {
		t.Errorf("the second restore gives epoch %d, the first has given %d", later.Epoch, claims[0].Epoch)
	}
	if again.Epoch <= out.Epoch {
		t.Errorf("epoch %d of the trail, after %d", again.Epoch, out.Epoch)
	}
	for _, source := range []string{"main", "late"} {
		if err := second.AppendAudit(t.Context(), audit.Record{Action: audit.ServerStarted, Source: source, Time: epochStart}); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Sequence(t.Context(), source, 0, link); err != nil {
			t.Fatal(err)
		}
	}
	checkTrail(t, 2, shipped, once, trail(t, second))
}

// exerciseRestoredWishes: who wanted a run to end is still obeyed; a pause is
// what everybody gets.
func exerciseRestoredWishes(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s := storetest.Open(t, dsn)
	wishes := map[restart.Control]restart.Control{
		restart.ControlNone: restart.ControlNone, restart.ControlPause: restart.ControlNone, restart.ControlAbort: restart.ControlAbort, restart.ControlForceAbort: restart.ControlForceAbort,
	}
	runs := map[restart.Control]restart.Run{}
	for wish := range wishes {
		run := newRun(1)
		run.Service = "s" + string(wish[:min(1, len(wish))]) + fmt.Sprint(len(wish))
		runs[wish] = mustCreate(t, s, run)
		if wish != restart.ControlNone {
			if _, err := s.SetControl(t.Context(), run.ID, wish); err != nil {
				t.Fatal(err)
			}
		}
	}
	paused := newRun(1)
	mustCreate(t, s, paused)
	mustApply(t, s, store.Change{RunID: paused.ID, Run: &store.RunChange{To: restart.RunPaused, Cause: restart.CauseFailure, Explanation: "web1: failed"}})
	over := newRun(0)
	mustCreate(t, s, over)
	mustApply(t, s, store.Change{RunID: over.ID, Run: &store.RunChange{To: restart.RunAborted, Cause: restart.CauseOperator, Explanation: "aborted by a person"}})
	b, _ := makeBackup(t, dsn, store.BackupOptions{})
	restored, _ := restoreTo(t, newDSN(t), b)
	for wish, want := range wishes {
		if run := mustRun(t, restored, runs[wish].ID); run.State != restart.RunPaused || run.Control != want {
			t.Errorf("wish %q: %s, wish %q", wish, run.State, run.Control)
		}
	}
	if run := mustRun(t, restored, paused.ID); run.Cause != restart.CauseFailure || !strings.HasPrefix(run.Explanation, "web1: failed; the database was restored from a backup of ") {
		t.Errorf("(%s): %s", run.Cause, run.Explanation)
	}
	if run := mustRun(t, restored, over.ID); run.State != restart.RunAborted || run.Explanation != "aborted by a person" || run.Epoch < store.EpochJump {
		t.Errorf("%+v", run)
	}
}

// trail gives what a sink has of both sources.
func trail(t *testing.T, s *store.Store) (lines []string) {
	t.Helper()
	for _, source := range []string{"main", "late"} {
		records, err := s.Sequenced(t.Context(), source, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			lines = append(lines, string(r.Canonical()))
		}
	}
	return lines
}

func checkTrail(t *testing.T, restores int64, parts ...[]string) {
	t.Helper()
	report, err := audit.Verify(strings.NewReader(strings.Join(slices.Concat(parts...), "\n") + "\n"))
	if err != nil || !report.OK || len(report.Sources) != 2 {
		t.Fatalf("%v %+v", err, report)
	}
	for _, s := range report.Sources {
		if s.Restores != restores || s.Superseded == 0 {
			t.Errorf("%+v", s)
		}
	}
	var b strings.Builder
	report.Write(&b)
	if !strings.Contains(b.String(), "a backup was restored") {
		t.Error(b.String())
	}
}
