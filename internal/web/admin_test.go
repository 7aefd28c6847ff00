package web

import (
	"encoding/csv"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// administered is a whole server with an admin, root, who has just signed in.
func administered(t *testing.T) (*fixture, *apitest.Server, string) {
	t.Helper()
	f, s := newWhole(t)
	f.must(f.store.CreateUser(t.Context(), store.User{Name: "root", Method: authn.MethodLocal, Roles: []restart.Role{admin}, CreatedAt: time.Now()}))
	return f, s, f.agedCookie("root", 0)
}

// adminForms has a form that makes sense for every POST of administration.
func adminForms(f *fixture) map[string]url.Values {
	f.t.Helper()
	f.user("vera", developer)
	f.enter("vera")
	f.token("robot", developer)
	tokens, err := f.store.Tokens(f.t.Context(), "robot")
	f.must(err)
	sessions, err := f.store.Sessions(f.t.Context(), store.SessionFilter{Owner: "vera", Idle: time.Hour, Limit: 10})
	f.must(err)
	f.must(f.store.CreateChatCode(f.t.Context(), store.ChatCode{Hash: "x", Owner: "vera", CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
	link, err := f.store.UseChatCode(f.t.Context(), "x", store.ChatLink{ID: restart.NewID(time.Now()), Chat: "telegram", Person: "12345", CreatedAt: time.Now()}, func(store.ChatLink) audit.Record { return audit.Record{Action: audit.ChatLinked} })
	f.must(err)
	reason := []string{"it was asked for by the team"}
	return map[string]url.Values{
		"/admin/users/create":            {"name": {"igor"}},
		"/admin/users/vera/roles":        {"roles": {"auditor"}},
		"/admin/users/vera/password":     {},
		"/admin/users/vera/disable":      {},
		"/admin/users/vera/enable":       {},
		"/admin/users/vera/end-sessions": {},
		"/admin/users/vera/unlink-chat":  {"id": {link.ID}},
		"/admin/tokens/create":           {"owner": {"robot"}, "name": {"x"}, "life": {"30"}, "roles": {"viewer"}},
		"/admin/tokens/revoke":           {"id": {tokens[0].ID}},
		"/admin/sessions/end":            {"id": {sessions[0].ID}},
		"/admin/sessions/end-all":        {"owner": {"vera"}},
		"/admin/hosts/join-token":        {"host": {"web9.example.com"}},
		"/admin/hosts/end-token":         {"id": {tokens[0].ID}},
		"/admin/hosts/revoke":            {"host": {"web1"}, "reason": reason},
		"/admin/locks/release":           {"run": {tokens[0].ID}, "reason": reason},
		"/admin/messages/test":           {"receiver": {"ops-chat"}},
		"/freezes/add":                   {"environments": {"production"}, "to": {time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04")}, "zone": {"UTC"}, "reason": reason},
		"/freezes/end":                   {"id": {tokens[0].ID}, "reason": reason},
	}
}

// Each form of administration is refused without the right, without a recent
// sign-in, and from another site; and nothing is changed by it.
func TestFormsOfAdministrationAreGuarded(t *testing.T) {
	f, _, _ := administered(t)
	forms := adminForms(f)
	for _, r := range f.site.table {
		path, post := strings.CutPrefix(r.pattern, "POST ")
		if !post || !strings.HasPrefix(path, "/admin/") && !strings.HasPrefix(path, "/freezes/") {
			continue
		}
		if _, ok := forms[strings.ReplaceAll(path, "{name}", "vera")]; !ok {
			t.Errorf("no test sends a form to %s", path)
		}
	}
	state := func() (out []any) {
		users, err := f.store.Users(t.Context(), "", "", 100)
		f.must(err)
		tokens, err := f.store.Tokens(t.Context(), "robot")
		f.must(err)
		sessions, err := f.store.Sessions(t.Context(), store.SessionFilter{Owner: "vera", Idle: time.Hour, Limit: 10})
		f.must(err)
		joins, err := f.store.JoinTokens(t.Context())
		f.must(err)
		freezes, err := f.store.Freezes(t.Context(), time.Now())
		f.must(err)
		links, err := f.store.ChatLinks(t.Context(), "vera")
		f.must(err)
		return []any{len(links), len(users), users[len(users)-1].Roles, users[len(users)-1].Password, users[len(users)-1].Disabled(), len(tokens), tokens[0].RevokedAt, len(sessions), len(joins), len(freezes)}
	}
	before := state()
	stranger, late, fresh := f.as("anna", developer), f.agedCookie("root", 16*time.Minute), f.agedCookie("root", 0)
	for path, form := range forms {
		res := f.post(path, form, "Cookie", stranger)
		if res.StatusCode != http.StatusForbidden || !strings.Contains(res.body, "may not") || !strings.Contains(res.body, "admin") {
			t.Errorf("%s without the right: %s\n%s", path, res.Status, res.body)
		}
		if res := f.post(path, form, "Cookie", late); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/sign-in?again=1&next="+url.QueryEscape(pressedOn(path)) {
			t.Errorf("%s after an old sign-in: %s to %q", path, res.Status, res.Header.Get("Location"))
		}
		for _, origin := range []string{"https://evil.example", "null"} {
			if res := f.do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", origin, "Cookie", fresh); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %s: %s", path, origin, res.Status)
			}
		}
		if res := f.do("GET", path, "", "Cookie", fresh); res.StatusCode == http.StatusSeeOther {
			t.Errorf("GET %s does something: %s", path, res.Status)
		}
	}
	if after := state(); !cmp.Equal(before, after) {
		t.Errorf("refused forms have changed something:\n%v\n%v", before, after)
	}
}

// Pages of administration are for admins; who is none is told who is.
func TestPagesOfAdministrationAreForAdmins(t *testing.T) {
	f, _, root := administered(t)
	stranger := f.as("anna", developer)
	for _, path := range []string{"/admin", "/admin/users", "/admin/users/root", "/admin/tokens", "/admin/sessions", "/admin/sessions?of=root", "/admin/rules", "/admin/rules/who.csv?action=restart", "/admin/hosts", "/admin/hosts?ask=1", "/admin/locks", "/admin/delivery", "/admin/messages", "/admin/configuration"} {
		if res := f.do("GET", path, "", "Cookie", root); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s\n%s", path, res.Status, res.body)
		}
		if res := f.do("GET", path, "", "Cookie", root, "Accept-Language", "ru"); strings.Contains(res.body, "{admin") || strings.Contains(res.body, "%!") {
			t.Errorf("%s in Russian: %s", path, res.body)
		}
		res := f.do("GET", path, "", "Cookie", stranger)
		if res.StatusCode != http.StatusForbidden || !strings.Contains(res.body, "ask an admin") {
			t.Errorf("%s for a developer: %s\n%s", path, res.Status, res.body)
		}
	}
	if res := f.do("GET", "/admin/rules", "", "Cookie", f.as("olga", auditor)); res.StatusCode != http.StatusOK {
		t.Errorf("rules for an auditor: %s", res.Status)
	}
	page := f.do("GET", "/admin/users", "", "Cookie", f.agedCookie("root", time.Hour)).body
	wants(t, page, "within the last 15 minutes", `href="/sign-in?again=1&amp;next=%2Fadmin%2Fusers"`)
	lacks(t, f.do("GET", "/admin/users", "", "Cookie", root).body, "within the last 15 minutes")
	for _, bad := range []string{"?done=nonsense", "?done=<script>", "?from=-1", "?q=%25", "?after=%00"} {
		if res := f.do("GET", "/admin/users"+bad, "", "Cookie", root); res.StatusCode != http.StatusOK || strings.Contains(res.body, "{done") {
			t.Errorf("%s: %s", bad, res.Status)
		}
	}
}

func TestUsersAreAdministered(t *testing.T) {
	f, _, root := administered(t)
	made := f.post("/admin/users/create", url.Values{"name": {"boris"}, "roles": {"developer", "auditor"}}, "Cookie", root)
	secret := regexp.MustCompile(`id="new-password">([^<]+)<`).FindStringSubmatch(made.body)
	if made.StatusCode != http.StatusOK || secret == nil {
		t.Fatalf("%s\n%s", made.Status, made.body)
	}
	wants(t, made.body, "boris may sign in now")
	lacks(t, f.do("GET", "/admin/users", "", "Cookie", root).body, secret[1])
	res := f.post("/sign-in", url.Values{"name": {"boris"}, "secret": {secret[1]}})
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("the password that was made: %s", res.Status)
	}
	boris := res.Cookies()[0].Name + "=" + res.Cookies()[0].Value

	for what, c := range map[string]struct {
		form  url.Values
		field string
	}{
		"no name":     {url.Values{"name": {`-rf "><b>`}}, "create-name"},
		"there":       {url.Values{"name": {"boris"}}, "create-name"},
		"no role":     {url.Values{"name": {"igor"}, "roles": {"king"}}, "create-roles"},
		"easy":        {url.Values{"name": {"igor"}, "password": {"short"}, "roles": {"auditor"}}, "create-password"},
		"a list's id": {url.Values{"name": {strings.Repeat("x", 100)}}, "create-name"},
	} {
		res := f.post("/admin/users/create", c.form, "Cookie", root)
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="`+c.field+`-wrong"`) || !strings.Contains(res.body, `aria-describedby="`+c.field+`-wrong"`) {
			t.Errorf("%s: %s\n%s", what, res.Status, res.body)
		}
		lacks(t, res.body, "<b>", `value="short"`)
		if roles := c.form["roles"]; what == "easy" && !strings.Contains(res.body, `value="`+roles[0]+`" checked`) {
			t.Errorf("%s: what was chosen is lost", what)
		}
	}
	at := func(act string, form url.Values, want string) {
		t.Helper()
		if res := f.post("/admin/users/boris/"+act, form, "Cookie", root); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/admin/users/boris?done="+want {
			t.Errorf("%s: %s to %q\n%s", act, res.Status, res.Header.Get("Location"), res.body)
		}
		wants(t, f.do("GET", "/admin/users/boris?done="+want, "", "Cookie", root).body, `role="status"`)
	}
	at("roles", url.Values{"roles": {"reviewer"}}, "roles")
	if u, err := f.store.User(t.Context(), "boris"); err != nil || !slices.Equal(u.Roles, []restart.Role{restart.RoleReviewer}) {
		t.Errorf("%+v, %v", u.Roles, err)
	}
	at("end-sessions", nil, "sessions")
	if f.do("GET", "/profile", "", "Cookie", boris).StatusCode == http.StatusOK {
		t.Error("the session lives on")
	}
	again := f.post("/admin/users/boris/password", nil, "Cookie", root)
	if again.StatusCode != http.StatusOK || !strings.Contains(again.body, `id="new-password"`) || strings.Contains(again.body, secret[1]) {
		t.Errorf("%s\n%s", again.Status, again.body)
	}
	at("password", url.Values{"password": {"a different horse"}}, "password")
	at("disable", nil, "disabled")
	wants(t, f.do("GET", "/admin/users/boris", "", "Cookie", root).body, "Disabled since", "/admin/users/boris/enable")
	wants(t, f.do("GET", "/admin/users?q=BOR", "", "Cookie", root).body, "boris", "disabled")
	lacks(t, f.do("GET", "/admin/users?q=bor", "", "Cookie", root).body, `href="/admin/users/root"`)
	at("enable", nil, "enabled")
	if res := f.do("GET", "/admin/users/nobody", "", "Cookie", root); res.StatusCode != http.StatusNotFound {
		t.Errorf("nobody: %s", res.Status)
	}

	// Oneself: no button, and no way past that either.
	lacks(t, f.do("GET", "/admin/users/root", "", "Cookie", root).body, "/admin/users/root/disable")
	if res := f.post("/admin/users/root/disable", nil, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "nobody shuts himself out") {
		t.Errorf("oneself: %s", res.Status)
	}
	if res := f.post("/admin/users/root/roles", url.Values{"roles": {"viewer"}}, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "nobody shuts himself out") {
		t.Errorf("one's own role: %s", res.Status)
	}
}

func TestTokensAndSessionsAreAdministered(t *testing.T) {
	f, _, root := administered(t)
	form := url.Values{"owner": {"shop-deploy"}, "name": {"the <b>pipeline</b>"}, "life": {"30"}, "roles": {"developer"}, "services": {"shop-*, bare"}, "environments": {"testing"}, "actions": {"restart"}}
	made := f.post("/admin/tokens/create", form, "Cookie", root)
	secret := regexp.MustCompile(`rtk_[0-9a-z]{32}`).FindString(made.body)
	if made.StatusCode != http.StatusOK || secret == "" {
		t.Fatalf("%s\n%s", made.Status, made.body)
	}
	tokens, err := f.store.Tokens(t.Context(), "shop-deploy")
	if err != nil || len(tokens) != 1 || tokens[0].Scope.String() != "actions restart; services shop-*, bare; environments testing" {
		t.Fatalf("%+v, %v", tokens, err)
	}
	page := f.do("GET", "/admin/tokens?owner=shop-deploy", "", "Cookie", root).body
	wants(t, page, "the &lt;b&gt;pipeline", "never used", tokens[0].ID)
	lacks(t, page, secret, "<b>pipeline")
	for what, c := range map[string]struct{ field, value, at string }{
		"no owner": {"owner", "", "owner"}, "a bad owner": {"owner", "-x", "owner"}, "no name": {"name", " ", "name"}, "no role": {"roles", "", "roles"}, "a bad scope": {"services", "../x", "scope"},
	} {
		other := maps.Clone(form)
		other[c.field] = []string{c.value}
		if c.value == "" {
			delete(other, c.field)
		}
		if res := f.post("/admin/tokens/create", other, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="create-`+c.at+`-wrong"`) || regexp.MustCompile(`rtk_[0-9a-z]{32}`).MatchString(res.body) {
			t.Errorf("%s: %s\n%s", what, res.Status, res.body)
		}
	}
	if res := f.post("/admin/tokens/create", url.Values{"owner": {"x"}, "name": {"x"}, "roles": {"viewer"}, "life": {"9999"}}, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a life of its own: %s", res.Status)
	}
	if res := f.post("/admin/tokens/revoke", url.Values{"id": {tokens[0].ID}}, "Cookie", root); res.Header.Get("Location") != "/admin/tokens?done=token" {
		t.Errorf("revoke: %s", res.Status)
	}
	lacks(t, f.do("GET", "/admin/tokens", "", "Cookie", root).body, tokens[0].ID)
	wants(t, f.do("GET", "/admin/tokens?all=1", "", "Cookie", root).body, "revoked", tokens[0].ID)

	f.user("vera", developer)
	one, two := f.enter("vera"), f.enter("vera")
	list, err := f.store.Sessions(t.Context(), store.SessionFilter{Owner: "vera", Idle: time.Hour, Limit: 10})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for i := range wire.MaxPage { // with vera's and root's, more than one page has
		owner := fmt.Sprintf("robot%d", i%10) // one person has 50 at most
		f.must(f.store.CreateSession(t.Context(), store.Session{
			ID: restart.NewID(time.Now()), Hash: fmt.Sprint("hash", i), Owner: owner, CreatedAt: time.Now(), LastSeenAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		}))
	}
	first := f.do("GET", "/admin/sessions", "", "Cookie", root).body
	lacks(t, first, list[0].ID)
	more := regexp.MustCompile(`href="(/admin/sessions\?[^"]*before=[^"]*)"`).FindStringSubmatch(first)
	if more == nil {
		t.Fatalf("there is no second page:\n%s", first)
	}
	second := f.do("GET", html.UnescapeString(more[1]), "", "Cookie", root).body
	wants(t, second, list[0].ID, list[1].ID)
	lacks(t, second, "before=", "robot0")
	wants(t, f.do("GET", "/admin/sessions?of=vera", "", "Cookie", root).body, list[0].ID, list[1].ID, "Every browser of vera")
	if res := f.post("/admin/sessions/end", url.Values{"id": {list[0].ID}}, "Cookie", root); res.Header.Get("Location") != "/admin/sessions?done=session" {
		t.Errorf("%s", res.Status)
	}
	if f.do("GET", "/profile", "", "Cookie", two).StatusCode == http.StatusOK || f.do("GET", "/profile", "", "Cookie", one).StatusCode != http.StatusOK {
		t.Error("not that session has ended")
	}
	if res := f.post("/admin/sessions/end-all", url.Values{"owner": {"vera"}}, "Cookie", root); res.Header.Get("Location") != "/admin/sessions?done=sessions" || f.do("GET", "/profile", "", "Cookie", one).StatusCode == http.StatusOK {
		t.Errorf("all: %s", res.Status)
	}
	if res := f.post("/admin/sessions/end-all", url.Values{"owner": {"root"}}, "Cookie", root); res.StatusCode != http.StatusSeeOther || f.do("GET", "/profile", "", "Cookie", root).StatusCode != http.StatusOK {
		t.Errorf("one's own: %s, and the one that asks has ended", res.Status)
	}
}

