package authn

import (
	"context"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// Entrance is where people come in with name and password, whichever method
// knows them.
type Entrance struct {
	People    People
	Passwords []Password // in the order in which a name that nobody knows yet is tried
	Throttle  *Throttle
}

// SignIn takes in whoever proves who he is. CodeUnauthorised for a wrong name
// or password (and, with a cause of its own, for one who may not);
// CodeUnavailable where it could not be found out; CodeTooMany where too many
// wait already.
func (e *Entrance) SignIn(ctx context.Context, name, password, address string) (restart.Actor, error) {
	if err := e.Throttle.Wait(ctx, name, address); err != nil {
		return restart.Actor{}, err
	}
	actor, err := e.try(ctx, name, password)
	switch restart.CodeOf(err) {
	case "":
		e.Throttle.Succeeded(name, address)
	case restart.CodeUnauthorised:
		e.Throttle.Failed(name, address)
	}
	return actor, err
}

// try asks the method that a name belongs to. One that belongs to nobody yet
// is tried with each, so that a password is shown to a directory only where it
// can be the directory's.
func (e *Entrance) try(ctx context.Context, name, password string) (restart.Actor, error) {
	methods := e.Passwords
	if restart.CheckUser(name) == nil {
		user, err := e.People.Store.User(ctx, name)
		if err != nil && restart.CodeOf(err) != restart.CodeNotFound {
			return restart.Actor{}, err
		}
		if err == nil && user.Method != MethodLocal { // the local one is asked in any case: it costs the same for everybody
			methods = slices.DeleteFunc(slices.Clone(methods), func(m Password) bool { return m.Method() != MethodLocal && m.Method() != user.Method })
		} else if err == nil {
			methods = slices.DeleteFunc(slices.Clone(methods), func(m Password) bool { return m.Method() != MethodLocal })
		}
	}
	last := error(errSignIn)
	for _, m := range methods {
		id, err := m.SignIn(ctx, name, password)
		if err == nil {
			return e.People.Admit(ctx, id)
		}
		if restart.CodeOf(err) != restart.CodeUnauthorised {
			last = err
		}
	}
	return restart.Actor{}, last
}
