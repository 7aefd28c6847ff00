package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Retry plans a run over the hosts on which another, which is over, has not
// done its work, and keeps it as a draft. Scenario version, values, group and
// environment are those of the old run; the rights, the reason and the
// idempotency key are of who asks now.
func (c *Control) Retry(ctx context.Context, actor restart.Actor, id string, req wire.RetryRequest, idempotencyKey string) (restart.Run, error) {
	parent, err := c.runFor(ctx, actor, id, audit.RunRefused)
	if err != nil {
		return restart.Run{}, err
	}
	return c.link(ctx, actor, parent, parent.Work, restart.Request{Reason: req.Reason, Ticket: req.Ticket}, req.Version, idempotencyKey)
}

// Undrain plans a run that does the undrain step alone, by the same scenario
// version, on the hosts that another has left drained, or those named of them.
func (c *Control) Undrain(ctx context.Context, actor restart.Actor, id string, req wire.UndrainRequest, idempotencyKey string) (restart.Run, error) {
	parent, err := c.runFor(ctx, actor, id, audit.RunRefused)
	if err != nil {
		return restart.Run{}, err
	}
	for _, h := range req.Hosts {
		if err := restart.CheckHost(h); err != nil {
			return restart.Run{}, c.refused(ctx, about(c.record(actor, audit.RunRefused), parent), restart.InField(err, FieldHosts))
		}
	}
	asked := restart.Request{Reason: req.Reason, Ticket: req.Ticket, Hosts: strings.Join(req.Hosts, ",")}
	return c.link(ctx, actor, parent, restart.WorkUndrain, asked, req.Version, idempotencyKey)
}

// link makes the draft of a run from another.
func (c *Control) link(ctx context.Context, actor restart.Actor, parent restart.Run, work restart.Work, req restart.Request, seen int64, key string) (restart.Run, error) {
	rec := about(c.record(actor, audit.RunRefused), parent)
	rec.Reason = clip(req.Reason)
	refuse := func(err error) (restart.Run, error) { return restart.Run{}, c.refused(ctx, rec, err) }
	if err := checkKey(key); err != nil {
		return restart.Run{}, err
	}
	if err := CheckTicket(req.Ticket); err != nil {
		return refuse(err)
	}
	before, err := c.madeBefore(ctx, actor, restart.Run{Parent: parent.ID, Work: work}, linkedRequest(parent, req), key)
	if before != nil || err != nil {
		return orZero(before), err
	}
	if err := c.cfg.Store.Unturned(ctx, parent.ID, seen); err != nil {
		return refuse(err)
	}
	r, err := c.resolveLinked(ctx, actor, parent.ID, work, &req)
	if err != nil {
		return refuse(err)
	}
	p, file, err := c.complete(ctx, actor, r)
	if err != nil {
		return refuse(err)
	}
	warnOfUndrain(&p)
	return c.keep(ctx, actor, p, file, key)
}

// warnOfUndrain says of an undrain by itself which hosts are put back sick.
func warnOfUndrain(p *restart.Plan) {
	if p.Work != restart.WorkUndrain {
		return
	}
	for _, h := range p.Chosen() {
		if h.Health == restart.HealthUnhealthy {
			p.Warnings = append(p.Warnings, h.Name+" is not healthy now, and would take traffic all the same")
		}
	}
}

