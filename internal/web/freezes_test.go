package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// newWhole is a fixture over a whole server, inventory, scenarios and
// orchestrator included, whose agents only pretend.
func newWhole(t *testing.T) (*fixture, *apitest.Server) {
	t.Helper()
	return over(t, apitest.Start(t, nil))
}

// over is a fixture over a server.
func over(t *testing.T, s *apitest.Server) (*fixture, *apitest.Server) {
	t.Helper()
	f := newFixture(t, func(c *Config) {
		sessions := authn.Sessions{Store: s.Store, Tokens: s.Store}
		c.Control, c.Auth, c.Sessions, c.Tokens = s.Control, sessions, sessions, authn.Tokens{Store: s.Store}
		c.Entrance, c.People = entrance(s.Store), authn.People{Store: s.Store}
		c.Record = func(ctx context.Context, rec audit.Record) error { return s.Store.AppendAudit(ctx, rec) }
	})
	f.store = s.Store
	return f, s
}

// as gives the cookie of a new session of somebody with some roles.
func (f *fixture) as(name string, roles ...restart.Role) string {
	f.t.Helper()
	secret, _ := f.token(name, roles...)
	res := f.post("/sign-in", url.Values{"name": {name}, "secret": {secret}})
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		f.t.Fatalf("sign-in of %s: %s\n%s", name, res.Status, res.body)
	}
	c := res.Cookies()[0]
	return c.Name + "=" + c.Value
}

const developer, admin, auditor = restart.RoleDeveloper, restart.RoleAdmin, restart.RoleAuditor

// anna is who owns the service shop.
var anna = restart.Actor{Name: "anna", Roles: []restart.Role{developer}, Via: "cli"}

func (f *fixture) draft(s *apitest.Server) restart.Run {
	f.t.Helper()
	run, err := s.Control.Draft(f.t.Context(), anna, restart.Request{Service: "shop", Reason: "502s since the 14:00 deploy"}, "")
	f.must(err)
	return run
}

func (f *fixture) freeze(s *apitest.Server, reason string) wire.Freeze {
	f.t.Helper()
	freeze, err := s.Control.AddFreeze(f.t.Context(), restart.Actor{Name: "root", Roles: []restart.Role{admin}}, wire.FreezeRequest{
		Environments: []string{"production"}, To: time.Now().UTC().Add(time.Hour).Format(time.RFC3339), Reason: reason,
	})
	f.must(err)
	return freeze
}

// A draft is started from its page, by who made it; a double click starts it once.
func TestADoubleClickStartsOneRun(t *testing.T) {
	f, s := newWhole(t)
	run := f.draft(s)
	mine, other := f.as("anna", developer), f.as("vera", developer)
	button := `action="/runs/` + run.ID + `/start"`
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", mine).body, button, "Restart 3 hosts of shop in production")
	lacks(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", other).body, button)
	if res := f.post("/runs/"+run.ID+"/start", nil, "Cookie", other); res.StatusCode != http.StatusForbidden {
		t.Errorf("another starts it: %s", res.Status)
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if res := f.post("/runs/"+run.ID+"/start", url.Values{"typed": {"shop"}}, "Cookie", mine); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs/"+run.ID {
				t.Errorf("%s to %q\n%s", res.Status, res.Header.Get("Location"), res.body)
			}
		})
	}
	wg.Wait()
	runs, _, err := s.Store.Runs(t.Context(), store.RunFilter{})
	f.must(err)
	records, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID, Action: "run.requested"})
	f.must(err)
	if len(runs) != 1 || len(runs[0].Tasks) != 3 || len(records) != 1 {
		t.Errorf("%d runs, %d requests on record", len(runs), len(records))
	}
	lacks(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", mine).body, button)
}

func TestFreezesPage(t *testing.T) {
	f, s := newWhole(t)
	cookie := f.as("anna", developer)
	wants(t, f.do("GET", "/freezes", "", "Cookie", cookie).body, "Nothing is frozen", "restartilka freeze add")
	freeze := f.freeze(s, "the <b>big</b> sale is on")
	_, err := s.Control.AddFreeze(t.Context(), restart.Actor{Name: "root", Roles: []restart.Role{admin}}, wire.FreezeRequest{
		Environments: []string{"all"}, Services: []string{"bare"}, Weekly: "fri 18:00-mon 08:00", Zone: "Europe/Berlin", Reason: "nobody is there at weekends",
	})
	f.must(err)
	// The page of a service has those of where it runs, and no others.
	f.must(s.Store.AddFreeze(t.Context(), restart.Freeze{
		ID: restart.NewID(time.Now()), Environments: []string{"testing"}, Zone: "UTC", From: new(time.Now().UTC()), To: new(time.Now().UTC().Add(time.Hour)), Reason: "the load test needs quiet", CreatedBy: "root", CreatedAt: time.Now().UTC(),
	}, audit.Record{Action: audit.FreezeAdded}))
	shop := f.do("GET", "/services/shop", "", "Cookie", cookie).body
	wants(t, shop, "the &lt;b&gt;big&lt;/b&gt; sale")
	lacks(t, shop, "the load test", "nobody is there at weekends")
	page := f.do("GET", "/freezes", "", "Cookie", cookie).body // the two in either order: it may be weekend
	wants(t, page, "production: frozen until", "the &lt;b&gt;big&lt;/b&gt; sale", "by root", freeze.ID)
	wants(t, page, "bare · every environment", "every week: Fri 18:00 – Mon 08:00, Europe/Berlin")
	russian := f.do("GET", "/freezes", "", "Cookie", cookie, "Accept-Language", "ru").body
	wants(t, russian, "production: заморожено до")
	wants(t, russian, "все окружения", "каждую неделю")
}

