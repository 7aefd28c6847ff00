package notify

import (
	"context"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Channel is one receiver.
type Channel interface {
	// Name keys its messages in the store: the same for as long as it is the same
	// receiver, whatever else of its settings changes.
	Name() string
	// String is the receiver for people and logs, without secrets.
	String() string
	// Deliver hands one message over; nil means that the receiver has taken it.
	Deliver(ctx context.Context, d store.Delivery) error
}

// Settings are who is told of what: the section notify of server.yaml.
type Settings struct {
	Webhooks []Webhook `yaml:"webhooks"` //
}

// Events lists the events that receivers can ask for.
func Events() []string {
	return []string{wire.EventBreakGlass, wire.EventApprovalRequested, wire.EventApprovalDecided, wire.EventScenarioExpires}
}

// opened is a receiver with the events that it is told of.
type opened struct {
	Channel
	events []string
}

// kinds is the table of the kinds of receivers: each gives those that the
// settings name, or what is wrong with them. Nothing is connected to.
var kinds = []func(Settings) ([]opened, error){
	openWebhooks,
}

// Receivers are all that the settings name.
type Receivers struct{ all []opened }

// Open gives the receivers of the settings. Errors are *restart.Error with
// CodeInvalid, and begin with the key.
func (s Settings) Open() (Receivers, error) {
	var r Receivers
	for _, open := range kinds {
		found, err := open(s)
		if err != nil {
			return Receivers{}, err
		}
		r.all = append(r.all, found...)
	}
	return r, nil
}

// For names the receivers of an event.
func (r Receivers) For(event string) []string {
	var out []string
	for _, c := range r.all {
		if slices.Contains(c.events, event) {
			out = append(out, c.Name())
		}
	}
	return out
}

// checkEvents accepts a list of known events, not empty.
func checkEvents(key string, events []string) error {
	if len(events) == 0 {
		return restart.Errorf(restart.CodeInvalid, "%s.events is empty: it would never be told of anything", key).WithHint("one of: %s", strings.Join(Events(), ", "))
	}
	for _, e := range events {
		if !slices.Contains(Events(), e) {
			return restart.Errorf(restart.CodeInvalid, "%s.events: there is no event %s", key, restart.Quote(e)).WithHint("one of: %s", strings.Join(Events(), ", "))
		}
	}
	return nil
}
