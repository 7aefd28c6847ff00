package web

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

// maxForm bounds a form's body, in bytes.
const maxForm = 16 << 10

// The forms of the page to sign in, by which a failure is shown.
const (
	failedPassword = "password"
	failedToken    = "token"
	failedRedirect = "redirect"
)

func (s *site) signInForm(w http.ResponseWriter, v *visit) error {
	next := safeNext(v.URL.Query().Get("next"))
	actor, err := s.cfg.Auth.Authenticate(v.Context(), v.Request)
	if err != nil && restart.CodeOf(err) != restart.CodeUnauthorised {
		return err
	}
	again := v.URL.Query().Get("again") == "1" && actor.Name != ""
	if actor.Name != "" && !again {
		http.Redirect(w, v.Request, next, http.StatusSeeOther)
		return nil
	}
	page := s.signInPage(v, actor, next, again)
	return s.show(w, v, http.StatusOK, pageSignIn, page)
}

// signInPage offers every configured method; to somebody who signs in again,
// those by which he came.
func (s *site) signInPage(v *visit, actor restart.Actor, next string, again bool) signInPage {
	title := say(v.lang, "signin.title")
	if again {
		title = say(v.lang, "signin.again")
	}
	page := signInPage{layout: s.layout(v, title), Next: next, Again: again, Token: true, Look: displayOf(v, signInPath(next, again))}
	page.Preview, page.Description = previewOf(v.lang, next)
	page.Password = s.cfg.Entrance != nil && len(s.cfg.Entrance.Passwords) > 0
	for _, r := range s.cfg.Redirects {
		query := url.Values{"next": {next}}
		if again {
			query.Set("again", "1")
		}
		page.Redirects = append(page.Redirects, redirectLine{Name: methodName(v.lang, r.Method()), URL: "/sign-in/" + url.PathEscape(r.Method()) + "?" + query.Encode()})
	}
	if again {
		page.Name = actor.Name
	}
	return page
}

// previewOf says of a page that only who is signed in sees what a link to it may
// say in a chat: which kind of page it is, and the id that its address has anyway.
// Both are "" where that says nothing.
func previewOf(l language, next string) (title, description string) {
	u, err := url.Parse(next)
	if err != nil {
		return "", ""
	}
	kind, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	key := "preview." + kind
	if _, ok := catalogue[key]; !ok || rest == "" {
		return "", ""
	}
	if id, _, _ := strings.Cut(rest, "/"); restart.CheckID(id) == nil {
		return say(l, key), say(l, "preview.signin.id", id)
	}
	return say(l, key), say(l, "preview.signin")
}

// signInPath is the address of the page to sign in.
func signInPath(next string, again bool) string {
	query := url.Values{"next": {next}}
	if again {
		query.Set("again", "1")
	}
	return "/sign-in?" + query.Encode()
}

func methodName(l language, method string) string {
	if _, ok := catalogue["method."+method]; !ok {
		return restart.Escape(method)
	}
	return say(l, "method."+method)
}

// signIn opens a session for who proves who he is, with a password or a token.
// Whatever is wrong, the answer is the same; the audit trail has the why.
func (s *site) signIn(w http.ResponseWriter, v *visit) error {
	if err := readForm(w, v, maxForm); err != nil {
		return err
	}
	form := v.PostForm
	name, next := strings.TrimSpace(form.Get("name")), safeNext(form.Get("next"))
	secret, at := form.Get("secret"), failedPassword
	if form.Has("token") {
		secret, at = form.Get("token"), failedToken
	}
	if field := leftEmpty(at, name, secret); field != "" { // nothing was tried
		page := s.signInPage(v, restart.Actor{Name: name}, next, form.Get("again") == "1")
		page.Name, page.Sent = restart.Escape(name), refuse(nil, at, field, say(v.lang, "start.param.needed"))
		return s.show(w, v, http.StatusUnprocessableEntity, pageSignIn, page)
	}
	var actor restart.Actor
	var err error
	switch token := strings.TrimSpace(secret); {
	case at == failedToken, authn.IsSecret(token), s.cfg.Entrance == nil:
		actor, err = s.cfg.Tokens.Check(v.Context(), token)
		if err == nil && at == failedPassword && actor.Name != name {
			err = restart.Errorf(restart.CodeUnauthorised, "the token belongs to somebody else")
		}
		if err == nil && !actor.Scope.IsZero() {
			err = restart.Errorf(restart.CodeUnauthorised, "the token is only for %s", actor.Scope)
		}
	default:
		actor, err = s.cfg.Entrance.SignIn(v.Context(), name, secret, addressOf(v.Request))
	}
	if err != nil {
		return s.refuse(w, v, refusal{name: name, next: next, at: at, again: form.Get("again") == "1", err: err})
	}
	return s.open(w, v, actor, next)
}

// leftEmpty names the first field of a form that nothing was typed into; "" =
// there is none.
func leftEmpty(form, name, secret string) string {
	switch {
	case form == failedPassword && name == "":
		return "name"
	case strings.TrimSpace(secret) != "":
		return ""
	case form == failedToken:
		return "token"
	}
	return "secret"
}

// open begins the session of somebody who has proved who he is.
func (s *site) open(w http.ResponseWriter, v *visit, actor restart.Actor, next string) error {
	rec := s.record(v, audit.SignIn)
	rec.Actor, rec.Detail = actor.Name, "by "+actor.Method
	if err := s.cfg.Sessions.Open(v.Context(), w, v.Request, actor, rec); err != nil {
		return err
	}
	http.Redirect(w, v.Request, next, http.StatusSeeOther)
	return nil
}

