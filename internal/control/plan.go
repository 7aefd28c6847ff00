package control

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
)

// MaxHosts bounds a run.
const MaxHosts = 10_000

// Plan resolves a request and looks at every host, without storing anything.
func (c *Control) Plan(ctx context.Context, actor restart.Actor, req restart.Request) (restart.Plan, error) {
	p, _, err := c.plan(ctx, actor, &req)
	return p, err
}

// resolved is a request's answer from inventory and shelf, before any host is
// looked at. The same request on the same facts gives the same hash.
type resolved struct {
	plan restart.Plan
	file scenario.File
}

func (c *Control) plan(ctx context.Context, actor restart.Actor, req *restart.Request) (restart.Plan, scenario.File, error) {
	r, err := c.resolve(ctx, actor, req)
	if err != nil {
		return restart.Plan{}, scenario.File{}, err
	}
	return c.complete(ctx, actor, r)
}

// complete looks at the hosts of what was resolved, and lays them into order
// and batches, for somebody who asks for it.
func (c *Control) complete(ctx context.Context, actor restart.Actor, r resolved) (restart.Plan, scenario.File, error) {
	var err error
	p := r.plan
	if err := c.findTicket(ctx, &p); err != nil {
		return restart.Plan{}, scenario.File{}, err
	}
	c.lookAt(ctx, &p, r.file.Scenario)
	seed := rand.Uint64() //nolint:gosec // the order of hosts is no secret
	if p.Hosts, err = restart.Order(p.Hosts, p.Strategy.Order, seed); err != nil {
		return restart.Plan{}, scenario.File{}, err
	}
	if err := settle(&p, r.file.Scenario); err != nil {
		return restart.Plan{}, scenario.File{}, err
	}
	if err := c.warn(ctx, actor, &p); err != nil {
		return restart.Plan{}, scenario.File{}, err
	}
	return p, r.file, nil
}

// resolve answers which service, group, hosts, scenario and values, and
// whether the actor may. The reason is trimmed in place.
func (c *Control) resolve(ctx context.Context, actor restart.Actor, req *restart.Request) (resolved, error) {
	var none resolved
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return none, err
	}
	var err error
	if req.Reason, err = restart.CheckReason(req.Reason); err != nil {
		return none, restart.InField(err, FieldReason)
	}
	service, err := c.cfg.Inventory.Service(ctx, req.Service)
	if err != nil {
		return none, restart.InField(err, FieldService)
	}
	file, err := c.choose(ctx, service.Name, req)
	if err != nil {
		return none, restart.InField(err, FieldScenario)
	}
	values, err := c.allowedValues(actor, service, file.Scenario, req)
	if err != nil {
		return none, err
	}
	group, hosts, err := c.hostsFor(ctx, service, req)
	if err != nil {
		return none, restart.InField(err, whereField(*req))
	}
	if err := c.mayRun(actor, service, file.Scenario, group); err != nil {
		return none, err
	}
	r, err := c.assemble(ctx, *req, service, file, values, group, hosts)
	if err != nil {
		return none, err
	}
	return r, c.countGroup(ctx, &r.plan)
}

// countGroup puts the group's other hosts beside those that were asked for,
// where the strategy counts them.
func (c *Control) countGroup(ctx context.Context, p *restart.Plan) error {
	if !p.Counts() {
		return nil // nobody is asked in vain
	}
	_, members, err := c.cfg.Inventory.Group(ctx, p.Group)
	if err != nil {
		return err
	}
	p.Count(members)
	return nil
}

// allowedValues gives the values of the parameters, to who may run the scenario
// on some hosts of the service; on which, mayRun looks once they are known.
func (c *Control) allowedValues(actor restart.Actor, service restart.Service, s restart.Scenario, req *restart.Request) (map[string]string, error) {
	if err := c.rights().Require(actor, authz.ActionFor(s.Kind), authz.OfService(service)); err != nil {
		return nil, err
	}
	return s.Values(req.Params)
}

