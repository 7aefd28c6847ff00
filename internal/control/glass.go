package control

import (
	"context"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// safeguards looks at what can stand between a person's start and the hosts,
// and that broken glass waives: see restart.Run.Waives. It gives what stood in
// the way, for people, or the refusal.
func (c *Control) safeguards(ctx context.Context, actor restart.Actor, run restart.Run, broken bool) (waived string, err error) {
	run.BreakGlass = broken
	if broken {
		if err := c.rights().Require(actor, authz.BreakGlass, c.objectOf(ctx, run)); err != nil {
			return "", err
		}
	}
	if err := c.behind(ctx, run, len(run.Plan.Chosen())); err != nil {
		return "", err
	}
	waived = both(c.waivedLog(run), c.waivedAlerts(ctx, run))
	if err := c.withoutTicket(ctx, run); err != nil {
		if !run.Waives(restart.SafeguardTicket) || restart.CodeOf(err) != restart.CodeTicket {
			return "", err
		}
		waived = both(waived, messageOf(err))
	}
	frozen, err := c.freezeOn(ctx, run)
	switch {
	case err != nil || frozen == nil:
		return waived, err
	case !run.Waives(restart.SafeguardFreeze):
		return "", c.frozen(ctx, *frozen, run)
	case waived == "":
		return frozen.sentence(run.Environment), nil
	}
	return both(frozen.sentence(run.Environment), waived), nil
}

// breakGlass adds to a start all that goes with broken glass, so that it is one
// transaction: the mark, the record, the place in the queue for review, and the
// messages.
func (c *Control) breakGlass(change *store.Change, actor restart.Actor, run restart.Run, plan restart.Plan, waived string) error {
	change.BreakGlass = &store.BreakGlass{By: actor.Name, Waived: waived}
	rec := about(c.record(actor, audit.RunBreakGlass), run)
	rec.Detail = "nothing stood in the way"
	if waived != "" {
		rec.Detail = "waived: " + waived
	}
	change.Records = append(change.Records, rec)

	n := c.notification(wire.EventBreakGlass, change.At, run, plan)
	n.Actor, n.Waived = actor.Name, waived
	if change.Run != nil {
		n.State = change.Run.To
	}
	return c.tell(change, n)
}

// notification starts what receivers outside are told of a run.
func (c *Control) notification(event string, at time.Time, run restart.Run, plan restart.Plan) wire.Notification {
	run.Plan = &plan
	return notify.About(event, at, run, c.cfg.URL)
}

// tell adds a message to a change, for those who are told of it.
func (c *Control) tell(change *store.Change, n wire.Notification) error {
	message, told, err := notify.Message(n, c.cfg.Channels(n))
	if told {
		change.Messages = append(change.Messages, message)
	}
	return err
}

// Unreviewed lists the runs that broke the glass and that nobody has looked at
// afterwards, the oldest first.
func (c *Control) Unreviewed(ctx context.Context, actor restart.Actor) ([]wire.BrokenGlass, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	list, err := c.cfg.Store.Unreviewed(ctx, wire.MaxPage)
	if err != nil {
		return nil, err
	}
	out := []wire.BrokenGlass{}
	for _, b := range list {
		out = append(out, glassInfo(b))
	}
	return out, nil
}

// Concerned counts those of Unreviewed that somebody should know of: all for who
// may review, and for others those of their own services.
func (c *Control) Concerned(ctx context.Context, actor restart.Actor) (int, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return 0, err
	}
	counts, err := c.cfg.Store.UnreviewedServices(ctx)
	n := 0
	for name, runs := range counts {
		service, err := c.cfg.Inventory.Service(ctx, name)
		if err != nil {
			service = restart.Service{Name: name}
		}
		object := authz.OfService(service)
		if c.rights().Decide(actor, authz.ReviewGlass, object).Allowed || c.rights().Decide(actor, authz.Control, object).Allowed {
			n += runs
		}
	}
	return n, err
}

// ReviewGlass notes what an auditor or an admin, who did not break it, has found
// of a run that broke the glass.
func (c *Control) ReviewGlass(ctx context.Context, actor restart.Actor, id, note string) (wire.BrokenGlass, error) {
	rec := c.record(actor, audit.BreakGlassReviewed)
	rec.Run, rec.Reason = clip(id), clip(note)
	err := c.rights().Require(actor, authz.ReviewGlass, authz.Wherever())
	if err == nil {
		err = restart.CheckID(id)
	}
	if err == nil {
		note, err = checkNote(note)
	}
	var glass store.BrokenGlass
	if err == nil {
		glass, err = c.cfg.Store.Glass(ctx, id)
	}
	if err == nil {
		err = c.rights().Require(actor, authz.ReviewGlass, c.objectOf(ctx, glass.Run))
	}
	if err != nil {
		return wire.BrokenGlass{}, c.refused(ctx, rec, err)
	}
	rec = about(rec, glass.Run)
	rec.Reason, rec.Detail = note, "broken by "+glass.By
	if err := c.cfg.Store.ReviewGlass(ctx, id, actor.Name, note, c.now(), rec); err != nil {
		return wire.BrokenGlass{}, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	glass, err = c.cfg.Store.Glass(ctx, id)
	return glassInfo(glass), err
}

// checkNote holds a note to the rules of a reason.
func checkNote(note string) (string, error) {
	checked, err := restart.CheckReason(note)
	if err != nil {
		refused := restart.Errorf(restart.CodeReason, "%s", strings.ReplaceAll(personal(err).Message, "the reason", "the note"))
		return "", restart.InField(refused.WithHint("say what you found: was it needed, and did it help?"), "note")
	}
	return checked, nil
}

// MayReview tells whether somebody may review a run's broken glass.
func (c *Control) MayReview(ctx context.Context, actor restart.Actor, b wire.BrokenGlass) bool {
	object := c.objectOf(ctx, restart.Run{Service: b.Service, Environment: b.Environment, Group: authz.Anywhere})
	return b.By != actor.Name && c.rights().Decide(actor, authz.ReviewGlass, object).Allowed
}

// MayBreakGlass tells whether somebody may start a run past its safeguards.
func (c *Control) MayBreakGlass(ctx context.Context, actor restart.Actor, run restart.Run) bool {
	return c.rights().Decide(actor, authz.BreakGlass, c.objectOf(ctx, run)).Allowed
}

func glassInfo(b store.BrokenGlass) wire.BrokenGlass {
	_, outcome, _ := strings.Cut(b.Run.Summary(), ": ")
	return wire.BrokenGlass{
		Run: b.Run.ID, Service: b.Run.Service, Environment: b.Run.Environment, Scenario: b.Run.Scenario, By: b.By, At: b.At, Reason: b.Run.Reason, Waived: b.Waived,
		State: b.Run.State, Outcome: outcome, ReviewedBy: b.ReviewedBy, ReviewedAt: orNull(b.ReviewedAt), Note: b.Note,
	}
}
