package store_test

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// newSchedule plans a restart of nginx for a time, to start within a day.
func newSchedule(at time.Time) restart.Schedule {
	at = at.UTC().Truncate(time.Microsecond)
	plan := &restart.Plan{Hash: "h", Digest: digestOf(scenarioBody), Hosts: []restart.PlannedHost{{Host: restart.Host{Name: "web0.example.com"}}}}
	return restart.Schedule{
		ID: newID(), Run: newID(), Draft: newID(), Request: restart.Request{Service: "nginx", Reason: "502s since the deploy", Params: map[string]string{"a": "b"}}, Unticked: []string{"web1.example.com"},
		Service: "nginx", Environment: "production", Group: "nginx-production", Scenario: "nginx-restart", Digest: digestOf(scenarioBody), Kind: restart.KindRestart, Hosts: 1,
		At: at, Until: at.Add(24 * time.Hour), Zone: "Europe/Berlin", Window: "nightly", Actor: "anna", Via: "cli", CreatedAt: epochStart, State: restart.ScheduleWaiting, Plan: plan,
	}
}

// plannedFrom stores the draft of a schedule that has none yet.
func plannedFrom(t *testing.T, s *store.Store, p restart.Schedule) restart.Schedule {
	t.Helper()
	if _, err := s.Run(t.Context(), p.Draft); restart.CodeOf(err) != restart.CodeNotFound {
		return p
	}
	run := newRun(0)
	run.ID, run.State, run.CreatedAt = p.Draft, restart.RunDraft, time.Now()
	mustCreate(t, s, run)
	return p
}

func mustAddSchedule(t *testing.T, s *store.Store, p restart.Schedule) restart.Schedule {
	t.Helper()
	plannedFrom(t, s, p)
	before, err := s.AddSchedule(t.Context(), p, 100, nil, audit.Record{Action: audit.ScheduleMade, Run: p.Run})
	if err != nil || before != nil {
		t.Fatalf("%v, before %+v", err, before)
	}
	return p
}

