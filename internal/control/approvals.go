package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// asked gives the question that the rules put before a run starts; nil where
// they put none.
func (c *Control) asked(run restart.Run, plan restart.Plan) *store.Approval {
	if !restart.ApprovalBinds(run.Work) {
		return nil
	}
	object := authz.Object{Service: plan.Service, Environment: run.Environment, Group: run.Group}
	rule, asks := c.rights().Approval(authz.ActionFor(run.Kind), object)
	if !asks {
		return nil
	}
	return &store.Approval{Digest: plan.Frozen(), Rule: rule.Rule, Within: rule.Within}
}

// ask adds to a start that it waits for an approval: the record and the message
// about it, too.
func (c *Control) ask(ctx context.Context, change *store.Change, actor restart.Actor, run restart.Run, question store.Approval) error {
	who := c.mayApprove(ctx, run)
	change.Approval, change.Run.To = &question, restart.RunAwaitingApproval
	change.Run.Explanation = "an approval is needed, by " + who
	rec := about(c.record(actor, audit.RunApprovalRequested), run)
	rec.Detail = fmt.Sprintf("asked for by the rule %s, within %s; may approve: %s; plan %s", restart.Quote(question.Rule), restart.Span(question.Within), who, question.Digest)
	change.Records = append(change.Records, rec)
	n := c.notification(wire.EventApprovalRequested, change.At, run, *change.Run.Plan)
	n.State, n.Rule, n.Who, n.Until = change.Run.To, question.Rule, who, new(change.At.Add(question.Within))
	return c.tell(change, n)
}

// mayApprove names who may approve a run, for people.
func (c *Control) mayApprove(ctx context.Context, run restart.Run) string {
	return c.approvers(run.Actor, c.objectOf(ctx, run)) + ", other than " + run.Actor
}

// approvers names who may approve what somebody asks for. That person is not
// named, and may all the same be of a team or an admin.
func (c *Control) approvers(asks string, object authz.Object) string {
	stranger := restart.Actor{Name: "-"} // nobody's name, so that it is told whether everybody may
	if c.rights().Decide(stranger, authz.Approve, object).Allowed {
		return "anybody"
	}
	return c.rights().WhoBut(asks, authz.Approve, object)
}

// Asking is what a run waits for before it starts.
type Asking struct {
	Who    string        // can approve it, for people
	Within time.Duration // how long it waits
	Rule   string        // the line of the rules that asks for it
}

// Asks tells what a draft would wait for if it were started now; nil = nothing.
func (c *Control) Asks(ctx context.Context, actor restart.Actor, run restart.Run) *Asking {
	if c.rights().Require(actor, authz.See, authz.Object{}) != nil || run.Plan == nil {
		return nil
	}
	rule, waits := c.approvalOf(*run.Plan)
	if !waits {
		return nil
	}
	return &Asking{Who: c.mayApprove(ctx, run), Within: rule.Within, Rule: rule.Rule}
}

// approvalOf gives the rule by which a plan needs an approval; false = none asks.
func (c *Control) approvalOf(p restart.Plan) (authz.Approval, bool) {
	object := authz.Object{Service: p.Service, Environment: p.Environment, Group: p.Group, For: authz.ActionFor(p.Kind)}
	rule, asks := c.rights().Approval(object.For, object)
	return rule, asks && restart.ApprovalBinds(p.Work)
}

// approvalWarning says before a start by somebody that it will wait; "" = it will not.
func (c *Control) approvalWarning(asks string, p restart.Plan) string {
	object := authz.Object{Service: p.Service, Environment: p.Environment, Group: p.Group, For: authz.ActionFor(p.Kind)}
	rule, waits := c.approvalOf(p)
	if !waits {
		return ""
	}
	return fmt.Sprintf("it waits for an approval before it starts, for %s at most, by %s, other than who asks (rule %s)", restart.Span(rule.Within), c.approvers(asks, object), restart.Quote(rule.Rule))
}

