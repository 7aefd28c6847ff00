package server

import (
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

// door is by which methods people come in, as sign_in of the configuration says.
type door struct {
	people    authn.People
	hasher    *authn.Hasher
	passwords []authn.Password
	redirects []authn.Redirect
	proxy     *authn.Proxy
}

// newDoor makes the methods. Another is one more line here.
func (s *Server) newDoor() (d door, err error) {
	d = door{people: authn.People{Store: s.store, RolesFor: s.rolesFor, Away: &authn.Away{}}, hasher: authn.NewHasher()}
	if s.cfg.SignIn.Local {
		d.passwords = append(d.passwords, authn.Local{Store: s.store, Hasher: d.hasher})
	}
	d.proxy, err = authn.NewProxy(s.cfg.SignIn.Proxy, d.people)
	return d, err
}

func (d *door) tokens(s *Server) authn.Tokens {
	return authn.Tokens{Store: s.store, People: &d.people}
}

func (d *door) sessions(s *Server) authn.Sessions {
	return authn.Sessions{Store: s.store, Tokens: s.store, People: &d.people}
}

// entrance is for people with passwords.
func (d *door) entrance() *authn.Entrance {
	return &authn.Entrance{People: d.people, Passwords: d.passwords, Throttle: &authn.Throttle{}}
}

// rolesFor gives what the rules in force say of a person.
func (s *Server) rolesFor(name string, groups []string) []restart.Role {
	return s.rules.inForce().Roles(name, groups)
}
