package control

import (
	"context"
	"fmt"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// scheduleFor gives what somebody wants to do something about. That there is
// none is a refusal as any other.
func (c *Control) scheduleFor(ctx context.Context, actor restart.Actor, id string, action audit.Action) (restart.Schedule, error) {
	p, err := c.PlannedOne(ctx, actor, id)
	if err != nil {
		rec := c.record(actor, action)
		rec.Detail = clip(id)
		return restart.Schedule{}, c.refused(ctx, rec, err)
	}
	return p.Schedule, nil
}

// mayCancel checks that somebody may cancel a schedule: who planned it, but by a
// token that was made for less, and who may stop runs of its service.
func (c *Control) mayCancel(ctx context.Context, actor restart.Actor, s restart.Schedule) error {
	run := runOf(s)
	if ownRequest(actor, run) {
		return c.rights().Require(actor, authz.See, authz.Object{})
	}
	return c.mayControl(ctx, actor, run, authz.Control)
}

// CancelLater ends a schedule before its time.
func (c *Control) CancelLater(ctx context.Context, actor restart.Actor, id string) (restart.Schedule, error) {
	s, err := c.scheduleFor(ctx, actor, id, audit.ScheduleCancelled)
	if err != nil {
		return s, err
	}
	rec := aboutSchedule(c.record(actor, audit.ScheduleCancelled), s)
	rec.Detail = fmt.Sprintf("%s, by %s for %s", s.ID, s.Actor, readable(inZone(s.At, s.Zone)))
	if err := c.mayCancel(ctx, actor, s); err != nil {
		return s, c.refused(ctx, rec, err)
	}
	if s.State == restart.ScheduleCancelled && s.EndedBy == actor.Name {
		return s, nil // a double click, or a client that asked again
	}
	n := c.notificationOf(wire.EventScheduleCancelled, s, "")
	n.By = actor.Name
	messages, err := c.messageOf(nil, n)
	if err != nil {
		return s, err
	}
	change := store.ScheduleChange{ID: s.ID, To: restart.ScheduleCancelled, By: actor.Name, At: rec.Time, Records: []audit.Record{rec}, Messages: messages}
	return c.changeSchedule(ctx, rec, change)
}

// changeSchedule makes a change of a schedule that a person has asked for.
func (c *Control) changeSchedule(ctx context.Context, rec audit.Record, change store.ScheduleChange) (restart.Schedule, error) {
	if err := c.cfg.Store.ChangeSchedule(ctx, change); err != nil {
		return restart.Schedule{}, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	if len(change.Messages) > 0 {
		c.cfg.Announced()
	}
	if !change.To.Open() {
		c.cfg.Scheduled(change.To)
	}
	return c.cfg.Store.Schedule(ctx, change.ID)
}

// mayDecideLater checks that somebody may approve or reject what is planned:
// another person than who asked, with the right to.
func (c *Control) mayDecideLater(ctx context.Context, actor restart.Actor, s restart.Schedule) error {
	run := runOf(s)
	if err := c.rights().Require(actor, authz.Approve, c.objectOf(ctx, run)); err != nil {
		return err
	}
	if restart.SamePerson(actor.Name, s.Actor) {
		return restart.Errorf(restart.CodeForbidden, "%s may not decide about this run, which %s has asked for: another person approves or rejects it", actor.Name, s.Actor).
			WithHint("ask %s\nto take it back: restartilka planned cancel %s", c.mayApprove(ctx, run), s.ID)
	}
	return nil
}

// ApproveLater lets what is planned start at its time. It is good for this plan
// alone: at that time the plan must be the same.
func (c *Control) ApproveLater(ctx context.Context, actor restart.Actor, id string, req wire.DecideLaterRequest) (restart.Schedule, error) {
	return c.decideLater(ctx, actor, id, restart.ApprovalGiven, req)
}

// RejectLater ends what waits for an approval. It needs the same right.
func (c *Control) RejectLater(ctx context.Context, actor restart.Actor, id string, req wire.DecideLaterRequest) (restart.Schedule, error) {
	return c.decideLater(ctx, actor, id, restart.ApprovalRefused, req)
}

func (c *Control) decideLater(ctx context.Context, actor restart.Actor, id string, verdict restart.ApprovalVerdict, req wire.DecideLaterRequest) (restart.Schedule, error) {
	action, to := audit.ScheduleApproved, restart.ScheduleWaiting
	if verdict == restart.ApprovalRefused {
		action, to = audit.ScheduleRejected, restart.ScheduleRejected
	}
	s, err := c.scheduleFor(ctx, actor, id, action)
	if err != nil {
		return s, err
	}
	rec := aboutSchedule(c.record(actor, action), s)
	rec.Reason = clip(req.Reason)
	refuse := func(err error) (restart.Schedule, error) { return s, c.refused(ctx, rec, err) }
	if err := c.mayDecideLater(ctx, actor, s); err != nil {
		return refuse(err)
	}
	reason, err := checkLooked(verdict, req.Reason)
	if err != nil {
		return refuse(err)
	}
	switch a := s.Approval; {
	case a != nil && a.Verdict == verdict && a.By == actor.Name && a.Reason == reason:
		return s, nil // a double click, or a client that asked again
	case s.State != restart.ScheduleAwaiting:
		return refuse(restart.Errorf(restart.CodeConflict, "what is planned as %s is %s: it waits for no approval", s.ID, s.State).WithHint("see: restartilka planned"))
	}
	if verdict == restart.ApprovalGiven {
		if err := c.plannedStill(ctx, s); err != nil {
			return refuse(err)
		}
	}
	rec.Reason, rec.Detail = reason, fmt.Sprintf("%s, asked for by %s: %s; plan %s", s.ID, s.Actor, s.Request.Reason, s.Approval.Digest)
	n := c.notificationOf(wire.EventApprovalDecided, s, "")
	n.Rule, n.Verdict, n.By, n.Note = s.Approval.Rule, verdict, actor.Name, reason
	messages, err := c.messageOf(nil, n)
	if err != nil {
		return s, err
	}
	return c.changeSchedule(ctx, rec, store.ScheduleChange{
		ID: s.ID, To: to, By: actor.Name, Verdict: verdict, Reason: reason, At: rec.Time, Records: []audit.Record{rec}, Messages: messages,
	})
}

// plannedStill checks that what is planned is what would be done now, in the
// name and with the rights of who asked for it.
func (c *Control) plannedStill(ctx context.Context, s restart.Schedule) error {
	requester, err := c.cfg.People.Person(ctx, s.Actor)
	if err != nil {
		return err
	}
	again := s.Request
	r, err := c.resolve(ctx, requester, &again)
	if err != nil {
		return err
	}
	return asShown(s, r.plan)
}
