package tracker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	mostPages = 10 // of what is looked through for our mark
	// early is how much earlier than ours the clock of a tracker may be.
	early = 10 * time.Minute
	// deliverLimit bounds the whole of one Tell: less than the outbox holds a
	// message for.
	deliverLimit = 15 * time.Second
)

// errTooMany: a comment may be among those that were not looked at.
var errTooMany = errors.New("it has so many comments that ours may be among those that were not looked at")

// Opened notes which ticket was opened for a message.
type Opened func(ctx context.Context, message, ticket, url string) error

// Wants tells whether the tracker is told of a notification: of the end of a
// run, rehearsals left out, whose ticket is its own.
func (x *Tracker) Wants(n wire.Notification) bool {
	end := n.Event == wire.EventRunFinished || n.Event == wire.EventRunFailed
	if !end || x.cfg.Comments == none || n.Ticket == "" || n.Work == restart.WorkRehearse {
		return false
	}
	_, ours := x.whole(n.Ticket)
	return ours
}

// Tell leaves the comment that a notification is worth, or opens the ticket,
// unless it finds its own mark there: so also where the answer to a first try was
// lost. id is the message's, attempt how often it has been tried, from 1.
func (x *Tracker) Tell(ctx context.Context, id string, attempt int, n wire.Notification, opened Opened) error {
	ctx, cancel := context.WithTimeout(ctx, deliverLimit)
	defer cancel()
	switch n.Event {
	case wire.EventRecurrence:
		return x.open(ctx, id, attempt, n, opened)
	case wire.EventTest: // nothing is written for that
		return x.api.whoami(ctx)
	}
	k, ok := x.whole(n.Ticket)
	if !ok {
		return fmt.Errorf("its settings have no project of the ticket %s any more", restart.Quote(n.Ticket))
	}
	since := n.At
	if n.StartedAt != nil {
		since = *n.StartedAt
	}
	mark := markOf(n.Run)
	there, err := x.api.commented(ctx, k, mark, since.Add(-early))
	if err != nil || there {
		return err
	}
	return x.api.comment(ctx, k, commentText(x.cfg.Language, kinds[x.cfg.Kind].quote, n, mark))
}

func (x *Tracker) open(ctx context.Context, id string, attempt int, n wire.Notification, opened Opened) error {
	rule, ok := x.rule(n)
	if !ok {
		return errors.New("its settings have no recurrence of this service any more")
	}
	mark := markOf(id)
	sum := sha256.Sum256([]byte(id))
	d := draft{project: rule.Project, kind: rule.Type, tag: "restartilka-" + hex.EncodeToString(sum[:6])}
	d.title, d.text = recurrenceText(x.cfg.Language, kinds[x.cfg.Kind].quote, n, mark)
	if attempt == 1 { // nobody has tried to open it yet
		x.mu.Lock()
		x.note(id, time.Time{})
		x.mu.Unlock()
	}
	ticket, err := x.api.opened(ctx, d, mark, n.At.Add(-early))
	if err == nil && ticket == "" {
		ticket, err = x.create(ctx, id, attempt, d)
	}
	if errors.Is(err, errConflict) { // it was made, and its search does not have it yet
		return errors.New("it has the ticket already, and does not say which")
	}
	if err != nil {
		return err
	}
	k, ok := x.shape.whole(ticket, "")
	if !ok {
		return fmt.Errorf("it calls the ticket %s, which is no key of a ticket", restart.Quote(clean(ticket, mostWord)))
	}
	if err := opened(ctx, id, x.shape.String(k), x.page(k)); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.unsure, id)
	return nil
}

// create opens a ticket that the search does not have. Where a try before may
// have opened it, by this server or by another, it waits until the search would.
func (x *Tracker) create(ctx context.Context, id string, attempt int, d draft) (string, error) {
	late := kinds[x.cfg.Kind].late
	if late == 0 {
		return x.api.create(ctx, d)
	}
	x.mu.Lock()
	since, known := x.unsure[id]
	if !known && attempt > 1 { // what became of the try before is not known here
		since = x.now()
		x.note(id, since)
	}
	waits := !since.IsZero() && x.now().Sub(since).Abs() < late
	if !waits {
		x.note(id, x.now())
	}
	x.mu.Unlock()
	if waits {
		return "", errors.New("it may have the ticket already, and its search does not say yet")
	}
	return x.api.create(ctx, d)
}

// note keeps since when a message's ticket may be there; x.mu is locked. What is
// forgotten is waited for anew.
func (x *Tracker) note(id string, since time.Time) {
	if x.unsure == nil || len(x.unsure) >= mostKept {
		x.unsure = map[string]time.Time{}
	}
	x.unsure[id] = since
}

// rule is the one by which a recurrence was told of.
func (x *Tracker) rule(n wire.Notification) (Recurrence, bool) {
	for _, r := range x.cfg.Recurrence {
		if r.Fits(n.Service, n.Environment) {
			return r, true
		}
	}
	return Recurrence{}, false
}

// markOf is what we find our own text by.
func markOf(id string) string { return "[restartilka " + id + "]" }
