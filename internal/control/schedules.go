package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	// DefaultGrace is how late what was given a time may start.
	DefaultGrace = 15 * time.Minute
	// MaxAhead bounds how far ahead a run is planned, so that a slip in the year is
	// seen.
	MaxAhead = 90 * 24 * time.Hour
	// mostSchedules is how many runs of one person may be planned at once.
	mostSchedules = 50
)

// viaSchedule is the way in of what a person has planned before.
const viaSchedule = "schedule"

// Later confirms a draft for a time to come, as Start does for now. What is
// confirmed is checked as by a start, and again at that time: see StartDue. The
// same draft again gives what it was planned as, however old it is by then.
func (c *Control) Later(ctx context.Context, actor restart.Actor, id string, req wire.LaterRequest) (restart.Schedule, error) {
	run, err := c.runFor(ctx, actor, id, audit.ScheduleMade)
	if err != nil {
		return restart.Schedule{}, err
	}
	rec := about(c.record(actor, audit.ScheduleMade), run)
	refuse := func(err error) (restart.Schedule, error) { return restart.Schedule{}, c.refused(ctx, rec, err) }
	if run.Actor != actor.Name {
		return refuse(restart.Errorf(restart.CodeForbidden, "this plan is %s's to confirm", run.Actor).WithHint("make your own"))
	}
	before, err := c.cfg.Store.ScheduleOf(ctx, id)
	if err != nil {
		return restart.Schedule{}, err
	}
	if before != nil {
		again, err := c.plannedBefore(*before, run, req)
		return again, c.refused(ctx, rec, err)
	}
	switch {
	case run.Plan == nil || run.State != restart.RunDraft:
		return refuse(restart.Errorf(restart.CodeConflict, "run %s is no plan that waits to be started", id))
	case run.Parent != "":
		return refuse(restart.Errorf(restart.CodeInvalid, "what another run has left undone can't be planned for later").WithHint("start it now, or ask for a new run"))
	}
	plan, err := c.confirm(ctx, actor, run, wire.StartRequest{Hosts: req.Hosts})
	if err != nil {
		return refuse(err)
	}
	s, err := c.timeOf(run, req)
	if err != nil {
		return refuse(err)
	}
	if err := c.thawedAt(ctx, run, s.At); err != nil {
		return refuse(err)
	}
	run.Plan = plan
	if err := c.withoutTicket(ctx, run); err != nil {
		return refuse(err)
	}
	if plan.Warnings, err = c.warnOfLapse(ctx, actor, run, s); err != nil {
		return restart.Schedule{}, err
	}
	s.Run = restart.NewID(s.At) // ids tell when runs were asked for: this one will be then
	c.describe(&s, run, *plan)
	messages, records, err := c.planned(ctx, actor, s)
	if err != nil {
		return restart.Schedule{}, err
	}
	before, err = c.cfg.Store.AddSchedule(ctx, s, mostSchedules, messages, records...)
	switch {
	case err != nil:
		return refuse(err)
	case before != nil: // two clicks at once: the other was quicker
		again, err := c.plannedBefore(*before, run, req)
		return again, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	if len(messages) > 0 {
		c.cfg.Announced()
	}
	return s, nil
}

// plannedBefore answers who plans again what is planned: the same for a double
// click or a client that asked again, a refusal where something else was asked, or
// where it has ended without a run.
func (c *Control) plannedBefore(s restart.Schedule, run restart.Run, req wire.LaterRequest) (restart.Schedule, error) {
	if !s.State.Open() && s.State != restart.ScheduleStarted {
		return s, restart.Errorf(restart.CodeConflict, "this plan was planned before, and is %s", s.State).WithHint("look at it: restartilka planned; or make a new plan")
	}
	same := req.Window == s.Window
	if s.Window == "" {
		at, _, err := c.timeTyped(req)
		same = same && err == nil && at.Equal(s.At)
	}
	switch {
	case len(req.Hosts) > 0:
		same = same && sameHosts(req.Hosts, s.Plan.Chosen())
	case run.ID == s.Draft && run.Plan != nil: // all that the plan did not leave out
		same = same && slices.Equal(hostsOf(run.Plan.Chosen()), hostsOf(s.Plan.Chosen()))
	}
	if !same {
		return s, plannedAlready(s)
	}
	return s, nil
}

func hostsOf(chosen []restart.PlannedHost) []string {
	var out []string
	for _, h := range chosen {
		out = append(out, h.Name)
	}
	return out
}

// notPlanned refuses a draft that is planned for a time to come, or was started so.
func (c *Control) notPlanned(ctx context.Context, draft restart.Run) error {
	s, err := c.cfg.Store.ScheduleOf(ctx, draft.ID)
	if err != nil || s == nil || !s.State.Open() && s.State != restart.ScheduleStarted {
		return err
	}
	return plannedAlready(*s)
}

func plannedAlready(s restart.Schedule) error {
	return restart.Errorf(restart.CodeConflict, "this plan is planned already, for %s", readable(inZone(s.At, s.Zone))).WithHint("look at it: restartilka planned; or make a new plan")
}

// timeOf starts a schedule with the time that was asked for.
func (c *Control) timeOf(run restart.Run, req wire.LaterRequest) (restart.Schedule, error) {
	now := c.now()
	s := restart.Schedule{ID: restart.NewID(now), Draft: run.ID, CreatedAt: now, Zone: req.Zone, Window: req.Window}
	if s.Zone == "" {
		s.Zone = c.cfg.Zone
	}
	if (req.At == "") == (req.Window == "") {
		return s, restart.InField(restart.Errorf(restart.CodeInvalid, "say when: a time, or a maintenance window").WithHint("one of the two"), "at")
	}
	if req.Window != "" {
		return s, restart.InField(c.inWindow(&s, run, now), "window")
	}
	at, zone, err := c.timeTyped(req)
	if err != nil {
		return s, err
	}
	switch {
	case !at.After(now):
		return s, restart.InField(restart.Errorf(restart.CodeInvalid, "the time is past: %s", readable(at.In(zone))), "at")
	case at.Sub(now) > MaxAhead:
		return s, restart.InField(restart.Errorf(restart.CodeInvalid, "a run that is planned more than %d days ahead is taken for a slip", int(MaxAhead.Hours()/24)).WithHint("is the year right?"), "at")
	}
	s.At, s.Until = at, at.Add(c.cfg.Grace)
	return s, nil
}

// timeTyped reads the time that was asked for, by the clock of its zone.
func (c *Control) timeTyped(req wire.LaterRequest) (time.Time, *time.Location, error) {
	name := req.Zone
	if name == "" {
		name = c.cfg.Zone
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return time.Time{}, nil, restart.InField(restart.Errorf(restart.CodeInvalid, "there is no time zone %s", restart.Quote(req.Zone)).WithHint("an IANA name, such as Europe/Berlin or UTC"), "zone")
	}
	at, err := restart.LocalTime(req.At, zone)
	return at.UTC().Truncate(time.Microsecond), zone, restart.InField(err, "at")
}

// inWindow gives a schedule the time of its window: the one that is open now, or
// the next.
func (c *Control) inWindow(s *restart.Schedule, run restart.Run, now time.Time) error {
	i := slices.IndexFunc(c.cfg.Windows, func(w restart.MaintenanceWindow) bool { return w.Name == s.Window })
	if i < 0 {
		var all []string
		for _, w := range c.cfg.Windows {
			all = append(all, w.Name)
		}
		return restart.Errorf(restart.CodeNotFound, "there is no maintenance window %s", restart.Quote(s.Window)).WithHint("there is: %s", orNone(all))
	}
	window := c.cfg.Windows[i]
	if !window.For(run.Service, run.Environment) {
		return restart.Errorf(restart.CodeInvalid, "maintenance window %s is not for %s in %s", window.Name, run.Service, orNone([]string{run.Environment})).WithHint("see: restartilka planned windows")
	}
	next, err := window.Next(now)
	if err != nil {
		return err
	}
	s.Zone, s.At, s.Until = window.Zone, next.From.UTC(), next.To.UTC()
	if s.At.Before(now) {
		s.At = now
	}
	return nil
}

// thawedAt refuses a time at which a freeze that stands already will apply.
func (c *Control) thawedAt(ctx context.Context, run restart.Run, at time.Time) error {
	frozen, err := c.freezeAt(ctx, run, time.Time{}, at)
	if err != nil || frozen == nil {
		return err
	}
	return restart.InField(restart.Errorf(restart.CodeFrozen, "at that time %s", frozen.sentence(run.Environment)).WithHint("choose a time after that, or before it begins"), "at")
}

// describe fills a schedule with what was confirmed.
func (c *Control) describe(s *restart.Schedule, run restart.Run, plan restart.Plan) {
	s.Request, s.Plan, s.Hosts, s.Ticket = plan.Request, &plan, len(plan.Chosen()), plan.TicketKey()
	s.Service, s.Environment, s.Group, s.Scenario, s.Digest, s.Kind = run.Service, run.Environment, run.Group, run.Scenario, run.Digest, run.Kind
	s.Actor, s.Via, s.State = run.Actor, run.Via, restart.ScheduleWaiting
	for _, h := range plan.Asked() {
		if h.LeftOut {
			s.Unticked = append(s.Unticked, h.Name)
		}
	}
	if question := c.asked(run, plan); question != nil {
		s.State = restart.ScheduleAwaiting
		s.Approval = &restart.Approval{Digest: plan.Frozen(), Rule: question.Rule, AskedAt: s.CreatedAt, Until: s.Until}
	}
}

// planned gives what is told and recorded of a new schedule.
func (c *Control) planned(ctx context.Context, actor restart.Actor, s restart.Schedule) ([]store.Message, []audit.Record, error) {
	rec := aboutSchedule(c.record(actor, audit.ScheduleMade), s)
	rec.Detail = clip(fmt.Sprintf("%s for %s: %s", s.ID, readable(inZone(s.At, s.Zone)), chosenNames(*s.Plan)))
	if s.Window != "" {
		rec.Detail = clip(rec.Detail + "; window " + s.Window)
	}
	records := []audit.Record{rec}
	messages, err := c.message(nil, wire.EventRunScheduled, s, "")
	if err != nil || s.Approval == nil {
		return messages, records, err
	}
	asked := aboutSchedule(c.record(actor, audit.ScheduleApprovalRequested), s)
	who := c.mayApprove(ctx, runOf(s))
	asked.Detail = fmt.Sprintf("asked for by the rule %s; may approve: %s; plan %s", restart.Quote(s.Approval.Rule), who, s.Approval.Digest)
	n := c.notificationOf(wire.EventApprovalRequested, s, "")
	n.Rule, n.Who, n.Until = s.Approval.Rule, who, &s.Until
	messages, err = c.messageOf(messages, n)
	return messages, append(records, asked), err
}

// runOf is the run that a schedule is to become, as far as rights and messages
// go.
func runOf(s restart.Schedule) restart.Run {
	r := restart.Run{
		ID: s.Run, Scenario: s.Scenario, Digest: s.Digest, Kind: s.Kind, Service: s.Service, Environment: s.Environment, Project: s.Request.Project, Group: s.Group,
		Actor: s.Actor, Via: s.Via, Reason: s.Request.Reason, Ticket: cmp.Or(s.Ticket, s.Request.Ticket), State: restart.RunDraft, CreatedAt: s.CreatedAt, Plan: s.Plan,
	}
	if s.Request.Rehearse {
		r.Work = restart.WorkRehearse
	}
	return r
}

// aboutSchedule fills a record with what it says of a schedule.
func aboutSchedule(rec audit.Record, s restart.Schedule) audit.Record {
	rec = about(rec, runOf(s))
	if s.Plan != nil {
		rec.Params = s.Plan.Params
	}
	return rec
}

// notificationOf starts what receivers outside are told of a schedule; why is
// what keeps it from starting.
func (c *Control) notificationOf(event string, s restart.Schedule, why string) wire.Notification {
	n := notify.About(event, c.now(), runOf(s), c.cfg.URL)
	n.URL, n.Schedule, n.PlannedFor, n.State, n.Explanation = c.cfg.URL+"/planned/"+s.ID, s.ID, &s.At, "", why
	return n
}

func (c *Control) message(messages []store.Message, event string, s restart.Schedule, why string) ([]store.Message, error) {
	return c.messageOf(messages, c.notificationOf(event, s, why))
}

func (c *Control) messageOf(messages []store.Message, n wire.Notification) ([]store.Message, error) {
	m, told, err := notify.Message(n, c.cfg.Channels(n))
	if err == nil && told {
		messages = append(messages, m)
	}
	return messages, err
}

func inZone(t time.Time, zone string) time.Time {
	if z, err := time.LoadLocation(zone); err == nil {
		return t.In(z)
	}
	return t.UTC()
}

// Planned lists what is planned, by its time; over lists what is over instead,
// the last to end first. Plans are left out.
func (c *Control) Planned(ctx context.Context, actor restart.Actor, over bool) ([]wire.Planned, error) {
	list := c.cfg.Store.OpenSchedules
	if over {
		list = c.cfg.Store.EndedSchedules
	}
	return c.listPlanned(ctx, actor, list)
}

// PlannedAwaiting lists what is planned and waits for an approval, by when its
// time is over, without the plans.
func (c *Control) PlannedAwaiting(ctx context.Context, actor restart.Actor) ([]wire.Planned, error) {
	return c.listPlanned(ctx, actor, c.cfg.Store.AwaitingSchedules)
}

func (c *Control) listPlanned(ctx context.Context, actor restart.Actor, list func(context.Context, int) ([]restart.Schedule, error)) ([]wire.Planned, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	found, err := list(ctx, wire.MaxPage)
	out := make([]wire.Planned, 0, len(found))
	for _, s := range found {
		out = append(out, c.plannedFor(ctx, actor, s))
	}
	return out, err
}

// PlannedOne gives one with the plan as it was shown.
func (c *Control) PlannedOne(ctx context.Context, actor restart.Actor, id string) (wire.Planned, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return wire.Planned{}, err
	}
	if err := restart.CheckID(id); err != nil {
		return wire.Planned{}, err
	}
	s, err := c.cfg.Store.Schedule(ctx, id)
	if err != nil {
		return wire.Planned{}, err
	}
	return c.plannedFor(ctx, actor, s), nil
}

