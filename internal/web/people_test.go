package web

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const password = "correct horse battery"

// user makes a local user with the password.
func (f *fixture) user(name string, roles ...restart.Role) {
	f.t.Helper()
	hash, err := authn.NewHasher().Hash(f.t.Context(), password)
	f.must(err)
	f.must(f.store.CreateUser(f.t.Context(), store.User{Name: name, Method: authn.MethodLocal, Roles: roles, Password: hash, CreatedAt: time.Now()}))
}

// enter signs a user in with the password.
func (f *fixture) enter(name string) string {
	f.t.Helper()
	res := f.post("/sign-in", url.Values{"name": {name}, "secret": {password}})
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		f.t.Fatalf("sign-in of %s: %s\n%s", name, res.Status, res.body)
	}
	return res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
}

// age makes every session of a user begin so long ago.
func (f *fixture) agedCookie(name string, ago time.Duration) string {
	f.t.Helper()
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	f.must(f.store.CreateSession(f.t.Context(), store.Session{
		ID: restart.NewID(now), Hash: hash, Owner: name, Method: authn.MethodLocal, CreatedAt: now.Add(-ago), LastSeenAt: now, ExpiresAt: now.Add(time.Hour),
	}))
	return authn.CookieName + "=" + secret
}

func TestSignInWithAPassword(t *testing.T) {
	f := newFixture(t)
	f.user("anna", developer)
	cookie := f.enter("anna")
	if res := f.do("GET", "/runs", "", "Cookie", cookie); res.StatusCode != http.StatusOK || !strings.Contains(res.body, ">anna<") {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
	if got := f.audit(audit.SignIn); len(got) != 1 || got[0].Actor != "anna" || got[0].Detail != "by local" {
		t.Errorf("recorded: %+v", got)
	}
	res := f.post("/sign-in", url.Values{"name": {"anna"}, "secret": {"wrong horse battery"}})
	if res.StatusCode != http.StatusUnauthorized || strings.Contains(res.body, "wrong horse") || !strings.Contains(res.body, `aria-describedby="password-secret-wrong"`) {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
	for _, r := range f.audit(audit.SignInRefused) {
		if strings.Contains(string(r.Canonical()), "horse") {
			t.Errorf("a password is in the trail: %+v", r)
		}
	}
	// The token form needs no name; a token with bounds opens no session.
	if res := f.post("/sign-in", url.Values{"token": {f.secret}}); res.StatusCode != http.StatusSeeOther {
		t.Errorf("a token: %s", res.Status)
	}
	bound, hash := authn.NewSecret()
	f.must(f.store.CreateToken(t.Context(), store.Token{ID: restart.NewID(time.Now()), Owner: "dana", Roles: []restart.Role{developer}, Scope: &restart.Scope{Services: []string{"nginx"}}, Hash: hash, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
	if res := f.post("/sign-in", url.Values{"token": {bound}}); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) != 0 {
		t.Errorf("a token with bounds: %s", res.Status)
	}
	if res := f.post("/sign-in", url.Values{"token": {"x"}}); res.StatusCode != http.StatusUnauthorized || !strings.Contains(res.body, `id="token" name="token" type="password" required autocomplete="off" maxlength="256" aria-invalid="true"`) {
		t.Errorf("a wrong token: %s\n%s", res.Status, res.body)
	}
}

func TestProfile(t *testing.T) {
	f := newFixture(t)
	f.user("anna", developer, auditor)
	cookie, other := f.enter("anna"), f.enter("anna")
	page := f.do("GET", "/profile", "", "Cookie", cookie, "Accept-Language", "ru")
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "этот браузер") || strings.Count(page.body, `action="/profile/revoke-session"`) != 2 || !strings.Contains(page.body, "developer, auditor") {
		t.Fatalf("%s\n%s", page.Status, page.body)
	}
	// A token, bounded; its secret is shown once.
	made := f.post("/profile/token", url.Values{"name": {"my <b>laptop</b>"}, "days": {"30"}, "roles": {"developer"}, "services": {"nginx, shop-*"}}, "Cookie", cookie)
	secret := regexp.MustCompile(`rtk_[0-9a-z]{32}`).FindString(made.body)
	if made.StatusCode != http.StatusOK || secret == "" || strings.Contains(made.body, "<b>laptop") {
		t.Fatalf("%s\n%s", made.Status, made.body)
	}
	tokens, err := f.store.Tokens(t.Context(), "anna")
	if err != nil || len(tokens) != 1 || !slices.Equal(tokens[0].Scope.Services, []string{"nginx", "shop-*"}) || !slices.Equal(tokens[0].Roles, []restart.Role{developer}) {
		t.Fatalf("%+v, %v", tokens, err)
	}
	page = f.do("GET", "/profile", "", "Cookie", cookie)
	if strings.Contains(page.body, secret) || !strings.Contains(page.body, "services nginx, shop-*") {
		t.Errorf("the list: %s", page.body)
	}
	for what, form := range map[string]url.Values{
		"a foreign role": {"name": {"x"}, "days": {"30"}, "roles": {"admin"}}, "no role": {"name": {"x"}, "days": {"30"}},
		"no name": {"days": {"30"}, "roles": {"developer"}}, "a life of its own": {"name": {"x"}, "days": {"9999"}, "roles": {"developer"}},
	} {
		if res := f.post("/profile/token", form, "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity || strings.Contains(res.body, "rtk_") {
			t.Errorf("%s: %s", what, res.Status)
		}
	}
	if res := f.post("/profile/revoke-token", url.Values{"id": {tokens[0].ID}}, "Cookie", cookie); res.StatusCode != http.StatusSeeOther {
		t.Errorf("revoke: %s", res.Status)
	}
	if got, err := f.store.TokenByID(t.Context(), tokens[0].ID); err != nil || got.RevokedAt.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if res := f.post("/profile/revoke-token", url.Values{"id": {f.tokenID}}, "Cookie", cookie); res.StatusCode != http.StatusNotFound {
		t.Errorf("dana's token: %s", res.Status)
	}
	// Her password: wrong, easy, and then right, which ends the other session.
	if res := f.post("/profile/password", url.Values{"old": {"nonsense"}, "new": {"a different horse"}}, "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="password-old-wrong"`) {
		t.Errorf("wrong: %s", res.Status)
	}
	if res := f.post("/profile/password", url.Values{"old": {password}, "new": {"short"}}, "Cookie", cookie); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="password-password-wrong"`) {
		t.Errorf("easy: %s", res.Status)
	}
	if res := f.post("/profile/password", url.Values{"old": {password}, "new": {"a different horse"}}, "Cookie", cookie); res.Header.Get("Location") != "/profile?done=password" {
		t.Errorf("right: %s\n%s", res.Status, res.body)
	}
	if f.do("GET", "/profile", "", "Cookie", other).StatusCode == http.StatusOK || f.do("GET", "/profile?done=password", "", "Cookie", cookie).StatusCode != http.StatusOK {
		t.Error("the other session lives on, or this one does not")
	}
	// Whose password is elsewhere is shown no form for it.
	if res := f.do("GET", "/profile", "", "Cookie", f.signIn()); res.StatusCode != http.StatusOK || strings.Contains(res.body, "/profile/password") {
		t.Errorf("dana: %s", res.Status)
	}
}

// TestSignInAgain: what outlives a session is asked for with a recent sign-in,
// and leads back to where it was pressed.
func TestSignInAgain(t *testing.T) {
	f := newFixture(t)
	f.user("anna", developer)
	late := f.agedCookie("anna", time.Hour)
	res := f.post("/profile/token", url.Values{"name": {"x"}, "days": {"30"}, "roles": {"developer"}}, "Cookie", late)
	if want := "/sign-in?again=1&next=%2Fprofile"; res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != want {
		t.Fatalf("%s to %q", res.Status, res.Header.Get("Location"))
	}
	page := f.do("GET", res.Header.Get("Location"), "", "Cookie", late)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, `value="anna"`) || !strings.Contains(page.body, "readonly") || !strings.Contains(page.body, "Sign in again") {
		t.Fatalf("%s\n%s", page.Status, page.body)
	}
	again := f.post("/sign-in", url.Values{"name": {"anna"}, "secret": {password}, "next": {"/profile"}, "again": {"1"}}, "Cookie", late)
	if again.Header.Get("Location") != "/profile" {
		t.Fatalf("%s", again.Status)
	}
	fresh := again.Cookies()[0].Name + "=" + again.Cookies()[0].Value
	if f.do("GET", "/profile", "", "Cookie", late).StatusCode == http.StatusOK {
		t.Error("the session of before lives on")
	}
	if res := f.post("/profile/token", url.Values{"name": {"x"}, "days": {"30"}, "roles": {"developer"}}, "Cookie", fresh); res.StatusCode != http.StatusOK {
		t.Errorf("%s", res.Status)
	}
	if tokens, err := f.store.Tokens(t.Context(), "anna"); err != nil || len(tokens) != 1 {
		t.Errorf("%+v, %v", tokens, err)
	}
	if res := f.do("GET", "/sign-in?again=1&next=//evil.example", ""); res.StatusCode != http.StatusOK || strings.Contains(res.body, "evil") || strings.Contains(res.body, "readonly") {
		t.Errorf("nobody: %s", res.Status)
	}
}

func TestLoginPage(t *testing.T) {
	f := newFixture(t)
	f.user("anna", developer)
	cookie := f.enter("anna")
	begin := func() wire.LoginStarted {
		t.Helper()
		started, err := f.site.cfg.Control.BeginLogin(t.Context(), "192.0.2.7", wire.LoginRequest{Client: "restartilka <b>on</b> laptop"})
		f.must(err)
		return started
	}
	started := begin()
	path := "/login/" + started.Code
	if res := f.do("GET", path, ""); res.Header.Get("Location") != "/sign-in?next="+url.QueryEscape(path) {
		t.Errorf("nobody: %s to %s", res.Status, res.Header.Get("Location"))
	}
	page := f.do("GET", path, "", "Cookie", cookie)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, started.Code) || !strings.Contains(page.body, "192.0.2.7") || strings.Contains(page.body, "<b>on") || strings.Contains(page.body, started.Secret) {
		t.Fatalf("%s\n%s", page.Status, page.body)
	}
	if res := f.do("GET", "/login?code="+strings.ToUpper(strings.ReplaceAll(started.Code, "-", "+")), "", "Cookie", cookie); res.Header.Get("Location") != path {
		t.Errorf("typed: %s to %s", res.Status, res.Header.Get("Location"))
	}
	for _, wrong := range []string{"/login?code=nonsense", "/login/00000-00000", "/login/%3Cscript%3E"} {
		if res := f.do("GET", wrong, "", "Cookie", cookie); res.StatusCode != http.StatusNotFound || !strings.Contains(res.body, `id="find-code-wrong"`) {
			t.Errorf("%s: %s", wrong, res.Status)
		}
	}
	// A confirmation comes from our own page, not by a link, nor another site.
	if res := f.do("GET", "/login/confirm", "", "Cookie", cookie); res.StatusCode != http.StatusNotFound {
		t.Errorf("by a link: %s", res.Status)
	}
	form := url.Values{"code": {started.Code}}
	if res := f.do("POST", "/login/confirm", form.Encode(), "Cookie", cookie, "Content-Type", "application/x-www-form-urlencoded", "Origin", "null"); res.StatusCode != http.StatusForbidden {
		t.Errorf("from elsewhere: %s", res.Status)
	}
	late := f.agedCookie("anna", time.Hour)
	if res := f.post("/login/confirm", form, "Cookie", late); res.Header.Get("Location") != "/sign-in?again=1&next="+url.QueryEscape(path) {
		t.Errorf("an old sign-in: %s to %s", res.Status, res.Header.Get("Location"))
	}
	claim := func(secret string) (wire.LoginAnswer, error) {
		return f.site.cfg.Control.ClaimLogin(t.Context(), "192.0.2.7", wire.LoginClaim{Secret: secret})
	}
	if a, err := claim(started.Secret); err != nil || a.Done {
		t.Fatalf("it was confirmed meanwhile: %+v, %v", a, err)
	}
	if res := f.post("/login/confirm", form, "Cookie", cookie); res.StatusCode != http.StatusOK || !strings.Contains(res.body, "is signed in") {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	if a, err := claim(started.Secret); err != nil || !a.Done || a.Token.Owner != "anna" {
		t.Fatalf("%+v, %v", a, err)
	}
	if res := f.post("/login/confirm", form, "Cookie", cookie); res.StatusCode != http.StatusNotFound {
		t.Errorf("twice: %s", res.Status)
	}
	other := begin()
	if res := f.post("/login/refuse", url.Values{"code": {other.Code}}, "Cookie", late); res.StatusCode != http.StatusOK {
		t.Errorf("refuse: %s", res.Status)
	}
	if _, err := claim(other.Secret); restart.CodeOf(err) != restart.CodeForbidden {
		t.Errorf("%v", err)
	}
	if got := f.audit(audit.LoginConfirmed); !slices.ContainsFunc(got, func(r audit.Record) bool { return r.Actor == "anna" && r.Outcome == "" }) || len(f.audit(audit.LoginRefused)) != 1 {
		t.Errorf("%+v", got)
	}
}

// elsewhere is a method that sends the browser away and gets it back.
type elsewhere struct{ id authn.Identity }

func (elsewhere) Method() string { return authn.MethodOIDC }
func (elsewhere) Begin(w http.ResponseWriter, r *http.Request, next string) error {
	http.Redirect(w, r, "https://idp.example.com/?state="+url.QueryEscape(next)+r.URL.Query().Get("again"), http.StatusFound)
	return nil
}

func (e elsewhere) Finish(_ http.ResponseWriter, r *http.Request) (authn.Identity, string, error) {
	if r.URL.Query().Get("state") != "good" {
		return authn.Identity{}, "", restart.Errorf(restart.CodeUnauthorised, "the state is not ours")
	}
	return e.id, "//evil.example", nil
}
func (elsewhere) Logout(session string) string { return "https://idp.example.com/logout?s=" + session }

func TestRedirects(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Redirects = []authn.Redirect{elsewhere{authn.Identity{Name: "olga", Method: authn.MethodOIDC, Subject: "1", Groups: []string{"web"}}}}
	})
	if page := f.do("GET", "/sign-in?next=/runs", ""); !strings.Contains(page.body, `href="/sign-in/oidc?next=%2Fruns"`) {
		t.Errorf("%s", page.body)
	}
	if res := f.do("GET", "/sign-in/oidc?next=//evil", ""); res.Header.Get("Location") != "https://idp.example.com/?state=%2F" {
		t.Errorf("%s to %s", res.Status, res.Header.Get("Location"))
	}
	if res := f.do("GET", "/sign-in/magic", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("%s", res.Status)
	}
	if res := f.do("GET", "/sign-in/oidc/callback?state=bad", ""); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) != 0 || len(f.audit(audit.SignInRefused)) != 1 {
		t.Errorf("%s", res.Status)
	}
	res := f.do("GET", "/sign-in/oidc/callback?state=good", "")
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/" || len(res.Cookies()) != 1 {
		t.Fatalf("%s to %s", res.Status, res.Header.Get("Location"))
	}
	cookie := res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
	if page := f.do("GET", "/profile", "", "Cookie", cookie); !strings.Contains(page.body, "web") || !strings.Contains(page.body, "single sign-on") {
		t.Errorf("%s\n%s", page.Status, page.body)
	}
	if page := f.do("GET", "/sign-in?again=1&next=/profile", "", "Cookie", cookie); !strings.Contains(page.body, `href="/sign-in/oidc?again=1&amp;next=%2Fprofile"`) {
		t.Errorf("%s", page.body)
	}
	if out := f.post("/sign-out", nil, "Cookie", cookie); out.StatusCode != http.StatusOK || !strings.Contains(out.body, "https://idp.example.com/logout?s=") {
		t.Errorf("%s\n%s", out.Status, out.body)
	}
}
