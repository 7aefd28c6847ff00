package web

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestFilters(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	one := f.newRun("nginx", 1)
	one.Reason = "Утечка памяти в воркерах"
	f.create(one)
	two := f.newRun("nginx", 1, 1)
	two.Kind, two.Scenario, two.Environment, two.Ticket = restart.KindThreadDump, "jvm-dump", "testing", "WEB-7"
	f.create(two)
	f.to(two, restart.RunFailed, restart.CauseFailure, "no")
	get := func(path string) answer { return f.do("GET", path, "", "Cookie", cookie) }

	// Two runs of one service are told apart.
	wants(t, get("/runs").body, two.ID, "Thread dump <code>jvm-dump</code>", one.ID, "Restart <code>nginx-restart</code>")
	for path, want := range map[string]string{
		"/runs?q=" + url.QueryEscape("УТЕЧКА"): one.ID, "/runs?q=web-7": two.ID, "/runs?kind=thread-dump": two.ID, "/runs?env=production&service=nginx": one.ID,
		"/runs?state=failed": two.ID, "/runs?state=awaiting_approval,queued,running,paused": one.ID, "/runs?group=shop_nginx-production&host=web2.nginx.example.com": two.ID,
		"/runs?person=dana&kind=restart&since=2020-01-01&until=2999-01-01": one.ID,
	} {
		other := one.ID
		if want == one.ID {
			other = two.ID
		}
		body := get(path).body
		wants(t, body, "run-"+want)
		lacks(t, body, "run-"+other)
	}
	wants(t, get("/runs?person=nobody").body, `<a href="/runs">Clear all filters</a>`, "No run fits these filters")
	wants(t, get("/runs?service=nginx&since=2999-01-01").body, `value="nginx"`, "No run fits")

	// What is wrong is said beside its field, what was typed stays.
	res := get("/runs?since=soon&until=2026-01-01&state=tired&q=" + url.QueryEscape(`"><b>`))
	if res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("%s", res.Status)
	}
	wants(t, res.body, `value="&#34;&gt;&lt;b&gt;"`, `aria-invalid="true" aria-describedby="filter-state-wrong"`, "autofocus", "There is no such state", `value="soon"`, "A day such as 2026-11-22")
	lacks(t, res.body, "<b>\"", "run-"+one.ID)
	wants(t, get("/runs?since=2026-02-02&until=2026-01-01").body, `value="2026-01-01"`, "This is before the first day")
	if res := get("/runs.csv?state=tired"); res.StatusCode != http.StatusUnprocessableEntity || res.Header.Get("Content-Disposition") != "" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}

func TestFilesOfRuns(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	var ids []string
	for i, reason := range []string{`=HYPERLINK("http://evil.example")`, "+1+1 is what it says", "-2 workers, \"quoted\", and\u202e more", "@SUM(A1:A9) of it", "  =1+1 with spaces", "plain; with, commas"} {
		run := f.newRun("nginx", 1)
		run.Reason, run.Ticket = reason, fmt.Sprint("T-", i)
		ids = append(ids, f.create(run).ID)
	}
	res := f.do("GET", "/runs.csv?service=nginx", "", "Cookie", cookie)
	if ct := res.Header.Get("Content-Type"); ct != "text/csv; charset=utf-8" || !strings.HasPrefix(res.body, "\xef\xbb\xbfid,") {
		t.Fatalf("%s %q", ct, res.body)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(res.body, "\xef\xbb\xbf"))).ReadAll()
	if err != nil || len(rows) != 7 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, row := range rows[1:] {
		if row[0] != ids[5-i] {
			t.Errorf("row %d is %s", i, row[0])
		}
		for _, x := range row {
			if t2 := strings.TrimSpace(x); t2 != "" && strings.ContainsRune("=+-@", rune(t2[0])) {
				t.Errorf("a formula: %q", x)
			}
		}
	}
	if rows[1][10] != "plain; with, commas" || rows[6][10] != `'=HYPERLINK("http://evil.example")` || !strings.Contains(rows[4][10], `\u{202e}`) {
		t.Errorf("%q", rows)
	}

	var whole struct {
		Items []exported
		Next  string
	}
	res = f.do("GET", "/runs.json?q=quoted", "", "Cookie", cookie)
	if err := json.Unmarshal([]byte(res.body), &whole); err != nil || len(whole.Items) != 1 || whole.Items[0].ID != ids[2] || whole.Next != "" {
		t.Errorf("%v %+v\n%s", err, whole, res.body)
	}
	if res := f.do("GET", "/runs.json?q=nothing", "", "Cookie", cookie); res.body != "{\"items\":[],\"next\":\"\"}\n" {
		t.Errorf("%q", res.body)
	}
	if res := f.do("GET", "/runs.csv", ""); res.StatusCode != http.StatusSeeOther {
		t.Errorf("without signing in: %s", res.Status)
	}
}

