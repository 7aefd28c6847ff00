package web

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// wants checks that a page has each text, in this order.
func wants(t *testing.T, page string, texts ...string) {
	t.Helper()
	at := 0
	for _, text := range texts {
		i := strings.Index(page[at:], text)
		if i < 0 {
			t.Fatalf("%q is not there, or not after what comes before it, in:\n%s", text, page)
		}
		at += i + len(text)
	}
}

func lacks(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			t.Fatalf("%q is there:\n%s", text, page)
		}
	}
}

func TestNoRunsYet(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.NoRemoteLog = true })
	res := f.do("GET", "/runs", "", "Cookie", f.signIn())
	wants(t, res.body, "<title>Runs", "Nothing has been restarted yet", `<a class="button main" href="/start">Start a run</a>`, "restartilka restart SERVICE")
	lacks(t, res.body, "is started from the command line")

	// Who can do something about the log is told so on every page, and nobody else.
	lacks(t, res.body, "No remote log")
	lacks(t, f.do("GET", "/sign-in", "").body, "No remote log")
	root, olga := f.signInAs("root", restart.RoleAdmin), f.signInAs("olga", restart.RoleAuditor)
	wants(t, f.do("GET", "/runs", "", "Cookie", root).body, "No remote log:", `<a href="/admin/delivery">What to do</a>`)
	wants(t, f.do("GET", "/runs", "", "Cookie", olga, "Accept-Language", "ru").body, "Журнал не уходит на другой сервер", `<a href="/audit">Что делать</a>`)
}

func TestListOfRuns(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	const n = runsPerPage + 5
	var ids []string
	for i := range n {
		run := f.newRun(fmt.Sprintf("svc%02d", i), 1, 1)
		run.Reason = fmt.Sprintf("reason <b>%d</b> & more of it", i)
		ids = append(ids, f.create(run).ID)
		if i == n-1 {
			f.to(run, restart.RunRunning, "", "")
			f.task(run, 0, restart.TaskSucceeded, store.TaskChange{}, nil)
			f.task(run, 1, restart.TaskFailed, store.TaskChange{Error: "no"}, nil)
			f.to(run, restart.RunPaused, restart.CauseFailure, "1 failed")
		}
	}
	draft := f.newRun("draft", 1)
	draft.State = restart.RunDraft
	f.create(draft)

	first := f.do("GET", "/runs", "", "Cookie", cookie).body
	wants(t, first, "Paused", "/runs/"+ids[n-1], "reason &lt;b&gt;34&lt;/b&gt; &amp; more of it", "by dana", "a host failed", "1 of 2 hosts done",
		"Queued", "/runs/"+ids[n-2], "/runs/"+ids[n-runsPerPage], "Older runs")
	lacks(t, first, "/runs/"+ids[n-runsPerPage-1]+`"`, draft.ID, "<b>")
	older := regexp.MustCompile(`href="(/runs\?before=[^"]+)"`).FindStringSubmatch(first)[1]
	second := f.do("GET", older, "", "Cookie", cookie).body
	wants(t, second, "Newest runs", "/runs/"+ids[4], "/runs/"+ids[0])
	lacks(t, second, "Older runs", "/runs/"+ids[n-runsPerPage]+`"`)
	wants(t, f.do("GET", "/runs", "", "Cookie", cookie, "Accept-Language", "ru").body, `<html lang="ru" data-theme="system">`, "Запуски", "На паузе", "ошибка на хосте")
	if res := f.do("GET", "/runs?before="+url.QueryEscape("x' OR 1=1"), "", "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a cursor that is none: %s", res.Status)
	}
}

