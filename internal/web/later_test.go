package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// TestAPlanForLater: the button below a plan asks when, in both languages, says
// what is wrong beside its field, and leads to what is planned.
func TestAPlanForLater(t *testing.T) {
	f, s := newWhole(t)
	anna, dana := f.as("anna", developer), f.as("dana", developer)
	wants(t, f.do("GET", "/planned", "", "Cookie", anna).body, "Nothing is planned.", "Do it later")
	run := f.draft(s)
	path := "/runs/" + run.ID + "/later"
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", anna).body, `formaction="`+path+`"`)
	lacks(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", dana).body, path) // another's plan

	form := url.Values{"ticked": {"yes"}, "hosts": {"web1", "web3"}}
	// The button below the plan leads to an address that a browser may load again.
	res := f.post(path, form, "Cookie", anna)
	if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || to != path+"?only=1%2C3" {
		t.Fatalf("%s to %q", res.Status, to)
	}
	wants(t, f.do("GET", "/runs/"+run.ID+"?only=1%2C3", "", "Cookie", anna).body, `value="web1" checked`, `value="web3" checked`)
	lacks(t, f.do("GET", "/runs/"+run.ID+"?only=1%2C3", "", "Cookie", anna).body, `value="web2" checked`)
	if res := f.do("GET", path+"?only=1,9", "", "Cookie", anna); res.StatusCode != http.StatusUnprocessableEntity && res.StatusCode != http.StatusBadRequest {
		t.Errorf("%s", res.Status)
	}
	asked := f.do("GET", res.Header.Get("Location"), "", "Cookie", anna)
	wants(t, asked.body, "When?", "2 hosts", `name="hosts" value="web1"`, `name="hosts" value="web3"`, `type="datetime-local"`, `value="UTC"`, "type the name of the service: shop")
	lacks(t, asked.body, "Maintenance", `value="web2"`)
	if res := f.post(path, url.Values{"ticked": {"yes"}}, "Cookie", anna); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "plan-hosts-wrong") {
		t.Errorf("without a host: %s", res.Status)
	}
	if res := f.do("GET", path, "", "Cookie", dana); res.Header.Get("Location") != "/runs/"+run.ID {
		t.Errorf("another's plan: %s", res.Status)
	}
	wants(t, f.do("GET", path+"?only=1,3", "", "Cookie", anna, "Accept-Language", "ru").body, "Когда?", "2 хоста", "Запланировать")

	form["when"], form["zone"], form["typed"] = []string{"at"}, []string{"Europe/Berlin"}, []string{"shoop"}
	form["at"] = []string{"2027-03-28T02:30"}
	if res := f.post(path, form, "Cookie", anna); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "Nothing was planned") {
		t.Errorf("%s", res.Status)
	}
	form.Set("typed", "shop")
	res = f.post(path, form, "Cookie", anna, "Accept-Language", "ru")
	if res.StatusCode != http.StatusUnprocessableEntity || attribute(res.body, "at", "aria-invalid") != "true" || attribute(res.body, "zone", "value") != "Europe/Berlin" {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
	wants(t, res.body, "часы Europe/Berlin в этот день пропускают 02:30", "2027-03-28T03:00")
	form["at"] = []string{time.Now().Add(24 * time.Hour).UTC().Format("2006-01-02T15:04")}
	res = f.post(path, form, "Cookie", anna)
	at := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther || !regexp.MustCompile(`^/planned/[0-9a-z]{26}$`).MatchString(at) {
		t.Fatalf("%s to %q\n%s", res.Status, at, res.body)
	}
	if again := f.post(path, form, "Cookie", anna).Header.Get("Location"); again != at {
		t.Errorf("a double click leads to %s, and then to %s", at, again)
	}
	page := f.do("GET", at, "", "Cookie", anna).body
	wants(t, page, "Planned", "<h1>Restart shop ", "502s since the 14:00 deploy", "Europe/Berlin", at+"/cancel", "web1", "web3")
	lacks(t, page, "<code>web2</code>", at+"/approve")
	lacks(t, f.do("GET", at, "", "Cookie", dana).body, at+"/cancel")
	wants(t, f.do("GET", "/planned", "", "Cookie", dana, "Accept-Language", "ru").body, "Запланирован", `href="`+at+`"`, "2 хоста")
	wants(t, f.do("GET", "/", "", "Cookie", dana).body, `href="`+at+`"`, "All that is planned")
	if res := f.post(at+"/cancel", nil, "Cookie", dana); res.StatusCode != http.StatusForbidden {
		t.Errorf("another cancels it: %s", res.Status)
	}
	if res := f.post(at+"/cancel", nil, "Cookie", anna); res.Header.Get("Location") != at {
		t.Errorf("%s", res.Status)
	}
	wants(t, f.do("GET", at, "", "Cookie", anna).body, "Cancelled", "Over since")
	wants(t, f.do("GET", "/planned", "", "Cookie", anna).body, "Nothing is planned.", "Over", "Cancelled", `href="`+at+`"`)
	for _, path := range []string{"/planned/x", "/planned/" + strings.Repeat("0", 26)} {
		if res := f.do("GET", path, "", "Cookie", anna); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// TestWhatIsPlannedIsApproved: by another person, from the list of what waits.
func TestWhatIsPlannedIsApproved(t *testing.T) {
	f, s := newWhole(t)
	s.AskApproval()
	owner, root := f.as("anna", developer), f.as("root", admin)
	draft, err := s.Control.Draft(t.Context(), anna, restart.Request{Service: "shop", Reason: goodReason, Ticket: "WEB-17", Params: map[string]string{"grace": "2s"}}, "")
	f.must(err)
	p, err := s.Control.Later(t.Context(), anna, draft.ID, wire.LaterRequest{Hosts: []string{"web1", "web3"}, At: time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
	f.must(err)
	at := "/planned/" + p.ID
	for _, path := range []string{"/approvals", "/"} {
		wants(t, f.do("GET", path, "", "Cookie", root).body, ` <b aria-hidden="true">1</b><span class="sr">`, `class="button" href="`+at+`"`)
	}
	lacks(t, f.do("GET", "/approvals", "", "Cookie", owner).body, `class="button"`, `<b aria-hidden="true">1</b>`)
	wants(t, f.do("GET", "/approvals", "", "Cookie", owner).body, at, "planned for")
	lacks(t, f.do("GET", at, "", "Cookie", owner).body, at+"/approve")
	wants(t, f.do("GET", at, "", "Cookie", root).body, `href="/runs" aria-current="true"`, "Awaiting approval", "an admin, other than anna", "Lapses at <time", at+"/approve", at+"/reject", "nobody is asked")
	// What is approved is seen: the same as of a run that waits.
	for _, who := range []string{root, owner} {
		wants(t, f.do("GET", at, "", "Cookie", who).body, "It waits for an approval before it starts", "version "+p.Digest[:12], "one host at a time", "shop-production", "WEB-17", "<code>grace=2s</code>", "unticked by anna",
			"What runs on each host", `action="`+at+`#steps-title"`, "Shown for web1", "<code>PARAM_GRACE=2s</code>", "systemctl restart shop.service")
	}
	wants(t, f.do("GET", at+"?host=web3", "", "Cookie", root).body, "Shown for web3")
	wants(t, f.do("GET", at+"?host=web2", "", "Cookie", root).body, "Shown for web1") // it is left out
	res := f.post(at+"/approve", url.Values{"reason": {"ok"}}, "Cookie", root)
	if res.StatusCode != http.StatusUnprocessableEntity || attribute(res.body, "approve-reason", "value") != "ok" || attribute(res.body, "approve-reason", "aria-invalid") != "true" {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
	if res := f.post(at+"/approve", url.Values{"reason": {"looked at the graphs, one by one is fine"}}, "Cookie", owner); res.StatusCode != http.StatusForbidden {
		t.Errorf("%s", res.Status)
	}
	if res := f.post(at+"/approve", url.Values{"reason": {"looked at the graphs, one by one is fine"}}, "Cookie", root); res.Header.Get("Location") != at {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
	page := f.do("GET", at, "", "Cookie", root).body
	wants(t, page, "root", "looked at the graphs, one by one is fine")
	lacks(t, page, at+"/approve")
	if got, err := s.Store.Schedule(t.Context(), p.ID); err != nil || got.State != restart.ScheduleWaiting {
		t.Errorf("%+v %v", got, err)
	}
}

// TestTheCalendarOfAProfile: its address is shown once, and ends.
func TestTheCalendarOfAProfile(t *testing.T) {
	f, _ := newWhole(t)
	anna := f.as("anna", developer)
	address := regexp.MustCompile(`https://restartilka.example.com/calendar.ics\?token=rtk_[0-9a-z]+`)
	wants(t, f.do("GET", "/profile", "", "Cookie", anna).body, "You have no such address.", "Make an address")
	made := f.post("/profile/calendar", nil, "Cookie", anna)
	if made.StatusCode != http.StatusOK || !address.MatchString(made.body) {
		t.Fatalf("%s\n%s", made.Status, made.body)
	}
	again := f.do("GET", "/profile", "", "Cookie", anna).body
	wants(t, again, "You have one since", "never read")
	if address.MatchString(again) {
		t.Error("the address is shown a second time")
	}
	for range 2 { // a double click
		if res := f.post("/profile/end-calendar", nil, "Cookie", anna); res.Header.Get("Location") != "/profile" {
			t.Errorf("%s", res.Status)
		}
	}
	wants(t, f.do("GET", "/profile", "", "Cookie", anna).body, "You have no such address.")
}

// TestSomebodyElseHasDecidedAboutWhatIsPlanned: who comes second sees the page
// as it is now, with why nothing was done.
func TestSomebodyElseHasDecidedAboutWhatIsPlanned(t *testing.T) {
	f, s := newWhole(t)
	s.AskApproval()
	owner, root := f.as("anna", developer), f.as("root", admin)
	draft, err := s.Control.Draft(t.Context(), anna, restart.Request{Service: "shop", Reason: goodReason, Ticket: "WEB-17"}, "")
	f.must(err)
	p, err := s.Control.Later(t.Context(), anna, draft.ID, wire.LaterRequest{At: time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
	f.must(err)
	at := "/planned/" + p.ID
	_, err = s.Control.RejectLater(t.Context(), restart.Actor{Name: "olga", Roles: []restart.Role{admin}}, p.ID, wire.DecideLaterRequest{Reason: "not during the sale"})
	f.must(err)
	for verb, reason := range map[string]string{"approve": "looked at the graphs, one by one is fine", "reject": "the sale runs until six"} {
		res := f.post(at+"/"+verb, url.Values{"reason": {reason}}, "Cookie", root)
		if res.StatusCode != http.StatusConflict {
			t.Errorf("%s: %s", verb, res.Status)
		}
		wants(t, res.body, "<h1>Restart shop ", `id="`+verb+`-wrong" role="alert"`, "is rejected: it waits for no approval", "Rejected by olga", "not during the sale")
		lacks(t, res.body, at+"/approve")
	}
	wants(t, f.post(at+"/approve", url.Values{"reason": {"ok"}}, "Cookie", root, "Accept-Language", "ru").body, `id="approve-wrong" role="alert"`, "olga", "not during the sale") // its field is gone
	res := f.post(at+"/cancel", nil, "Cookie", owner)
	if res.StatusCode != http.StatusConflict {
		t.Errorf("%s", res.Status)
	}
	wants(t, res.body, `id="cancel-wrong" role="alert"`, "Rejected by olga")
}