// The page of hosts shows each source of an inventory that has several, with
// its age, in both languages.
func TestSourcesOfTheInventory(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	state := wire.InventoryState{Sources: []wire.InventorySource{
		{Name: "shop", Kind: "yaml", FetchedAt: &at, Hosts: 7},
		{Name: "consul", Kind: "consul", FetchedAt: &at, Stale: true, Problem: "the inventory x can't be read"},
		{Name: "lab", Kind: "json", Missing: true},
	}}
	got := sourcesOf(russian, state, at)
	if len(got) != 3 || got[0].State != "исправен" || got[0].Hosts != 7 || got[1].State != "старый ответ" || got[1].Tone != toneWarn || got[1].Problem != "инвентарь x не читается" || got[1].At == nil || got[2].Tone != toneFail || got[2].At != nil {
		t.Errorf("%+v", got)
	}
	if one := sourcesOf(english, wire.InventoryState{Sources: state.Sources[:1]}, at); one != nil {
		t.Errorf("one source is listed: %+v", one)
	}
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	if err := os.WriteFile(path, []byte("hosts: [{name: web1.example.com}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.New(inventory.Config{Kind: "merged", Sources: []inventory.Config{
		{Name: "shop", Kind: "yaml", Path: path}, {Name: "lab", Kind: "yaml", Path: path + ".none", Optional: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f := newFixtureOf(t, inv)
	body := f.do("GET", "/hosts", "", "Cookie", f.signIn()).body
	wants(t, body, "Sources of the inventory", "shop <span class=\"env\">yaml</span>", "lab <span class=\"env\">yaml</span>", "missing", "does not exist", "none yet", "web1.example.com")
}

func TestPagesOfWhatThereIs(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.newRun("nginx", 1)
	f.create(run)
	gone := f.newRun("old-service", 1)
	f.create(gone)
	get := func(path string) answer { return f.do("GET", path, "", "Cookie", cookie) }

	wants(t, get("/services").body, "Your services", `href="/services/nginx"`, `href="/people/dana"`, "production")
	wants(t, get("/services?q=nothing").body, "Nothing is found")
	wants(t, get("/services/nginx").body, `<h1>nginx</h1>`, `href="/people/dana"`, "nginx.service", "production", "shop_nginx-production", "3 hosts", "dana", "/start?env=production&amp;group=shop_nginx-production&amp;service=nginx",
		"/review\">nginx-restart", "run-"+run.ID, "/runs?service=nginx")
	wants(t, get("/services/old-service").body, "does not have this service any more", "run-"+gone.ID)
	wants(t, get("/hosts?q=web2").body, `href="/hosts/web2.nginx.example.com"`, "shop_nginx-production")
	lacks(t, get("/hosts?q=web2").body, "web1.nginx")
	wants(t, get("/hosts/web1.nginx.example.com").body, `hx-get="/hosts/web1.nginx.example.com?ask=now"`, "Ask the agent now", "run-"+run.ID)
	wants(t, get("/hosts/web1.nginx.example.com?ask=now").body, `id="agent"`, "badge", "Ask again")
	wants(t, get("/hosts/web1.old-service.example.com").body, "does not have this host any more", "run-"+gone.ID)
	wants(t, get("/people/dana").body, "developer", "nginx", "run-"+run.ID)
	f.user("boris", restart.RoleDeveloper)
	other := f.enter("boris")
	wants(t, f.do("GET", "/people/dana", "", "Cookie", other).body, "told to auditors and admins", "nginx", "run-"+run.ID)
	lacks(t, f.do("GET", "/people/dana", "", "Cookie", other).body, "developer<")
	for _, path := range []string{"/services/none", "/hosts/none.example.com", "/people/none"} {
		if res := get(path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	for _, path := range []string{"/services/%3Cb%3E", "/hosts/..%2f..", "/people/%00", "/people/%22%3E%3Cscript%3E"} {
		if res := get(path); res.StatusCode < 400 || res.StatusCode >= 500 || strings.Contains(res.body, "<script>") {
			t.Errorf("%s: %s\n%s", path, res.Status, res.body)
		}
	}
}

func TestStatistics(t *testing.T) {
	f := newFixtureOf(t, inventoryOf(t, "dana, 'team:web'"))
	cookie := f.signIn()
	wants(t, f.do("GET", "/statistics", "", "Cookie", cookie).body, "Nothing ended in this time")
	for i := range 3 {
		run := f.newRun("nginx", 1, 1)
		run.Reason = fmt.Sprintf("memory leak <b>after</b> build %d", i)
		f.create(run)
		f.to(run, restart.RunCompleted, "", "")
	}
	body := f.do("GET", "/statistics?window=week", "", "Cookie", cookie).body
	wants(t, body, `value="week" selected`, "Runs</dt><dd>3", "100 %", `<svg class="plot"`, `role="img"`, "Bars over time: 3 restarts and 0 thread dumps", `text-anchor="end">`, "The same as a table", "<th scope=\"row\">", "Most restarted services", "/statistics?service=nginx&amp;window=week",
		`hx-get="/statistics/reasons?window=week"`, `hx-get="/statistics/hosts?window=week"`, `<a href="/statistics/hosts?window=week">`)
	body = f.do("GET", "/statistics/reasons?window=week", "", "Cookie", cookie).body
	wants(t, body, `href="/statistics?window=week"`, "Reasons that came back", "memory leak &lt;b&gt;after", `class="n">2<`)
	lacks(t, body, "<b>after")
	reason := regexp.MustCompile(`/statistics/reason\?reason=[0-9a-f]{16}&amp;service=nginx&amp;window=week`).FindString(body)
	body = f.do("GET", html.UnescapeString(reason), "", "Cookie", cookie).body
	wants(t, body, "<h1>memory leak &lt;b&gt;after&lt;/b&gt; build 2</h1>", "Runs</dt><dd>3", "Bars over time: 3 completed", `href="/people/dana"`, "build 0", `/runs?q=memory`)
	lacks(t, body, "<b>after")
	wants(t, f.do("GET", html.UnescapeString(reason)+"&kind=thread-dump", "", "Cookie", cookie).body, `value="thread-dump" selected`, "This reason was not given in this time")
	for _, bad := range []string{"", "?service=nginx", "?service=nginx&reason=%3Cb%3E", "?reason=0123456789abcdef"} {
		if res := f.do("GET", "/statistics/reason"+bad, "", "Cookie", cookie); res.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %s", bad, res.Status)
		}
	}
	lacks(t, f.do("GET", "/statistics?service=nginx", "", "Cookie", cookie).body, "/statistics/hosts")
	for range 3 { // so many, and a host is compared
		run := f.running(1)
		f.task(run, 0, restart.TaskSucceeded, store.TaskChange{}, nil)
		f.to(run, restart.RunCompleted, "", "")
	}
	wants(t, f.do("GET", "/statistics/hosts?window=week", "", "Cookie", cookie).body, `value="week" selected`, `<section id="slowest"`, "/hosts/web1.nginx.example.com", `class="n">3<`)
	wants(t, f.do("GET", "/statistics/hosts?env=%22%3E%3Cb%3E", "", "Cookie", cookie, "Accept-Language", "ru").body, "Самые медленные хосты", "не было трёх перезапусков")
	wants(t, f.do("GET", "/statistics?window=12months&service=nginx&env=production&kind=restart", "", "Cookie", cookie, "Accept-Language", "ru").body, "Статистика", `value="nginx"`, "Повторяющиеся причины", "/statistics/reasons?env=production&amp;kind=restart&amp;service=nginx&amp;window=12months")
	// A team is its services.
	body = f.do("GET", "/statistics?window=week&kind=restart", "", "Cookie", cookie).body
	wants(t, body, `<option value="web">`, `/statistics?kind=restart&amp;team=web&amp;window=week`)
	body = f.do("GET", "/statistics?window=week&team=web", "", "Cookie", cookie).body
	wants(t, body, `<option value="web" selected>`, "Runs</dt><dd>6", `/statistics?service=nginx&amp;team=web&amp;window=week`, "/statistics/reasons?team=web&amp;window=week")
	lacks(t, body, "By team", "/statistics/hosts")
	wants(t, f.do("GET", "/statistics/reasons?window=week&team=web", "", "Cookie", cookie).body, "memory leak")
	if res := f.do("GET", "/statistics?team=%3Cb%3E", "", "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "No service in the inventory is this team") || strings.Contains(res.body, "<b>\"") {
		t.Errorf("%s", res.Status)
	}
	if res := f.do("GET", "/statistics?service=%3Cb%3E", "", "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity || strings.Contains(res.body, "<b>") {
		t.Errorf("%s", res.Status)
	}
	wants(t, f.do("GET", "/statistics?window=ages&kind=x&env=%22%3E%3Cb%3E", "", "Cookie", cookie).body, `value="4weeks" selected`, "Nothing ended")
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		part, of int64
		want     string
	}{{0, 0, ""}, {0, 5, "0 %"}, {5, 5, "100 %"}, {1, 1000, "<1 %"}, {999, 1000, ">99 %"}, {1, 3, "33 %"}, {2, 3, "67 %"}} {
		if got := percent(c.part, c.of); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.part, c.of, got, c.want)
		}
	}
}

func TestBars(t *testing.T) {
	for most, top := range map[int64]int64{1: 2, 2: 2, 3: 4, 5: 10, 11: 20, 399: 400, 401: 1000, 1_000_000: 1_000_000} {
		if got := niceTop(most); got != top {
			t.Errorf("the top of %d is %d, want %d", most, got, top)
		}
	}
	c := newChart("x", "t", "d", []string{"a", "b"}, []barRow{{Name: "one", Values: []int64{1, 1}}, {Name: "two", Values: []int64{0, 0}}, {Name: "three", Values: []int64{0, 4}}}, numbers)
	if len(c.Bars) != 3 || c.Bars[0].Fill == c.Bars[1].Fill || len(c.Rules) != 3 || c.Rules[2].Text != "4" || c.Bars[2].Title != "three: b 4" {
		t.Errorf("%+v", c)
	}
	if m := c.Marks[len(c.Marks)-1]; m.Anchor != "end" || m.Text != "three" {
		t.Errorf("the newest bar has %+v", m)
	}
	for took, top := range map[time.Duration]time.Duration{time.Millisecond: time.Second, 3 * time.Second: 4 * time.Second, 41 * time.Second: time.Minute, time.Hour: time.Hour, 30 * time.Hour: 48 * time.Hour} {
		if got := niceTime(took.Milliseconds()); got != top.Milliseconds() {
			t.Errorf("the top of %s is %d ms, want %s", took, got, top)
		}
	}
	times := timesChart(english, dayOf, []store.Lasted{{From: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), P50: 2 * time.Second, P95: 31 * time.Second}})
	if times.Rules[2].Text != "40\u00a0s" || times.Bars[1].Title != "2026-11-02: 95 % took less than 31\u00a0s" || times.Marks[0].Text != "11-02" {
		t.Errorf("%+v", times)
	}
	if empty := newChart("x", "t", "d", nil, nil, numbers); len(empty.Bars) != 0 {
		t.Errorf("%+v", empty)
	}
}

func TestWindowsHaveNames(t *testing.T) {
	for _, w := range store.Windows() {
		if _, ok := catalogue["window."+string(w)]; !ok {
			t.Errorf("there is no text of %s", w)
		}
	}
}