// resolveLinked is resolve for a run that is made from another.
func (c *Control) resolveLinked(ctx context.Context, actor restart.Actor, parentID string, work restart.Work, req *restart.Request) (resolved, error) {
	var none resolved
	parent, err := c.Run(ctx, actor, parentID)
	if err != nil {
		return none, err
	}
	if err := c.mayControl(ctx, actor, parent, authz.ActionFor(parent.Kind)); err != nil {
		return none, err // before anything is told of the run
	}
	if req.Reason, err = restart.CheckReason(req.Reason); err != nil {
		return none, err
	}
	tasks, err := toDo(parent, work, req.Hosts)
	if err != nil {
		return none, err
	}
	file, err := c.pinned(ctx, parent, work)
	if err != nil {
		return none, err
	}
	if work == restart.WorkUndrain && file.Scenario.Steps.Undrain == nil {
		return none, restart.Errorf(restart.CodeInvalid, "scenario %s has no undrain step, so that it can't be run alone", parent.Scenario).
			WithHint("put the hosts back by hand, as they were taken out")
	}
	service, err := c.cfg.Inventory.Service(ctx, parent.Service)
	if err != nil {
		return none, err
	}
	named := linkedRequest(parent, *req)
	named.Hosts = "" // which of them are there is looked up below
	values, err := c.allowedValues(actor, service, file.Scenario, &named)
	if err != nil {
		return none, err
	}
	group, members, err := c.hostsFor(ctx, service, &named)
	if err == nil {
		err = c.mayRun(actor, service, file.Scenario, group)
	}
	if err != nil {
		return none, err
	}
	hosts, warnings := stillThere(tasks, members, group.Name)
	if len(hosts) == 0 {
		return none, restart.Errorf(restart.CodeConflict, "none of the hosts that are left is in group %s any more", group.Name).
			WithHint("correct the inventory, or ask for a new run: restartilka restart %s", parent.Service)
	}
	named.Hosts = req.Hosts // of an undrain: those that were named
	r, err := c.assemble(ctx, named, service, file, values, group, hosts)
	if err != nil {
		return none, err
	}
	r.plan.Parent, r.plan.Work, r.plan.Siblings = parent.ID, work, siblings(parent, work)
	r.plan.Warnings = append(append(r.plan.Warnings, warnings...), linkWarnings(parent, work)...)
	if parent.Restored() && work == restart.WorkWhole {
		backup, err := c.lastBackup(ctx)
		if err != nil {
			return none, err
		}
		r.plan.Warnings = append(r.plan.Warnings, restoredWarning(parent, backup))
	}
	if work == restart.WorkUndrain {
		r.plan.Strategy = alone(r.plan.Strategy)
	}
	return r, c.countGroup(ctx, &r.plan)
}

// linkedRequest is what a run that is made from another asks for: what that one
// did, by a new reason, and of an undrain the hosts that were named.
func linkedRequest(parent restart.Run, req restart.Request) restart.Request {
	return restart.Request{
		Service: parent.Service, Scenario: parent.Scenario, Environment: parent.Environment, Project: parent.Project, Group: parent.Group,
		Params: parent.Params, Reason: req.Reason, Ticket: req.Ticket, Hosts: req.Hosts,
	}
}

// toDo gives the tasks whose hosts the new run is over, or says why there is none.
func toDo(parent restart.Run, work restart.Work, named string) ([]restart.Task, error) {
	undrain := work == restart.WorkUndrain && parent.Work != work
	switch {
	case parent.State == restart.RunDraft:
		return nil, restart.Errorf(restart.CodeConflict, "run %s is %s: it is not over", parent.ID, parent.State).WithHint("it was never started")
	case !parent.State.Final() && !undrain && parent.Cause == restart.CauseFreeze:
		return nil, restart.Errorf(restart.CodeConflict, "run %s is %s (%s): it is not over", parent.ID, parent.State, parent.Cause).
			WithHint("once the freeze is over: restartilka resume %s\nwhere it can't wait: restartilka abort %s, then restartilka retry %s --break-glass --reason TEXT", parent.ID, parent.ID, parent.ID)
	case !parent.State.Final() && !undrain: // a drained host can be put back at any moment: nothing is held for that
		return nil, restart.Errorf(restart.CodeConflict, "run %s is %s: it is not over", parent.ID, parent.State).
			WithHint("resume or abort it first; then: restartilka retry %s --reason TEXT", parent.ID)
	}
	tasks, none := parent.Left(), "run %s has left nothing to do: every host is done"
	if undrain {
		tasks, none = parent.Drained(), "run %s has left no host drained"
	}
	if len(tasks) == 0 {
		return nil, restart.Errorf(restart.CodeConflict, none, parent.ID).WithHint("see: restartilka show %s", parent.ID)
	}
	if named == "" {
		return tasks, nil
	}
	var out []restart.Task
	for name := range strings.SplitSeq(named, ",") {
		i := slices.IndexFunc(tasks, func(t restart.Task) bool { return t.Host == name })
		if i < 0 {
			var drained []string
			for _, t := range tasks {
				drained = append(drained, t.Host)
			}
			return nil, restart.Errorf(restart.CodeInvalid, "run %s has not left host %s drained", parent.ID, restart.Quote(name)).
				WithHint("drained are: %s", strings.Join(drained, ", "))
		}
		out = append(out, tasks[i])
	}
	return out, nil
}

