package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// untilOneOf waits until a run is in one of some states.
func (f *fixture) untilOneOf(s *apitest.Server, run restart.Run, states ...restart.RunState) {
	f.t.Helper()
	there := errors.New("there")
	err := s.Control.Follow(f.t.Context(), anna, run.ID, 0, func(now restart.Run) error {
		if slices.Contains(states, now.State) {
			return there
		}
		return nil
	})
	if !errors.Is(err, there) {
		f.t.Fatalf("run %s is never %v: %v", run.ID, states, err)
	}
}

// What is known before the button is on the plan's page: of each host, in
// numbers, and what happened before.
func TestThePlanSaysWhatIsToBeKnown(t *testing.T) {
	f, s := newStart(t, "")
	s.Agents.Set("web2", apitest.Away)
	cookie := f.as("anna", developer)
	run := f.draft(s)
	page := f.page(cookie, run.ID)
	wants(t, page, "Restart shop?", "dc1", "edge", "ready", "1.2.3-1", "healthy", "none known")
	wants(t, page, `value="web1" checked`, `value="web2"`, "not ready", "web2: nothing listens", `value="web3" checked`, "one host at a time", "2 batches", "At the lowest moment", "1 of 2 healthy hosts serve",
		"Likely to take", "not known yet", "plain-restart has not run on shop here before", "What runs on each host", "systemctl restart shop.service", "Restart 2 hosts of shop in production")
	lacks(t, page, `value="web2" checked`)

	started, err := s.Control.Start(t.Context(), anna, run.ID, wire.StartRequest{})
	f.must(err)
	f.untilOneOf(s, started, restart.RunCompleted)
	s.Agents.Set("web2", apitest.Succeeds)
	again := f.draft(s)
	page = f.page(cookie, again.ID, "Accept-Language", "ru")
	wants(t, page, "Перезапустить shop?", "Последний перезапуск", `href="/runs/`+run.ID+`"`, "Займёт примерно", "медиана последних раз (2 хоста, 1 запуск)", "Перезапустить 3 хоста сервиса shop в production")
	wants(t, f.page(cookie, again.ID+"?host=web3"), `<option value="web3" selected>`, "Shown for web3")

	// The same restart failed a moment ago; then it went well, and nothing is said.
	s.Agents.Set("web1", apitest.Fails)
	failing, err := s.Control.Start(t.Context(), anna, again.ID, wire.StartRequest{})
	f.must(err)
	f.untilOneOf(s, failing, restart.RunPaused)
	wants(t, f.page(cookie, f.draft(s).ID), "Know before you start", `<a href="/runs/`+failing.ID+`">A run of anna</a> has shop in production now; yours would wait for it`)
	wants(t, f.do("GET", "/start?service=shop", "", "Cookie", cookie).body, "A run of anna has it since <time", "Your recent reasons", `<li>502s since the 14:00 deploy</li>`)
	_, err = s.Control.Abort(t.Context(), anna, failing.ID, 0)
	f.must(err)
	f.untilOneOf(s, failing, restart.RunAborted)
	wants(t, f.page(cookie, f.draft(s).ID), `The same was tried a moment ago and aborted: run <a href="/runs/`+failing.ID+`">`+failing.ID+`</a> by anna`)
	s.Agents.Set("web1", apitest.Succeeds)
	third, err := s.Control.Start(t.Context(), anna, f.draft(s).ID, wire.StartRequest{})
	f.must(err)
	f.untilOneOf(s, third, restart.RunCompleted)
	lacks(t, f.page(cookie, f.draft(s).ID), "he same was tried")
}

// The agents are asked again for the page, after it has come or within it.
func TestThePlansHostsAreAskedAgain(t *testing.T) {
	f, s := newStart(t, "")
	cookie := f.as("anna", developer)
	run := f.draft(s)
	s.Agents.Set("web3", apitest.Away)
	wants(t, f.page(cookie, run.ID), `hx-get="/runs/`+run.ID+`/check"`, `id="agent-2"`)
	part := f.do("GET", "/runs/"+run.ID+"/check", "", "Cookie", cookie).body
	wants(t, part, `id="asked"`, "Asked again at", `id="agent-0" hx-swap-oob="outerMorph"`, "ready", `id="agent-2" hx-swap-oob="outerMorph"`, "no agent listens", "web3")
	lacks(t, part, "<html")
	page := f.page(cookie, run.ID+"?ticked=yes&hosts=web1&hosts=nobody&check=now")
	wants(t, page, "Asked again at", `value="web1" checked`, "no agent listens")
	lacks(t, page, `value="web2" checked`, "hx-swap-oob", `hx-trigger="load"`)
	wants(t, page, "Restart 1 host of shop")
	if res := f.do("GET", "/runs/"+f.create(f.newRun("nginx", 1)).ID+"/check", "", "Cookie", cookie); res.StatusCode != http.StatusConflict {
		t.Errorf("of a run that is no plan: %s", res.Status)
	}
}

