package inventory

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// sighting is one thing that a source says of a host: what it is, and what it
// carries where. A host may be sighted any number of times.
type sighting struct {
	host        restart.Host
	services    []string
	environment string
	project     string
	groups      []string // that the source itself names; without any, the templates name them
}

// gathering makes a snapshot of sightings, for sources that list hosts and say
// of each what it is. What can't be used is left out and told; nothing of a
// host counts that a later sighting says otherwise.
//
// A group carries a service when all its hosts do, and is of an environment or
// project when all its hosts are, unless the services file says what it is.
type gathering struct {
	described described
	templates []template
	domain    string // added to names without a dot
	notes     notes

	hosts   []restart.Host
	index   map[string]int
	groups  map[string]*gathered
	order   []string // of groups
	members int
	known   map[string]restart.Service
}

// gathered is one group.
type gathered struct {
	hosts []string
	said  map[string]*carried
	meant *restart.Group // what the source says of the group itself; nil = nothing
}

// carried is what a host carries in one group.
type carried struct {
	services             []string
	environment, project string
}

func newGathering(d described, templates []template, domain string) *gathering {
	g := &gathering{described: d, templates: templates, domain: domain, index: map[string]int{}, groups: map[string]*gathered{}, known: map[string]restart.Service{}}
	for _, s := range d.services {
		g.known[s.Name] = s
	}
	return g
}

// name makes a host's name of what a source calls it: lower case, without the
// dot at the end, and with the domain where it has none.
func (g *gathering) name(raw string) string {
	name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(raw)), ".")
	if g.domain != "" && name != "" && !strings.Contains(name, ".") {
		name += "." + g.domain
	}
	return name
}

