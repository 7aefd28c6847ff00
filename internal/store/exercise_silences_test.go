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

// exerciseSilences keeps what was silenced until it is lifted, and finds what is
// left of tasks that are over.
func exerciseSilences(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := newRun(3)
	run.Plan = &restart.Plan{Silence: []string{"InstanceDown"}}
	mustCreate(t, s, run)
	ask := func(task int, system string, ends time.Time) (restart.Silence, bool) {
		t.Helper()
		a := restart.Silence{Run: run.ID, Task: run.Tasks[task].ID, Host: run.Tasks[task].Host, System: system, Alerts: []string{"InstanceDown", "Slow"}, State: restart.SilenceAsked, EndsAt: ends}
		again, err := s.AskSilence(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return a, again
	}
	settle := func(a restart.Silence, to restart.SilenceState, foreign string) error {
		a.State, a.Foreign = to, foreign
		return s.SettleSilence(t.Context(), a, audit.Record{Action: audit.TaskSilenced, Outcome: string(to)})
	}
	left := func(grace time.Duration) (out []string) {
		t.Helper()
		list, err := s.LeftSilences(t.Context(), grace, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if p.Actor != "anna" || p.Service != "nginx" || p.Environment != "production" || p.Attempt != 1 {
				t.Errorf("of what: %+v", p)
			}
			out = append(out, p.Host+" "+p.System)
		}
		return out
	}
	counted := func(grace time.Duration, main, other store.SilenceCounts) {
		t.Helper()
		got, err := s.CountSilences(t.Context(), grace)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]store.SilenceCounts{"main": main, "other": other}, got); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	}
	if none, err := s.CountSilences(t.Context(), 0); len(none) != 0 || err != nil {
		t.Errorf("%v, %v", none, err)
	}
	later := time.Now().Add(time.Hour)
	a, again := ask(0, "main", later)
	if again {
		t.Error("the first is not the first")
	}
	for _, next := range []restart.SilenceState{restart.SilenceAsked, "odd"} {
		wantCode(t, settle(a, next, ""), restart.CodeConflict)
	}
	if err := settle(a, restart.SilencePlaced, "id-1"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, settle(a, restart.SilencePlaced, "id-2"), restart.CodeConflict)
	wantCode(t, settle(a, restart.SilenceRefused, ""), restart.CodeConflict)
	b, _ := ask(0, "other", later)
	b.Failure = "it does not answer\x00"
	if err := s.SilenceFailed(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	open, err := s.OpenSilences(t.Context(), run.Tasks[0].ID)
	if err != nil || len(open) != 2 || open[0].Foreign != "id-1" || open[0].State != restart.SilencePlaced || open[1].State != restart.SilenceAsked || open[1].Failure == "" {
		t.Fatalf("%+v, %v", open, err)
	}
	if diff := cmp.Diff([]string{"InstanceDown", "Slow"}, open[0].Alerts); diff != "" || open[0].EndsAt.Sub(later).Abs() > time.Microsecond || open[0].AskedAt.IsZero() {
		t.Errorf("%+v %s", open[0], diff)
	}

	// Of a task that has not begun, one is left once it has had its time; of one in
	// hand, none is; of one that is over, or whose silence is, each.
	ask(1, "main", later)
	ask(2, "main", time.Now().Add(-time.Hour))
	if diff := cmp.Diff([]string{run.Tasks[2].Host + " main"}, left(time.Hour)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	counted(time.Hour, store.SilenceCounts{Held: 2, Ended: 1}, store.SilenceCounts{Held: 1})
	if got := left(0); len(got) != 4 {
		t.Errorf("without grace: %q", got)
	}
	counted(0, store.SilenceCounts{Due: 2, Ended: 1}, store.SilenceCounts{Due: 1})
	mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{
		{ID: run.Tasks[0].ID, Path: []restart.TaskState{restart.TaskNotStarted}},
		{ID: run.Tasks[1].ID, Path: []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching}},
	}})
	want := []string{run.Tasks[0].Host + " main", run.Tasks[0].Host + " other", run.Tasks[2].Host + " main"}
	if diff := cmp.Diff(want, left(0)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	counted(0, store.SilenceCounts{Held: 1, Due: 1, Ended: 1}, store.SilenceCounts{Due: 1})
	if err := settle(a, restart.SilenceLifted, "id-1"); err != nil {
		t.Fatal(err)
	}
	counted(0, store.SilenceCounts{Held: 1, Ended: 1}, store.SilenceCounts{Due: 1})
	wantCode(t, settle(a, restart.SilenceLifted, "id-1"), restart.CodeConflict)
	if err := s.SilenceFailed(t.Context(), a, audit.Record{Action: audit.TaskUnsilenced}); err != nil {
		t.Fatal(err)
	}
	if got := left(0); len(got) != 2 {
		t.Errorf("after one was lifted: %q", got)
	}

	// Begun anew: of one that is over a new row, of one that is not the same.
	if _, again := ask(0, "main", later); again {
		t.Error("what was lifted is there still")
	}
	if _, again := ask(0, "other", later); !again {
		t.Error("what is open was forgotten")
	}
	whole := mustRun(t, s, run.ID)
	if len(whole.Silenced) != 4 || whole.Silenced[0].Failure != "" {
		t.Errorf("with the run: %+v", whole.Silenced)
	}
	for action, n := range map[audit.Action]int{audit.TaskSilenced: 2, audit.TaskUnsilenced: 0} {
		if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: action}); err != nil || len(records) != n {
			t.Errorf("%d records of %s, want %d (%v)", len(records), action, n, err)
		}
	}
}

// exerciseStuckSilences: what can't be lifted hides nothing that can be, of
// another system or of its own.
func exerciseStuckSilences(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := newRun(12)
	run.Plan = &restart.Plan{Silence: []string{"InstanceDown"}}
	mustCreate(t, s, run)
	for i, task := range run.Tasks {
		a := restart.Silence{Run: run.ID, Task: task.ID, Host: task.Host, System: "stuck", Alerts: []string{"InstanceDown"}, State: restart.SilenceAsked, EndsAt: time.Now().Add(-time.Hour)}
		if i == len(run.Tasks)-1 {
			a.System = "well"
		}
		if _, err := s.AskSilence(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if a.Failure = "it refuses"; i < len(run.Tasks)-2 {
			if err := s.SilenceFailed(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := map[string]bool{}
	for tries := 0; len(seen) < len(run.Tasks) && tries < 1000; tries++ {
		left, err := s.LeftSilences(t.Context(), 0, 2)
		if err != nil {
			t.Fatal(err)
		}
		var untried, well, stuck int
		for _, p := range left {
			seen[p.Task] = true
			switch {
			case p.System == "well":
				well++
			case p.Failure == "":
				untried++
			default:
				stuck++
			}
		}
		if untried != 1 || well != 1 || stuck != 1 {
			t.Fatalf("%d that were not tried, %d of a system that does well, %d that are stuck", untried, well, stuck)
		}
	}
	if len(seen) != len(run.Tasks) {
		t.Errorf("only %d of %d have had their turn", len(seen), len(run.Tasks))
	}
}
