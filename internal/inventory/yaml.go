package inventory

import (
	"context"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// The source "yaml": one file with services, groups and hosts.

const (
	largestYAML = 16 << 20 // bytes
	deepestNest = 32       // groups within groups
)

type yamlSource struct{ file *localFile }

func newYAML(c Config) (Source, error) {
	if c.Path == "" {
		return nil, bad("path", "is missing").WithHint("the inventory file, such as /etc/restartilka/inventory.yaml")
	}
	return &yamlSource{&localFile{path: c.Path, most: largestYAML}}, nil
}

func (s *yamlSource) Name() string  { return s.file.path }
func (s *yamlSource) Stamp() string { return s.file.stamp() }

func (s *yamlSource) Fetch(context.Context) (Snapshot, error) {
	b, err := s.file.read()
	if err != nil {
		return Snapshot{}, err
	}
	return ParseYAML(b)
}

// ParseYAML reads an inventory file as the source "yaml" does: strictly, and
// with every rule held. Errors are *restart.Error with CodeInvalid (or
// CodeTooLarge) that begin with the line: "line 7: …". FetchedAt and Source
// are left empty.
func ParseYAML(b []byte) (Snapshot, error) {
	if len(b) > largestYAML {
		return Snapshot{}, restart.Errorf(restart.CodeTooLarge, "the inventory is over %d MiB", largestYAML>>20)
	}
	d, err := parseDocument(b)
	if err != nil {
		return Snapshot{}, err
	}
	return d.compile()
}

// compile turns a document into a snapshot: ranges counted out, nested groups
// resolved, data centres given to hosts.
func (d document) compile() (Snapshot, error) {
	var s Snapshot
	var err error
	if s.Services, err = d.compileServices(); err != nil {
		return Snapshot{}, err
	}
	services := names(s.Services, func(s restart.Service) string { return s.Name })
	hosts, err := d.compileHosts()
	if err != nil {
		return Snapshot{}, err
	}
	n := &nest{entries: map[string]groupEntry{}, done: map[string][]string{}}
	for _, e := range d.Groups {
		if err := e.check(services); err != nil {
			return Snapshot{}, err
		}
		if first, twice := n.entries[e.Name]; twice {
			return Snapshot{}, strict.LineError(e.line, "group %s is there already, in line %d", e.Name, first.line)
		}
		n.entries[e.Name] = e
		n.names = append(n.names, e.Name)
	}
	for _, e := range d.Groups {
		members, err := n.members(e.Name, hosts)
		if err != nil {
			return Snapshot{}, err
		}
		if err := hosts.settle(e, members); err != nil {
			return Snapshot{}, err
		}
		s.Groups = append(s.Groups, restart.Group{
			Name: e.Name, Project: e.Project, Environment: e.Environment, Services: texts(e.Services), Hosts: members,
		})
	}
	s.Hosts = hosts.list
	return s, nil
}

// compileServices checks the services section.
func (d document) compileServices() ([]restart.Service, error) {
	var out []restart.Service
	lines := map[string]int{}
	for _, e := range d.Services {
		service := restart.Service{
			Name: e.Name, Description: e.Description, Package: e.Package, Tag: e.Tag, Unit: e.Unit,
			Port: e.Port, Runtime: e.Runtime, Project: e.Project, Owners: e.Owners,
		}
		if err := checkService(service); err != nil {
			return nil, strict.AtLine(e.line, err)
		}
		if first, twice := lines[e.Name]; twice {
			return nil, strict.LineError(e.line, "service %s is there already, in line %d", e.Name, first)
		}
		lines[e.Name] = e.line
		out = append(out, service)
	}
	return out, nil
}

// check holds the rules of a group but for its members.
func (e groupEntry) check(services []string) error {
	if err := checkGroup(restart.Group{Name: e.Name, Project: e.Project, Environment: e.Environment}); err != nil {
		return strict.AtLine(e.line, err)
	}
	if e.DataCentre != "" {
		if err := checkDataCentre(e.DataCentre); err != nil {
			return strict.AtLine(e.line, err)
		}
	}
	seen := map[string]bool{}
	for _, w := range e.Services {
		if !slices.Contains(services, w.text) {
			return strict.LineError(w.line, "group %s names an unknown service %s", e.Name, restart.Quote(w.text)).
				WithHint("%s", suggest("service", w.text, services))
		}
		if seen[w.text] {
			return strict.LineError(w.line, "group %s names service %s twice", e.Name, w.text)
		}
		seen[w.text] = true
	}
	return nil
}

func texts(words []word) []string {
	return names(words, func(w word) string { return w.text })
}

// hostTable is the hosts section, and what groups add to it.
type hostTable struct {
	list  []restart.Host
	index map[string]int
	said  map[string]int // host → the line that said its data centre
	lines map[string]int // host → the line of its own entry
}

func (d document) compileHosts() (*hostTable, error) {
	t := &hostTable{index: map[string]int{}, said: map[string]int{}, lines: map[string]int{}}
	for _, e := range d.Hosts {
		expanded, err := expand(e.Name, mostFromRanges)
		if err != nil {
			return nil, strict.AtLine(e.line, err)
		}
		if len(expanded) > 1 && e.Address != "" {
			return nil, strict.LineError(e.line, "%s is a range, and can't have one address", restart.Quote(e.Name))
		}
		for _, name := range expanded {
			h := restart.Host{Name: name, Address: e.Address, DataCentre: e.DataCentre, Tags: e.Tags}
			if err := checkHost(h); err != nil {
				return nil, strict.AtLine(e.line, err)
			}
			if first, twice := t.lines[name]; twice {
				return nil, strict.LineError(e.line, "host %s is there already, in line %d", name, first)
			}
			if len(t.list) == mostHosts {
				return nil, restart.Errorf(restart.CodeTooLarge, "line %d: more than %d hosts", e.line, mostHosts)
			}
			t.lines[name], t.index[name] = e.line, len(t.list)
			if e.DataCentre != "" {
				t.said[name] = e.line
			}
			t.list = append(t.list, h)
		}
	}
	return t, nil
}

// settle gives a group's data centre to its hosts; another one given before
// is an error.
func (t *hostTable) settle(e groupEntry, members []string) error {
	if e.DataCentre == "" {
		return nil
	}
	for _, name := range members {
		h := &t.list[t.index[name]]
		if h.DataCentre != "" && h.DataCentre != e.DataCentre {
			return strict.LineError(e.line, "host %s is in two data centres: %s here, and %s by line %d", name, e.DataCentre, h.DataCentre, t.said[name])
		}
		if h.DataCentre == "" {
			h.DataCentre, t.said[name] = e.DataCentre, e.line
		}
	}
	return nil
}

// nest resolves groups within groups.
type nest struct {
	entries map[string]groupEntry
	names   []string            // in the file's order
	done    map[string][]string // resolved
	path    []string            // from the outermost group to the one at hand
	total   int                 // hosts of all groups
}

// members lists the hosts of a group: its own first, then those of its
// children in their order; each host once, at its first place.
func (n *nest) members(name string, hosts *hostTable) ([]string, error) {
	if m, ok := n.done[name]; ok {
		return m, nil
	}
	e := n.entries[name]
	if i := slices.Index(n.path, name); i >= 0 {
		return nil, strict.LineError(e.line, "group %s holds itself: %s", name, list(append(n.path[i:], name), 10))
	}
	if len(n.path) == deepestNest {
		return nil, strict.LineError(e.line, "group %s is nested more than %d deep", name, deepestNest)
	}
	n.path = append(n.path, name)
	defer func() { n.path = n.path[:len(n.path)-1] }()

	var out []string
	taken := map[string]bool{}
	take := func(names []string) error {
		for _, h := range names {
			if !taken[h] {
				taken[h] = true
				out = append(out, h)
				n.total++
			}
		}
		if n.total > mostMemberships {
			return tooManyMembers()
		}
		return nil
	}
	for _, w := range e.Hosts {
		own, err := hosts.known(name, w)
		if err != nil {
			return nil, err
		}
		if err := take(own); err != nil {
			return nil, err
		}
	}
	for _, w := range e.Children {
		if _, ok := n.entries[w.text]; !ok {
			return nil, strict.LineError(w.line, "group %s names an unknown group %s", name, restart.Quote(w.text)).
				WithHint("%s", suggest("group", w.text, n.names))
		}
		inner, err := n.members(w.text, hosts)
		if err != nil {
			return nil, err
		}
		if err := take(inner); err != nil {
			return nil, err
		}
	}
	n.done[name] = out
	return out, nil
}

// known counts out one entry of a group's hosts, each of which must be there.
func (t *hostTable) known(group string, w word) ([]string, error) {
	expanded, err := expand(w.text, mostFromRanges)
	if err != nil {
		return nil, strict.AtLine(w.line, err)
	}
	for _, h := range expanded {
		if _, ok := t.index[h]; !ok {
			all := names(t.list, func(h restart.Host) string { return h.Name })
			return nil, strict.LineError(w.line, "group %s names a host that the hosts section does not list: %s", group, restart.Quote(h)).
				WithHint("%s", suggest("host", h, all))
		}
	}
	return expanded, nil
}
