package authz

import (
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Rules decide. They don't change: who wants others takes others.
type Rules struct {
	file      string // its name without its folder; "" = the shipped rules
	digest    string // SHA-256 of its bytes, hex
	upper     []word // teams that are written with upper-case letters
	roles     map[restart.Role][]subject
	rules     []rule
	approvals []approval
	tickets   []ticket
}

// effect is what a rule does.
type effect string

const (
	allow effect = "allow"
	deny  effect = "deny"
)

// rule is one entry of the file's rules.
type rule struct {
	name    string // for people: file and line
	effect  effect
	actions []Action
	to      []subject
	scope   scope
}

// scope is where a rule holds; an empty list is everywhere. Its lists have
// globs, which have been checked.
type scope struct {
	services, environments, groups []string
}

func (s scope) everywhere() bool {
	return len(s.services) == 0 && len(s.environments) == 0 && len(s.groups) == 0
}

// holds tells whether a rule of that effect is about the object. Where it is
// not known yet which it is, what might be allowed is, and only what is denied
// everywhere is denied.
func (s scope) holds(e effect, object Object) bool {
	for _, dimension := range []struct {
		globs []string
		name  string
	}{{s.services, object.Service.Name}, {s.environments, object.Environment}, {s.groups, object.Group}} {
		if len(dimension.globs) > 0 && !among(e, dimension.globs, dimension.name) {
			return false
		}
	}
	return true
}

func among(e effect, globs []string, name string) bool {
	if name == Anywhere {
		return e == allow || slices.Contains(globs, "*")
	}
	return restart.Fits(globs, name)
}

func (r rule) concerns(action Action, object Object) bool {
	if !slices.Contains(r.actions, action) && !slices.Contains(r.actions, All) {
		return false
	}
	return r.scope.holds(r.effect, object)
}

// Decision is the answer, with the why in one sentence.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
	Rule    string `json:"rule,omitempty"` // that decided, such as "rules.yaml, line 14"; "" = no rule allows it
	Who     string `json:"who,omitempty"`  // of a refusal: who could, such as "anna, team web or an admin"
}

// Decide answers for one actor, action and object. Deny wins over allow,
// whatever their order, and what no rule allows is refused. Whoever may take
// thread dumps of a service may look at them too, unless a rule denies just that.
func (r *Rules) Decide(actor restart.Actor, action Action, object Object) Decision {
	if actor.Name == "" {
		return Decision{Why: "nobody is signed in"}
	}
	d := r.decide(actor, action, object)
	if action != ViewDump || d.Allowed {
		return d
	}
	if _, denied := r.deniedTo(actor, action, object); denied {
		return d
	}
	if dumps := r.decide(actor, Dump, object); dumps.Allowed {
		dumps.Why = "whoever may dump may look at dumps: " + dumps.Why
		return dumps
	}
	return d
}

// decide answers by the rules about one action alone.
func (r *Rules) decide(actor restart.Actor, action Action, object Object) Decision {
	if d, outside := outsideScope(actor, action, object); outside {
		return d
	}
	if d, denied := r.deniedTo(actor, action, object); denied {
		return d
	}
	allowing := r.allowing(action, object)
	for _, x := range allowing {
		for _, s := range x.to {
			if s.allows(actor, action, object) {
				return Decision{Allowed: true, Why: because(s, actor, action, object) + " (" + x.name + ")", Rule: x.name}
			}
		}
	}
	return Decision{Why: r.whyNot(allowing, actor, action, object), Who: r.Who(action, object)}
}

// deniedTo tells whether a rule denies it.
func (r *Rules) deniedTo(actor restart.Actor, action Action, object Object) (Decision, bool) {
	for _, x := range r.rules {
		if x.effect != deny || !x.concerns(action, object) {
			continue
		}
		if i := slices.IndexFunc(x.to, func(s subject) bool { return s.denies(actor, object) }); i >= 0 {
			why := fmt.Sprintf("%s denies it to %s", x.name, x.to[i].say())
			return Decision{Why: why, Rule: x.name, Who: r.Who(action, object)}, true
		}
	}
	return Decision{}, false
}

// allowing gives the rules that allow an action on an object to somebody. Who
// may approve is said where approval is asked for, if it is said there.
func (r *Rules) allowing(action Action, object Object) []rule {
	if action == Approve {
		if a, ok := r.approval(object.For, object); ok && len(a.approvers) > 0 {
			return []rule{{name: a.name, effect: allow, actions: []Action{Approve}, to: a.approvers}}
		}
	}
	var out []rule
	for _, x := range r.rules {
		if x.effect == allow && x.concerns(action, object) {
			out = append(out, x)
		}
	}
	return out
}

