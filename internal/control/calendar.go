package control

import (
	"cmp"
	"context"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/calendar"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// shortest is how long a planned run lasts in a calendar, at least: what is
// shorter can't be seen there.
const shortest = 15 * time.Minute

// WriteCalendar writes what is planned as a calendar's file.
func (c *Control) WriteCalendar(ctx context.Context, actor restart.Actor, w io.Writer) error {
	list, err := c.Planned(ctx, actor, false)
	if err != nil {
		return err
	}
	var events []calendar.Event
	for _, p := range list {
		e := calendar.Event{
			UID: p.ID + "@" + c.host(), Summary: strings.TrimSuffix(string(p.Kind)+" "+p.Service+" in "+p.Environment, " in "), URL: c.cfg.URL + "/planned/" + p.ID,
			From: p.At, To: p.At.Add(shortest), Changed: p.CreatedAt, Tentative: p.State == restart.ScheduleAwaiting,
		}
		if p.Request.Rehearse {
			e.Summary = "rehearsal: " + e.Summary
		}
		lines := []string{p.Request.Reason, "by " + p.Actor, "scenario " + p.Scenario}
		if ticket := cmp.Or(p.Ticket, p.Request.Ticket); ticket != "" {
			lines = append(lines, "ticket "+ticket)
		}
		if p.Window != "" {
			e.To = p.Until
			lines = append(lines, "maintenance window "+p.Window)
		}
		if e.Tentative {
			lines = append(lines, "it waits for an approval, by "+p.Who)
		}
		e.Description = strings.Join(lines, "\n")
		events = append(events, e)
	}
	return calendar.Write(w, "restartilka", c.now(), events)
}

// host is the server's name in ids of events.
func (c *Control) host() string {
	if u, err := url.Parse(c.cfg.URL); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return "restartilka"
}

// Calendar tells whether somebody has an address of his calendar; CodeNotFound
// where he has none.
func (c *Control) Calendar(ctx context.Context, actor restart.Actor) (wire.Calendar, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return wire.Calendar{}, err
	}
	t, err := c.cfg.Store.CalendarTokenOf(ctx, actor.Name)
	return wire.Calendar{CreatedAt: t.CreatedAt, UsedAt: orNull(t.UsedAt)}, err
}

// MakeCalendar makes the address under which programs read what is planned, as
// somebody may see it, and nothing else. The one before ends.
func (c *Control) MakeCalendar(ctx context.Context, actor restart.Actor) (wire.Calendar, error) {
	rec := c.record(actor, audit.CalendarTokenCreated)
	err := c.rights().Require(actor, authz.See, authz.Object{})
	if err == nil {
		err = c.lasting(actor)
	}
	if err != nil {
		return wire.Calendar{}, c.refused(ctx, rec, err)
	}
	secret, hash := authn.NewSecret()
	if err := c.cfg.Store.SetCalendarToken(ctx, store.CalendarToken{Owner: actor.Name, Hash: hash, CreatedAt: rec.Time}, rec); err != nil {
		return wire.Calendar{}, err
	}
	c.cfg.Committed()
	return wire.Calendar{URL: c.cfg.URL + "/calendar.ics?token=" + secret, CreatedAt: rec.Time}, nil
}

// EndCalendar ends it at once.
func (c *Control) EndCalendar(ctx context.Context, actor restart.Actor) error {
	rec := c.record(actor, audit.CalendarTokenRevoked)
	err := c.rights().Require(actor, authz.See, authz.Object{})
	if err == nil {
		err = c.unbounded(actor)
	}
	if err == nil {
		err = c.cfg.Store.RemoveCalendarToken(ctx, actor.Name, rec)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return nil
}

// Subscriber gives who has made the address of a calendar, as he is now, for
// reading what is planned and nothing else. CodeUnauthorised where it is none
// that is good.
func (c *Control) Subscriber(ctx context.Context, secret, from string) (restart.Actor, error) {
	bad := restart.Errorf(restart.CodeUnauthorised, "this address of a calendar is not good").WithHint("make another on your profile page")
	if !authn.IsSecret(secret) {
		return restart.Actor{}, bad
	}
	t, err := c.cfg.Store.CalendarTokenByHash(ctx, authn.Hash(secret))
	if restart.CodeOf(err) == restart.CodeNotFound {
		return restart.Actor{}, bad
	}
	if err != nil {
		return restart.Actor{}, err
	}
	actor, err := c.cfg.People.Person(ctx, t.Owner)
	if err == nil && len(actor.Roles) == 0 { // disabled, or gone
		err = bad
	}
	actor.Via, actor.From = "calendar", from
	return actor, err
}
