package store_test

import (
	"context"
	"database/sql"
	"fmt"
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

func exerciseReopen(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	first, err := store.Open(t.Context(), store.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(1)
	mustCreate(t, first, run)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatalf("closing twice: %v", err)
	}
	second := storetest.Open(t, dsn)
	if err := second.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mustRun(t, second, run.ID); got.ID != run.ID {
		t.Fatalf("run %s is not there after opening again", run.ID)
	}
}

// raw opens a database beside the store, to do what the store never does.
func raw(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	driver, name := "pgx", dsn
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, name = "sqlite", path
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exerciseNewerSchema(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s, err := store.Open(t.Context(), store.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := raw(t, dsn).Exec("INSERT INTO schema_version (version, name, applied_at) VALUES (99, 'from the future', 0)"); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), store.Config{DSN: dsn})
	wantCode(t, err, restart.CodeConflict)
	if !strings.Contains(err.Error(), "schema 99") {
		t.Fatalf("the refusal does not name the schema: %v", err)
	}
}

func exerciseClosed(t *testing.T, newDSN storetest.NewDSN) {
	s, err := store.Open(t.Context(), store.Config{DSN: newDSN(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(t.Context(), newID())
	wantCode(t, err, restart.CodeUnavailable)
	_, err = s.CreateRun(t.Context(), newRun(1), "", nil, nil)
	wantCode(t, err, restart.CodeUnavailable)
}

func exerciseRoundTrip(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := newRun(3)
	run.Project, run.Group, run.Ticket, run.Params = "shop", "shop-web", "OPS-1", map[string]string{"mode": "fast"}
	run.Plan = &restart.Plan{
		Hash: "h", Scenario: run.Scenario, Digest: run.Digest, Kind: run.Kind, Service: restart.Service{Name: "nginx", Unit: "nginx.service"},
		Hosts: []restart.PlannedHost{{Host: restart.Host{Name: "web0.example.com"}, Health: restart.HealthHealthy}}, Batches: []int{1, 1, 1},
		Strategy: restart.Strategy{}.Defaults(), MadeAt: epochStart, InventoryAt: epochStart,
	}
	mustCreate(t, s, run)
	got := mustRun(t, s, run.ID)
	if diff := cmp.Diff(run, got); diff != "" {
		t.Fatalf("the run came back changed (-stored +read):\n%s", diff)
	}
	_, err := s.Run(t.Context(), newID())
	wantCode(t, err, restart.CodeNotFound)
	_, err = s.RunSince(t.Context(), newID(), 0)
	wantCode(t, err, restart.CodeNotFound)

	version := mustApply(t, s, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[1].ID, Path: toTask(restart.TaskAccepted)}}})
	since, err := s.RunSince(t.Context(), run.ID, got.Version)
	if err != nil {
		t.Fatal(err)
	}
	if since.Version != version || since.Plan != nil || len(since.Tasks) != 1 || since.Tasks[0].ID != run.Tasks[1].ID || since.Tasks[0].Version != version {
		t.Fatalf("changed since %d: %+v", got.Version, since)
	}
	if since, err = s.RunSince(t.Context(), run.ID, version); err != nil || len(since.Tasks) != 0 {
		t.Fatalf("nothing changed since %d, got %+v, %v", version, since.Tasks, err)
	}
}

func exerciseBeginnings(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for _, state := range restart.RunStates() {
		run := newRun(1)
		run.State = state
		_, err := s.CreateRun(t.Context(), run, "", nil, nil)
		switch state {
		case restart.RunDraft, restart.RunQueued:
			if err != nil {
				t.Errorf("a run begins as %s: %v", state, err)
			}
		default:
			wantCode(t, err, restart.CodeInvalid)
		}
	}
	for name, spoil := range map[string]func(*restart.Run){
		"id":           func(r *restart.Run) { r.ID = "../../etc/cron.d/x" },
		"created":      func(r *restart.Run) { r.CreatedAt = time.Time{} },
		"task id":      func(r *restart.Run) { r.Tasks[0].ID = "-rf" },
		"task host":    func(r *restart.Run) { r.Tasks[0].Host = "../x" },
		"task state":   func(r *restart.Run) { r.Tasks[0].State = restart.TaskRunning },
		"task attempt": func(r *restart.Run) { r.Tasks[0].Attempt = 0 },
		"task run":     func(r *restart.Run) { r.Tasks[0].RunID = newID() },
	} {
		run := newRun(1)
		spoil(&run)
		if _, err := s.CreateRun(t.Context(), run, "", nil, nil); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	run := mustCreate(t, s, newRun(1))
	_, err := s.CreateRun(t.Context(), run, "", nil, nil)
	wantCode(t, err, restart.CodeConflict)
	_, err = s.CreateRun(t.Context(), newRun(1), "", []byte("other bytes"), nil)
	wantCode(t, err, restart.CodeInvalid)
}

func exerciseIdempotency(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	first := newRun(2)
	record := audit.Record{Action: audit.RunRequested, Run: first.ID}
	if existing, err := s.CreateRun(t.Context(), first, "key", []byte(scenarioBody), []audit.Record{record}); existing != nil || err != nil {
		t.Fatalf("existing %v, error %v", existing, err)
	}
	again := newRun(2)
	existing, err := s.CreateRun(t.Context(), again, "key", []byte(scenarioBody), []audit.Record{record})
	if err != nil || existing == nil || existing.ID != first.ID || len(existing.Tasks) != 2 {
		t.Fatalf("the same key: existing %v, error %v", existing, err)
	}
	_, err = s.Run(t.Context(), again.ID)
	wantCode(t, err, restart.CodeNotFound)
	if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: first.ID}); err != nil || len(records) != 1 {
		t.Fatalf("records %v, error %v, want one", records, err)
	}
	other := newRun(2)
	other.Reason = "memory climbs since monday"
	_, err = s.CreateRun(t.Context(), other, "key", nil, nil)
	wantCode(t, err, restart.CodeConflict)
	boris := newRun(2)
	boris.Actor = "boris"
	if existing, err := s.CreateRun(t.Context(), boris, "key", nil, nil); existing != nil || err != nil {
		t.Fatalf("another actor's key: existing %v, error %v", existing, err)
	}
	if body, err := s.Scenario(t.Context(), first.Digest); err != nil || string(body) != scenarioBody {
		t.Fatalf("scenario %q, error %v", body, err)
	}
}

func exerciseIdempotencyRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	const clicks = 8
	var wait sync.WaitGroup
	ids := make([]string, clicks)
	for i := range clicks {
		wait.Go(func() {
			run := newRun(1)
			existing, err := s.CreateRun(t.Context(), run, "double click", nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = run.ID
			if existing != nil {
				ids[i] = existing.ID
			}
		})
	}
	wait.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one key made several runs: %v", ids)
		}
	}
}

func exerciseControl(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(1))
	record := audit.Record{Action: audit.RunAbortRequested, Run: run.ID, Actor: "boris"}
	ask := func(c restart.Control) error {
		got, err := s.SetControl(t.Context(), run.ID, c, record)
		if err == nil && (got.Control != c || got.ID != run.ID || len(got.Tasks) != 1) {
			t.Errorf("asked for %q, got %+v", c, got)
		}
		return err
	}
	for _, c := range []restart.Control{restart.ControlPause, restart.ControlNone, restart.ControlAbort, restart.ControlAbort, restart.ControlForceAbort} {
		if err := ask(c); err != nil {
			t.Fatalf("%q: %v", c, err)
		}
	}
	for _, weaker := range []restart.Control{restart.ControlNone, restart.ControlPause, restart.ControlAbort} {
		wantCode(t, ask(weaker), restart.CodeConflict)
	}
	wantCode(t, ask("please"), restart.CodeInvalid)
	if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Actor: "boris"}); err != nil || len(records) != 5 {
		t.Fatalf("%d records, error %v, want 5", len(records), err)
	}
	mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted, SetFinished: true}})
	if got := mustRun(t, s, run.ID); got.Control != restart.ControlNone {
		t.Fatalf("an ended run still has control %q", got.Control)
	}
	wantCode(t, ask(restart.ControlPause), restart.CodeConflict)
	_, err := s.SetControl(t.Context(), newID(), restart.ControlPause)
	wantCode(t, err, restart.CodeNotFound)
}

