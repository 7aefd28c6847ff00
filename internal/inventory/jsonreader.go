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

	words   map[string]sighting // what the hosts section says of each host; nothing where there are no groups
	seen    []string            // hosts of words
	torn    map[string]bool     // hosts of words that are said to be of two environments or projects
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
		if err := r.place(); err != nil {
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
	if r.groups == nil {
		return r.g.see(s)
	}
	if ok, err := r.g.host(s.host); err != nil || !ok {
		return err
	}
	r.g.clean(&s)
	before, twice := r.words[s.host.Name]
	if !twice {
		r.seen = append(r.seen, s.host.Name)
	}
	r.words[s.host.Name] = r.both(before, s)
	return nil
}

// both puts together what two entries say of one host. Where they contradict each
// other, neither is believed.
func (r *jsonReader) both(before, s sighting) sighting {
	for _, v := range []struct{ is, before *string }{{&s.environment, &before.environment}, {&s.project, &before.project}} {
		switch {
		case *v.is == "":
			*v.is = *v.before
		case *v.before != "" && *v.before != *v.is && !r.torn[s.host.Name]:
			r.torn[s.host.Name] = true
			r.g.notes.add("left out: host %s is said to be of %s and %s", s.host.Name, *v.before, *v.is)
		}
	}
	s.services, s.groups = union(before.services, s.services), union(before.groups, s.groups)
	return s
}

// union gives what is in either list, once.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// place puts the hosts of words into the groups that they name themselves, or
// that the templates name, once all is known of them.
func (r *jsonReader) place() error {
	r.g.forget(r.torn)
	for _, name := range r.seen {
		s := r.words[name]
		if r.torn[name] || len(r.templates) == 0 && len(s.groups) == 0 {
			continue
		}
		if err := r.g.see(s); err != nil {
			return err
		}
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
	switch {
	case r.torn[host]:
		return nil
	case !known:
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
