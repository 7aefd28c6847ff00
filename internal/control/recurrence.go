package control

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Recurrence says when restarts of a service for one reason are worth a ticket.
// The first that fits counts.
type Recurrence struct {
	Fits     func(service, environment string) bool
	Restarts int
	Days     int
	Receiver string // of the message by which the ticket is opened
}

const (
	recurrencePoll = 30 * time.Second
	// recurAgain is how long after a ticket no second one is opened for the same.
	recurAgain = 30 * 24 * time.Hour
)

// WatchRecurrences has tickets opened, until ctx ends. Any number of servers may.
func (c *Control) WatchRecurrences(ctx context.Context) {
	if len(c.cfg.Recurs) == 0 {
		return
	}
	for ctx.Err() == nil {
		if err := c.NoteRecurrences(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Logger.WarnContext(ctx, "look for restarts that recur", "error", err)
		}
		timer := time.NewTimer(recurrencePoll/2 + rand.N(recurrencePoll)) //nolint:gosec // not a secret: not all servers are to ask at once
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// NoteRecurrences has a ticket opened about each service that is restarted again
// and again for the same reason: once, however many servers look.
func (c *Control) NoteRecurrences(ctx context.Context) error {
	now := c.now()
	looked := map[[2]int]bool{}
	for _, rule := range c.cfg.Recurs {
		if looked[[2]int{rule.Days, rule.Restarts}] {
			continue
		}
		looked[[2]int{rule.Days, rule.Restarts}] = true
		found, err := c.cfg.Store.Recurring(ctx, now.AddDate(0, 0, -rule.Days), rule.Restarts, recurAgain)
		if err != nil {
			return err
		}
		for _, r := range found {
			mine := c.recurrenceRule(r)
			if mine == nil || mine.Days != rule.Days || mine.Restarts != rule.Restarts {
				continue
			}
			if err := c.noteRecurrence(ctx, *mine, r, now); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Control) recurrenceRule(r store.Recurring) *Recurrence {
	for i, rule := range c.cfg.Recurs {
		if rule.Fits(r.Service, r.Environment) {
			return &c.cfg.Recurs[i]
		}
	}
	return nil
}

func (c *Control) noteRecurrence(ctx context.Context, rule Recurrence, r store.Recurring, now time.Time) error {
	last, err := c.cfg.Store.Run(ctx, r.Latest)
	if err != nil {
		return err
	}
	n := notify.About(wire.EventRecurrence, now, last, c.cfg.URL)
	n.Restarts, n.Days = r.Runs, rule.Days
	message, told, err := notify.Message(n, append(c.cfg.Channels(n), rule.Receiver))
	if err != nil || !told {
		return err
	}
	rec := about(audit.Record{Time: now, Actor: c.server(), Origin: "local", Action: audit.RecurrenceNoted}, last)
	rec.Params, rec.Detail = nil, fmt.Sprintf("%d restarts within %d days for this reason", r.Runs, rule.Days)
	first, err := c.cfg.Store.NoteRecurrence(ctx, r, message, now, recurAgain, rec)
	if err != nil || !first {
		return err
	}
	c.cfg.Committed()
	c.cfg.Announced()
	c.cfg.Logger.InfoContext(ctx, "restarts for one reason recur", "service", r.Service, "environment", r.Environment, "restarts", r.Runs)
	return nil
}

// server names this one in records of what it does by itself.
func (c *Control) server() string {
	if c.cfg.Server == nil {
		return "server"
	}
	return "server:" + c.cfg.Server.Facts().Name
}

// warnOfRecurrence names the ticket that was opened about restarts like this one.
func (c *Control) warnOfRecurrence(ctx context.Context, p *restart.Plan) error {
	if len(c.cfg.Recurs) == 0 || p.Kind != restart.KindRestart {
		return nil
	}
	ticket, err := c.cfg.Store.RecurrenceTicket(ctx, p.Service.Name, p.Environment, p.Request.Reason)
	if err == nil && ticket != "" {
		p.Warnings = append(p.Warnings, fmt.Sprintf("restarts for this reason recur; ticket %s is about them", ticket))
	}
	return err
}
