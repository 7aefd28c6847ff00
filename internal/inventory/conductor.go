package inventory

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/restartilka/restartilka/internal/restart"
)

// The source "conductor": a host inventory that answers HTTP as Conductor does.
// What it calls a branch is our environment.
//
// It has no list of groups, so a snapshot holds the groups that somebody
// named: those of the services file, and those that the group_names templates
// give for each service and environment. A group of the services file that is
// not there is a Problem; one from a template simply does not exist. Any other
// group that a person names is looked up when it is named (Find).
//
// Addresses asked, below Config.URL:
//
//	groups2hosts/GROUP    hosts and their data centres
//	get_host_tags/FQDN    tags of one host, if Config.Tags
//	packages_on_host/FQDN its packages and their versions, if Config.Packages
//
// With packages, a group of a template is one of a service only where the
// service's package is: the group follows from package, environment and project.

const (
	noGroups       = "No groups found"
	mostConductor  = 5_000 // groups
	conductorWhole = 2 * time.Minute
)

type conductorSource struct {
	client       *webClient
	json         bool
	templates    []template
	environments []string
	tags         bool
	packages     bool
	services     *servicesFile
}

func newConductor(c Config) (Source, error) {
	services, err := newServicesFile(c)
	if err != nil {
		return nil, err
	}
	client, err := newWebClient(c, web{most: largestAnswer, lost: "inventory.url must be what comes before groups2hosts"})
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "json", "text"}, c.Format) {
		return nil, bad("format", "%s is not known", restart.Quote(c.Format)).WithHint("json or text")
	}
	s := &conductorSource{client: client, json: c.Format != "text", environments: c.Environments, tags: c.Tags, packages: c.Packages, services: services}
	if err := checkEnvironments(c.Environments); err != nil {
		return nil, err
	}
	if s.templates, err = parseTemplates(c.GroupNames); err != nil {
		return nil, err
	}
	for _, t := range s.templates {
		if t.uses("environment") != (len(c.Environments) > 0) {
			return nil, bad("group_names", "%s and environments don't fit together", restart.Quote(t.text)).
				WithHint("#environment# takes its values from environments: give both or none")
		}
	}
	return s, nil
}

func (s *conductorSource) Name() string  { return s.client.base.String() }
func (s *conductorSource) Stamp() string { return s.services.file.stamp() }

