package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

func TestSignIn(t *testing.T) {
	f := newFixture(t)
	form := f.do("GET", "/sign-in?next=/runs?before=x", "")
	if form.StatusCode != http.StatusOK || !strings.Contains(form.body, `name="next" value="/runs?before=x"`) {
		t.Fatalf("the form: %s\n%s", form.Status, form.body)
	}
	res := f.post("/sign-in", url.Values{"name": {" dana "}, "secret": {f.secret + "\n"}, "next": {"/runs?before=x"}})
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/runs?before=x" {
		t.Fatalf("%s to %q", res.Status, res.Header.Get("Location"))
	}
	c := res.Cookies()[0]
	if c.Name != "__Host-restartilka" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || strings.Contains(c.Value, f.secret) {
		t.Errorf("cookie %+v", c)
	}
	if got := f.audit(audit.SignIn); len(got) != 1 || got[0].Actor != "dana" || !strings.HasPrefix(got[0].Origin, "web 127.0.0.1") {
		t.Errorf("recorded: %+v", got)
	}
	cookie := c.Name + "=" + c.Value
	if res := f.do("GET", "/sign-in?next=/runs", "", "Cookie", cookie); res.Header.Get("Location") != "/runs" {
		t.Errorf("signed in already: %s to %q", res.Status, res.Header.Get("Location"))
	}
	if res := f.do("GET", "/runs", "", "Cookie", cookie); res.StatusCode != http.StatusOK || !strings.Contains(res.body, "dana") {
		t.Errorf("the list: %s", res.Status)
	}
	if res := f.do("GET", "/sign-out", "", "Cookie", cookie); res.StatusCode != http.StatusNotFound {
		t.Errorf("GET /sign-out: %s", res.Status)
	}
	if res := f.post("/sign-out", nil, "Cookie", cookie); res.StatusCode != http.StatusSeeOther || res.Cookies()[0].MaxAge >= 0 {
		t.Errorf("sign-out: %s %v", res.Status, res.Cookies())
	}
	if got := f.audit(audit.SignOut); len(got) != 1 || got[0].Actor != "dana" {
		t.Errorf("recorded: %+v", got)
	}
	if res := f.do("GET", "/runs", "", "Cookie", cookie); res.StatusCode != http.StatusSeeOther {
		t.Errorf("the session lives on: %s", res.Status)
	}
}

// audit gives the stored records of an action.
func (f *fixture) audit(action audit.Action) []audit.Record {
	f.t.Helper()
	records, _, err := f.store.AuditSearch(f.t.Context(), store.AuditFilter{Action: action})
	f.must(err)
	return records
}

// TestSignInRefused: whatever is wrong, people see the same page.
func TestSignInRefused(t *testing.T) {
	f := newFixture(t)
	other, _ := f.token("erik", restart.RoleAdmin)
	revoked, id := f.token("dana", restart.RoleDeveloper)
	f.must(f.store.RevokeToken(t.Context(), id))
	same := ""
	for _, c := range []struct{ what, name, secret, actor string }{
		{"wrong token", "dana", "rtk_" + strings.Repeat("0", 32), "dana"},
		{"somebody else's token", "dana", other, "dana"},
		{"revoked token", "dana", revoked, "dana"},
		{"no user of that name", "nobody", f.secret, "nobody"},
		{"the secret as the name", f.secret, f.secret, "unknown"},
		{"hostile", "<script>alert(1)</script>\n", "' OR 1=1", "unknown"},
	} {
		before := len(f.audit(audit.SignInRefused))
		res := f.post("/sign-in", url.Values{"name": {c.name}, "secret": {c.secret}, "next": {"/runs"}})
		if res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) != 0 {
			t.Fatalf("%s: %s %v", c.what, res.Status, res.Cookies())
		}
		if strings.Contains(res.body, "rtk_") || strings.Contains(res.body, "<script>alert") {
			t.Errorf("%s: the page repeats it:\n%s", c.what, res.body)
		}
		why := res.body[strings.Index(res.body, `id="password-secret-wrong"`):]
		why = why[:strings.Index(why, "</p>")]
		if same == "" {
			same = why
		}
		if why != same {
			t.Errorf("%s: says otherwise: %s", c.what, why)
		}
		records := f.audit(audit.SignInRefused)
		if len(records) != before+1 {
			t.Fatalf("%s: %d records, want one more than %d", c.what, len(records), before)
		}
		for _, r := range records {
			if strings.Contains(string(r.Canonical()), "rtk_") {
				t.Errorf("%s: a secret is in the trail: %+v", c.what, r)
			}
		}
		if got := f.records[len(f.records)-1]; got.Actor != c.actor || got.Outcome != "unauthorised" {
			t.Errorf("%s: recorded %+v", c.what, got)
		}
	}
	if res := f.post("/sign-in", url.Values{"name": {strings.Repeat("x", 2*maxForm)}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a huge form: %s", res.Status)
	}
}

func TestSafeNext(t *testing.T) {
	for next, want := range map[string]string{
		"/runs": "/runs", "/runs/x?a=b#c": "/runs/x?a=b#c", "/": "/",
		"": "/", "runs": "/", "//evil.example": "/", `/\evil.example`: "/", "https://evil.example": "/", "/\t/evil.example": "/", "\n//evil.example": "/",
		"/sign-in": "/", "/sign-in?next=/sign-in": "/", "javascript:alert(1)": "/", `/runs\..\x`: "/", "/%2f%2fevil.example": "/", "/%": "/", "/\u202eruns": "/",
	} {
		if got := safeNext(next); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
	}
}

// What was left empty is said beside its field; nothing was tried, nor recorded.
func TestNothingTypedIsNoSignIn(t *testing.T) {
	f := newFixture(t)
	before := len(f.audit(audit.SignInRefused))
	for _, c := range []struct {
		form url.Values
		at   string
	}{
		{url.Values{"name": {""}, "secret": {""}}, "password-name-wrong"}, {url.Values{"name": {"dana"}, "secret": {" "}}, "password-secret-wrong"},
		{url.Values{"token": {""}}, "token-token-wrong"},
	} {
		besideField(t, f.post("/sign-in", c.form), c.at, "This is needed", c.form.Get("name"))
	}
	if after := len(f.audit(audit.SignInRefused)); after != before {
		t.Errorf("%d refusals are recorded", after-before)
	}
	wants(t, f.do("GET", "/login?code=", "", "Cookie", f.signIn()).body, `id="find-code-wrong"`)
}

func FuzzSafeNext(f *testing.F) {
	f.Add("/runs?x=//evil")
	f.Add(`/\/evil.example`)
	base, _ := url.Parse("https://restartilka.example/sign-in")
	f.Fuzz(func(t *testing.T, next string) {
		got := safeNext(next)
		u, err := base.Parse(got)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || strings.ContainsAny(got, "\\\t\r\n") || strings.HasPrefix(got, "//") {
			t.Errorf("%q leads to %q (%v)", next, got, err)
		}
	})
}
