package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// usersPerPage is how many people one page has.
const usersPerPage = 50

type (
	usersPage struct {
		adminPage
		Query    string
		Users    []userLine
		More     string // address of the next page; "" = this is the last
		Roles    []string
		NewName  string // who was made, with
		Password string // shown this once
	}
	userLine struct {
		Name, Display, Mail, Method, Roles string
		Disabled                           bool
		Since                              moment
	}
	userPage struct {
		adminPage
		User            userLine
		Local, Oneself  bool
		Given           []roleChoice
		ByRules, Groups string
		GroupsAt        *moment
		PasswordAt      *moment
		DisabledAt      *moment
		Sessions        int
		Chat            chatView
		Password        string   // made just now, and shown this once
		Elsewhere       []string // forms that the page has not, for oneself
	}
	roleChoice struct {
		Name, What string
		Given      bool
	}
)

func (s *site) adminUsers(w http.ResponseWriter, v *visit) error {
	page, err := s.usersPage(v)
	if err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageAdminUsers, page)
}

func (s *site) usersPage(v *visit) (usersPage, error) {
	query := strings.TrimSpace(v.URL.Query().Get("q"))
	if r := []rune(query); len(r) > 64 {
		query = string(r[:64])
	}
	users, next, err := s.cfg.Control.Users(v.Context(), v.actor, query, v.URL.Query().Get("after"), usersPerPage)
	if err != nil {
		return usersPage{}, err
	}
	page := usersPage{adminPage: s.adminLayout(v, say(v.lang, "adminusers.title")), Query: restart.Escape(query), Roles: roleNames(restart.Roles())}
	for _, u := range users {
		page.Users = append(page.Users, s.userLine(v, u))
	}
	if next != "" {
		page.More = "/admin/users?" + url.Values{"q": {query}, "after": {next}}.Encode()
	}
	return page, nil
}

func (s *site) userLine(v *visit, u wire.User) userLine {
	return userLine{
		Name: u.Name, Display: u.Display, Mail: u.Mail, Method: methodName(v.lang, u.Method), Roles: strings.Join(roleNames(u.Roles), ", "),
		Disabled: u.DisabledAt != nil, Since: momentOf(u.CreatedAt, s.cfg.Now()),
	}
}

func (s *site) createUser(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	req := wire.UserRequest{Name: strings.TrimSpace(v.PostForm.Get("name")), Roles: rolesTyped(v), Password: v.PostForm.Get("password")}
	made, err := s.cfg.Control.CreateUser(v.Context(), v.actor, req)
	if err != nil {
		again, err := refill(v, "create", err)
		if err != nil {
			return err
		}
		page, err := s.usersPage(v)
		if err != nil {
			return err
		}
		page.Form = again
		return s.show(w, v, http.StatusUnprocessableEntity, pageAdminUsers, page)
	}
	page, err := s.usersPage(v)
	if err != nil {
		return err
	}
	page.NewName, page.Password = made.Name, made.Password
	return s.show(w, v, http.StatusOK, pageAdminUsers, page)
}

func (s *site) adminUser(w http.ResponseWriter, v *visit) error {
	page, err := s.userPage(v)
	if err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageAdminUser, page)
}

func (s *site) userPage(v *visit) (userPage, error) {
	name, now := v.PathValue("name"), s.cfg.Now()
	u, byRules, err := s.cfg.Control.User(v.Context(), v.actor, name)
	if err != nil {
		return userPage{}, err
	}
	sessions, err := s.cfg.Control.SessionsOf(v.Context(), v.actor, name, nil)
	if err != nil {
		return userPage{}, err
	}
	page := userPage{
		adminPage: s.adminLayout(v, say(v.lang, "adminuser.title", u.Name)), User: s.userLine(v, u), Local: u.Method == authn.MethodLocal, Oneself: u.Name == v.actor.Name,
		ByRules: strings.Join(roleNames(byRules), ", "), Groups: restart.Escape(strings.Join(u.Groups, ", ")), GroupsAt: maybeMoment(u.GroupsAt, now),
		PasswordAt: maybeMoment(u.PasswordAt, now), DisabledAt: maybeMoment(u.DisabledAt, now), Sessions: len(sessions),
	}
	if page.Chat, err = s.chatsOf(v, name); err != nil {
		return page, err
	}
	page.Chat.Action = addressOfUser(name) + "/unlink-chat"
	if page.Oneself {
		page.Elsewhere = []string{"disable", "enable", "password", "sessions"}
	}
	for _, r := range restart.Roles() {
		page.Given = append(page.Given, roleChoice{Name: string(r), What: say(v.lang, "role."+strings.ReplaceAll(string(r), "-", "_")), Given: slices.Contains(u.Roles, r)})
	}
	return page, nil
}

// userRefused shows a person again with what is wrong with the form that was sent.
func (s *site) userRefused(w http.ResponseWriter, v *visit, name string, err error) error {
	again, err := refill(v, name, err)
	if err != nil {
		return err
	}
	page, err := s.userPage(v)
	if err != nil {
		return err
	}
	page.Form = again
	return s.show(w, v, http.StatusUnprocessableEntity, pageAdminUser, page)
}

func (s *site) setRoles(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	name, roles := v.PathValue("name"), rolesTyped(v)
	if _, err := s.cfg.Control.ChangeUser(v.Context(), v.actor, name, wire.UserChange{Roles: &roles}); err != nil {
		return s.userRefused(w, v, "roles", err)
	}
	return done(w, v, addressOfUser(name), "roles")
}

func (s *site) setDisabled(disabled bool) func(http.ResponseWriter, *visit) error {
	return func(w http.ResponseWriter, v *visit) error {
		if err := s.form(w, v); err != nil {
			return err
		}
		name, form, word := v.PathValue("name"), "enable", "enabled"
		if disabled {
			form, word = "disable", "disabled"
		}
		if _, err := s.cfg.Control.ChangeUser(v.Context(), v.actor, name, wire.UserChange{Disabled: &disabled}); err != nil {
			return s.userRefused(w, v, form, err)
		}
		return done(w, v, addressOfUser(name), word)
	}
}

// resetPassword makes a new password for somebody else: one's own is changed
// with the old one, on the profile.
func (s *site) resetPassword(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	name := v.PathValue("name")
	made, err := s.cfg.Control.SetPassword(v.Context(), v.actor, name, wire.PasswordRequest{New: v.PostForm.Get("password")})
	if err != nil {
		return s.userRefused(w, v, "password", err)
	}
	if made.Password == "" {
		return done(w, v, addressOfUser(name), "password")
	}
	page, err := s.userPage(v)
	if err != nil {
		return err
	}
	page.Password = made.Password
	return s.show(w, v, http.StatusOK, pageAdminUser, page)
}

func (s *site) endSessionsOf(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	name := v.PathValue("name")
	if _, err := s.cfg.Control.RevokeSessions(v.Context(), v.actor, name); err != nil {
		return s.userRefused(w, v, "sessions", err)
	}
	return done(w, v, addressOfUser(name), "sessions")
}

// addressOfUser is where a person is administered.
func addressOfUser(name string) string { return "/admin/users/" + url.PathEscape(name) }
