package authz

import (
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// kind is how a rule names people.
type kind string

const (
	everybody kind = "everybody" // who is signed in
	owners    kind = "owners"    // of the service in question
	person    kind = "person"
	team      kind = "team" // a group of LDAP or OIDC
	role      kind = "role"
)

// subject is whom a rule names.
type subject struct {
	kind kind
	name string // of the person, team or role
}

// fits tells whether the actor is among those whom a rule names, on the object.
func (s subject) fits(actor restart.Actor, object Object) bool {
	switch s.kind {
	case everybody:
		return true
	case owners:
		return owns(actor, object.Service)
	case person:
		return actor.Name == s.name
	case team:
		return slices.Contains(actor.Teams, s.name)
	case role:
		return actor.Has(restart.Role(s.name))
	}
	return false
}

// denies is fits for a rule that denies: a team denies it to those too of whom
// nobody can say any more whether they are in it.
func (s subject) denies(actor restart.Actor, object Object) bool {
	actor.Teams = slices.Concat(actor.Teams, actor.Former)
	return s.fits(actor, object)
}

// allows is fits for a rule that allows: who is not named by a role needs the
// one that the action belongs to. Whether somebody owns anything is not known
// here, so that anybody may own something anywhere.
func (s subject) allows(actor restart.Actor, action Action, object Object) bool {
	if s.kind == role {
		return s.fits(actor, object)
	}
	anywhere := s.kind == owners && object.Service.Name == Anywhere
	return holds(actor, action.Needs()) && (anywhere || s.fits(actor, object))
}

// holds tells whether the actor has a role that an action needs. Admins do all
// that others do.
func holds(actor restart.Actor, needed restart.Role) bool {
	return needed == "" || actor.Has(needed) || actor.Has(restart.RoleAdmin)
}

// Owns tells whether a service is the actor's own, by name or by team.
func Owns(actor restart.Actor, service restart.Service) bool { return owns(actor, service) }

func owns(actor restart.Actor, service restart.Service) bool {
	_, ok := ownerAmong(actor, service.Owners)
	return ok
}

// ownerAmong gives the owner that the actor is.
func ownerAmong(actor restart.Actor, owners []string) (string, bool) {
	for _, o := range owners {
		team, isTeam := strings.CutPrefix(o, teamPrefix)
		switch {
		case isTeam && slices.Contains(actor.Teams, team):
			return o, true
		case !isTeam && o == actor.Name:
			return o, true
		}
	}
	return "", false
}

// The forms of a subject in a file.
const (
	teamPrefix = "team:"
	rolePrefix = "role:"
)

func (s subject) String() string {
	switch s.kind {
	case everybody, owners:
		return string(s.kind)
	case team:
		return teamPrefix + s.name
	case role:
		return rolePrefix + s.name
	}
	return s.name
}

// say names the subject in a sentence.
func (s subject) say() string {
	switch s.kind {
	case everybody:
		return "everybody"
	case owners:
		return "its owners"
	case team:
		return "team " + s.name
	case role:
		return sayRole(restart.Role(s.name))
	}
	return s.name
}

// sayRole names whoever has a role.
func sayRole(r restart.Role) string {
	switch r {
	case restart.RoleAdmin, restart.RoleAuditor:
		return "an " + string(r)
	case restart.RoleBreakGlass:
		return "the owner of a token with the role break-glass"
	}
	return "a " + string(r)
}

// isNot says that somebody has not a role.
func isNot(actor restart.Actor, r restart.Role) string {
	switch r {
	case restart.RoleAdmin, restart.RoleAuditor, restart.RoleReviewer:
		return actor.Name + " is not " + sayRole(r)
	}
	return actor.Name + " has not the role " + string(r)
}
