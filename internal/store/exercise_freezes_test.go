package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func exerciseFreezes(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	list := func(at time.Time) []restart.Freeze {
		t.Helper()
		got, err := s.Freezes(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := list(epochStart); len(got) != 0 {
		t.Fatalf("in an empty database: %v", got)
	}
	dated := restart.Freeze{
		ID: restart.NewID(epochStart), Environments: []string{"production", "testing"}, Services: []string{"nginx"}, From: new(epochStart), To: new(epochStart.Add(time.Hour)),
		Zone: "Europe/Berlin", Reason: "the shop's big day", CreatedBy: "root", CreatedAt: epochStart,
	}
	weekly := restart.Freeze{
		ID: restart.NewID(epochStart.Add(time.Second)), Environments: []string{"all"}, Weekly: "fri 18:00-mon 08:00", Zone: "UTC", Reason: "nobody is there", CreatedBy: "root", CreatedAt: epochStart,
	}
	for _, f := range []restart.Freeze{dated, weekly} {
		if err := s.AddFreeze(t.Context(), f, audit.Record{Action: audit.FreezeAdded, Actor: "root"}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]restart.Freeze{dated, weekly}, list(epochStart)); diff != "" {
		t.Fatalf("freezes (-want +got):\n%s", diff)
	}
	if got := list(epochStart.Add(time.Hour)); len(got) != 1 || got[0].ID != weekly.ID {
		t.Fatalf("after the end of one: %+v", got)
	}
	wantCode(t, s.AddFreeze(t.Context(), dated), restart.CodeConflict)
	both := dated
	both.Weekly = "fri 18:00-mon 08:00"
	wantCode(t, s.AddFreeze(t.Context(), both), restart.CodeInvalid)
	wantCode(t, s.AddFreeze(t.Context(), restart.Freeze{ID: newID()}), restart.CodeInvalid)

	removed := audit.Record{Action: audit.FreezeRemoved, Actor: "root"}
	if err := s.RemoveFreeze(t.Context(), weekly.ID, epochStart, removed); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.RemoveFreeze(t.Context(), weekly.ID, epochStart, removed), restart.CodeConflict)
	wantCode(t, s.RemoveFreeze(t.Context(), newID(), epochStart, removed), restart.CodeNotFound)
	if got := list(epochStart.Add(time.Hour)); len(got) != 0 {
		t.Fatalf("after it was lifted: %+v", got)
	}
	for action, n := range map[audit.Action]int{audit.FreezeAdded: 2, audit.FreezeRemoved: 1} {
		if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: action}); err != nil || len(records) != n {
			t.Errorf("%d records of %s, want %d (%v)", len(records), action, n, err)
		}
	}
}

// inGroup makes a queued run whose lock is of a group; "" = of the environment.
func inGroup(t *testing.T, s *store.Store, group string, holds restart.Holds) restart.Run {
	t.Helper()
	run := newRun(1)
	run.Group, run.Plan = group, &restart.Plan{Holds: holds}
	return mustCreate(t, s, run)
}

