package web

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// holds wants texts somewhere in a page.
func holds(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Fatalf("%q is not in:\n%s", text, page)
		}
	}
}

// trailFixture is a server with some records, and olga, who audits.
func trailFixture(t *testing.T) (f *fixture, cookie, run string) {
	t.Helper()
	f = newFixture(t)
	run = f.create(f.newRun("nginx", 1)).ID
	now := time.Now().UTC()
	for i, r := range []audit.Record{
		{Action: audit.RunRequested, Actor: "dana", Origin: "cli 192.0.2.7", Run: run, Service: "nginx", Environment: "production", Reason: "Утечка памяти в воркерах"},
		{Action: audit.RunStarted, Actor: "dana", Run: run, Service: "nginx", Environment: "production", Reason: "Утечка памяти в воркерах", Detail: "web1.nginx.example.com"},
		{Action: audit.TaskIntent, Actor: "dana", Run: run, Service: "nginx", Environment: "production", Host: "web1.nginx.example.com", Task: "t1", Attempt: 1},
		{Action: audit.TaskOutcome, Actor: "dana", Run: run, Service: "nginx", Environment: "production", Host: "web1.nginx.example.com", Task: "t1", Attempt: 1, Outcome: "failed", Detail: "exit 1"},
		{Action: audit.SignInRefused, Actor: "mallory", Origin: "web 203.0.113.9", Outcome: "unauthorised"},
		{Action: audit.AuditSealed},
		{Action: audit.RunAbortRequested, Actor: "vera", Run: run, Service: "nginx", Environment: "production", Outcome: "forbidden", Reason: hostile, Detail: "x\n\x1b[31m\u202e" + hostile, Params: map[string]string{"=cmd()": "=1+1"}},
	} {
		r.Time = now.Add(time.Duration(i-60) * time.Second)
		f.must(f.store.AppendAudit(t.Context(), r))
	}
	key, err := audit.MakeKey(filepath.Join(t.TempDir(), "audit.key"), now)
	f.must(err)
	_, err = f.store.Sequence(t.Context(), "server-1", 0, func(h audit.Head, r *audit.Record) {
		if r.Action == audit.AuditSealed {
			*r = key.Seal(h, 1, r.Time)
		}
		r.Link(h)
	})
	f.must(err)
	f.must(f.store.SetCursor(t.Context(), "relp:log1.example.com:2514", "server-1", 3))
	secret, _ := f.token("olga", restart.RoleAuditor)
	res := f.post("/sign-in", url.Values{"name": {"olga"}, "secret": {secret}})
	if len(res.Cookies()) != 1 {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	return f, res.Cookies()[0].Name + "=" + res.Cookies()[0].Value, run
}

func TestTrail(t *testing.T) {
	f, cookie, run := trailFixture(t)
	get := func(path string, headers ...string) answer {
		return f.do("GET", path, "", append([]string{"Cookie", cookie}, headers...)...)
	}
	page := get("/audit")
	holds(t, page.body, "Run asked for", "Intent: this host", "Sign-in refused", "mallory", "203.0.113.9", "Утечка памяти", `href="/audit/runs/`+run+`"`, `aria-current="page">Audit<`, "forbidden")
	lacks(t, page.body, "Seal:", "<script>alert", "\u202e", "\x1b")
	holds(t, get("/audit", "Accept-Language", "ru").body, "Запрошен запуск", "отказано", "Журнал аудита")
	holds(t, get("/audit?seals=1").body, "Seal: the trail is whole")
	for path, want := range map[string]string{
		"?person=mallory": "Sign-in refused", "?host=WEB1.nginx.example.com&action=task.outcome": "Outcome on this host", "?area=people&since=2020-01-01": "Sign-in refused",
		"?q=" + url.QueryEscape("ПАМЯТИ воркер") + "&env=production&service=nginx&action=run.started": "Run started", "?run=" + run + "&action=run.requested": "Run asked for",
	} {
		body := get("/audit" + path).body
		holds(t, body, want)
		if n := strings.Count(body, `class="go" href="/audit/records/`); n != 1 && path != "?area=people&since=2020-01-01" {
			t.Errorf("%s has %d records", path, n)
		}
	}
	holds(t, get("/audit?person=nobody").body, "No record fits these filters")
	res := get("/audit?since=soon&area=weather&q=a+b+c+d+e+f+g")
	if res.StatusCode != http.StatusUnprocessableEntity {
		t.Error(res.Status)
	}
	holds(t, res.body, "There is no such choice", "A day such as", `value="soon"`)

	// Page by page, however many there are.
	for i := range 2 * recordsPerPage {
		f.must(f.store.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn, Actor: "crowd", Time: time.Now().UTC().Add(-time.Hour), Task: fmt.Sprint(i)}))
	}
	seen := map[string]bool{}
	next := regexp.MustCompile(`<a href="(/audit\?[^"]*before=[^"]*)" rel="next"`)
	for path := "/audit?person=crowd"; path != ""; {
		body := get(path).body
		for _, m := range regexp.MustCompile(`href="(/audit/records/\d+)"`).FindAllStringSubmatch(body, -1) {
			seen[m[1]] = true
		}
		path = ""
		if m := next.FindStringSubmatch(body); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != 2*recordsPerPage {
		t.Errorf("%d records on all pages", len(seen))
	}
}

