package control

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// lookedBack is how many requests of a person say what he mostly asks for.
const lookedBack = 100

// Offer is one service that a person may choose.
type Offer struct {
	Name, Description string
	Mine              bool      // an owner, by name or by team
	Used              time.Time // when he last asked for a run of it; zero = not lately
}

// Offers finds services by what is in their name, package or description; ""
// finds all. Those that the person has used last come first, then his own, then
// those whose name begins with the text. found is how many there are in all.
func (c *Control) Offers(ctx context.Context, actor restart.Actor, text string, limit int) (offers []Offer, found int, err error) {
	now, err := c.Inventory(ctx, actor)
	if err != nil {
		return nil, 0, err
	}
	asked, err := c.cfg.Store.AskedBy(ctx, actor.Name, lookedBack)
	if err != nil {
		return nil, 0, err
	}
	used := map[string]time.Time{}
	for _, a := range asked {
		if a.At.After(used[a.Service]) {
			used[a.Service] = a.At
		}
	}
	text = strings.ToLower(strings.TrimSpace(text))
	for _, s := range now.Services {
		if matches(s, text) {
			offers = append(offers, Offer{Name: s.Name, Description: s.Description, Mine: authz.Owns(actor, s), Used: used[s.Name]})
		}
	}
	slices.SortStableFunc(offers, func(a, b Offer) int { return compareOffers(a, b, text) })
	return offers[:min(len(offers), limit)], len(offers), nil
}

func matches(s restart.Service, text string) bool {
	return text == "" || strings.Contains(strings.ToLower(s.Name), text) || strings.Contains(strings.ToLower(s.Package), text) || strings.Contains(strings.ToLower(s.Description), text)
}