func exerciseLockScope(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	hold := func(run restart.Run) error {
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Hold: true, At: epochStart})
		return err
	}
	blue, blueToo := inGroup(t, s, "blue", restart.HoldsGroup), inGroup(t, s, "blue", restart.HoldsGroup)
	green, whole := inGroup(t, s, "green", restart.HoldsGroup), inGroup(t, s, "green", restart.HoldsEnvironment)
	for _, run := range []restart.Run{blue, green, blue} { // different groups go side by side; again is no harm
		if err := hold(run); err != nil {
			t.Fatal(err)
		}
	}
	err := hold(blueToo)
	wantCode(t, err, restart.CodeLocked)
	if !strings.Contains(err.Error(), blue.ID) || !strings.Contains(err.Error(), "group blue") {
		t.Errorf("the holder is not named: %v", err)
	}
	err = hold(whole)
	wantCode(t, err, restart.CodeLocked)
	locks, err := s.Locks(t.Context())
	if err != nil || len(locks) != 2 || locks[0] != (store.Lock{Service: "nginx", Environment: "production", Group: "blue", RunID: blue.ID, Actor: "anna", State: restart.RunQueued, Since: epochStart}) {
		t.Fatalf("locks %+v, error %v", locks, err)
	}
	mustApply(t, s, store.Change{RunID: blue.ID, Release: true})
	wantCode(t, hold(whole), restart.CodeLocked) // green is held still
	mustApply(t, s, store.Change{RunID: green.ID, Release: true})
	if err := hold(whole); err != nil {
		t.Fatal(err)
	}
	wantCode(t, hold(blueToo), restart.CodeLocked)
	testing := newRun(1)
	testing.Environment, testing.Group, testing.Plan = "testing", "blue", &restart.Plan{Holds: restart.HoldsGroup}
	if err := hold(mustCreate(t, s, testing)); err != nil { // elsewhere
		t.Fatal(err)
	}
	mustApply(t, s, store.Change{RunID: whole.ID, Run: &store.RunChange{To: restart.RunAborted}}) // an end gives back
	if err := hold(blueToo); err != nil {
		t.Fatal(err)
	}
	// One active task a service and host, whatever the locks are of.
	other := inGroup(t, s, "green", restart.HoldsGroup)
	if err := hold(other); err != nil {
		t.Fatal(err)
	}
	start := func(run restart.Run) error {
		_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Path: []restart.TaskState{restart.TaskIntentLogged}}}})
		return err
	}
	if err := start(blueToo); err != nil {
		t.Fatal(err)
	}
	wantCode(t, start(other), restart.CodeLocked) // both have web0
}

// exerciseLockScopeRace lets runs that want the whole environment and runs that
// want a group ask at once, over connections of their own: whoever wins, no two
// that bear each other hold.
func exerciseLockScopeRace(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	stores := []*store.Store{storetest.Open(t, dsn)}
	if other, err := store.Open(t.Context(), store.Config{DSN: dsn}); err == nil {
		t.Cleanup(func() { other.Close() })
		stores = append(stores, other)
	}
	for round := range 12 {
		var runs []restart.Run
		for i := range 9 {
			run := newRun(1)
			run.Service = fmt.Sprint("svc", round)
			run.Group, run.Plan = fmt.Sprint("group", i%3), &restart.Plan{Holds: restart.HoldsGroup}
			if i%3 == 0 {
				run.Plan.Holds = restart.HoldsEnvironment
			}
			runs = append(runs, mustCreate(t, stores[0], run))
		}
		winners := race(t, len(runs), func(i int) error {
			_, err := stores[i%len(stores)].Apply(t.Context(), store.Change{RunID: runs[i].ID, Hold: true, Run: &store.RunChange{To: restart.RunRunning}})
			return err
		})
		locks, err := stores[0].Locks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		locks = slices.DeleteFunc(locks, func(l store.Lock) bool { return l.Service != runs[0].Service })
		if len(locks) != winners || winners == 0 {
			t.Fatalf("%d won, and hold %+v", winners, locks)
		}
		for i, a := range locks {
			for _, b := range locks[i+1:] {
				if a.Bears(b.Service, b.Environment, b.Group) {
					t.Fatalf("both hold: %+v and %+v", a, b)
				}
			}
		}
	}
}

