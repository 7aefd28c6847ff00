package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// sessionLine is one session of the profile.
type sessionLine struct {
	ID, Method, Address, Browser string
	Current                      bool
	Since, Seen                  moment
}

// tokenLine is one token of the profile.
type tokenLine struct {
	ID, Name, Roles, Scope, State string
	Good                          bool
	Used                          *moment // nil = never
	Ends                          *moment // nil = never
}

// tokenLives are what the form offers, in days.
func tokenLives() []int { return []int{7, 30, 90, 365} }

func (s *site) profile(w http.ResponseWriter, v *visit) error {
	page, err := s.profilePage(v)
	if err != nil {
		return err
	}
	page.PasswordSet = v.URL.Query().Get("done") == "password"
	return s.show(w, v, http.StatusOK, pageProfile, page)
}

func (s *site) profilePage(v *visit) (profilePage, error) {
	now := s.cfg.Now()
	a := v.actor
	page := profilePage{
		layout: s.layout(v, say(v.lang, "profile.title")), Name: a.Name, Method: methodName(v.lang, a.Method), Teams: restart.Escape(strings.Join(a.Teams, ", ")),
		SignedIn: maybeMoment(a.SignedInAt, now), Until: maybeMoment(a.ExpiresAt, now), Lives: tokenLives(), Look: displayOf(v, "/profile"),
	}
	for _, r := range a.Roles {
		page.Roles = append(page.Roles, string(r))
	}
	user, ok, err := s.cfg.Control.Self(v.Context(), a)
	if err != nil {
		return page, err
	}
	page.Local = ok && user.Method == authn.MethodLocal
	page.Display, page.Mail = user.Display, user.Mail
	sessions, err := s.cfg.Control.Sessions(v.Context(), a, false)
	if err != nil {
		return page, err
	}
	for _, x := range sessions {
		page.Sessions = append(page.Sessions, sessionLine{
			ID: x.ID, Method: methodName(v.lang, x.Method), Address: x.Address, Browser: browserName(x.UserAgent), Current: x.Current,
			Since: momentOf(x.CreatedAt, now), Seen: momentOf(x.LastSeenAt, now),
		})
	}
	if page.Calendar, err = s.calendar(v); err != nil {
		return page, err
	}
	if page.Chat, err = s.chatsOf(v, ""); err != nil {
		return page, err
	}
	tokens, err := s.cfg.Control.Tokens(v.Context(), a)
	if err != nil {
		return page, err
	}
	for _, t := range slices.Backward(tokens) {
		if t.Owner == a.Name && len(page.Tokens) < wire.MaxPage {
			page.Tokens = append(page.Tokens, tokenLineOf(v.lang, t, now))
		}
	}
	page.Keys, err = s.keysOf(v, now)
	return page, err
}

func tokenLineOf(l language, t wire.Token, now time.Time) tokenLine {
	line := tokenLine{ID: t.ID, Name: restart.Escape(t.Name), Scope: restart.Escape(t.Scope.String()), Used: maybeMoment(t.LastUsedAt, now), Ends: maybeMoment(t.ExpiresAt, now)}
	var roles []string
	for _, r := range t.Roles {
		roles = append(roles, string(r))
	}
	line.Roles = strings.Join(roles, ", ")
	switch {
	case t.RevokedAt != nil:
		line.State = say(l, "token.revoked")
	case t.ExpiresAt != nil && !now.Before(*t.ExpiresAt):
		line.State = say(l, "token.over")
	default:
		line.Good = true
	}
	return line
}

// form reads what was sent from the profile.
func (s *site) form(w http.ResponseWriter, v *visit) error {
	return readForm(w, v, maxForm)
}

func (s *site) setPassword(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	_, err := s.cfg.Control.SetPassword(v.Context(), v.actor, "", wire.PasswordRequest{Old: v.PostForm.Get("old"), New: v.PostForm.Get("new")})
	if err == nil {
		http.Redirect(w, v.Request, "/profile?done=password", http.StatusSeeOther)
		return nil
	}
	if restart.FieldOf(err) == control.FieldOld {
		return s.showProfile(w, v, refuse(v.PostForm, "password", control.FieldOld, say(v.lang, "profile.oldwrong")))
	}
	return s.profileRefused(w, v, "password", err)
}

func (s *site) createToken(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	days, err := strconv.Atoi(v.PostForm.Get("days"))
	if err != nil || !slices.Contains(tokenLives(), days) {
		return restart.Errorf(restart.CodeInvalid, "that is no life of a token")
	}
	req := wire.TokenRequest{Name: v.PostForm.Get("name"), Life: restart.Duration(time.Duration(days) * 24 * time.Hour)}
	for _, r := range v.PostForm["roles"] {
		req.Roles = append(req.Roles, restart.Role(r))
	}
	if len(req.Roles) == 0 {
		return s.showProfile(w, v, refuse(v.PostForm, "token", "roles", say(v.lang, "token.norole")))
	}
	if services, environments := wordsTyped(v, "services"), wordsTyped(v, "environments"); len(services)+len(environments) > 0 {
		req.Scope = &restart.Scope{Services: services, Environments: environments}
	}
	_, secret, err := s.cfg.Control.CreateToken(v.Context(), v.actor, req)
	if err != nil {
		return s.profileRefused(w, v, "token", err)
	}
	page, err := s.profilePage(v)
	if err != nil {
		return err
	}
	page.Secret = secret
	return s.show(w, v, http.StatusOK, pageProfile, page)
}

// profileRefused shows the profile again with what is wrong with the form.
func (s *site) profileRefused(w http.ResponseWriter, v *visit, name string, err error) error {
	again, err := refill(v, name, err)
	if err != nil {
		return err
	}
	return s.showProfile(w, v, again)
}

// showProfile shows the profile again with a form that was refused.
func (s *site) showProfile(w http.ResponseWriter, v *visit, sent filled) error {
	page, err := s.profilePage(v)
	if err != nil {
		return err
	}
	page.Sent = sent
	return s.show(w, v, http.StatusUnprocessableEntity, pageProfile, page)
}

func (s *site) revokeToken(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.RevokeToken(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/profile", http.StatusSeeOther)
	return nil
}

func (s *site) revokeSession(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.RevokeSession(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/profile", http.StatusSeeOther)
	return nil
}
