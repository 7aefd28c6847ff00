package inventory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// jsonReader reads the documents of a source "json".
type jsonReader struct {
	*jsonSource
	g         *gathering
	documents [][]byte

	words   map[string]sighting // what the hosts section says of each host
	entries map[string]jsonGroup
	order   []string // of entries
	total   int      // hosts put into groups, again and again
}

// jsonGroup is a group as the document has it.
type jsonGroup struct {
	hosts, children []string
}

func (r *jsonReader) read() error {
	if r.describe != nil {
		if err := r.each(r.g, r.describe, r.documents, r.service); err != nil {
			return err
		}
	}
	if r.hosts != nil {
		if err := r.each(r.g, r.hosts, r.documents, r.host); err != nil {
			return err
		}
	}
	if r.groups == nil {
		return nil
	}
	if err := r.each(r.g, r.groups, r.documents, r.group); err != nil {
		return err
	}
	for _, name := range r.order {
		if err := r.fill(name, name, nil, map[string]bool{}); err != nil {
			return err
		}
	}
	return nil
}

// service takes in a service that the document describes.
func (r *jsonReader) service(e element) error {
	s := restart.Service{
		Name: e.one("name"), Description: e.one("description"), Package: e.one("package"), Tag: e.one("tag"), Unit: e.one("unit"),
		Runtime: e.one("runtime"), Project: e.one("project"), Owners: e.all("owners"),
	}
	if port := e.one("port"); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			n = -1
		}
		s.Port = n
	}
	if err := checkService(s); err != nil {
		r.g.notes.add("left out service %s: %s", restart.Quote(s.Name), message(err))
		return nil
	}
	if _, twice := r.g.known[s.Name]; twice {
		r.g.notes.add("service %s is there twice", s.Name)
		return nil
	}
	r.g.known[s.Name] = s
	r.g.described.services = append(r.g.described.services, s)
	return nil
}

// host takes in a host. One that is there again adds to what was said of it.
func (r *jsonReader) host(e element) error {
	s := sighting{
		host:     restart.Host{Name: r.g.name(e.one("name")), Address: e.one("address"), DataCentre: e.one("data_centre"), Tags: e.all("tags")},
		services: e.all("services"), environment: e.one("environment"), project: e.one("project"), groups: e.all("groups"),
	}
	if _, twice := r.g.index[s.host.Name]; twice {
		r.g.notes.add("host %s is there twice", s.host.Name)
	}
	if r.groups == nil || len(r.templates) > 0 || len(s.groups) > 0 {
		if err := r.g.see(s); err != nil {
			return err
		}
	} else if ok, err := r.g.host(s.host); err != nil || !ok {
		return err
	}
	if _, taken := r.g.index[s.host.Name]; taken && r.groups != nil {
		r.g.clean(&s)
		r.words[s.host.Name] = s
	}
	return nil
}

// group takes in a group, without those below it.
func (r *jsonReader) group(e element) error {
	name := strings.ToLower(e.one("name"))
	if err := checkGroupName(name); err != nil {
		r.g.notes.add("left out: %s", message(err))
		return nil
	}
	if _, twice := r.entries[name]; twice {
		r.g.notes.add("group %s is there twice, and the first counts", name)
		return nil
	}
	entry := jsonGroup{hosts: e.all("hosts")}
	for _, c := range e.all("children") {
		entry.children = append(entry.children, strings.ToLower(c))
	}
	r.entries[name] = entry
	r.order = append(r.order, name)
	x := r.g.group(name)
	if len(e.fields["environment"])+len(e.fields["project"])+len(e.fields["services"]) == 0 {
		return nil // as its hosts are
	}
	meant := restart.Group{Name: name, Environment: e.one("environment"), Project: e.one("project")}
	if err := checkGroup(meant); err != nil {
		r.g.notes.add("group %s has none: %s", name, message(err))
		meant.Environment, meant.Project = "", ""
	}
	for _, s := range e.all("services") {
		if _, ok := r.g.known[s]; ok && !slices.Contains(meant.Services, s) {
			meant.Services = append(meant.Services, s)
		}
	}
	x.meant = &meant
	return nil
}

// fill puts the hosts of a group, and of those below it, into one of the
// document's groups. path holds what is above, done what was taken already.
func (r *jsonReader) fill(into, name string, path []string, done map[string]bool) error {
	if done[name] {
		if slices.Contains(path, name) {
			r.g.notes.add("group %s holds itself", restart.Quote(name))
		}
		return nil
	}
	done[name] = true
	entry, ok := r.entries[name]
	if !ok {
		r.g.notes.add("group %s is named there, and is not there", restart.Quote(name))
		return nil
	}
	if len(path) == deepestNest {
		return restart.Errorf(restart.CodeInvalid, "group %s holds itself, or is nested more than %d deep", restart.Quote(into), deepestNest)
	}
	if r.total += 1 + len(entry.hosts); r.total > mostMemberships {
		return tooManyMembers()
	}
	for _, raw := range entry.hosts {
		if err := r.member(into, r.g.name(raw)); err != nil {
			return err
		}
	}
	for _, c := range entry.children {
		if err := r.fill(into, c, append(path, name), done); err != nil {
			return err
		}
	}
	return nil
}

// member puts one host into a group. Without a hosts section, that is how hosts
// come to be known.
func (r *jsonReader) member(group, host string) error {
	s, known := r.words[host]
	if !known {
		if r.hosts != nil {
			r.g.notes.add("group %s names an unknown host %s", group, restart.Quote(host))
			return nil
		}
		s.host.Name = host
		if ok, err := r.g.host(s.host); err != nil || !ok {
			return err
		}
	}
	return r.g.join(group, s)
}