func TestOneRun(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1, 2)
	run.Params = map[string]string{"mode": "graceful"}
	run.Ticket = "WEB-7"
	run.Plan.Warnings = []string{"the inventory is <i>old</i>"}
	run.Plan.Hosts = append(run.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: "web9.nginx.example.com"}, LeftOut: true, Why: "its agent is silent"})
	f.create(run)
	f.to(run, restart.RunRunning, "", "")
	f.task(run, 0, restart.TaskFailed, store.TaskChange{Phase: "health", Error: "HTTP 502\u202e, expected 200", Drained: new(true)}, nil)
	f.task(run, 1, restart.TaskRunning, store.TaskChange{Phase: "health"}, &protocol.TaskStatus{Health: []protocol.HealthSample{{At: time.Now(), Detail: "HTTP 503 <from> http://127.0.0.1/"}}})

	page := f.do("GET", "/runs/"+run.ID, "", "Cookie", cookie).body
	wants(t, page, "<title>Running · 0/3 · nginx in production", `hx-sse:connect="/runs/`+run.ID+"/events?after=", `id="summary"`, "502s since the 14:00 deploy", `<a href="/people/dana">dana</a>, from the command line`,
		"0 of 3 hosts done", "1 in hand", "1 failed", "1 waiting", `id="cell-0" class="cell fail"`, "</ol><ol>", `id="cell-1" class="cell now"`,
		`id="host-0"`, "Failed · Health check · <em>still drained</em>", `HTTP 502\u{202e}, expected 200`,
		`id="host-1"`, "Checking health", "HTTP 503 &lt;from&gt; http://127.0.0.1/", `id="host-2"`, "Waiting",
		"nginx-restart", "version 4d1c0a974d1c", "1 &#43; 2", "shop_nginx-production", "WEB-7", "mode=graceful", "web9.nginx.example.com", "its agent is silent", "the inventory is &lt;i&gt;old")
	wants(t, page, `<noscript><meta http-equiv="refresh" content="5"></noscript>`, `<noscript><p><a href="/runs/`+run.ID+`">Refresh`)

	f.to(run, restart.RunPaused, restart.CauseFailure, "1 host failed, 0 may fail")
	control := restart.ControlAbort
	f.apply(store.Change{RunID: run.ID, Run: &store.RunChange{Control: &control}})
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", cookie).body, "An abort was asked for", "Paused: a host failed", "1 host failed, 0 may fail")

	f.task(run, 1, restart.TaskUnknown, store.TaskChange{Error: "it stopped answering"}, nil)
	f.task(run, 2, restart.TaskNotStarted, store.TaskChange{}, nil)
	f.to(run, restart.RunAborted, restart.CauseOperator, "dana asked for it")
	over := f.do("GET", "/runs/"+run.ID, "", "Cookie", cookie).body
	wants(t, over, "Aborted", "Aborted: a person asked for it", "never run again by itself", "1 unknown", "1 not started")
	lacks(t, over, "hx-sse:connect", "http-equiv", "restartilka resume")
}

func TestDraftShowsItsPlan(t *testing.T) {
	f := newFixture(t)
	run := f.newRun("nginx", 1, 1)
	run.State, run.Tasks = restart.RunDraft, nil
	f.create(run)
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", f.signIn()).body, "Draft", "Restart nginx?", `value="web1.nginx.example.com" checked`, `value="web2.nginx.example.com" checked`)
	if res := f.do("GET", "/runs/"+run.ID+"/hosts/web1.nginx.example.com", "", "Cookie", f.signIn()); res.StatusCode != http.StatusOK || !strings.Contains(res.body, "Nothing has happened") {
		t.Errorf("its host: %s\n%s", res.Status, res.body)
	}
}

func TestManyHosts(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	some := f.create(f.newRun("some", 5, 55))
	page := f.do("GET", "/runs/"+some.ID, "", "Cookie", cookie).body
	wants(t, page, `class="strip some"`, `id="cell-59"`, `id="host-59"`)
	many := f.create(f.newRun("many", 1, maxCells))
	page = f.do("GET", "/runs/"+many.ID, "", "Cookie", cookie).body
	wants(t, page, `<svg class="bar" viewBox="0 0 1001 1"`, `>All <b id="sight-all">1001</b>`, `id="host-499"`, "Hosts 1–500 of 1001", `href="/runs/`+many.ID+`?page=2" rel="next"`)
	lacks(t, page, `id="cell-`, `id="host-500"`)
	wants(t, f.do("GET", "/runs/"+many.ID+"?page=2", "", "Cookie", cookie).body, `rel="prev"`, "Hosts 501–1000 of 1001", `rel="next"`)
	last := f.do("GET", "/runs/"+many.ID+"?page=77", "", "Cookie", cookie).body
	wants(t, last, `id="host-1000"`, "Hosts 1001–1001 of 1001")
	lacks(t, last, `id="host-0"`, `rel="next"`)

	// Whichever host needs a look is found, wherever it stands in the plan.
	f.to(many, restart.RunRunning, "", "")
	f.task(many, 900, restart.TaskFailed, store.TaskChange{Error: "no"}, nil)
	f.task(many, 901, restart.TaskUnknown, store.TaskChange{Error: "silent"}, nil)
	f.task(many, 0, restart.TaskSucceeded, store.TaskChange{}, nil)
	f.task(many, 1, restart.TaskRunning, store.TaskChange{}, nil)
	for sight, want := range map[string][]string{"look": {"900", "901"}, "hand": {"1"}, "done": {"0"}} {
		page := f.do("GET", "/runs/"+many.ID+"?hosts="+sight, "", "Cookie", cookie).body
		wants(t, page, `aria-current="page">`, `hx-get="/runs/`+many.ID+"?hosts="+sight+`"`)
		if got := regexp.MustCompile(`id="host-(\d+)"`).FindAllStringSubmatch(page, -1); len(got) != len(want) || got[0][1] != want[0] || got[len(got)-1][1] != want[len(want)-1] {
			t.Errorf("%s: hosts %v, want %v", sight, got, want)
		}
	}
	page = f.do("GET", "/runs/"+many.ID+"?hosts=whatever&page=-1", "", "Cookie", cookie).body
	wants(t, page, `aria-current="page">All`, `>Need a look <b id="sight-look">2</b>`, `id="host-0"`)
	lacks(t, page, "/api/v1/runs")
	m, _ := f.listen(cookie, "/runs/"+many.ID+"/events").next()
	wants(t, m.data, `<b id="sight-look" hx-swap-oob="outerMorph">2</b>`)
}

