package server

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/tracker"
)

// openTickets opens the trackers, and has them told what is theirs.
func (s *Server) openTickets() (*tracker.Trackers, error) {
	trackers, err := s.cfg.Tickets.Open(tracker.Options{Observe: s.meters.looked})
	if err != nil {
		return nil, err
	}
	s.cfg.Notify.Trackers = trackers
	s.cfg.Notify.TicketOpened = func(ctx context.Context, message, ticket, url string) error {
		rec := audit.Record{Time: time.Now().UTC(), Actor: "server:" + s.cfg.Name, Origin: "local", Action: audit.TicketOpened, Detail: ticket + " " + url}
		if err := s.store.TicketOpened(ctx, message, ticket, url, rec); err != nil {
			return err
		}
		s.trail.Wake()
		return nil
	}
	return trackers, nil
}

// ticketsOf gives the trackers to control: nil where there are none, so that
// keys are kept as they are given.
func ticketsOf(t *tracker.Trackers) control.Tickets {
	if len(t.Each()) == 0 {
		return nil
	}
	return t
}

// recurrencesOf gives the rules of all trackers, in their order.
func recurrencesOf(t *tracker.Trackers) []control.Recurrence {
	var out []control.Recurrence
	for _, x := range t.Each() {
		for _, r := range x.Recurrences() {
			out = append(out, control.Recurrence{Fits: r.Fits, Restarts: r.Restarts, Days: r.Days, Receiver: x.Name()})
		}
	}
	return out
}

// tryTickets asks the trackers that are named who we are, and gives all that is
// wrong.
func (c *Config) tryTickets(ctx context.Context) []error {
	trackers, err := c.Tickets.Open(tracker.Options{})
	if err != nil {
		return []error{err}
	}
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	return trackers.Try(ctx)
}
