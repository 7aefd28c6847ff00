package control

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// DraftLife is how long a plan may be looked at before it must be made again.
const DraftLife = 15 * time.Minute

// Draft plans a request and keeps it as a draft, to be shown and confirmed.
// The same idempotency key of the same actor gives the same run again.
func (c *Control) Draft(ctx context.Context, actor restart.Actor, req restart.Request, idempotencyKey string) (restart.Run, error) {
	rec := c.record(actor, audit.RunRefused)
	rec.Service, rec.Environment, rec.Reason = clip(req.Service), clip(req.Environment), clip(req.Reason)
	if err := checkKey(idempotencyKey); err != nil {
		return restart.Run{}, err
	}
	if err := CheckTicket(req.Ticket); err != nil {
		return restart.Run{}, c.refused(ctx, rec, restart.InField(err, FieldTicket))
	}
	if before, err := c.madeBefore(ctx, actor, restart.Run{}, req, idempotencyKey); before != nil || err != nil {
		return orZero(before), err
	}
	p, file, err := c.plan(ctx, actor, &req)
	if err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	return c.keep(ctx, actor, p, file, idempotencyKey)
}

// keep stores a plan as a draft.
func (c *Control) keep(ctx context.Context, actor restart.Actor, p restart.Plan, file scenario.File, idempotencyKey string) (restart.Run, error) {
	now := c.now()
	run := restart.Run{
		ID: restart.NewID(now), Scenario: p.Scenario, Digest: p.Digest, Kind: p.Kind, Service: p.Service.Name,
		Environment: p.Environment, Project: p.Project, Group: p.Group, Params: p.Params,
		Actor: actor.Name, Via: actor.Via, Reason: p.Request.Reason, Ticket: p.TicketKey(), Parent: p.Parent, Work: p.Work,
		State: restart.RunDraft, CreatedAt: now, Plan: &p,
	}
	existing, err := c.cfg.Store.CreateRun(ctx, run, idempotencyKey, file.Bytes, nil)
	if err != nil {
		return restart.Run{}, err
	}
	if existing != nil {
		return *existing, nil
	}
	return run, nil
}

// CheckTicket accepts the key of a ticket, or nothing.
func CheckTicket(ticket string) error {
	if len(ticket) > 64 || restart.Escape(ticket) != ticket {
		return restart.Errorf(restart.CodeInvalid, "ticket %s is not a key such as WEB-123", restart.Quote(ticket))
	}
	return nil
}

func checkKey(idempotencyKey string) error {
	if len(idempotencyKey) > 128 || restart.Escape(idempotencyKey) != idempotencyKey {
		return restart.Errorf(restart.CodeInvalid, "the idempotency key is not at most 128 printable characters")
	}
	return nil
}

// madeBefore gives the run that the actor's key has made already, before
// anything is planned: a client that asks again gets the same run, however the
// hosts stand meanwhile. of has the parent and the work of a run that is to be
// made from another. nil where there is none, or a draft of which nothing will
// come: that one is dropped, and the key makes another.
func (c *Control) madeBefore(ctx context.Context, actor restart.Actor, of restart.Run, req restart.Request, key string) (*restart.Run, error) {
	if key == "" || c.rights().Require(actor, authz.See, authz.Object{}) != nil {
		return nil, nil // planning refuses nobody
	}
	before, err := c.cfg.Store.RunByKey(ctx, actor.Name, key)
	if err != nil || before == nil || before.Plan == nil {
		return nil, err
	}
	if trimmed, err := restart.CheckReason(req.Reason); err == nil {
		req.Reason = trimmed
	}
	if before.Parent != of.Parent || before.Work != of.Work || !before.Plan.Request.Same(req) {
		return nil, store.OtherRequest(*before)
	}
	useless, err := c.useless(ctx, *before)
	if err != nil || !useless {
		return before, err
	}
	if err := c.cfg.Store.DropDraft(ctx, before.ID); err != nil {
		return nil, err
	}
	return c.cfg.Store.RunByKey(ctx, actor.Name, key) // nil, unless it was started meanwhile
}