// assemble makes a plan of what was found, over hosts in the inventory's order.
func (c *Control) assemble(
	ctx context.Context, req restart.Request, service restart.Service, file scenario.File, values map[string]string, group restart.Group, hosts []restart.Host,
) (resolved, error) {
	var none resolved
	if len(hosts) > MaxHosts {
		return none, restart.Errorf(restart.CodeTooLarge, "%d hosts are more than one run may touch (%d)", len(hosts), MaxHosts).WithHint("name fewer with --hosts")
	}
	snapshot, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return none, err
	}
	s := file.Scenario
	p := restart.Plan{
		Request: req, Scenario: s.Name, Digest: s.Digest, Kind: s.Kind, Description: s.Description, Service: service,
		Environment: group.Environment, Project: group.Project, Group: group.Name, Params: values,
		Strategy: s.Strategy, Holds: s.Holds, Deadline: s.Health.ResolvedDeadline(), Evidence: evidenceOf(s), MadeAt: c.now(), InventoryAt: snapshot.FetchedAt,
	}
	if snapshot.Stale {
		p.Warnings = append(p.Warnings, "the inventory as it is now can't be used; this is its state of "+snapshot.FetchedAt.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if snapshot.Problem != "" {
		p.Warnings = append(p.Warnings, "the inventory: "+restart.Escape(snapshot.Problem))
	}
	if req.Rehearse {
		p.Work = restart.WorkRehearse
		p.Warnings = append(p.Warnings, "a rehearsal: every check is made, and no script of the scenario is run; an agent that knows of none refuses")
	}
	silence(&p, s)
	p.Hash = p.Facts(hosts)
	for _, h := range hosts {
		p.Hosts = append(p.Hosts, restart.PlannedHost{Host: h, Health: restart.HealthUnknown})
	}
	if err := c.leaveOut(ctx, &p, req.Except); err != nil {
		return none, restart.InField(err, FieldExcept)
	}
	return resolved{plan: p, file: file}, nil
}

// evidenceOf names the kinds of evidence that a scenario wants of a host.
func evidenceOf(s restart.Scenario) []string {
	var kinds []string
	for _, e := range s.Evidence {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// leaveOut unticks the hosts of an expression, each of which must be in the plan.
func (c *Control) leaveOut(ctx context.Context, p *restart.Plan, except string) error {
	if except == "" {
		return nil
	}
	out, err := c.cfg.Inventory.Resolve(ctx, except)
	if err != nil {
		return err
	}
	for _, h := range out {
		i := slices.IndexFunc(p.Hosts, func(x restart.PlannedHost) bool { return x.Name == h.Name })
		if i < 0 {
			return restart.Errorf(restart.CodeInvalid, "%s is to be left out, and is not in the plan", h.Name).WithHint("the plan has: %s", names(p.Hosts))
		}
		p.Hosts[i].LeftOut, p.Hosts[i].Why = true, "left out by the request"
	}
	return nil
}

// choose finds the scenario: the one named, or the only one of the kind that
// fits; one written for the service goes before one that fits any, and of those
// thread-dump before other dumps.
func (c *Control) choose(ctx context.Context, service string, req *restart.Request) (scenario.File, error) {
	folder, err := c.folder(ctx)
	if err != nil {
		return scenario.File{}, err
	}
	if req.Scenario != "" {
		f, ok := folder.ByName(req.Scenario)
		if !ok {
			none := restart.Errorf(restart.CodeNotFound, "there is no scenario %s", restart.Quote(req.Scenario)).WithHint("list them with: restartilka scenario list")
			return f, c.instead(ctx, none, func(s restart.Scenario) bool { return s.Name == req.Scenario })
		}
		if !f.Scenario.Fits(service) {
			return f, restart.Errorf(restart.CodeInvalid, "scenario %s is not for service %s", f.Scenario.Name, service).
				WithHint("it is for: %s", strings.Join(f.Scenario.Services, ", "))
		}
		if req.Kind != "" && req.Kind != f.Scenario.Kind {
			return f, restart.Errorf(restart.CodeInvalid, "scenario %s is of kind %s, not %s", f.Scenario.Name, f.Scenario.Kind, req.Kind)
		}
		return unexpired(f, c.now())
	}
	kind := req.Kind
	if kind == "" {
		kind = restart.KindRestart
	}
	var own, general []scenario.File
	for _, f := range folder.ForService(service, kind) {
		if slices.Contains(f.Scenario.Services, service) {
			own = append(own, f)
		} else {
			general = append(general, f)
		}
	}
	fits := own
	if len(fits) == 0 {
		fits = general
		if i := slices.IndexFunc(general, func(f scenario.File) bool {
			return f.Scenario.Name == restart.AnyDump && kind == restart.KindThreadDump
		}); i >= 0 {
			fits = general[i : i+1]
		}
	}
	switch len(fits) {
	case 1:
		return unexpired(fits[0], c.now())
	case 0:
		none := restart.Errorf(restart.CodeNotFound, "no scenario of kind %s fits service %s", kind, service).
			WithHint("write one with: restartilka scenario new --unit UNIT")
		return scenario.File{}, c.instead(ctx, none, func(s restart.Scenario) bool { return s.Kind == kind && s.Fits(service) })
	}
	var all []string
	for _, f := range fits {
		all = append(all, f.Scenario.Name)
	}
	return scenario.File{}, restart.Errorf(restart.CodeInvalid, "%d scenarios of kind %s fit service %s", len(fits), kind, service).
		WithHint("choose one with --scenario: %s", strings.Join(all, ", "))
}

// hostsFor gives the group (R15: by itself) and the hosts, in the inventory's
// order. Hosts named one by one must all belong to one group of the service,
// so that nobody reaches past the service he owns.
func (c *Control) hostsFor(ctx context.Context, service restart.Service, req *restart.Request) (restart.Group, []restart.Host, error) {
	if req.Group != "" && req.Hosts != "" {
		return restart.Group{}, nil, restart.Errorf(restart.CodeInvalid, "both a group and hosts are named").WithHint("name one; hosts of a group: --hosts %%%s", req.Group)
	}
	if req.Hosts != "" {
		hosts, err := c.cfg.Inventory.Resolve(ctx, req.Hosts)
		if err != nil {
			return restart.Group{}, nil, err
		}
		g, err := c.groupHolding(ctx, service, req, hosts)
		return g, hosts, err
	}
	name := req.Group
	if name == "" {
		g, err := c.cfg.Inventory.GroupFor(ctx, service.Name, req.Environment, req.Project)
		if err != nil {
			return g, nil, err
		}
		name = g.Name
	}
	g, hosts, err := c.cfg.Inventory.Group(ctx, name)
	if err != nil {
		return g, nil, err
	}
	if !slices.Contains(g.Services, service.Name) {
		return g, nil, restart.Errorf(restart.CodeInvalid, "group %s is not a group of service %s", g.Name, service.Name).
			WithHint("its services: %s", orNone(g.Services))
	}
	if req.Environment != "" && g.Environment != req.Environment {
		return g, nil, restart.Errorf(restart.CodeInvalid, "group %s is of environment %s, not %s", g.Name, orNone([]string{g.Environment}), req.Environment)
	}
	if len(hosts) == 0 {
		return g, nil, restart.Errorf(restart.CodeInvalid, "group %s has no hosts", g.Name)
	}
	return g, hosts, nil
}

func (c *Control) groupHolding(ctx context.Context, service restart.Service, req *restart.Request, hosts []restart.Host) (restart.Group, error) {
	groups, err := c.cfg.Inventory.Groups(ctx)
	if err != nil {
		return restart.Group{}, err
	}
	var fit []restart.Group
	var outside []string
	for _, g := range groups {
		if !slices.Contains(g.Services, service.Name) || (req.Environment != "" && g.Environment != req.Environment) || (req.Project != "" && g.Project != req.Project) {
			continue
		}
		missing := ""
		for _, h := range hosts {
			if !slices.Contains(g.Hosts, h.Name) {
				missing = h.Name
				break
			}
		}
		if missing == "" {
			fit = append(fit, g)
		} else {
			outside = append(outside, fmt.Sprintf("%s is not in %s", missing, g.Name))
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) == 0:
		return restart.Group{}, restart.Errorf(restart.CodeInvalid, "no one group of service %s holds all of these hosts", service.Name).WithHint("%s", orNone(outside))
	}
	var all []string
	for _, g := range fit {
		all = append(all, g.Name)
	}
	smallest := slices.MinFunc(fit, func(a, b restart.Group) int { return len(a.Hosts) - len(b.Hosts) })
	for _, g := range fit {
		if g.Environment != smallest.Environment || g.Project != smallest.Project {
			return restart.Group{}, restart.Errorf(restart.CodeInvalid, "these hosts are in several groups of service %s", service.Name).
				WithHint("say which environment: %s", strings.Join(all, ", "))
		}
	}
	return smallest, nil
}

// settle resolves the strategy for the hosts that are not left out.
func settle(p *restart.Plan, s restart.Scenario) error {
	if len(p.Chosen()) == 0 {
		return nobodyLeft(p.Asked())
	}
	return p.Settle(s.PerHost())
}

// nobodyLeft says why of each host; its code is the hosts' own where they agree.
func nobodyLeft(hosts []restart.PlannedHost) error {
	const most = 5
	code := hosts[0].Code
	var whys []string
	for i, h := range hosts {
		if h.Code != code {
			code = restart.CodeUnreachable // something of each: no host could be had
		}
		if i < most {
			whys = append(whys, h.Name+": "+strings.TrimPrefix(h.Why, h.Name+": "))
		}
	}
	if len(hosts) > most {
		whys = append(whys, fmt.Sprintf("and %d more", len(hosts)-most))
	}
	if code == "" {
		code = restart.CodeInvalid // left out by the request itself
	}
	return restart.Errorf(code, "no host is left to touch").WithHint("%s", strings.Join(whys, "\n"))
}

// held says who has what a plan wants. A service need not have an environment.
func held(l store.Lock) string {
	if l.Environment == "" {
		return fmt.Sprintf("run %s has %s now; this one would wait for it", l.RunID, l.Service)
	}
	return fmt.Sprintf("run %s has %s in %s now; this one would wait for it", l.RunID, l.Service, l.Environment)
}

// warn adds what a person should know before pressing the button.
func (c *Control) warn(ctx context.Context, actor restart.Actor, p *restart.Plan) error {
	locks, err := c.cfg.Store.Locks(ctx)
	if err != nil {
		return err
	}
	holds := restart.Run{Kind: p.Kind, Work: p.Work}.HoldsService()
	for _, l := range locks {
		if holds && l.Bears(p.Service.Name, p.Environment, lockedGroup(*p)) {
			p.Warnings = append(p.Warnings, held(l))
		}
	}
	frozen, err := c.freezeOn(ctx, restart.Run{Kind: p.Kind, Work: p.Work, Service: p.Service.Name, Environment: p.Environment})
	if err != nil {
		return err
	}
	if frozen != nil {
		p.Warnings = append(p.Warnings, frozen.sentence(p.Environment))
	}
	c.warnOfAlerts(ctx, p)
	if err := c.behind(ctx, restart.Run{}, 0); err != nil {
		if restart.CodeOf(err) != restart.CodeAuditBacklog {
			return err
		}
		p.Warnings = append(p.Warnings, messageOf(err)+": it can't start now")
	}
	if p.Approval = c.approvalWarning(actor.Name, *p); p.Approval != "" {
		p.Warnings = append(p.Warnings, p.Approval)
	}
	if err := c.warnOfTicket(ctx, p); err != nil {
		return err
	}
	failed, err := c.failedLately(ctx, *p)
	if failed != "" {
		p.Warnings = append(p.Warnings, failed)
	}
	return err
}

// lockedGroup is the group that a plan's run would hold; "" = the whole environment.
func lockedGroup(p restart.Plan) string {
	if p.Holds == restart.HoldsGroup {
		return p.Group
	}
	return ""
}

func names(hosts []restart.PlannedHost) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	if len(out) > 10 {
		out = append(out[:10], fmt.Sprintf("and %d more", len(hosts)-10))
	}
	return strings.Join(out, ", ")
}

func orNone(s []string) string {
	s = slices.DeleteFunc(slices.Clone(s), func(x string) bool { return x == "" })
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}
