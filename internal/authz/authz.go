// Package authz answers one question: may this actor do this to that object,
// and why. It is pure: Rules look at nothing but themselves and what they are
// asked, so every way in (web, API, CLI, chat, SSH) gets the same answer, and
// any decision can be explained afterwards.
//
// Default is what is shipped: whoever is signed in sees everything;
// owners restart, dump and control their own services; admins do all of it,
// on every service, and administer; auditors read the audit trail, and review
// with the admins where glass was broken. To break it is a right of its own: an
// admin's, or that of a token with the role break-glass, for what its owner may
// restart anyway.
package authz

import (
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Action is what somebody wants to do.
type Action string

// The actions.
const (
	See        Action = "see"        // services, hosts, runs, plans
	Restart    Action = "restart"    // start, resume or retry a restart or custom scenario
	Dump       Action = "dump"       // take a thread dump
	Control    Action = "control"    // pause and abort
	Audit      Action = "audit"      // read the audit trail
	Administer Action = "administer" // tokens of others, certificates, locks

	Freeze      Action = "freeze"             // add and remove freezes
	BreakGlass  Action = "break-glass"        // start a run of one's own past a freeze
	ReviewGlass Action = "review-break-glass" // look at such a run afterwards
)

// Object is what it is to be done to. A zero Service is the product itself.
type Object struct {
	Service     restart.Service
	Environment string // "" = wherever
	Group       string // "" = whichever
}

// Rules decide. They don't change: who wants others takes others.
type Rules struct{}

// Default gives the shipped rules.
func Default() *Rules { return &Rules{} }

// Decision is the answer, with the why in one sentence.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
	Who     string `json:"who,omitempty"` // of a refusal: who could, such as "anna, team web or an admin"
}

// Decide answers for one actor, action and object.
func (*Rules) Decide(actor restart.Actor, action Action, object Object) Decision {
	allow := func(format string, args ...any) Decision {
		return Decision{Allowed: true, Why: fmt.Sprintf(format, args...)}
	}
	if actor.Name == "" {
		return Decision{Why: "nobody is signed in"}
	}
	if d, outside := outsideScope(actor, action, object); outside {
		return d
	}
	if actor.Has(restart.RoleAdmin) {
		return allow("%s is an admin", actor.Name)
	}
	switch action {
	case See:
		return allow("whoever is signed in sees everything")
	case Restart, Dump, Control:
		name := object.Service.Name
		if !actor.Has(restart.RoleDeveloper) {
			return Decision{Why: fmt.Sprintf("%s has not the role developer", actor.Name), Who: owners(object.Service)}
		}
		if owner, ok := ownerAmong(actor, object.Service.Owners); ok {
			return allow("%s owns %s (%s)", actor.Name, name, owner)
		}
		return Decision{Why: fmt.Sprintf("%s does not own %s", actor.Name, name), Who: owners(object.Service)}
	case BreakGlass:
		if actor.Has(restart.RoleBreakGlass) {
			return allow("%s has the role break-glass", actor.Name)
		}
		return Decision{Why: fmt.Sprintf("%s has not the role break-glass", actor.Name), Who: "an admin, or the owner of a token with the role break-glass"}
	case Audit, ReviewGlass:
		if actor.Has(restart.RoleAuditor) {
			return allow("%s is an auditor", actor.Name)
		}
		return Decision{Why: fmt.Sprintf("%s is not an auditor", actor.Name), Who: "an auditor or an admin"}
	}
	return Decision{Why: fmt.Sprintf("%s is not an admin", actor.Name), Who: "an admin"}
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
	if object.Service.Name != "" {
		what += " " + object.Service.Name
	}
	e := restart.Errorf(restart.CodeForbidden, "%s may not %s: %s", actor.Name, what, d.Why)
	if d.Who != "" {
		e = e.WithHint("ask %s", d.Who)
	}
	return e
}

// ActionFor gives the action that running a scenario of that kind is.
func ActionFor(kind restart.Kind) Action {
	if kind == restart.KindThreadDump {
		return Dump
	}
	return Restart
}

func ownerAmong(actor restart.Actor, owners []string) (string, bool) {
	for _, o := range owners {
		team, isTeam := strings.CutPrefix(o, "team:")
		switch {
		case isTeam && slices.Contains(actor.Teams, team):
			return o, true
		case !isTeam && (o == actor.Name || slices.Contains(actor.Teams, o)):
			return o, true
		}
	}
	return "", false
}

// owners names who can, for a refusal.
func owners(s restart.Service) string {
	var names []string
	for _, o := range s.Owners {
		if team, ok := strings.CutPrefix(o, "team:"); ok {
			o = "team " + team
		}
		names = append(names, o)
	}
	if len(names) == 0 {
		return "an admin (the service has no owners in the inventory)"
	}
	return strings.Join(names, ", ") + " or an admin"
}
