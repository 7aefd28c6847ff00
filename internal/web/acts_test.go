package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
)

const why = "it has a new pid since noon"

// running makes a run of nginx by the scenario on the shelf.
func (f *fixture) running(hosts ...int) restart.Run {
	f.t.Helper()
	run := f.newRun("nginx", hosts...)
	run.Digest = scenario.Digest([]byte(scenarioText))
	run.Plan.Digest = run.Digest
	f.create(run)
	f.to(run, restart.RunRunning, "", "")
	return run
}

func (f *fixture) page(cookie, id string, headers ...string) string {
	f.t.Helper()
	return f.do("GET", "/runs/"+id, "", append([]string{"Cookie", cookie}, headers...)...).body
}

func (f *fixture) signInAs(name string, roles ...restart.Role) string {
	f.t.Helper()
	secret, _ := f.token(name, roles...)
	c := f.post("/sign-in", url.Values{"name": {name}, "secret": {secret}}).Cookies()[0]
	return c.Name + "=" + c.Value
}

// shownVersion is what a form of the page says.
func shownVersion(t *testing.T, page string) string {
	t.Helper()
	m := regexp.MustCompile(`name="version" value="(\d+)"`).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no version in:\n%s", page)
	}
	return m[1]
}

func TestWhatCanBePressed(t *testing.T) {
	f := newFixture(t)
	cookie, other := f.signIn(), f.signInAs("vera", restart.RoleDeveloper)
	run := f.running(1, 1)
	wants(t, f.page(cookie, run.ID), `id="acts"`, `/pause"`, `/abort"`)
	lacks(t, f.page(cookie, run.ID), `/force-abort"`) // there is nothing to kill
	f.task(run, 0, restart.TaskRunning, store.TaskChange{}, nil)
	wants(t, f.page(cookie, run.ID), `/pause"`, `/abort"`, `/force-abort"`)
	lacks(t, f.page(cookie, run.ID), `/resume"`, `/decide"`, `/retry"`, `/undrain"`, `/start"`)
	lacks(t, f.page(other, run.ID), `method="post" action="/runs/`) // who may not is shown nothing to press

	f.task(run, 0, restart.TaskUnknown, store.TaskChange{Drained: new(true)}, nil)
	f.to(run, restart.RunPaused, restart.CauseUnknown, "web1: unknown")
	page := f.page(cookie, run.ID)
	wants(t, page, "Decide about web1.nginx.example.com…", `name="host" value="web1.nginx.example.com"`, `value="happened"`, `value="did-not"`, `value="again"`, `name="reason" required minlength="10"`)
	wants(t, page, `/undrain"`, `name="hosts" value="web1.nginx.example.com" checked`) // which holds nothing that the run holds
	lacks(t, page, `/resume"`, `/retry"`, "http-equiv")
	wants(t, f.page(cookie, run.ID, "Accept-Language", "ru"), "Решить о web1.nginx.example.com…", "Выполнить ещё раз")
}

func TestDecideOnThePage(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.running(1, 1)
	f.task(run, 0, restart.TaskUnknown, store.TaskChange{}, nil)
	f.to(run, restart.RunPaused, restart.CauseUnknown, "web1: unknown")
	seen := shownVersion(t, f.page(cookie, run.ID))
	press := func(verb string, form url.Values) answer {
		t.Helper()
		return f.post("/runs/"+run.ID+"/"+verb, form, "Cookie", cookie)
	}
	form := url.Values{"version": {seen}, "host": {"web1.nginx.example.com"}, "verdict": {"happened"}, "reason": {why}}
	stale := url.Values{"version": {"1"}, "host": form["host"], "verdict": form["verdict"], "reason": form["reason"]}
	res := press("decide", stale)
	if res.StatusCode != http.StatusConflict {
		t.Fatalf("stale: %s\n%s", res.Status, res.body)
	}
	wants(t, res.body, `id="act-decide-`+form.Get("host")+`" open>`, "has changed since you looked at it", `value="happened" required checked`, why)
	if res := press("decide", url.Values{"host": form["host"], "verdict": form["verdict"], "reason": {"."}}); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "too short") {
		t.Errorf("no reason: %s", res.Status)
	}
	if res := press("decide", url.Values{"version": {"x"}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("no version: %s", res.Status)
	}
	for range 2 { // a double click
		if res := press("decide", form); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs/"+run.ID {
			t.Fatalf("decide: %s\n%s", res.Status, res.body)
		}
	}
	page := f.page(cookie, run.ID)
	wants(t, page, "1 of 2 hosts done", `/resume"`, `id="cell-0" class="cell done"`, "Unknown", "decided: it happened (dana)")
	lacks(t, page, `/decide"`, "never run again by itself")
	wants(t, f.do("GET", "/runs/"+run.ID+"/hosts/web1.nginx.example.com", "", "Cookie", cookie).body, "decided: it happened (dana)", why)
	if res := press("resume", url.Values{"version": {seen}}); res.StatusCode != http.StatusConflict {
		t.Errorf("resume upon an old page: %s", res.Status)
	}
	if res := press("resume", url.Values{"version": {shownVersion(t, page)}}); res.StatusCode != http.StatusSeeOther {
		t.Errorf("resume: %s\n%s", res.Status, res.body)
	}
	if got, err := f.store.Run(t.Context(), run.ID); err != nil || got.State != restart.RunRunning {
		t.Errorf("%s, %v", got.Summary(), err)
	}
	if res := press("pause", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("pause: %s", res.Status)
	}
	if res := press("force-abort", url.Values{"version": {"1"}}); res.StatusCode != http.StatusConflict {
		t.Errorf("force-abort upon an old page: %s", res.Status)
	}
	if res := press("abort", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("abort: %s", res.Status)
	}
	if res := f.post("/runs/"+run.ID+"/abort", nil, "Cookie", f.signInAs("vera", restart.RoleDeveloper)); res.StatusCode != http.StatusForbidden {
		t.Errorf("abort by another: %s", res.Status)
	}
}

