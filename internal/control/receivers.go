package control

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// Receivers are those outside who are told: see internal/notify.
type Receivers interface {
	// List gives them in the order of the settings.
	List() []wire.Receiver
	// Find gives one by its name or id, or CodeNotFound.
	Find(name string) (wire.Receiver, error)
	// Try hands n to the receiver with this id now, past the outbox; the error is
	// what it has said.
	Try(ctx context.Context, id string, n wire.Notification) error
}

// tryLimit bounds a test of a receiver.
const tryLimit = 20 * time.Second

// Receivers lists whom this server tells, and what they have not taken yet; for
// admins. left counts the messages that wait for others, whom its settings do
// not name.
func (c *Control) Receivers(ctx context.Context, actor restart.Actor) (list []wire.Receiver, left int64, err error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return nil, 0, err
	}
	waiting, err := c.cfg.Store.WaitingMessages(ctx)
	if err != nil {
		return nil, 0, err
	}
	list = []wire.Receiver{}
	if c.cfg.Receivers != nil {
		list = c.cfg.Receivers.List()
	}
	for i := range list {
		if w, ok := waiting[list[i].ID]; ok {
			list[i].Waiting, list[i].Since, list[i].Failure = w.Messages, &w.Since, w.Failure
			delete(waiting, list[i].ID)
		}
	}
	for _, w := range waiting {
		left += w.Messages
	}
	return list, left, nil
}

// TestReceiver sends a message to a receiver now, by its name or id, and tells
// what became of it; for admins, who in a browser have signed in lately. A
// receiver that does not take it is no error of the request.
func (c *Control) TestReceiver(ctx context.Context, actor restart.Actor, name string) (wire.ReceiverTest, error) {
	rec := c.record(actor, audit.MessageTested)
	rec.Detail = clip(name)
	err := c.requireNow(actor, authz.Administer)
	var receiver wire.Receiver
	if err == nil && c.cfg.Receivers == nil {
		err = restart.Errorf(restart.CodeNotFound, "this server tells nobody")
	}
	if err == nil {
		receiver, err = c.cfg.Receivers.Find(name)
	}
	if err != nil {
		return wire.ReceiverTest{}, c.refused(ctx, rec, err)
	}
	n := wire.Notification{
		ID: restart.NewID(c.now()), Event: wire.EventTest, At: c.now(), URL: c.cfg.URL + "/", Actor: actor.Name, Owners: []string{actor.Name}, Hosts: []string{},
	}
	trying, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	began := time.Now()
	failed := c.cfg.Receivers.Try(trying, receiver.ID, n)
	out := wire.ReceiverTest{Receiver: receiver.Name, Taken: failed == nil, Took: time.Since(began).Round(time.Millisecond).String()}
	rec.Detail = receiver.Name + ", " + receiver.Address + ": taken"
	if failed != nil {
		out.Said = clip(failed.Error()) // some repeat what a receiver answers, at any length
		rec.Detail = receiver.Name + ", " + receiver.Address + ": not taken: " + out.Said
	}
	if err := c.cfg.Store.AppendAudit(context.WithoutCancel(ctx), rec); err != nil {
		return wire.ReceiverTest{}, err
	}
	c.cfg.Committed()
	return out, nil
}
