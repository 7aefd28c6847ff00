package web

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

// csp lets a page load its own style, scripts and icon, talk to its own server,
// and nothing else; nothing inline, no frames, no other base.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// policy says who may call a route. The zero policy lets nobody in.
type policy string

const (
	anybody  policy = "public"
	signedIn policy = "signed-in" // and what each may see, control decides
)

// route is one line of the table.
type route struct {
	pattern string // of http.ServeMux
	policy  policy
	stream  bool // may only be read by our own pages
	handle  func(w http.ResponseWriter, v *visit) error
}

// routes is everything that there is.
func (s *site) routes() []route {
	return slices.Concat(s.presses(), s.frameRoutes(), s.peopleRoutes(), s.runRoutes(), s.reviewRoutes(), s.startRoutes(), s.laterRoutes(), s.adminRoutes(), s.historyRoutes(), s.dumpRoutes(), s.auditRoutes())
}

// frameRoutes are those that belong to no page.
func (s *site) frameRoutes() []route {
	return []route{
		{pattern: "GET /assets/{name}", policy: anybody, handle: s.asset},
		{pattern: "/", policy: anybody, handle: s.nothing},
	}
}

// peopleRoutes are of signing in, and of what is one's own.
func (s *site) peopleRoutes() []route {
	return []route{
		{pattern: "GET /sign-in", policy: anybody, handle: s.signInForm},
		{pattern: "POST /sign-in", policy: anybody, handle: s.signIn},
		{pattern: "GET /sign-in/{method}", policy: anybody, handle: s.beginRedirect},
		{pattern: "GET /sign-in/{method}/callback", policy: anybody, handle: s.finishRedirect},
		{pattern: "POST /sign-out", policy: anybody, handle: s.signOut},
		{pattern: "GET /profile", policy: signedIn, handle: s.profile},
		{pattern: "POST /profile/display", policy: anybody, handle: s.setDisplay},
		{pattern: "POST /profile/password", policy: signedIn, handle: s.setPassword},
		{pattern: "POST /profile/token", policy: signedIn, handle: s.createToken},
		{pattern: "POST /profile/key", policy: signedIn, handle: s.addKey},
		{pattern: "POST /profile/remove-key", policy: signedIn, handle: s.removeKey},
		{pattern: "POST /profile/revoke-token", policy: signedIn, handle: s.revokeToken},
		{pattern: "POST /profile/revoke-session", policy: signedIn, handle: s.revokeSession},
		{pattern: "POST /profile/chat-code", policy: signedIn, handle: s.createChatCode},
		{pattern: "POST /profile/unlink-chat", policy: signedIn, handle: s.unlinkChat},
		{pattern: "GET /login", policy: signedIn, handle: s.loginForm},
		{pattern: "GET /login/{code}", policy: signedIn, handle: s.showLogin},
		{pattern: "POST /login/confirm", policy: signedIn, handle: s.answerLogin(true)},
		{pattern: "POST /login/refuse", policy: signedIn, handle: s.answerLogin(false)},
	}
}

// reviewRoutes are of what one person looks at before another's work counts.
func (s *site) reviewRoutes() []route {
	return []route{
		{pattern: "GET /approvals", policy: signedIn, handle: s.listApprovals},
		{pattern: "GET /scenarios", policy: signedIn, handle: s.listScenarios},
		{pattern: "GET /scenarios/{name}", policy: signedIn, handle: s.listVersions},
		{pattern: "GET /scenarios/{digest}/review", policy: signedIn, handle: s.showReview},
		{pattern: "POST /scenarios/{digest}/withdraw", policy: signedIn, handle: s.withdrawVersion},
		{pattern: "GET /review", policy: signedIn, handle: s.reviewQueue},
	}
}

// visit is one request with what is known of it.
type visit struct {
	*http.Request
	id    string        // under which the log has it
	actor restart.Actor // nobody on a public route
	lang  language
	theme theme
}

// mount is the only place where anything is put onto the mux. Before the
// handler is called the policy has been kept, and of the request nothing but
// its headers has been looked at.
func (s *site) mount(r route) {
	s.table = append(s.table, r)
	s.mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) {
		v := &visit{Request: req, id: restart.NewID(s.cfg.Now()), lang: languageOf(req), theme: themeOf(req)}
		h := w.Header()
		h.Set("X-Request-Id", v.id)
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Vary", "Accept-Language, Cookie")
		err := s.admit(v, r)
		if err == nil {
			err = r.handle(w, v)
		}
		if err != nil {
			s.fail(w, v, err)
		}
	})
}

// admit lets in whom the route's policy names, and finds out who that is.
func (s *site) admit(v *visit, r route) error {
	if err := authn.CheckOrigin(v.Request, r.stream); err != nil {
		return err
	}
	switch r.policy {
	case anybody:
		return nil
	case signedIn:
		actor, err := s.cfg.Auth.Authenticate(v.Context(), v.Request)
		if err == nil && actor.Name == "" {
			err = restart.Errorf(restart.CodeUnauthorised, "nobody is signed in")
		}
		v.actor = actor
		return err
	}
	return restart.Errorf(restart.CodeForbidden, "this page has no policy, so that nobody may see it")
}

// fail answers with what went wrong: the way to sign in where nobody is signed
// in, a page that says it otherwise. The cause of what is ours goes to the log.
func (s *site) fail(w http.ResponseWriter, v *visit, err error) {
	e, ok := errors.AsType[*restart.Error](err)
	switch {
	case v.Context().Err() != nil:
		return // nobody is left to tell
	case !ok || e.Code == restart.CodeInternal:
		s.cfg.Logger.ErrorContext(v.Context(), "show a page", "request_id", v.id, "actor", v.actor.Name, "path", v.URL.Path, "error", err)
		e = restart.Errorf(restart.CodeInternal, "%s", say(v.lang, "problem.internal"))
	case e.Code == restart.CodeUnauthorised && v.Header.Get("HX-Request") != "":
		w.Header().Set("HX-Refresh", "true") // the page itself then goes to sign-in, and comes back
		w.WriteHeader(http.StatusUnauthorized)
		return
	case e.Code == restart.CodeUnauthorised:
		next := v.URL.RequestURI()
		if v.Method != http.MethodGet && v.Method != http.MethodHead { // what was pressed is not pressed again by signing in
			next = pressedOn(v.URL.Path)
		}
		http.Redirect(w, v.Request, "/sign-in?next="+url.QueryEscape(next), http.StatusSeeOther)
		return
	}
	if e.Code == restart.CodeSignInAgain && v.Method == http.MethodPost && v.Header.Get("HX-Request") == "" {
		signInAgain(w, v, pressedOn(v.URL.Path))
		return
	}
	s.problem(w, v, e)
}

// pressedOn is the page that has the form of a path.
func pressedOn(form string) string {
	switch {
	case strings.HasPrefix(form, "/break-glass/"): // of any run in its list
		return "/break-glass"
	case form == "/start", form == "/dumps": // where it stands
		return form
	}
	return path.Dir(form)
}

// nothing answers for every path that no route has.
func (s *site) nothing(_ http.ResponseWriter, v *visit) error {
	if actor, err := s.cfg.Auth.Authenticate(v.Context(), v.Request); err == nil {
		v.actor = actor // whose navigation the page has
	}
	return restart.Errorf(restart.CodeNotFound, "there is no such page")
}
