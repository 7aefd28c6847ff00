package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// cookie opens a session of a user that began some time ago.
func cookie(t *testing.T, s *apitest.Server, name string, ago time.Duration) http.Header {
	t.Helper()
	w := httptest.NewRecorder()
	sessions := authn.Sessions{Store: s.Store, Tokens: s.Store, Now: func() time.Time { return time.Now().Add(-ago) }}
	err := sessions.Open(t.Context(), w, httptest.NewRequest(http.MethodPost, "/sign-in", nil), restart.Actor{Name: name, Method: "local"}, audit.Record{Actor: name, Action: audit.SignIn})
	if err != nil {
		t.Fatal(err)
	}
	value, _, _ := strings.Cut(w.Result().Cookies()[0].String(), ";")
	return http.Header{"Cookie": {value}, "Sec-Fetch-Site": {"same-origin"}}
}

func TestUsers(t *testing.T) {
	s := apitest.Start(t, nil)
	root, anna := s.Token("root", admin), s.Token("anna", developer)
	made := decode[wire.NewUser](t, s.Request("POST", "/api/v1/users", root, []byte(`{"name":"vera","roles":["developer"]}`), nil), 201)
	if made.Method != "local" || len(made.Password) < 20 {
		t.Fatalf("%+v", made)
	}
	u, err := s.Store.User(t.Context(), "vera")
	if err != nil || !strings.HasPrefix(u.Password, "$argon2id$") {
		t.Errorf("%+v, %v", u, err)
	}
	if ok, err := authn.NewHasher().Matches(t.Context(), u.Password, made.Password); err != nil || !ok {
		t.Errorf("the password is another: %v", err)
	}
	for what, c := range map[string]struct {
		method, path, token, body string
		status                    int
		code                      restart.Code
	}{
		"not an admin":        {"POST", "/api/v1/users", anna, `{"name":"igor"}`, 403, restart.CodeForbidden},
		"not an admin lists":  {"GET", "/api/v1/users", anna, "", 403, restart.CodeForbidden},
		"not an admin, roles": {"PATCH", "/api/v1/users/vera", anna, `{"roles":["admin"]}`, 403, restart.CodeForbidden},
		"sets another's":      {"POST", "/api/v1/users/vera/password", anna, `{"new":"correct horse battery"}`, 403, restart.CodeForbidden},
		"there already":       {"POST", "/api/v1/users", root, `{"name":"vera"}`, 409, restart.CodeConflict},
		"no name":             {"POST", "/api/v1/users", root, `{"name":"-rf"}`, 422, restart.CodeInvalid},
		"no role":             {"POST", "/api/v1/users", root, `{"name":"igor","roles":["king"]}`, 422, restart.CodeInvalid},
		"easy":                {"POST", "/api/v1/users", root, `{"name":"igor","password":"igor"}`, 422, restart.CodeInvalid},
		"nothing":             {"PATCH", "/api/v1/users/vera", root, `{}`, 422, restart.CodeInvalid},
		"nobody":              {"PATCH", "/api/v1/users/nobody", root, `{"disabled":true}`, 404, restart.CodeNotFound},
		"no method":           {"PATCH", "/api/v1/users/vera", root, `{"method":"magic"}`, 422, restart.CodeInvalid},
		"oneself":             {"PATCH", "/api/v1/users/root", root, `{"disabled":true}`, 409, restart.CodeConflict},
		"one's own admin":     {"PATCH", "/api/v1/users/root", root, `{"roles":["viewer"]}`, 409, restart.CodeConflict},
	} {
		var body []byte
		if c.body != "" {
			body = []byte(c.body)
		}
		if p := problem(t, s.Request(c.method, c.path, c.token, body, nil), c.status); p.Code != c.code {
			t.Errorf("%s: %+v", what, p)
		}
	}
	if p := problem(t, s.Request("POST", "/api/v1/tokens", root, []byte(`{"name":"x","owner":"vera","roles":["auditor"]}`), nil), 409); !strings.Contains(p.Detail, "auditor") {
		t.Errorf("a token beyond its owner: %+v", p)
	}
	decode[wire.NewToken](t, s.Request("POST", "/api/v1/tokens", root, []byte(`{"name":"x","owner":"vera","roles":["viewer","developer"]}`), nil), 201)
	vera := cookie(t, s, "vera", 0)
	if who := decode[restart.Actor](t, s.Request("GET", "/api/v1/whoami", "", nil, vera), 200); who.Name != "vera" || who.Method != "local" || !who.Has(developer) || who.ExpiresAt == nil {
		t.Errorf("%+v", who)
	}
	// Her own password: with the old one only; the session that asks lives on.
	other := cookie(t, s, "vera", 0)
	for body, status := range map[string]int{`{"old":"wrong","new":"correct horse battery"}`: 403, `{"new":"correct horse battery"}`: 403, `{"old":"` + made.Password + `"}`: 422, `{"old":"` + made.Password + `","new":"short"}`: 422} {
		problem(t, s.Request("POST", "/api/v1/users/vera/password", "", []byte(body), vera), status)
	}
	if got := decode[wire.NewPassword](t, s.Request("POST", "/api/v1/users/vera/password", "", []byte(`{"old":"`+made.Password+`","new":"correct horse battery"}`), vera), 200); got.Password != "" {
		t.Errorf("%+v", got)
	}
	decode[restart.Actor](t, s.Request("GET", "/api/v1/whoami", "", nil, vera), 200)
	problem(t, s.Request("GET", "/api/v1/whoami", "", nil, other), 401)
	// Disabled: cookie and token are good for nothing, at once.
	hers := s.Token("vera", developer)
	decode[restart.Actor](t, s.Request("GET", "/api/v1/whoami", hers, nil, nil), 200)
	if got := decode[wire.User](t, s.Request("PATCH", "/api/v1/users/vera", root, []byte(`{"disabled":true}`), nil), 200); got.DisabledAt == nil {
		t.Errorf("%+v", got)
	}
	problem(t, s.Request("GET", "/api/v1/whoami", "", nil, vera), 401)
	problem(t, s.Request("GET", "/api/v1/whoami", hers, nil, nil), 401)
	records, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[audit.Action]int{}
	for _, r := range records {
		seen[r.Action]++
		if text := string(r.Canonical()); strings.Contains(text, made.Password) || strings.Contains(text, "correct horse") || strings.Contains(text, "argon2id") {
			t.Errorf("a password is in the trail: %s", text)
		}
	}
	for _, action := range []audit.Action{audit.UserCreated, audit.UserChanged, audit.UserDisabled, audit.PasswordChanged} {
		if seen[action] == 0 {
			t.Errorf("nothing is recorded as %s", action)
		}
	}
}

