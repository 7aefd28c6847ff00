package browser

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

// place is a page of the site map with something on it. Each page that there
// is has at least one: TestEveryPageHasAPlace.
type place struct {
	name   string // of its picture
	as     string // who looks
	path   func(s *shop) string
	ready  string       // an expression: what has to be there
	status int          // 0 = 200
	open   string       // what is pressed first, such as a summary
	do     func(b *tab) // what is done first, where a press is not enough
}

// places is every place; each family of pages has a table of its own.
func places() []place {
	return slices.Concat(framePlaces, runPlaces, reviewPlaces, startPlaces, historyPlaces, adminPlaces, dumpPlaces, auditPlaces, laterPlaces)
}

func at(path string) func(*shop) string { return func(*shop) string { return path } }

func ofRun(name, more string) func(*shop) string {
	return func(s *shop) string { return "/runs/" + s.runs[name].ID + more }
}

var framePlaces = []place{
	{name: "sign-in", as: nobody, path: at("/sign-in?next=/runs")},
	{name: "sign-in-token", as: nobody, path: at("/sign-in?next=/runs"), open: ".fold summary"},
	{name: "sign-in-again", as: developer, path: at("/sign-in?again=1&next=/profile")},
	{name: "profile", as: developer, path: at("/profile")},
	{name: "profile-token", as: developer, path: at("/profile"), open: "section[aria-labelledby=tokens] summary"},
	{name: "profile-key", as: developer, path: at("/profile"), open: "section[aria-labelledby=keys] summary"},
	{name: "login", as: developer, path: at("/login")},
	{name: "login-unknown", as: developer, path: at("/login/00000-00000"), status: http.StatusNotFound},
	{name: "problem-not-found", as: developer, path: at("/runs/00000000000000000000000000"), status: http.StatusNotFound},
}

// follows tells in any language whether a page follows its run.
const follows = "document.querySelector('#summary .connection:not(.lost)').checkVisibility()"

var runPlaces = []place{
	{name: "home", as: developer, path: at("/")},
	{name: "runs", as: developer, path: at("/runs")},
	{name: "plan", as: developer, path: ofRun("draft", "")},
	{name: "plan-changed", as: developer, path: func(s *shop) string { return "/runs/" + s.runs["draft"].ID + "?instead=" + s.runs["narrow"].ID }, ready: "document.querySelector('#changed') !== null"},
	{name: "run-running", as: developer, path: ofRun("running", ""), ready: follows + " && " + tones + " === 'done now wait wait'"},
	{name: "run-open", as: developer, path: ofRun("running", ""), ready: follows, open: "#host-0 summary"},
	{name: "run-awaiting", as: developer, path: ofRun("awaiting", ""), ready: follows},
	{name: "run-paused", as: developer, path: ofRun("paused", "")},
	{name: "run-failed", as: developer, path: ofRun("failed", ""), open: "#host-1 summary"},
	{name: "run-aborted", as: developer, path: ofRun("aborted", "")},
	{name: "run-completed", as: developer, path: ofRun("done", "")},
	{name: "host-running", as: developer, path: func(s *shop) string { return "/runs/" + s.runs["running"].ID + "/hosts/" + shopHosts[1] }},
	{name: "host-failed", as: developer, path: func(s *shop) string { return "/runs/" + s.runs["failed"].ID + "/hosts/search2.ams.shop.example" }},
	{name: "plan-frozen", as: developer, path: ofRun("frozen", "")},
	{name: "break-glass-run", as: developer, path: ofRun("frozen", "/break-glass")},
	{name: "break-glass", as: approver, path: at("/break-glass")},
	{name: "freezes", as: developer, path: at("/freezes")},
}

var reviewPlaces = []place{
	{name: "approvals", as: approver, path: at("/approvals")},
	{name: "approvals-own", as: developer, path: at("/approvals")},
	{name: "approval", as: approver, path: ofRun("awaiting", ""), ready: "document.querySelector('#acts form[action$=\"/approve\"]') !== null"},
	{name: "scenarios", as: reviewer, path: at("/scenarios")},
	{name: "scenario-versions", as: reviewer, path: at("/scenarios/payments-restart")},
	{name: "review-queue", as: reviewer, path: at("/review")},
	{name: "review", as: reviewer, path: func(s *shop) string { return "/scenarios/" + s.versions["waiting"] + "/review" }},
	{name: "review-in-force", as: reviewer, path: func(s *shop) string { return "/scenarios/" + s.versions["payments"] + "/review" }},
}

var startPlaces = []place{
	{name: "home-typed", as: developer, path: at("/start?q=sea")},
	{name: "start", as: developer, path: at("/start?service=search&env=staging&reason=answers+come+twice")},
	{name: "start-refused", as: developer, path: at("/start?service=search&env=staging"), status: http.StatusUnprocessableEntity, do: func(b *tab) {
		b.press("#ask button.main")
		b.until("document.querySelector('.wrong') !== null && document.readyState === 'complete'")
	}},
	{name: "confirm", as: developer, path: ofRun("draft", "/confirm")},
	{name: "start-unknown", as: developer, path: at("/start?service=serch"), status: http.StatusNotFound},
}

