package web

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// ticketView is the ticket of a run, as its tracker said when the plan was made.
type ticketView struct{ Key, URL, Says string }

func ticketOf(l language, run restart.Run) ticketView {
	out := ticketView{Key: restart.Escape(run.Ticket)}
	if run.Plan == nil || run.Plan.Ticket == nil {
		return out
	}
	t := run.Plan.Ticket
	out.URL, out.Says = t.URL, say(l, "ticketstate."+string(t.State))
	if t.Status != "" {
		out.Says += " (" + restart.Escape(t.Status) + ")"
	}
	if t.Title != "" {
		out.Says += ": " + restart.Escape(t.Title)
	}
	return out
}

// ticketInTheWay says before the button that the run can't start for its
// ticket's sake.
func (s *site) ticketInTheWay(v *visit, page *planPage, d drawing, _ time.Time) error {
	e, err := s.cfg.Control.PastTicket(v.Context(), v.actor, d.run)
	if e != nil {
		page.NoTicket = s.trouble(v, e, d.run.Service, d.run.Ticket)
	}
	return err
}
