package api_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api"
	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const developer, admin, auditor = restart.RoleDeveloper, restart.RoleAdmin, restart.RoleAuditor

// read gives an answer's body as text.
func read(t *testing.T, resp apitest.Answer) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode[T any](t *testing.T, resp apitest.Answer, status int) T {
	t.Helper()
	text := read(t, resp)
	if resp.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d: %s", resp.Request.Method, resp.Request.URL.Path, resp.StatusCode, status, text)
	}
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v: %s", resp.Request.URL.Path, err, text)
	}
	return v
}

// problem wants an answer to be a whole problem document.
func problem(t *testing.T, resp apitest.Answer, status int) wire.Problem {
	t.Helper()
	p := decode[wire.Problem](t, resp, status)
	if got := resp.Header.Get("Content-Type"); got != wire.ProblemType {
		t.Errorf("%s: content type %q", resp.Request.URL.Path, got)
	}
	if p.Code == "" || p.Detail == "" || p.Title == "" || p.Status != status || p.RequestID == "" || p.RequestID != resp.Header.Get("X-Request-Id") {
		t.Errorf("%s: problem is not whole: %+v", resp.Request.URL.Path, p)
	}
	return p
}

// traces counts what a request could have left behind.
func traces(t *testing.T, s *apitest.Server) (n int) {
	t.Helper()
	ctx := t.Context()
	tokens, err := s.Store.Tokens(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := s.Store.Certificates(ctx)
	if err != nil {
		t.Fatal(err)
	}
	runs, _, err := s.Store.Runs(ctx, store.RunFilter{})
	if err != nil {
		t.Fatal(err)
	}
	records, _, err := s.Store.AuditSearch(ctx, store.AuditFilter{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	return len(tokens) + len(certificates) + len(runs) + len(records)
}

var placeholder = regexp.MustCompile(`\{[^}]+\}`)

// TestNoRouteIsOpen walks the table itself: every operation, without a token,
// with a wrong one and with an endless one, answers 401 before it has looked
// at anything else, and leaves nothing behind.
func TestNoRouteIsOpen(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") })
	s := apitest.Start(t, func(c *api.Config) { c.Metrics = metrics })
	open := map[string]bool{"GET /ping": true, "GET /readyz": true, "POST /api/v1/logins": true, "POST /api/v1/logins/claim": true}
	before := traces(t, s)
	bad := map[string]string{
		"none": "", "wrong": "Bearer rtk_00000000000000000000000000000000", "endless": "Bearer " + strings.Repeat("a", 5000),
		"another scheme": "Basic YTpi", "empty": "Bearer ", "a join token's": "Bearer " + pki.NewJoinToken(pki.Pin{}).Secret,
	}
	body := []byte(strings.Repeat("x", 2<<20)) // over the limit and no JSON: nothing has read it
	walked := 0
	for _, r := range api.Table(s.API) {
		switch {
		case r.Policy == "join" && r.Path != "/api/v1/join":
			t.Errorf("%s %s is open to join tokens, and has nothing to do with joining", r.Method, r.Path)
		case r.Policy == "calendar" && r.Path != "/calendar.ics":
			t.Errorf("%s %s is open to tokens of calendars, and is none", r.Method, r.Path)
		case r.Policy != "calendar" && r.Policy != "public" && r.Policy != "signed-in" && r.Policy != "join":
			t.Errorf("%s %s has the policy %q", r.Method, r.Path, r.Policy)
			continue
		case open[r.Method+" "+r.Path]:
			continue
		case r.Policy == "public":
			t.Errorf("%s %s is public, and is not one of those that may be", r.Method, r.Path)
		}
		methods := []string{r.Method}
		if r.Method == "" {
			methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
		}
		path := placeholder.ReplaceAllString(r.Path, "1")
		for _, method := range methods {
			for name, credential := range bad {
				header := http.Header{"Content-Type": {"application/json"}}
				if credential != "" {
					header.Set("Authorization", credential)
				}
				resp := s.Request(method, path, "", body, header)
				if p := problem(t, resp, http.StatusUnauthorized); p.Code != restart.CodeUnauthorised || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s, token %s: %+v", method, path, name, p)
				}
				walked++
			}
		}
	}
	if walked < 20*len(bad) {
		t.Errorf("only %d requests were tried", walked)
	}
	if after := traces(t, s); after != before {
		t.Errorf("requests without a token left %d traces", after-before)
	}
}

func TestARouteWithoutAPolicyAnswersNobody(t *testing.T) {
	s := apitest.Start(t, nil)
	h := api.Forgotten(s.API, "/api/v1/forgotten", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	r := httptest.NewRequest(http.MethodGet, "/api/v1/forgotten", nil)
	r.Header.Set("Authorization", "Bearer "+s.Token("root", admin))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
}

func TestPublicRoutes(t *testing.T) {
	var checks []api.Check
	s := apitest.Start(t, func(c *api.Config) { c.Ready = func(context.Context) []api.Check { return checks } })
	secret := restart.Errorf(restart.CodeUnavailable, "no answer from db.internal:5432").Because(io.ErrUnexpectedEOF)
	for _, c := range []struct {
		path   string
		checks []api.Check
		status int
		body   string
	}{
		{"/ping", nil, 200, "pong\n"},
		{"/readyz", nil, 200, "ready\n"},
		{"/readyz", []api.Check{{Name: "database"}, {Name: "audit"}}, 200, "database ok\naudit ok\nready\n"},
		{"/readyz", []api.Check{{Name: "database", Err: secret}, {Name: "audit"}}, 503, "database failed\naudit ok\nnot ready\n"},
		{"/readyz", []api.Check{{Name: "database"}, {Name: "audit", Err: io.ErrUnexpectedEOF}}, 503, "database ok\naudit failed\nnot ready\n"},
	} {
		checks = c.checks
		resp := s.Request("GET", c.path, "", nil, nil)
		if body := read(t, resp); resp.StatusCode != c.status || body != c.body {
			t.Errorf("%s: %d %q", c.path, resp.StatusCode, body)
		}
	}
}

func TestDescription(t *testing.T) {
	s := apitest.Start(t, nil)
	doc := decode[struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Security    []map[string][]string      `json:"security"`
			Responses   map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}](t, s.Request("GET", "/api/openapi.json", s.Token("anna", developer), nil, nil), 200)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("openapi %q", doc.OpenAPI)
	}
	operations, ids := 0, map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			operations++
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: operation id %q", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			if public := path == "/ping" || path == "/readyz" || strings.HasPrefix(path, "/api/v1/logins"); (len(op.Security) == 0) != public {
				t.Errorf("%s %s: security %v", method, path, op.Security)
			}
			if !strings.Contains(string(op.Responses["default"]), "Problem") {
				t.Errorf("%s %s: no problem described", method, path)
			}
		}
	}
	if operations < 28 {
		t.Errorf("%d operations", operations)
	}
	for _, unwanted := range []string{"ErrorModel", "ErrorDetail"} {
		if _, ok := doc.Components.Schemas[unwanted]; ok {
			t.Errorf("schema %s is described and never sent", unwanted)
		}
	}
}