// useless tells whether a run is a draft of which nothing will come: too old to be
// confirmed, or planned for a time at which it was not started.
func (c *Control) useless(ctx context.Context, run restart.Run) (bool, error) {
	if run.State != restart.RunDraft {
		return false, nil
	}
	s, err := c.cfg.Store.ScheduleOf(ctx, run.ID)
	if err != nil || s != nil {
		return s != nil && !s.State.Open() && s.State != restart.ScheduleStarted, err
	}
	return c.tooOld(*run.Plan), nil
}

// tooOld tells whether a plan can't be confirmed any more.
func (c *Control) tooOld(p restart.Plan) bool { return c.now().Sub(p.MadeAt) > DraftLife }

func orZero(run *restart.Run) restart.Run {
	if run == nil {
		return restart.Run{}
	}
	return *run
}

// Start confirms a draft: its request is resolved again, and if service,
// hosts, scenario or values are not what was shown, it is refused with the
// difference (CodePlanChanged). One that is planned for a time to come starts then
// and not by this (CodeConflict). Where the rules ask for an approval the run
// waits for it. Starting a run that is started, or waits, gives it back; one
// that waits is started past that by broken glass.
func (c *Control) Start(ctx context.Context, actor restart.Actor, id string, req wire.StartRequest) (restart.Run, error) {
	run, err := c.runFor(ctx, actor, id, audit.RunRefused)
	if err != nil {
		return restart.Run{}, err
	}
	rec := about(c.record(actor, audit.RunRefused), run)
	if run.State == restart.RunAwaitingApproval && req.BreakGlass && run.Actor == actor.Name {
		return c.startWaiting(ctx, actor, run, req)
	}
	if run.State == restart.RunDraft && run.Via == viaSchedule {
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeConflict, "run %s was planned for this time and starts by itself", id).WithHint("see: restartilka planned"))
	}
	if run.State != restart.RunDraft {
		again, err := startedBefore(actor, run, req)
		return again, c.refused(ctx, rec, err)
	}
	if run.Actor != actor.Name {
		return restart.Run{}, c.refused(ctx, rec, restart.Errorf(restart.CodeForbidden, "this plan is %s's to confirm", run.Actor).WithHint("make your own"))
	}
	if err := c.notPlanned(ctx, run); err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	plan, err := c.confirm(ctx, actor, run, req)
	if err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	waived, err := c.safeguards(ctx, actor, run, req.BreakGlass)
	if err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	change, err := c.starting(ctx, actor, run, *plan, req, waived)
	if err != nil {
		return restart.Run{}, err
	}
	if err := c.applyStart(ctx, change); err != nil {
		if code := restart.CodeOf(err); code != restart.CodeConflict && code != restart.CodePlanChanged {
			return restart.Run{}, err
		}
		// Two clicks at once: the other was quicker. Or the version was wrong, or
		// somebody else's run of the same work was quicker.
		switch now, lookup := c.Run(ctx, actor, id); {
		case lookup != nil:
			return restart.Run{}, lookup
		case now.State != restart.RunDraft:
			return startedBefore(actor, now, req)
		}
		return restart.Run{}, c.refused(ctx, about(c.record(actor, audit.RunRefused), run), err)
	}
	return c.Run(ctx, actor, id)
}

// starting makes the change that starts a draft over a plan; waived is what
// stands in the way and the glass is broken for. Where the rules ask for an
// approval the run is to wait for it.
func (c *Control) starting(ctx context.Context, actor restart.Actor, run restart.Run, plan restart.Plan, req wire.StartRequest, waived string) (store.Change, error) {
	change := c.queueing(actor, run, plan)
	change.Seen = req.Version
	if run.Parent != "" {
		change.Alone = &store.Alone{Besides: run.Plan.Siblings}
	}
	switch question := c.asked(run, plan); {
	case question == nil:
	case req.BreakGlass:
		question.Verdict, question.By, question.Reason = restart.ApprovalWaived, actor.Name, run.Reason
		change.Approval, waived = question, both(waived, waivedApproval(question.Rule))
	default:
		if err := c.ask(ctx, &change, actor, run, *question); err != nil {
			return change, err
		}
	}
	if req.BreakGlass {
		return change, c.breakGlass(&change, actor, run, plan, waived)
	}
	return change, nil
}