// Approve lets a run start that waits for it. It needs the right to approve of
// somebody who has not asked for the run, and still the rights of who has; the
// plan must be true still.
func (c *Control) Approve(ctx context.Context, actor restart.Actor, id string, req wire.ApprovalRequest) (restart.Run, error) {
	return c.decideApproval(ctx, actor, id, restart.ApprovalGiven, req)
}

// Reject ends a run that waits for an approval. It needs the same right.
func (c *Control) Reject(ctx context.Context, actor restart.Actor, id string, req wire.ApprovalRequest) (restart.Run, error) {
	return c.decideApproval(ctx, actor, id, restart.ApprovalRefused, req)
}

func (c *Control) decideApproval(ctx context.Context, actor restart.Actor, id string, verdict restart.ApprovalVerdict, req wire.ApprovalRequest) (restart.Run, error) {
	action := audit.RunApproved
	if verdict == restart.ApprovalRefused {
		action = audit.RunRejected
	}
	run, err := c.runFor(ctx, actor, id, action)
	if err != nil {
		return restart.Run{}, err
	}
	rec := about(c.record(actor, action), run)
	rec.Reason = clip(req.Reason)
	refuse := func(err error) (restart.Run, error) { return restart.Run{}, c.refused(ctx, rec, err) }
	if err := c.mayDecideApproval(ctx, actor, run); err != nil {
		return refuse(err)
	}
	reason, err := checkLooked(verdict, req.Reason)
	if err != nil {
		return refuse(err)
	}
	switch a := run.Approval; {
	case a != nil && a.Verdict == verdict && a.By == actor.Name && a.Reason == reason:
		return run, nil // a double click, or a client that asked again
	case run.State != restart.RunAwaitingApproval:
		return refuse(restart.Errorf(restart.CodeConflict, "run %s is %s: it waits for no approval", id, run.State).WithHint("see: restartilka show %s", id))
	}
	if verdict == restart.ApprovalGiven {
		if err := c.stillTrue(ctx, run); err != nil {
			return refuse(c.orOver(ctx, actor, run, err))
		}
	}
	rec.Reason, rec.Detail = reason, fmt.Sprintf("asked for by %s: %s; plan %s", run.Actor, run.Reason, run.Approval.Digest)
	change := c.settle(run, verdict, actor.Name, reason, req.Version, rec)
	if verdict == restart.ApprovalRefused {
		change.Run.Explanation = "rejected by " + actor.Name + ": " + reason
	}
	if err := c.settled(ctx, change, run, verdict, actor.Name, reason); err != nil {
		return refuse(err)
	}
	return c.Run(ctx, actor, id)
}

// checkLooked holds the words of who decides to the rules of a reason.
func checkLooked(verdict restart.ApprovalVerdict, reason string) (string, error) {
	checked, err := restart.CheckReason(reason)
	e, ok := errors.AsType[*restart.Error](err)
	switch {
	case !ok:
		return checked, err
	case verdict == restart.ApprovalGiven:
		return "", e.WithHint("say what you have looked at, such as: the graphs of the other hosts are fine, and dana watches them")
	}
	return "", e.WithHint("say what stands in the way, such as: the sale runs until six, ask again then")
}

// mayDecideApproval checks that somebody may approve or reject a run: another
// person than who asked, with the right to.
func (c *Control) mayDecideApproval(ctx context.Context, actor restart.Actor, run restart.Run) error {
	if err := c.rights().Require(actor, authz.Approve, c.objectOf(ctx, run)); err != nil {
		return err
	}
	if restart.SamePerson(actor.Name, run.Actor) {
		return restart.Errorf(restart.CodeForbidden, "%s may not decide about this run, which %s has asked for: another person approves or rejects it", actor.Name, run.Actor).
			WithHint("ask %s\nto take it back: restartilka abort %s", c.mayApprove(ctx, run), run.ID)
	}
	return nil
}

