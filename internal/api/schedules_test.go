package api_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// windowed are a window that is always open but for a minute, which is days away,
// one that is not open for the next days, and one of another service.
func windowed(c *control.Config) {
	on := func(days int, times string) string {
		day := strings.ToLower(time.Now().UTC().AddDate(0, 0, days).Weekday().String())[:3]
		return strings.ReplaceAll(times, "day", day)
	}
	c.Windows = []restart.MaintenanceWindow{
		{Name: "open", Weekly: []string{on(-1, "day 12:00-day 11:59")}, Environments: []string{"production"}},
		{Name: "nightly", Weekly: []string{on(2, "day 03:00-day 03:01"), on(5, "day 03:00-day 03:01")}, Zone: "Europe/Berlin", Services: []string{"sho*"}},
		{Name: "others", Weekly: []string{"mon 03:00-mon 03:01"}, Services: []string{"other"}},
	}
}

func later(t *testing.T, s *apitest.Server, token, body string) wire.Planned {
	t.Helper()
	return decode[wire.Planned](t, s.Request("POST", "/api/v1/runs/"+draft(t, s, token, "").ID+"/later", token, []byte(body), nil), 201)
}

// tomorrow is the body of a request for a time of tomorrow.
func tomorrow(more string) string {
	return fmt.Sprintf(`{"at":%q%s}`, time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339), more)
}

