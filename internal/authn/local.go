package authn

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Local is the method of users of this server itself, with a password.
type Local struct {
	Store interface {
		User(ctx context.Context, name string) (store.User, error)
	}
	Hasher *Hasher
}

// Method implements Password.
func (Local) Method() string { return MethodLocal }

// SignIn implements Password. Whoever is asked for, known, unknown, disabled
// or of another method, one hash is computed.
func (l Local) SignIn(ctx context.Context, name, password string) (Identity, error) {
	var user store.User
	if restart.CheckUser(name) == nil {
		found, err := l.Store.User(ctx, name)
		if err != nil && restart.CodeOf(err) != restart.CodeNotFound {
			return Identity{}, err
		}
		user = found
	}
	if user.Method != MethodLocal || user.Disabled() {
		user.Password = ""
	}
	ok, err := l.Hasher.Matches(ctx, user.Password, password)
	if err != nil {
		return Identity{}, err
	}
	if !ok {
		return Identity{}, errSignIn
	}
	return Identity{Name: user.Name, Method: MethodLocal}, nil
}

// errSignIn says no more than that: not which of the two was wrong.
var errSignIn = restart.Errorf(restart.CodeUnauthorised, "the user name and the password do not go together")
