package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

// asProblem gives the error for people that err is.
func asProblem(err error) (*restart.Error, bool) {
	e, ok := errors.AsType[*restart.Error](err)
	return e, ok && e.Code != restart.CodeInternal
}

// loginForm asks for the code that a command line shows.
func (s *site) loginForm(w http.ResponseWriter, v *visit) error {
	if code := v.URL.Query().Get("code"); v.URL.Query().Has("code") {
		if tidy := authn.TidyCode(code); tidy != "" {
			http.Redirect(w, v.Request, "/login/"+url.PathEscape(tidy), http.StatusSeeOther)
			return nil
		}
		return s.noLogin(w, v, code)
	}
	return s.show(w, v, http.StatusOK, pageLogin, loginPage{layout: s.layout(v, say(v.lang, "login.title"))})
}

func (s *site) noLogin(w http.ResponseWriter, v *visit, code string) error {
	sent := refuse(url.Values{"code": {code}}, "find", "code", say(v.lang, "login.failed"))
	return s.show(w, v, http.StatusNotFound, pageLogin, loginPage{layout: s.layout(v, say(v.lang, "login.title")), Sent: sent})
}

// showLogin says who asks to be signed in, from where, and what he will get.
func (s *site) showLogin(w http.ResponseWriter, v *visit) error {
	open, err := s.cfg.Control.Login(v.Context(), v.actor, v.PathValue("code"))
	if restart.CodeOf(err) == restart.CodeNotFound {
		return s.noLogin(w, v, v.PathValue("code"))
	}
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := loginPage{
		layout: s.layout(v, say(v.lang, "login.title")), Code: open.Code, Client: restart.Escape(open.Client), Address: open.Address,
		At: momentOf(open.CreatedAt, now), Ends: momentOf(open.TokenEnds, now), Name: v.actor.Name,
	}
	for _, r := range open.Roles {
		page.Roles = append(page.Roles, string(r))
	}
	return s.show(w, v, http.StatusOK, pageLogin, page)
}

// answerLogin makes the handler that confirms a login, or refuses it.
func (s *site) answerLogin(confirm bool) func(http.ResponseWriter, *visit) error {
	return func(w http.ResponseWriter, v *visit) error {
		if err := s.form(w, v); err != nil {
			return err
		}
		code := authn.TidyCode(v.PostForm.Get("code"))
		err := s.cfg.Control.AnswerLogin(v.Context(), v.actor, code, confirm)
		switch restart.CodeOf(err) {
		case "":
		case restart.CodeSignInAgain:
			signInAgain(w, v, "/login/"+code)
			return nil
		case restart.CodeNotFound:
			return s.noLogin(w, v, code)
		default:
			return err
		}
		page := loginPage{layout: s.layout(v, say(v.lang, "login.title")), Confirmed: confirm, Refused: !confirm}
		return s.show(w, v, http.StatusOK, pageLogin, page)
	}
}