// TestAdministeringTakesARecentSignIn: a session of yesterday's desk, and one
// that was stolen, do no more than everyday work.
func TestAdministeringTakesARecentSignIn(t *testing.T) {
	s := apitest.Start(t, nil)
	now := time.Now()
	for _, name := range []string{"root", "anna"} {
		role := admin
		if name == "anna" {
			role = developer
		}
		if err := s.Store.CreateUser(t.Context(), store.User{Name: name, Method: "local", Roles: []restart.Role{role}, CreatedAt: now}); err != nil {
			t.Fatal(err)
		}
	}
	session := store.Session{ID: restart.NewID(now), Hash: "x", Owner: "boris", CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(time.Hour)}
	if err := s.Store.CreateSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	s.Token("boris", developer)
	tokens, err := s.Store.Tokens(t.Context(), "boris")
	if err != nil {
		t.Fatal(err)
	}
	freeze := `{"environments":["production"],"to":"` + now.Add(time.Hour).UTC().Format(time.RFC3339) + `","reason":"the big sale is on"}`
	acts := []struct{ method, path, body string }{
		{"POST", "/api/v1/users", `{"name":"igor"}`}, {"PATCH", "/api/v1/users/anna", `{"roles":["viewer"]}`}, {"POST", "/api/v1/users/anna/password", `{}`},
		{"POST", "/api/v1/tokens", `{"name":"x","roles":["viewer"]}`}, {"POST", "/api/v1/tokens", `{"name":"x","owner":"boris","roles":["viewer"]}`}, {"DELETE", "/api/v1/tokens/" + tokens[0].ID, ""},
		{"DELETE", "/api/v1/sessions/" + session.ID, ""}, {"POST", "/api/v1/join-tokens", `{"host":"web1.example.com"}`}, {"DELETE", "/api/v1/join-tokens/" + session.ID, ""},
		{"POST", "/api/v1/certificates", `{"host":"web1.example.com","csr":"x"}`}, {"POST", "/api/v1/certificates/revoke", `{"host":"web1.example.com","reason":"the disk was stolen"}`},
		{"DELETE", "/api/v1/users/boris/sessions", ""}, {"DELETE", "/api/v1/locks/" + session.ID + "?reason=anna+is+on+a+plane", ""},
		{"POST", "/api/v1/receivers/ops-chat/test", ""},
		{"POST", "/api/v1/freezes", freeze}, {"DELETE", "/api/v1/freezes/" + session.ID + "?reason=the+sale+is+over", ""},
	}
	ask := func(act struct{ method, path, body string }, token string, header http.Header) apitest.Answer {
		var body []byte
		if act.body != "" {
			body = []byte(act.body)
		}
		return s.Request(act.method, act.path, token, body, header)
	}
	late, fresh := cookie(t, s, "root", 16*time.Minute), cookie(t, s, "root", 14*time.Minute)
	for _, act := range acts {
		if p := problem(t, ask(act, "", late), 403); p.Code != restart.CodeSignInAgain || p.Hint == "" {
			t.Errorf("%s %s: %+v", act.method, act.path, p)
		}
	}
	for _, act := range acts {
		if resp := ask(act, "", fresh); resp.StatusCode == http.StatusForbidden {
			t.Errorf("%s %s with a recent sign-in: %s", act.method, act.path, read(t, resp))
		}
	}
	if resp := ask(acts[0], s.Token("robot", admin), nil); resp.StatusCode != http.StatusConflict { // igor is there by now
		t.Errorf("with a token: %d %s", resp.StatusCode, read(t, resp))
	}
	// Everyday work goes on.
	plan := `{"service":"shop","reason":"workers hang since noon"}`
	if resp := s.Request("POST", "/api/v1/plans", "", []byte(plan), cookie(t, s, "anna", time.Hour)); resp.StatusCode == http.StatusForbidden && strings.Contains(read(t, resp), "sign_in_again") {
		t.Error("a plan takes a recent sign-in")
	}
}

