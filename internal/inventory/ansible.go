package inventory

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// The source "ansible": the JSON of `ansible-inventory --list`, from a file or
// from the command itself. What restartilka needs to know beyond groups and
// hosts stands in host variables, set as usual in host_vars or group_vars:
//
//	restartilka_services     list of services that run there, or one name
//	restartilka_environment  testing
//	restartilka_project      shop
//	restartilka_group        which groups are meant for restarts (list or one name); default: any that fits
//	restartilka_data_centre  dc1
//	restartilka_tags         list of tags, or one
//	restartilka_host         the host's FQDN, where the inventory uses a short name
//	restartilka_address      where its agent listens, if not at the name; default: ansible_host
//
// A group carries a service when all its hosts do, and is of an environment or
// project when all its hosts are. A group described in the services file is
// what that file says instead.

const largestAnsible = 64 << 20 // bytes

type ansibleSource struct {
	name     string
	file     *localFile // nil when a command is used
	command  []string
	dir      string
	timeout  time.Duration
	services *servicesFile
}

func newAnsible(c Config) (Source, error) {
	services, err := newServicesFile(c)
	if err != nil {
		return nil, err
	}
	s := &ansibleSource{command: c.Command, dir: "/", timeout: time.Minute, services: services}
	if c.Dir != "" {
		s.dir = c.Dir
	}
	if c.Timeout > 0 {
		s.timeout = c.Timeout
	}
	switch {
	case c.Path != "" && len(c.Command) > 0:
		return nil, bad("path", "and command are both given").WithHint("use one of them")
	case c.Path != "" && (c.Dir != "" || c.Timeout > 0):
		return nil, bad("path", "is a file: dir and timeout are for a command")
	case c.Path != "":
		s.file = &localFile{path: c.Path, most: largestAnsible}
		s.name = c.Path
	case len(c.Command) == 0 || c.Command[0] == "":
		return nil, bad("path", "or command is missing").WithHint("command: [ansible-inventory, -i, /etc/ansible/hosts, --list]")
	default:
		s.name = restart.Escape(strings.Join(c.Command, " "))
	}
	return s, nil
}

func (s *ansibleSource) Name() string { return s.name }

func (s *ansibleSource) Stamp() string {
	stamp := s.services.file.stamp()
	if s.file != nil {
		stamp += " " + s.file.stamp()
	}
	return stamp
}

func (s *ansibleSource) Fetch(ctx context.Context) (Snapshot, error) {
	d, err := s.services.read()
	if err != nil {
		return Snapshot{}, err
	}
	var b []byte
	if s.file != nil {
		b, err = s.file.read()
	} else {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		b, err = output(ctx, s.dir, s.command, largestAnsible)
	}
	if err != nil {
		return Snapshot{}, err
	}
	return parseAnsible(b, d)
}

// ansibleGroup is a group in the JSON.
type ansibleGroup struct {
	Hosts    []string                   `json:"hosts"`
	Children []string                   `json:"children"`
	Vars     map[string]json.RawMessage `json:"vars"` // only with --export, where hosts don't inherit
}

// ansibleVars are the variables of a host that matter here. Others, secrets
// among them, are not kept.
type ansibleVars struct {
	Services    listOrOne `json:"restartilka_services"`
	Environment text      `json:"restartilka_environment"`
	Project     text      `json:"restartilka_project"`
	Group       listOrOne `json:"restartilka_group"`
	DataCentre  text      `json:"restartilka_data_centre"`
	Tags        listOrOne `json:"restartilka_tags"`
	Host        text      `json:"restartilka_host"`
	Address     text      `json:"restartilka_address"`
	AnsibleHost text      `json:"ansible_host"`
}

// listOrOne is a JSON list of strings, or one string. Anything else is kept as
// a value that no rule of names accepts.
type listOrOne []string

func (l *listOrOne) UnmarshalJSON(b []byte) error {
	var many []text
	if json.Unmarshal(b, &many) != nil {
		var one text
		_ = one.UnmarshalJSON(b) // never an error
		many = []text{one}
	}
	*l = nil
	for _, t := range many {
		if t != "" {
			*l = append(*l, string(t))
		}
	}
	return nil
}

// text is a JSON string; null is "", and anything else is the JSON itself
// (a tag 2024 may be a number; a list is no valid name).
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s *string
	switch err := json.Unmarshal(b, &s); {
	case err != nil:
		*t = text(b)
	case s != nil:
		*t = text(*s)
	default:
		*t = ""
	}
	return nil
}

