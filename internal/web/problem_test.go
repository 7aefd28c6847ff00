package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

// What did not work says so in the reader's language, gives back what was
// written, and leads to where one can go on.
func TestProblemPages(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	run := f.create(f.newRun("nginx", 1))
	f.secret, _ = f.token("vera", restart.RoleViewer)
	res := f.post("/sign-in", url.Values{"token": {f.secret}})
	viewer := res.Cookies()[0].Name + "=" + res.Cookies()[0].Value

	for what, c := range map[string]struct {
		res    answer
		status int
		want   []string
	}{
		"not found": {f.do("GET", "/nothing", "", "Cookie", cookie), 404, []string{`href="/runs"`, "There is nothing here", `href="/">To the start`}},
		"nobody":    {f.do("GET", "/nothing", ""), 404, []string{"There is nothing here"}},
		"forbidden": {f.post("/runs/"+run.ID+"/pause", nil, "Cookie", viewer), 403, []string{"This is not allowed", "may not control nginx", "ask ", `href="/runs/` + run.ID + `">Back to the run`}},
		"conflict":  {f.post("/runs/"+run.ID+"/resume", url.Values{"reason": {"it <b>hangs</b> again"}, "version": {"1"}}, "Cookie", cookie), 409, []string{"Something has changed meanwhile", "What you had written:", "it &lt;b&gt;hangs&lt;/b&gt; again", "Back to the run"}},
	} {
		if c.res.StatusCode != c.status || c.res.Header.Get("Content-Security-Policy") != csp {
			t.Errorf("%s: %s", what, c.res.Status)
		}
		wants(t, c.res.body, c.want...)
		if strings.Contains(c.res.body, "<nav") != (what != "nobody") {
			t.Errorf("%s: the navigation is not as it should be", what)
		}
	}
	f.must(f.store.Close())
	res = f.do("GET", "/approvals", "", "Cookie", cookie, "Accept-Language", "ru")
	if res.StatusCode != http.StatusServiceUnavailable && res.StatusCode != http.StatusInternalServerError {
		t.Errorf("without a database: %s", res.Status)
	}
	wants(t, res.body, `href="/approvals">Попробовать ещё раз`)
}

// TestKept: of a form that did not work, sentences come back, and nothing secret.
func TestKept(t *testing.T) {
	for _, c := range []struct {
		form url.Values
		want string
	}{
		{nil, ""}, {url.Values{"secret": {"x"}, "token": {"y"}, "old": {"z"}}, ""}, {url.Values{"reason": {"  one two "}}, "one two"},
		{url.Values{"note": {"a\x00b"}}, restart.Escape("a\x00b")}, {url.Values{"reason": {strings.Repeat("ы", 900)}}, strings.Repeat("ы", 500)},
	} {
		if got := kept(&http.Request{PostForm: c.form}); got != c.want {
			t.Errorf("%v: %q, want %q", c.form, got, c.want)
		}
	}
}
