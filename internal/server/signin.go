package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authn/ldap"
	"github.com/restartilka/restartilka/internal/authn/oidc"
	"github.com/restartilka/restartilka/internal/restart"
)

// tryLimit is how long the systems that people sign in by are tried for by
// restartilka config check.
const tryLimit = 20 * time.Second

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
	if c := s.cfg.SignIn.LDAP; c != nil {
		directory, err := ldap.Open(*c, s.log)
		if err != nil {
			return d, err
		}
		d.passwords = append(d.passwords, directory)
		if directory.Refreshes() {
			d.people.Refreshers = append(d.people.Refreshers, directory)
		}
	}
	if c := s.cfg.SignIn.OIDC; c != nil {
		home := strings.TrimRight(s.cfg.URL, "/") + "/sign-in"
		provider, err := oidc.Open(oidc.Options{Config: *c, Callback: home + "/oidc/callback", Home: home, Logger: s.log})
		if err != nil {
			return d, err
		}
		d.redirects = append(d.redirects, provider)
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

// check refuses what can't work, and fills in the defaults.
func (c *SignInConfig) check() (err error) {
	if c.LDAP != nil {
		if *c.LDAP, err = c.LDAP.Filled(); err != nil {
			return err
		}
	}
	if c.OIDC != nil {
		if *c.OIDC, err = c.OIDC.Filled(); err != nil {
			return err
		}
	}
	if err := c.Proxy.Check(); err != nil {
		return fmt.Errorf("sign_in.proxy: %w", err)
	}
	return nil
}

// lowerTeams tells whether all groups of people come in lower case: those of
// LDAP do; those of the other methods keep the case that they are written in.
func (c *SignInConfig) lowerTeams() bool {
	return c.LDAP != nil && c.OIDC == nil && c.Proxy.GroupsHeader == ""
}

// files are the paths that it names.
func (c *SignInConfig) files() []*string {
	var out []*string
	if c.LDAP != nil {
		out = append(out, &c.LDAP.CAFile, &c.LDAP.BindPasswordFile)
	}
	if c.OIDC != nil {
		out = append(out, &c.OIDC.CAFile, &c.OIDC.ClientSecretFile)
	}
	return out
}

// try asks the systems that it names, and gives all that is wrong.
func (c *SignInConfig) try(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	var wrong []error
	if c.LDAP != nil {
		directory, err := ldap.Open(*c.LDAP, nil)
		if err != nil {
			wrong = append(wrong, err)
		} else {
			wrong = append(wrong, directory.TryAll(ctx)...)
		}
	}
	if c.OIDC != nil {
		provider, err := oidc.Open(oidc.Options{Config: *c.OIDC})
		if err == nil {
			err = provider.Try(ctx)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	return wrong
}

// rolesFor gives what the rules in force say of a person.
func (s *Server) rolesFor(name string, groups []string) []restart.Role {
	return s.rules.inForce().Roles(name, groups)
}
