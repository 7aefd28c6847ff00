package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// errUnchecked is the cause of a refusal that is over once a tracker answers.
var errUnchecked = errors.New("the tracker did not answer")

// Tickets knows the tickets of the company's trackers.
type Tickets interface {
	// Look tells of the ticket that a request is for: the one whose key was given,
	// else the first that the reason names; nil = none. A key that was given and is
	// of no tracker is an error (CodeInvalid).
	Look(ctx context.Context, given, reason string) (*restart.Ticket, error)
}

// findTicket finds out which ticket a plan is for. One that was given and that
// its tracker does not have is a slip, which is told at once.
func (c *Control) findTicket(ctx context.Context, p *restart.Plan) error {
	if c.cfg.Tickets == nil {
		return nil
	}
	t, err := c.cfg.Tickets.Look(ctx, p.Request.Ticket, p.Request.Reason)
	switch {
	case err != nil:
		return restart.InField(err, FieldTicket)
	case t == nil:
		p.Ticket, err = c.parentsTicket(ctx, p.Parent)
		return err
	case t.State != restart.TicketMissing:
		p.Ticket = t
	case p.Request.Ticket != "":
		missing := restart.Errorf(restart.CodeInvalid, "%s has no ticket %s, or none that this server may see", t.Tracker, t.Key)
		return restart.InField(missing.WithHint("look at its key"), FieldTicket)
	default:
		p.Warnings = append(p.Warnings, fmt.Sprintf("the reason names the ticket %s, which %s does not have, or does not show to this server", t.Key, t.Tracker))
	}
	return nil
}

// parentsTicket gives the ticket of the run that another is made from, where
// that other names none.
func (c *Control) parentsTicket(ctx context.Context, parent string) (*restart.Ticket, error) {
	if parent == "" {
		return nil, nil
	}
	run, err := c.cfg.Store.Run(ctx, parent)
	if err != nil || run.Ticket == "" {
		return nil, err
	}
	t, err := c.cfg.Tickets.Look(ctx, run.Ticket, "")
	if err != nil || t == nil || t.State == restart.TicketMissing {
		return nil, nil //nolint:nilerr // of a tracker that is not here any more
	}
	return t, nil
}

// warnOfTicket says of a plan's ticket what a person should know before the
// start.
func (c *Control) warnOfTicket(ctx context.Context, p *restart.Plan) error {
	err := c.demandTicket(*p, p.Ticket)
	switch t := p.Ticket; {
	case restart.CodeOf(err) == restart.CodeTicket:
		p.Warnings = append(p.Warnings, messageOf(err)+": it can't start now")
	case err != nil:
		return err
	case t != nil && t.State == restart.TicketClosed:
		p.Warnings = append(p.Warnings, fmt.Sprintf("ticket %s is closed: %s", t.Key, t.Status))
	case t != nil && t.State == restart.TicketUnchecked:
		p.Warnings = append(p.Warnings, uncheckedTicket(*t))
	}
	return c.warnOfRecurrence(ctx, p)
}

// withoutTicket is why a run may not start for its ticket's sake, as that stands
// now (CodeTicket); nil = it may.
func (c *Control) withoutTicket(ctx context.Context, run restart.Run) error {
	p := *run.Plan
	key := p.TicketKey()
	if c.cfg.Tickets == nil || key == "" {
		return c.demandTicket(p, p.Ticket)
	}
	now, err := c.cfg.Tickets.Look(ctx, key, "")
	switch {
	case restart.CodeOf(err) == restart.CodeInvalid && !restart.TicketBinds(p.Work):
		return nil
	case restart.CodeOf(err) == restart.CodeInvalid: // its tracker or project was taken out of the settings
		return restart.Errorf(restart.CodeTicket, "ticket %s is of none of the trackers here any more", key).
			WithHint("make the plan anew, with another\nwhere it can't wait, who has the right starts without it: --break-glass")
	case err != nil:
		return err
	}
	return c.demandTicket(p, now)
}

// demandTicket holds a plan, with its ticket as it stands now, to the rules.
func (c *Control) demandTicket(p restart.Plan, now *restart.Ticket) error {
	object := authz.Object{Service: p.Service, Environment: p.Environment, Group: p.Group}
	rule, asks := c.rights().Ticket(authz.ActionFor(p.Kind), object)
	if !restart.TicketBinds(p.Work) {
		return nil
	}
	switch {
	case asks && p.TicketKey() == "":
		return restart.Errorf(restart.CodeTicket, "a ticket is needed, and none is named (rule %s)", restart.Quote(rule.Rule)).
			WithHint("give it with --ticket KEY, or name it in the reason\nwhere it can't wait, who has the right starts without it: --break-glass")
	case now == nil:
		return nil // there is no tracker that could be asked
	case now.State == restart.TicketMissing:
		return restart.Errorf(restart.CodeTicket, "%s has no ticket %s any more, or none that this server may see", now.Tracker, now.Key).WithHint("make the plan anew, with another")
	case now.State == restart.TicketClosed && asks && rule.Open:
		return restart.Errorf(restart.CodeTicket, "ticket %s is closed: %s; an open one is needed (rule %s)", now.Key, now.Status, restart.Quote(rule.Rule)).
			WithHint("open it again, or name another\nwhere it can't wait, who has the right starts without it: --break-glass")
	case now.State == restart.TicketUnchecked && now.Strict:
		return restart.Errorf(restart.CodeTicket, "%s", uncheckedTicket(*now)).
			WithHint("try again when the tracker answers\nwhere it can't wait, who has the right starts without it: --break-glass").Because(errUnchecked)
	}
	return nil
}

func uncheckedTicket(t restart.Ticket) string {
	return fmt.Sprintf("ticket %s could not be checked with %s: %s", t.Key, t.Tracker, t.Why)
}

// PastTicket says why a plan can't be started for its ticket's sake, to who may
// see it; nil = it can.
func (c *Control) PastTicket(ctx context.Context, actor restart.Actor, run restart.Run) (*restart.Error, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil || run.Plan == nil {
		return nil, err
	}
	err := c.withoutTicket(ctx, run)
	if restart.CodeOf(err) == restart.CodeTicket {
		return personal(err), nil
	}
	return nil, err
}
