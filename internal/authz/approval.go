package authz

import (
	"slices"
	"time"
)

// Approval is what the rules ask for before a run may start: that somebody
// else, who may approve, lets it.
type Approval struct {
	Within time.Duration // how long a run waits for it
	Rule   string        // which line of the rules asks for it
}

// The bounds of Approval.Within, and what it is where nothing is said.
const (
	MinWithin     = time.Minute
	MaxWithin     = 24 * time.Hour
	DefaultWithin = time.Hour
)

// approval is one entry of the file's list.
type approval struct {
	name      string
	scope     scope
	actions   []Action
	approvers []subject // nil = whom the rules let approve
	within    time.Duration
}

// Approval gives what the rules ask for before a run of that object may start;
// false: nothing. Of several entries that fit the first counts.
func (r *Rules) Approval(action Action, object Object) (Approval, bool) {
	a, ok := r.approval(action, object)
	return Approval{Within: a.within, Rule: a.name}, ok
}

// approval gives the entry for an object; for the action "" whatever its actions.
func (r *Rules) approval(action Action, object Object) (approval, bool) {
	for _, a := range r.approvals {
		if (action == "" || slices.Contains(a.actions, action)) && a.scope.holds(deny, object) {
			return a, true
		}
	}
	return approval{}, false
}