func scheduleOf(t *testing.T, s *store.Store, id string) restart.Schedule {
	t.Helper()
	p, err := s.Schedule(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// draftOf makes the draft that a schedule starts.
func draftOf(t *testing.T, s *store.Store, p restart.Schedule) {
	t.Helper()
	run := newRun(0)
	run.ID, run.State, run.CreatedAt, run.Plan = p.Run, restart.RunDraft, time.Now(), p.Plan
	mustCreate(t, s, run)
}

func startOf(p restart.Schedule) store.Change {
	return store.Change{RunID: p.Run, Schedule: p.ID, Run: &store.RunChange{From: []restart.RunState{restart.RunDraft}, To: restart.RunQueued}, Records: []audit.Record{{Action: audit.RunRequested, Run: p.Run}}}
}

func exerciseSchedules(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	due := func() (ids []string) {
		t.Helper()
		list, now, err := s.DueSchedules(t.Context(), time.Hour, 10)
		if err != nil || len(list) > 0 && time.Since(now).Abs() > time.Minute {
			t.Fatalf("at %s: %v", now, err)
		}
		for _, p := range list {
			if p.Plan == nil || p.Plan.Hash != "h" {
				t.Errorf("without its plan: %+v", p)
			}
			ids = append(ids, p.ID)
		}
		return ids
	}
	past, future := mustAddSchedule(t, s, newSchedule(time.Now().Add(-time.Hour))), mustAddSchedule(t, s, newSchedule(time.Now().Add(time.Hour)))
	if diff := cmp.Diff(past, scheduleOf(t, s, past.ID)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	open, err := s.OpenSchedules(t.Context(), 0)
	if err != nil || len(open) != 2 || open[0].ID != past.ID || open[0].Plan != nil {
		t.Fatalf("%+v %v", open, err)
	}
	// The same draft again is the same schedule, whatever comes with it.
	again := newSchedule(time.Now())
	again.Draft = past.Draft
	if before, err := s.AddSchedule(t.Context(), again, 0, nil); err != nil || before == nil || before.ID != past.ID {
		t.Fatalf("%+v %v", before, err)
	}
	_, err = s.AddSchedule(t.Context(), plannedFrom(t, s, newSchedule(time.Now())), 2, nil)
	wantCode(t, err, restart.CodeTooMany)
	_, err = s.AddSchedule(t.Context(), restart.Schedule{ID: newID(), Run: newID(), Draft: newID(), State: restart.ScheduleWaiting}, 10, nil)
	wantCode(t, err, restart.CodeInvalid)

	planned := func(waiting, awaiting int64, late time.Duration) {
		t.Helper()
		got, err := s.CountSchedules(t.Context())
		want := map[restart.ScheduleState]int64{restart.ScheduleWaiting: waiting, restart.ScheduleAwaiting: awaiting}
		if diff := cmp.Diff(want, got.Open); diff != "" || err != nil || (got.Late-late).Abs() > time.Minute || late == 0 && got.Late != 0 {
			t.Errorf("%s late, want %s; %v; planned (-want +got):\n%s", got.Late, late, err, diff)
		}
	}
	planned(2, 0, time.Hour)
	if got := due(); !slices.Equal(got, []string{past.ID}) {
		t.Fatalf("due: %v", got)
	}
	if got := due(); len(got) != 0 {
		t.Fatalf("another server gets it, too: %v", got)
	}
	if err := s.DelaySchedule(t.Context(), past.ID, restart.CodeLocked, "run x holds it", -time.Second); err != nil {
		t.Fatal(err)
	}
	if got, p := due(), scheduleOf(t, s, past.ID); !slices.Equal(got, []string{past.ID}) || p.Code != restart.CodeLocked || p.Why != "run x holds it" {
		t.Fatalf("%v %+v", got, p)
	}

	// The start of its run ends it, once.
	draftOf(t, s, past)
	other := startOf(past)
	other.Schedule = future.ID // of another run
	_, err = s.Apply(t.Context(), other)
	wantCode(t, err, restart.CodeConflict)
	mustApply(t, s, startOf(past))
	_, err = s.Apply(t.Context(), startOf(past))
	wantCode(t, err, restart.CodeConflict)
	if p := scheduleOf(t, s, past.ID); p.State != restart.ScheduleStarted || p.EndedAt == nil || p.Why != "" || mustRun(t, s, past.Run).State != restart.RunQueued {
		t.Fatalf("%+v", p)
	}
	planned(1, 0, 0)
	cancel := store.ScheduleChange{ID: past.ID, To: restart.ScheduleCancelled, By: "root", At: epochStart, Records: []audit.Record{{Action: audit.ScheduleCancelled}}}
	wantCode(t, s.ChangeSchedule(t.Context(), cancel), restart.CodeConflict)
	cancel.ID = newID()
	wantCode(t, s.ChangeSchedule(t.Context(), cancel), restart.CodeNotFound)
	cancel.ID = future.ID
	if err := s.ChangeSchedule(t.Context(), cancel); err != nil {
		t.Fatal(err)
	}
	draftOf(t, s, future)
	_, err = s.Apply(t.Context(), startOf(future)) // it was cancelled as it was about to start
	wantCode(t, err, restart.CodeConflict)
	if run := mustRun(t, s, future.Run); run.State != restart.RunDraft {
		t.Errorf("the run is %s", run.State)
	}
	ended, err := s.EndedSchedules(t.Context(), 0)
	if err != nil || len(ended) != 2 || ended[0].ID != past.ID || ended[1].EndedBy != "root" || !ended[1].EndedAt.Equal(epochStart) {
		t.Fatalf("%+v %v", ended, err)
	}
	if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: audit.ScheduleCancelled}); err != nil || len(records) != 1 {
		t.Errorf("%d records of one cancellation (%v)", len(records), err)
	}
	exerciseScheduleApproval(t, s)
}

func exerciseScheduleApproval(t *testing.T, s *store.Store) {
	t.Helper()
	p := newSchedule(time.Now().Add(-time.Hour))
	p.State, p.Approval = restart.ScheduleAwaiting, &restart.Approval{Digest: "h", Rule: "rules.yaml, line 10", AskedAt: p.CreatedAt, Until: p.Until}
	mustAddSchedule(t, s, p)
	if list, _, err := s.DueSchedules(t.Context(), time.Hour, 10); err != nil || len(list) != 0 {
		t.Fatalf("one that waits for an approval is due: %+v %v", list, err)
	}
	awaits := func(want ...string) {
		t.Helper()
		var ids []string
		list, err := s.AwaitingSchedules(t.Context(), 0)
		for _, p := range list {
			ids = append(ids, p.ID)
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%v wait for an approval (%v), want %v", ids, err, want)
		}
	}
	sooner := newSchedule(time.Now().Add(time.Hour))
	sooner.State, sooner.Approval, sooner.Until = restart.ScheduleAwaiting, p.Approval, p.Until.Add(-time.Minute)
	mustAddSchedule(t, s, sooner)
	mustAddSchedule(t, s, newSchedule(time.Now().Add(time.Hour))) // which waits for its time alone
	awaits(sooner.ID, p.ID)
	if err := s.ChangeSchedule(t.Context(), store.ScheduleChange{ID: sooner.ID, To: restart.ScheduleCancelled, By: "root", At: epochStart}); err != nil {
		t.Fatal(err)
	}
	draftOf(t, s, p)
	_, err := s.Apply(t.Context(), startOf(p))
	wantCode(t, err, restart.CodeConflict)
	awaits(p.ID)
	approve := store.ScheduleChange{ID: p.ID, To: restart.ScheduleWaiting, By: "Anna", Verdict: restart.ApprovalGiven, Reason: "looked at it", At: epochStart}
	wantCode(t, s.ChangeSchedule(t.Context(), approve), restart.CodeForbidden)
	for _, to := range []restart.ScheduleState{restart.ScheduleStarted, restart.ScheduleCancelled} {
		bad := approve
		bad.By, bad.To = "root", to
		wantCode(t, s.ChangeSchedule(t.Context(), bad), restart.CodeConflict)
	}
	wantCode(t, s.ChangeSchedule(t.Context(), store.ScheduleChange{ID: p.ID, To: restart.ScheduleWaiting, By: "root", At: epochStart}), restart.CodeConflict) // without a verdict
	approve.By = "root"
	if err := s.ChangeSchedule(t.Context(), approve); err != nil {
		t.Fatal(err)
	}
	awaits()
	wantCode(t, s.ChangeSchedule(t.Context(), approve), restart.CodeConflict)
	got := scheduleOf(t, s, p.ID)
	if a := got.Approval; got.State != restart.ScheduleWaiting || a.By != "root" || a.Reason != "looked at it" || a.Verdict != restart.ApprovalGiven || !a.At.Equal(epochStart) {
		t.Fatalf("%+v", got.Approval)
	}
	// The run has the approval of its schedule, by another person than who asked.
	start := startOf(p)
	start.Approval = &store.Approval{Digest: p.Plan.Frozen(), Rule: "r", Within: time.Hour, Verdict: restart.ApprovalGiven, By: "ANNA", Reason: "looked at it"}
	_, err = s.Apply(t.Context(), start)
	wantCode(t, err, restart.CodeForbidden)
	start.Approval.By = "root"
	mustApply(t, s, start)
	if run := mustRun(t, s, p.Run); run.State != restart.RunQueued || run.Approval == nil || run.Approval.By != "root" || !run.Approval.Good(*run.Plan) {
		t.Fatalf("%+v", run.Approval)
	}
}

// exerciseScheduleRace: of many servers that start it, and one that cancels it,
// one gets it.
func exerciseScheduleRace(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s := storetest.Open(t, dsn)
	for range 5 {
		p := mustAddSchedule(t, s, newSchedule(time.Now().Add(-time.Hour)))
		draftOf(t, s, p)
		var racing sync.WaitGroup
		var mu sync.Mutex
		taken, won := 0, 0
		for i := range 8 {
			racing.Go(func() {
				list, _, err := s.DueSchedules(t.Context(), time.Hour, 10)
				if err != nil {
					t.Error(err)
				}
				if i%4 == 3 {
					err = s.ChangeSchedule(t.Context(), store.ScheduleChange{ID: p.ID, To: restart.ScheduleCancelled, By: "root", At: epochStart})
				} else {
					_, err = s.Apply(t.Context(), startOf(p)) // even a server whose hold is over
				}
				if err != nil && restart.CodeOf(err) != restart.CodeConflict {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				taken += len(list)
				if err == nil {
					won++
				}
			})
		}
		racing.Wait()
		started := mustRun(t, s, p.Run).State == restart.RunQueued
		if got := scheduleOf(t, s, p.ID).State; taken > 1 || won != 1 || started != (got == restart.ScheduleStarted) || got.Open() {
			t.Fatalf("taken %d times, won by %d; %s, run started: %v", taken, won, got, started)
		}
	}
}

// exerciseDraftRace: of many who plan one draft at a time, one does, and the
// others are given what he has planned.
func exerciseDraftRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for range 5 {
		draft, beginning := plannable(t, s, "", 0).ID, make(chan struct{})
		var racing sync.WaitGroup
		var mu sync.Mutex
		made, given := map[string]bool{}, map[string]bool{}
		for range 8 {
			racing.Go(func() {
				p := newSchedule(time.Now())
				p.Draft = draft
				<-beginning
				before, err := s.AddSchedule(t.Context(), p, 100, nil, audit.Record{Action: audit.ScheduleMade, Run: p.Run})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if before == nil {
					made[p.ID] = true
				} else {
					given[before.ID] = true
				}
			})
		}
		close(beginning)
		racing.Wait()
		if len(made) != 1 || !maps.Equal(made, given) {
			t.Errorf("made %v, given %v", made, given)
		}
	}
	if n := countRecords(t, s, audit.ScheduleMade); n != 5 {
		t.Errorf("%d records of 5 schedules", n)
	}
}

// exerciseRestoredSchedules: what was open in a backup never starts by itself.
func exerciseRestoredSchedules(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s := storetest.Open(t, dsn)
	later := mustAddSchedule(t, s, newSchedule(time.Now().Add(time.Hour)))
	b, _ := makeBackup(t, dsn, store.BackupOptions{})
	restored, _ := restoreTo(t, newDSN(t), b)
	list, _, err := restored.DueSchedules(t.Context(), time.Hour, 10) // though its time has not come
	if err != nil || len(list) != 1 || !list[0].Restored {
		t.Fatalf("%+v %v", list, err)
	}
	draftOf(t, restored, later)
	_, err = restored.Apply(t.Context(), startOf(later))
	wantCode(t, err, restart.CodeConflict)
	if err := restored.ChangeSchedule(t.Context(), store.ScheduleChange{ID: later.ID, To: restart.ScheduleMissed, At: epochStart}); err != nil {
		t.Fatal(err)
	}
}

func exerciseCalendarTokens(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	set := func(hash string) {
		t.Helper()
		if err := s.SetCalendarToken(t.Context(), store.CalendarToken{Owner: "anna", Hash: hash, CreatedAt: epochStart}, audit.Record{Action: audit.CalendarTokenCreated}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.CalendarTokenOf(t.Context(), "anna")
	wantCode(t, err, restart.CodeNotFound)
	set("one")
	set("two") // in its place
	_, err = s.CalendarTokenByHash(t.Context(), "one")
	wantCode(t, err, restart.CodeNotFound)
	for range 2 {
		if c, err := s.CalendarTokenByHash(t.Context(), "two"); err != nil || c.Owner != "anna" || !c.CreatedAt.Equal(epochStart) {
			t.Fatalf("%+v %v", c, err)
		}
	}
	if c, err := s.CalendarTokenOf(t.Context(), "anna"); err != nil || time.Since(c.UsedAt).Abs() > time.Minute {
		t.Fatalf("%+v %v", c, err)
	}
	if err := s.RemoveCalendarToken(t.Context(), "anna", audit.Record{Action: audit.CalendarTokenRevoked}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.RemoveCalendarToken(t.Context(), "anna"), restart.CodeNotFound)
	_, err = s.CalendarTokenByHash(t.Context(), "two")
	wantCode(t, err, restart.CodeNotFound)
	// It ends for good with who is disabled, and with who signs in by another method.
	if err := s.CreateUser(t.Context(), store.User{Name: "anna", Method: "oidc", CreatedAt: epochStart}); err != nil {
		t.Fatal(err)
	}
	change := func(c store.UserChange) {
		t.Helper()
		if err := s.ChangeUser(t.Context(), "anna", c); err != nil {
			t.Fatal(err)
		}
	}
	for hash, ends := range map[string]store.UserChange{"three": {Disabled: new(true)}, "four": {Method: new("ldap")}} {
		set(hash)
		change(store.UserChange{Roles: &[]restart.Role{restart.RoleDeveloper}})
		if _, err := s.CalendarTokenByHash(t.Context(), hash); err != nil {
			t.Fatal(err)
		}
		change(ends)
		change(store.UserChange{Disabled: new(false)})
		_, err = s.CalendarTokenByHash(t.Context(), hash)
		wantCode(t, err, restart.CodeNotFound)
	}
}
