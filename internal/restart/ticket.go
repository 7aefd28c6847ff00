package restart

import "time"

// TicketState is how a ticket stands, whatever its tracker calls that.
type TicketState string

// The states of a ticket.
const (
	TicketOpen      TicketState = "open"
	TicketClosed    TicketState = "closed"
	TicketMissing   TicketState = "missing"   // its tracker has none of that key, or none that this server may see
	TicketUnchecked TicketState = "unchecked" // its tracker could not be asked
)

// TicketStates lists them all.
func TicketStates() []TicketState {
	return []TicketState{TicketOpen, TicketClosed, TicketMissing, TicketUnchecked}
}

// Ticket is what a run is for, as its tracker says. Text from there is escaped.
type Ticket struct {
	Key       string      `json:"key"`
	State     TicketState `json:"state"`
	Status    string      `json:"status,omitempty"` // the tracker's own word for the state
	Title     string      `json:"title,omitempty"`
	URL       string      `json:"url,omitempty"`     // of its page
	Tracker   string      `json:"tracker,omitempty"` // for people
	Why       string      `json:"why,omitempty"`     // of one that is unchecked
	Strict    bool        `json:"strict,omitempty"`  // of one that is unchecked: a run for it may not start
	CheckedAt time.Time   `json:"checked_at"`
}

// TicketKey is the key of the ticket that a plan is for, given or found in the
// reason; "" = none.
func (p Plan) TicketKey() string {
	if p.Ticket != nil {
		return p.Ticket.Key
	}
	return p.Request.Ticket
}

// TicketBinds tells whether the rules can demand a ticket of a run: not of an
// undrain alone, for the same reason as ApprovalBinds.
func TicketBinds(work Work) bool { return ApprovalBinds(work) }
