package inventory

import (
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// servicesFile describes services for a source that knows groups and hosts
// only, and may say what its groups mean. It is an inventory file without a
// hosts section, whose groups have no members: those are the source's.
type servicesFile struct {
	file   *localFile
	shared bool // with other sources
}

func newServicesFile(c Config) (*servicesFile, error) {
	if c.ServicesFile == "" {
		return nil, bad("services_file", "is missing").
			WithHint("kind %s knows hosts, not services: describe them in a YAML file with a services section", c.Kind)
	}
	return &servicesFile{&localFile{path: c.ServicesFile, most: largestYAML}, c.shared}, nil
}

// described is what a services file says.
type described struct {
	services []restart.Service
	groups   []restart.Group // without hosts
	shared   bool            // with other sources: another one may have the group
}

func (f *servicesFile) read() (described, error) {
	b, err := f.file.read()
	if err != nil {
		return described{}, err
	}
	d, err := parseServices(b)
	if err != nil {
		e := restart.Errorf(restart.CodeInvalid, "%s: %v", f.file.path, message(err)).Because(err)
		return described{}, e.WithHint("%s", hint(err))
	}
	d.shared = f.shared
	return d, nil
}

// missing notes the groups that the file describes and nobody has.
func (d described) missing(n *notes, has func(string) bool) {
	if d.shared {
		return
	}
	for _, g := range d.groups {
		if !has(g.Name) {
			n.add("group %s of the services file is not known there", g.Name)
		}
	}
}

// parseServices reads a services file. Errors begin with the line.
func parseServices(b []byte) (described, error) {
	d, err := parseDocument(b)
	if err != nil {
		return described{}, err
	}
	if len(d.Hosts) > 0 {
		return described{}, strict.LineError(d.Hosts[0].line, "a services file has no hosts section").WithHint("the hosts come from the source itself")
	}
	for _, e := range d.Groups {
		if len(e.Hosts) > 0 || len(e.Children) > 0 || e.DataCentre != "" {
			return described{}, strict.LineError(e.line, "group %s has hosts, children or a data centre", restart.Quote(e.Name)).
				WithHint("in a services file a group has name, project, environment and services; its hosts come from the source itself")
		}
	}
	s, err := d.compile()
	if err != nil {
		return described{}, err
	}
	return described{services: s.Services, groups: s.Groups}, nil
}

// group finds what the file says about a group.
func (d described) group(name string) (restart.Group, bool) {
	for _, g := range d.groups {
		if g.Name == name {
			return g, true
		}
	}
	return restart.Group{}, false
}

func (d described) serviceNames() []string {
	return names(d.services, func(s restart.Service) string { return s.Name })
}