func exerciseGlass(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	unreviewed := func() []store.BrokenGlass {
		t.Helper()
		list, err := s.Unreviewed(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := unreviewed(); len(list) != 0 {
		t.Fatalf("in an empty database: %+v", list)
	}
	run := newRun(1)
	run.State = restart.RunDraft
	mustCreate(t, s, run)
	body := json.RawMessage(`{"event":"break-glass"}`)
	change := store.Change{
		RunID: run.ID, At: epochStart, BreakGlass: &store.BreakGlass{By: "anna", Waived: "production is frozen"}, Run: &store.RunChange{To: restart.RunQueued},
		Records:  []audit.Record{{Action: audit.RunRequested, Run: run.ID}, {Action: audit.RunBreakGlass, Run: run.ID}},
		Messages: []store.Message{{ID: newID(), Event: "break-glass", Channels: []string{"one", "two"}, Body: body}},
	}
	broken := change
	broken.Run = &store.RunChange{To: restart.RunCompleted} // forbidden: nothing of it stays
	_, err := s.Apply(t.Context(), broken)
	wantCode(t, err, restart.CodeConflict)
	if due, err := s.DueMessages(t.Context(), []string{"one", "two"}, time.Hour, 10); err != nil || len(due) != 0 || len(unreviewed()) != 0 || mustRun(t, s, run.ID).BreakGlass {
		t.Fatalf("a refused change has left something: %+v, %v", due, err)
	}
	mustApply(t, s, change)
	if !mustRun(t, s, run.ID).BreakGlass {
		t.Error("the run does not say that the glass is broken")
	}
	_, err = s.Apply(t.Context(), store.Change{RunID: run.ID, BreakGlass: change.BreakGlass}) // it has started
	wantCode(t, err, restart.CodeConflict)
	list := unreviewed()
	if len(list) != 1 || list[0].Run.ID != run.ID || list[0].By != "anna" || list[0].Waived != "production is frozen" || !list[0].At.Equal(epochStart) || len(list[0].Run.Tasks) != 1 {
		t.Fatalf("unreviewed: %+v", list)
	}
	if got, err := s.Statistics(t.Context(), time.Hour, time.Hour); err != nil || got.Unreviewed != 1 || got.Messages != 2 {
		t.Errorf("statistics %+v, %v", got, err)
	}
	if got, err := s.UnreviewedServices(t.Context()); err != nil || !cmp.Equal(got, map[string]int{"nginx": 1}) {
		t.Errorf("by service: %v, %v", got, err)
	}
	record := audit.Record{Action: audit.BreakGlassReviewed, Run: run.ID}
	wantCode(t, s.ReviewGlass(t.Context(), run.ID, "anna", "it was fine", epochStart, record), restart.CodeForbidden)
	wantCode(t, s.ReviewGlass(t.Context(), newID(), "olga", "it was fine", epochStart, record), restart.CodeNotFound)
	if err := s.ReviewGlass(t.Context(), run.ID, "olga", "it was fine", epochStart, record); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.ReviewGlass(t.Context(), run.ID, "root", "again", epochStart, record), restart.CodeConflict)
	glass, err := s.Glass(t.Context(), run.ID)
	if err != nil || glass.ReviewedBy != "olga" || glass.Note != "it was fine" || len(unreviewed()) != 0 {
		t.Errorf("after the review: %+v, %v", glass, err)
	}
	_, err = s.Glass(t.Context(), newID())
	wantCode(t, err, restart.CodeNotFound)
	if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID}); err != nil || len(records) != 3 {
		t.Errorf("records %v, %v", records, err)
	}
}