// What a page names, one can go to; a run's own commands are behind a press, and
// only there for who may give them.
func TestARunLeadsOn(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1, 1)
	run.Plan.Warnings = []string{"run " + restart.NewID(time.Now()) + " by vera has nginx in production now; this one would wait for it"}
	f.create(run)
	f.to(run, restart.RunRunning, "", "")
	f.task(run, 0, restart.TaskFailed, store.TaskChange{Error: "no"}, nil)
	f.to(run, restart.RunPaused, restart.CauseFailure, "web1 failed")
	page := f.page(cookie, run.ID)
	wants(t, page, `<a href="/services/nginx">nginx</a>`, `Restart · <a href="/people/dana">dana</a>`, "once somebody resumes it", `href="/runs/`+run.ID+`#host-0" tabindex="-1"`,
		`<a class="page" href="/runs/`+run.ID+`/hosts/web1.nginx.example.com"`, `<a href="/scenarios/nginx-restart">`, `<a href="/runs?group=shop_nginx-production">`, `run <a href="/runs/`)
	shown, fold, _ := strings.Cut(page, `<details class="fold shell"`)
	lacks(t, shown, "restartilka resume", "restartilka abort")
	wants(t, fold, "In the command line", "restartilka resume "+run.ID, "restartilka abort "+run.ID)
	lacks(t, f.page(f.signInAs("vera", restart.RoleDeveloper), run.ID), "restartilka resume", "restartilka abort", `method="post" action="/runs/`)
	wants(t, f.do("GET", "/runs", "", "Cookie", cookie).body, `content="30"></noscript>`, `<a href="/people/dana">by dana</a>`)
	wants(t, f.do("GET", "/runs/"+run.ID+"/hosts/web1.nginx.example.com", "", "Cookie", cookie).body, `<a href="/hosts/web1.nginx.example.com">`)
	wants(t, f.do("GET", "/runs/"+run.ID+"/chart", "", "Cookie", cookie).body, `<a href="/runs/`+run.ID+`/hosts/web2.nginx.example.com">`)
	lacks(t, f.do("GET", "/runs/"+run.ID+"/replay.html", "", "Cookie", cookie).body, `href="/services`, `href="/people`, `href="/scenarios`, "/hosts/")
}

// All looks at health are there, the newest first, of a host that failed too.
func TestLooksAtHealth(t *testing.T) {
	f := newFixture(t)
	run := f.create(f.newRun("nginx", 1))
	f.to(run, restart.RunRunning, "", "")
	said := &protocol.TaskStatus{}
	for i := range maxSamples + 3 {
		said.Health = append(said.Health, protocol.HealthSample{At: time.Now(), Healthy: i == maxSamples, Detail: fmt.Sprintf("HTTP 50%d <b>", i)})
	}
	f.task(run, 0, restart.TaskFailed, store.TaskChange{Phase: "health", Error: "not healthy within 1m"}, said)
	page := f.do("GET", "/runs/"+run.ID+"/hosts/web1.nginx.example.com", "", "Cookie", f.signIn()).body
	wants(t, page, "50 looks at health, 1 healthy", "HTTP 5052 &lt;b&gt;", "Not healthy", "HTTP 5050 &lt;b&gt;", "HTTP 503 &lt;b&gt;")
	lacks(t, page, "HTTP 502 &lt;b&gt;", `<p class="sample">`)
}