// Past a freeze there are two steps, for those with the right, and the second
// wants the service's name.
func TestBreakGlassOnPages(t *testing.T) {
	f, s := newWhole(t)
	run := f.draft(s)
	f.freeze(s, "the big sale is on")
	path := "/runs/" + run.ID + "/break-glass"
	plain, sure := f.as("anna", developer), f.as("anna", developer, restart.RoleBreakGlass)

	page := f.do("GET", "/runs/"+run.ID, "", "Cookie", plain).body
	wants(t, page, "frozen until", "the big sale is on", "Wait until then, or ask an admin to lift it:", `<a href="/freezes">Freezes</a>`)
	lacks(t, page, path, "/start\"", "restartilka freeze", "--break-glass")
	if res := f.post("/runs/"+run.ID+"/start", nil, "Cookie", plain); res.StatusCode != http.StatusConflict || !strings.Contains(res.body, `<div class="callout fail" role="alert">`) || !strings.Contains(res.body, "the big sale is on") {
		t.Errorf("start: %s\n%s", res.Status, res.body)
	}
	if res := f.post(path, url.Values{"service": {"shop"}}, "Cookie", plain); res.StatusCode != http.StatusForbidden {
		t.Errorf("without the right: %s", res.Status)
	}
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", sure).body, "frozen until", `action="`+path+`"`, "It can&#39;t wait: break the glass")
	wants(t, f.do("GET", path, "", "Cookie", sure).body, "Break the glass", "the big sale is on", "3 hosts although", `action="`+path+`"`, "type the name of the service: shop")
	wants(t, f.post(path, url.Values{"ticked": {"yes"}, "hosts": {"web1", "web3"}}, "Cookie", sure).body, "2 hosts although", `name="hosts" value="web1"`, `name="hosts" value="web3"`)
	for _, typed := range []string{"", "shopp", "yes"} {
		if res := f.post(path, url.Values{"service": {typed}}, "Cookie", sure); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "not the name of the service") {
			t.Errorf("%q: %s", typed, res.Status)
		}
	}
	if res := f.post(path, url.Values{"service": {" shop "}, "hosts": {"web1", "web3"}}, "Cookie", sure); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	if res := f.post(path, url.Values{"service": {"shop"}, "hosts": {"web1", "web3"}}, "Cookie", sure); res.StatusCode != http.StatusSeeOther { // a double click
		t.Errorf("again: %s", res.Status)
	}
	if got, err := s.Store.Run(t.Context(), run.ID); err != nil || len(got.Tasks) != 2 {
		t.Errorf("%d tasks, %v: the host that was unticked is touched past the freeze", len(got.Tasks), err)
	}
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", plain).body, "the glass was broken")
	if res := f.do("GET", path, "", "Cookie", sure); res.StatusCode != http.StatusSeeOther {
		t.Errorf("the form of a run that has started: %s", res.Status)
	}

	// The owner, auditors and admins see it; a stranger does not.
	for cookie, sees := range map[string]bool{plain: true, f.as("olga", auditor): true, f.as("root", admin): true, f.as("vera", developer): false} {
		if got := strings.Contains(f.do("GET", "/runs", "", "Cookie", cookie).body, "1 run was started past its safeguards"); got != sees {
			t.Errorf("the notice is there: %v, want %v", got, sees)
		}
	}
	review := "/break-glass/" + run.ID + "/review"
	own := f.do("GET", "/break-glass", "", "Cookie", sure).body
	wants(t, own, "/runs/"+run.ID, "by anna", "<code>"+run.ID+"</code>", `Waived: production is frozen until <time datetime="`, "for an auditor or admin")
	lacks(t, own, review)
	wants(t, f.do("GET", "/break-glass", "", "Cookie", sure, "Accept-Language", "ru").body, `В обход: заморожено до <time datetime="`)
	olga := f.as("olga", auditor)
	wants(t, f.do("GET", "/break-glass", "", "Cookie", olga).body, review, "What have you found?")
	if res := f.post(review, url.Values{"note": {"."}}, "Cookie", olga); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a note that says nothing: %s", res.Status)
	}
	if res := f.post(review, url.Values{"note": {"the outage was real, and this ended it"}}, "Cookie", olga); res.StatusCode != http.StatusSeeOther {
		t.Errorf("review: %s\n%s", res.Status, res.body)
	}
	wants(t, f.page(olga, run.ID), "the glass was broken. Reviewed by olga: the outage was real, and this ended it")
	wants(t, f.do("GET", "/break-glass", "", "Cookie", olga, "Accept-Language", "ru").body, "Разбирать нечего")
	lacks(t, f.do("GET", "/runs", "", "Cookie", olga).body, "past its safeguards")
}

// What a page of a run that a freeze has paused says can be done: resume once it
// is over, or end it and start what is left past the freeze.
func TestARunThatAFreezeHasPausedSaysWhatCanBeDone(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.running(1, 1)
	f.to(run, restart.RunPaused, restart.CauseFreeze, "production is frozen until Monday")
	page := f.page(cookie, run.ID)
	wants(t, page, "once the freeze is over", "it can&#39;t wait", `<details class="fold shell"`, "restartilka resume "+run.ID, "restartilka abort "+run.ID, "restartilka retry "+run.ID+" --break-glass --reason TEXT")
	wants(t, f.page(cookie, run.ID, "Accept-Language", "ru"), "когда заморозка кончится", "--break-glass")
	other := f.running(1, 1)
	f.to(other, restart.RunPaused, restart.CauseFailure, "web1: failed")
	lacks(t, f.page(cookie, other.ID), "--break-glass")
}