func (s *conductorSource) Fetch(ctx context.Context) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, conductorWhole)
	defer cancel()
	d, err := s.services.read()
	if err != nil {
		return Snapshot{}, err
	}
	questions, err := s.questions(d)
	if err != nil {
		return Snapshot{}, err
	}
	answers := make([]answer, len(questions))
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(requestsAtOnce)
	for i, q := range questions {
		tasks.Go(func() (err error) {
			answers[i], err = s.ask(taskCtx, q.group.Name)
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return Snapshot{}, err
	}
	return s.assemble(ctx, d, questions, answers)
}

// question is a group to ask for.
type question struct {
	group    restart.Group
	expected bool // the services file says that it exists
}

// questions lists the groups to ask for, each once: those of the services
// file, then those of the templates.
func (s *conductorSource) questions(d described) ([]question, error) {
	var out []question
	index := map[string]int{}
	for _, g := range d.groups {
		index[g.Name] = len(out)
		out = append(out, question{g, true})
	}
	environments := s.environments
	if len(environments) == 0 {
		environments = []string{""}
	}
	for _, t := range s.templates {
		for _, service := range d.services {
			for _, e := range environments {
				name, ok := t.fill(service, e)
				if !ok {
					continue // the service lacks what the template needs
				}
				if err := checkGroupName(name); err != nil {
					return nil, restart.Errorf(restart.CodeInvalid, "group_names %s gives a wrong name for service %s: %s", restart.Quote(t.text), service.Name, message(err))
				}
				i, known := index[name]
				if !known {
					index[name] = len(out)
					out = append(out, question{restart.Group{Name: name, Project: service.Project, Environment: e, Services: []string{service.Name}}, false})
					continue
				}
				if q := &out[i]; !q.expected && q.group.Environment == e && q.group.Project == service.Project {
					if !slices.Contains(q.group.Services, service.Name) {
						q.group.Services = append(q.group.Services, service.Name)
					}
				} else if !q.expected {
					return nil, restart.Errorf(restart.CodeInvalid, "group_names gives %s for two environments or projects", name).
						WithHint("make the templates tell them apart, or describe the group in the services file")
				}
			}
		}
	}
	if len(out) > mostConductor {
		return nil, restart.Errorf(restart.CodeTooLarge, "services, environments and templates give %d groups, over the bound of %d", len(out), mostConductor)
	}
	return out, nil
}

// answer is what Conductor says of one group.
type answer struct {
	found bool
	hosts []restart.Host // name and data centre
}

// ask gets one group's hosts.
func (s *conductorSource) ask(ctx context.Context, group string) (answer, error) {
	query := url.Values{"fields": {"root_datacenter_name,fqdn"}}
	if s.json {
		query.Set("format", "json")
	}
	status, body, err := s.client.get(ctx, s.client.address(query, "groups2hosts", group))
	if err != nil {
		return answer{}, err
	}
	if strings.TrimSpace(string(body)) == noGroups && (status == 200 || status == 404) {
		return answer{}, nil
	}
	if status != 200 {
		return answer{}, s.client.refused(status, group)
	}
	hosts, err := parseHosts(body)
	if err != nil {
		return answer{}, restart.Errorf(restart.CodeUnavailable, "the answer for group %s is no list of hosts: %s", group, message(err)).Because(err).
			WithHint("look at %s yourself; inventory.url must be what comes before groups2hosts", s.client.address(query, "groups2hosts", group))
	}
	return answer{true, hosts}, nil
}

// assemble makes the snapshot of all answers.
func (s *conductorSource) assemble(ctx context.Context, d described, questions []question, answers []answer) (Snapshot, error) {
	snapshot := Snapshot{Services: d.services}
	index := map[string]int{}
	var told notes
	for i, q := range questions {
		if !answers[i].found {
			if q.expected && !d.shared {
				told.add("group %s of the services file is not known there", q.group.Name)
			}
			continue
		}
		g := q.group
		for _, h := range answers[i].hosts {
			at, known := index[h.Name]
			if !known {
				index[h.Name] = len(snapshot.Hosts)
				snapshot.Hosts = append(snapshot.Hosts, h)
			} else if first := snapshot.Hosts[at]; first.DataCentre != h.DataCentre {
				told.add("host %s is said to be in data centres %s and %s", h.Name, restart.Quote(first.DataCentre), restart.Quote(h.DataCentre))
			}
			g.Hosts = append(g.Hosts, h.Name)
		}
		snapshot.Groups = append(snapshot.Groups, g)
	}
	if len(questions) > 0 && len(snapshot.Groups) == 0 {
		told.add("none of the groups asked for is known there, %s first", questions[0].group.Name)
	}
	snapshot.Problem = told.String()
	if err := s.describeHosts(ctx, snapshot.Services, snapshot.Hosts); err != nil {
		return Snapshot{}, err
	}
	if s.packages {
		x := newView(snapshot).index
		for i, g := range snapshot.Groups {
			if _, said := d.group(g.Name); !said {
				snapshot.Groups[i].Services = packaged(g, x.services, x.hosts)
			}
		}
	}
	return snapshot, nil
}

// Find looks up a group by name. It has no services, project or environment:
// nothing says what they would be.
func (s *conductorSource) Find(ctx context.Context, group string) (restart.Group, []restart.Host, error) {
	a, err := s.ask(ctx, group)
	if err != nil {
		return restart.Group{}, nil, err
	}
	if !a.found {
		return restart.Group{}, nil, restart.Errorf(restart.CodeNotFound, "group %s is not in the inventory", restart.Quote(group))
	}
	d, err := s.services.read()
	if err != nil {
		return restart.Group{}, nil, err
	}
	if err := s.describeHosts(ctx, d.services, a.hosts); err != nil {
		return restart.Group{}, nil, err
	}
	g := restart.Group{Name: group, Hosts: names(a.hosts, func(h restart.Host) string { return h.Name })}
	return g, a.hosts, nil
}

// addTags asks for the tags of each host, and sets them.
func (s *conductorSource) addTags(ctx context.Context, hosts []restart.Host) error {
	return s.ofEach(ctx, hosts, "get_host_tags", func(h *restart.Host, body []byte) (err error) {
		if h.Tags, err = parseTags(body); err != nil {
			return restart.Errorf(restart.CodeUnavailable, "the answer for the tags of %s is no list of tags: %s", h.Name, message(err)).Because(err)
		}
		return nil
	})
}

// addPackages asks which of the services' packages should be on each host, and
// in which version.
func (s *conductorSource) addPackages(ctx context.Context, services []restart.Service, hosts []restart.Host) error {
	wanted := map[string]bool{}
	for _, x := range services {
		wanted[x.Package] = true
	}
	return s.ofEach(ctx, hosts, "packages_on_host", func(h *restart.Host, body []byte) (err error) {
		if h.Packages, err = parsePackages(body, wanted); err != nil {
			return restart.Errorf(restart.CodeUnavailable, "the answer for the packages of %s is no list of packages: %s", h.Name, message(err)).Because(err)
		}
		return nil
	})
}

// ofEach asks the same of each host.
func (s *conductorSource) ofEach(ctx context.Context, hosts []restart.Host, verb string, take func(*restart.Host, []byte) error) error {
	query := url.Values{}
	if s.json {
		query.Set("format", "json")
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(requestsAtOnce)
	for i := range hosts {
		tasks.Go(func() error {
			status, body, err := s.client.get(ctx, s.client.address(query, verb, hosts[i].Name))
			if err != nil {
				return err
			}
			if status != 200 {
				return s.client.refused(status, hosts[i].Name)
			}
			return take(&hosts[i], body)
		})
	}
	return tasks.Wait()
}

// describeHosts asks what the configuration wants to be known of each host.
func (s *conductorSource) describeHosts(ctx context.Context, services []restart.Service, hosts []restart.Host) error {
	if s.tags {
		if err := s.addTags(ctx, hosts); err != nil {
			return err
		}
	}
	if s.packages {
		return s.addPackages(ctx, services, hosts)
	}
	return nil
}

// packaged gives the services of a group that follow from packages: those whose
// package is on one of its hosts at least. Which hosts lack it, a plan says.
func packaged(g restart.Group, services map[string]restart.Service, hosts map[string]restart.Host) []string {
	return filter(g.Services, func(name string) bool {
		pkg := services[name].Package
		return pkg == "" || slices.ContainsFunc(g.Hosts, func(h string) bool { _, ok := hosts[h].Packages[pkg]; return ok })
	})
}
