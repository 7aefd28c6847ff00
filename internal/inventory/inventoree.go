package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// The source "inventoree": the data that Inventoree gives to programs that
// execute commands, in one answer:
//
//	api/v1/open/executer_data?recursive=true&work_groups=A,B
//
// Its groups are ours, each with the hosts of those below it. Config.Labels are
// keys of the custom fields of hosts, which take over those of their groups. A
// host without a project is of its work group; its environment may also be a
// tag that Config.Environments lists.

type inventoreeSource struct {
	client       *webClient
	address      string
	workGroups   []string
	environments []string
	labels       Labels
	templates    []template
	domain       string
	services     *servicesFile
}

func newInventoree(c Config) (Source, error) {
	services, err := newServicesFile(c)
	if err != nil {
		return nil, err
	}
	s := &inventoreeSource{workGroups: c.WorkGroups, environments: c.Environments, labels: c.Labels.filled(), domain: c.Domain, services: services}
	s.client, err = newWebClient(c, web{most: largestWhole, lost: "inventory.url must be what comes before api/v1/open"})
	if err != nil {
		return nil, err
	}
	if err := checkEnvironments(c.Environments); err != nil {
		return nil, err
	}
	query := url.Values{"recursive": {"true"}}
	if len(c.WorkGroups) > 0 {
		query.Set("work_groups", strings.Join(c.WorkGroups, ","))
	}
	for _, w := range c.WorkGroups {
		if w == "" || strings.Contains(w, ",") {
			return nil, bad("work_groups", "holds a wrong name: %s", restart.Quote(w))
		}
	}
	s.address = s.client.address(query, "api", "v1", "open", "executer_data")
	s.templates, err = parseTemplates(c.GroupNames)
	return s, err
}

func (s *inventoreeSource) Name() string  { return s.client.base.String() }
func (s *inventoreeSource) Stamp() string { return s.services.file.stamp() }

func (s *inventoreeSource) Fetch(ctx context.Context) (Snapshot, error) {
	d, err := s.services.read()
	if err != nil {
		return Snapshot{}, err
	}
	body, err := s.client.getWhole(ctx, s.address)
	if err != nil {
		return Snapshot{}, err
	}
	data, err := parseInventoree(body)
	if err != nil {
		e := restart.Errorf(restart.CodeUnavailable, "the answer to %s is not Inventoree's: %s", withoutQuery(s.address), message(err)).Because(err)
		return Snapshot{}, e.WithHint("look at it yourself; inventory.url must be what comes before api/v1/open")
	}
	return s.assemble(d, data)
}

// inventoreeData is what the answer holds of what matters here.
type inventoreeData struct {
	DataCentres []inventoreeName  `json:"datacenters"`
	WorkGroups  []inventoreeName  `json:"work_groups"`
	Groups      []inventoreeGroup `json:"groups"`
	Hosts       []inventoreeHost  `json:"hosts"`
}

type inventoreeName struct {
	ID   text `json:"_id"`
	Name text `json:"name"`
}

type inventoreeGroup struct {
	ID        text   `json:"_id"`
	Name      text   `json:"name"`
	WorkGroup text   `json:"work_group_id"`
	Parents   []text `json:"parent_ids"`
}

type inventoreeHost struct {
	FQDN       text              `json:"fqdn"`
	Group      text              `json:"group_id"`
	DataCentre text              `json:"datacenter_id"`
	Tags       []text            `json:"tags"`
	AllTags    []text            `json:"all_tags"`
	Fields     []inventoreeField `json:"custom_fields"`
	AllFields  []inventoreeField `json:"all_custom_fields"`
}

type inventoreeField struct {
	Key   text `json:"key"`
	Value text `json:"value"`
}