func TestNothingHere(t *testing.T) {
	s := apitest.Start(t, nil)
	token := s.Token("anna", developer)
	if p := problem(t, s.Request("GET", "/api/v1/nothing", token, nil, nil), 404); p.Code != restart.CodeNotFound || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	resp := s.Request("PATCH", "/api/v1/runs", token, []byte("{}"), nil)
	if problem(t, resp, 405); resp.Header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow: %q", resp.Header.Get("Allow"))
	}
}

func TestWhatComesInIsChecked(t *testing.T) {
	s := apitest.Start(t, nil)
	token := s.Token("anna", developer)
	const good = `"service":"shop","reason":"workers hang since noon"`
	for name, c := range map[string]struct {
		path, body, media string
		status            int
		code              restart.Code
		says              string
	}{
		"unknown field":     {"/api/v1/runs", `{` + good + `,"colour":"red"}`, "", 422, restart.CodeInvalid, "colour"},
		"unknown nested":    {"/api/v1/tokens", `{"name":"x","roles":["viewer"],"admin":true}`, "", 422, restart.CodeInvalid, "admin"},
		"missing field":     {"/api/v1/runs", `{"service":"shop"}`, "", 422, restart.CodeInvalid, "reason"},
		"wrong type":        {"/api/v1/runs", `{` + good + `,"start":"yes"}`, "", 422, restart.CodeInvalid, "boolean"},
		"not JSON":          {"/api/v1/runs", `service=shop`, "", 400, restart.CodeInvalid, ""},
		"two documents":     {"/api/v1/runs", `{` + good + `}{}`, "", 400, restart.CodeInvalid, ""},
		"no body":           {"/api/v1/runs", ``, "", 400, restart.CodeInvalid, ""},
		"a form":            {"/api/v1/runs", `service=shop`, "application/x-www-form-urlencoded", 415, restart.CodeInvalid, ""},
		"too large":         {"/api/v1/runs", `{` + good + `,"ticket":"` + strings.Repeat("x", 1<<20) + `"}`, "", 413, restart.CodeTooLarge, "1048576"},
		"unknown parameter": {"/api/v1/runs?colour=red", `{` + good + `}`, "", 422, restart.CodeInvalid, "colour"},
		"bad duration":      {"/api/v1/tokens", `{"name":"x","life":"soon"}`, "", 422, restart.CodeInvalid, ""},
		"reason":            {"/api/v1/plans", `{"service":"shop","reason":"."}`, "", 422, restart.CodeReason, "at least 10"},
		"escape":            {"/api/v1/plans", `{"service":"shop","reason":"a\u001b[31m red reason"}`, "", 422, restart.CodeReason, "U+001B"},
		"unknown service":   {"/api/v1/plans", `{"service":"shoop","reason":"workers hang since noon"}`, "", 404, restart.CodeNotFound, ""},
		"not the owner":     {"/api/v1/plans", `{"service":"bare","reason":"workers hang since noon"}`, "", 403, restart.CodeForbidden, "does not own"},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			if c.media != "" {
				header.Set("Content-Type", c.media)
			}
			p := problem(t, s.Request("POST", c.path, token, []byte(c.body), header), c.status)
			if p.Code != c.code || !strings.Contains(p.Detail, c.says) {
				t.Errorf("%+v", p)
			}
		})
	}
	for _, path := range []string{"/api/v1/runs?limit=201", "/api/v1/runs?limit=x", "/api/v1/runs/../../etc", "/api/v1/runs/-rf", "/api/v1/scenarios/..%2f..%2fetc"} {
		resp := s.Request("GET", path, token, nil, nil)
		if problem(t, resp, resp.StatusCode); resp.StatusCode != http.StatusUnprocessableEntity && resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
}