// The second step wants the service's name, over the hosts that are ticked.
func TestProductionTakesASecondStep(t *testing.T) {
	f, s := newStart(t, "")
	cookie, vera := f.as("anna", developer), f.as("vera", developer)
	run := f.draft(s)
	path := "/runs/" + run.ID + "/start"
	ticked := url.Values{"ticked": {"yes"}, "hosts": {"web1", "web3"}, "version": {"1"}}
	res := f.post(path, ticked, "Cookie", cookie)
	at := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther || at != "/runs/"+run.ID+"/confirm?only=1%2C3&version=1" {
		t.Fatalf("%s to %s\n%s", res.Status, at, res.body)
	}
	for _, bad := range []string{"only=0", "only=4", "only=2-1", "only=1-3,1", "only=x", "version=-1"} {
		if res := f.do("GET", "/runs/"+run.ID+"/confirm?"+bad, "", "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity && res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", bad, res.Status)
		}
	}
	if res := f.do("GET", at, "", "Cookie", vera); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs/"+run.ID {
		t.Errorf("another's second step: %s", res.Status)
	}
	if res = f.do("GET", at, "", "Cookie", cookie); res.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	wants(t, res.body, "Restart shop?", "production", "502s since the 14:00 deploy", "<li>web1</li><li>web3</li>", "1 host of the plan is left out", "2 batches", "2 of 3 healthy hosts serve",
		`name="ticked" value="yes"`, `name="hosts" value="web1"`, `name="hosts" value="web3"`, "type the name of the service: shop", "Restart 2 hosts of shop in production")
	typed := func(name string) answer {
		form := url.Values{"typed": {name}}
		maps.Copy(form, ticked)
		return f.post(path, form, "Cookie", cookie)
	}
	for _, wrong := range []string{"", "Shop", "2"} {
		if res := typed(wrong); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "not the name of the service") || !strings.Contains(res.body, `aria-describedby="confirm-typed-wrong"`) {
			t.Errorf("%q: %s\n%s", wrong, res.Status, res.body)
		}
	}
	if now, err := s.Store.Run(t.Context(), run.ID); err != nil || now.State != restart.RunDraft {
		t.Fatalf("%s, %v", now.State, err)
	}
	if res := f.post(path, url.Values{"typed": {"shop"}}, "Cookie", vera); res.StatusCode != http.StatusForbidden {
		t.Errorf("another starts it: %s", res.Status)
	}
	none := f.post(path, url.Values{"ticked": {"yes"}}, "Cookie", cookie)
	if none.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("nothing is ticked: %s", none.Status)
	}
	wants(t, none.body, `action="`+path+`"`, `id="plan-hosts-wrong"`, "No host is ticked", `aria-invalid="true" aria-describedby="plan-hosts-wrong" autofocus`)
	lacks(t, none.body, `value="web1" checked`)
	for range 2 { // a double click
		if res := typed(" shop "); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs/"+run.ID {
			t.Fatalf("%s\n%s", res.Status, res.body)
		}
	}
	if now, err := s.Store.Run(t.Context(), run.ID); err != nil || len(now.Tasks) != 2 {
		t.Errorf("%d tasks, %v", len(now.Tasks), err)
	}
	wants(t, f.page(vera, f.draft(s).ID), "This is the plan of anna", `href="/start?`, "Make your own of the same")

	// What changes nothing takes one step.
	rehearsal, err := s.Control.Draft(t.Context(), anna, restart.Request{Service: "shop", Reason: goodReason, Rehearse: true}, "")
	f.must(err)
	wants(t, f.page(cookie, rehearsal.ID), "Rehearse on shop?", "no host is taken out of service", "Rehearse on 3 hosts of shop in production")
	if res := f.post("/runs/"+rehearsal.ID+"/start", url.Values{"ticked": {"yes"}, "hosts": {"web1", "web2", "web3"}}, "Cookie", cookie); res.StatusCode != http.StatusSeeOther {
		t.Errorf("a rehearsal: %s\n%s", res.Status, res.body)
	}
}