func exerciseList(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	start := time.Now()
	var newest []restart.Run // as the list should show them
	for i := range 25 {
		run := newRun(2)
		run.ID = restart.NewID(start.Add(time.Duration(i) * time.Second))
		for j := range run.Tasks {
			run.Tasks[j].RunID = run.ID
		}
		if i%5 == 0 {
			run.Service = "postfix"
		}
		if i%2 == 0 {
			run.Actor, run.Environment = "boris", "testing"
		}
		if i == 7 {
			run.Tasks[0].Host = "odd.example.com"
		}
		mustCreate(t, s, run)
		if i%3 == 0 {
			mustApply(t, s, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
			run.State = restart.RunAborted
		}
		newest = append([]restart.Run{run}, newest...)
	}
	draft := newRun(1)
	draft.State = restart.RunDraft
	mustCreate(t, s, draft)

	for name, c := range map[string]struct {
		filter store.RunFilter
		fits   func(restart.Run) bool
	}{
		"all":         {store.RunFilter{}, func(restart.Run) bool { return true }},
		"service":     {store.RunFilter{Service: "postfix"}, func(r restart.Run) bool { return r.Service == "postfix" }},
		"environment": {store.RunFilter{Environment: "testing"}, func(r restart.Run) bool { return r.Environment == "testing" }},
		"actor":       {store.RunFilter{Actor: "anna"}, func(r restart.Run) bool { return r.Actor == "anna" }},
		"host":        {store.RunFilter{Host: "odd.example.com"}, func(r restart.Run) bool { return r.Tasks[0].Host == "odd.example.com" }},
		"state":       {store.RunFilter{States: []restart.RunState{restart.RunAborted}}, func(r restart.Run) bool { return r.State == restart.RunAborted }},
		"states": {store.RunFilter{States: []restart.RunState{restart.RunAborted, restart.RunQueued}, Service: "nginx"},
			func(r restart.Run) bool { return r.Service == "nginx" }},
		"drafts": {store.RunFilter{States: []restart.RunState{restart.RunDraft}}, func(restart.Run) bool { return false }},
		"nobody": {store.RunFilter{Actor: "nobody"}, func(restart.Run) bool { return false }},
	} {
		var want, got []string
		for _, run := range newest {
			if c.fits(run) {
				want = append(want, run.ID)
			}
		}
		c.filter.Limit = 4
		for pages := 0; ; pages++ {
			runs, next, err := s.Runs(t.Context(), c.filter)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, run := range runs {
				if len(run.Tasks) != 2 || run.Tasks[0].Position != 0 || run.Plan != nil {
					t.Errorf("%s: run without its tasks, or with its plan: %+v", name, run)
				}
				got = append(got, run.ID)
			}
			if c.filter.Before = next; next == "" || pages > 10 {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	_, _, err := s.Runs(t.Context(), store.RunFilter{Before: "'; DROP TABLE runs; --"})
	wantCode(t, err, restart.CodeInvalid)
}

func exerciseLarge(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	const hosts, moved = 10_000, 2000
	run := mustCreate(t, s, newRun(hosts))
	got := mustRun(t, s, run.ID)
	if len(got.Tasks) != hosts || got.Tasks[hosts-1].Host != run.Tasks[hosts-1].Host || got.Tasks[123].Position != 123 {
		t.Fatalf("%d tasks came back", len(got.Tasks))
	}
	change := store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted, SetFinished: true}}
	for _, task := range run.Tasks[:moved] {
		change.Tasks = append(change.Tasks, store.TaskChange{ID: task.ID, Path: []restart.TaskState{restart.TaskNotStarted}})
		change.Records = append(change.Records, audit.Record{Action: audit.TaskOutcome, Run: run.ID, Task: task.ID, Outcome: "not_started"})
	}
	version := mustApply(t, s, change)
	since, err := s.RunSince(t.Context(), run.ID, version-1)
	if err != nil || len(since.Tasks) != moved || since.Tasks[0].State != restart.TaskNotStarted {
		t.Fatalf("%d changed tasks, error %v", len(since.Tasks), err)
	}
}

func exerciseText(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := newRun(1)
	run.Actor, run.Reason, run.Ticket = "анна", "после выката 502 — 'кавычки' \" ; -- \\ 🚀", "$1 ? $now"
	mustCreate(t, s, run)
	mustApply(t, s, store.Change{
		RunID: run.ID, Run: &store.RunChange{To: restart.RunPaused, Explanation: "a\x00b"},
		Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Path: toTask(restart.TaskFailed), Error: "exit \xff\xfe \x00 状態"}},
	})
	got := mustRun(t, s, run.ID)
	if got.Actor != run.Actor || got.Reason != run.Reason || got.Ticket != run.Ticket {
		t.Fatalf("text came back changed: %q %q %q", got.Actor, got.Reason, got.Ticket)
	}
	if got.Explanation != "a\uFFFDb" || got.Tasks[0].Error != "exit \uFFFD \uFFFD 状態" {
		t.Fatalf("text that can't be stored: %q, %q", got.Explanation, got.Tasks[0].Error)
	}
	if runs, _, err := s.Runs(t.Context(), store.RunFilter{Actor: "анна"}); err != nil || len(runs) != 1 {
		t.Fatalf("found %d runs, error %v", len(runs), err)
	}
}

