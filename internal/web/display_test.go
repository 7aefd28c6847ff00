package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

// Language and theme are chosen by who is not signed in yet, too, and hold for
// every page of the browser; each alone leaves the other as it was.
func TestDisplayIsChosen(t *testing.T) {
	f := newFixture(t)
	chosen := map[string]string{}
	choose := func(form url.Values) answer {
		t.Helper()
		res := f.post("/profile/display", form)
		for _, c := range res.Cookies() {
			if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge < 1e7 {
				t.Errorf("cookie %+v", c)
			}
			chosen[c.Name] = c.Value
		}
		return res
	}
	const back = "/sign-in?next=%2Fruns"
	if res := choose(url.Values{"language": {"ru"}, "back": {back}}); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != back {
		t.Errorf("%s to %q", res.Status, res.Header.Get("Location"))
	}
	choose(url.Values{"theme": {"dark"}, "back": {"/profile"}})
	if len(chosen) != 2 || chosen["restartilka_language"] != "ru" || chosen["restartilka_theme"] != "dark" {
		t.Fatalf("cookies %v", chosen)
	}
	cookies := "restartilka_language=ru; restartilka_theme=dark"
	for path, cookie := range map[string]string{"/sign-in": cookies, "/profile": cookies + "; " + f.signIn()} {
		res := f.do("GET", path, "", "Cookie", cookie, "Accept-Language", "en")
		wants(t, res.body, `<html lang="ru" data-theme="dark">`, `content="dark"`, `value="en" lang="en" aria-pressed="false">English`, `value="ru" lang="ru" aria-pressed="true"`, `value="dark" aria-pressed="true">Тёмное`)
	}
	// What no form of ours has sent.
	wants(t, f.do("GET", "/sign-in", "", "Cookie", `restartilka_language=de; restartilka_theme="><script>`).body, `<html lang="en" data-theme="system">`)
	for _, form := range []url.Values{{"language": {"de"}}, {"theme": {"pink"}}} {
		if res := f.post("/profile/display", form); res.StatusCode != http.StatusUnprocessableEntity || len(res.Cookies()) > 0 {
			t.Errorf("%v: %s", form, res.Status)
		}
	}
	for _, elsewhere := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "", "runs"} {
		if res := choose(url.Values{"theme": {"light"}, "back": {elsewhere}}); res.Header.Get("Location") != "/" {
			t.Errorf("%q leads to %q", elsewhere, res.Header.Get("Location"))
		}
	}
	if res := f.do("POST", "/profile/display", "theme=dark", "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example"); res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
		t.Errorf("from another site: %s", res.Status)
	}
}

// The navigation says where the reader is, and leads nobody to what is not his.
func TestNavigation(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	for path, want := range map[string]string{
		"/runs": `href="/runs" aria-current="page"`, "/freezes": `href="/runs" aria-current="true"`, "/scenarios": `href="/scenarios" aria-current="page"`,
		"/review": `href="/scenarios" aria-current="true"`, "/approvals": `href="/approvals" aria-current="page"`,
	} {
		body := f.do("GET", path, "", "Cookie", cookie).body
		if strings.Count(body, "aria-current") != 1 || !strings.Contains(body, want) || strings.Contains(body, `href="/admin"`) {
			t.Errorf("%s: want %s in\n%s", path, want, body)
		}
	}
	if body := f.do("GET", "/profile", "", "Cookie", cookie).body; strings.Contains(body, "aria-current") {
		t.Errorf("the profile is none of them: %s", body)
	}
	f.secret, _ = f.token("root", restart.RoleAdmin)
	res := f.post("/sign-in", url.Values{"token": {f.secret}})
	if body := f.do("GET", "/runs", "", "Cookie", res.Cookies()[0].Name+"="+res.Cookies()[0].Value).body; !strings.Contains(body, `href="/admin"`) {
		t.Errorf("an admin does not see the administration: %s", body)
	}
	if body := f.do("GET", "/sign-in", "").body; strings.Contains(body, "<nav") {
		t.Errorf("who is not signed in is shown a navigation: %s", body)
	}
}
