package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// The source "merged": several others, of which the first counts most. Each has
// an age and a limit of its own: one that fails is used as it was for as long
// as its stale_for allows. Past that there is no inventory at all, unless the
// source is optional: then its part is missing, and that is told.

const mostSources = 10

type mergedSource struct {
	parts    []mergedPart
	join     bool
	services *servicesFile // that its parts share; nil = each has its own
}

type mergedPart struct {
	*Inventory
	name     string
	optional bool
}

func newMerged(c Config) (Source, error) {
	s := &mergedSource{join: c.JoinGroups}
	if len(c.Sources) == 0 || len(c.Sources) > mostSources {
		return nil, bad("sources", "holds %d: there must be from 1 to %d", len(c.Sources), mostSources)
	}
	taken, lesser := map[string]bool{}, ""
	for _, source := range c.Sources {
		if err := restart.CheckServiceName(source.Name); err != nil {
			return nil, bad("sources", "needs a name for each: %s", message(err)).WithHint("{name: cmdb, kind: json, …}")
		}
		switch {
		case source.Kind == "merged":
			return nil, bad("sources", "holds %s, which is merged itself", source.Name)
		case taken[source.Name]:
			return nil, bad("sources", "has two of the name %s", source.Name)
		case lesser != "" && !source.Optional:
			return nil, bad("sources", "has %s, which is needed, behind %s, which is optional", source.Name, lesser).
				WithHint("what may be missing comes last: it must not count more than what is always there")
		}
		taken[source.Name] = true
		if source.Optional {
			lesser = source.Name
		}
		part, err := newPart(c, source)
		if err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "inventory.sources, %s: %s", source.Name, message(err)).WithHint("%s", hint(err)).Because(err)
		}
		s.parts = append(s.parts, part)
	}
	if c.ServicesFile == "" {
		return s, nil
	}
	c.shared = true
	var err error
	s.services, err = newServicesFile(c)
	return s, err
}

// newPart makes one of the sources. It shares the services file of all, unless
// it has one or needs none.
func newPart(c, source Config) (mergedPart, error) {
	p := mergedPart{name: source.Name, optional: source.Optional}
	takes := slices.Contains(strings.Fields(kinds()[source.Kind].keys), "services_file") && (source.Mapping == nil || source.Mapping.Services == nil)
	if source.ServicesFile == "" && takes && c.ServicesFile != "" {
		source.ServicesFile, source.shared = c.ServicesFile, true
	}
	source.Logger, source.Now = c.Logger.With("source", source.Name), c.Now
	var err error
	p.Inventory, err = New(source)
	return p, err
}

func (s *mergedSource) Name() string {
	return strings.Join(names(s.parts, func(p mergedPart) string { return p.name }), ", ")
}

func (s *mergedSource) Stamp() string {
	var all []string
	for _, p := range s.parts {
		all = append(all, p.source.Stamp())
	}
	if s.services != nil {
		all = append(all, s.services.file.stamp())
	}
	return strings.Join(all, "\n")
}

// answered is what one part gives.
type answered struct {
	name string
	view *view
	err  error
}

// ask asks all parts at once.
func (s *mergedSource) ask(ctx context.Context) []answered {
	out := make([]answered, len(s.parts))
	var all sync.WaitGroup
	for i, p := range s.parts {
		all.Go(func() {
			v, err := p.view(ctx)
			out[i] = answered{p.name, v, err}
		})
	}
	all.Wait()
	return out
}

func (s *mergedSource) Fetch(ctx context.Context) (Snapshot, error) {
	m := newMerging(s.join)
	var problems []string
	for i, a := range s.ask(ctx) {
		switch {
		case a.err == nil:
			m.take(a)
			if a.view.Problem != "" {
				problems = append(problems, fmt.Sprintf("source %s: %s", a.name, a.view.Problem))
			}
		case !s.parts[i].optional:
			return Snapshot{}, restart.Errorf(restart.CodeUnavailable, "source %s is needed: %s", a.name, message(a.err)).Because(a.err).
				WithHint("%s", cmp.Or(hint(a.err), "stale_for lets an older answer of it be used, and optional: true lets the others be used without it"))
		default:
			m.out.Missing = append(m.out.Missing, a.name)
			problems = append(problems, fmt.Sprintf("source %s gives nothing, so what only it knows is missing: %s", a.name, message(a.err)))
		}
	}
	if ctx.Err() != nil {
		return Snapshot{}, context.Cause(ctx)
	}
	if len(m.out.Missing) == len(s.parts) {
		return Snapshot{}, restart.Errorf(restart.CodeUnavailable, "none of its sources gives anything: %s", problems[0])
	}
	if err := s.described(m); err != nil {
		return Snapshot{}, err
	}
	m.clashes()
	if said := m.notes.String(); said != "" {
		problems = append(problems, said)
	}
	m.out.Problem = strings.Join(problems, "; ")
	return m.out, nil
}

// described notes groups of the shared services file that no part has.
func (s *mergedSource) described(m *merging) error {
	if s.services == nil || len(m.out.Missing) > 0 {
		return nil
	}
	d, err := s.services.read()
	if err != nil {
		return err
	}
	d.shared = false
	d.missing(&m.notes, func(group string) bool { _, ok := m.groups[group]; return ok })
	return nil
}

// Find looks a group up in the first part that can, and knows it.
func (s *mergedSource) Find(ctx context.Context, group string) (restart.Group, []restart.Host, error) {
	for _, p := range s.parts {
		if p.finder == nil {
			continue
		}
		g, hosts, err := p.finder.Find(ctx, group)
		if restart.CodeOf(err) != restart.CodeNotFound {
			return g, hosts, err
		}
	}
	return restart.Group{}, nil, restart.Errorf(restart.CodeNotFound, "group %s is not in the inventory", restart.Quote(group))
}

// Part is one source of the inventory, as it is now.
type Part struct {
	Name      string
	Kind      string
	Source    string    // what it asks: a path, a command, a URL
	FetchedAt time.Time // of its last good answer; zero = none yet
	Stale     bool      // that is an older answer, as it gives none now
	Missing   bool      // nothing of it is used
	Optional  bool
	Problem   string
	Services  int
	Groups    int
	Hosts     int
}

// Merged tells whether the inventory has several sources.
func (i *Inventory) Merged() bool {
	_, ok := i.source.(*mergedSource)
	return ok
}

// Parts tells how each source is. An inventory of any other kind than merged
// has one, without a name.
func (i *Inventory) Parts(ctx context.Context) []Part {
	m, ok := i.source.(*mergedSource)
	if !ok {
		v, err := i.view(ctx)
		return []Part{i.part(answered{view: v, err: err})}
	}
	var out []Part
	for n, a := range m.ask(ctx) {
		p := m.parts[n].part(a)
		p.Name, p.Optional = a.name, m.parts[n].optional
		out = append(out, p)
	}
	return out
}

func (i *Inventory) part(a answered) Part {
	p := Part{Kind: i.cfg.Kind, Source: i.source.Name()}
	if a.err != nil {
		p.Missing, p.Problem = true, message(a.err)
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.last.view != nil {
			p.FetchedAt = i.last.view.FetchedAt
		}
		return p
	}
	p.FetchedAt, p.Stale, p.Problem = a.view.FetchedAt, a.view.Stale, a.view.Problem
	p.Services, p.Groups, p.Hosts = len(a.view.Services), len(a.view.Groups), len(a.view.Hosts)
	return p
}