func exerciseCancelled(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	run := newRun(1)
	if _, err := s.CreateRun(ctx, run, "", nil, nil); err == nil {
		t.Fatal("a cancelled write was answered as done")
	}
	_, err := s.Run(t.Context(), run.ID)
	wantCode(t, err, restart.CodeNotFound)
}

// exerciseOneStatement: what is read without a transaction is one statement, and
// changes nothing.
func exerciseOneStatement(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustCreate(t, s, newRun(1))
	if err := store.Ask(s, 1); err != nil {
		t.Error(err)
	}
	if err := store.Ask(s, 2); err == nil {
		t.Error("two statements passed for one question, though each sees the database at its own moment")
	}
	if err := store.ChangeByAsking(s); err == nil {
		t.Error("a question changed the database")
	}
	mustRun(t, s, run.ID)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, store.Ask(s, 1), restart.CodeUnavailable)
}

// exerciseGroup sends many writes at once, every fifth of which is refused.
func exerciseGroup(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	const writers = 60
	run := mustCreate(t, s, newRun(writers))
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() {
			path := toTask(restart.TaskDispatching)
			if i%5 == 0 {
				path = []restart.TaskState{restart.TaskSucceeded} // forbidden from planned
			}
			_, errs[i] = s.Apply(t.Context(), store.Change{
				RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[i].ID, Path: path}},
				Records: []audit.Record{{Action: audit.TaskIntent, Run: run.ID, Task: run.Tasks[i].ID, Detail: fmt.Sprint(i)}},
			})
		})
	}
	wait.Wait()
	got := mustRun(t, s, run.ID)
	if got.Version != 1+writers-writers/5 {
		t.Errorf("version %d after %d changes that were made", got.Version, writers-writers/5)
	}
	for i, task := range got.Tasks {
		want, code := restart.TaskDispatching, restart.Code("")
		if i%5 == 0 {
			want, code = restart.TaskPlanned, restart.CodeConflict
		}
		if task.State != want || restart.CodeOf(errs[i]) != code {
			t.Errorf("task %d is %s, error %v", i, task.State, errs[i])
		}
	}
	records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID, Limit: 200})
	if err != nil || len(records) != writers-writers/5 {
		t.Errorf("%d records, error %v", len(records), err)
	}
}

func exerciseOldDrafts(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	draft := func(age time.Duration) restart.Run {
		run := newRun(1)
		run.State, run.CreatedAt = restart.RunDraft, time.Now().Add(-age).UTC().Truncate(time.Microsecond)
		return mustCreate(t, s, run)
	}
	old, started := draft(25*time.Hour), newRun(1)
	started.CreatedAt = old.CreatedAt
	mustCreate(t, s, started)
	fresh := draft(23 * time.Hour)
	mustRun(t, s, fresh.ID)
	mustRun(t, s, started.ID)
	_, err := s.Run(t.Context(), old.ID)
	wantCode(t, err, restart.CodeNotFound)
}
