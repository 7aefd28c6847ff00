package notify

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/internal/wire"
)

// ticket is a tracker as a receiver: of a comment at the end of each run that is
// for one of its tickets, and of tickets to be opened.
type ticket struct {
	*tracker.Tracker
	opened tracker.Opened
}

func openTrackers(s Settings) ([]opened, error) {
	var out []opened
	if s.Trackers == nil {
		return nil, nil
	}
	for _, t := range s.Trackers.Each() {
		out = append(out, opened{
			Channel: ticket{t, s.TicketOpened}, wants: t.Wants, choice: Choice{Events: []string{wire.EventRunFinished, wire.EventRunFailed}},
		})
	}
	return out, nil
}

// Deliver leaves the comment, or opens the ticket. What is there already, from a
// try whose answer was lost, is left as it is.
func (t ticket) Deliver(ctx context.Context, d store.Delivery) error {
	var n wire.Notification
	if err := json.Unmarshal(d.Body, &n); err != nil {
		return fmt.Errorf("read the message: %w", err)
	}
	return t.Tell(ctx, d.ID, d.Attempts, n, t.opened)
}
