package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// freeze makes a freeze of production from now on, for an hour.
func freeze(t *testing.T, s *apitest.Server, token, more string) wire.Freeze {
	t.Helper()
	to := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	body := fmt.Sprintf(`{"environments":["production"],"to":%q,"zone":"Europe/Berlin","reason":"the big sale is on"%s}`, to, more)
	return decode[wire.Freeze](t, s.Request("POST", "/api/v1/freezes", token, []byte(body), nil), 201)
}

func thaw(t *testing.T, s *apitest.Server, token, id string) {
	t.Helper()
	resp := s.Request("DELETE", "/api/v1/freezes/"+id+"?reason="+url.QueryEscape("the big sale is over"), token, nil, nil)
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("status %d: %s", resp.StatusCode, read(t, resp))
	}
}

func recorded(t *testing.T, s *apitest.Server, f store.AuditFilter) []audit.Record {
	t.Helper()
	f.Limit = 200
	records, _, err := s.Store.AuditSearch(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestFreezesAreListedAndLifted(t *testing.T) {
	s := apitest.Start(t, nil)
	root, anna := s.Token("root", admin), s.Token("anna", developer)
	if text := read(t, s.Request("GET", "/api/v1/freezes", anna, nil, nil)); text != `{"items":[],"next":""}`+"\n" {
		t.Errorf("none: %s", text)
	}
	f := freeze(t, s, root, `,"services":["shop"]`)
	if !f.Applies || f.CreatedBy != "root" || f.Zone != "Europe/Berlin" || f.Ends.Sub(f.Begins) > time.Hour+time.Minute {
		t.Errorf("%+v", f)
	}
	weekly := decode[wire.Freeze](t, s.Request("POST", "/api/v1/freezes", root,
		[]byte(`{"environments":["all"],"weekly":"Fri 18:00 – Mon 8:00","reason":"nobody is there at weekends"}`), nil), 201)
	if weekly.Weekly != "fri 18:00-mon 08:00" || weekly.Zone != "UTC" || !weekly.Ends.After(weekly.Begins) {
		t.Errorf("%+v", weekly)
	}
	list := decode[wire.List[wire.Freeze]](t, s.Request("GET", "/api/v1/freezes", anna, nil, nil), 200)
	if len(list.Items) != 2 {
		t.Errorf("%+v", list.Items)
	}
	thaw(t, s, root, f.ID)
	path := "/api/v1/freezes/" + weekly.ID
	for query, want := range map[string]int{"": 422, "?reason=short": 422, "?reason=the+big+sale+is+over": 403} {
		problem(t, s.Request("DELETE", path+query, anna, nil, nil), 403) // rights before anything else
		if want == 422 {
			problem(t, s.Request("DELETE", path+query, root, nil, nil), want)
		}
	}
	problem(t, s.Request("DELETE", "/api/v1/freezes/"+f.ID+"?reason=the+big+sale+is+over", root, nil, nil), 409)
	problem(t, s.Request("DELETE", "/api/v1/freezes/"+strings.Repeat("0", 26)+"?reason=the+big+sale+is+over", root, nil, nil), 404)
	if n := len(recorded(t, s, store.AuditFilter{Action: audit.FreezeAdded})); n != 2 {
		t.Errorf("%d records of freezes", n)
	}
	outcomes := map[string]int{}
	for _, r := range recorded(t, s, store.AuditFilter{Action: audit.FreezeRemoved}) {
		outcomes[r.Outcome]++
	}
	if outcomes[""] != 1 || outcomes["forbidden"] != 3 || outcomes["conflict"] != 1 || outcomes["not_found"] != 1 {
		t.Errorf("records of removals: %v", outcomes)
	}
}

func TestBadFreezes(t *testing.T) {
	s := apitest.Start(t, nil)
	root, anna := s.Token("root", admin), s.Token("anna", developer)
	year := time.Now().Year()
	for name, c := range map[string]struct{ body, says string }{
		"no environment":      {`"environments":[],"weekly":"fri 18:00-mon 08:00"`, "all for every one"},
		"unknown environment": {`"environments":["prodction"],"weekly":"fri 18:00-mon 08:00"`, "did you mean production?"},
		"nothing like it":     {`"environments":["xyzzyxyzzy"],"weekly":"fri 18:00-mon 08:00"`, "it has: production"},
		"all and another":     {`"environments":["all","production"],"weekly":"fri 18:00-mon 08:00"`, "stands alone"},
		"unknown service":     {`"environments":["production"],"services":["shoop"],"weekly":"fri 18:00-mon 08:00"`, "did you mean shop?"},
		"unknown zone":        {`"environments":["production"],"zone":"Europe/Belin","weekly":"fri 18:00-mon 08:00"`, "Europe/Belin"},
		"a path for a zone":   {`"environments":["production"],"zone":"../../etc/passwd","weekly":"fri 18:00-mon 08:00"`, "no time zone"},
		"a local zone":        {`"environments":["production"],"zone":"Local","weekly":"fri 18:00-mon 08:00"`, "no time zone"},
		"no time":             {`"environments":["production"]`, "when the freeze ends"},
		"both":                {`"environments":["production"],"weekly":"fri 18:00-mon 08:00","to":"2090-01-01T00:00"`, "either by date or weekly"},
		"the whole week":      {`"environments":["production"],"weekly":"mon 00:00-sun 24:00"`, "whole week"},
		"no week":             {`"environments":["production"],"weekly":"weekends"`, "not a weekly time"},
		"to before from":      {fmt.Sprintf(`"environments":["production"],"from":"%d-12-27T00:00","to":"%d-12-24T00:00"`, year+1, year+1), "does not come after"},
		"to is from":          {fmt.Sprintf(`"environments":["production"],"from":"%d-12-24T00:00","to":"%d-12-24T00:00"`, year+1, year+1), "does not come after"},
		"past":                {`"environments":["production"],"from":"2020-12-24T00:00","to":"2020-12-27T00:00"`, "is past"},
		"past from":           {fmt.Sprintf(`"environments":["production"],"from":"2020-12-24T00:00","to":"%d-12-27T00:00"`, year+1), "leave it out"},
		"past to":             {`"environments":["production"],"to":"2020-12-27T00:00"`, "to is past"},
		"a slip in the year":  {fmt.Sprintf(`"environments":["production"],"to":"%d-12-27T00:00"`, year+11), "is the year right?"},
		"no date":             {`"environments":["production"],"to":"tomorrow"`, "not a date with a time"},
		"no such day":         {fmt.Sprintf(`"environments":["production"],"to":"%d-02-30T00:00"`, year+1), "not a date with a time"},
	} {
		p := problem(t, s.Request("POST", "/api/v1/freezes", root, []byte(`{`+c.body+`,"reason":"the big sale is on"}`), nil), 422)
		if !strings.Contains(p.Detail+" "+p.Hint, c.says) || p.Hint == "" && !strings.Contains(p.Detail, "past") && !strings.Contains(p.Detail, "after") && !strings.Contains(p.Detail, "alone") {
			t.Errorf("%s: %s (%s)", name, p.Detail, p.Hint)
		}
	}
	problem(t, s.Request("POST", "/api/v1/freezes", root, []byte(`{"environments":["production"],"weekly":"fri 18:00-mon 08:00","reason":"."}`), nil), 422)
	problem(t, s.Request("POST", "/api/v1/freezes", anna, []byte(`{"environments":["production"],"weekly":"fri 18:00-mon 08:00","reason":"the big sale is on"}`), nil), 403)
	if list := decode[wire.List[wire.Freeze]](t, s.Request("GET", "/api/v1/freezes", anna, nil, nil), 200); len(list.Items) != 0 {
		t.Errorf("something is frozen: %+v", list.Items)
	}
}

// until asks for a run until it is in a state.
func until(t *testing.T, s *apitest.Server, token, id string, state restart.RunState) restart.Run {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		run := decode[restart.Run](t, s.Request("GET", "/api/v1/runs/"+id, token, nil, nil), 200)
		if run.State == state {
			return run
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("run %s is %s (%s), not %s", id, run.State, run.Cause, state)
		}
	}
}

func TestAFreezeStopsRuns(t *testing.T) {
	s := apitest.Start(t, nil)
	root, anna := s.Token("root", admin), s.Token("anna", developer)
	s.Agents.Set("web1", apitest.Hangs)
	going := draft(t, s, anna, "")
	start(t, s, anna, going.ID)
	planned := draft(t, s, anna, "")
	until(t, s, anna, going.ID, restart.RunRunning)
	f := freeze(t, s, root, "")

	// A plan says so, and can't be started.
	plan := decode[restart.Plan](t, s.Request("POST", "/api/v1/plans", anna, []byte(shopRestart), nil), 200)
	if text := strings.Join(plan.Warnings, "\n"); !strings.Contains(text, "production is frozen until") || !strings.Contains(text, "the big sale is on") {
		t.Errorf("warnings: %s", text)
	}
	p := problem(t, s.Request("POST", "/api/v1/runs/"+planned.ID+"/start", anna, []byte("{}"), nil), 409)
	if p.Code != restart.CodeFrozen || !strings.Contains(p.Detail, "the big sale is on") || !strings.Contains(p.Hint, f.ID) || !strings.Contains(p.Hint, "--break-glass") {
		t.Errorf("%+v", p)
	}
	if rec := recorded(t, s, store.AuditFilter{Run: planned.ID, Action: audit.RunRefused}); len(rec) != 1 || rec[0].Outcome != "frozen" {
		t.Errorf("records: %+v", rec)
	}
	// The host in hand finishes; the next is not touched.
	s.Agents.Set("web1", apitest.Succeeds)
	run := until(t, s, anna, going.ID, restart.RunPaused)
	if run.Cause != restart.CauseFreeze || !strings.Contains(run.Explanation, "the big sale is on") || run.Tasks[0].State != restart.TaskSucceeded || run.Tasks[1].State != restart.TaskPlanned {
		t.Errorf("%s: %s; %s", run.Cause, run.Explanation, run.Summary())
	}
	if p := problem(t, s.Request("POST", "/api/v1/runs/"+going.ID+"/resume", anna, nil, nil), 409); p.Code != restart.CodeFrozen || !strings.Contains(p.Hint, "can't wait: restartilka abort "+going.ID+", then restartilka retry "+going.ID+" --break-glass --reason TEXT") {
		t.Errorf("resume: %+v", p)
	}
	if p := problem(t, s.Request("POST", "/api/v1/runs/"+going.ID+"/retry", anna, []byte(`{"reason":"the disk has room again"}`), nil), 409); !strings.Contains(p.Hint, "abort "+going.ID+", then restartilka retry "+going.ID+" --break-glass") {
		t.Errorf("retry: %+v", p)
	}
	if p := problem(t, s.Request("POST", "/api/v1/runs/"+going.ID+"/resume", root, nil, nil), 409); p.Code != restart.CodeFrozen {
		t.Errorf("resume by an admin: %+v", p) // a freeze binds all alike
	}
	// Elsewhere it says nothing, and after it all goes on.
	thaw(t, s, root, f.ID)
	decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+going.ID+"/resume", anna, nil, nil), 200)
	until(t, s, anna, going.ID, restart.RunCompleted)
	other := freeze(t, s, root, `,"services":["bare"]`)
	start(t, s, anna, planned.ID)
	until(t, s, anna, planned.ID, restart.RunCompleted)
	thaw(t, s, root, other.ID)
}

