package control

import (
	"context"
	"slices"
	"strconv"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// mayRun checks, once it is known on which group a scenario is to run, that it
// may run there.
func (c *Control) mayRun(actor restart.Actor, service restart.Service, s restart.Scenario, group restart.Group) error {
	return c.rights().Require(actor, authz.ActionFor(s.Kind), authz.Object{Service: service, Environment: group.Environment, Group: group.Name})
}

// mayControl checks the rights of a person on the run's service.
func (c *Control) mayControl(ctx context.Context, actor restart.Actor, run restart.Run, action authz.Action) error {
	return c.rights().Require(actor, action, c.objectOf(ctx, run))
}

// objectOf is what a run does something to. Its service may have left the
// inventory meanwhile: then nobody owns it. While the inventory can't be read,
// the owners are those of the plan.
func (c *Control) objectOf(ctx context.Context, run restart.Run) authz.Object {
	service, err := c.cfg.Inventory.Service(ctx, run.Service)
	if err != nil {
		service = restart.Service{Name: run.Service}
		if run.Plan != nil && restart.CodeOf(err) != restart.CodeNotFound {
			service.Owners = run.Plan.Service.Owners
		}
	}
	return authz.Object{Service: service, Environment: run.Environment, Group: run.Group, For: authz.ActionFor(run.Kind)}
}

// mayFreeze checks that somebody may freeze each service in each environment
// that a freeze names. Where it names no service it binds the whole
// environment, and so each of its services; so it is with every environment.
func (c *Control) mayFreeze(ctx context.Context, actor restart.Actor, f restart.Freeze) error {
	now, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	environments := f.Environments
	if slices.Contains(environments, restart.EveryEnvironment) {
		environments = append(environmentsOf(now), "")
	}
	services := []restart.Service{{}}
	if len(f.Services) == 0 {
		services = append(services, now.Services...)
	} else {
		services = nil
		for _, name := range f.Services {
			service := restart.Service{Name: name}
			if i := slices.IndexFunc(now.Services, func(s restart.Service) bool { return s.Name == name }); i >= 0 {
				service = now.Services[i]
			}
			services = append(services, service)
		}
	}
	rules := c.rights()
	for _, s := range services {
		for _, e := range environments {
			if err := rules.Require(actor, authz.Freeze, authz.Object{Service: s, Environment: e}); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayLift checks that somebody may lift a freeze: who may make it may. One that
// is not there is for the store to say.
func (c *Control) mayLift(ctx context.Context, actor restart.Actor, id string) error {
	list, err := c.cfg.Store.Freezes(ctx, c.now())
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.ID == id {
			return c.mayFreeze(ctx, actor, f)
		}
	}
	return nil
}

// environmentsOf lists the environments of the inventory, each once.
func environmentsOf(s inventory.Snapshot) []string {
	var out []string
	for _, g := range s.Groups {
		if g.Environment != "" {
			out = append(out, g.Environment)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// WhoCan tells who can do something to a service in each of its groups, or with
// an empty service to every one; of an action of the product as a whole it
// tells one line. Whoever is signed in may ask: a refusal says it, too.
func (c *Control) WhoCan(ctx context.Context, actor restart.Actor, q wire.WhoCanQuery) (list []wire.WhoCan, next string, err error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, "", err
	}
	action, err := authz.ParseAction(q.Action)
	if err != nil {
		return nil, "", err
	}
	objects, err := c.objects(ctx, action, q)
	if err != nil {
		return nil, "", err
	}
	from, limit := int(q.After), q.Limit
	if limit == 0 {
		limit = wire.MaxPage
	}
	rules := c.rights()
	list = []wire.WhoCan{}
	for i := from; i < len(objects) && i < from+limit; i++ {
		o := objects[i]
		line := wire.WhoCan{Action: string(action), Service: o.Service.Name, Environment: o.Environment, Group: o.Group, Who: []wire.Grant{}}
		for _, g := range rules.WhoCan(action, o) {
			line.Who = append(line.Who, wire.Grant{Kind: g.Kind, Name: g.Name, Needs: g.Needs, Say: g.Say(), Rule: g.Rule})
		}
		list = append(list, line)
	}
	if from+limit < len(objects) {
		next = strconv.Itoa(from + limit)
	}
	return list, next, nil
}

// objects lists what a question is about: each service in each of its groups.
func (c *Control) objects(ctx context.Context, action authz.Action, q wire.WhoCanQuery) ([]authz.Object, error) {
	if !action.Narrow() {
		return []authz.Object{{}}, nil
	}
	now, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	services := now.Services
	if q.Service != "" {
		service, err := c.cfg.Inventory.Service(ctx, q.Service)
		if err != nil {
			return nil, err
		}
		services = []restart.Service{service}
	}
	groups := map[string][]restart.Group{}
	for _, g := range now.Groups {
		for _, s := range g.Services {
			if (q.Environment == "" || g.Environment == q.Environment) && (q.Group == "" || g.Name == q.Group) {
				groups[s] = append(groups[s], g)
			}
		}
	}
	var out []authz.Object
	for _, s := range services {
		for _, g := range groups[s.Name] {
			out = append(out, authz.Object{Service: s, Environment: g.Environment, Group: g.Name})
		}
		if len(groups[s.Name]) == 0 && q.Group == "" && q.Environment == "" { // it runs nowhere yet
			out = append(out, authz.Object{Service: s})
		}
	}
	if len(out) == 0 {
		return nil, restart.Errorf(restart.CodeNotFound, "%s runs in no such group or environment", nameOr(q.Service, "no service")).
			WithHint("see: restartilka groups")
	}
	return out, nil
}

func nameOr(name, otherwise string) string {
	if name == "" {
		return otherwise
	}
	return name
}

// Why explains whether somebody may do something, as it would be decided now.
// Of himself everybody may ask; of others those who administer or audit.
func (c *Control) Why(ctx context.Context, actor restart.Actor, q wire.WhyQuery) (wire.Why, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return wire.Why{}, err
	}
	action, err := authz.ParseAction(q.Action)
	if err != nil {
		return wire.Why{}, err
	}
	who := actor
	if q.Who != "" && q.Who != actor.Name {
		if err := c.mayAskOf(actor); err != nil {
			return wire.Why{}, err
		}
		if who, err = c.cfg.People.Person(ctx, q.Who); err != nil {
			return wire.Why{}, err
		}
	}
	object, err := c.objectAsked(ctx, q)
	if err != nil {
		return wire.Why{}, err
	}
	rules := c.rights()
	d := rules.Decide(who, action, object)
	out := wire.Why{
		Who: who.Name, Roles: append([]restart.Role{}, who.Roles...), Teams: append([]string{}, who.Teams...), Action: string(action),
		Service: q.Service, Environment: q.Environment, Group: q.Group, Allowed: d.Allowed, Why: d.Why, Rule: d.Rule, Ask: d.Who,
	}
	if !d.Allowed && len(who.Roles) == 0 {
		if _, err := c.cfg.Store.User(ctx, who.Name); restart.CodeOf(err) == restart.CodeNotFound {
			out.Why = "nobody of this name has signed in yet, or has a token that is good"
		}
	}
	if a, ok := rules.Approval(action, object); ok && d.Allowed {
		out.Approval = a.Rule
	}
	if d.Allowed && q.Service != "" && q.Environment == "" && q.Group == "" {
		out.NotIn, err = c.notIn(ctx, who, action, q.Service)
	}
	return out, err
}

// notIn names the groups of a service in which somebody may not do what he may
// do in others.
func (c *Control) notIn(ctx context.Context, who restart.Actor, action authz.Action, service string) ([]string, error) {
	objects, err := c.objects(ctx, action, wire.WhoCanQuery{Service: service})
	if err != nil {
		return nil, err
	}
	rules := c.rights()
	var out []string
	for _, o := range objects {
		if o.Group != "" && !rules.Decide(who, action, o).Allowed {
			out = append(out, o.Group)
		}
	}
	return out, nil
}

// mayAskOf checks that somebody may ask what others may.
func (c *Control) mayAskOf(actor restart.Actor) error {
	if c.rights().Decide(actor, authz.Audit, authz.Object{}).Allowed {
		return nil
	}
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return restart.Errorf(restart.CodeForbidden, "only who audits or administers is told what others may").
			WithHint("who can do something everybody may ask: restartilka whocan ACTION SERVICE")
	}
	return nil
}

// objectAsked is what a question is about. Where it names neither environment
// nor group, it is asked whether he may anywhere.
func (c *Control) objectAsked(ctx context.Context, q wire.WhyQuery) (authz.Object, error) {
	if q.Service == "" {
		return authz.Object{Environment: q.Environment, Group: q.Group}, nil
	}
	service, err := c.cfg.Inventory.Service(ctx, q.Service)
	if err != nil {
		return authz.Object{}, err
	}
	o := authz.OfService(service)
	if q.Environment != "" {
		if err := c.hasEnvironment(ctx, service, q.Environment); err != nil {
			return authz.Object{}, err
		}
		o.Environment = q.Environment
	}
	if q.Group == "" {
		return o, nil
	}
	g, _, err := c.cfg.Inventory.Group(ctx, q.Group)
	if err == nil && q.Environment != "" && g.Environment != q.Environment {
		err = restart.Errorf(restart.CodeInvalid, "group %s is of environment %s, not %s", g.Name, orNone([]string{g.Environment}), restart.Quote(q.Environment))
	}
	o.Group, o.Environment = g.Name, g.Environment
	return o, err
}

// hasEnvironment refuses an environment in which a service has no group: what
// the rules say of a mistyped one is no answer about the one that was meant.
func (c *Control) hasEnvironment(ctx context.Context, service restart.Service, environment string) error {
	now, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return err
	}
	var known []string
	for _, g := range now.Groups {
		if slices.Contains(g.Services, service.Name) && !slices.Contains(known, g.Environment) {
			known = append(known, g.Environment)
		}
	}
	if slices.Contains(known, environment) {
		return nil
	}
	return restart.Errorf(restart.CodeNotFound, "service %s has no group in environment %s", service.Name, restart.Quote(environment)).
		WithHint("it has: %s", orNone(known))
}
