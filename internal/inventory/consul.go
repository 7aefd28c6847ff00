package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/restartilka/restartilka/internal/restart"
)

// The source "consul": the catalogue of Consul. Of each data centre it is asked
// which services there are, and of those that the services file describes, by
// the same name, which nodes have them:
//
//	v1/catalog/datacenters
//	v1/catalog/services?dc=DC
//	v1/catalog/service/NAME?dc=DC
//
// Config.Labels are keys of the metadata of a service or, where that has none,
// of its node. The environment may also be a tag of the service that
// Config.Environments lists. Nodes that Consul thinks unhealthy are there as
// all others: they are those that one wants to restart.

const (
	mostCentres = 200
	consulWhole = 2 * time.Minute
)

type consulSource struct {
	client       *webClient
	centres      []string // that are asked; none = all
	environments []string
	labels       Labels
	templates    []template
	domain       string
	services     *servicesFile
}

func newConsul(c Config) (Source, error) {
	services, err := newServicesFile(c)
	if err != nil {
		return nil, err
	}
	s := &consulSource{centres: c.Datacentres, environments: c.Environments, labels: c.Labels.filled(), domain: c.Domain, services: services}
	s.client, err = newWebClient(c, web{header: "X-Consul-Token", most: largestWhole, lost: "inventory.url must be what comes before v1/catalog, such as https://consul.example.com:8501"})
	if err != nil {
		return nil, err
	}
	if c.Labels.Service != "" {
		return nil, bad("labels", "has no service for kind consul").WithHint("a service is described under the name that it has in Consul")
	}
	for _, dc := range c.Datacentres {
		if checkDataCentre(dc) != nil {
			return nil, bad("data_centres", "holds a wrong name: %s", restart.Quote(dc))
		}
	}
	if err := checkEnvironments(c.Environments); err != nil {
		return nil, err
	}
	s.templates, err = parseTemplates(c.GroupNames)
	return s, err
}

func (s *consulSource) Name() string  { return s.client.base.String() }
func (s *consulSource) Stamp() string { return s.services.file.stamp() }

func (s *consulSource) Fetch(ctx context.Context) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, consulWhole)
	defer cancel()
	d, err := s.services.read()
	if err != nil {
		return Snapshot{}, err
	}
	centres := s.centres
	if len(centres) == 0 {
		if err := s.ask(ctx, &centres, "", "datacenters"); err != nil {
			return Snapshot{}, err
		}
	}
	if len(centres) > mostCentres {
		return Snapshot{}, restart.Errorf(restart.CodeTooLarge, "%d data centres are over the bound of %d", len(centres), mostCentres)
	}
	wanted, err := s.wanted(ctx, d, centres)
	if err != nil {
		return Snapshot{}, err
	}
	answers := make([][]consulInstance, len(wanted))
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(requestsAtOnce)
	for i, w := range wanted {
		tasks.Go(func() error { return s.ask(taskCtx, &answers[i], w.centre, "service", w.service) })
	}
	if err := tasks.Wait(); err != nil {
		return Snapshot{}, err
	}
	g := newGathering(d, s.templates, s.domain)
	if len(wanted) == 0 && len(d.services) > 0 {
		g.notes.add("none of the services of the services file is known there: with access lists, the token needs service:read and node:read")
	}
	for i, w := range wanted {
		for _, instance := range answers[i] {
			if err := s.see(g, w, instance); err != nil {
				return Snapshot{}, err
			}
		}
	}
	return g.snapshot(), nil
}

// consulQuestion is a service in a data centre.
type consulQuestion struct{ service, centre string }

// wanted lists what to ask for: the described services that each data centre has.
func (s *consulSource) wanted(ctx context.Context, d described, centres []string) ([]consulQuestion, error) {
	has := make([]map[string]json.RawMessage, len(centres))
	tasks, taskCtx := errgroup.WithContext(ctx)
	tasks.SetLimit(requestsAtOnce)
	for i, dc := range centres {
		tasks.Go(func() error { return s.ask(taskCtx, &has[i], dc, "services") })
	}
	if err := tasks.Wait(); err != nil {
		return nil, err
	}
	var out []consulQuestion
	for _, name := range d.serviceNames() {
		for i, dc := range centres {
			if _, ok := has[i][name]; ok {
				out = append(out, consulQuestion{name, dc})
			}
		}
	}
	return out, nil
}

// ask gets one page of the catalogue. A data centre that Consul does not know,
// or can't reach, is an error: its nodes would be missing.
func (s *consulSource) ask(ctx context.Context, into any, centre string, parts ...string) error {
	query := url.Values{}
	if centre != "" {
		query.Set("dc", centre)
	}
	address := s.client.address(query, append([]string{"v1", "catalog"}, parts...)...)
	body, err := s.client.getWhole(ctx, address)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return restart.Errorf(restart.CodeUnavailable, "the answer to %s is not Consul's: %s", withoutQuery(address), restart.Escape(err.Error())).
			WithHint("look at it yourself; inventory.url must be what comes before v1/catalog")
	}
	return nil
}

// consulInstance is a service on a node.
type consulInstance struct {
	Node        string
	Address     string
	Datacenter  string
	NodeMeta    map[string]string
	ServiceTags []string
	ServiceMeta map[string]string
}

func (s *consulSource) see(g *gathering, asked consulQuestion, i consulInstance) error {
	meta := func(key string) string {
		if key == "" {
			return ""
		}
		return cmp.Or(i.ServiceMeta[key], i.NodeMeta[key])
	}
	seen := sighting{
		services: []string{asked.service}, environment: meta(s.labels.Environment), project: meta(s.labels.Project), groups: words(meta(s.labels.Group)),
		host: restart.Host{
			Name: g.name(cmp.Or(meta(s.labels.Host), i.Node)), Address: cmp.Or(meta(s.labels.Address), i.Address), DataCentre: cmp.Or(meta(s.labels.DataCentre), i.Datacenter, asked.centre),
		},
	}
	environment, tags := environmentOf(g, seen.host.Name, s.environments, i.ServiceTags)
	seen.environment = cmp.Or(seen.environment, environment)
	for _, t := range tags {
		if restart.CheckTag(t) == nil { // others are routes of a balancer, and the like
			seen.host.Tags = append(seen.host.Tags, t)
		}
	}
	seen.host.Tags = append(seen.host.Tags, tagsOf(s.labels.Tags, meta)...)
	return g.see(seen)
}