// due makes the time of a planned run come: by planning the same for a while
// ago, under other ids.
func due(t *testing.T, s *apitest.Server, id string, change func(*restart.Schedule)) restart.Schedule {
	t.Helper()
	p, err := s.Store.Schedule(t.Context(), id)
	must(t, err)
	now := time.Now().UTC().Truncate(time.Microsecond)
	p.ID, p.Run, p.Draft, p.At, p.Until = restart.NewID(now), restart.NewID(now), restart.NewID(now), now.Add(-time.Second), now.Add(time.Minute)
	approval := p.Approval
	p.State = restart.ScheduleWaiting
	if approval != nil {
		p.State, p.Approval = restart.ScheduleAwaiting, &restart.Approval{Digest: approval.Digest, Rule: approval.Rule}
	}
	if change != nil {
		change(&p)
	}
	if _, err := s.Store.Run(t.Context(), p.Draft); restart.CodeOf(err) == restart.CodeNotFound {
		_, err = s.Store.CreateRun(t.Context(), restart.Run{ID: p.Draft, Service: p.Service, Actor: p.Actor, State: restart.RunDraft, CreatedAt: now, Plan: p.Plan}, "", nil, nil)
		must(t, err)
	}
	_, err = s.Store.AddSchedule(t.Context(), p, 1000, nil)
	must(t, err)
	if approval != nil && approval.Verdict == restart.ApprovalGiven {
		must(t, s.Store.ChangeSchedule(t.Context(), store.ScheduleChange{ID: p.ID, To: restart.ScheduleWaiting, By: approval.By, Verdict: approval.Verdict, Reason: approval.Reason, At: now}))
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// happened says how a schedule has ended.
func happened(t *testing.T, s *apitest.Server, id string) string {
	t.Helper()
	p, err := s.Store.Schedule(t.Context(), id)
	must(t, err)
	return strings.TrimSpace(string(p.State) + " " + string(p.Code) + " " + p.Why)
}

// told gives the messages about a schedule.
func told(t *testing.T, s *apitest.Server, id string) (events []string) {
	t.Helper()
	for {
		list, err := s.Store.DueMessages(t.Context(), []string{"test"}, time.Hour, 200)
		must(t, err)
		if len(list) == 0 {
			return events
		}
		for _, m := range list {
			if strings.Contains(string(m.Body), id) {
				events = append(events, m.Event)
			}
			must(t, s.Store.MessageDelivered(t.Context(), m)) // what is told of one run comes one after the other
		}
	}
}

// TestLater: planned, listed, started at its time, once, and told.
func TestLater(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, root, vera := s.Token("anna", developer), s.Token("root", admin), s.Token("vera", developer)
	if text := read(t, s.Request("GET", "/api/v1/planned", vera, nil, nil)); text != `{"items":[],"next":""}`+"\n" {
		t.Errorf("none: %s", text)
	}
	d := draft(t, s, anna, "")
	body := tomorrow(`,"hosts":["web1","web3"]`)
	p := decode[wire.Planned](t, s.Request("POST", "/api/v1/runs/"+d.ID+"/later", anna, []byte(body), nil), 201)
	if p.State != restart.ScheduleWaiting || p.Hosts != 2 || !slices.Equal(p.Unticked, []string{"web2"}) || p.Until.Sub(p.At) != 15*time.Minute || p.Zone != "UTC" || !p.MayCancel || p.Plan == nil {
		t.Fatalf("%+v", p)
	}
	if at := restart.TimeOfID(p.Run); !at.Equal(p.At.Truncate(time.Millisecond)) {
		t.Errorf("its run has an id of %s, and not of %s", at, p.At)
	}
	if again := decode[wire.Planned](t, s.Request("POST", "/api/v1/runs/"+d.ID+"/later", anna, []byte(body), nil), 201); again.ID != p.ID {
		t.Errorf("a double click plans twice: %s and %s", p.ID, again.ID)
	}
	problem(t, s.Request("POST", "/api/v1/runs/"+d.ID+"/later", anna, []byte(`{"at":"`+time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)+`"}`), nil), 409)
	problem(t, s.Request("POST", "/api/v1/runs/"+d.ID+"/later", vera, []byte(body), nil), 403)
	for who, may := range map[string]bool{anna: true, root: true, vera: false} {
		list := decode[wire.List[wire.Planned]](t, s.Request("GET", "/api/v1/planned", who, nil, nil), 200)
		if len(list.Items) != 1 || list.Items[0].ID != p.ID || list.Items[0].MayCancel != may || list.Items[0].Plan != nil {
			t.Errorf("%+v", list.Items)
		}
	}
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, p.ID); got != "waiting" {
		t.Fatalf("before its time: %s", got)
	}
	now := due(t, s, p.ID, nil)
	var servers sync.WaitGroup
	for range 4 {
		servers.Go(func() {
			if err := s.Control.StartDue(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	servers.Wait()
	run := until(t, s, anna, now.Run, restart.RunCompleted)
	var hosts []string
	for _, task := range run.Tasks {
		hosts = append(hosts, task.Host)
	}
	if !slices.Equal(hosts, []string{"web1", "web3"}) || run.Actor != "anna" || run.Via != "schedule" || happened(t, s, now.ID) != "started" {
		t.Errorf("over %v by %s via %s; %s", hosts, run.Actor, run.Via, happened(t, s, now.ID))
	}
	if text := strings.Join(actions(t, s, now.Run), "\n"); !strings.HasPrefix(text, "run.requested anna\nrun.started anna") || strings.Count(text, "run.requested") != 1 {
		t.Errorf("records:\n%s", text)
	}
	if got := told(t, s, p.ID); !slices.Equal(got, []string{wire.EventRunScheduled}) {
		t.Errorf("told: %v", got)
	}
	over := decode[wire.List[wire.Planned]](t, s.Request("GET", "/api/v1/planned?over=true", anna, nil, nil), 200)
	if len(over.Items) != 1 || over.Items[0].Run != run.ID {
		t.Errorf("%+v", over.Items)
	}
}

// How each schedule ends is told, once, by the server that ends it.
func TestEndsOfSchedulesAreTold(t *testing.T) {
	var mu sync.Mutex
	ended := map[restart.ScheduleState]int{}
	s := apitest.StartReviewed(t, control.Review{}, func(c *control.Config) {
		c.Scheduled = func(to restart.ScheduleState) {
			mu.Lock()
			defer mu.Unlock()
			ended[to]++
		}
	})
	anna := s.Token("anna", developer)
	p := later(t, s, anna, tomorrow(""))
	started := due(t, s, p.ID, nil)
	due(t, s, p.ID, func(x *restart.Schedule) { x.At, x.Until = x.At.Add(-time.Hour), x.At })
	due(t, s, p.ID, func(x *restart.Schedule) { x.Plan.Group = "another" })
	for range 2 {
		must(t, s.Control.StartDue(t.Context()))
	}
	until(t, s, anna, started.Run, restart.RunCompleted)
	for range 2 {
		decode[wire.Planned](t, s.Request("POST", "/api/v1/planned/"+p.ID+"/cancel", anna, nil, nil), 200)
	}
	mu.Lock()
	defer mu.Unlock()
	want := map[restart.ScheduleState]int{restart.ScheduleStarted: 1, restart.ScheduleMissed: 1, restart.ScheduleRefused: 1, restart.ScheduleCancelled: 1}
	if !maps.Equal(ended, want) {
		t.Errorf("told: %v, want %v", ended, want)
	}
}

func TestBadTimes(t *testing.T) {
	s := apitest.StartReviewed(t, control.Review{}, windowed)
	anna, root := s.Token("anna", developer), s.Token("root", admin)
	d := draft(t, s, anna, "")
	for name, c := range map[string]struct {
		body, says string
		status     int
	}{
		"no time":           {`{}`, "say when", 422},
		"two":               {tomorrow(`,"window":"open"`), "say when", 422},
		"past":              {`{"at":"2020-01-01T00:00:00Z"}`, "the time is past", 422},
		"the year":          {`{"at":"2090-01-01T00:00:00Z"}`, "is the year right?", 422},
		"no time at all":    {`{"at":"tomorrow"}`, "not a date with a time", 422},
		"no zone":           {`{"at":"2090-01-01T00:00","zone":"Europe/Belin"}`, "no time zone", 422},
		"the local zone":    {`{"at":"2090-01-01T00:00","zone":"Local"}`, "no time zone", 422},
		"a path":            {`{"at":"2090-01-01T00:00","zone":"../../etc/passwd"}`, "no time zone", 422},
		"no window":         {`{"window":"opne"}`, "there is: open, nightly, others", 404},
		"another's window":  {`{"window":"others"}`, "is not for shop in production", 422},
		"a host not there":  {tomorrow(`,"hosts":["web9"]`), "not in the plan", 422},
		"no such field":     {tomorrow(`,"break_glass":true`), "break_glass", 422},
		"skipped by clocks": {`{"at":"2027-03-28T02:30","zone":"Europe/Berlin"}`, "skips 02:30", 422},
		"shown twice":       {`{"at":"2027-10-31T02:30","zone":"Europe/Berlin"}`, "say which: 2027-10-31T02:30:00+02:00 or 2027-10-31T02:30:00+01:00", 422},
	} {
		p := problem(t, s.Request("POST", "/api/v1/runs/"+d.ID+"/later", anna, []byte(c.body), nil), c.status)
		if text := fmt.Sprintf("%s %s %+v", p.Detail, p.Hint, p); !strings.Contains(text, c.says) {
			t.Errorf("%s: %s", name, text)
		}
	}
	f := freeze(t, s, root, "")
	soon := fmt.Sprintf(`{"at":%q}`, time.Now().Add(30*time.Minute).UTC().Format(time.RFC3339))
	p := problem(t, s.Request("POST", "/api/v1/runs/"+d.ID+"/later", anna, []byte(soon), nil), 409)
	if !strings.Contains(p.Detail, "at that time production is frozen until") {
		t.Errorf("%s", p.Detail)
	}
	later(t, s, anna, tomorrow("")) // frozen now is not frozen then
	thaw(t, s, root, f.ID)
	if list := decode[wire.List[wire.Planned]](t, s.Request("GET", "/api/v1/planned", anna, nil, nil), 200); len(list.Items) != 1 {
		t.Errorf("planned: %+v", list.Items)
	}
	outcomes := map[string]int{}
	for _, r := range recorded(t, s, store.AuditFilter{Action: audit.ScheduleMade}) {
		outcomes[r.Outcome]++
	}
	if outcomes[""] != 1 || outcomes["frozen"] != 1 || outcomes["not_found"] != 1 || outcomes["invalid"] < 10 {
		t.Errorf("records: %v", outcomes)
	}
	done := until(t, s, anna, start(t, s, anna, d.ID).ID, restart.RunCompleted)
	problem(t, s.Request("POST", "/api/v1/runs/"+done.ID+"/later", anna, []byte(tomorrow("")), nil), 409)
	problem(t, s.Request("POST", "/api/v1/runs/"+strings.Repeat("0", 26)+"/later", anna, []byte(tomorrow("")), nil), 404)
}

func TestInWindow(t *testing.T) {
	var changed control.Config
	s := apitest.StartReviewed(t, control.Review{}, windowed, func(c *control.Config) { changed = *c })
	anna := s.Token("anna", developer)
	windows := decode[wire.List[wire.MaintenanceWindow]](t, s.Request("GET", "/api/v1/windows?service=shop&environment=production", anna, nil, nil), 200)
	if len(windows.Items) != 2 || windows.Items[0].Name != "open" || !windows.Items[0].Open || windows.Items[1].Name != "nightly" || windows.Items[1].Open || windows.Items[0].Zone != "UTC" {
		t.Fatalf("%+v", windows.Items)
	}
	p := later(t, s, anna, `{"window":"nightly"}`)
	berlin, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	if at := p.At.In(berlin); at.Format("15:04") != "03:00" || p.Until.Sub(p.At) != time.Minute || time.Until(p.At) < 24*time.Hour || time.Until(p.At) > 3*24*time.Hour {
		t.Errorf("%s to %s", p.At, p.Until)
	}
	p = later(t, s, anna, `{"window":"open"}`) // it is: now
	if time.Until(p.At) > 0 || time.Until(p.Until) < 5*24*time.Hour {
		t.Errorf("%s to %s", p.At, p.Until)
	}
	must(t, s.Control.StartDue(t.Context()))
	until(t, s, anna, p.Run, restart.RunCompleted)

	// A window that was moved meanwhile, and one that was taken away.
	for name, windows := range map[string][]restart.MaintenanceWindow{"moved": {{Name: "open", Zone: "UTC", Weekly: changed.Windows[1].Weekly}}, "gone": {}} {
		other := changed
		other.Windows = windows
		now := due(t, s, p.ID, nil)
		must(t, control.New(other).StartDue(t.Context()))
		if got := happened(t, s, now.ID); !strings.HasPrefix(got, "refused plan_changed maintenance window open is not open now") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestNotAsPlanned: what is not as it was shown is not started, and told.
func TestNotAsPlanned(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, root := s.Token("anna", developer), s.Token("root", admin)
	inventory := func(old, now string) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(s.Dir, "inventory.yaml"), []byte(strings.ReplaceAll(apitest.Inventory, old, now)), 0o644))
	}
	scenario := filepath.Join(s.Shelf, "plain-restart.yaml")
	p := later(t, s, anna, tomorrow(""))
	var frozen wire.Freeze
	for _, c := range []struct {
		name     string
		do, undo func()
		says     string
	}{
		{name: "a host more", do: func() { inventory("[web1, web2, web3]", "[web1, web2, web3, web4]") }, undo: func() { inventory("", "") }, says: "refused plan_changed the plan is not true any more: web4 has joined the group"},
		{name: "another owner", do: func() { inventory("owners: [anna]", "owners: [vera]") }, undo: func() { inventory("", "") }, says: "refused forbidden "},
		{name: "the service gone", do: func() { inventory("shop", "shoe") }, undo: func() { inventory("", "") }, says: "refused not_found "},
		{name: "another version", do: func() {
			must(t, os.WriteFile(scenario, []byte(strings.Replace(apitest.Scenario, "serial: 1", "serial: 2", 1)), 0o644))
		}, undo: func() { must(t, os.WriteFile(scenario, []byte(apitest.Scenario), 0o644)) }, says: "refused plan_changed the plan is not true any more: scenario plain-restart has another version now"},
		{name: "frozen", do: func() { frozen = freeze(t, s, root, "") }, undo: func() { thaw(t, s, root, frozen.ID) }, says: "refused frozen production is frozen until"},
		{name: "the rules ask for an approval now", do: s.AskApproval, undo: func() { s.Rights(strings.Split(apitest.ApprovalRules, "approval:\n")[0]) }, says: "refused plan_changed the rules ask for an approval now"},
		{name: "a host fewer", do: func() { inventory("[web1, web2, web3]", "[web1, web3]") }, undo: func() { inventory("", "") }, says: "started"},
	} {
		c.do()
		now := due(t, s, p.ID, nil)
		must(t, s.Control.StartDue(t.Context()))
		got := happened(t, s, now.ID)
		if !strings.HasPrefix(got, c.says) {
			t.Errorf("%s: %s", c.name, got)
		}
		_, err := s.Store.Run(t.Context(), now.Run)
		if c.says == "started" {
			until(t, s, anna, now.Run, restart.RunCompleted)
		} else if restart.CodeOf(err) != restart.CodeNotFound {
			t.Errorf("%s: there is a run (%v)", c.name, err)
		} else if events := told(t, s, now.ID); !slices.Equal(events, []string{wire.EventScheduleMissed}) {
			t.Errorf("%s: told %v", c.name, events)
		} else if records := recorded(t, s, store.AuditFilter{Run: now.Run}); len(records) != 1 || records[0].Action != audit.ScheduleRefused || records[0].Actor != "anna" || records[0].Outcome == "" || records[0].Detail == "" {
			t.Errorf("%s: %+v", c.name, records)
		}
		c.undo()
	}
}

// TestMissed: later than its time it never starts.
func TestMissed(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	p := later(t, s, anna, tomorrow(""))
	late := func(x *restart.Schedule) { x.Until = x.At.Add(time.Millisecond) }
	now := due(t, s, p.ID, late)
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); got != "missed unavailable no server was there at its time, and it is too late now" {
		t.Errorf("%s", got)
	}
	if got := told(t, s, now.ID); !slices.Equal(got, []string{wire.EventScheduleMissed}) {
		t.Errorf("told %v", got)
	}
	// Another run has the service: it waits for that, until it is too late.
	s.Agents.Set("web1", apitest.Hangs)
	holder := start(t, s, anna, draft(t, s, anna, "").ID)
	until(t, s, anna, holder.ID, restart.RunRunning)
	now = due(t, s, p.ID, nil)
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); !strings.HasPrefix(got, "waiting locked run "+holder.ID+` by "anna" holds shop in production`) {
		t.Errorf("%s", got)
	}
	now = due(t, s, p.ID, func(x *restart.Schedule) { late(x) })
	must(t, s.Store.DelaySchedule(t.Context(), now.ID, restart.CodeLocked, "run x has it", 0))
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); got != "missed locked it could not start in time: run x has it" {
		t.Errorf("%s", got)
	}
	s.Agents.Set("web1", apitest.Succeeds)
	until(t, s, anna, holder.ID, restart.RunCompleted)
}

