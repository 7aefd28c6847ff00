package restart

// Outcome is how a run went, in one word, for programs that act on it: the exit
// codes of the command line are made of it.
type Outcome string

// The outcomes of a run.
const (
	OutcomeOpen     Outcome = ""         // it goes on, or nobody has started it
	OutcomeDone     Outcome = "done"     // on every host that it was asked for
	OutcomeFailed   Outcome = "failed"   // or aborted, or a host was not done
	OutcomeRejected Outcome = "rejected" // by who was to approve it
	OutcomePerson   Outcome = "person"   // one is needed: it is paused, waits for an approval, or a host is unknown
)

// OutcomeOf judges a run. That it is completed does not say that every host was
// done: failures may have been tolerated, an agent may not have been there, and
// of an unknown host nobody may have said what became of it.
func OutcomeOf(r Run) Outcome {
	switch {
	case r.State == RunPaused || r.State == RunAwaitingApproval || r.State.Final() && len(r.Undecided()) > 0:
		return OutcomePerson
	case !r.State.Final():
		return OutcomeOpen
	case r.State == RunRejected:
		return OutcomeRejected
	case r.State != RunCompleted || r.Failures() > 0 || len(r.Missed()) > 0:
		return OutcomeFailed
	}
	return OutcomeDone
}

// Missed lists the hosts that the plan left out because the work could not be
// done there, and not because somebody wanted so.
func (r Run) Missed() []PlannedHost {
	if r.Plan == nil {
		return nil
	}
	var out []PlannedHost
	for _, h := range r.Plan.Hosts {
		if h.LeftOut && !h.Beside && (h.Code != "" || h.Agent != "" && h.Why == h.Agent) {
			out = append(out, h)
		}
	}
	return out
}