// queueing makes the change by which a draft becomes a run over a plan.
func (c *Control) queueing(actor restart.Actor, run restart.Run, plan restart.Plan) store.Change {
	now := c.now()
	change := store.Change{RunID: run.ID, At: now, Run: &store.RunChange{From: []restart.RunState{restart.RunDraft}, To: restart.RunQueued, Plan: &plan}}
	for i, h := range plan.Chosen() {
		change.NewTasks = append(change.NewTasks, restart.Task{
			ID: restart.NewID(now), RunID: run.ID, Host: h.Name, Position: i, Batch: restart.BatchOf(plan.Batches, i), Attempt: 1, State: restart.TaskPlanned,
		})
	}
	rec := about(c.record(actor, audit.RunRequested), run)
	rec.Detail = chosenNames(plan) + madeFrom(run)
	change.Records = []audit.Record{rec}
	return change
}

// applyStart starts a run, and lets all know who have to.
func (c *Control) applyStart(ctx context.Context, change store.Change) error {
	if _, err := c.cfg.Store.Apply(ctx, change); err != nil {
		return err
	}
	if len(change.Messages) > 0 {
		c.cfg.Announced()
	}
	c.touched(change.RunID)
	return nil
}

// startedBefore answers a start of what is started: the run again for a double
// click or a client that asked again, a refusal where something else was asked.
func startedBefore(actor restart.Actor, run restart.Run, req wire.StartRequest) (restart.Run, error) {
	if run.Actor != actor.Name {
		return restart.Run{}, restart.Errorf(restart.CodeConflict, "run %s is %s already", run.ID, run.State)
	}
	other := func(what string) (restart.Run, error) {
		return restart.Run{}, restart.Errorf(restart.CodeConflict, "run %s is %s already, %s", run.ID, run.State, what).WithHint("look at it: restartilka show %s", run.ID)
	}
	switch {
	case req.BreakGlass && !run.BreakGlass:
		return other("and no glass was broken for it")
	case !req.BreakGlass && run.BreakGlass:
		return other("and the glass was broken for it")
	case len(req.Hosts) > 0 && run.Plan != nil && !sameHosts(req.Hosts, run.Plan.Chosen()):
		return other("over other hosts")
	}
	return run, nil
}

func sameHosts(wanted []string, chosen []restart.PlannedHost) bool {
	want, have := map[string]bool{}, map[string]bool{}
	for _, name := range wanted {
		want[name] = true
	}
	for _, h := range chosen {
		have[h.Name] = true
	}
	return maps.Equal(want, have)
}

// confirm gives the plan to freeze, or says what has changed since it was shown.
func (c *Control) confirm(ctx context.Context, actor restart.Actor, run restart.Run, req wire.StartRequest) (*restart.Plan, error) {
	shown := *run.Plan
	if c.tooOld(shown) {
		return nil, restart.Errorf(restart.CodePlanChanged, "the plan was made %s ago", restart.Span(c.now().Sub(shown.MadeAt).Round(time.Minute))).WithHint("hosts change in such a time: plan again")
	}
	again := shown.Request
	now, err := c.resolveAgain(ctx, actor, run, &again)
	if err != nil {
		return nil, err
	}
	if now.plan.Hash != shown.Hash {
		return nil, changed(shown, now.plan)
	}
	plan := shown
	plan.Hosts = slices.Clone(shown.Hosts)
	if len(req.Hosts) > 0 {
		for _, name := range req.Hosts {
			if !slices.ContainsFunc(shown.Hosts, func(h restart.PlannedHost) bool { return h.Name == name && !h.Beside }) {
				return nil, restart.Errorf(restart.CodeInvalid, "host %s is not in the plan", restart.Quote(name)).WithHint("the plan has: %s", names(shown.Asked()))
			}
		}
		for i := range plan.Hosts {
			h := &plan.Hosts[i]
			wanted := slices.Contains(req.Hosts, h.Name)
			switch {
			case wanted && h.LeftOut:
				h.LeftOut, h.Why = false, ""
			case !wanted && !h.LeftOut:
				h.LeftOut, h.Why = true, "unticked by "+actor.Name
			}
		}
	}
	if err := settle(&plan, now.file.Scenario); err != nil {
		return nil, err
	}
	return &plan, nil
}

// resolveAgain resolves the request of a run as it was resolved at first.
func (c *Control) resolveAgain(ctx context.Context, actor restart.Actor, run restart.Run, req *restart.Request) (resolved, error) {
	if run.Parent != "" {
		return c.resolveLinked(ctx, actor, run.Parent, run.Work, req)
	}
	return c.resolve(ctx, actor, req)
}