var historyPlaces = []place{
	{name: "runs-filtered", as: developer, path: at("/runs?service=search&state=failed")},
	{name: "runs-none", as: developer, path: at("/runs?q=nobody+has+written+this")},
	{name: "run-chart", as: developer, path: ofRun("done", "/chart")},
	{name: "locks", as: developer, path: at("/locks")},
	{name: "services", as: developer, path: at("/services")},
	{name: "service", as: developer, path: at("/services/payments")},
	{name: "hosts", as: developer, path: at("/hosts")},
	{name: "host", as: admin, path: at("/hosts/" + shopHosts[0])},
	{name: "person", as: developer, path: at("/people/" + developer)},
	{name: "statistics", as: developer, path: at("/statistics")},
	{name: "slowest-hosts", as: developer, path: at("/statistics/hosts")},
	{name: "reasons", as: developer, path: at("/statistics/reasons?window=12months")},
	{name: "reason", as: developer, path: func(*shop) string {
		sum := sha256.Sum256([]byte(restart.SameReason(weekly)))
		return "/statistics/reason?window=4weeks&service=" + checkout + "&reason=" + hex.EncodeToString(sum[:8])
	}},
}

var adminPlaces = []place{
	{name: "admin", as: admin, path: at("/admin")},
	{name: "admin-refused", as: developer, path: at("/admin"), status: http.StatusForbidden},
	{name: "admin-users", as: admin, path: at("/admin/users")},
	{name: "admin-user", as: admin, path: at("/admin/users/mei")},
	{name: "admin-tokens", as: admin, path: at("/admin/tokens")},
	{name: "admin-sessions", as: admin, path: at("/admin/sessions")},
	{name: "admin-rules", as: admin, path: at("/admin/rules?ask=why&who=dana&action=restart&service=payments&environment=production")},
	{name: "admin-hosts", as: admin, path: at("/admin/hosts?ask=1")},
	{name: "admin-locks", as: admin, path: at("/admin/locks")},
	{name: "admin-delivery", as: admin, path: at("/admin/delivery")},
	{name: "admin-messages", as: admin, path: at("/admin/messages")},
	{name: "admin-configuration", as: admin, path: at("/admin/configuration")},
	{name: "freezes-admin", as: admin, path: at("/freezes"), open: "main details > summary"},
}

var auditPlaces = []place{
	{name: "audit", as: admin, path: at("/audit")},
	{name: "audit-narrowed", as: admin, path: at("/audit?area=runs&person=dana&action=task.intent&since=2026-01-01")},
	{name: "audit-record", as: admin, path: at("/audit/records/2")},
	{name: "audit-story", as: admin, path: func(s *shop) string { return "/audit/runs/" + s.runs["running"].ID }},
}

var laterPlaces = []place{
	{name: "planned", as: developer, path: at("/planned")},
	{name: "planned-one", as: developer, path: ofPlanned("checkout")},
	{name: "planned-approval", as: approver, path: ofPlanned("payments")},
	{name: "later", as: developer, path: ofRun("draft", "/later"), ready: "document.querySelector('#zone').value === 'Europe/Amsterdam'"},
	{name: "later-window", as: developer, path: ofRun("draft", "/later"), do: func(b *tab) {
		b.press("[name=when][value=window]")
		b.until("/^nightly · .*0[35]:00$/.test(document.querySelector('#window option').textContent) && !document.querySelector('#zone').checkVisibility()")
	}},
}

func ofPlanned(name string) func(*shop) string {
	return func(s *shop) string { return "/planned/" + s.planned[name] }
}

// notPages are routes that answer a browser with something else than a page.
var notPages = map[string]string{
	"/assets/{name}":             "files",
	"/sign-in/{method}":          "leads elsewhere",
	"/sign-in/{method}/callback": "leads back",
	"/runs/{id}/events":          "a stream",

	"/audit.csv":                   "a file",
	"/audit.jsonl":                 "a file",
	"/runs.csv":                    "a file",
	"/runs.json":                   "a file",
	"/runs/{id}/replay.html":       "a file",
	"/runs/{id}/check":             "a part of the plan's page",
	"/runs/{id}/tasks/{task}/rows": "lines of an output",
	"/services/suggest":            "a part of the first page",
	"/admin/rules/who.csv":         "a file",
}

// TestEveryPageHasAPlace compares the table with the routes: a page that is
// added is looked at, in both themes, like all others.
func TestEveryPageHasAPlace(t *testing.T) {
	mux := http.NewServeMux()
	missing := map[string]bool{}
	files, err := fs.Glob(os.DirFS("../../internal/web"), "*.go")
	must(t, err)
	for _, file := range files {
		b, err := os.ReadFile("../../internal/web/" + file)
		must(t, err)
		for _, m := range regexp.MustCompile(`pattern: "GET (/[^"]*)"`).FindAllStringSubmatch(string(b), -1) {
			if strings.HasSuffix(file, "_test.go") || notPages[m[1]] != "" {
				continue
			}
			missing[m[1]] = true
			mux.Handle("GET "+m[1], http.NotFoundHandler())
		}
	}
	if len(missing) < 15 {
		t.Fatalf("only %d routes of pages were found: %v", len(missing), missing)
	}
	s := &shop{versions: map[string]string{"waiting": "x", "payments": "x"}, runs: map[string]restart.Run{}, dumps: map[string]string{}, planned: map[string]string{"checkout": "x", "payments": "x"}}
	for _, name := range []string{"pool", "first", "lock", "circle", "before", "after"} {
		s.dumps[name] = name
	}
	for _, name := range []string{"draft", "frozen", "awaiting", "running", "paused", "failed", "aborted", "done", "dumped", "evidence", "narrow"} {
		s.runs[name] = restart.Run{ID: name}
	}
	names := map[string]bool{}
	for _, p := range places() {
		_, pattern := mux.Handler(httptest.NewRequestWithContext(t.Context(), http.MethodGet, p.path(s), nil))
		delete(missing, strings.TrimPrefix(pattern, "GET "))
		if names[p.name] || pattern == "" && p.status == 0 {
			t.Errorf("place %s is there twice, or no page of ours", p.name)
		}
		names[p.name] = true
	}
	for pattern := range missing {
		t.Errorf("GET %s has no place in the tables of places_test.go: nobody looks at it", pattern)
	}
}
