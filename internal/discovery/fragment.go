package discovery

import (
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Fragment drafts a part of an inventory file (kind yaml): the services, with
// the groups that hold them on all of their hosts that were asked, and groups
// of their own for the others. It can be read as an inventory by itself.
//
// asked are the hosts that have answered; groups and known are the inventory
// as it is.
func Fragment(services []Service, asked []restart.Host, groups []restart.Group, known []restart.Service) []byte {
	var b strings.Builder
	b.WriteString("# What the hosts see, drafted for an inventory. Take what is right: services into\n" +
		"# services, and their names into the services of your groups.\n")
	if len(services) == 0 {
		b.WriteString("services: []\n")
		return []byte(b.String())
	}
	b.WriteString("services:\n")
	for _, s := range services {
		writeService(&b, s, known)
	}
	writeGroups(&b, arrange(services, asked, groups))
	b.WriteString("hosts:\n")
	for _, h := range asked {
		fmt.Fprintf(&b, "  - name: %s\n", scalar(h.Name))
		if h.Address != "" {
			fmt.Fprintf(&b, "    address: %s\n", scalar(h.Address))
		}
		if h.DataCentre != "" {
			fmt.Fprintf(&b, "    data_centre: %s\n", scalar(h.DataCentre))
		}
	}
	return []byte(b.String())
}

func writeService(b *strings.Builder, s Service, known []restart.Service) {
	fmt.Fprintf(b, "  # on %s\n", list(s.Hosts))
	i := slices.IndexFunc(known, func(k restart.Service) bool { return k.Name == s.Name })
	if i >= 0 {
		b.WriteString("  # the inventory has a service of this name already\n")
	}
	if len(s.Ports) > 1 {
		fmt.Fprintf(b, "  # it listens on %s\n", strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Ports), " ", ", "), "[]"))
	}
	if !s.Agree() {
		b.WriteString("  # the hosts differ: --out DIR writes a file for each\n")
	}
	fmt.Fprintf(b, "  - name: %s\n", scalar(s.Name))
	for _, f := range []struct{ key, value string }{{"description", s.Description}, {"package", s.Package}, {"unit", s.Unit}, {"runtime", s.Runtime}} {
		if f.value != "" {
			fmt.Fprintf(b, "    %s: %s\n", f.key, scalar(f.value))
		}
	}
	if len(s.Ports) > 0 {
		fmt.Fprintf(b, "    port: %d\n", s.Ports[0])
	}
	if i < 0 {
		b.WriteString("    # owners: who may restart it\n")
		return
	}
	if len(known[i].Owners) > 0 {
		fmt.Fprintf(b, "    owners: %s\n", scalars(known[i].Owners))
	}
}

// membership is one group of the fragment.
type membership struct {
	group    restart.Group
	services []string
	own      string // the service that the group is drafted for; "" = it is the inventory's
}

// arrange finds for each service the groups of the inventory all of whose
// asked hosts have it. Hosts that no such group covers make a group of the
// service's own.
func arrange(services []Service, asked []restart.Host, groups []restart.Group) []membership {
	answered := map[string]bool{}
	for _, h := range asked {
		answered[h.Name] = true
	}
	taken := map[string]bool{}
	var out []membership
	for _, g := range groups {
		taken[g.Name] = true
		var members []string
		for _, h := range g.Hosts {
			if answered[h] {
				members = append(members, h)
			}
		}
		g.Hosts = members
		out = append(out, membership{group: g})
	}
	var drafted []membership
	for _, s := range services {
		covered := map[string]bool{}
		for i := range out {
			hosts := out[i].group.Hosts
			if len(hosts) > 0 && !slices.ContainsFunc(hosts, func(h string) bool { return !slices.Contains(s.Hosts, h) }) {
				out[i].services = append(out[i].services, s.Name)
				for _, h := range hosts {
					covered[h] = true
				}
			}
		}
		var left []string
		for _, h := range s.Hosts {
			if !covered[h] {
				left = append(left, h)
			}
		}
		if len(left) > 0 {
			name := strings.ReplaceAll(s.Name, "@", "-") // groups have none: it comes before a data centre
			for taken[name] || name == "all" {
				name = name[:min(len(name), 58)] + "-hosts"
			}
			taken[name] = true
			drafted = append(drafted, membership{group: restart.Group{Name: name, Hosts: left}, services: []string{s.Name}, own: s.Name})
		}
	}
	return slices.DeleteFunc(append(out, drafted...), func(m membership) bool { return len(m.services) == 0 })
}

func writeGroups(b *strings.Builder, all []membership) {
	b.WriteString("groups:\n")
	for _, m := range all {
		if m.own != "" {
			fmt.Fprintf(b, "  # no group of the inventory has %s on all of its hosts; give this one its environment, or take it out\n", m.own)
		}
		fmt.Fprintf(b, "  - name: %s\n", scalar(m.group.Name))
		if m.group.Project != "" {
			fmt.Fprintf(b, "    project: %s\n", scalar(m.group.Project))
		}
		if m.group.Environment != "" {
			fmt.Fprintf(b, "    environment: %s\n", scalar(m.group.Environment))
		}
		fmt.Fprintf(b, "    services: %s\n", scalars(m.services))
		b.WriteString("    hosts:\n")
		for _, h := range m.group.Hosts {
			fmt.Fprintf(b, "      - %s\n", scalar(h))
		}
	}
}

func scalars(all []string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = scalar(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// list names hosts for a comment, a few of many.
func list(hosts []string) string {
	const most = 5
	if len(hosts) == 1 {
		return "1 host: " + hosts[0]
	}
	text := fmt.Sprintf("%d hosts: %s", len(hosts), strings.Join(hosts[:min(len(hosts), most)], ", "))
	if len(hosts) > most {
		text += ", …"
	}
	return text
}