func TestCancelLater(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, vera := s.Token("anna", developer), s.Token("vera", developer)
	p := later(t, s, anna, tomorrow(""))
	path := "/api/v1/planned/" + p.ID + "/cancel"
	problem(t, s.Request("POST", path, vera, nil, nil), 403)
	for range 2 { // a double click
		if got := decode[wire.Planned](t, s.Request("POST", path, anna, nil, nil), 200); got.State != restart.ScheduleCancelled || got.EndedBy != "anna" || got.MayCancel {
			t.Errorf("%+v", got)
		}
	}
	if got := told(t, s, p.ID); !slices.Equal(got, []string{wire.EventRunScheduled, wire.EventScheduleCancelled}) {
		t.Errorf("told %v", got)
	}
	problem(t, s.Request("POST", "/api/v1/planned/"+strings.Repeat("0", 26)+"/cancel", anna, nil, nil), 404)
	problem(t, s.Request("GET", "/api/v1/planned/x", anna, nil, nil), 422)
	if got := actions(t, s, p.Run); !slices.Equal(got, []string{"schedule.made anna", "schedule.cancelled vera forbidden", "schedule.cancelled anna"}) {
		t.Errorf("%v", got)
	}
}

// TestApproveLater: approved before, by another person, for this plan alone.
func TestApproveLater(t *testing.T) {
	s := apitest.Start(t, nil)
	s.AskApproval()
	anna, root, vera := s.Token("anna", developer), s.Token("root", admin), s.Token("vera", developer)
	p := later(t, s, anna, tomorrow(""))
	if p.State != restart.ScheduleAwaiting || p.Approval == nil || p.Approval.Rule != "rules.yaml, line 10" || !p.Approval.Until.Equal(p.Until) || p.MayDecide || p.Who != "an admin, other than anna" {
		t.Fatalf("%+v %+v", p, p.Approval)
	}
	for who, may := range map[string]bool{anna: false, root: true, vera: false} {
		list := decode[wire.List[wire.AwaitingRun]](t, s.Request("GET", "/api/v1/approvals", who, nil, nil), 200).Items
		if len(list) != 1 || list[0].Schedule != p.ID || list[0].Run != p.Run || list[0].PlannedFor == nil || !list[0].PlannedFor.Equal(p.At) || list[0].MayDecide != may ||
			list[0].Who != p.Who || list[0].Rule != p.Approval.Rule || list[0].Hosts != 3 || list[0].Actor != "anna" {
			t.Errorf("%+v", list)
		}
	}
	now := due(t, s, p.ID, func(x *restart.Schedule) { x.Until = x.At.Add(time.Millisecond) })
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); got != "missed forbidden nobody has approved it in time" {
		t.Errorf("%s", got)
	}
	path := "/api/v1/planned/" + p.ID
	problem(t, s.Request("POST", path+"/approve", anna, []byte(looked), nil), 403)
	problem(t, s.Request("POST", path+"/approve", vera, []byte(looked), nil), 403)
	problem(t, s.Request("POST", path+"/approve", root, []byte(`{"reason":"ok"}`), nil), 422)
	for range 2 { // a double click
		if got := decode[wire.Planned](t, s.Request("POST", path+"/approve", root, []byte(looked), nil), 200); got.State != restart.ScheduleWaiting || got.Approval.By != "root" {
			t.Errorf("%+v", got)
		}
	}
	problem(t, s.Request("POST", path+"/reject", root, []byte(looked), nil), 409)

	now = due(t, s, p.ID, nil)
	must(t, s.Control.StartDue(t.Context()))
	run := until(t, s, anna, now.Run, restart.RunCompleted)
	if a := run.Approval; a == nil || a.By != "root" || a.Verdict != restart.ApprovalGiven || a.Reason != "looked at the graphs, one by one is fine" {
		t.Errorf("%+v", run.Approval)
	}
	// A host that is gone would be no matter; what was approved must be the same.
	now = due(t, s, p.ID, nil)
	must(t, os.WriteFile(filepath.Join(s.Dir, "inventory.yaml"), []byte(strings.ReplaceAll(apitest.Inventory, "[web1, web2, web3]", "[web1, web2]")), 0o644))
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); !strings.HasPrefix(got, "refused plan_changed the plan is not true any more: web3 is not in the group any more") {
		t.Errorf("%s", got)
	}
	must(t, os.WriteFile(filepath.Join(s.Dir, "inventory.yaml"), []byte(apitest.Inventory), 0o644))
	p = later(t, s, anna, tomorrow(""))
	got := decode[wire.Planned](t, s.Request("POST", "/api/v1/planned/"+p.ID+"/reject", root, []byte(`{"reason":"the sale runs until six, ask again then"}`), nil), 200)
	if got.State != restart.ScheduleRejected || got.Approval.Verdict != restart.ApprovalRefused {
		t.Errorf("%+v", got)
	}
	if events := slices.Sorted(slices.Values(told(t, s, p.ID))); !slices.Equal(events, []string{wire.EventApprovalDecided, wire.EventApprovalRequested, wire.EventRunScheduled}) {
		t.Errorf("told %v", events)
	}
}