// TestTheLastAdminStays: not even a program with an admin's token takes the last
// admin away; one by the rules counts as one.
func TestTheLastAdminStays(t *testing.T) {
	s := apitest.Start(t, nil)
	for name, roles := range map[string][]restart.Role{"root": {admin}, "rita": {admin}, "vera": {developer}} {
		if err := s.Store.CreateUser(t.Context(), store.User{Name: name, Method: "local", Roles: roles, CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	robot := s.Token("robot", admin)
	change := func(name, body string) apitest.Answer {
		return s.Request("PATCH", "/api/v1/users/"+name, robot, []byte(body), nil)
	}
	decode[wire.User](t, change("rita", `{"disabled":true}`), 200)
	for _, body := range []string{`{"disabled":true}`, `{"roles":["viewer"]}`} {
		if p := problem(t, change("root", body), 409); !strings.Contains(p.Detail, "root is the last admin") {
			t.Errorf("%s: %+v", body, p)
		}
	}
	decode[wire.User](t, change("root", `{"roles":["admin","auditor"]}`), 200) // he stays one
	decode[wire.User](t, change("vera", `{"disabled":true}`), 200)
	decode[wire.User](t, change("vera", `{"disabled":false}`), 200)
	s.Rights(strings.Replace(apitest.ApprovalRules, "developer: [everybody]", "developer: [everybody], admin: [vera]", 1))
	decode[wire.User](t, change("root", `{"disabled":true}`), 200)
	problem(t, change("vera", `{"disabled":true}`), 409)
}

func TestScopes(t *testing.T) {
	s := apitest.Start(t, nil)
	root := s.Token("root", admin)
	secret := func(body string) string {
		t.Helper()
		return decode[wire.NewToken](t, s.Request("POST", "/api/v1/tokens", root, []byte(body), nil), 201).Secret
	}
	plan := func(token, service string) int {
		return s.Request("POST", "/api/v1/plans", token, []byte(`{"service":"`+service+`","reason":"workers hang since noon"}`), nil).StatusCode
	}
	for what, c := range map[string]struct {
		body       string
		shop, bare int // what a plan answers
	}{
		"no bounds":      {`{"name":"x","roles":["admin"]}`, 200, 422},
		"an empty scope": {`{"name":"x","roles":["admin"],"scope":{}}`, 200, 422},
		"one service":    {`{"name":"x","roles":["admin"],"scope":{"services":["sho?"]}}`, 200, 403},
		"another action": {`{"name":"x","roles":["admin"],"scope":{"actions":["dump"]}}`, 403, 403},
		"the action":     {`{"name":"x","roles":["admin"],"scope":{"actions":["restart"],"services":["shop"]}}`, 200, 403},
		"elsewhere":      {`{"name":"x","roles":["admin"],"scope":{"environments":["nowhere"]}}`, 403, 403},
	} {
		token := secret(c.body)
		if got := plan(token, "shop"); got != c.shop {
			t.Errorf("%s, shop: %d, want %d", what, got, c.shop)
		}
		if got := plan(token, "bare"); (got == 403) != (c.bare == 403) {
			t.Errorf("%s, bare: %d", what, got)
		}
	}
	bound := secret(`{"name":"x","roles":["admin"],"scope":{"services":["shop"]}}`)
	for _, act := range [][3]string{
		{"POST", "/api/v1/tokens", `{"name":"y","roles":["admin"]}`}, {"POST", "/api/v1/users", `{"name":"igor"}`}, {"GET", "/api/v1/users", ""}, {"GET", "/api/v1/audit", ""}, {"GET", "/api/v1/certificates", ""},
		{"POST", "/api/v1/users/root/password", `{"new":"correct horse battery"}`}, {"DELETE", "/api/v1/sessions/" + strings.Repeat("0", 26), ""}, {"POST", "/api/v1/join-tokens", `{"host":"web1.example.com"}`},
	} {
		var body []byte
		if act[2] != "" {
			body = []byte(act[2])
		}
		problem(t, s.Request(act[0], act[1], bound, body, nil), 403)
	}
	if resp := s.Request("GET", "/api/v1/runs", bound, nil, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("looking: %d", resp.StatusCode)
	}
	for _, bad := range []string{`{"services":["../x"]}`, `{"services":["[a"]}`, `{"actions":["launch"]}`, `{"environments":[""]}`, `{"colour":["red"]}`} {
		problem(t, s.Request("POST", "/api/v1/tokens", root, []byte(`{"name":"x","roles":["admin"],"scope":`+bad+`}`), nil), 422)
	}
}

func TestLogins(t *testing.T) {
	s := apitest.Start(t, nil)
	begin := func() wire.LoginStarted {
		t.Helper()
		return decode[wire.LoginStarted](t, s.Request("POST", "/api/v1/logins", "", []byte(`{"client":"restartilka on laptop"}`), nil), 201)
	}
	claim := func(secret string) apitest.Answer {
		return s.Request("POST", "/api/v1/logins/claim", "", []byte(`{"secret":"`+secret+`"}`), nil)
	}
	started := begin()
	if started.URL != "https://restartilka.example.com/login/"+started.Code || authn.TidyCode(started.Code) != started.Code || started.Interval <= 0 {
		t.Fatalf("%+v", started)
	}
	if a := decode[wire.LoginAnswer](t, claim(started.Secret), 200); a.Done || a.Token != nil {
		t.Errorf("%+v", a)
	}
	problem(t, claim(started.Code), 404)
	anna := restart.Actor{Name: "anna", Roles: []restart.Role{developer}, Via: "web", From: "192.0.2.1", SignedInAt: new(time.Now().Add(-time.Hour))}
	if err := s.Control.AnswerLogin(t.Context(), anna, started.Code, true); restart.CodeOf(err) != restart.CodeSignInAgain {
		t.Errorf("an old sign-in: %v", err)
	}
	anna.SignedInAt = new(time.Now())
	anna.Scope = &restart.Scope{Services: []string{"shop"}}
	if err := s.Control.AnswerLogin(t.Context(), anna, started.Code, true); restart.CodeOf(err) != restart.CodeForbidden {
		t.Errorf("a token with bounds: %v", err)
	}
	anna.Scope = nil
	if err := s.Control.AnswerLogin(t.Context(), anna, strings.ToUpper(started.Code), true); err != nil {
		t.Fatal(err)
	}
	a := decode[wire.LoginAnswer](t, claim(started.Secret), 200)
	if !a.Done || a.Token == nil || a.Token.Owner != "anna" || a.Token.ExpiresAt == nil || time.Until(*a.Token.ExpiresAt) > 30*24*time.Hour {
		t.Fatalf("%+v", a)
	}
	if who := decode[restart.Actor](t, s.Request("GET", "/api/v1/whoami", a.Token.Secret, nil, nil), 200); who.Name != "anna" || !who.Has(developer) || who.Has(admin) {
		t.Errorf("%+v", who)
	}
	problem(t, claim(started.Secret), 404) // once
	refused := begin()
	if err := s.Control.AnswerLogin(t.Context(), anna, refused.Code, false); err != nil {
		t.Fatal(err)
	}
	problem(t, claim(refused.Secret), 403)
	problem(t, s.Request("POST", "/api/v1/logins", "", []byte(`{"client":"\u001b[31m"}`), nil), 422)
	for range 19 {
		begin()
	}
	if p := problem(t, s.Request("POST", "/api/v1/logins", "", []byte(`{"client":"x"}`), nil), 429); p.Code != restart.CodeTooMany {
		t.Errorf("%+v", p)
	}
}

func TestSessionsAreEndedByTheirOwner(t *testing.T) {
	s := apitest.Start(t, nil)
	for _, name := range []string{"anna", "vera"} {
		if err := s.Store.CreateUser(t.Context(), store.User{Name: name, Method: "local", Roles: []restart.Role{developer}, CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	one, two, hers := cookie(t, s, "anna", 0), cookie(t, s, "anna", 0), cookie(t, s, "vera", 0)
	list := func(path string, header http.Header) []wire.Session {
		t.Helper()
		return decode[wire.List[wire.Session]](t, s.Request("GET", path, "", nil, header), 200).Items
	}
	mine := list("/api/v1/sessions", one)
	if len(mine) != 2 || mine[0].Owner != "anna" || mine[0].Current == mine[1].Current {
		t.Fatalf("%+v", mine)
	}
	problem(t, s.Request("GET", "/api/v1/sessions?all=true", "", nil, one), 403)
	other := mine[0]
	if other.Current {
		other = mine[1]
	}
	problem(t, s.Request("DELETE", "/api/v1/sessions/"+other.ID, "", nil, hers), 404) // as if there were none
	if resp := s.Request("DELETE", "/api/v1/sessions/"+other.ID, "", nil, one); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%d", resp.StatusCode)
	}
	problem(t, s.Request("GET", "/api/v1/whoami", "", nil, two), 401)
	root := s.Token("root", admin)
	all := decode[wire.List[wire.Session]](t, s.Request("GET", "/api/v1/sessions?all=true", root, nil, nil), 200).Items
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	for _, x := range all {
		if resp := s.Request("DELETE", "/api/v1/sessions/"+x.ID, root, nil, nil); resp.StatusCode != http.StatusNoContent {
			t.Errorf("%d", resp.StatusCode)
		}
	}
	problem(t, s.Request("GET", "/api/v1/whoami", "", nil, hers), 401)
}
