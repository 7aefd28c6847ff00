package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	// An error that is a *Later says when to try again; one that is a *Partly that
	// some of the receiver's people have got it, and the others never will.
	Deliver(ctx context.Context, d store.Delivery) error
}

// Keeper is a Channel that has one message, or one thread, for all that it is
// told of a run.
type Keeper interface {
	Channel
	// Keep is Deliver. d.Post is what it has given for the run before, "" = nothing
	// yet; earlier is what the receiver was told of the run before, in order. post
	// is what the next one gets.
	Keep(ctx context.Context, d store.Delivery, earlier []json.RawMessage) (post string, err error)
}

// Partly is the error of a receiver that has taken a message, but not for all of
// its people.
type Partly struct{ Why error }

func (p *Partly) Error() string { return p.Why.Error() }

func (p *Partly) Unwrap() error { return p.Why }

// Events lists the events that receivers can ask for.
func Events() []string {
	return []string{
		wire.EventRunStarted, wire.EventRunPaused, wire.EventRunResumed, wire.EventRunFinished, wire.EventRunFailed,
		wire.EventApprovalRequested, wire.EventApprovalDecided, wire.EventBreakGlass, wire.EventScenarioExpires, wire.EventRecurrence, wire.EventDigest,
		wire.EventRunScheduled, wire.EventScheduleMissed, wire.EventScheduleCancelled,
	}
}

// opened is a receiver with what it is told of.
type opened struct {
	Channel
	choice Choice
	owners bool                         // it writes to the owners of what it tells of, so that each has a digest of his own
	wants  func(wire.Notification) bool // instead of choice
}

// kinds is the table of the kinds of receivers: each gives those that the
// settings name, or what is wrong with them. Nothing is connected to.
var kinds = []func(Settings) ([]opened, error){
	openWebhooks, openMail, openSlack, openMattermost, openTelegram, openTrackers, openGrafanas, openJugglers,
}

// Receivers are all that the settings name.
type Receivers struct {
	all    []opened
	digest digestTime
}

// label is what people call the receiver.
func (o opened) label() string {
	if o.choice.Label != "" {
		return o.choice.Label
	}
	return o.Name()
}

// concerns tells whether the receiver is to be told.
func (o opened) concerns(n wire.Notification) bool {
	if o.wants != nil {
		return o.wants(n)
	}
	return o.choice.Wants(n)
}

// For names the receivers of a notification. Digests are made for each: see
// Digester.
func (r Receivers) For(n wire.Notification) []string {
	var out []string
	for _, c := range r.all {
		if n.Event != wire.EventDigest && c.concerns(n) {
			out = append(out, c.Name())
		}
	}
	return out
}

// named makes a Name of what a receiver is known by, which may itself be a
// secret.
func named(kind string, address ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(address, "\n")))
	return kind + ":" + hex.EncodeToString(sum[:8])
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