// A retry from the page: its plan is shown, and started there; each page links
// to the other.
func TestRetryOnThePage(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.running(1, 1, 1)
	f.task(run, 0, restart.TaskSucceeded, store.TaskChange{}, nil)
	f.task(run, 1, restart.TaskFailed, store.TaskChange{Error: "no", Drained: new(true)}, nil)
	f.task(run, 2, restart.TaskUnknown, store.TaskChange{}, nil)
	f.to(run, restart.RunFailed, restart.CauseFailure, "2 of 3 hosts did not succeed")
	page := f.page(cookie, run.ID)
	wants(t, page, `/decide"`, "Retry on 2 hosts…", `name="key" value="`, "Put drained hosts back…", `name="hosts" value="web2.nginx.example.com" checked`)
	lacks(t, page, `value="again"`, `/pause"`, `/abort"`)
	wants(t, f.page(cookie, run.ID, "Accept-Language", "ru"), "Повторить на 2 хостах…", "Вернуть хосты в балансировку…")

	form := url.Values{"version": {shownVersion(t, page)}, "key": {"click"}, "reason": {"the disk has room again"}}
	var drafts []string
	for range 2 {
		res := f.post("/runs/"+run.ID+"/retry", form, "Cookie", cookie)
		if res.StatusCode != http.StatusSeeOther {
			t.Fatalf("retry: %s\n%s", res.Status, res.body)
		}
		drafts = append(drafts, strings.TrimPrefix(res.Header.Get("Location"), "/runs/"))
	}
	if drafts[0] != drafts[1] || drafts[0] == run.ID {
		t.Fatalf("a double click made %v", drafts)
	}
	page = f.page(cookie, drafts[0])
	wants(t, page, "Draft", "the disk has room again", "Whether the script ran on web3.nginx.example.com is not known", `/start"`, `value="web2.nginx.example.com" checked`, `href="/runs/`+run.ID+`">a retry of another run`)
	lacks(t, f.page(f.signInAs("root", restart.RoleAdmin), drafts[0]), `/start"`) // another's plan
	if res := f.post("/runs/"+drafts[0]+"/start", url.Values{"version": {shownVersion(t, page)}, "typed": {"nginx"}}, "Cookie", cookie); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("start: %s\n%s", res.Status, res.body)
	}
	wants(t, f.page(cookie, run.ID), `href="/runs/`+drafts[0]+`">retried by dana: Queued`)

	res := f.post("/runs/"+run.ID+"/undrain", url.Values{"hosts": {"web2.nginx.example.com"}, "key": {"undrain"}, "reason": {"repaired by hand, it answers"}}, "Cookie", cookie)
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("undrain: %s\n%s", res.Status, res.body)
	}
	wants(t, f.do("GET", res.Header.Get("Location"), "", "Cookie", cookie).body, "Only puts hosts back", "puts back hosts of another run", "Put back 1 host of nginx in production")
}

// The live page: what can be pressed comes when it changes, and with it the
// version for which it is meant.
func TestActsFollowTheRun(t *testing.T) {
	f := newFixture(t)
	run := f.running(1, 1)
	l := f.listen(f.signIn(), "/runs/"+run.ID+"/events")
	m, _ := l.next()
	wants(t, m.data, `id="acts"`, `/pause"`, "no other is touched until somebody resumes", `/abort"`, "The rest is not touched, and the run is over") // each with its consequence
	lacks(t, m.data, `/resume"`)
	f.task(run, 0, restart.TaskRunning, store.TaskChange{Phase: "health"}, nil)
	for !strings.Contains(m.data, "Checking health") {
		m, _ = l.next()
	}
	f.task(run, 0, restart.TaskRunning, store.TaskChange{Phase: "undrain"}, nil)
	m, _ = l.next()
	wants(t, m.data, "Undraining")
	lacks(t, m.data, `id="acts"`) // nothing else can be pressed

	f.task(run, 0, restart.TaskUnknown, store.TaskChange{}, nil)
	f.to(run, restart.RunPaused, restart.CauseUnknown, "web1: unknown")
	for !strings.Contains(m.data, `/decide"`) {
		m, _ = l.next()
	}
	wants(t, m.data, `name="version" value="`+strconv.FormatInt(m.id, 10)+`"`)
	f.apply(store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: run.Tasks[0].ID, Decision: &restart.Decision{Verdict: restart.VerdictHappened, By: "dana", Reason: why, At: time.Now()}}}})
	for !strings.Contains(m.data, `/resume"`) {
		m, _ = l.next()
	}
	lacks(t, m.data, `/decide"`)
}
