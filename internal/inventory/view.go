package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// view is a snapshot with its index: what questions are answered from. The
// index is shared and never changed.
type view struct {
	Snapshot
	*index
}

type index struct {
	services map[string]restart.Service
	groups   map[string]restart.Group
	hosts    map[string]restart.Host
	dcs      map[string]bool
	tags     map[string]bool
}

func newView(s Snapshot) *view {
	x := &index{
		services: make(map[string]restart.Service, len(s.Services)),
		groups:   make(map[string]restart.Group, len(s.Groups)),
		hosts:    make(map[string]restart.Host, len(s.Hosts)),
		dcs:      map[string]bool{},
		tags:     map[string]bool{},
	}
	for _, service := range s.Services {
		x.services[service.Name] = service
	}
	for _, g := range s.Groups {
		x.groups[g.Name] = g
	}
	for _, h := range s.Hosts {
		x.hosts[h.Name] = h
		if h.DataCentre != "" {
			x.dcs[h.DataCentre] = true
		}
		for _, t := range h.Tags {
			x.tags[t] = true
		}
	}
	return &view{s, x}
}

// at is the same view, known to be true at another time.
func (v *view) at(t time.Time) *view {
	s := v.Snapshot
	s.FetchedAt = t
	return &view{s, v.index}
}

// stale is the same view, marked for what it is.
func (v *view) stale(why error, age time.Duration) *view {
	s := v.Snapshot
	s.Stale = true
	s.Problem = fmt.Sprintf("%v; this is its answer of %s, %s old", why, s.FetchedAt.UTC().Format(time.RFC3339), restart.Span(age.Round(time.Second)))
	return &view{s, v.index}
}

// with is the view and one more group. Of a host that is known already, what
// is known stays.
func (v *view) with(g restart.Group, hosts []restart.Host) *view {
	s := v.Snapshot
	s.Groups = append(slices.Clone(s.Groups), g)
	s.Hosts = slices.Clone(s.Hosts)
	for _, h := range hosts {
		if _, known := v.hosts[h.Name]; !known {
			s.Hosts = append(s.Hosts, h)
		}
	}
	return newView(s)
}

// Services lists the services, in the inventory's order.
func (i *Inventory) Services(ctx context.Context) ([]restart.Service, error) {
	v, err := i.view(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(v.Services), nil
}

// Groups lists the groups, in the inventory's order.
func (i *Inventory) Groups(ctx context.Context) ([]restart.Group, error) {
	v, err := i.view(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(v.Groups), nil
}

// Service finds a service by name. CodeNotFound suggests near names.
func (i *Inventory) Service(ctx context.Context, name string) (restart.Service, error) {
	v, err := i.view(ctx)
	if err != nil {
		return restart.Service{}, err
	}
	return v.service(name)
}

// Host finds a host by name. CodeNotFound suggests near names.
func (i *Inventory) Host(ctx context.Context, name string) (restart.Host, error) {
	v, err := i.view(ctx)
	if err != nil {
		return restart.Host{}, err
	}
	return v.host(name)
}

// Group finds a group by name, and its hosts in the inventory's order, with a
// look-up at the source where that is needed and possible. CodeNotFound
// suggests near names.
func (i *Inventory) Group(ctx context.Context, name string) (restart.Group, []restart.Host, error) {
	v, err := i.view(ctx)
	if err == nil {
		v, err = i.lookUp(ctx, v, name)
	}
	if err != nil {
		return restart.Group{}, nil, err
	}
	g := v.groups[name]
	return g, v.members(g), nil
}

// lookUp makes sure that a group is in the view.
func (i *Inventory) lookUp(ctx context.Context, v *view, group string) (*view, error) {
	if _, ok := v.groups[group]; ok {
		return v, nil
	}
	missing := v.unknown("group", group, v.groupNames())
	if i.finder == nil {
		return nil, missing
	}
	if err := restart.CheckGroupName(group); err != nil {
		return nil, err
	}
	g, hosts, err := i.finder.Find(ctx, group)
	if err == nil {
		err = checkSnapshot(Snapshot{Services: v.Services, Groups: []restart.Group{g}, Hosts: hosts})
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("look up group %s: %w", group, context.Cause(ctx))
	case restart.CodeOf(err) == restart.CodeNotFound:
		return nil, missing
	case err != nil:
		return nil, unavailable(i.source, err)
	}
	return v.with(g, hosts), nil
}

// members are the hosts of a group, in its order.
func (v *view) members(g restart.Group) []restart.Host {
	out := make([]restart.Host, 0, len(g.Hosts))
	for _, name := range g.Hosts {
		out = append(out, v.hosts[name])
	}
	return out
}

func (v *view) service(name string) (restart.Service, error) {
	if s, ok := v.services[name]; ok {
		return s, nil
	}
	return restart.Service{}, v.unknown("service", name, v.serviceNames())
}

func (v *view) host(name string) (restart.Host, error) {
	if h, ok := v.hosts[name]; ok {
		return h, nil
	}
	return restart.Host{}, v.unknown("host", name, v.hostNames())
}

func (v *view) unknown(what, name string, known []string) *restart.Error {
	return restart.Errorf(restart.CodeNotFound, "%s %s is not in the inventory", what, restart.Quote(name)).
		WithHint("%s", suggest(what, name, known))
}

func (v *view) serviceNames() []string {
	return names(v.Services, func(s restart.Service) string { return s.Name })
}

func (v *view) groupNames() []string {
	return names(v.Groups, func(g restart.Group) string { return g.Name })
}

func (v *view) hostNames() []string {
	return names(v.Hosts, func(h restart.Host) string { return h.Name })
}

func names[T any](all []T, name func(T) string) []string {
	out := make([]string, len(all))
	for i, x := range all {
		out[i] = name(x)
	}
	return out
}
