package inventory_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/test/foreign/consul"
	"github.com/restartilka/restartilka/test/foreign/inventoree"
)

// The worlds of the sources that list hosts. All tell the same as yamlWorld.

func signInPage(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Please sign in</html>") }
func badGateway(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "no", http.StatusBadGateway)
}

// described lays the services file.
func describe(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "services.yaml")
	write(t, path, services)
	return path
}

var shopNames = []string{"#project#-#service#-#environment#"}

// targets is what Prometheus would read. billing has an exporter that nobody
// wants restarted, too.
func targets(more bool) string {
	web4 := ""
	if more {
		web4 = `, {"targets": ["web4.example.com:9113"], "labels": {"service": "nginx", "environment": "production", "dc": "dc1"}}`
	}
	return `[
		{"targets": ["web01.test.example.com:9113", "WEB02.test.example.com.:9113"], "labels": {"service": "nginx", "environment": "testing", "dc": "dc1"}},
		{"targets": ["https://web2.example.com:443/health"], "labels": {"service": "nginx", "environment": "production", "dc": "dc2"}},
		{"targets": ["web1.example.com:9113"], "labels": {"service": "nginx", "environment": "production", "dc": "dc1", "marks": "canary"}},
		{"targets": ["web3.example.com:9113"], "labels": {"service": "nginx", "environment": "production", "dc": "dc2", "__meta_x": "y"}},
		{"targets": ["pay1.example.com:8080", "pay1.example.com:8081"], "labels": {"service": "billing", "environment": "production", "dc": "dc1"}},
		{"targets": ["web1.example.com:9100", "pay1.example.com:9100"], "labels": {"service": "node-exporter"}},
		{"targets": []}` + web4 + `]`
}

var shopLabels = inventory.Labels{DataCentre: "dc", Tags: []string{"marks"}}

func prometheusFilesWorld(t *testing.T) *world {
	dir := t.TempDir()
	c := newClock()
	path := filepath.Join(dir, "all.json")
	return &world{
		config: inventory.Config{
			Kind: "prometheus", Files: []string{filepath.Join(dir, "*.json"), filepath.Join(dir, "*.yml")}, Labels: shopLabels, GroupNames: shopNames, ServicesFile: describe(t), Now: c.now,
		},
		clock: c,
		set: func(t *testing.T, more bool) {
			write(t, path, targets(false))
			write(t, filepath.Join(dir, "more.yml"), "[]")
			if more {
				write(t, filepath.Join(dir, "more.yml"), "- targets: ['web4.example.com:9113']\n  labels: {service: nginx, environment: production, dc: dc1}\n")
			}
		},
		ruin: func(t *testing.T) { write(t, path, `[{"targets": ["a:1"], "lables": {}}]`) },
		down: func(t *testing.T) { remove(t, path); remove(t, filepath.Join(dir, "more.yml")) },
	}
}

// teller serves one text after another, or something else.
type teller struct {
	*httptest.Server
	mu   sync.Mutex
	says http.HandlerFunc
}

func newTeller(t *testing.T) *teller {
	s := &teller{says: badGateway}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.says(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *teller) say(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says = f
}

func (s *teller) text(text string) {
	s.say(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	})
}

func prometheusWebWorld(t *testing.T) *world {
	server, c := newTeller(t), newClock()
	return &world{
		config: inventory.Config{Kind: "prometheus", URL: server.URL + "/sd?kind=all", Labels: shopLabels, GroupNames: shopNames, ServicesFile: describe(t), StaleFor: 24 * time.Hour, Now: c.now},
		clock:  c,
		set:    func(_ *testing.T, more bool) { server.text(targets(more)) },
		ruin:   func(*testing.T) { server.say(signInPage) },
		down:   func(*testing.T) { server.say(badGateway) },
	}
}