// parseAnsible makes a snapshot of the JSON. JSON that is no inventory, and a
// group that holds itself, are errors; single hosts, groups and values that
// can't be used are left out, and told in Problem.
func parseAnsible(b []byte, d described) (Snapshot, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b, &top); err != nil {
		return Snapshot{}, restart.Errorf(restart.CodeInvalid, "the answer is not the JSON of ansible-inventory --list: %s", restart.Escape(err.Error())).
			WithHint("the command must end with --list, without --yaml, --toml or --export")
	}
	var meta struct {
		Hostvars map[string]ansibleVars `json:"hostvars"`
	}
	groups := map[string]ansibleGroup{}
	for name, raw := range top {
		var err error
		if name == "_meta" {
			err = json.Unmarshal(raw, &meta)
		} else {
			var g ansibleGroup
			err = json.Unmarshal(raw, &g)
			groups[name] = g
		}
		if err != nil {
			return Snapshot{}, restart.Errorf(restart.CodeInvalid, "section %s is not as ansible-inventory --list writes it: %s", restart.Quote(name), restart.Escape(err.Error())).
				WithHint("the command must end with --list, without --yaml, --toml or --export")
		}
	}
	a := &ansibleReader{vars: meta.Hostvars, groups: groups, described: d, members: map[string][]string{}, names: map[string]string{}}
	return a.snapshot()
}

// ansibleReader builds one snapshot.
type ansibleReader struct {
	vars      map[string]ansibleVars
	groups    map[string]ansibleGroup
	described described
	members   map[string][]string // group → inventory_hostnames, nested groups resolved
	names     map[string]string   // inventory_hostname → our name; absent: left out
	path      []string
	total     int
	notes     notes
}

func (a *ansibleReader) snapshot() (Snapshot, error) {
	s := Snapshot{Services: a.described.services}
	order := slices.Sorted(maps.Keys(a.groups))
	for _, g := range order {
		if _, err := a.membersOf(g); err != nil {
			return Snapshot{}, err
		}
	}
	taken := map[string]string{}
	for _, inventoryName := range a.hostOrder(order) {
		h, ok := a.host(inventoryName)
		if !ok {
			continue
		}
		if other, twice := taken[h.Name]; twice {
			return Snapshot{}, restart.Errorf(restart.CodeInvalid, "hosts %s and %s are both %s", restart.Quote(other), restart.Quote(inventoryName), h.Name).
				WithHint("restartilka_host must be different for each host")
		}
		taken[h.Name] = inventoryName
		a.names[inventoryName] = h.Name
		s.Hosts = append(s.Hosts, h)
	}
	lower := map[string]string{}
	for _, name := range order {
		if name == all {
			continue
		}
		g, ok := a.group(name)
		if !ok {
			continue
		}
		if other, twice := lower[g.Name]; twice {
			return Snapshot{}, restart.Errorf(restart.CodeInvalid, "groups %s and %s differ in case only", restart.Quote(other), restart.Quote(name))
		}
		lower[g.Name] = name
		s.Groups = append(s.Groups, g)
	}
	for _, g := range a.described.groups {
		if _, ok := lower[g.Name]; !ok && !a.described.shared {
			a.notes.add("the services file describes group %s, which Ansible does not have", g.Name)
		}
	}
	s.Problem = a.notes.String()
	return s, nil
}

// membersOf resolves a group: its own hosts, then those of its children.
func (a *ansibleReader) membersOf(name string) ([]string, error) {
	if m, ok := a.members[name]; ok {
		return m, nil
	}
	if slices.Contains(a.path, name) || len(a.path) == deepestNest {
		return nil, restart.Errorf(restart.CodeInvalid, "group %s holds itself, or is nested more than %d deep", restart.Quote(name), deepestNest)
	}
	a.path = append(a.path, name)
	defer func() { a.path = a.path[:len(a.path)-1] }()
	g := a.groups[name]
	for key := range g.Vars {
		if strings.HasPrefix(key, "restartilka_") {
			a.notes.add("variables of groups are not read: use ansible-inventory --list without --export, which gives them to the hosts")
		}
	}
	lists := [][]string{g.Hosts}
	for _, c := range g.Children {
		inner, err := a.membersOf(c) // a child without an entry of its own is empty: Ansible leaves those out
		if err != nil {
			return nil, err
		}
		lists = append(lists, inner)
	}
	var out []string
	seen := map[string]bool{}
	for _, h := range slices.Concat(lists...) {
		if !seen[h] {
			seen[h] = true
			out = append(out, h)
		}
	}
	if a.total += len(out); a.total > mostMemberships {
		return nil, tooManyMembers()
	}
	a.members[name] = out
	return out, nil
}