// see takes a sighting in. The host's name must have been through name. The
// error is over the bounds of every inventory.
func (g *gathering) see(s sighting) error {
	ok, err := g.host(s.host)
	if err != nil || !ok {
		return err
	}
	g.clean(&s)
	for _, name := range s.groups {
		if err := g.join(name, s); err != nil {
			return err
		}
	}
	if len(s.groups) > 0 {
		return nil
	}
	for _, service := range s.services {
		one := s
		one.services = []string{service}
		if one.project == "" {
			one.project = g.known[service].Project
		}
		for _, name := range g.named(one) {
			if err := g.join(name, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// host notes a host and what is new of it. ok is false where it is left out.
func (g *gathering) host(h restart.Host) (ok bool, err error) {
	if _, err := netip.ParseAddr(h.Name); err == nil {
		g.notes.add("left out: %s is an address, and not the name of a host", restart.Quote(h.Name))
		return false, nil
	}
	if err := restart.CheckHost(h.Name); err != nil {
		g.notes.add("left out: %s", message(err))
		return false, nil
	}
	g.cleanHost(&h)
	at, seen := g.index[h.Name]
	if !seen {
		if len(g.hosts) == mostHosts {
			return false, restart.Errorf(restart.CodeTooLarge, "more than %d hosts are over the bound", mostHosts)
		}
		g.index[h.Name] = len(g.hosts)
		g.hosts = append(g.hosts, h)
		return true, nil
	}
	g.more(&g.hosts[at], h)
	return true, nil
}

// forget takes hosts out that are in no group yet.
func (g *gathering) forget(names map[string]bool) {
	if len(names) == 0 {
		return
	}
	g.hosts = slices.DeleteFunc(g.hosts, func(h restart.Host) bool { return names[h.Name] })
	clear(g.index)
	for i, h := range g.hosts {
		g.index[h.Name] = i
	}
}

// more adds what another sighting says of a host.
func (g *gathering) more(to *restart.Host, h restart.Host) {
	switch {
	case to.DataCentre == "":
		to.DataCentre = h.DataCentre
	case h.DataCentre != "" && h.DataCentre != to.DataCentre:
		g.notes.add("host %s is said to be in data centres %s and %s", h.Name, restart.Quote(to.DataCentre), restart.Quote(h.DataCentre))
	}
	switch {
	case to.Address == "":
		to.Address = h.Address
	case h.Address != "" && h.Address != to.Address:
		g.notes.add("host %s is said to have the addresses %s and %s", h.Name, restart.Quote(to.Address), restart.Quote(h.Address))
	}
	for _, t := range h.Tags {
		if !slices.Contains(to.Tags, t) {
			to.Tags = append(slices.Clip(to.Tags), t)
		}
	}
}

// cleanHost takes away what is said of a host and breaks a rule.
func (g *gathering) cleanHost(h *restart.Host) {
	if h.Address != "" && checkAddress(h.Address) != nil {
		g.notes.add("the address %s of host %s is not valid, so its name is used", restart.Quote(h.Address), h.Name)
		h.Address = ""
	}
	if h.DataCentre != "" {
		if err := checkDataCentre(h.DataCentre); err != nil {
			g.notes.add("host %s has none: %s", h.Name, message(err))
			h.DataCentre = ""
		}
	}
	var tags []string
	for _, t := range h.Tags {
		if err := restart.CheckTag(t); err != nil {
			g.notes.add("left out of host %s: %s", h.Name, message(err))
		} else if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	h.Tags = tags
}

// clean takes away what is said of a host's place and breaks a rule. A service
// that nobody describes is none of ours: monitoring knows many.
func (g *gathering) clean(s *sighting) {
	s.services = filter(s.services, func(name string) bool { _, ok := g.known[name]; return ok })
	for _, x := range []struct {
		value *string
		check func(string) error
	}{{&s.environment, restart.CheckEnvironment}, {&s.project, restart.CheckProject}} {
		if *x.value == "" {
			continue
		}
		if err := x.check(*x.value); err != nil {
			g.notes.add("host %s has none: %s", s.host.Name, message(err))
			*x.value = ""
		}
	}
	var groups []string
	for _, name := range s.groups {
		lower := strings.ToLower(name)
		if err := checkGroupName(lower); err != nil {
			g.notes.add("left out: %s", message(err))
		} else {
			groups = append(groups, lower)
		}
	}
	s.groups = groups
}

// named gives the groups that the templates make for a host's one service.
func (g *gathering) named(s sighting) []string {
	service := g.known[s.services[0]]
	service.Project = s.project
	var out []string
	if len(g.templates) == 0 {
		name := service.Name
		if s.environment != "" {
			name += "-" + s.environment
		}
		out = append(out, name)
	}
	for _, t := range g.templates {
		if name, ok := t.fill(service, s.environment); ok {
			out = append(out, name)
		}
	}
	return filter(out, func(name string) bool {
		err := checkGroupName(name)
		if err != nil {
			g.notes.add("left out: %s", message(err))
		}
		return err == nil
	})
}

// group finds a group, or begins it.
func (g *gathering) group(name string) *gathered {
	x := g.groups[name]
	if x == nil {
		x = &gathered{said: map[string]*carried{}}
		g.groups[name] = x
		g.order = append(g.order, name)
	}
	return x
}

// join puts a host into a group.
func (g *gathering) join(name string, s sighting) error {
	x := g.group(name)
	c := x.said[s.host.Name]
	if c == nil {
		if g.members++; g.members > mostMemberships {
			return tooManyMembers()
		}
		c = &carried{}
		x.said[s.host.Name] = c
		x.hosts = append(x.hosts, s.host.Name)
	}
	for _, service := range s.services {
		if !slices.Contains(c.services, service) {
			c.services = append(c.services, service)
		}
	}
	for _, v := range []struct {
		is   *string
		said string
	}{{&c.environment, s.environment}, {&c.project, s.project}} {
		switch {
		case *v.is == "":
			*v.is = v.said
		case v.said != "" && v.said != *v.is:
			g.notes.add("host %s in group %s is said to be of %s and %s, so the group is of neither", s.host.Name, name, *v.is, v.said)
			*v.is = differs
		}
	}
	return nil
}

// differs stands for a value that is said in two ways. No rule of names lets it
// be a value.
const differs = "\x00"

// snapshot makes the snapshot of what was gathered.
func (g *gathering) snapshot() Snapshot {
	s := Snapshot{Services: g.described.services, Hosts: g.hosts}
	for _, name := range g.order {
		s.Groups = append(s.Groups, g.meaning(name, g.groups[name]))
	}
	g.described.missing(&g.notes, func(name string) bool { return g.groups[name] != nil })
	s.Problem = g.notes.String()
	return s
}

// meaning says what a group is.
func (g *gathering) meaning(name string, x *gathered) restart.Group {
	out := restart.Group{Name: name}
	if d, ok := g.described.group(name); ok {
		out = d
	} else if x.meant != nil {
		out = *x.meant
	} else {
		out.Environment = x.shared(func(c *carried) string { return c.environment })
		out.Project = x.shared(func(c *carried) string { return c.project })
		out.Services = x.services(g.described.services)
	}
	out.Hosts = x.hosts
	return out
}

// shared is the value that all hosts of a group have, or "".
func (x *gathered) shared(of func(*carried) string) string {
	values := map[string]bool{}
	for _, c := range x.said {
		values[of(c)] = true
	}
	if len(values) != 1 || values[differs] {
		return ""
	}
	return slices.Collect(maps.Keys(values))[0]
}

// services are those that all hosts of a group carry, in the order in which
// they are described.
func (x *gathered) services(described []restart.Service) []string {
	count := map[string]int{}
	for _, c := range x.said {
		for _, name := range c.services {
			count[name]++
		}
	}
	var out []string
	for _, s := range described {
		if n := count[s.Name]; n > 0 && n == len(x.hosts) {
			out = append(out, s.Name)
		}
	}
	return out
}

// words reads a value that may hold several names: "nginx, billing".
func words(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
}

// environmentOf is the environment that one of a host's tags names, and the
// tags without those.
func environmentOf(g *gathering, host string, environments, tags []string) (environment string, others []string) {
	var named []string
	for _, t := range tags {
		if slices.Contains(environments, t) {
			named = append(named, t)
		} else {
			others = append(others, t)
		}
	}
	named = slices.Compact(slices.Sorted(slices.Values(named)))
	if len(named) > 1 {
		g.notes.add("the tags of host %s name several environments: %s", restart.Quote(host), strings.Join(named, ", "))
	}
	if len(named) != 1 {
		return "", others
	}
	return named[0], others
}

// tagsOf makes tags of the labels that a configuration lists: of "role" its
// words, of "role=" the one tag role=VALUE.
func tagsOf(list []string, value func(string) string) []string {
	var out []string
	for _, name := range list {
		bare, whole := strings.CutSuffix(name, "=")
		v := value(bare)
		switch {
		case v == "":
		case whole:
			out = append(out, bare+"="+v)
		default:
			out = append(out, words(v)...)
		}
	}
	return out
}