// stillTrue checks that what was asked for is what would be done now: the
// rights of who asked, the freezes, the scenario, the service and its hosts.
func (c *Control) stillTrue(ctx context.Context, run restart.Run) error {
	requester, cause, why := c.stillHas(ctx, run)
	if err := inTheNameOf(run, cause, why); err != nil {
		return err
	}
	if err := c.mayPassFreeze(ctx, requester, run); err != nil {
		return err
	}
	if err := c.withoutTicket(ctx, run); err != nil {
		return err
	}
	return c.samePlan(ctx, requester, run)
}

// orOver ends a run that waits for an approval nobody can give any more, as its
// plan is not true now, and says so; any other error is given back.
func (c *Control) orOver(ctx context.Context, actor restart.Actor, run restart.Run, err error) error {
	e, ok := errors.AsType[*restart.Error](err)
	if !ok || e.Code != restart.CodePlanChanged {
		return err
	}
	rec := about(c.record(actor, audit.RunApprovalWithdrawn), run)
	rec.Outcome, rec.Detail = string(restart.RunAborted), clip(e.Message)
	change := c.settle(run, restart.ApprovalWithdrawn, actor.Name, e.Message, 0, rec)
	change.Run.Cause, change.Run.Explanation = restart.CauseOperator, e.Message+"; nobody could approve it any more, and no host was touched"
	if err := c.settled(ctx, change, run, restart.ApprovalWithdrawn, actor.Name, e.Message); err != nil {
		return err
	}
	return e.WithHint("the run has ended, and no host was touched: %s has to ask anew", run.Actor)
}

// samePlan checks that a run's request means what it meant when it was asked for.
func (c *Control) samePlan(ctx context.Context, requester restart.Actor, run restart.Run) error {
	again := run.Plan.Request
	now, err := c.resolveAgain(ctx, requester, run, &again)
	if err != nil {
		return err
	}
	if now.plan.Hash != run.Plan.Hash {
		return changed(*run.Plan, now.plan)
	}
	return nil
}

// settle makes the change that ends the wait with a verdict.
func (c *Control) settle(run restart.Run, verdict restart.ApprovalVerdict, by, reason string, seen int64, rec audit.Record) store.Change {
	to := verdict.Leads()
	change := store.Change{
		RunID: run.ID, At: c.now(), Seen: seen, Records: []audit.Record{rec},
		Run:      &store.RunChange{From: []restart.RunState{restart.RunAwaitingApproval}, To: to, SetFinished: to.Final()},
		Approval: &store.Approval{Verdict: verdict, Digest: run.Plan.Frozen(), By: by, Reason: reason},
	}
	if !to.Final() {
		return change
	}
	for _, t := range run.Tasks {
		change.Tasks = append(change.Tasks, store.TaskChange{
			ID: t.ID, From: []restart.TaskState{restart.TaskPlanned}, Path: []restart.TaskState{restart.TaskNotStarted}, Cause: string(to),
		})
	}
	return change
}

// settled applies such a change, and tells of it.
func (c *Control) settled(ctx context.Context, change store.Change, run restart.Run, verdict restart.ApprovalVerdict, by, reason string) error {
	n := c.notification(wire.EventApprovalDecided, change.At, run, *run.Plan)
	n.State, n.Verdict, n.By, n.Note, n.Rule = change.Run.To, verdict, by, reason, run.Approval.Rule
	if err := c.tell(&change, n); err != nil {
		return err
	}
	if _, err := c.cfg.Store.Apply(ctx, change); err != nil {
		return err
	}
	if len(change.Messages) > 0 {
		c.cfg.Announced()
	}
	if run.State = change.Run.To; run.State.Final() {
		c.cfg.Ended(run)
	}
	c.touched(run.ID)
	return nil
}

// ownRequest tells whether somebody asked for the run himself, and does not
// come with a token that was made for less.
func ownRequest(actor restart.Actor, run restart.Run) bool {
	whole := actor.Token == "" || actor.Has(restart.RoleDeveloper) || actor.Has(restart.RoleAdmin)
	return actor.Name == run.Actor && whole && actor.Scope.Covers(string(authz.Control), run.Service, run.Environment)
}