// hostOrder lists all hosts: as the group all has them, then any others.
func (a *ansibleReader) hostOrder(groups []string) []string {
	lists := [][]string{a.members[all]}
	for _, g := range groups {
		lists = append(lists, a.members[g])
	}
	lists = append(lists, slices.Sorted(maps.Keys(a.vars)))
	var out []string
	seen := map[string]bool{}
	for _, l := range lists {
		for _, h := range l {
			if !seen[h] {
				seen[h] = true
				out = append(out, h)
			}
		}
	}
	return out
}

// host maps one host; ok is false when it is left out.
func (a *ansibleReader) host(inventoryName string) (h restart.Host, ok bool) {
	v := a.vars[inventoryName]
	h.Name = strings.ToLower(inventoryName)
	if v.Host != "" {
		h.Name = string(v.Host)
	}
	if err := restart.CheckHost(h.Name); err != nil {
		a.notes.add("left out: %s; restartilka_host can say its real name", message(err))
		return h, false
	}
	switch {
	case v.Address != "":
		if err := checkAddress(string(v.Address)); err != nil {
			a.notes.add("left out host %s: its restartilka_address: %s", h.Name, message(err))
			return h, false
		}
		h.Address = string(v.Address)
	case v.AnsibleHost != "" && checkAddress(string(v.AnsibleHost)) == nil:
		h.Address = string(v.AnsibleHost)
	case v.AnsibleHost != "":
		a.notes.add("ansible_host of %s is not an address, so its name is used", h.Name)
	}
	if v.DataCentre != "" {
		if err := checkDataCentre(string(v.DataCentre)); err != nil {
			a.notes.add("host %s has none: %s", h.Name, message(err))
		} else {
			h.DataCentre = string(v.DataCentre)
		}
	}
	for _, t := range v.Tags {
		if err := restart.CheckTag(t); err != nil {
			a.notes.add("left out of host %s: %s", h.Name, message(err))
			continue
		}
		h.Tags = append(h.Tags, t)
	}
	return h, true
}

// group maps one group; ok is false when it is left out.
func (a *ansibleReader) group(name string) (g restart.Group, ok bool) {
	g.Name = strings.ToLower(name)
	if err := checkGroupName(g.Name); err != nil {
		a.notes.add("left out: %s", message(err))
		return g, false
	}
	var vars []ansibleVars
	for _, h := range a.members[name] {
		if ours, known := a.names[h]; known {
			g.Hosts = append(g.Hosts, ours)
			vars = append(vars, a.vars[h])
		}
	}
	if d, ok := a.described.group(g.Name); ok {
		d.Hosts = g.Hosts
		return d, true
	}
	g.Environment = a.shared(vars, g.Name, restart.CheckEnvironment, func(v ansibleVars) text { return v.Environment })
	g.Project = a.shared(vars, g.Name, restart.CheckProject, func(v ansibleVars) text { return v.Project })
	g.Services = a.sharedServices(vars, name)
	return g, true
}

// shared is the value that all hosts of a group have, or "".
func (a *ansibleReader) shared(vars []ansibleVars, group string, check func(string) error, of func(ansibleVars) text) string {
	if len(vars) == 0 {
		return ""
	}
	value := of(vars[0])
	for _, v := range vars {
		if of(v) != value {
			return ""
		}
	}
	if value == "" {
		return ""
	}
	if err := check(string(value)); err != nil {
		a.notes.add("group %s has none: %s", group, message(err))
		return ""
	}
	return string(value)
}

// sharedServices lists the services that all hosts of a group carry, and for
// which the group is meant.
func (a *ansibleReader) sharedServices(vars []ansibleVars, group string) []string {
	var out []string
	if len(vars) == 0 {
		return nil
	}
	for _, service := range vars[0].Services {
		everywhere := !slices.ContainsFunc(vars, func(v ansibleVars) bool {
			return !slices.Contains(v.Services, service) || len(v.Group) > 0 && !slices.Contains(v.Group, group)
		})
		if !everywhere || slices.Contains(out, service) {
			continue
		}
		if known := a.described.serviceNames(); !slices.Contains(known, service) {
			a.notes.add("left out service %s of restartilka_services: the services file does not describe it", restart.Quote(service))
			continue
		}
		out = append(out, service)
	}
	return out
}
