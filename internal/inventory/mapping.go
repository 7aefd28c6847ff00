package inventory

import (
	"go.yaml.in/yaml/v4"
)

// Mapping says where in a JSON document hosts, groups and services are. See
// pointer for how a place is written; within an element, places are below it.
type Mapping struct {
	Hosts    *HostMapping    `yaml:"hosts"`
	Groups   *GroupMapping   `yaml:"groups"`
	Services *ServiceMapping `yaml:"services"` // instead of a services file
	Next     string          `yaml:"next"`     // where the address of the next page stands
}

// HostMapping says where the facts of a host are.
type HostMapping struct {
	Each        string `yaml:"each"` // the hosts in the document
	Name        places `yaml:"name"`
	Address     places `yaml:"address"`
	DataCentre  places `yaml:"data_centre"`
	Tags        places `yaml:"tags"`
	Services    places `yaml:"services"`
	Environment places `yaml:"environment"`
	Project     places `yaml:"project"`
	Groups      places `yaml:"groups"`
}

// GroupMapping says where the facts of a group are.
type GroupMapping struct {
	Each        string `yaml:"each"` // the groups in the document
	Name        places `yaml:"name"`
	Hosts       places `yaml:"hosts"`    // their names
	Children    places `yaml:"children"` // names of groups
	Environment places `yaml:"environment"`
	Project     places `yaml:"project"`
	Services    places `yaml:"services"`
}

// ServiceMapping says where the facts of a service are.
type ServiceMapping struct {
	Each        string `yaml:"each"` // the services in the document
	Name        places `yaml:"name"`
	Description places `yaml:"description"`
	Package     places `yaml:"package"`
	Tag         places `yaml:"tag"`
	Unit        places `yaml:"unit"`
	Port        places `yaml:"port"`
	Runtime     places `yaml:"runtime"`
	Project     places `yaml:"project"`
	Owners      places `yaml:"owners"`
}

// places are one place or several. Of what has one value, that of the first
// place that has any counts.
type places []string

// UnmarshalYAML reads one text, or a list.
func (p *places) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		var one string
		err := n.Load(&one)
		*p = places{one}
		return err
	}
	var many []string
	err := n.Load(&many)
	*p = many
	return err
}

// section is one of the three, read.
type section struct {
	each   pointer
	fields map[string][]pointer
}

func newSection(name, each string, fields map[string]places) (*section, error) {
	s := &section{fields: map[string][]pointer{}}
	var err error
	switch {
	case each == "":
		return nil, bad("mapping", "has no %s.each", name).WithHint("where they are in the document: /results/*")
	case len(fields["name"]) == 0:
		return nil, bad("mapping", "has no %s.name", name).WithHint("where the name is in an element: /fqdn, . for the element itself, or @key for the name under which it stands")
	}
	if s.each, err = parsePointer(each); err != nil {
		return nil, err
	}
	for field, places := range fields {
		for _, place := range places {
			p, err := parsePointer(place)
			if err != nil {
				return nil, err
			}
			s.fields[field] = append(s.fields[field], p)
		}
	}
	return s, nil
}

func (m HostMapping) section() (*section, error) {
	return newSection("hosts", m.Each, map[string]places{
		"name": m.Name, "address": m.Address, "data_centre": m.DataCentre, "tags": m.Tags, "services": m.Services, "environment": m.Environment, "project": m.Project, "groups": m.Groups,
	})
}

func (m GroupMapping) section() (*section, error) {
	return newSection("groups", m.Each, map[string]places{
		"name": m.Name, "hosts": m.Hosts, "children": m.Children, "environment": m.Environment, "project": m.Project, "services": m.Services,
	})
}

func (m ServiceMapping) section() (*section, error) {
	return newSection("services", m.Each, map[string]places{
		"name": m.Name, "description": m.Description, "package": m.Package, "tag": m.Tag, "unit": m.Unit, "port": m.Port, "runtime": m.Runtime, "project": m.Project, "owners": m.Owners,
	})
}