// TestServerDiesWhileItStarts: what a server has left half-way another goes on
// with; a person can't start it by hand.
func TestServerDiesWhileItStarts(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	p := later(t, s, anna, tomorrow(""))
	now := due(t, s, p.ID, nil)
	left := restart.Run{
		ID: now.Run, Scenario: p.Scenario, Digest: p.Digest, Kind: p.Kind, Service: p.Service, Environment: p.Environment, Group: p.Group, Actor: "anna", Via: "schedule",
		Reason: p.Request.Reason, State: restart.RunDraft, CreatedAt: time.Now().UTC(), Plan: p.Plan,
	}
	_, err := s.Store.CreateRun(t.Context(), left, "", nil, nil)
	must(t, err)
	problem(t, s.Request("POST", "/api/v1/runs/"+now.Run+"/start", anna, []byte(`{}`), nil), 409)
	must(t, s.Control.StartDue(t.Context()))
	until(t, s, anna, now.Run, restart.RunCompleted)

	// The remote log takes nothing just now: it is tried again.
	s.Log.Stand(audit.Standing{Late: time.Now().Add(-time.Minute)})
	now = due(t, s, p.ID, nil)
	must(t, s.Control.StartDue(t.Context()))
	if got := happened(t, s, now.ID); !strings.HasPrefix(got, "waiting audit_backlog ") {
		t.Errorf("%s", got)
	}
	s.Log.Stand(audit.Standing{})
	must(t, s.Store.DelaySchedule(t.Context(), now.ID, "", "", 0))
	must(t, s.Control.StartDue(t.Context()))
	until(t, s, anna, now.Run, restart.RunCompleted)
}

// leaving is a directory that is asked as its server is told to stop.
type leaving struct {
	control.Directory
	stop context.CancelFunc
}

func (l leaving) Person(ctx context.Context, _ string) (restart.Actor, error) {
	l.stop()
	return restart.Actor{}, ctx.Err()
}

// TestServerStopsWhileItStarts: what a server that stops has in hand is the next
// one's at once, and not too late by then.
func TestServerStopsWhileItStarts(t *testing.T) {
	var config control.Config
	s := apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { config = *c })
	anna := s.Token("anna", developer)
	now := due(t, s, later(t, s, anna, tomorrow("")).ID, nil)
	ctx, stop := context.WithCancel(t.Context())
	config.People = leaving{config.People, stop}
	if err := control.New(config).StartDue(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("as it stops: %v", err)
	}
	must(t, s.Control.StartDue(t.Context()))
	until(t, s, anna, now.Run, restart.RunCompleted)
}