// parseInventoree reads the answer. One that holds no data is an error: it
// would be an inventory without a host.
func parseInventoree(b []byte) (inventoreeData, error) {
	var answer struct {
		Data *struct {
			inventoreeData
			Hosts *[]inventoreeHost `json:"hosts"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return inventoreeData{}, restart.Errorf(restart.CodeInvalid, "not valid JSON: %s", restart.Escape(err.Error()))
	}
	if answer.Data == nil || answer.Data.Hosts == nil {
		return inventoreeData{}, restart.Errorf(restart.CodeInvalid, "it holds no hosts")
	}
	out := answer.Data.inventoreeData
	out.Hosts = *answer.Data.Hosts
	return out, nil
}

// inventoreeReader knows the answer by its ids.
type inventoreeReader struct {
	*inventoreeSource
	g        *gathering
	centres  map[text]string
	projects map[text]string // of work groups
	groups   map[text]inventoreeGroup
	above    map[text][]string // of a group: its name, and of those that it is in
	total    int               // names in above
}

func (s *inventoreeSource) assemble(d described, data inventoreeData) (Snapshot, error) {
	r := &inventoreeReader{
		inventoreeSource: s, g: newGathering(d, s.templates, s.domain), centres: map[text]string{}, projects: map[text]string{}, groups: map[text]inventoreeGroup{}, above: map[text][]string{},
	}
	for _, x := range data.DataCentres {
		r.centres[x.ID] = string(x.Name)
	}
	for _, x := range data.WorkGroups {
		r.projects[x.ID] = string(x.Name)
	}
	for _, x := range data.Groups {
		r.groups[x.ID] = x
	}
	for _, x := range data.Groups {
		if name := strings.ToLower(string(x.Name)); checkGroupName(name) == nil {
			r.g.group(name) // also one without hosts
		}
	}
	for _, name := range s.workGroups {
		if !slices.ContainsFunc(data.WorkGroups, func(x inventoreeName) bool { return string(x.Name) == name }) {
			r.g.notes.add("work group %s is not known there", restart.Quote(name))
		}
	}
	for _, h := range data.Hosts {
		if err := r.see(h); err != nil {
			return Snapshot{}, err
		}
	}
	return r.g.snapshot(), nil
}

func (r *inventoreeReader) see(h inventoreeHost) error {
	fields := map[string]string{}
	for _, f := range slices.Concat(h.Fields, h.AllFields) {
		fields[string(f.Key)] = string(f.Value)
	}
	field := func(key string) string {
		if key == "" {
			return ""
		}
		return fields[key]
	}
	groups, err := r.groupsOf(h.Group)
	if err != nil {
		return err
	}
	seen := sighting{
		services: words(field(r.labels.Service)), environment: field(r.labels.Environment),
		project: cmp.Or(field(r.labels.Project), strings.ToLower(r.projects[r.groups[h.Group].WorkGroup])),
		groups:  slices.Concat(groups, words(field(r.labels.Group))),
		host: restart.Host{
			Name: r.g.name(cmp.Or(field(r.labels.Host), string(h.FQDN))), Address: field(r.labels.Address), DataCentre: cmp.Or(field(r.labels.DataCentre), r.centres[h.DataCentre]),
		},
	}
	var all []string
	for _, t := range slices.Concat(h.Tags, h.AllTags) {
		all = append(all, string(t))
	}
	environment, tags := environmentOf(r.g, seen.host.Name, r.environments, all)
	seen.environment, seen.host.Tags = cmp.Or(seen.environment, environment), append(tags, tagsOf(r.labels.Tags, field)...)
	if _, twice := r.g.index[seen.host.Name]; twice {
		r.g.notes.add("host %s is there twice", seen.host.Name)
	}
	return r.g.see(seen)
}

// groupsOf lists the group of an id and those that hold it. Groups that hold
// each other in a ring are told, and have the same hosts.
func (r *inventoreeReader) groupsOf(id text) ([]string, error) {
	if id == "" {
		return nil, nil
	}
	if out, ok := r.above[id]; ok {
		return out, nil
	}
	var out []string
	seen := map[text]bool{id: true}
	for level, deep := []text{id}, 0; len(level) > 0; deep++ {
		if deep == deepestNest {
			return nil, restart.Errorf(restart.CodeInvalid, "group %s is nested more than %d deep", restart.Quote(string(r.groups[id].Name)), deepestNest)
		}
		var next []text
		for _, x := range level {
			g, ok := r.groups[x]
			if !ok {
				r.g.notes.add("group %s is named there, and is not there", restart.Quote(string(x)))
				continue
			}
			out = append(out, string(g.Name))
			for _, p := range g.Parents {
				if p == id {
					r.g.notes.add("group %s holds itself", restart.Quote(string(r.groups[id].Name)))
				}
				if !seen[p] {
					seen[p] = true
					next = append(next, p)
				}
			}
		}
		level = next
		if len(out)+r.total > mostMemberships {
			return nil, tooManyMembers()
		}
	}
	r.above[id], r.total = out, r.total+len(out)
	return out, nil
}