// A plan that is not true any more is made anew and shown with the difference;
// what was unticked stays so.
func TestAPlanThatHasChangedIsShownAgain(t *testing.T) {
	f, s := newStart(t, "")
	cookie := f.as("anna", developer)
	run := f.draft(s)
	f.must(os.WriteFile(filepath.Join(s.Dir, "inventory.yaml"), []byte(strings.Replace(apitest.Inventory, "[web1, web2, web3]", "[web2, web3, web4]", 1)), 0o600))
	res := f.post("/runs/"+run.ID+"/start", url.Values{"ticked": {"yes"}, "hosts": {"web1", "web3"}, "typed": {"shop"}}, "Cookie", cookie)
	at := res.Header.Get("Location")
	m := regexp.MustCompile(`^/runs/([0-9a-z]{26})\?instead=` + run.ID + `$`).FindStringSubmatch(at)
	if res.StatusCode != http.StatusSeeOther || m == nil || m[1] == run.ID {
		t.Fatalf("%s to %q\n%s", res.Status, at, res.body)
	}
	page := f.do("GET", at, "", "Cookie", cookie).body
	wants(t, page, "The plan has changed since you looked at it", "web1 is not in the group any more", "web4 has joined the group", `value="web2"`, "unticked by anna", `value="web3" checked`, `value="web4" checked`)
	lacks(t, page, `value="web2" checked`, `value="web1"`)
	if old, err := s.Store.Run(t.Context(), run.ID); err != nil || old.State != restart.RunDraft {
		t.Errorf("%s, %v", old.State, err)
	}
	// Another's plan, or one that is not there, is compared with nothing.
	other, err := s.Control.Draft(t.Context(), restart.Actor{Name: "root", Roles: []restart.Role{admin}}, restart.Request{Service: "shop", Reason: goodReason}, "")
	f.must(err)
	for _, id := range []string{other.ID, strings.Repeat("0", 26), "../x", "<script>"} {
		lacks(t, f.do("GET", "/runs/"+m[1]+"?instead="+url.QueryEscape(id), "", "Cookie", cookie).body, `id="changed"`, "<script>a")
	}
	if _, err := s.Control.Again(t.Context(), anna, other.ID, nil); restart.CodeOf(err) != restart.CodeForbidden {
		t.Errorf("of another's plan: %v", err)
	}
}

// Of a plan of very many hosts each can be unticked; the first are listed with
// all that is known of them.
func TestAPlanOfManyHosts(t *testing.T) {
	const hosts = control.MaxLooked + 50
	var names []string
	var all strings.Builder
	for i := range hosts {
		names = append(names, fmt.Sprintf("web%03d", i))
		fmt.Fprintf(&all, "  - {name: web%03d}\n", i)
	}
	f, s := newStart(t, "services:\n  - {name: shop, unit: shop.service, owners: [anna]}\ngroups:\n  - {name: shop-testing, environment: testing, services: [shop], hosts: ["+strings.Join(names, ", ")+"]}\nhosts:\n"+all.String())
	cookie := f.as("anna", developer)
	run, err := s.Control.Draft(t.Context(), anna, restart.Request{Service: "shop", Scenario: "plain-restart", Reason: goodReason}, "")
	f.must(err)
	page := f.page(cookie, run.ID)
	if n := strings.Count(page, `name="hosts" value=`); n != hosts {
		t.Errorf("%d hosts are listed", n)
	}
	if n := strings.Count(page, `id="agent-`); n != control.MaxLooked {
		t.Errorf("%d hosts are looked at", n)
	}
	wants(t, page, "50 more hosts are listed in short, and are asked when the run starts", "Restart 250 hosts of shop in testing")
	form := url.Values{"ticked": {"yes"}, "hosts": names[1 : hosts-1]}
	if res := f.post("/runs/"+run.ID+"/start", form, "Cookie", cookie); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	if now, err := s.Store.Run(t.Context(), run.ID); err != nil || len(now.Tasks) != hosts-2 || now.Tasks[0].Host != names[1] {
		t.Errorf("%d tasks, %v", len(now.Tasks), err)
	}
}

