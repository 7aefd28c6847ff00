package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	schedulePoll  = time.Second      // how soon it is seen that a time has come
	scheduleHold  = 2 * time.Minute  // for which one server has the one that it starts; past that another may try it, too, and one of them does it
	scheduleAgain = 10 * time.Second // until what could not start just now is tried again
	dueAtOnce     = 20               // until there is a pause
)

// WatchSchedules starts what is planned at its time, until ctx ends. Any number
// of servers may: each schedule becomes one run at most.
func (c *Control) WatchSchedules(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.StartDue(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Logger.WarnContext(ctx, "start what is planned", "error", err)
		}
		timer := time.NewTimer(schedulePoll/2 + rand.N(schedulePoll)) //nolint:gosec // not a secret: not all servers are to ask at once
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// StartDue starts the schedules whose time has come. Rights, plan, freezes and
// locks are looked at anew; what is not as it was shown is not started, and
// told. What only can't start just now is tried again until it is missed.
func (c *Control) StartDue(ctx context.Context) error {
	var errs []error
	for range dueAtOnce { // one by one, so that each is judged by the time of its own
		due, now, err := c.cfg.Store.DueSchedules(ctx, scheduleHold, 1)
		if err != nil || len(due) == 0 {
			errs = append(errs, err)
			break
		}
		if err := c.startDue(ctx, due[0], now); err != nil {
			errs = append(errs, fmt.Errorf("schedule %s: %w", due[0].ID, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Control) startDue(ctx context.Context, s restart.Schedule, now time.Time) error {
	switch {
	case s.Restored:
		return c.notStarted(ctx, s, restart.ScheduleMissed, restart.Errorf(restart.CodeConflict, "the database was restored from a backup, and it may have been started or cancelled since"))
	case !now.Before(s.Until):
		return c.notStarted(ctx, s, restart.ScheduleMissed, whyMissed(s))
	}
	err := c.begin(ctx, s, now)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // the server stops: the next one is not to wait for the end of its hold
		return errors.Join(err, c.cfg.Store.DelaySchedule(context.WithoutCancel(ctx), s.ID, s.Code, s.Why, 0))
	}
	code := restart.CodeOf(err)
	if !passes(code) && !errors.Is(err, errUnchecked) {
		return c.notStarted(ctx, s, restart.ScheduleRefused, personal(err))
	}
	why := "the server itself failed: its log says how"
	if code != restart.CodeInternal {
		why = personal(err).Message
	}
	c.cfg.Logger.WarnContext(ctx, "what is planned can't start now", "schedule", s.ID, "run_id", s.Run, "service", s.Service, "error", err)
	return c.cfg.Store.DelaySchedule(ctx, s.ID, code, why, scheduleAgain)
}

// passes tells whether what keeps a run from starting may be over in a moment.
func passes(code restart.Code) bool {
	return slices.Contains([]restart.Code{
		restart.CodeInternal, restart.CodeUnavailable, restart.CodeAuditBacklog, restart.CodeLocked, restart.CodeUnreachable, restart.CodeDiskFull, restart.CodeConflict,
		restart.CodeSignInAgain,
	}, code)
}

func whyMissed(s restart.Schedule) *restart.Error {
	switch {
	case s.State == restart.ScheduleAwaiting:
		return restart.Errorf(restart.CodeForbidden, "nobody has approved it in time")
	case s.Why != "":
		return restart.Errorf(s.Code, "it could not start in time: %s", s.Why)
	}
	return restart.Errorf(restart.CodeUnavailable, "no server was there at its time, and it is too late now")
}

// begin makes the run of a schedule and starts it.
func (c *Control) begin(ctx context.Context, s restart.Schedule, now time.Time) error {
	actor, err := c.cfg.People.Person(ctx, s.Actor)
	if err != nil {
		return err
	}
	actor.Via, actor.From = viaSchedule, s.ID
	if err := c.windowStill(s, now); err != nil {
		return err
	}
	req := s.Request
	r, err := c.resolve(ctx, actor, &req)
	if err != nil {
		return c.orLapsed(ctx, actor, s, err)
	}
	if err := asShown(s, r.plan); err != nil {
		return err
	}
	if err := c.freeNow(ctx, actor, s, r.plan); err != nil {
		return err
	}
	onlyShown(&r.plan, *s.Plan)
	plan, file, err := c.complete(ctx, actor, r)
	if err != nil {
		return err
	}
	if err := allApproved(s, plan); err != nil {
		return err
	}
	if plan.Ticket == nil {
		plan.Ticket = s.Plan.Ticket // what has become of it, the start finds out
	}
	run := runOf(s)
	run.Via, run.Project, run.Params, run.Ticket, run.CreatedAt, run.Plan = viaSchedule, plan.Project, plan.Params, plan.TicketKey(), c.now(), &plan
	if err := c.keepAs(ctx, run, file.Bytes); err != nil {
		return err
	}
	return c.startPlanned(ctx, actor, run, s)
}

// startPlanned starts the run of a schedule in the transaction that ends the
// schedule, while it is its time, and that takes the service: of several servers,
// and after a crash, one does it, and none waits behind another run.
func (c *Control) startPlanned(ctx context.Context, actor restart.Actor, run restart.Run, s restart.Schedule) error {
	if _, err := c.safeguards(ctx, actor, run, false); err != nil {
		return err
	}
	change := c.queueing(actor, run, *run.Plan)
	change.Schedule, change.Hold = s.ID, run.HoldsService()
	change.Records[0].Detail += "; planned as " + s.ID
	if question := c.asked(run, *run.Plan); question != nil {
		if err := approvedBefore(s, question); err != nil {
			return err
		}
		change.Approval = question
		change.Records[0].Detail += ", approved by " + question.By
	}
	now, err := c.cfg.Store.Now(ctx) // hosts were looked at meanwhile
	if err != nil {
		return err
	}
	if err := c.windowStill(s, now); err != nil {
		return err
	}
	if err := c.applyStart(ctx, change); err != nil {
		return err
	}
	c.cfg.Scheduled(restart.ScheduleStarted)
	return nil
}

// keepAs stores a draft under the id that its schedule has fixed, in the place
// of one that a server has left there which died before it could start it.
func (c *Control) keepAs(ctx context.Context, run restart.Run, body []byte) error {
	_, err := c.cfg.Store.Run(ctx, run.ID)
	switch {
	case restart.CodeOf(err) == restart.CodeNotFound:
		_, err = c.cfg.Store.CreateRun(ctx, run, "", body, nil)
	case err == nil:
		_, err = c.cfg.Store.Apply(ctx, store.Change{RunID: run.ID, Run: &store.RunChange{From: []restart.RunState{restart.RunDraft}, Plan: run.Plan}})
	}
	return err
}

// windowStill refuses to start in a window that was taken away, or that is not
// open now by the times that it has meanwhile.
func (c *Control) windowStill(s restart.Schedule, now time.Time) error {
	if s.Window == "" {
		return nil
	}
	for _, w := range c.cfg.Windows {
		if w.Name != s.Window || !w.For(s.Service, s.Environment) {
			continue
		}
		next, err := w.Next(now)
		if err != nil || next.Holds(now) {
			return err
		}
	}
	return restart.Errorf(restart.CodePlanChanged, "maintenance window %s is not open now: it has other times since this was planned", s.Window).WithHint("plan it anew; see: restartilka planned windows")
}

// asShown refuses what is more, or something else, than was shown when it was
// planned: another version of the scenario, another group, other values, a host
// that was not in the plan. Hosts that are gone are none to touch. What was
// approved must be the same in everything.
func asShown(s restart.Schedule, now restart.Plan) error {
	shown := *s.Plan
	joined := missing(now.Asked(), shown.Asked(), "has joined the group")
	same := shown.Digest == now.Digest && shown.Group == now.Group && shown.Environment == now.Environment && maps.Equal(shown.Params, now.Params) && len(joined) == 0
	if s.Approval != nil {
		same = shown.Hash == now.Hash
	}
	if same {
		return nil
	}
	return changed(shown, now).WithHint("plan it anew, and look at the new plan")
}

// onlyShown leaves out what was not chosen in the plan as it was shown, whatever
// the reason: no host is touched that nobody was shown as one to be.
func onlyShown(p *restart.Plan, shown restart.Plan) {
	left := map[string]restart.Code{} // why, where it was not a person who wanted so
	for _, h := range shown.Hosts {
		left[h.Name] = h.Code
	}
	chosen := hostsOf(shown.Chosen())
	for i := range p.Hosts {
		if h := &p.Hosts[i]; !h.LeftOut && !slices.Contains(chosen, h.Name) {
			h.LeftOut, h.Why, h.Code = true, "left out as it was planned", left[h.Name]
		}
	}
}

// allApproved refuses to touch fewer hosts than were approved: they may answer in
// a moment.
func allApproved(s restart.Schedule, plan restart.Plan) error {
	if s.Approval == nil {
		return nil
	}
	for _, h := range plan.Asked() {
		if h.LeftOut && slices.ContainsFunc(s.Plan.Chosen(), func(x restart.PlannedHost) bool { return x.Name == h.Name }) {
			return restart.Errorf(restart.CodeUnreachable, "%s is among the hosts that were approved, and is not ready: %s", h.Name, strings.TrimPrefix(h.Why, h.Name+": "))
		}
	}
	return nil
}

// freeNow refuses to start past a freeze or without an approval that the rules
// ask for, and while another run has the service, or waits for it: what would
// wait behind that might begin at any time. It is asked before any host is looked
// at; the start itself takes the service, or is refused.
func (c *Control) freeNow(ctx context.Context, actor restart.Actor, s restart.Schedule, plan restart.Plan) error {
	run := runOf(s)
	if err := c.mayPassFreeze(ctx, actor, run); err != nil {
		return err
	}
	if question := c.asked(run, plan); question != nil {
		if err := approvedBefore(s, question); err != nil {
			return err
		}
	}
	if !run.HoldsService() {
		return nil
	}
	locks, err := c.cfg.Store.Locks(ctx)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.Bears(s.Service, s.Environment, lockedGroup(plan)) {
			return restart.Errorf(restart.CodeLocked, "run %s by %s holds %s", l.RunID, restart.Quote(l.Actor), strings.TrimSuffix(s.Service+" in "+s.Environment, " in "))
		}
	}
	queued, _, err := c.cfg.Store.Runs(ctx, store.RunFilter{Service: s.Service, Environment: s.Environment, States: []restart.RunState{restart.RunQueued}})
	for _, q := range queued {
		if q.HoldsService() {
			return restart.Errorf(restart.CodeLocked, "run %s by %s is about to begin", q.ID, restart.Quote(q.Actor))
		}
	}
	return err
}

// approvedBefore settles the question that the rules put before a run by the
// approval that its schedule has. One that it has not is not asked for any more.
func approvedBefore(s restart.Schedule, question *store.Approval) error {
	a := s.Approval
	if a == nil || a.Verdict != restart.ApprovalGiven {
		return restart.Errorf(restart.CodePlanChanged, "the rules ask for an approval now (rule %s), and did not when it was planned", restart.Quote(question.Rule)).WithHint("plan it anew")
	}
	question.Verdict, question.By, question.Reason = restart.ApprovalGiven, a.By, a.Reason
	return nil
}

// notStarted ends a schedule that does not become a run, and tells so. That
// somebody was quicker is no error.
func (c *Control) notStarted(ctx context.Context, s restart.Schedule, to restart.ScheduleState, why *restart.Error) error {
	action := audit.ScheduleMissed
	if to == restart.ScheduleRefused {
		action = audit.ScheduleRefused
	}
	rec := aboutSchedule(audit.Record{Time: c.now(), Actor: s.Actor, Origin: viaSchedule + " " + s.ID, Action: action}, s)
	rec.Outcome, rec.Detail = string(why.Code), clip(why.Message)
	messages, err := c.message(nil, wire.EventScheduleMissed, s, why.Message)
	if err != nil {
		return err
	}
	err = c.cfg.Store.ChangeSchedule(ctx, store.ScheduleChange{ID: s.ID, To: to, Code: why.Code, Why: why.Message, At: rec.Time, Records: []audit.Record{rec}, Messages: messages})
	if restart.CodeOf(err) == restart.CodeConflict {
		return nil
	}
	if err == nil {
		c.cfg.Committed()
		c.cfg.Announced()
		c.cfg.Scheduled(to)
	}
	return err
}
