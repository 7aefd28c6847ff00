package web

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// maxForm bounds a form's body, in bytes.
const maxForm = 16 << 10

func (s *site) signInForm(w http.ResponseWriter, v *visit) error {
	next := safeNext(v.URL.Query().Get("next"))
	if actor, err := s.cfg.Auth.Authenticate(v.Context(), v.Request); err == nil && actor.Name != "" {
		http.Redirect(w, v.Request, next, http.StatusSeeOther)
		return nil
	}
	return s.show(w, v, http.StatusOK, pageSignIn, signInPage{layout: s.layout(v, say(v.lang, "signin.title")), Next: next})
}

// signIn opens a session for the owner of a token who also says who he is.
// Whatever is wrong, the answer is the same; the audit trail has the why.
func (s *site) signIn(w http.ResponseWriter, v *visit) error {
	v.Body = http.MaxBytesReader(w, v.Body, maxForm)
	if err := v.ParseForm(); err != nil {
		return restart.Errorf(restart.CodeInvalid, "the form can't be read").Because(err)
	}
	name, next := strings.TrimSpace(v.PostForm.Get("name")), safeNext(v.PostForm.Get("next"))
	actor, err := s.cfg.Tokens.Check(v.Context(), strings.TrimSpace(v.PostForm.Get("secret")))
	switch {
	case err != nil && restart.CodeOf(err) != restart.CodeUnauthorised:
		return err
	case err != nil:
		return s.refuse(w, v, name, next, "the token is not valid")
	case actor.Name != name:
		return s.refuse(w, v, name, next, "the token belongs to somebody else")
	}
	rec := s.record(v, audit.SignIn)
	rec.Actor = actor.Name
	if err := s.cfg.Sessions.Open(v.Context(), w, v.Request, actor, rec); err != nil {
		return err
	}
	http.Redirect(w, v.Request, next, http.StatusSeeOther)
	return nil
}

// refuse records a sign-in that failed and shows the form again. A name that
// is no name is not recorded: somebody may have put his secret there.
func (s *site) refuse(w http.ResponseWriter, v *visit, name, next, why string) error {
	rec := s.record(v, audit.SignInRefused)
	rec.Actor, rec.Outcome, rec.Detail = "unknown", string(restart.CodeUnauthorised), why
	if restart.CheckUser(name) == nil {
		rec.Actor = name
	} else {
		name = ""
	}
	if err := s.cfg.Record(v.Context(), rec); err != nil {
		return err
	}
	page := signInPage{layout: s.layout(v, say(v.lang, "signin.title")), Name: name, Next: next, Failed: true}
	return s.show(w, v, http.StatusUnauthorized, pageSignIn, page)
}

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
	http.Redirect(w, v.Request, "/sign-in", http.StatusSeeOther)
	return nil
}

// record starts an audit record of something that a browser asked for.
func (s *site) record(v *visit, action audit.Action) audit.Record {
	origin := "web"
	if host, _, err := net.SplitHostPort(v.RemoteAddr); err == nil {
		origin += " " + host
	}
	return audit.Record{Time: s.cfg.Now().UTC(), Origin: origin, Action: action}
}

// safeNext gives the path to go to after sign-in: a path of this server, with
// its query, or "/" for whatever else was asked. A browser reads "//host" and
// "/\host" as another server, and leaves out tabs and line ends.
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\") ||
		restart.Escape(next) != next || u.Scheme != "" || u.Host != "" || strings.HasPrefix(u.Path, "//") || strings.HasPrefix(u.Path, "/sign-in") {
		return "/"
	}
	return next
}
