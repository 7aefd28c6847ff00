package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// The names of the files in templates/pages.
const (
	pageAdmin         = "admin"
	pageAdminUsers    = "admin-users"
	pageAdminUser     = "admin-user"
	pageAdminTokens   = "admin-tokens"
	pageAdminSessions = "admin-sessions"
	pageAdminRules    = "admin-rules"
	pageAdminHosts    = "admin-hosts"
	pageAdminLocks    = "admin-locks"
	pageAdminDelivery = "admin-delivery"
	pageAdminMessages = "admin-messages"
	pageAdminConfig   = "admin-configuration"
)

type (
	// adminPage is what every page of administration has.
	adminPage struct {
		layout
		Tabs  []adminTab
		Done  string // what was done
		Late  bool   // a form that changes something would ask to sign in again
		Again string // address where one does, and comes back here
		Form  filled
	}
	adminTab struct {
		URL, Name string
		Here      bool
	}
	// attention is something that may need an admin.
	attention struct {
		Tone      tone
		Text, URL string
		Note      string
	}
	overviewPage struct {
		adminPage
		Needs []attention
		Facts []attention
	}
)

// adminRoutes are of what admins do. Who may, control decides; what changes
// something needs a recent sign-in.
func (s *site) adminRoutes() []route {
	return slices.Concat(s.adminPeopleRoutes(), []route{
		{pattern: "GET /admin", policy: signedIn, handle: s.adminOverview},
		{pattern: "GET /admin/rules", policy: signedIn, handle: s.adminRules},
		{pattern: "GET /admin/rules/who.csv", policy: signedIn, handle: s.whoCanFile},
		{pattern: "GET /admin/hosts", policy: signedIn, handle: s.adminHosts},
		{pattern: "POST /admin/hosts/join-token", policy: signedIn, handle: s.createJoinToken},
		{pattern: "POST /admin/hosts/end-token", policy: signedIn, handle: s.endJoinToken},
		{pattern: "POST /admin/hosts/revoke", policy: signedIn, handle: s.revokeHost},
		{pattern: "GET /admin/locks", policy: signedIn, handle: s.adminLocks},
		{pattern: "POST /admin/locks/release", policy: signedIn, handle: s.releaseLock},
		{pattern: "GET /admin/delivery", policy: signedIn, handle: s.adminDelivery},
		{pattern: "GET /admin/messages", policy: signedIn, handle: s.adminMessages},
		{pattern: "POST /admin/messages/test", policy: signedIn, handle: s.testReceiver},
		{pattern: "GET /admin/configuration", policy: signedIn, handle: s.adminConfiguration},
		{pattern: "POST /freezes/add", policy: signedIn, handle: s.addFreeze},
		{pattern: "POST /freezes/end", policy: signedIn, handle: s.endFreeze},
	})
}

func (s *site) adminPeopleRoutes() []route {
	return []route{
		{pattern: "GET /admin/users", policy: signedIn, handle: s.adminUsers},
		{pattern: "POST /admin/users/create", policy: signedIn, handle: s.createUser},
		{pattern: "GET /admin/users/{name}", policy: signedIn, handle: s.adminUser},
		{pattern: "POST /admin/users/{name}/roles", policy: signedIn, handle: s.setRoles},
		{pattern: "POST /admin/users/{name}/password", policy: signedIn, handle: s.resetPassword},
		{pattern: "POST /admin/users/{name}/disable", policy: signedIn, handle: s.setDisabled(true)},
		{pattern: "POST /admin/users/{name}/enable", policy: signedIn, handle: s.setDisabled(false)},
		{pattern: "POST /admin/users/{name}/end-sessions", policy: signedIn, handle: s.endSessionsOf},
		{pattern: "POST /admin/users/{name}/unlink-chat", policy: signedIn, handle: s.unlinkChatOf},
		{pattern: "GET /admin/tokens", policy: signedIn, handle: s.adminTokens},
		{pattern: "POST /admin/tokens/create", policy: signedIn, handle: s.createTokenFor},
		{pattern: "POST /admin/tokens/revoke", policy: signedIn, handle: s.revokeTokenOf},
		{pattern: "GET /admin/sessions", policy: signedIn, handle: s.adminSessions},
		{pattern: "POST /admin/sessions/end", policy: signedIn, handle: s.endSessionOf},
		{pattern: "POST /admin/sessions/end-all", policy: signedIn, handle: s.endAllSessionsOf},
	}
}