// refusal is a sign-in that failed, and where the person is to see it.
type refusal struct {
	name, next, at string
	again          bool
	err            error
}

// refuse records a sign-in that failed and shows the form again. A name that
// is no name is not recorded: somebody may have put his secret there.
func (s *site) refuse(w http.ResponseWriter, v *visit, r refusal) error {
	code := restart.CodeOf(r.err)
	if !slices.Contains([]restart.Code{restart.CodeUnauthorised, restart.CodeTooMany, restart.CodeUnavailable}, code) {
		return r.err
	}
	rec := s.record(v, audit.SignInRefused)
	rec.Actor, rec.Outcome, rec.Detail = "unknown", string(code), clip(r.err.Error())
	if restart.CheckPerson(r.name) == nil {
		rec.Actor = r.name
	} else {
		r.name = ""
	}
	if err := s.cfg.Record(v.Context(), rec); err != nil {
		return err
	}
	page := s.signInPage(v, restart.Actor{Name: r.name}, r.next, r.again)
	page.Name = r.name
	if r.at == failedPassword && !page.Password {
		r.at = failedToken
	}
	why, status := say(v.lang, "signin.failed"), http.StatusUnauthorized
	switch {
	case code == restart.CodeTooMany:
		why, status = say(v.lang, "signin.toomany"), http.StatusTooManyRequests
	case code == restart.CodeUnavailable:
		why, status = say(v.lang, "signin.unavailable"), http.StatusServiceUnavailable
	case r.at == failedRedirect:
		why = say(v.lang, "signin.elsewhere")
	}
	field := map[string]string{failedPassword: "secret", failedToken: "token"}[r.at]
	page.Sent = refuse(nil, r.at, field, why) // a secret is never sent back
	return s.show(w, v, status, pageSignIn, page)
}

// clip bounds what an audit record says of a refusal.
func clip(s string) string {
	const most = 300
	r := []rune(restart.Escape(s))
	return string(r[:min(len(r), most)])
}

// redirect gives the method of a path, or CodeNotFound.
func (s *site) redirect(v *visit) (authn.Redirect, error) {
	for _, r := range s.cfg.Redirects {
		if r.Method() == v.PathValue("method") {
			return r, nil
		}
	}
	return nil, restart.Errorf(restart.CodeNotFound, "there is no such page")
}

// beginRedirect sends the browser to where the person is known.
func (s *site) beginRedirect(w http.ResponseWriter, v *visit) error {
	r, err := s.redirect(v)
	if err != nil {
		return err
	}
	next := safeNext(v.URL.Query().Get("next"))
	if err := r.Begin(w, v.Request, next); err != nil {
		return s.refuse(w, v, refusal{next: next, at: failedRedirect, err: err})
	}
	return nil
}

// finishRedirect takes in who comes back.
func (s *site) finishRedirect(w http.ResponseWriter, v *visit) error {
	r, err := s.redirect(v)
	if err != nil {
		return err
	}
	id, next, err := r.Finish(w, v.Request)
	next = safeNext(next)
	var actor restart.Actor
	if err == nil {
		actor, err = s.cfg.People.Admit(v.Context(), id)
		if !id.ProvedAt.IsZero() {
			actor.SignedInAt = &id.ProvedAt
		}
	}
	if err != nil {
		return s.refuse(w, v, refusal{name: id.Name, next: next, at: failedRedirect, err: err})
	}
	return s.open(w, v, actor, next)
}

// signOut ends the session. Where the person is still signed in at the method
// itself, the page says how to end that too.
func (s *site) signOut(w http.ResponseWriter, v *visit) error {
	actor, err := s.cfg.Auth.Authenticate(v.Context(), v.Request)
	if err != nil {
		return err
	}
	rec := s.record(v, audit.SignOut)
	rec.Actor = actor.Name
	if err := s.cfg.Sessions.Close(v.Context(), w, v.Request, rec); err != nil {
		return err
	}
	for _, r := range s.cfg.Redirects {
		if r.Method() != actor.Method {
			continue
		}
		if out := r.Logout(actor.Session); out != "" {
			page := s.signInPage(v, restart.Actor{}, "/", false)
			page.Out = out
			return s.show(w, v, http.StatusOK, pageSignIn, page)
		}
	}
	http.Redirect(w, v.Request, "/sign-in", http.StatusSeeOther)
	return nil
}

// record starts an audit record of something that a browser asked for.
func (s *site) record(v *visit, action audit.Action) audit.Record {
	return audit.Record{Time: s.cfg.Now().UTC(), Origin: strings.TrimSpace("web " + addressOf(v.Request)), Action: action}
}

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// safeNext gives the path to go to after sign-in: a path of this server, with
// its query, or "/" for whatever else was asked. A browser reads "//host" and
// "/\host" as another server, and leaves out tabs and line ends.
func safeNext(next string) string {
	if u, err := url.Parse(next); err != nil || !ownPath(next) || strings.HasPrefix(u.Path, "/sign-in") {
		return "/"
	}
	return next
}

// ownPath tells whether a browser that is sent there stays on this server.
func ownPath(next string) bool {
	u, err := url.Parse(next)
	return err == nil && strings.HasPrefix(next, "/") && !strings.HasPrefix(next, "//") && !strings.ContainsAny(next, "\\") &&
		restart.Escape(next) == next && u.Scheme == "" && u.Host == "" && !strings.HasPrefix(u.Path, "//")
}

// signInAgain sends somebody to prove anew who he is, and then back to next.
func signInAgain(w http.ResponseWriter, v *visit, next string) {
	http.Redirect(w, v.Request, "/sign-in?again=1&next="+url.QueryEscape(next), http.StatusSeeOther)
}