func chosenNames(p restart.Plan) string {
	var out []string
	for _, h := range p.Chosen() {
		out = append(out, h.Name)
	}
	return strings.Join(out, " ")
}

// Run gives one run with its plan and tasks.
func (c *Control) Run(ctx context.Context, actor restart.Actor, id string) (restart.Run, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return restart.Run{}, err
	}
	if err := restart.CheckID(id); err != nil {
		return restart.Run{}, err
	}
	return c.cfg.Store.Run(ctx, id)
}

// Runs lists runs, the newest first. next continues the list; "" at its end.
func (c *Control) Runs(ctx context.Context, actor restart.Actor, filter store.RunFilter) (runs []restart.Run, next string, err error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, "", err
	}
	return c.cfg.Store.Runs(ctx, filter)
}

// TaskDetail is what the agent last said of a task. The text of its evidence,
// lines of the service's journal among it, is as confidential as a thread dump:
// who may not view those is told only what was kept.
func (c *Control) TaskDetail(ctx context.Context, actor restart.Actor, run, task string) (wire.TaskDetail, error) {
	var d wire.TaskDetail
	var err error
	if d.Task, err = c.Task(ctx, actor, run, task); err != nil {
		return d, err
	}
	raw, err := c.cfg.Store.TaskDetail(ctx, task)
	if err != nil {
		return d, err
	}
	if d.Status, err = decodeDetail(raw); err != nil || len(d.Status.Evidence) == 0 {
		return d, err
	}
	of, err := c.cfg.Store.Run(ctx, run)
	if err != nil {
		return wire.TaskDetail{}, err
	}
	if d.Withheld = !c.MayViewDumps(ctx, actor, of); d.Withheld {
		for i := range d.Status.Evidence {
			d.Status.Evidence[i].Text, d.Status.Evidence[i].Truncated = "", 0
		}
	}
	return d, nil
}

// Details is what the agents last said of the tasks of a run's first hosts, so
// many of them, by task; without the evidence, which TaskDetail has.
func (c *Control) Details(ctx context.Context, actor restart.Actor, run string, hosts int) (map[string]protocol.TaskStatus, error) {
	if err := c.Sees(actor); err != nil {
		return nil, err
	}
	raw, err := c.cfg.Store.TaskDetails(ctx, run, hosts)
	if err != nil {
		return nil, err
	}
	out := make(map[string]protocol.TaskStatus, len(raw))
	for task, text := range raw {
		status, err := decodeDetail(text)
		if err != nil {
			return nil, err
		}
		status.Evidence = nil
		out[task] = status
	}
	return out, nil
}

// Output gives pieces of a task's output from an offset, at most limit bytes
// and at least one piece where there is one.
func (c *Control) Output(ctx context.Context, actor restart.Actor, run, task string, offset int64, limit int) ([]protocol.Output, error) {
	if _, err := c.Task(ctx, actor, run, task); err != nil {
		return nil, err
	}
	return c.cfg.Store.Output(ctx, task, max(offset, 0), min(max(limit, 1), 4<<20))
}

// OutputEnd tells where a task's stored output ends, in bytes.
func (c *Control) OutputEnd(ctx context.Context, actor restart.Actor, run, task string) (int64, error) {
	if _, err := c.Task(ctx, actor, run, task); err != nil {
		return 0, err
	}
	return c.cfg.Store.OutputEnd(ctx, task)
}

// Task gives one task of a run.
func (c *Control) Task(ctx context.Context, actor restart.Actor, run, task string) (restart.Task, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return restart.Task{}, err
	}
	if err := restart.CheckID(run); err != nil {
		return restart.Task{}, err
	}
	t, err := c.cfg.Store.Task(ctx, run, task)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return t, restart.Errorf(restart.CodeNotFound, "run %s has no task %s", run, restart.Quote(task)).Because(err)
	}
	return t, err
}

func (c *Control) touched(run string) {
	c.cfg.Committed()
	c.cfg.Hub.Changed(run)
	c.cfg.Wake(run)
}

// clip bounds foreign text that goes into a record of a refusal.
func clip(s string) string {
	if r := []rune(s); len(r) > restart.MaxReason {
		s = string(r[:restart.MaxReason])
	}
	return restart.Escape(s)
}