func compareOffers(a, b Offer, text string) int {
	first := func(holds func(o Offer) bool) int {
		switch x, y := holds(a), holds(b); {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	}
	return cmp.Or(
		first(func(o Offer) bool { return o.Name == text }),
		b.Used.Compare(a.Used),
		first(func(o Offer) bool { return o.Mine }),
		first(func(o Offer) bool { return strings.HasPrefix(o.Name, text) }),
		strings.Compare(a.Name, b.Name),
	)
}

// Choice is what can be chosen for a run of one service.
type Choice struct {
	Service   restart.Service
	Places    []Place
	Scenarios []Recipe
	Inventory inventory.Snapshot // of its head only: how old it is, and what is wrong with it
}

// Place is a group of the service, as the inventory lists them.
type Place struct {
	Group, Environment, Project string
	Hosts                       int
	Refused                     error        // why the person may not restart there, and who can; nil = he may
	Frozen                      *wire.Freeze // nil = nothing is, now
	Held                        *wire.Lock   // nil = by nobody, now
	Deliberate                  bool         // a change of it takes a second step
}

// Recipe is a scenario in force that fits the service.
type Recipe struct {
	restart.Scenario
	Refused error // why it can't be used, or not by this person; nil = it can
}

// Choice looks up what a person can choose for a run of a service.
func (c *Control) Choice(ctx context.Context, actor restart.Actor, name string) (Choice, error) {
	now, err := c.Inventory(ctx, actor)
	if err != nil {
		return Choice{}, err
	}
	service, err := c.cfg.Inventory.Service(ctx, name)
	if err != nil {
		return Choice{}, err
	}
	out := Choice{Service: service, Inventory: now}
	out.Inventory.Services, out.Inventory.Groups, out.Inventory.Hosts = nil, nil, nil
	if out.Scenarios, err = c.recipes(ctx, actor, service); err != nil {
		return Choice{}, err
	}
	locks, err := c.Locks(ctx, actor)
	if err != nil {
		return Choice{}, err
	}
	freezes := map[string]*applied{} // by environment, of which there are few
	for _, g := range now.Groups {
		if !slices.Contains(g.Services, name) {
			continue
		}
		frozen, known := freezes[g.Environment]
		if !known {
			if frozen, err = c.freezeOn(ctx, restart.Run{Kind: restart.KindRestart, Service: name, Environment: g.Environment}); err != nil {
				return Choice{}, err
			}
			freezes[g.Environment] = frozen
		}
		p := c.place(actor, service, g, frozen)
		if i := slices.IndexFunc(locks, func(l wire.Lock) bool {
			return l.Service == name && l.Environment == g.Environment && (l.Group == "" || l.Group == g.Name)
		}); i >= 0 {
			p.Held = &locks[i]
		}
		out.Places = append(out.Places, p)
	}
	return out, nil
}

func (c *Control) place(actor restart.Actor, service restart.Service, g restart.Group, frozen *applied) Place {
	p := Place{Group: g.Name, Environment: g.Environment, Project: g.Project, Hosts: len(g.Hosts)}
	object := authz.Object{Service: service, Environment: g.Environment, Group: g.Name}
	p.Refused = c.rights().Require(actor, authz.Restart, object)
	p.Deliberate = c.deliberate(authz.Restart, object)
	if frozen != nil {
		p.Frozen = &wire.Freeze{Freeze: frozen.Freeze, Applies: true, Ends: frozen.until}
	}
	return p
}

// recipes lists the scenarios that fit a service: those written for it first,
// restarts before others, thread-dump before other dumps.
func (c *Control) recipes(ctx context.Context, actor restart.Actor, service restart.Service) ([]Recipe, error) {
	folder, err := c.folder(ctx)
	if err != nil {
		return nil, err
	}
	var out []Recipe
	for _, f := range folder.ForService(service.Name, "") {
		r := Recipe{Scenario: f.Scenario}
		if _, r.Refused = unexpired(f, c.now()); r.Refused == nil {
			r.Refused = c.rights().Require(actor, authz.ActionFor(f.Scenario.Kind), authz.OfService(service))
		}
		out = append(out, r)
	}
	kinds := []restart.Kind{restart.KindRestart, restart.KindThreadDump, restart.KindCustom}
	rank := func(r Recipe) (general, kind int) {
		switch {
		case slices.Contains(r.Services, service.Name):
		case r.Name == restart.AnyDump && r.Kind == restart.KindThreadDump:
			general = 1
		default:
			general = 2
		}
		return general, slices.Index(kinds, r.Kind)
	}
	slices.SortStableFunc(out, func(a, b Recipe) int {
		aGeneral, aKind := rank(a)
		bGeneral, bKind := rank(b)
		return cmp.Or(cmp.Compare(aKind, bKind), cmp.Compare(aGeneral, bGeneral))
	})
	return out, nil
}

// Reasons gives what a person has given as reasons lately, each once, the
// newest first: those of the same service before others.
func (c *Control) Reasons(ctx context.Context, actor restart.Actor, service string, limit int) ([]string, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	asked, err := c.cfg.Store.AskedBy(ctx, actor.Name, lookedBack)
	var out []string
	for _, own := range []bool{true, false} {
		for _, a := range asked {
			if (a.Service == service) == own && !slices.Contains(out, a.Reason) {
				out = append(out, a.Reason)
			}
		}
	}
	return out[:min(len(out), limit)], err
}

// GroupOf gives a group of a service by its name, looked up at the source where
// the inventory has not listed it: CodeNotFound where there is none, CodeInvalid
// where it is of other services.
func (c *Control) GroupOf(ctx context.Context, actor restart.Actor, service, name string) (restart.Group, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return restart.Group{}, err
	}
	g, _, err := c.cfg.Inventory.Group(ctx, name)
	if err == nil && !slices.Contains(g.Services, service) {
		err = restart.Errorf(restart.CodeInvalid, "group %s has no service %s", name, service)
	}
	return g, err
}

// DefaultSecondStep is what Config.SecondStep is unless somebody says otherwise:
// what production is mostly called.
func DefaultSecondStep() []string { return []string{"production", "prod", "prod-*", "live"} }

// Deliberate tells whether a run should be confirmed by a second step: it
// changes a service in an environment that Config.SecondStep names, in any case
// of letters, or where the rules ask for an approval.
func (c *Control) Deliberate(ctx context.Context, run restart.Run) bool {
	if run.Kind == restart.KindThreadDump || run.Work != restart.WorkWhole {
		return false
	}
	return c.deliberate(authz.ActionFor(run.Kind), c.objectOf(ctx, run))
}

func (c *Control) deliberate(action authz.Action, object authz.Object) bool {
	environment := strings.ToLower(object.Environment)
	if slices.ContainsFunc(c.cfg.SecondStep, func(glob string) bool {
		ok, err := path.Match(strings.ToLower(glob), environment)
		return ok && err == nil
	}) {
		return true
	}
	_, asks := c.rights().Approval(action, object)
	return asks
}
