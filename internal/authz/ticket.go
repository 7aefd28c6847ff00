package authz

import (
	"fmt"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// Ticket is what the rules ask for before a run may start: that it is for a
// ticket.
type Ticket struct {
	Open bool   // one that is closed does not count
	Rule string // which line of the rules asks for it
}

// The values of an entry's closed.
const (
	closedWarns   = "warn"
	closedRefuses = "refuse"
)

// ticket is one entry of the file's list.
type ticket struct {
	Ticket
	scope   scope
	actions []Action
}

// Ticket gives what the rules ask for before a run of that object may start;
// false: nothing. Of several entries that fit the first counts.
func (r *Rules) Ticket(action Action, object Object) (Ticket, bool) {
	for _, t := range r.tickets {
		if slices.Contains(t.actions, action) && t.scope.holds(deny, object) {
			return t.Ticket, true
		}
	}
	return Ticket{}, false
}

func (r *Rules) addTicket(e ticketEntry) error {
	t := ticket{Ticket: Ticket{Rule: fmt.Sprintf("%s, line %d", r.file, e.line), Open: e.Closed == closedRefuses}}
	var err error
	if t.scope, err = parseScope(e.given, e.line, e.Services, e.Environments, e.Groups); err != nil {
		return err
	}
	if t.actions, err = ofRuns(e.line, e.given, e.Actions); err != nil {
		return err
	}
	if e.given["closed"] && e.Closed != closedWarns && e.Closed != closedRefuses {
		return strict.LineError(e.line, "closed: %s is neither %s nor %s", restart.Quote(e.Closed), closedWarns, closedRefuses)
	}
	r.tickets = append(r.tickets, t)
	return nil
}