// plannedFor says of a schedule what somebody may do with it.
func (c *Control) plannedFor(ctx context.Context, actor restart.Actor, s restart.Schedule) wire.Planned {
	p := wire.Planned{Schedule: s, MayCancel: s.State.Open() && c.mayCancel(ctx, actor, s) == nil}
	if s.State == restart.ScheduleAwaiting {
		p.Who, p.MayDecide = c.mayApprove(ctx, runOf(s)), c.mayDecideLater(ctx, actor, s) == nil
	}
	return p
}

// Windows lists the maintenance windows, by when they open; those that a
// service in an environment can be planned for, or with an empty service all.
func (c *Control) Windows(_ context.Context, actor restart.Actor, service, environment string) ([]wire.MaintenanceWindow, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	out := []wire.MaintenanceWindow{}
	now := c.now()
	for _, w := range c.cfg.Windows {
		if service != "" && !w.For(service, environment) {
			continue
		}
		next, err := w.Next(now)
		if err != nil {
			return nil, err
		}
		out = append(out, wire.MaintenanceWindow{MaintenanceWindow: w, Open: next.Holds(now), Begins: next.From, Ends: next.To})
	}
	slices.SortStableFunc(out, func(a, b wire.MaintenanceWindow) int { return a.Begins.Compare(b.Begins) })
	return out, nil
}

// Zone names the time zone in which times are meant where none is given.
func (c *Control) Zone() string { return c.cfg.Zone }
