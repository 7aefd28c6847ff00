package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// List tells people which receivers there are, in the order of the settings.
func (r Receivers) List() []wire.Receiver {
	out := []wire.Receiver{}
	for _, c := range r.all {
		out = append(out, c.told())
	}
	return out
}

// Find gives one by its name in the settings or by its id, or CodeNotFound.
func (r Receivers) Find(name string) (wire.Receiver, error) {
	var names []string
	for _, c := range r.all {
		if c.label() == name || c.Channel.Name() == name {
			return c.told(), nil
		}
		names = append(names, c.label())
	}
	err := restart.Errorf(restart.CodeNotFound, "there is no receiver %s", restart.Quote(name))
	if len(names) == 0 {
		return wire.Receiver{}, err.WithHint("notify in server.yaml names none")
	}
	return wire.Receiver{}, err.WithHint("there are: %s", strings.Join(names[:min(len(names), 20)], ", "))
}

// Try hands n to the receiver with this id now, past the outbox; the error is
// what it has said.
func (r Receivers) Try(ctx context.Context, id string, n wire.Notification) error {
	i := slices.IndexFunc(r.all, func(c opened) bool { return c.Channel.Name() == id })
	if i < 0 {
		return restart.Errorf(restart.CodeNotFound, "there is no receiver %s", restart.Quote(id))
	}
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	return r.all[i].Deliver(ctx, store.Delivery{ID: n.ID, Channel: id, Event: n.Event, Body: body, CreatedAt: n.At, Attempts: 1})
}

// told is the receiver for people.
func (o opened) told() wire.Receiver {
	kind, _, _ := strings.Cut(o.Channel.Name(), ":")
	c := o.choice
	return wire.Receiver{
		Name: o.label(), ID: o.Channel.Name(), Kind: kind, Address: o.String(),
		Events: slices.Clone(c.Events), Services: slices.Clone(c.Services), Environments: slices.Clone(c.Environments), Teams: slices.Clone(c.Teams), Kinds: slices.Clone(c.Kinds),
	}
}