// pinned gives the scenario version of a run for work like its own: one that is
// in force, or as it was kept with the run. Whether it is still reviewed, the
// hosts decide, and before them this server where it lets through only what was
// signed.
func (c *Control) pinned(ctx context.Context, run restart.Run, work restart.Work) (scenario.File, error) {
	if err := c.usable(ctx, run.Digest, work); err != nil {
		return scenario.File{}, err
	}
	f, err := c.kept(ctx, run)
	if err != nil || work == restart.WorkUndrain {
		return f, err
	}
	return unexpired(f, c.now())
}

func (c *Control) kept(ctx context.Context, run restart.Run) (scenario.File, error) {
	folder, err := c.folder(ctx)
	if err != nil {
		return scenario.File{}, err
	}
	if f, ok := folder.ByDigest(run.Digest); ok {
		return f, nil
	}
	body, err := c.cfg.Store.Scenario(ctx, run.Digest)
	if err != nil {
		return scenario.File{}, err
	}
	s, err := scenario.Parse(body)
	return scenario.File{Scenario: s, Bytes: body}, err
}

// stillThere gives the hosts of the tasks that are in the group now, in the
// group's order, and a warning about each that is not.
func stillThere(tasks []restart.Task, members []restart.Host, group string) (hosts []restart.Host, warnings []string) {
	wanted := map[string]bool{}
	for _, t := range tasks {
		wanted[t.Host] = true
	}
	for _, h := range members {
		if wanted[h.Name] {
			hosts = append(hosts, h)
			delete(wanted, h.Name)
		}
	}
	for _, t := range tasks {
		if wanted[t.Host] {
			warnings = append(warnings, fmt.Sprintf("%s is not in group %s any more, and is left as it is", t.Host, group))
		}
	}
	return hosts, warnings
}

// siblings gives the runs that were made from another for the same work, and
// are drafts no more.
func siblings(parent restart.Run, work restart.Work) (ids []string) {
	for _, child := range parent.Children {
		if child.Work == work {
			ids = append(ids, child.ID)
		}
	}
	return ids
}

// linkWarnings says what a person should know of the old run.
func linkWarnings(parent restart.Run, work restart.Work) []string {
	var out []string
	for _, t := range parent.Undecided() {
		if work == restart.WorkWhole {
			out = append(out, "whether the script ran on "+t.Host+" is not known; this would run it, perhaps a second time")
		}
	}
	for _, child := range parent.Children {
		if child.Work == work {
			out = append(out, fmt.Sprintf("run %s by %s was made from the same run already: it is %s", child.ID, child.Actor, child.State))
		}
	}
	return out
}

// restoredWarning says what is not known of a run that was put back from a
// backup. A retry has ids of its own, so that no agent knows by them what it has
// done already.
func restoredWarning(parent restart.Run, backup string) string {
	return fmt.Sprintf("run %s was restored from a %s: hosts may have been touched since, by it or by a retry of it that is forgotten; look at them", parent.ID, backup)
}

// lastBackup says of when the backup is that was restored last: "backup of
// 2026-11-22 20:00:00 UTC", or "backup" where the trail has no record of it.
func (c *Control) lastBackup(ctx context.Context) (string, error) {
	records, _, err := c.cfg.Store.AuditSearch(ctx, store.AuditFilter{Action: audit.ServerRestored, Limit: wire.MaxPage})
	if err != nil || len(records) == 0 {
		return "backup", err
	}
	backup, _, _ := strings.Cut(records[len(records)-1].Detail, ",") // as package store writes it
	return backup, nil
}

// alone is the strategy of an undrain by itself. It takes no host out of
// service, so that nothing of what guards those applies; a host on which it
// fails keeps no other from being put back.
func alone(s restart.Strategy) restart.Strategy {
	s.OnFailure, s.MinAvailable, s.HoldAfterFirst, s.PauseBetween, s.WhenDown = "continue", "", false, 0, nil
	return s
}

// madeFrom names, for a record, the run that another was made from.
func madeFrom(run restart.Run) string {
	switch {
	case run.Parent == "" && run.Work == restart.WorkRehearse:
		return "; a rehearsal: no script is run"
	case run.Parent == "":
		return ""
	case run.Work == restart.WorkUndrain:
		return "; undrain alone, after run " + run.Parent
	}
	return "; a retry of run " + run.Parent
}