// because says why a subject's rule fits the actor.
func because(s subject, actor restart.Actor, action Action, object Object) string {
	switch s.kind {
	case everybody:
		return fmt.Sprintf("everybody may %s", action)
	case owners:
		owner, _ := ownerAmong(actor, object.Service.Owners)
		switch {
		case object.Service.Name == Anywhere:
			return fmt.Sprintf("owners may %s", action)
		case owner == actor.Name:
			return fmt.Sprintf("%s owns %s", actor.Name, object.Service.Name)
		}
		return fmt.Sprintf("team %s, of which %s is, owns %s", strings.TrimPrefix(owner, teamPrefix), actor.Name, object.Service.Name)
	case team:
		return fmt.Sprintf("%s is in team %s", actor.Name, s.name)
	case role:
		if s.name == string(restart.RoleBreakGlass) {
			return fmt.Sprintf("%s has the role break-glass", actor.Name)
		}
		return fmt.Sprintf("%s is %s", actor.Name, sayRole(restart.Role(s.name)))
	}
	return actor.Name + " is named"
}

// whyNot says why none of the rules that allow it is for the actor.
func (r *Rules) whyNot(allowing []rule, actor restart.Actor, action Action, object Object) string {
	named := map[kind]bool{}
	var other restart.Role // that could, and is not the admins'
	for _, x := range allowing {
		for _, s := range x.to {
			named[s.kind] = true
			if s.kind == role && other == "" && s.name != string(restart.RoleAdmin) {
				other = restart.Role(s.name)
			}
		}
	}
	switch {
	case len(allowing) == 0:
		return "no rule allows it" + where(object)
	case (named[owners] || named[person] || named[team] || named[everybody]) && !holds(actor, action.Needs()):
		return isNot(actor, action.Needs())
	case named[owners] && (named[person] || named[team]):
		return fmt.Sprintf("%s does not own %s, and no rule names %s", actor.Name, object.Service.Name, actor.Name)
	case named[owners]:
		return fmt.Sprintf("%s does not own %s", actor.Name, nameOr(object.Service.Name, "everything"))
	case named[person] || named[team]:
		return "no rule names " + actor.Name
	case other != "":
		return isNot(actor, other)
	case action.Narrow() && r.toOthers(action):
		return "no rule but the admins' allows it" + where(object)
	}
	return isNot(actor, restart.RoleAdmin)
}

// toOthers tells whether the rules allow an action somewhere to others than
// admins.
func (r *Rules) toOthers(action Action) bool {
	return slices.ContainsFunc(r.rules, func(x rule) bool { return x.effect == allow && slices.Contains(x.actions, action) })
}

func where(object Object) string {
	if object.Environment == "" || object.Environment == Anywhere {
		return ""
	}
	return " in " + object.Environment
}

func nameOr(name, otherwise string) string {
	if name == "" || name == Anywhere {
		return otherwise
	}
	return name
}

// Require is Decide as an error: nil, or CodeForbidden with who can in the hint.
func (r *Rules) Require(actor restart.Actor, action Action, object Object) error {
	d := r.Decide(actor, action, object)
	if d.Allowed {
		return nil
	}
	if actor.Name == "" {
		return restart.Errorf(restart.CodeUnauthorised, "nobody is signed in").WithHint("sign in, or send a token: restartilka login URL")
	}
	what := string(action)
	if object.Service.Name != "" && object.Service.Name != Anywhere {
		what += " " + object.Service.Name
	}
	e := restart.Errorf(restart.CodeForbidden, "%s may not %s: %s", actor.Name, what, d.Why)
	if d.Who != "" {
		e = e.WithHint("ask %s", d.Who)
	}
	return e
}

// Roles gives the roles that the rules give to a person of some teams, beside
// those that he has of himself.
func (r *Rules) Roles(name string, teams []string) []restart.Role {
	if name == "" {
		return nil
	}
	actor := restart.Actor{Name: name, Teams: teams}
	var out []restart.Role
	for _, x := range restart.Roles() {
		if slices.ContainsFunc(r.roles[x], func(s subject) bool { return s.fits(actor, Object{}) }) {
			out = append(out, x)
		}
	}
	return out
}

// Digest gives the SHA-256 of the rules' file in hex.
func (r *Rules) Digest() string { return r.digest }

// File gives the name of the rules' file, without its folder; "" = shipped.
func (r *Rules) File() string { return r.file }