func TestBreakGlass(t *testing.T) {
	s := apitest.Start(t, nil)
	root, anna, olga := s.Token("root", admin), s.Token("anna", developer), s.Token("olga", auditor)
	sure, stranger := s.Token("anna", developer, restart.RoleBreakGlass), s.Token("vera", developer, restart.RoleBreakGlass)
	f := freeze(t, s, root, "")
	if text := read(t, s.Request("GET", "/api/v1/break-glass", anna, nil, nil)); text != `{"items":[],"next":""}`+"\n" {
		t.Errorf("none: %s", text)
	}
	glass := []byte(`{"break_glass":true}`)
	planned := draft(t, s, anna, "key")
	p := problem(t, s.Request("POST", "/api/v1/runs/"+planned.ID+"/start", anna, glass, nil), 403)
	if p.Code != restart.CodeForbidden || !strings.Contains(p.Detail, "break-glass") || !strings.Contains(p.Hint, "admin") {
		t.Errorf("without the right: %+v", p)
	}
	problem(t, s.Request("POST", "/api/v1/runs", stranger, []byte(strings.TrimSuffix(shopRestart, "}")+`,"start":true,"break_glass":true}`), nil), 403) // the right, and not the service
	problem(t, s.Request("POST", "/api/v1/runs", sure, []byte(strings.TrimSuffix(shopRestart, "}")+`,"break_glass":true}`), nil), 422)                  // a draft waives nothing

	run := decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+planned.ID+"/start", sure, glass, nil), 200)
	if !run.BreakGlass {
		t.Errorf("%+v", run)
	}
	until(t, s, anna, run.ID, restart.RunCompleted)
	rec := recorded(t, s, store.AuditFilter{Run: run.ID, Action: audit.RunBreakGlass})
	if len(rec) != 1 || rec[0].Actor != "anna" || !strings.Contains(rec[0].Detail, "the big sale is on") || rec[0].Reason != run.Reason {
		t.Errorf("records: %+v", rec)
	}
	due, err := s.Store.DueMessages(t.Context(), []string{"test"}, time.Hour, 10)
	if err != nil || len(due) != 1 {
		t.Fatalf("messages %+v, %v", due, err)
	}
	var n wire.Notification
	if err := json.Unmarshal(due[0].Body, &n); err != nil || n.ID != due[0].ID || n.Run != run.ID || n.Actor != "anna" || strings.Join(n.Owners, " ") != "anna" || n.HostCount != 3 ||
		n.URL != "https://restartilka.example.com/runs/"+run.ID || !strings.Contains(n.Waived, "frozen until") || n.Event != wire.EventBreakGlass {
		t.Errorf("message %s, %v", due[0].Body, err)
	}
	// Once more: the same run, one message; without the glass it is another request.
	if again := decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+planned.ID+"/start", sure, glass, nil), 200); again.ID != run.ID {
		t.Errorf("again: %s", again.ID)
	}
	problem(t, s.Request("POST", "/api/v1/runs/"+planned.ID+"/start", sure, []byte("{}"), nil), 409)

	list := decode[wire.List[wire.BrokenGlass]](t, s.Request("GET", "/api/v1/break-glass", anna, nil, nil), 200)
	if len(list.Items) != 1 || list.Items[0].Run != run.ID || list.Items[0].By != "anna" || !strings.Contains(list.Items[0].Outcome, "completed, 3 succeeded") || list.Items[0].ReviewedAt != nil {
		t.Fatalf("%+v", list.Items)
	}
	review := func(token, note string, status int) {
		t.Helper()
		resp := s.Request("POST", "/api/v1/break-glass/"+run.ID+"/review", token, []byte(fmt.Sprintf(`{"note":%q}`, note)), nil)
		if resp.StatusCode != status {
			t.Errorf("review: %d, want %d: %s", resp.StatusCode, status, read(t, resp))
		}
	}
	const note = "the outage was real, and this ended it"
	review(anna, note, 403)
	review(s.Token("anna", auditor), note, 403) // an auditor, and the one who broke it
	review(s.Token("anna", admin), note, 403)
	review(olga, ".", 422)
	review(olga, note, 200)
	review(root, note, 409)
	if list := decode[wire.List[wire.BrokenGlass]](t, s.Request("GET", "/api/v1/break-glass", olga, nil, nil), 200); len(list.Items) != 0 {
		t.Errorf("after the review: %+v", list.Items)
	}
	done := 0
	for _, r := range recorded(t, s, store.AuditFilter{Action: audit.BreakGlassReviewed}) {
		if r.Outcome == "" && r.Actor == "olga" && r.Reason == note && r.Run == run.ID {
			done++
		}
	}
	if done != 1 {
		t.Errorf("%d records of the review", done)
	}
	problem(t, s.Request("POST", "/api/v1/break-glass/"+strings.Repeat("0", 26)+"/review", olga, []byte(`{"note":"`+note+`"}`), nil), 404)
	thaw(t, s, root, f.ID)
}