// adminLayout starts a page of administration.
func (s *site) adminLayout(v *visit, title string) adminPage {
	p := adminPage{layout: s.layout(v, title), Late: !s.cfg.Control.SignedInLately(v.actor)}
	here := v.URL.RequestURI()
	if v.Method != http.MethodGet {
		here = pressedOn(v.URL.Path)
	}
	p.Again = "/sign-in?again=1&next=" + url.QueryEscape(here)
	for _, name := range []string{"", "users", "tokens", "sessions", "rules", "hosts", "locks", "delivery", "messages", "configuration"} {
		tab := adminTab{URL: strings.TrimSuffix("/admin/"+name, "/"), Name: say(v.lang, "admintab.overview")}
		if name != "" {
			tab.Name = say(v.lang, "admintab."+name)
		}
		tab.Here = v.URL.Path == tab.URL || name != "" && strings.HasPrefix(v.URL.Path, tab.URL+"/")
		p.Tabs = append(p.Tabs, tab)
	}
	if key := "done." + v.URL.Query().Get("done"); catalogue[key] != (text{}) {
		p.Done = say(v.lang, key)
	}
	return p
}

// done goes back to a page, which says what was done.
func done(w http.ResponseWriter, v *visit, path, what string) error {
	http.Redirect(w, v.Request, path+"?done="+what, http.StatusSeeOther)
	return nil
}

// number reads where a page begins; what is no number is its beginning.
func number(v *visit, name string) int {
	n, err := strconv.Atoi(v.URL.Query().Get(name))
	if err != nil || n < 0 || n > 1<<30 {
		return 0
	}
	return n
}

func roleNames(roles []restart.Role) []string {
	var out []string
	for _, r := range roles {
		out = append(out, string(r))
	}
	return out
}

func rolesTyped(v *visit) []restart.Role {
	out := []restart.Role{}
	for _, r := range v.PostForm["roles"] {
		out = append(out, restart.Role(r))
	}
	return out
}

// wordsTyped reads names that stand in one field, between spaces or commas.
func wordsTyped(v *visit, name string) []string {
	return strings.FieldsFunc(v.PostForm.Get(name), func(r rune) bool { return r == ' ' || r == ',' })
}

// lined is a moment, or nil for a time that is not there.
func lined(t, now time.Time) *moment {
	if t.IsZero() {
		return nil
	}
	return maybeMoment(&t, now)
}

func (s *site) adminOverview(w http.ResponseWriter, v *visit) error {
	o, err := s.cfg.Control.Overview(v.Context(), v.actor)
	if err != nil {
		return err
	}
	page := overviewPage{adminPage: s.adminLayout(v, say(v.lang, "admin.title")), Needs: needs(v.lang, o)}
	page.Facts = []attention{
		{Text: count(v.lang, "overview.hosts", o.Hosts), URL: "/admin/hosts", Note: say(v.lang, "overview.asked", o.Asked)},
		{Text: count(v.lang, "overview.locks", o.Locks), URL: "/admin/locks"},
		{Text: count(v.lang, "overview.scenarios", o.Scenarios.InForce), URL: "/scenarios"},
	}
	return s.show(w, v, http.StatusOK, pageAdmin, page)
}

// needs lists what may need an admin, the gravest first.
func needs(l language, o control.Overview) []attention {
	var out []attention
	add := func(t tone, n int, key, url string) {
		if n > 0 {
			out = append(out, attention{Tone: t, Text: count(l, "overview."+key, n), URL: url})
		}
	}
	if o.TrailTrouble() {
		out = append(out, attention{Tone: toneFail, Text: say(l, "overview.trail"), URL: "/admin/delivery"})
	}
	if o.Rules != "" {
		out = append(out, attention{Tone: toneFail, Text: say(l, "overview.rules"), URL: "/admin/rules", Note: said.In(l, o.Rules)})
	}
	if o.Inventory != "" {
		out = append(out, attention{Tone: toneFail, Text: say(l, "overview.inventory"), URL: "/admin/hosts", Note: said.In(l, o.Inventory)})
	}
	add(toneUnknown, o.Unknown, "unknown", "/runs?state=paused")
	add(toneHold, o.Paused, "paused", "/runs?state=paused")
	add(toneWarn, o.Glass, "glass", "/break-glass")
	add(toneWait, o.Approvals, "approvals", "/approvals")
	add(toneFail, o.Over, "over", "/admin/hosts?show="+control.ShowCertificate)
	add(toneWarn, o.Ending, "ending", "/admin/hosts?show="+control.ShowCertificate)
	add(toneFail, o.Silent, "silent", "/admin/hosts?show="+control.ShowSilent)
	add(toneWarn, o.OtherVersion, "versions", "/admin/hosts?show="+control.ShowVersion)
	add(toneWarn, o.Scenarios.Expiring, "expiring", "/scenarios")
	add(toneFail, o.Scenarios.Expired+o.Scenarios.Lost, "lost", "/scenarios")
	add(toneFail, o.Scenarios.Problems, "problems", "/scenarios")
	add(toneWarn, o.Messages, "messages", "/admin/messages")
	return out
}
