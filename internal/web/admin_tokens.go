package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// tokensPerPage is how many tokens one page has.
const tokensPerPage = 100

type (
	tokensPage struct {
		adminPage
		Owner   string // whose tokens are shown; "" = everybody's
		All     bool   // those that are over, too
		Tokens  []ownedToken
		More    string
		Lives   []int
		Roles   []string
		Actions []string
		NewName string // that was made, with
		Secret  string // shown this once
	}
	ownedToken struct {
		tokenLine
		Owner   string
		Created moment
	}
	sessionsPage struct {
		adminPage
		Owner    string
		Sessions []ownedSession
		More     string // address of the next page; "" = this is the last
	}
	ownedSession struct {
		sessionLine
		Owner string
		Ends  moment
	}
)

func (s *site) adminTokens(w http.ResponseWriter, v *visit) error {
	page, err := s.tokensPage(v)
	if err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageAdminTokens, page)
}

func (s *site) tokensPage(v *visit) (tokensPage, error) {
	if err := s.cfg.Control.MustAdminister(v.actor); err != nil {
		return tokensPage{}, err
	}
	list, err := s.cfg.Control.Tokens(v.Context(), v.actor)
	if err != nil {
		return tokensPage{}, err
	}
	query := v.URL.Query()
	page := tokensPage{
		adminPage: s.adminLayout(v, say(v.lang, "admintokens.title")), Owner: strings.TrimSpace(query.Get("owner")), All: query.Get("all") == "1",
		Lives: tokenLives(), Roles: roleNames(restart.Roles()), Actions: []string{"restart", "dump", "control"},
	}
	now, from, found := s.cfg.Now(), number(v, "from"), 0
	for _, t := range slices.Backward(list) {
		line := tokenLineOf(v.lang, t, now)
		if page.Owner != "" && t.Owner != page.Owner || !page.All && !line.Good {
			continue
		}
		if found++; found > from && len(page.Tokens) < tokensPerPage {
			page.Tokens = append(page.Tokens, ownedToken{line, restart.Escape(t.Owner), momentOf(t.CreatedAt, now)})
		}
	}
	if end := from + len(page.Tokens); end < found && len(page.Tokens) > 0 {
		more := url.Values{"owner": {page.Owner}, "from": {strconv.Itoa(end)}}
		if page.All {
			more.Set("all", "1")
		}
		page.More = "/admin/tokens?" + more.Encode()
	}
	page.Owner = restart.Escape(page.Owner)
	return page, nil
}

// tokenTyped reads the form of a new token.
func tokenTyped(v *visit) (wire.TokenRequest, error) {
	req := wire.TokenRequest{Name: v.PostForm.Get("name"), Owner: strings.TrimSpace(v.PostForm.Get("owner")), Roles: rolesTyped(v)}
	days, err := strconv.Atoi(v.PostForm.Get("life"))
	if err != nil || !slices.Contains(tokenLives(), days) {
		return req, restart.Errorf(restart.CodeInvalid, "that is no life of a token")
	}
	req.Life = restart.Duration(time.Duration(days) * 24 * time.Hour)
	services, environments, actions := wordsTyped(v, "services"), wordsTyped(v, "environments"), v.PostForm["actions"]
	if len(services)+len(environments)+len(actions) > 0 {
		req.Scope = &restart.Scope{Services: services, Environments: environments, Actions: actions}
	}
	return req, nil
}

func (s *site) createTokenFor(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.MustAdministerTo(v.Context(), v.actor, audit.TokenCreated); err != nil {
		return err
	}
	req, err := tokenTyped(v)
	if err != nil {
		return err
	}
	var again filled
	switch {
	case req.Owner == "":
		again = refuse(v.PostForm, "create", "owner", say(v.lang, "admintokens.noowner"))
	case len(req.Roles) == 0:
		again = refuse(v.PostForm, "create", "roles", say(v.lang, "token.norole"))
	}
	secret := ""
	if again.Name == "" {
		if _, secret, err = s.cfg.Control.CreateToken(v.Context(), v.actor, req); err != nil {
			if again, err = refill(v, "create", err); err != nil {
				return err
			}
		}
	}
	page, err := s.tokensPage(v)
	if err != nil {
		return err
	}
	if again.Name != "" {
		page.Form = again
		return s.show(w, v, http.StatusUnprocessableEntity, pageAdminTokens, page)
	}
	page.NewName, page.Secret = restart.Escape(req.Name), secret
	return s.show(w, v, http.StatusOK, pageAdminTokens, page)
}

func (s *site) revokeTokenOf(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.MustAdministerTo(v.Context(), v.actor, audit.TokenRevoked); err != nil {
		return err
	}
	if err := s.cfg.Control.RevokeToken(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	return done(w, v, "/admin/tokens", "token")
}

func (s *site) adminSessions(w http.ResponseWriter, v *visit) error {
	owner := strings.TrimSpace(v.URL.Query().Get("of"))
	if restart.CheckPerson(owner) != nil { // nobody's name: all are shown
		owner = ""
	}
	list, err := s.cfg.Control.SessionsOf(v.Context(), v.actor, owner, sessionBefore(v))
	if err != nil {
		return err
	}
	page := sessionsPage{adminPage: s.adminLayout(v, say(v.lang, "adminsessions.title")), Owner: owner}
	if n := len(list); n >= wire.MaxPage {
		last := list[n-1]
		page.More = withQuery("/admin/sessions", url.Values{"of": {owner}, "since": {strconv.FormatInt(last.CreatedAt.UnixMicro(), 10)}, "before": {last.ID}})
	}
	now := s.cfg.Now()
	for _, x := range list {
		page.Sessions = append(page.Sessions, ownedSession{sessionLine{
			ID: x.ID, Method: methodName(v.lang, x.Method), Address: x.Address, Browser: browserName(x.UserAgent), Current: x.Current,
			Since: momentOf(x.CreatedAt, now), Seen: momentOf(x.LastSeenAt, now),
		}, x.Owner, momentOf(x.ExpiresAt, now)})
	}
	return s.show(w, v, http.StatusOK, pageAdminSessions, page)
}

// sessionBefore gives the last session of the page before; nil = this is the first.
func sessionBefore(v *visit) *wire.Session {
	since, err := strconv.ParseInt(v.URL.Query().Get("since"), 10, 64)
	id := v.URL.Query().Get("before")
	if err != nil || since <= 0 || restart.CheckID(id) != nil {
		return nil
	}
	return &wire.Session{ID: id, CreatedAt: time.UnixMicro(since)}
}

func (s *site) endSessionOf(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.MustAdministerTo(v.Context(), v.actor, audit.SessionRevoked); err != nil {
		return err
	}
	if err := s.cfg.Control.RevokeSession(v.Context(), v.actor, v.PostForm.Get("id")); err != nil {
		return err
	}
	return done(w, v, "/admin/sessions", "session")
}

// endAllSessionsOf ends those of one person, who may be no user: programs have
// tokens, and tokens open sessions.
func (s *site) endAllSessionsOf(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if _, err := s.cfg.Control.RevokeSessions(v.Context(), v.actor, v.PostForm.Get("owner")); err != nil {
		return err
	}
	return done(w, v, "/admin/sessions", "sessions")
}