func TestHostsAreAdministered(t *testing.T) {
	f, s, root := administered(t)
	s.Agents.Set("web2", apitest.Away)
	page := f.do("GET", "/admin/hosts", "", "Cookie", root).body
	wants(t, page, "4 hosts", "not asked", "web1", "web4", "no contact since the start")
	page = f.do("GET", "/admin/hosts?ask=1", "", "Cookie", root).body
	wants(t, page, "no agent listens", "agent 0.1.0", "review: files")
	page = f.do("GET", "/admin/hosts?show=silent", "", "Cookie", root).body
	wants(t, page, "web2")
	lacks(t, page, `href="/hosts/web1"`)
	wants(t, f.do("GET", "/admin", "", "Cookie", root).body, "/admin/hosts?show=silent", "1 host is silent")
	wants(t, f.do("GET", "/admin/hosts?q=WEB3", "", "Cookie", root).body, "1 host.", "web3")
	for _, bad := range []string{"?show=x", "?from=x"} {
		if res := f.do("GET", "/admin/hosts"+bad, "", "Cookie", root); res.StatusCode >= 500 {
			t.Errorf("%s: %s", bad, res.Status)
		}
	}
	made := f.post("/admin/hosts/join-token", url.Values{"host": {"web9.example.com"}}, "Cookie", root)
	wants(t, made.body, "Good for 1 use until", `id="new-token"`, "sudo restartilka-agent join https://restartilka.example.com")
	many := f.post("/admin/hosts/join-token", url.Values{"kind": {"pattern"}, "pattern": {"web*.example.com"}, "count": {"40"}, "window": {"8"}}, "Cookie", root)
	wants(t, many.body, "Good for 40 uses until")
	tokens, err := f.store.JoinTokens(t.Context())
	if err != nil || len(tokens) != 2 || tokens[0].Uses != 40 || tokens[0].ExpiresAt.Sub(tokens[0].CreatedAt) != 8*time.Hour || tokens[1].Host != "web9.example.com" {
		t.Fatalf("%+v, %v", tokens, err)
	}
	for what, c := range map[string]struct {
		form url.Values
		at   string
	}{
		"no host":    {url.Values{"host": {`"><b>`}}, "join-host"},
		"too wide":   {url.Values{"kind": {"pattern"}, "pattern": {"*"}, "count": {"1"}, "window": {"8"}}, "join-many-pattern"},
		"no number":  {url.Values{"kind": {"pattern"}, "pattern": {"web*.example.com"}, "count": {"many"}, "window": {"8"}}, "join-many-count"},
		"too many":   {url.Values{"kind": {"pattern"}, "pattern": {"web*.example.com"}, "count": {"99999"}, "window": {"8"}}, "join-many-count"},
		"a huge one": {url.Values{"kind": {"pattern"}, "pattern": {"web*.example.com"}, "count": {"99999999999999999999"}, "window": {"8"}}, "join-many-count"},
	} {
		res := f.post("/admin/hosts/join-token", c.form, "Cookie", root)
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="`+c.at+`-wrong"`) {
			t.Errorf("%s: %s\n%s", what, res.Status, res.body)
		}
		lacks(t, res.body, "<b>")
	}
	if res := f.post("/admin/hosts/end-token", url.Values{"id": {tokens[0].ID}}, "Cookie", root); res.Header.Get("Location") != "/admin/hosts?done=jointoken" {
		t.Errorf("end: %s", res.Status)
	}
	wants(t, f.do("GET", "/admin/hosts", "", "Cookie", root).body, tokens[1].ID, "1 token that is spent")

	f.must(f.store.PutCertificate(t.Context(), store.Certificate{Serial: "ab12", Host: "web1", IssuedAt: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)}))
	wants(t, f.do("GET", "/admin", "", "Cookie", root).body, "1 host has a certificate that ends within 30 days")
	wants(t, f.do("GET", "/admin/hosts?show=certificate", "", "Cookie", root).body, "1 host.", "web1", "certificate until")
	for reason, at := range map[string]string{"": "revoke-reason", "short": "revoke-reason"} {
		if res := f.post("/admin/hosts/revoke", url.Values{"host": {"web1"}, "reason": {reason}}, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="`+at+`-wrong"`) || !strings.Contains(res.body, `value="web1"`) {
			t.Errorf("%q: %s\n%s", reason, res.Status, res.body)
		}
	}
	if res := f.post("/admin/hosts/revoke", url.Values{"host": {"web77"}, "reason": {"its disk left the building"}}, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="revoke-host-wrong"`) {
		t.Errorf("unknown: %s\n%s", res.Status, res.body)
	}
	if res := f.post("/admin/hosts/revoke", url.Values{"host": {"web1"}, "reason": {"its disk left the building"}}, "Cookie", root); res.Header.Get("Location") != "/admin/hosts?done=revoked" {
		t.Errorf("revoke: %s", res.Status)
	}
	wants(t, f.do("GET", "/admin/hosts", "", "Cookie", root).body, "certificate revoked")
}

func TestRulesAreExplained(t *testing.T) {
	f, s, root := administered(t)
	s.Rights(apitest.ApprovalRules)
	f.token("anna", developer)
	f.token("vera", developer)
	s.Process.Say(control.RulesState{File: "/etc/restartilka/rules.yaml", Text: apitest.ApprovalRules + "# <script>alert(1)</script>\n", Digest: "d1", Refused: "line 3: <b>no</b>"}, audit.Stats{}, control.ServerFacts{}, "")
	page := f.do("GET", "/admin/rules?ask=why&who=anna&action=restart&service=shop&environment=production", "", "Cookie", root).body
	wants(t, page, "can&#39;t be used", "&lt;b&gt;no&lt;/b&gt;", "anna may: restart shop", "anna owns shop", `href="#L5"`, "Another person must approve it", `id="L5" class="marked"`, "&lt;script&gt;")
	lacks(t, page, "<script>alert")
	page = f.do("GET", "/admin/rules?ask=why&who=vera&action=restart&service=shop", "", "Cookie", root).body
	wants(t, page, "vera may not: restart shop", "Who could: anna or an admin")
	page = f.do("GET", "/admin/rules?ask=who&action=restart", "", "Cookie", root).body
	wants(t, page, "<caption>", "shop", "anna", "with the role developer", "bare", "/admin/rules/who.csv?action=restart")
	for what, query := range map[string]string{"no action": "ask=why&action=launch", "no service": "ask=who&action=restart&service=%22%3E%3Cb%3E", "nobody": "ask=why&who=-x&action=see"} {
		res := f.do("GET", "/admin/rules?"+query, "", "Cookie", root)
		if res.StatusCode >= 500 || strings.Contains(res.body, "<b>") {
			t.Errorf("%s: %s\n%s", what, res.Status, res.body)
		}
	}
	file := f.do("GET", "/admin/rules/who.csv?action=restart", "", "Cookie", root)
	rows, err := csv.NewReader(strings.NewReader(file.body)).ReadAll()
	if err != nil || file.Header.Get("Content-Type") != "text/csv; charset=utf-8" || len(rows) < 4 || rows[0][1] != "service" {
		t.Errorf("%v, %v\n%s", err, file.Header, file.body)
	}
}

func TestTheServerTellsOfItself(t *testing.T) {
	f, s, root := administered(t)
	f.as("anna", developer) // is in the trail
	now := time.Now()
	s.Process.Say(control.RulesState{}, audit.Stats{Source: "main", Sinks: []audit.SinkStats{
		{Name: "file:trail", Level: audit.LevelSpool, Settled: 41},
		{Name: "syslog:log", Level: audit.LevelSent, Settled: 12, Backlog: 29, Oldest: 90 * time.Second, Error: "dial <b>log</b>: refused", Since: now},
	}}, control.ServerFacts{Name: "main", Version: "1.2.3", Database: "SQLite, /var/lib/x.db", Started: now.Add(-time.Hour), Require: "spool", Sinks: []string{"file /var/log/a.jsonl", "syslog log:6514"}}, "name: main\nkey_file: /etc/<secret>\n")
	page := f.do("GET", "/admin/delivery", "", "Cookie", root).body
	wants(t, page, "sign_in", "settled up to record 41", "failing", "syslog log:6514", "dial &lt;b&gt;log", "29 records wait", "1\u00a0min 30\u00a0s")
	lacks(t, page, "No remote log: records stay on this server&#39;s own disk (audit.require: spool). Whoever")
	wants(t, f.do("GET", "/admin", "", "Cookie", root).body, "What needs you", "/admin/delivery", "not getting where they should")
	page = f.do("GET", "/admin/configuration", "", "Cookie", root).body
	wants(t, page, "1.2.3", "/var/lib/x.db", "1\u00a0h", "key_file: /etc/&lt;secret&gt;")
}

// A freeze is made and ended on the page, by who may; what is wrong is said
// beside its field.
func TestFreezesAreMadeAndEnded(t *testing.T) {
	f, s, root := administered(t)
	lacks(t, f.do("GET", "/freezes", "", "Cookie", f.as("anna", developer)).body, "/freezes/add")
	page := f.do("GET", "/freezes", "", "Cookie", root).body
	wants(t, page, `action="/freezes/add"`, `value="production"`, `type="datetime-local"`, `value="UTC"`)
	in := func(d time.Duration) string { return time.Now().UTC().Add(d).Format("2006-01-02T15:04") }
	good := url.Values{"kind": {"dates"}, "environments": {"production"}, "to": {in(time.Hour)}, "zone": {"UTC"}, "reason": {"the big sale is on"}}
	for what, c := range map[string]struct{ field, value, at string }{
		"no environment":      {"environments", "", "environments"},
		"unknown environment": {"environments", "moon", "environments"},
		"unknown service":     {"services", `"><b>`, "services"},
		"no end":              {"to", "", "to"},
		"past":                {"to", in(-time.Hour), "to"},
		"nonsense":            {"from", "soon", "from"},
		"no zone":             {"zone", "Mars/Olympus", "zone"},
		"no reason":           {"reason", "", "reason"},
	} {
		form := maps.Clone(good)
		if form[c.field] = []string{c.value}; c.value == "" {
			delete(form, c.field)
		}
		res := f.post("/freezes/add", form, "Cookie", root)
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="add-`+c.at+`-wrong"`) || !strings.Contains(res.body, `aria-describedby="add-`+c.at+`-wrong"`) {
			t.Errorf("%s: %s\n%s", what, res.Status, res.body)
		}
		lacks(t, res.body, "<b>")
		if c.at != "environments" && !strings.Contains(res.body, `value="production" checked`) {
			t.Errorf("%s: what was chosen is lost", what)
		}
	}
	weekly := url.Values{"kind": {"weekly"}, "environments": {"all"}, "from_day": {"fri"}, "from_time": {"18:00"}, "to_day": {"fri"}, "to_time": {"18:00"}, "zone": {"Europe/Berlin"}, "reason": {"nobody is there at weekends"}}
	if res := f.post("/freezes/add", weekly, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="add-weekly-wrong"`) {
		t.Errorf("a whole week: %s\n%s", res.Status, res.body)
	}
	weekly.Set("to_day", "mon")
	for _, form := range []url.Values{good, weekly} {
		if res := f.post("/freezes/add", form, "Cookie", root); res.Header.Get("Location") != "/freezes?done=frozen" {
			t.Fatalf("%s\n%s", res.Status, res.body)
		}
	}
	list, err := f.store.Freezes(t.Context(), time.Now())
	if err != nil || len(list) != 2 || list[1].Weekly != "fri 18:00-mon 08:00" && list[1].Weekly != "fri 18:00-mon 18:00" {
		t.Fatalf("%+v, %v", list, err)
	}
	id := list[0].ID
	wants(t, f.do("GET", "/freezes?done=frozen", "", "Cookie", root).body, "The freeze is made", `name="id" value="`+id+`"`)
	if res := f.post("/freezes/end", url.Values{"id": {id}, "reason": {""}}, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="end-`+id+`-reason-wrong"`) {
		t.Errorf("no reason: %s\n%s", res.Status, res.body)
	}
	if res := f.post("/freezes/end", url.Values{"id": {id}, "reason": {"the sale is over"}}, "Cookie", root); res.Header.Get("Location") != "/freezes?done=thawed" {
		t.Errorf("%s", res.Status)
	}
	if records, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.FreezeRemoved}); err != nil || len(records) == 0 {
		t.Errorf("%v, %v", records, err)
	}
}

// A run that stands still gives up its service to an admin's release, and must
// get it again to go on; one with a host in hand does not.
func TestLocksAreReleased(t *testing.T) {
	f, s, root := administered(t)
	wants(t, f.do("GET", "/admin/locks", "", "Cookie", root).body, "No service is held")
	f.token("anna", developer) // in whose name the runs go on
	s.Agents.Set("web1", apitest.Hangs)
	start := func() restart.Run {
		run, err := s.Control.Start(t.Context(), anna, f.draft(s).ID, wire.StartRequest{})
		f.must(err)
		return run
	}
	run := start()
	f.until(run.ID, func(r restart.Run) bool { return len(r.Tasks) > 0 && r.Tasks[0].State == restart.TaskRunning })
	page := f.do("GET", "/admin/locks", "", "Cookie", root).body
	wants(t, page, "shop", run.ID, "has a host in hand")
	lacks(t, page, "/admin/locks/release")
	f.must(s.Store.KeepOutsideLock(t.Context(), store.OutsideLock{
		RunID: run.ID, Name: "cluster", Kind: "zookeeper", Place: "/locks/shop", State: store.OutsideWaiting, Note: `"<b>deploy" is there since 2026-11-23 10:00:00 UTC`, Server: "main", Since: time.Now(),
	}))
	vera := f.as("vera", developer)
	wants(t, f.do("GET", "/locks", "", "Cookie", vera).body, run.ID, "waits", "cluster", "/locks/shop", "&lt;b&gt;deploy")
	wants(t, f.do("GET", "/locks", "", "Cookie", vera, "Accept-Language", "ru").body, "ждёт", "там с 2026-11-23")
	f.must(s.Store.DropOutsideLock(t.Context(), run.ID, "cluster"))
	form := url.Values{"run": {run.ID}, "reason": {"anna has gone home, and boris needs the shop"}}
	if res := f.post("/admin/locks/release", form, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "has a host in hand") {
		t.Errorf("with a host in hand: %s\n%s", res.Status, res.body)
	}
	s.Agents.Set("web1", apitest.Fails)
	f.until(run.ID, func(r restart.Run) bool { return r.State == restart.RunPaused })
	wants(t, f.do("GET", "/locks", "", "Cookie", vera).body, "Paused", run.ID)
	wants(t, f.do("GET", "/admin/locks", "", "Cookie", root).body, "/admin/locks/release", "Other runs of shop may start")
	if res := f.post("/admin/locks/release", url.Values{"run": {run.ID}, "reason": {"x"}}, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, `id="release-reason-wrong"`) {
		t.Errorf("without a reason: %s\n%s", res.Status, res.body)
	}
	if res := f.post("/admin/locks/release", form, "Cookie", root); res.Header.Get("Location") != "/admin/locks?done=lock" {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	if locks, err := s.Store.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("%+v, %v", locks, err)
	}
	if res := f.post("/admin/locks/release", form, "Cookie", root); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "holds no service") {
		t.Errorf("twice: %s\n%s", res.Status, res.body)
	}
	s.Agents.Set("web1", apitest.Hangs)
	other := start()
	f.until(other.ID, func(r restart.Run) bool { return r.State == restart.RunRunning })
	if _, err := s.Control.Resume(t.Context(), anna, run.ID, 0); restart.CodeOf(err) != restart.CodeLocked {
		t.Errorf("resume beside another: %v", err)
	}
	s.Agents.Set("web1", apitest.Succeeds)
	f.until(other.ID, func(r restart.Run) bool { return r.State.Final() })
	if _, err := s.Control.Resume(t.Context(), anna, run.ID, 0); err != nil {
		t.Errorf("resume afterwards: %v", err)
	}
	f.until(run.ID, func(r restart.Run) bool { return r.State != restart.RunRunning })
	if got, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.LockReleased, Run: run.ID}); err != nil || !slices.ContainsFunc(got, func(r audit.Record) bool {
		return r.Outcome == "" && r.Actor == "root" && r.Reason == form.Get("reason") && r.Service == "shop"
	}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// until waits until something holds for a run.
func (f *fixture) until(id string, ok func(restart.Run) bool) {
	f.t.Helper()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		run, err := f.store.Run(f.t.Context(), id)
		f.must(err)
		if ok(run) {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			f.t.Fatalf("run %s is %s (%s): %+v", id, run.State, run.Cause, run.Tasks)
		}
	}
}
