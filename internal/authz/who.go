package authz

import (
	"cmp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Grant is somebody who can.
type Grant struct {
	Kind  string       // person, team, role or everybody
	Name  string       // of the person, team or role
	Needs restart.Role // the role that is needed as well; "" = none
	Rule  string       // that says so
}

// Say names who it is in a sentence, such as "team web" or "an admin".
func (g Grant) Say() string { return subject{kind(g.Kind), g.Name}.say() }

// WhoCan lists who can do it, people first and roles last, without those to
// whom a rule denies it by the same name. A role or a team may have people who
// are denied it in other ways: what holds for one of them Decide says.
func (r *Rules) WhoCan(action Action, object Object) []Grant {
	out := r.granted(action, object)
	if action == ViewDump {
		for _, g := range r.granted(Dump, object) {
			if !slices.ContainsFunc(out, g.same) && !r.denied(g, ViewDump, object) {
				out = append(out, g)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Grant) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

// same tells whether two grants are to the same.
func (g Grant) same(have Grant) bool { return have.Kind == g.Kind && have.Name == g.Name }

// granted lists who can by the rules about one action alone, in their order.
func (r *Rules) granted(action Action, object Object) []Grant {
	var out []Grant
	add := func(s subject, x rule) {
		g := Grant{Kind: string(s.kind), Name: s.name, Rule: x.name}
		if s.kind != role {
			g.Needs = action.Needs()
		}
		if !slices.ContainsFunc(out, g.same) {
			out = append(out, g)
		}
	}
	for _, x := range r.allowing(action, object) {
		for _, s := range x.to {
			if s.kind != owners {
				add(s, x)
				continue
			}
			for _, o := range object.Service.Owners {
				add(ownerSubject(o), x)
			}
		}
	}
	return slices.DeleteFunc(out, func(g Grant) bool { return r.denied(g, action, object) })
}

func ownerSubject(owner string) subject {
	if name, ok := strings.CutPrefix(owner, teamPrefix); ok {
		return subject{team, name}
	}
	return subject{person, owner}
}

// rank orders who can: those that can be asked by name first, admins last.
func rank(g Grant) int {
	order := []kind{everybody, person, team, role}
	n := 10 * slices.Index(order, kind(g.Kind))
	if g.Kind == string(role) {
		n += slices.Index(restart.Roles(), restart.Role(g.Name))
	}
	return n
}

// denied tells whether a rule denies it to all whom a grant names.
func (r *Rules) denied(g Grant, action Action, object Object) bool {
	for _, x := range r.rules {
		if x.effect != deny || !x.concerns(action, object) {
			continue
		}
		for _, s := range x.to {
			owner := s.kind == owners && slices.ContainsFunc(object.Service.Owners, func(o string) bool {
				return ownerSubject(o) == subject{kind(g.Kind), g.Name}
			})
			if s.kind == everybody || owner || string(s.kind) == g.Kind && s.name == g.Name {
				return true
			}
		}
	}
	return false
}

// Who says who can, in a sentence: "anna, team web or an admin".
func (r *Rules) Who(action Action, object Object) string {
	return r.WhoBut("", action, object)
}

// WhoBut is Who without one person, who is not to be asked: it does not tell
// him to ask himself.
func (r *Rules) WhoBut(name string, action Action, object Object) string {
	const most = 8
	var names []string
	for _, g := range r.WhoCan(action, object) {
		if g.Kind != string(person) || !restart.SamePerson(g.Name, name) {
			names = append(names, g.Say())
		}
	}
	if len(names) > most { // the last is an admin, as a rule
		names = append(names[:most-1], "others", names[len(names)-1])
	}
	text := strings.Join(names, ", ")
	if i := len(names) - 1; i > 0 {
		text = strings.Join(names[:i], ", ") + " or " + names[i]
	}
	switch {
	case text == "":
		return "whoever keeps the rules: nobody may, as they are"
	case r.wouldBeOwners(action, object) && len(object.Service.Owners) == 0:
		text += " (the service has no owners in the inventory)"
	}
	return text
}

// wouldBeOwners tells whether owners of this very service could, if it had some.
func (r *Rules) wouldBeOwners(action Action, object Object) bool {
	if object.Service.Name == "" || object.Service.Name == Anywhere {
		return false
	}
	if action == ViewDump && r.wouldBeOwners(Dump, object) {
		return true
	}
	return slices.ContainsFunc(r.allowing(action, object), func(x rule) bool {
		return slices.Contains(x.to, subject{kind: owners})
	})
}

// TeamOwner is how an inventory names a team that owns a service.
func TeamOwner(team string) string { return teamPrefix + team }