// The first page says what waits for whom, and what goes on.
func TestHome(t *testing.T) {
	f, s := newStart(t, "")
	cookie, root := f.as("anna", developer), f.as("root", admin)
	wants(t, f.do("GET", "/", "", "Cookie", cookie).body, "Which service do you want to restart, or take a thread dump of?", "shop", "Nothing is going on just now")
	s.Agents.Set("web1", apitest.Hangs)
	started, err := s.Control.Start(t.Context(), anna, f.draft(s).ID, wire.StartRequest{})
	f.must(err)
	home := f.do("GET", "/", "", "Cookie", root).body
	wants(t, home, "Going on now", "/runs/"+started.ID, "shop", "502s since the 14:00 deploy")
	lacks(t, home, "Waits for you")
	s.Agents.Set("web1", apitest.Fails)
	f.untilOneOf(s, started, restart.RunPaused)
	wants(t, f.do("GET", "/", "", "Cookie", cookie).body, "Waits for you", "Paused", "/runs/"+started.ID, "Which service do you want to restart, or take a thread dump of?")
	lacks(t, f.do("GET", "/", "", "Cookie", root).body, "/runs/"+started.ID)
	s.AskApproval()
	waiting, err := s.Control.Start(t.Context(), anna, f.draft(s).ID, wire.StartRequest{})
	f.must(err)
	wants(t, f.do("GET", "/", "", "Cookie", root, "Accept-Language", "ru").body, "Ждёт вас", "anna просит вашего одобрения", "/runs/"+waiting.ID)
	// Who asked waits for others, and is not told his own name.
	own := f.do("GET", "/", "", "Cookie", cookie).body
	wants(t, own, "Waits for others", "/runs/"+waiting.ID, "by you", "Which service do you want to restart")
	lacks(t, own, "by anna")
}

// A lock need not have an environment, and the sentence about it none either.
func TestARunIsInTheWayWithoutAnEnvironment(t *testing.T) {
	f, s := newStart(t, strings.ReplaceAll(strings.ReplaceAll(apitest.Inventory, ", environment: production", ""), "environment: production, ", ""))
	s.Agents.Set("web1", apitest.Hangs)
	cookie := f.as("anna", developer)
	first, err := s.Control.Start(t.Context(), anna, f.draft(s).ID, wire.StartRequest{})
	f.must(err)
	f.untilOneOf(s, first, restart.RunRunning)
	second := f.draft(s)
	wants(t, f.page(cookie, second.ID), `<a href="/runs/`+first.ID+`">A run of anna</a> has shop now; yours would wait for it`)
	wants(t, f.page(cookie, second.ID, "Accept-Language", "ru"), `<a href="/runs/`+first.ID+`">Запуск пользователя anna</a> сейчас занимает shop; ваш будет его ждать`)
	if want := "run " + first.ID + " has shop now; this one would wait for it"; !slices.Contains(second.Plan.Warnings, want) {
		t.Errorf("%q, want %q", second.Plan.Warnings, want)
	}
}

// Without JavaScript the form itself narrows the list. What is narrowed away
// keeps its tick, and goes with the form.
func TestAPlanIsNarrowedByItsAddress(t *testing.T) {
	f, s := newStart(t, "")
	s.Agents.Set("web2", apitest.Away)
	cookie := f.as("anna", developer)
	run := f.draft(s)
	rows := regexp.MustCompile(`<tr [^>]*?(hidden)?>\s*<th scope="row"><label class="pick"><input type="checkbox" name="hosts" value="(\w+)"( checked)?`)
	for query, want := range map[string]string{
		"": "web1x web2- web3x", "?centre=dc2": "(web1x) (web2-) web3x", "?refused=yes": "(web1x) web2- (web3x)", "?centre=dc2&refused=yes": "(web1x) (web2-) (web3x)", "?centre=moon": "web1x web2- web3x",
		"?ticked=yes&hosts=web1&hosts=web2&centre=dc2&refused=": "(web1x) (web2x) web3-",
	} {
		page := f.page(cookie, run.ID+query)
		var got []string
		for _, m := range rows.FindAllStringSubmatch(page, -1) {
			row := m[2] + "-"
			if m[3] != "" {
				row = m[2] + "x"
			}
			if m[1] != "" {
				row = "(" + row + ")"
			}
			got = append(got, row)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
		wants(t, page, `class="row narrow">`, `name="centre"`, `name="refused" value="yes"`, `<noscript><button type="submit" class="small" formmethod="get" formaction="/runs/`+run.ID+`">Show</button>`)
	}
	wants(t, f.page(cookie, run.ID+"?centre=dc2&refused=yes"), `<option selected>dc2</option>`, `id="narrow-refused" name="refused" value="yes" checked`)
	wants(t, f.page(cookie, run.ID+"?ticked=yes&hosts=web1&hosts=web2&centre=dc2"), "Restart 2 hosts of shop")
	none := f.post("/runs/"+run.ID+"/start", url.Values{"ticked": {"yes"}, "centre": {"dc2"}}, "Cookie", cookie)
	wants(t, none.body, "No host is ticked", `<option selected>dc2</option>`)
}