func TestOneRecord(t *testing.T) {
	f, cookie, run := trailFixture(t)
	get := func(path string) answer { return f.do("GET", path, "", "Cookie", cookie) }
	entries, _, err := f.store.AuditPage(t.Context(), store.AuditFilter{Run: run})
	f.must(err)
	last := entries[len(entries)-1]
	body := get(recordURL(last.ID)).body
	holds(t, body, "Abort asked for", "params.=cmd()", "=1&#43;1", last.Hash, "The hash is that of these bytes", "It holds the hash of the record before", ">6<", `\u003cscript\u003e`, "relp:log1.example.com:2514", "on its way")
	lacks(t, body, "<script>alert", "\u202e", "\x1b")
	holds(t, get(recordURL(entries[0].ID)).body, "It is the first of its chain", "has it", `href="/people/dana"`, `href="/audit/runs/`+run+`"`)

	// One whose hash is another's.
	f.must(f.store.AppendAudit(t.Context(), audit.Record{Action: audit.SignOut, Actor: "dana"}))
	_, err = f.store.Sequence(t.Context(), "server-1", 0, func(h audit.Head, r *audit.Record) { r.Link(h); r.Hash = strings.Repeat("ab", 32) })
	f.must(err)
	entries, _, err = f.store.AuditPage(t.Context(), store.AuditFilter{Action: audit.SignOut})
	f.must(err)
	holds(t, get(recordURL(entries[0].ID)).body, "the record was changed")
	for _, path := range []string{"/audit/records/0", "/audit/records/x", "/audit/records/999999", "/audit/records/-1", "/audit/runs/" + strings.Repeat("0", 26)} {
		if res := get(path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestStoryOfARun(t *testing.T) {
	f, cookie, run := trailFixture(t)
	body := f.do("GET", "/audit/runs/"+run, "", "Cookie", cookie).body
	holds(t, body, "The list of hosts was on record before the first", "The end of the run is not on record yet", "refused: 1 records", "after 1.0\u00a0s", "server-1/1/3", "exit 1", "Утечка памяти в воркерах")
	lacks(t, body, "<script>alert", "\u202e")
	holds(t, f.do("GET", "/audit/runs/"+run, "", "Cookie", cookie, "Accept-Language", "ru").body, "Конец запуска пока не записан", "через 1,0 с", "Намерение")
	holds(t, f.do("GET", "/runs/"+run, "", "Cookie", cookie).body, `href="/audit/runs/`+run+`"`)
	lacks(t, f.do("GET", "/runs/"+run, "", "Cookie", f.signIn()).body, "/audit")
}

func TestOnlyAuditorsReadTheTrail(t *testing.T) {
	f, _, run := trailFixture(t)
	cookie := f.signIn()
	for _, path := range []string{"/audit", "/audit?person=dana", "/audit/records/1", "/audit/records/999", "/audit/runs/" + run, "/audit.jsonl", "/audit.csv"} {
		res := f.do("GET", path, "", "Cookie", cookie)
		if res.StatusCode != http.StatusForbidden || strings.Contains(res.body, "mallory") || res.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	refused, _, err := f.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.AuditExported})
	if err != nil || len(refused) != 2 || refused[0].Outcome != "forbidden" || refused[0].Actor != "dana" {
		t.Errorf("%v %v", refused, err)
	}
}

func TestFilesOfRecords(t *testing.T) {
	f, cookie, run := trailFixture(t)
	get := func(path string) answer { return f.do("GET", path, "", "Cookie", cookie) }
	res := get("/audit.jsonl?until=2999-01-01")
	if ct := res.Header.Get("Content-Type"); ct != "application/x-ndjson" || !strings.Contains(res.Header.Get("Content-Disposition"), `filename="audit.jsonl"`) {
		t.Errorf("%s %v", ct, res.Header)
	}
	report, err := audit.Verify(strings.NewReader(res.body))
	if err != nil || !report.OK || strings.Count(res.body, "\n") != 7 {
		t.Errorf("%+v, %v\n%s", report, err, res.body)
	}
	if lines := get("/audit.jsonl?run=" + run + "&action=task.outcome").body; strings.Count(lines, "\n") != 1 || !strings.Contains(lines, `"outcome":"failed"`) {
		t.Errorf("%q", lines)
	}
	res = get("/audit.csv?run=" + run)
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(res.body, "\xef\xbb\xbf"))).ReadAll()
	if err != nil || len(rows) != 6 || !slices.Equal(rows[0], audit.Columns()) {
		t.Fatalf("%d rows, %v\n%s", len(rows), err, res.body)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) || strings.ContainsAny(cell, "\n\r\x1b") {
				t.Errorf("a formula or a line: %q", cell)
			}
		}
	}
	// Who took what is on record, before it is given out.
	taken, _, err := f.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.AuditExported, Newest: true})
	if err != nil || len(taken) != 3 || taken[0].Actor != "olga" || taken[0].Params["form"] != "csv" || taken[0].Params["run"] != run || taken[0].Detail != "5 records" || taken[2].Params["until"] != "2999-01-01" {
		t.Errorf("%+v %v", taken, err)
	}
	if res := get("/audit.csv?since=soon"); res.StatusCode != http.StatusUnprocessableEntity || res.Header.Get("Content-Disposition") != "" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}

// TestAFileThatBreaksOff: who reads it is not told that it has come to its end.
func TestAFileThatBreaksOff(t *testing.T) {
	for _, two := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(patientWriter{w}, "half of a file\n")
			http.NewResponseController(w).Flush()
			breakOff(w)
		}))
		server.EnableHTTP2 = two
		server.StartTLS()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil || (res.ProtoMajor == 2) != two {
			t.Errorf("%s: %q looks whole", res.Proto, b)
		}
		server.Close()
	}
}