func exerciseMessages(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s := storetest.Open(t, dsn)
	run := mustCreate(t, s, newRun(1))
	id := newID()
	mustApply(t, s, store.Change{RunID: run.ID, At: epochStart, Messages: []store.Message{
		{ID: id, Event: "break-glass", Channels: []string{"one", "two"}, Body: json.RawMessage(`{"a":1}`)}, {ID: newID(), Event: "break-glass", Body: json.RawMessage(`{}`)},
	}})
	_, err := s.Apply(t.Context(), store.Change{RunID: run.ID, Messages: []store.Message{{ID: newID(), Body: json.RawMessage(`{`)}}})
	wantCode(t, err, restart.CodeInvalid)
	due := func(hold time.Duration, channels ...string) []store.Delivery {
		t.Helper()
		got, err := s.DueMessages(t.Context(), channels, hold, 10)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := due(time.Hour); len(got) != 0 {
		t.Fatalf("to nobody: %+v", got)
	}
	got := due(-time.Second, "one") // its holder is gone at once
	if len(got) != 1 || got[0].ID != id || got[0].Attempts != 1 || string(got[0].Body) != `{"a":1}` || got[0].Event != "break-glass" || !got[0].CreatedAt.Equal(epochStart) {
		t.Fatalf("due: %+v", got)
	}
	got = due(time.Hour, "one", "three")
	if len(got) != 1 || got[0].Attempts != 2 {
		t.Fatalf("after its holder was gone: %+v", got)
	}
	if again := due(time.Hour, "one"); len(again) != 0 {
		t.Fatalf("two have it: %+v", again)
	}
	if err := s.MessageFailed(t.Context(), got[0], "no answer", 0); err != nil {
		t.Fatal(err)
	}
	if got = due(time.Hour, "one"); len(got) != 1 || got[0].Attempts != 3 {
		t.Fatalf("after a failure: %+v", got)
	}
	if err := s.MessageFailed(t.Context(), got[0], "no answer", time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := due(time.Hour, "one"); len(got) != 0 {
		t.Fatalf("too early: %+v", got)
	}
	if got = due(time.Hour, "two"); len(got) != 1 {
		t.Fatalf("the other receiver: %+v", got)
	}
	if err := s.MessageDelivered(t.Context(), got[0]); err != nil {
		t.Fatal(err)
	}
	left := func(age time.Duration, channels ...string) int {
		t.Helper()
		got, err := s.LeftMessages(t.Context(), channels, age, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	if a, b, c := left(time.Hour), left(time.Hour, "one"), left(1e6*time.Hour, "two"); a != 1 || b != 0 || c != 0 {
		t.Errorf("left with nobody known: %d, with its receiver: %d, of another age: %d", a, b, c)
	}
	one := store.Delivery{ID: id, Channel: "one"}
	for range 2 { // giving up twice is one record
		if err := s.MessageFailed(t.Context(), one, "for good", -1, audit.Record{Action: audit.MessageGivenUp}); err != nil {
			t.Fatal(err)
		}
	}
	if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: audit.MessageGivenUp}); err != nil || len(records) != 1 {
		t.Errorf("records %v, %v", records, err)
	}
	if st, err := s.Statistics(t.Context(), time.Hour, time.Hour); err != nil || st.Messages != 0 {
		t.Errorf("%d wait, %v", st.Messages, err)
	}
}

// exerciseSameRequest: a key that is used again for something else makes
// nothing, and does not pass for what it was used for.
func exerciseSameRequest(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	request := restart.Request{Service: "nginx", Environment: "production", Reason: "502s since the deploy of 14:00"}
	make := func(change func(*restart.Request)) (*restart.Run, error) {
		run := newRun(1)
		asked := request
		change(&asked)
		run.Plan = &restart.Plan{Request: asked}
		return s.CreateRun(t.Context(), run, "key", nil, nil)
	}
	same := func(*restart.Request) {}
	if existing, err := make(same); existing != nil || err != nil {
		t.Fatalf("first: %v, %v", existing, err)
	}
	if existing, err := make(same); existing == nil || err != nil {
		t.Errorf("the same again: %v, %v", existing, err)
	}
	if existing, err := make(func(r *restart.Request) { r.Params = map[string]string{} }); existing == nil || err != nil {
		t.Errorf("with no parameters in other words: %v, %v", existing, err)
	}
	for name, change := range map[string]func(*restart.Request){
		"group": func(r *restart.Request) { r.Group = "blue" }, "hosts": func(r *restart.Request) { r.Hosts = "web1" }, "except": func(r *restart.Request) { r.Except = "web1" },
		"ticket": func(r *restart.Request) { r.Ticket = "WEB-1" }, "kind": func(r *restart.Request) { r.Kind = restart.KindCustom }, "project": func(r *restart.Request) { r.Project = "web" },
		"scenario": func(r *restart.Request) { r.Scenario = "x" }, "params": func(r *restart.Request) { r.Params = map[string]string{"mode": "soft"} },
	} {
		existing, err := make(change)
		if existing != nil || restart.CodeOf(err) != restart.CodeConflict {
			t.Errorf("another %s: %v, %v", name, existing, err)
		}
	}
	if found, err := s.RunByKey(t.Context(), "boris", "key"); found != nil || err != nil {
		t.Errorf("another's key: %v, %v", found, err)
	}
}

// exerciseFifthMigration: what was held before it is held after it.
func exerciseFifthMigration(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	run := newRun(1)
	if err := store.Before0005(t.Context(), dsn, run, epochStart); err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, dsn)
	locks, err := s.Locks(t.Context())
	if want := []store.Lock{{Service: "nginx", Environment: "production", RunID: run.ID, Actor: "anna", State: restart.RunRunning, Since: epochStart}}; err != nil || !cmp.Equal(want, locks) {
		t.Errorf("locks %+v, %v; want %+v", locks, err, want)
	}
	if old := mustRun(t, s, run.ID); old.BreakGlass {
		t.Error("an old run has broken the glass")
	}
}