// Who has lost the right to break the glass has no further host touched in a
// freeze.
func TestTheRightToBreakGlassIsAskedOfEachHost(t *testing.T) {
	s := apitest.Start(t, nil)
	root, anna, sure := s.Token("root", admin), s.Token("anna", developer), s.Token("anna", developer, restart.RoleBreakGlass)
	freeze(t, s, root, "")
	s.Agents.Set("web1", apitest.Hangs)
	run := decode[restart.Run](t, s.Request("POST", "/api/v1/runs", sure, []byte(strings.TrimSuffix(shopRestart, "}")+`,"start":true,"break_glass":true}`), nil), 201)
	until(t, s, anna, run.ID, restart.RunRunning)
	tokens, err := s.Store.Tokens(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		if len(token.Roles) == 2 {
			if err := s.Store.RevokeToken(t.Context(), token.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Agents.Set("web1", apitest.Succeeds)
	if got := until(t, s, anna, run.ID, restart.RunPaused); got.Cause != restart.CauseRightsLost {
		t.Errorf("%s: %s", got.Cause, got.Explanation)
	}
}

// The same freeze a second time is a slip, and refused; one with another reason,
// or for other services, is not.
func TestTheSameFreezeTwice(t *testing.T) {
	s := apitest.Start(t, nil)
	root := s.Token("root", restart.RoleAdmin)
	ask := func(more string) apitest.Answer {
		return s.Request("POST", "/api/v1/freezes", root, []byte(`{"environments":["production"],"to":"`+time.Now().UTC().Add(24*time.Hour).Format("2006-01-02")+`T00:00:00Z",`+more+`}`), nil)
	}
	first := decode[wire.Freeze](t, ask(`"reason":"the big sale is on"`), 201)
	if p := problem(t, ask(`"reason":"the big sale is on"`), 409); p.Code != restart.CodeConflict || !strings.Contains(p.Detail, first.ID) {
		t.Errorf("%+v", p)
	}
	decode[wire.Freeze](t, ask(`"reason":"the sale goes on and on"`), 201)
	decode[wire.Freeze](t, ask(`"reason":"the big sale is on","services":["shop"]`), 201)
	weekly := []byte(`{"environments":["production"],"weekly":"fri 18:00-mon 08:00","reason":"nobody is there"}`)
	decode[wire.Freeze](t, s.Request("POST", "/api/v1/freezes", root, weekly, nil), 201)
	problem(t, s.Request("POST", "/api/v1/freezes", root, weekly, nil), 409)
}

// Glass that was broken passes the freezes of then, and none that comes later.
func TestBrokenGlassPassesNoLaterFreeze(t *testing.T) {
	v := newVerbs(t)
	sure := v.Token("anna", developer, restart.RoleBreakGlass)
	before := freeze(t, v.Server, v.admin, `,"services":["shop"]`)
	v.Agents.Set("web1", apitest.Hangs)
	run := decode[restart.Run](t, v.Request("POST", "/api/v1/runs", sure, []byte(strings.TrimSuffix(shopRestart, "}")+`,"start":true,"break_glass":true}`), nil), 201)
	v.until(run.ID, "the first host in hand", func(r restart.Run) bool { return r.Tasks[0].State == restart.TaskRunning })
	later := freeze(t, v.Server, v.admin, "")
	v.Agents.Set("web1", apitest.Succeeds)
	if got := v.untilState(run.ID, restart.RunPaused); got.Cause != restart.CauseFreeze || states(got) != "succeeded planned planned" {
		t.Errorf("%s (%s), %s", got.Summary(), got.Cause, states(got))
	}
	if p := problem(t, v.ask(sure, run.ID, "resume", ""), 409); p.Code != restart.CodeFrozen || !strings.Contains(p.Hint, later.ID) {
		t.Errorf("resume: %+v", p)
	}
	thaw(t, v.Server, v.admin, later.ID)
	decode[restart.Run](t, v.ask(sure, run.ID, "resume", ""), 200) // past the first, as ever
	v.untilState(run.ID, restart.RunCompleted)
	thaw(t, v.Server, v.admin, before.ID)
}

// A double click and a client that asks again make one run, and a key that is
// used for something else makes none.
func TestIdempotencyKeys(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, boris := s.Token("anna", developer), s.Token("anna", developer)
	ask := func(token, key, body string, status int) (run restart.Run) {
		t.Helper()
		resp := s.Request("POST", "/api/v1/runs", token, []byte(body), http.Header{"Idempotency-Key": {key}})
		if status != 201 {
			problem(t, resp, status)
			return run
		}
		return decode[restart.Run](t, resp, 201)
	}
	more := func(fields string) string { return strings.TrimSuffix(shopRestart, "}") + fields + "}" }
	first := ask(anna, "k", shopRestart, 201)
	for _, same := range []string{shopRestart, `{"service":"shop","reason":"  workers hang since noon "}`, more(`,"start":false`)} {
		if again := ask(boris, "k", same, 201); again.ID != first.ID { // another token of the same person
			t.Errorf("%s made another run", same)
		}
	}
	for _, other := range []string{
		more(`,"hosts":"web1"`), more(`,"except":"web1"`), more(`,"group":"shop-production"`), more(`,"environment":"production"`), more(`,"ticket":"WEB-1"`),
		more(`,"params":{"grace":"2s"}`), more(`,"kind":"restart"`), more(`,"scenario":"plain-restart"`), `{"service":"shop","reason":"memory climbs since noon"}`,
	} {
		ask(anna, "k", other, 409)
	}
	// The hosts may be down by now: the answer is the run all the same.
	for _, host := range []string{"web1", "web2", "web3"} {
		s.Agents.Set(host, apitest.Away)
	}
	if again := ask(anna, "k", shopRestart, 201); again.ID != first.ID {
		t.Error("another run once the hosts are away")
	}
	for _, host := range []string{"web1", "web2", "web3"} {
		s.Agents.Set(host, apitest.Succeeds)
	}
	// Started at once, twice at once.
	ids := make(chan string, 8)
	for range cap(ids) {
		go func() {
			resp := s.Request("POST", "/api/v1/runs", anna, []byte(more(`,"start":true`)), http.Header{"Idempotency-Key": {"at once"}})
			var run restart.Run
			if err := json.NewDecoder(resp.Body).Decode(&run); err != nil || resp.StatusCode != http.StatusCreated {
				t.Errorf("status %d, %v", resp.StatusCode, err)
			}
			ids <- run.ID
		}()
	}
	one := <-ids
	for range cap(ids) - 1 {
		if id := <-ids; id != one {
			t.Errorf("runs %s and %s", one, id)
		}
	}
	// A start that asks for other hosts than the run was started with is no retry.
	hosts := func(names string) []byte { return []byte(`{"hosts":[` + names + `]}`) }
	decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+first.ID+"/start", anna, hosts(`"web1"`), nil), 200)
	decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+first.ID+"/start", anna, hosts(`"web1"`), nil), 200)
	problem(t, s.Request("POST", "/api/v1/runs/"+first.ID+"/start", anna, hosts(`"web1","web2"`), nil), 409)
}
