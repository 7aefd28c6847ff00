package authn

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
)

// The methods of signing in, as sessions, records and lists name them.
const (
	MethodLocal = "local"
	MethodLDAP  = "ldap"
	MethodOIDC  = "oidc"
	MethodProxy = "proxy"
	MethodToken = "token"
	MethodKey   = "key" // of SSH
)

// Identity is who a way of signing in says somebody is.
type Identity struct {
	Name          string   // user name, see restart.CheckPerson; lower case for LDAP and OIDC
	Method        string   // "local" | "ldap" | "oidc" | "proxy" | "token"
	Subject       string   // the method's own stable id of the person; "" = the name
	Groups        []string // as the method says them
	Mail, Display string
	ProvedAt      time.Time // when the person proved it, where that was not just now; zero = just now
}

// Password is a method by which a person proves who he is with name and password.
type Password interface {
	Method() string
	// SignIn gives the identity: CodeUnauthorised for a wrong name or password,
	// after the same work for an unknown name as for a known one;
	// CodeUnavailable where it could not be found out.
	SignIn(ctx context.Context, name, password string) (Identity, error)
}

// Redirect is a method that sends the browser elsewhere and gets it back (OIDC).
type Redirect interface {
	Method() string
	// Begin redirects, with a state that is bound to the browser by a
	// short-lived cookie. next has been checked: it is a path of this server.
	// Where r's query has again=1, the person is to prove himself anew, even if
	// the other side still knows him.
	Begin(w http.ResponseWriter, r *http.Request, next string) error
	// Finish gives the identity, and next as Begin got it: CodeUnauthorised for
	// an answer that was not asked for, or is not good.
	Finish(w http.ResponseWriter, r *http.Request) (Identity, string, error)
	// Logout gives the URL to send the browser to after sign-out; "" = none.
	// session is the id of ours that has ended.
	Logout(session string) string
}

// Refresher asks again who is in which groups (LDAP): before hosts are touched.
type Refresher interface {
	Method() string
	// Refresh gives the identity as it is now: CodeNotFound where the person is
	// gone or disabled, CodeUnavailable where it could not be found out.
	Refresh(ctx context.Context, name string) (Identity, error)
}

const (
	maxGroups    = 500 // of one person; those past it are as if he were not in them
	maxGroupName = 256 // bytes
	maxText      = 256 // bytes of mail, display name and subject
)

// checked gives the identity with everything in it bounded and printable. A
// name that is none of ours is CodeUnauthorised.
func (id Identity) checked() (Identity, error) {
	if err := restart.CheckPerson(id.Name); err != nil {
		return id, restart.Errorf(restart.CodeUnauthorised, "the name %s can't be a user's here", restart.Quote(id.Name)).
			WithHint("a user name has 1 to 64 of a-z 0-9 _ . @ - and begins with a letter or _")
	}
	if len(id.Subject) > maxText {
		return id, restart.Errorf(restart.CodeUnauthorised, "the subject of %s has more than %d bytes", id.Name, maxText)
	}
	groups := []string{}
	for _, g := range id.Groups {
		if printable(g, maxGroupName) && g != "" && len(groups) < maxGroups {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	id.Groups = slices.Compact(groups)
	for _, text := range []*string{&id.Mail, &id.Display} {
		if !printable(*text, maxText) {
			*text = ""
		}
	}
	return id, nil
}

// printable tells whether text from outside may be shown as it is.
func printable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && restart.Escape(s) == s && strings.TrimSpace(s) == s
}
