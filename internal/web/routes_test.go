package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// paths gives an address for each route of the table.
func paths(f *fixture) map[string]string {
	run := f.create(f.newRun("nginx", 1))
	out := map[string]string{}
	for _, r := range f.site.table {
		_, path, ok := strings.Cut(r.pattern, " ")
		if !ok {
			path = r.pattern
		}
		out[r.pattern] = strings.NewReplacer("{$}", "", "{id}", run.ID, "{host}", run.Tasks[0].Host, "{task}", run.Tasks[0].ID, "{name}", "x", "{code}", "00000-00000", "{method}", "oidc", "{other}", run.ID, "{number}", "1", "{digest}", strings.Repeat("ab", 32)).Replace(path)
	}
	return out
}

func TestEveryRouteHasAPolicy(t *testing.T) {
	f := newFixture(t)
	for _, r := range f.site.table {
		if r.policy != anybody && r.policy != signedIn {
			t.Errorf("%s has policy %q", r.pattern, r.policy)
		}
		method, _, _ := strings.Cut(r.pattern, " ")
		if r.policy == anybody && method == "GET" && !strings.Contains(r.pattern, "/assets/") && !strings.Contains(r.pattern, "/sign-in") {
			t.Errorf("%s is open to anybody", r.pattern)
		}
	}
	f.site.mount(route{pattern: "GET /forgotten", handle: func(w http.ResponseWriter, _ *visit) error { w.Write([]byte("secret")); return nil }})
	if res := f.do("GET", "/forgotten", "", "Cookie", f.signIn()); res.StatusCode != http.StatusForbidden || strings.Contains(res.body, "secret") {
		t.Errorf("a route without a policy: %s", res.Status)
	}
}

func TestNobodyGetsInUnsigned(t *testing.T) {
	f := newFixture(t)
	for pattern, path := range paths(f) {
		for _, r := range f.site.table {
			if r.pattern != pattern || r.policy != signedIn {
				continue
			}
			method, _, _ := strings.Cut(pattern, " ")
			next := path
			if method == "POST" { // to the page that it was pressed on
				next = path[:strings.LastIndex(path, "/")]
			}
			switch {
			case strings.HasPrefix(path, "/break-glass/"):
				next = "/break-glass"
			case path == "/start", path == "/dumps":
				next = path
			}
			for _, cookie := range []string{"", "__Host-restartilka=rtk_" + strings.Repeat("0", 32), "__Host-restartilka=x"} {
				res := f.do(method, path, "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
				if want := "/sign-in?next=" + url.QueryEscape(next); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != want {
					t.Errorf("%s: %s to %q, want %q", pattern, res.Status, res.Header.Get("Location"), want)
				}
				if strings.Contains(res.body, "<html") {
					t.Errorf("%s tells something: %s", pattern, res.body)
				}
				if res := f.do(method, path, "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin", "HX-Request", "true"); res.StatusCode != http.StatusUnauthorized || res.Header.Get("HX-Refresh") != "true" || res.body != "" {
					t.Errorf("%s as a part: %s %q", pattern, res.Status, res.body)
				}
			}
			// A token in a header is the API's, not the pages'.
			if res := f.do(method, path, "", "Authorization", "Bearer "+f.secret, "Sec-Fetch-Site", "same-origin"); res.StatusCode != http.StatusSeeOther {
				t.Errorf("%s with a token: %s", pattern, res.Status)
			}
		}
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	for pattern, path := range paths(f) {
		if strings.HasPrefix(pattern, "POST") || strings.HasSuffix(pattern, "/events") {
			continue
		}
		h := f.do("GET", path, "", "Cookie", cookie).Header
		if h.Get("Content-Security-Policy") != csp || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Request-Id") == "" {
			t.Errorf("%s: %v", pattern, h)
		}
		if h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %q", pattern, h.Get("Cache-Control"))
		}
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.create(f.newRun("nginx", 1))
	form := url.Values{"name": {"dana"}, "secret": {f.secret}}.Encode()
	for what, headers := range map[string][]string{
		"nothing":      {},
		"another site": {"Origin", "https://evil.example"},
		"null":         {"Origin", "null"},
		"cross-site":   {"Sec-Fetch-Site", "cross-site"},
		"same-site":    {"Sec-Fetch-Site", "same-site"},
	} {
		headers = append(headers, "Cookie", cookie, "Content-Type", "application/x-www-form-urlencoded")
		for _, path := range []string{
			"/sign-in", "/sign-out", "/start", "/runs/" + run.ID + "/abort", "/runs/" + run.ID + "/decide",
			"/runs/" + run.ID + "/start", "/runs/" + run.ID + "/break-glass", "/break-glass/" + run.ID + "/review",
		} {
			if res := f.do("POST", path, form, headers...); res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
				t.Errorf("POST %s from %s: %s", path, what, res.Status)
			}
		}
		if what == "nothing" {
			continue
		}
		if res := f.do("GET", "/runs/"+run.ID+"/events", "", headers...); res.StatusCode != http.StatusForbidden || strings.Contains(res.body, "data:") {
			t.Errorf("the stream from %s: %s", what, res.Status)
		}
	}
	if res := f.do("GET", "/runs", "", "Cookie", cookie); res.StatusCode != http.StatusOK {
		t.Errorf("the session has not survived: %s", res.Status)
	}
}

func TestProblems(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	for path, want := range map[string]int{
		"/nothing": 404, "/runs/" + strings.Repeat("0", 26): 404, "/runs/..%2f..%2fetc%2fpasswd": 404, "/runs/-rf": 404, "/runs?before=%00": 422,
		"/runs/%3Cscript%3Ealert(1)%3C%2Fscript%3E": 404,
	} {
		res := f.do("GET", path, "", "Cookie", cookie)
		id := res.Header.Get("X-Request-Id")
		if res.StatusCode != want || id == "" || !strings.Contains(res.body, id) || !strings.Contains(res.body, "</html>") || strings.Contains(res.body, "<script>alert") {
			t.Errorf("%s: %s\n%s", path, res.Status, res.body)
		}
	}
	if res := f.do("GET", "/nothing", "", "Accept-Language", "ru"); !strings.Contains(res.body, "Здесь ничего нет") {
		t.Errorf("in Russian: %s", res.body)
	}
	if res := f.do("DELETE", "/runs", "", "Cookie", cookie, "Origin", f.server.URL, "Sec-Fetch-Site", "same-origin"); res.StatusCode != http.StatusNotFound {
		t.Errorf("DELETE: %s", res.Status)
	}
}

func TestWhatIsOursIsNotShown(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	f.must(f.store.Close())
	res := f.do("GET", "/runs", "", "Cookie", cookie)
	if res.StatusCode < 500 || !strings.Contains(res.body, res.Header.Get("X-Request-Id")) || strings.Contains(res.body, "sql") || strings.Contains(res.body, "database is closed") {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
}