// withdraw ends a run that waits for an approval, for who asked for it or may
// stop it.
func (c *Control) withdraw(ctx context.Context, actor restart.Actor, run restart.Run, seen int64) (restart.Run, error) {
	rec := about(c.record(actor, audit.RunApprovalWithdrawn), run)
	if !ownRequest(actor, run) {
		if err := c.mayControl(ctx, actor, run, authz.Control); err != nil {
			return restart.Run{}, c.refused(ctx, rec, err)
		}
	}
	change := c.settle(run, restart.ApprovalWithdrawn, actor.Name, "", seen, rec)
	change.Run.Cause, change.Run.Explanation = restart.CauseOperator, "taken back by "+actor.Name+" before anybody had approved it; no host was touched"
	if err := c.settled(ctx, change, run, restart.ApprovalWithdrawn, actor.Name, ""); err != nil {
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	return c.Run(ctx, actor, run.ID)
}

// startWaiting starts a run that waits for an approval by broken glass, as who
// asked for it may where he could have started it so at once.
func (c *Control) startWaiting(ctx context.Context, actor restart.Actor, run restart.Run, req wire.StartRequest) (restart.Run, error) {
	rec := about(c.record(actor, audit.RunRefused), run)
	refuse := func(err error) (restart.Run, error) { return restart.Run{}, c.refused(ctx, rec, err) }
	if len(req.Hosts) > 0 && !sameHosts(req.Hosts, run.Plan.Chosen()) {
		return refuse(restart.Errorf(restart.CodeConflict, "run %s waits for an approval of other hosts", run.ID).WithHint("take it back, and ask anew: restartilka abort %s", run.ID))
	}
	waived, err := c.safeguards(ctx, actor, run, true)
	if err != nil {
		return refuse(err)
	}
	if err := c.samePlan(ctx, actor, run); err != nil {
		return refuse(err)
	}
	waived = both(waived, waivedApproval(run.Approval.Rule))
	rec = about(c.record(actor, audit.RunRequested), run)
	rec.Detail = chosenNames(*run.Plan) + madeFrom(run)
	change := c.settle(run, restart.ApprovalWaived, actor.Name, run.Reason, req.Version, rec)
	if err := c.breakGlass(&change, actor, run, *run.Plan, waived); err != nil {
		return restart.Run{}, err
	}
	if err := c.settled(ctx, change, run, restart.ApprovalWaived, actor.Name, run.Reason); err != nil {
		return refuse(err)
	}
	return c.Run(ctx, actor, run.ID)
}

// waivedApproval says for people which question broken glass leaves unanswered.
func waivedApproval(rule string) string {
	return "an approval, which the rule " + restart.Quote(rule) + " asks for"
}

// both joins what stood in the way; either may be nothing.
func both(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// Approvals lists the runs that wait for an approval, planned ones too: those that
// the actor may decide about first, then by when their time is over.
func (c *Control) Approvals(ctx context.Context, actor restart.Actor) ([]wire.AwaitingRun, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	list, err := c.cfg.Store.Awaiting(ctx, wire.MaxPage)
	if err != nil {
		return nil, err
	}
	out := []wire.AwaitingRun{}
	for _, a := range list {
		run := a.Run
		out = append(out, wire.AwaitingRun{
			Run: run.ID, Service: run.Service, Environment: run.Environment, Group: run.Group, Scenario: run.Scenario,
			Actor: run.Actor, Reason: run.Reason, Ticket: run.Ticket, Hosts: a.Hosts, Rule: run.Approval.Rule,
			AskedAt: run.Approval.AskedAt, Until: run.Approval.Until, Who: c.mayApprove(ctx, run), MayDecide: c.MayDecideApproval(ctx, actor, run),
		})
	}
	planned, err := c.PlannedAwaiting(ctx, actor)
	if err != nil {
		return nil, err
	}
	for _, p := range planned {
		out = append(out, awaitingPlanned(p))
	}
	slices.SortStableFunc(out, func(a, b wire.AwaitingRun) int {
		switch {
		case a.MayDecide == b.MayDecide:
			return a.Until.Compare(b.Until)
		case a.MayDecide:
			return -1
		}
		return 1
	})
	return out[:min(len(out), wire.MaxPage)], nil
}

// awaitingPlanned is what is planned in the list of what waits for an approval.
func awaitingPlanned(p wire.Planned) wire.AwaitingRun {
	a := wire.AwaitingRun{
		Run: p.Run, Schedule: p.ID, PlannedFor: &p.At, Service: p.Service, Environment: p.Environment, Group: p.Group, Scenario: p.Scenario,
		Actor: p.Actor, Reason: p.Request.Reason, Ticket: p.Request.Ticket, Hosts: p.Hosts, AskedAt: p.CreatedAt, Until: p.Until, Who: p.Who, MayDecide: p.MayDecide,
	}
	if p.Approval != nil {
		a.Rule = p.Approval.Rule
	}
	return a
}

// MayDecideApproval tells whether somebody may approve or reject a run.
func (c *Control) MayDecideApproval(ctx context.Context, actor restart.Actor, run restart.Run) bool {
	return run.State == restart.RunAwaitingApproval && c.mayDecideApproval(ctx, actor, run) == nil
}

// ToApprove counts the runs, planned ones too, that somebody may approve or reject now.
func (c *Control) ToApprove(ctx context.Context, actor restart.Actor) (int, error) {
	if c.rights().Require(actor, authz.See, authz.Object{}) != nil {
		return 0, nil
	}
	list, err := c.cfg.Store.Awaiting(ctx, wire.MaxPage)
	n := 0
	for _, a := range list {
		if c.MayDecideApproval(ctx, actor, a.Run) {
			n++
		}
	}
	if err != nil {
		return n, err
	}
	planned, err := c.cfg.Store.AwaitingSchedules(ctx, wire.MaxPage)
	for _, s := range planned {
		if c.mayDecideLater(ctx, actor, s) == nil {
			n++
		}
	}
	return n, err
}

// expiryPoll is how soon a run is seen to have waited for too long. Before it is
// seen nobody can approve it either.
const expiryPoll = 2 * time.Second

// WatchApprovals ends the runs that have waited for an approval for too long,
// until ctx ends. Any number of servers may: each run is ended once.
func (c *Control) WatchApprovals(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.ExpireApprovals(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Logger.WarnContext(ctx, "end runs that nobody has approved", "error", err)
		}
		timer := time.NewTimer(expiryPoll/2 + rand.N(expiryPoll)) //nolint:gosec // not a secret: not all servers are to ask at once
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// ExpireApprovals ends the runs whose time for an approval is over by now.
func (c *Control) ExpireApprovals(ctx context.Context) error {
	ids, err := c.cfg.Store.Overdue(ctx, wire.MaxPage)
	for _, id := range ids {
		if err := c.expire(ctx, id); err != nil {
			return err
		}
	}
	return err
}

// expire ends one of them; that another server was quicker is no error.
func (c *Control) expire(ctx context.Context, id string) error {
	run, err := c.cfg.Store.Run(ctx, id)
	if err != nil || run.Approval == nil || run.Plan == nil {
		return err
	}
	rec := about(audit.Record{Time: c.now(), Actor: run.Actor, Origin: run.Via, Action: audit.RunApprovalExpired}, run)
	rec.Outcome, rec.Detail = string(restart.RunAborted), "nobody approved or rejected it until "+readable(run.Approval.Until)
	change := c.settle(run, restart.ApprovalExpired, "", "", 0, rec)
	change.Run.Cause, change.Run.Explanation = restart.CauseExpired, rec.Detail+"; no host was touched"
	if run.Restored() {
		change.Run.Explanation = "it waited for an approval when the database was restored from a backup, and may have been approved since: look at its hosts, then ask anew"
	}
	err = c.settled(ctx, change, run, restart.ApprovalExpired, "", "")
	if restart.CodeOf(err) == restart.CodeConflict {
		return nil
	}
	return err
}
