package inventory

import (
	"reflect"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// merging puts the answers of several sources together, the one that counts
// most first. Of a service or group that two of them have, the first one's
// counts; a host has what all of them say of it, and where they disagree what
// the first said. Each disagreement is told with both names.
type merging struct {
	join  bool // a group has the hosts of all
	out   Snapshot
	notes notes

	services, groups, hosts map[string]origin
}

// origin is where something stands in the merged snapshot, and who said it first.
type origin struct {
	at   int
	from string
}

func newMerging(join bool) *merging {
	return &merging{join: join, services: map[string]origin{}, groups: map[string]origin{}, hosts: map[string]origin{}}
}

// take takes in one answer.
func (m *merging) take(a answered) {
	s := a.view.Snapshot
	if m.out.FetchedAt.IsZero() || s.FetchedAt.Before(m.out.FetchedAt) {
		m.out.FetchedAt = s.FetchedAt
	}
	m.out.Stale = m.out.Stale || s.Stale
	for _, x := range s.Services {
		m.service(x, a.name)
	}
	for _, x := range s.Hosts {
		m.host(x, a.name)
	}
	for _, x := range s.Groups {
		m.group(x, a.name)
	}
}

func (m *merging) service(x restart.Service, from string) {
	first, ok := m.services[x.Name]
	if !ok {
		m.services[x.Name] = origin{len(m.out.Services), from}
		m.out.Services = append(m.out.Services, x)
		return
	}
	if !reflect.DeepEqual(x, m.out.Services[first.at]) {
		m.notes.add("service %s is described in two ways, by %s and by %s: the first counts", x.Name, first.from, from)
	}
}

func (m *merging) host(x restart.Host, from string) {
	first, ok := m.hosts[x.Name]
	if !ok {
		m.hosts[x.Name] = origin{len(m.out.Hosts), from}
		m.out.Hosts = append(m.out.Hosts, x)
		return
	}
	h := &m.out.Hosts[first.at]
	if h.DataCentre == "" {
		h.DataCentre = x.DataCentre
	} else if x.DataCentre != "" && x.DataCentre != h.DataCentre {
		m.notes.add("host %s is in data centre %s by %s, and in %s by %s: the first counts", x.Name, h.DataCentre, first.from, x.DataCentre, from)
	}
	if h.Address == "" {
		h.Address = x.Address
	} else if x.Address != "" && x.Address != h.Address {
		m.notes.add("host %s has the address %s by %s, and %s by %s: the first counts", x.Name, h.Address, first.from, x.Address, from)
	}
	for _, t := range x.Tags {
		if !slices.Contains(h.Tags, t) {
			h.Tags = append(slices.Clip(h.Tags), t) // the old ones belong to a source's own snapshot
		}
	}
	m.packages(h, x, first.from, from)
}

func (m *merging) packages(h *restart.Host, x restart.Host, first, from string) {
	if len(h.Packages) == 0 {
		h.Packages = x.Packages
		return
	}
	for name, version := range x.Packages {
		if has, ok := h.Packages[name]; ok && has != version {
			m.notes.add("host %s has package %s in version %s by %s, and %s by %s: the first counts", x.Name, name, has, first, version, from)
		}
	}
}

func (m *merging) group(x restart.Group, from string) {
	first, ok := m.groups[x.Name]
	if !ok {
		m.groups[x.Name] = origin{len(m.out.Groups), from}
		m.out.Groups = append(m.out.Groups, x)
		return
	}
	g := &m.out.Groups[first.at]
	if g.Environment != x.Environment || g.Project != x.Project || !same(g.Services, x.Services) {
		m.notes.add("group %s is of another environment, project or service by %s than by %s: the first counts", x.Name, first.from, from)
		return
	}
	switch {
	case same(g.Hosts, x.Hosts):
	case m.join:
		g.Hosts = joined(g.Hosts, x.Hosts)
	default:
		m.notes.add("group %s has %d hosts by %s, and %d by %s, not the same: the first counts", x.Name, len(g.Hosts), first.from, len(x.Hosts), from)
	}
}

// same tells whether two lists hold the same, in whatever order.
func same(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	has := make(map[string]bool, len(a))
	for _, x := range a {
		has[x] = true
	}
	return !slices.ContainsFunc(b, func(x string) bool { return !has[x] })
}

// joined is a new list of both, each name once.
func joined(a, b []string) []string {
	has := make(map[string]bool, len(a))
	for _, x := range a {
		has[x] = true
	}
	return append(slices.Clip(a), filter(b, func(x string) bool { return !has[x] })...)
}

// clashes notes names of two sources that are probably one machine: it would be
// restarted twice in one run, or refused under the wrong name.
func (m *merging) clashes() {
	full, addresses := map[string]string{}, map[string]string{} // first label → full name; address → name
	for _, h := range m.out.Hosts {
		if label, _, dot := strings.Cut(h.Name, "."); dot && full[label] == "" {
			full[label] = h.Name
		}
	}
	for _, h := range m.out.Hosts {
		from := m.hosts[h.Name].from
		if other := full[h.Name]; other != "" && m.hosts[other].from != from {
			m.notes.add("%s of %s and %s of %s may be one host", h.Name, from, other, m.hosts[other].from)
		}
		if h.Address == "" {
			continue
		}
		other := addresses[h.Address]
		if other == "" {
			addresses[h.Address] = h.Name
		} else if first := m.hosts[other].from; first != from {
			m.notes.add("%s of %s and %s of %s have the same address, %s", other, first, h.Name, from, h.Address)
		}
	}
}
