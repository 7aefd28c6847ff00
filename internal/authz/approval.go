package authz

import "time"

// Approval is what the rules ask for before a run may start: that somebody
// else, who may approve, lets it.
type Approval struct {
	Within time.Duration // how long a run waits for it
	Rule   string        // which line of the rules asks for it
}

// approvals says what is asked for; nil = nothing ever is.
type approvals func(action Action, object Object) (Approval, bool)

// Approval gives what the rules ask for before a run of that object may start;
// false: nothing.
func (r *Rules) Approval(action Action, object Object) (Approval, bool) {
	if r.approvals == nil {
		return Approval{}, false
	}
	return r.approvals(action, object)
}

// WithApproval gives the shipped rules with a question before runs.
func WithApproval(ask func(action Action, object Object) (Approval, bool)) *Rules {
	return &Rules{approvals: ask}
}
