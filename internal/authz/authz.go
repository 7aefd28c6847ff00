// Package authz answers one question: may this actor do this to that object,
// and why. It is pure: Rules look at nothing but themselves and what they are
// asked, so every way in (web, API, CLI, chat, SSH) gets the same answer, and
// any decision can be explained, before and afterwards.
//
// Rules come from a file, rules.yaml, by Parse; Default is the one that is
// shipped: whoever is signed in sees everything; owners restart, dump and
// control their own services; admins do all of it, on every service, and
// administer; auditors read the audit trail, look at thread dumps, and review
// with the admins where glass was broken. To break it is a right of its own: an admin's, or that of a
// token with the role break-glass, for what its owner may restart anyway.
//
// A role is what somebody may do at all, a rule what to. Who is named by name,
// by team, as an owner or with everybody needs the role that the action belongs
// to as well (see Needs): a token of the role viewer only looks, whoever's it is.
package authz

import (
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
	Approve    Action = "approve"    // let somebody else's run start
	Audit      Action = "audit"      // read the audit trail
	Administer Action = "administer" // tokens of others, certificates, locks
	Review     Action = "review"     // approve and withdraw versions of scenarios

	ViewDump    Action = "view-dump"          // look at the thread dumps of a service: they hold secrets; whoever may dump it may
	Freeze      Action = "freeze"             // add and remove freezes
	BreakGlass  Action = "break-glass"        // start a run of one's own past a freeze
	ReviewGlass Action = "review-break-glass" // look at such a run afterwards
)

// All stands for every action, in rules.
const All Action = "all"

// Actions lists the actions there are.
func Actions() []Action {
	return []Action{See, Restart, Dump, ViewDump, Control, Approve, Freeze, BreakGlass, ReviewGlass, Review, Audit, Administer}
}

// ParseAction reads the name of an action.
func ParseAction(s string) (Action, error) {
	if slices.Contains(Actions(), Action(s)) {
		return Action(s), nil
	}
	unknown := restart.Errorf(restart.CodeInvalid, "there is no action %s", restart.Quote(s))
	if near := restart.Similar(s, words(Actions())); len(near) > 0 {
		return "", unknown.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return "", unknown.WithHint("one of: %s", strings.Join(words(Actions()), ", "))
}

// Narrow tells whether rules can narrow an action to some services,
// environments or groups: it is done to a service, and not to the product.
func (a Action) Narrow() bool {
	return a != See && a != Audit && a != Administer && a != Review
}

// Needs gives the role without which nobody does it, unless a rule gives it to
// a role; "" = none is needed. Admins need none.
func (a Action) Needs() restart.Role {
	switch a {
	case See:
		return ""
	case Audit, ReviewGlass:
		return restart.RoleAuditor
	case Review:
		return restart.RoleReviewer
	case Restart, Dump, ViewDump, Control, Approve, Freeze, BreakGlass:
		return restart.RoleDeveloper
	}
	return restart.RoleAdmin
}

// Anywhere stands for the name of a service, an environment or a group, and asks
// whether somebody may do it to any of them: what must be asked again once it is
// known to which.
const Anywhere = "*"

// Object is what it is to be done to. A zero Service is the product itself; an
// empty Environment or Group is none, which no rule about some holds for.
type Object struct {
	Service     restart.Service
	Environment string
	Group       string
	For         Action // of an approval: what it would let start; "" = anything
}

// OfService is a service, wherever it runs.
func OfService(s restart.Service) Object {
	return Object{Service: s, Environment: Anywhere, Group: Anywhere}
}

// Wherever is any service anywhere: it asks whether somebody may at all.
func Wherever() Object { return OfService(restart.Service{Name: Anywhere}) }

// ActionFor gives the action that running a scenario of that kind is.
func ActionFor(kind restart.Kind) Action {
	if kind == restart.KindThreadDump {
		return Dump
	}
	return Restart
}

func words[T ~string](list []T) []string {
	var out []string
	for _, x := range list {
		out = append(out, string(x))
	}
	return out
}