// catalogue is the shop in Consul. The environment is a tag, as is usual, or
// stands in the metadata.
func catalogue(more bool) []consul.Instance {
	node := func(name, dc, service, environment string, tags ...string) consul.Instance {
		return consul.Instance{Node: name, Address: "", Datacenter: dc, ServiceName: service, ServiceTags: append(tags, environment, "traefik.http.routers.x.rule=Host(`a`)")}
	}
	out := []consul.Instance{
		node("web01.test", "dc1", "nginx", "testing"), node("web02.test", "dc1", "nginx", "testing"),
		node("web2", "dc2", "nginx", "production"), node("web1", "dc2", "nginx", "production"), node("web3", "dc2", "nginx", "production"),
		node("pay1", "dc1", "billing", "production"), node("c1", "dc1", "consul", "x"),
	}
	out[3].NodeMeta = map[string]string{"data_centre": "dc1", "role": "canary"}
	out[4].ServiceMeta, out[4].ServiceTags = map[string]string{"environment": "production"}, nil
	if more {
		out = append(out, node("web4", "dc2", "nginx", "production"))
	}
	for i := range out {
		if out[i].Node == "web01.test" || out[i].Node == "web02.test" {
			out[i].Node += ".example.com"
		}
	}
	return out
}

func consulWorld(t *testing.T) *world {
	server, c := consul.New(t, "dc2", "dc1"), newClock()
	server.Token = "secret"
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "secret\n")
	return &world{
		config: inventory.Config{
			Kind: "consul", URL: server.URL, TokenFile: token, Domain: "example.com", Environments: []string{"testing", "production"}, GroupNames: shopNames, ServicesFile: describe(t),
			Labels: inventory.Labels{Tags: []string{"role"}}, Now: c.now,
		},
		clock: c,
		set:   func(_ *testing.T, more bool) { server.Set(catalogue(more)...) },
		ruin:  func(*testing.T) { server.Answer(signInPage) },
		down:  func(*testing.T) { server.Answer(badGateway) },
	}
}

func inventoreeData(more bool) inventoree.Data {
	fields := func(service, environment string) []inventoree.Field {
		return []inventoree.Field{{Key: "services", Value: service}, {Key: "environment", Value: environment}}
	}
	host := func(name, group, dc string, tags ...string) inventoree.Host {
		return inventoree.Host{FQDN: name, Group: &group, DataCentre: &dc, Tags: tags}
	}
	d := inventoree.Data{
		DataCentres: []inventoree.Name{{ID: "d1", Name: "dc1"}, {ID: "d2", Name: "dc2"}},
		WorkGroups:  []inventoree.Name{{ID: "w1", Name: "shop"}, {ID: "w2", Name: "money"}, {ID: "w3", Name: "others"}},
		Groups: []inventoree.Group{
			{ID: "g1", Name: "shop-nginx-testing", WorkGroup: "w1", Fields: fields("nginx", "testing")},
			{ID: "g2", Name: "shop-nginx-production", WorkGroup: "w1", Fields: fields("nginx", "production")},
			{ID: "g3", Name: "money-billing-production", WorkGroup: "w2", Fields: fields("billing, metrics", "production")},
			{ID: "g4", Name: "others", WorkGroup: "w3"},
		},
		Hosts: []inventoree.Host{
			host("web01.test.example.com", "g1", "d1"), host("web02.test.example.com", "g1", "d1"),
			host("web2.example.com", "g2", "d2"), host("web1.example.com", "g2", "d1", "canary"), host("web3.example.com", "g2", "d2"),
			host("pay1.example.com", "g3", "d1"), host("not.example.com", "g4", "d1"),
		},
	}
	if more {
		d.Hosts = append(d.Hosts, host("web4.example.com", "g2", "d1"))
	}
	return d
}

func inventoreeWorld(t *testing.T) *world {
	server, c := inventoree.New(t), newClock()
	return &world{
		config: inventory.Config{
			Kind: "inventoree", URL: server.URL, WorkGroups: []string{"shop", "money"}, ServicesFile: describe(t), Labels: inventory.Labels{Service: "services"}, Now: c.now,
		},
		clock: c,
		set:   func(_ *testing.T, more bool) { server.Set(inventoreeData(more)) },
		ruin:  func(*testing.T) { server.Answer(signInPage) },
		down:  func(*testing.T) { server.Answer(badGateway) },
	}
}