// TestOtherSites sends what a browser would send in the name of somebody who
// is signed in, from our own page and from others.
func TestOtherSites(t *testing.T) {
	s := apitest.Start(t, nil)
	sessions := authn.Sessions{Store: s.Store, Tokens: s.Store}
	secret := s.Token("anna", developer)
	actor, err := authn.Tokens{Store: s.Store}.Check(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if err := sessions.Open(t.Context(), w, httptest.NewRequest(http.MethodPost, "/sign-in", nil), actor, audit.Record{Actor: actor.Name, Action: audit.SignIn}); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0].String()
	cookie, _, _ = strings.Cut(cookie, ";")
	plan := `{"service":"shop","reason":"workers hang since noon"}`
	events := "/api/v1/runs/" + strings.Repeat("0", 26) + "/events"
	for name, c := range map[string]struct {
		method, path string
		header       map[string]string
		status       int
	}{
		"own page":              {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}, 200},
		"own page, old browser": {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie, "Origin": s.URL}, 200},
		"no word of origin":     {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie}, 403},
		"another site":          {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 403},
		"a sibling":             {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "same-site"}, 403},
		"another origin":        {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie, "Origin": "https://evil.example"}, 403},
		"null origin":           {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie, "Origin": "null"}, 403},
		"revoke from elsewhere": {"DELETE", "/api/v1/tokens/1", map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 403},
		"cookie and bad token":  {"POST", "/api/v1/plans", map[string]string{"Cookie": cookie, "Authorization": "Bearer x", "Sec-Fetch-Site": "cross-site"}, 401},
		"token alone":           {"POST", "/api/v1/plans", map[string]string{"Authorization": "Bearer " + secret}, 200},
		"token, strange origin": {"POST", "/api/v1/plans", map[string]string{"Authorization": "Bearer " + secret, "Origin": "https://tool.example"}, 200},
		"looking":               {"GET", "/api/v1/runs", map[string]string{"Cookie": cookie}, 200},
		"stream, own page":      {"GET", events, map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}, 404},
		"stream, another site":  {"GET", events, map[string]string{"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			for k, v := range c.header {
				header.Set(k, v)
			}
			var body []byte
			if c.method == "POST" {
				body = []byte(plan)
			}
			if resp := s.Request(c.method, c.path, "", body, header); resp.StatusCode != c.status {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, c.status, read(t, resp))
			}
		})
	}
}

// TestOurErrorsStayOurs breaks the store: nobody learns how.
func TestOurErrorsStayOurs(t *testing.T) {
	s := apitest.Start(t, nil)
	token := s.Token("anna", developer)
	if resp := s.Request("GET", "/api/v1/locks", token, nil, nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	resp := s.Request("GET", "/api/v1/locks", token, nil, nil)
	if p := problem(t, resp, resp.StatusCode); resp.StatusCode < 500 || strings.Contains(p.Detail+p.Hint, "sql") {
		t.Errorf("%+v", p)
	}
}

// TestReferenceIsComplete: a route that the reference does not tell of is as
// good as hidden.
func TestReferenceIsComplete(t *testing.T) {
	b, err := os.ReadFile("../../docs/reference/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range api.Table(apitest.Start(t, func(c *api.Config) { c.Metrics = http.NotFoundHandler() }).API) {
		if line := "| " + r.Method + " | `" + r.Path + "` |"; r.Method != "" && !strings.Contains(string(b), line) {
			t.Errorf("docs/reference/api.md has no line %q", line)
		}
	}
}
