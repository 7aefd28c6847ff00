package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// UserRequest asks for a local user.
type UserRequest struct {
	Name     string         `json:"name" doc:"user name" maxLength:"32"`
	Roles    []restart.Role `json:"roles,omitempty" doc:"beside those that the rules give"`
	Password string         `json:"password,omitempty" doc:"empty: one is made, and shown once" maxLength:"256"`
}

// User is somebody who may sign in.
type User struct {
	Name       string         `json:"name"`
	Method     string         `json:"method" doc:"by which he signs in: local, ldap, oidc or proxy"`
	Display    string         `json:"display,omitempty"`
	Mail       string         `json:"mail,omitempty"`
	Roles      []restart.Role `json:"roles" nullable:"false" doc:"that an admin gave; the rules may give more"`
	Groups     []string       `json:"groups,omitempty" doc:"as his method last told them"`
	GroupsAt   *time.Time     `json:"groups_at"`
	PasswordAt *time.Time     `json:"password_at" doc:"when his password was set"`
	CreatedAt  time.Time      `json:"created_at"`
	DisabledAt *time.Time     `json:"disabled_at"`
}

// NewUser is a user just made, with the password that was made for him.
type NewUser struct {
	User
	Password string `json:"password,omitempty" doc:"shown once; empty where one was given"`
}

// UserChange says what is to become of a user; what is left out stays.
type UserChange struct {
	Roles    *[]restart.Role `json:"roles,omitempty"`
	Method   string          `json:"method,omitempty" enum:"local,ldap,oidc,proxy" doc:"by which he signs in from now on"`
	Disabled *bool           `json:"disabled,omitempty"`
}

// PasswordRequest asks for a new password.
type PasswordRequest struct {
	Old string `json:"old,omitempty" doc:"for one's own" maxLength:"256"`
	New string `json:"new,omitempty" doc:"empty, by an admin: one is made, and shown once" maxLength:"256"`
}

// NewPassword is what was made where none was given.
type NewPassword struct {
	Password string `json:"password,omitempty"`
}

// Session is somebody signed in with a browser.
type Session struct {
	ID         string    `json:"id"`
	Owner      string    `json:"owner"`
	Method     string    `json:"method"`
	Address    string    `json:"address"`
	UserAgent  string    `json:"user_agent"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	Current    bool      `json:"current,omitempty" doc:"the one that asks"`
}

// LoginRequest asks that a command line be signed in by a page.
type LoginRequest struct {
	Client string `json:"client" doc:"what asks: a program and its host" maxLength:"128"`
}

// LoginStarted says where a person is to go, and how to ask what came of it.
type LoginStarted struct {
	URL       string           `json:"url" doc:"the page to open; it has the code in it"`
	Code      string           `json:"code" doc:"to be compared, or typed at the URL of the server and /login"`
	Secret    string           `json:"secret" doc:"for the claim"`
	ExpiresAt time.Time        `json:"expires_at"`
	Interval  restart.Duration `json:"interval" doc:"how often to ask at most"`
}

// LoginClaim asks what came of a login.
type LoginClaim struct {
	Secret string `json:"secret" maxLength:"64"`
}

// LoginAnswer is what came of it: nothing yet, or a token.
type LoginAnswer struct {
	Done  bool      `json:"done" doc:"false: nobody has answered yet"`
	Token *NewToken `json:"token,omitempty"`
}