// mapped is a document with everything in it, services too, in a shape of its own.
func mapped(more bool) string {
	web4, in := "", ""
	if more {
		web4, in = `, {"id": "web4.example.com", "where": {"dc": "dc1"}}`, `, "web4.example.com"`
	}
	return `{"meta": {"made": "today"}, "apps": {
		"nginx": {"about": "The front of the shop", "deb": "nginx", "unit": "nginx.service", "ports": [80], "team": {"project": "shop", "people": ["anna"], "team": "team:shop"}},
		"billing": {"kind": "jvm", "team": {"project": "money"}}},
	"machines": [
		{"id": "web01.test.example.com", "where": {"dc": "dc1"}}, {"id": "WEB02.test.example.com", "where": {"dc": "dc1"}},
		{"id": "web1.example.com", "where": {"dc": "dc1"}, "marks": [{"text": "canary"}]}, {"id": "web2.example.com", "where": {"dc": "dc2"}, "marks": null},
		{"id": "web3.example.com", "where": {"dc": "dc2"}, "marks": []}, {"id": "pay1.example.com", "where": {"dc": "dc1"}}` + web4 + `],
	"pools": {
		"shop-nginx-testing": {"of": ["nginx"], "stage": "testing", "project": "shop", "members": ["web01.test.example.com", "web02.test.example.com"]},
		"shop-nginx-production": {"of": ["nginx"], "stage": "production", "project": "shop", "members": ["web2.example.com", "web1.example.com", "web3.example.com"` + in + `]},
		"money-billing-production": {"of": ["billing"], "stage": "production", "project": "money", "members": ["pay1.example.com"]}}}`
}

func wholeMapping() *inventory.Mapping {
	return &inventory.Mapping{
		Services: &inventory.ServiceMapping{
			Each: "/apps/*", Name: []string{"@key"}, Description: []string{"/about"}, Package: []string{"/deb"}, Unit: []string{"/unit"}, Port: []string{"/ports/0"}, Runtime: []string{"/kind"},
			Project: []string{"/team/project"}, Owners: []string{"/team/people/*", "/team/team"},
		},
		Hosts:  &inventory.HostMapping{Each: "/machines/*", Name: []string{"/fqdn", "/id"}, DataCentre: []string{"/where/dc"}, Tags: []string{"/marks/*/text"}},
		Groups: &inventory.GroupMapping{Each: "/pools/*", Name: []string{"@key"}, Hosts: []string{"/members/*"}, Environment: []string{"/stage"}, Project: []string{"/project"}, Services: []string{"/of/*"}},
	}
}

func jsonFileWorld(t *testing.T) *world {
	path, c := filepath.Join(t.TempDir(), "all.json"), newClock()
	return &world{
		config: inventory.Config{Kind: "json", Path: path, Mapping: wholeMapping(), Now: c.now},
		clock:  c,
		set:    func(t *testing.T, more bool) { write(t, path, mapped(more)) },
		ruin:   func(t *testing.T) { write(t, path, `{"error": "not today"}`) },
		down:   func(t *testing.T) { remove(t, path) },
	}
}

func jsonCommandWorld(t *testing.T) *world {
	w := jsonFileWorld(t)
	w.config.Command, w.config.Path = []string{"cat", w.config.Path}, ""
	return w
}

