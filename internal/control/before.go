package control

import (
	"context"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// lately is how long ago a failure of the same restart is worth a warning.
const lately = time.Hour

// MaxLooked bounds how many hosts of a plan are looked at again for one page.
const MaxLooked = 200

func alike(p restart.Plan) store.Alike {
	return store.Alike{Service: p.Service.Name, Environment: p.Environment, Scenario: p.Scenario, Work: p.Work}
}

// failedLately says that the last run like this one failed, and that it is not
// long ago; "" = it did not.
func (c *Control) failedLately(ctx context.Context, p restart.Plan) (string, error) {
	last, err := c.cfg.Store.LastEnded(ctx, alike(p))
	if err != nil || last == nil || last.Run == p.Parent {
		return "", err
	}
	age := c.now().Sub(last.At)
	if age > lately || last.State != restart.RunFailed && last.State != restart.RunAborted {
		return "", nil
	}
	said := fmt.Sprintf("the same was tried %s ago and %s: run %s by %s", ago(age), last.State, last.Run, last.Actor)
	if last.Explanation != "" {
		said += " (" + restart.Escape(last.Explanation) + ")"
	}
	return said, nil
}

func ago(d time.Duration) string {
	if d < time.Minute {
		return "a moment"
	}
	return restart.Span(d.Truncate(time.Minute))
}

// Estimate tells how long hosts took when the same was done before.
func (c *Control) Estimate(ctx context.Context, actor restart.Actor, p restart.Plan) (store.HostTimes, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return store.HostTimes{}, err
	}
	return c.cfg.Store.HostTimes(ctx, alike(p))
}

// LastRestarts tells when the service of a plan was restarted last on each of
// some hosts, at most MaxLooked of them.
func (c *Control) LastRestarts(ctx context.Context, actor restart.Actor, service string, hosts []string) (map[string]store.LastOn, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	return c.cfg.Store.LastOn(ctx, service, hosts)
}

// CheckPlan asks the agents of a draft's first MaxLooked hosts anew, in the order
// of the plan, what they say of themselves and of the task.
func (c *Control) CheckPlan(ctx context.Context, actor restart.Actor, run restart.Run) ([]wire.HostCheck, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	if run.Plan == nil || run.State != restart.RunDraft {
		return nil, restart.Errorf(restart.CodeConflict, "run %s is no plan that waits to be started", run.ID)
	}
	p := *run.Plan
	var hosts []restart.Host
	for _, h := range p.Asked() {
		hosts = append(hosts, h.Host)
	}
	hosts = hosts[:min(len(hosts), MaxLooked)]
	out := make([]wire.HostCheck, len(hosts))
	eachHost(hosts, func(i int, h restart.Host) { out[i] = c.checkHost(ctx, c.cfg.Agents.CheckAnew, h, checkOf(p, h), nil) })
	return out, ctx.Err()
}

// Again plans what a draft asks for anew, after it has changed or grown old, as
// another draft: what was unticked of the old one stays unticked. hosts are those
// that were ticked; empty = as the old plan had them.
func (c *Control) Again(ctx context.Context, actor restart.Actor, id string, hosts []string) (restart.Run, error) {
	run, err := c.Run(ctx, actor, id)
	if err != nil {
		return restart.Run{}, err
	}
	rec := about(c.record(actor, audit.RunRefused), run)
	refuse := func(err error) (restart.Run, error) { return restart.Run{}, c.refused(ctx, rec, err) }
	switch {
	case run.Plan == nil || run.State != restart.RunDraft:
		return refuse(restart.Errorf(restart.CodeConflict, "run %s is no plan that waits to be started", id))
	case run.Actor != actor.Name:
		return refuse(restart.Errorf(restart.CodeForbidden, "this plan is %s's to confirm", run.Actor).WithHint("make your own"))
	}
	req := run.Plan.Request
	r, err := c.resolveAgain(ctx, actor, run, &req)
	if err != nil {
		return refuse(err)
	}
	untick(&r.plan, *run.Plan, hosts, actor.Name)
	p, file, err := c.complete(ctx, actor, r)
	if err != nil {
		return refuse(err)
	}
	warnOfUndrain(&p)
	return c.keep(ctx, actor, p, file, "")
}

// untick leaves those hosts of a plan out that were in the plan before and were
// not ticked there.
func untick(p *restart.Plan, before restart.Plan, ticked []string, by string) {
	if len(ticked) == 0 {
		return
	}
	out := map[string]bool{}
	for _, h := range before.Asked() {
		out[h.Name] = h.Code == "" // one that refused may be ready by now
	}
	for _, name := range ticked {
		out[name] = false
	}
	for i := range p.Hosts {
		if h := &p.Hosts[i]; out[h.Name] && !h.LeftOut {
			h.LeftOut, h.Why = true, "unticked by "+by
		}
	}
}

// MayStart checks the right of a person to start a draft, or to retry: nil, or
// CodeForbidden with who can.
func (c *Control) MayStart(ctx context.Context, actor restart.Actor, run restart.Run) error {
	return c.mayControl(ctx, actor, run, authz.ActionFor(run.Kind))
}

// WouldStart gives the plan that a start of a draft would freeze: what Start
// says where it would refuse.
func (c *Control) WouldStart(ctx context.Context, actor restart.Actor, run restart.Run, req wire.StartRequest) (restart.Plan, error) {
	plan, err := c.confirm(ctx, actor, run, req)
	if err != nil {
		return restart.Plan{}, err
	}
	return *plan, nil
}

// Lifts names who may lift the freeze that stands in a run's way; "" = none does.
func (c *Control) Lifts(ctx context.Context, actor restart.Actor, run restart.Run) string {
	if c.rights().Require(actor, authz.See, authz.Object{}) != nil {
		return ""
	}
	inWay, err := c.freezeInWay(ctx, run)
	if err != nil || inWay == nil {
		return ""
	}
	return c.lifts(ctx, *inWay, run)
}