func TestOneHost(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.create(f.newRun("nginx", 1, 1))
	f.to(run, restart.RunRunning, "", "")
	path := "/runs/" + run.ID + "/hosts/web1.nginx.example.com"
	wants(t, f.do("GET", path, "", "Cookie", cookie).body, "Waiting", "Nothing has happened on this host yet")

	began := time.Now().UTC().Add(-20 * time.Second)
	ended := began.Add(1500 * time.Millisecond)
	f.task(run, 0, restart.TaskRunning, store.TaskChange{}, nil)
	f.task(run, 0, restart.TaskFailed, store.TaskChange{Phase: "run", Error: "exit status 3", ExitCode: new(3), Drained: new(true)}, &protocol.TaskStatus{
		Containment: "cgroup", Warnings: []string{"journal <cut>"}, OutputSize: 100,
		Phases: []protocol.PhaseReport{
			{Phase: protocol.PhaseDrain, StartedAt: began, FinishedAt: &ended, ExitCode: new(0)},
			{Phase: protocol.PhaseRun, StartedAt: ended, FinishedAt: &ended, ExitCode: new(3)},
			{Phase: "later", StartedAt: ended},
		},
		Evidence: []protocol.EvidenceItem{{Kind: "journal", Text: "<b>line\x1b[2J\n", Truncated: 5}, {Kind: "process", Error: "no process"}},
	})
	id := run.Tasks[0].ID
	f.must(f.store.AppendOutput(t.Context(), id, 0, []byte(strings.Repeat("early line\n", 10000)), 0))
	f.must(f.store.AppendOutput(t.Context(), id, 110000, []byte("<script>alert(1)</script>\x07\n"), 0))

	res := f.do("GET", path, "", "Cookie", cookie)
	wants(t, res.body, "<title>Failed · web1.nginx.example.com, nginx", "exit status 3", "still drained", "journal &lt;cut&gt;", "Drain", "1.5\u00a0s", "done", "Script", "exit code 3", "later", "stopped",
		"Output", "/api/v1/runs/"+run.ID+"/tasks/"+id+"/output.txt", "The last 63 KiB of 107 KiB", "early line", `&lt;script&gt;alert(1)&lt;/script&gt;\x07`,
		"Journal", "5 bytes are left out", `&lt;b&gt;line\x1b[2J`, "Process", "could not be taken: no process", id, "cgroup")
	lacks(t, res.body, "may view the service")
	// Its journal is not for whoever may see that it was restarted.
	vera := f.signInAs("vera", restart.RoleViewer)
	other := f.do("GET", path, "", "Cookie", vera).body
	wants(t, other, "may view the service&#39;s thread dumps", "Journal", "could not be taken: no process")
	lacks(t, other, "&lt;b&gt;line", "5 bytes are left out")
	wants(t, f.do("GET", path, "", "Cookie", vera, "Accept-Language", "ru").body, "кому можно смотреть дампы потоков")
	if len(res.body) > maxText+(16<<10) {
		t.Errorf("the page has %d bytes", len(res.body))
	}
	for _, host := range []string{"web7.nginx.example.com", "-rf", "%3Cscript%3E", "x..y"} {
		if res := f.do("GET", "/runs/"+run.ID+"/hosts/"+host, "", "Cookie", cookie); res.StatusCode != http.StatusNotFound {
			t.Errorf("host %s: %s", host, res.Status)
		}
	}

	// Resumed, the host gets another attempt; both are shown, the newer first.
	f.apply(store.Change{RunID: run.ID, NewTasks: []restart.Task{{ID: restart.NewID(time.Now()), RunID: run.ID, Host: "web1.nginx.example.com", Attempt: 2, State: restart.TaskPlanned}}})
	wants(t, f.do("GET", path, "", "Cookie", cookie).body, "Attempt 2", "Waiting", "Attempt 1", "exit status 3")
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", cookie).body, `id="host-0"`, "Waiting", "attempt 2", `id="host-1"`)
}

// What has not happened is not ticked, and what went past its safeguards is not
// praised.
func TestTonesOfARunsSummary(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.running(1)
	lacks(t, f.page(cookie, run.ID), `<p class="counts"><span class="done">`)
	f.task(run, 0, restart.TaskSucceeded, store.TaskChange{}, nil)
	wants(t, f.page(cookie, run.ID), `<p class="counts"><span class="done">`, "1 of 1")

	run.State = restart.RunCompleted
	templates := parsePages(embeddedAssets())
	for _, past := range []bool{true, false} {
		run.BreakGlass, run.Explanation = past, "all is well"
		var out strings.Builder
		if err := templates[english][pageRun]().ExecuteTemplate(&out, "summary", newBoard(english, run).view(run, time.Now())); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), `<div class="callout hold">`); got != past {
			t.Errorf("past its safeguards %v: %s", past, out.String())
		}
	}
}