// jsonPagesWorld is a list of hosts that comes in pages, each host with what it
// carries; the services are described in a file.
func jsonPagesWorld(t *testing.T) *world {
	server, c := newTeller(t), newClock()
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "secret\n")
	set := func(_ *testing.T, more bool) {
		hosts := []string{
			`{"name": "web01.test", "role": "nginx", "env": "testing", "site": {"slug": "dc1"}}`, `{"name": "web02.test", "role": "nginx", "env": "testing", "site": {"slug": "dc1"}}`,
			`{"name": "web2", "role": "nginx", "env": "production", "site": {"slug": "dc2"}}`, `{"name": "web1", "role": "nginx", "env": "production", "site": {"slug": "dc1"}, "tags": ["canary"]}`,
			`{"name": "web3", "role": "nginx", "env": "production", "site": {"slug": "dc2"}}`, `{"name": "pay1", "role": "billing", "env": "production", "site": {"slug": "dc1"}}`,
		}
		if more {
			hosts = append(hosts, `{"name": "web4", "role": "nginx", "env": "production", "site": {"slug": "dc2"}}`)
		}
		for i, h := range hosts {
			hosts[i] = strings.NewReplacer(`web01.test"`, `web01.test.example.com"`, `web02.test"`, `web02.test.example.com"`).Replace(h)
		}
		server.say(func(w http.ResponseWriter, r *http.Request) {
			var from int
			_, _ = fmt.Sscan(r.FormValue("offset"), &from)
			if r.Header.Get("X-Key") != "secret" || from < 0 || from >= len(hosts) {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			to := min(from+3, len(hosts))
			next, _ := json.Marshal(nil)
			if to < len(hosts) {
				next, _ = json.Marshal(fmt.Sprintf("%s/hosts?offset=%d", server.URL, to))
			}
			fmt.Fprintf(w, `{"count": %d, "next": %s, "results": [%s]}`, len(hosts), next, strings.Join(hosts[from:to], ","))
		})
	}
	return &world{
		config: inventory.Config{
			Kind: "json", URL: server.URL + "/hosts?offset=0", TokenFile: token, TokenHeader: "X-Key", ServicesFile: describe(t), GroupNames: shopNames, Domain: "example.com", Now: c.now,
			Mapping: &inventory.Mapping{Next: "/next", Hosts: &inventory.HostMapping{
				Each: "/results/*", Name: []string{"/name"}, DataCentre: []string{"/site/slug"}, Tags: []string{"/tags/*"}, Services: []string{"/role"}, Environment: []string{"/env"},
			}},
		},
		clock: c, set: set,
		ruin: func(*testing.T) { server.text(`{"results": "none", "next": null}`) },
		down: func(*testing.T) { server.say(badGateway) },
	}
}

// mergedWorld has the shop in a file, and the money in Consul, which knows the
// shop's hosts as well.
func mergedWorld(t *testing.T, stale time.Duration) *world {
	file, server, c := filepath.Join(t.TempDir(), "inventory.yaml"), consul.New(t, "dc1", "dc2"), newClock()
	described := describe(t)
	return &world{
		keeps: stale > 0,
		config: inventory.Config{Kind: "merged", ServicesFile: described, Now: c.now, Sources: []inventory.Config{
			{Name: "shop", Kind: "yaml", Path: file},
			{Name: "money", Kind: "consul", URL: server.URL, Domain: "example.com", GroupNames: shopNames, Environments: []string{"production", "testing"}, Labels: inventory.Labels{Tags: []string{"role"}}, StaleFor: stale},
		}},
		clock: c,
		set: func(t *testing.T, more bool) {
			web4, in := "", ""
			if more {
				web4, in = "\n  - {name: web4.example.com}", ", web4.example.com"
			}
			write(t, file, services+`
groups:
  - {name: shop-nginx-testing, project: shop, environment: testing, services: [nginx], hosts: ["web[01-02].test.example.com"]}
  - {name: shop-nginx-production, project: shop, environment: production, services: [nginx], hosts: [web2.example.com, web1.example.com, web3.example.com`+in+`]}
hosts:
  - name: web[01-02].test.example.com
  - name: web[1-3].example.com`+web4+"\n")
			server.Set(catalogue(more)...)
		},
		ruin: func(*testing.T) { server.Answer(signInPage) },
		down: func(*testing.T) { server.Answer(badGateway) },
	}
}
