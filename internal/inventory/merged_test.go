package inventory_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/foreign/consul"
)

// twoFiles is an inventory of two files.
func twoFiles(t *testing.T, first, second string, change ...func(*inventory.Config)) *inventory.Inventory {
	t.Helper()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	write(t, a, first)
	write(t, b, second)
	c := inventory.Config{Kind: "merged", Sources: []inventory.Config{{Name: "a", Kind: "yaml", Path: a}, {Name: "b", Kind: "yaml", Path: b}}}
	for _, f := range change {
		f(&c)
	}
	i, err := inventory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

const oneSide = `
services: [{name: nginx, unit: nginx.service}]
groups: [{name: web, environment: testing, services: [nginx], hosts: [web1.example.com, web2.example.com]}]
hosts: [{name: web1.example.com, data_centre: dc1, tags: [x]}, {name: web2.example.com, address: 10.0.0.2}]
`

func TestMergedConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		second  string
		problem string
	}{
		"the same":       {oneSide, ""},
		"a service":      {`services: [{name: nginx, unit: other.service}]`, "service nginx is described in two ways, by a and by b: the first counts"},
		"a data centre":  {`hosts: [{name: web1.example.com, data_centre: dc2}]`, "host web1.example.com is in data centre dc1 by a, and in dc2 by b: the first counts"},
		"an address":     {`hosts: [{name: web2.example.com, address: 10.0.0.3}]`, "host web2.example.com has the address 10.0.0.2 by a, and 10.0.0.3 by b: the first counts"},
		"an environment": {`groups: [{name: web, environment: production}]`, "group web is of another environment, project or service by a than by b: the first counts"},
		"members":        {"services: [{name: nginx, unit: nginx.service}]\ngroups: [{name: web, environment: testing, services: [nginx], hosts: [web1.example.com]}]\nhosts: [{name: web1.example.com}]", "group web has 2 hosts by a, and 1 by b, not the same: the first counts"},
		"a short name":   {`hosts: [{name: web1}]`, "web1 of b and web1.example.com of a may be one host"},
		"one address":    {`hosts: [{name: w2.example.com, address: 10.0.0.2}]`, "web2.example.com of a and w2.example.com of b have the same address, 10.0.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			i := twoFiles(t, oneSide, c.second)
			s := snapshot(t, i)
			if s.Problem != c.problem || s.Stale {
				t.Errorf("problem %q, want %q", s.Problem, c.problem)
			}
			_, hosts, err := i.Group(t.Context(), "web")
			if err != nil || hostNames(hosts) != "web1.example.com web2.example.com" || hosts[0].DataCentre != "dc1" || hosts[1].Address != "10.0.0.2" || s.Services[0].Unit != "nginx.service" {
				t.Errorf("what the first says does not count: %+v, %v", hosts, err)
			}
		})
	}
}

func TestMergedAddsUp(t *testing.T) {
	second := `
services: [{name: nginx, unit: nginx.service}, {name: billing}]
groups:
  - {name: web, environment: testing, services: [nginx], hosts: [web3.example.com, web1.example.com]}
  - {name: pay, environment: production, services: [billing], hosts: [web3.example.com]}
hosts: [{name: web3.example.com}, {name: web1.example.com, tags: [y, x], address: 10.0.0.1}]
`
	i := twoFiles(t, oneSide, second, func(c *inventory.Config) { c.JoinGroups = true })
	s := snapshot(t, i)
	if s.Problem != "" || s.Source != "a, b" {
		t.Errorf("problem %q, source %q", s.Problem, s.Source)
	}
	_, hosts, err := i.Group(t.Context(), "web")
	if err != nil || hostNames(hosts) != "web1.example.com web2.example.com web3.example.com" {
		t.Errorf("joined: %s, %v", hostNames(hosts), err)
	}
	if diff := cmp.Diff(restart.Host{Name: "web1.example.com", DataCentre: "dc1", Address: "10.0.0.1", Tags: []string{"x", "y"}}, hosts[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if g, err := i.GroupFor(t.Context(), "billing", "", ""); err != nil || g.Name != "pay" {
		t.Errorf("%+v, %v", g, err)
	}
	parts := i.Parts(t.Context())
	if len(parts) != 2 || parts[0].Name != "a" || parts[1].Hosts != 2 || parts[1].Services != 2 || parts[0].FetchedAt.IsZero() {
		t.Errorf("%+v", parts)
	}
}

// One source of three is away: its old part is used for as long as it may, with
// its age; after that the rest is, where that is allowed.
func TestMergedWithoutASource(t *testing.T) {
	for name, optional := range map[string]bool{"needed": false, "optional": true} {
		t.Run(name, func(t *testing.T) {
			w := mergedWorld(t, 2*time.Hour)
			w.config.Sources[1].Optional = optional
			i := started(t, w)
			good := snapshot(t, i)
			w.down(t)
			w.clock.move(time.Hour)
			s := snapshot(t, i)
			if !s.Stale || len(s.Hosts) != len(good.Hosts) || !s.FetchedAt.Equal(good.FetchedAt) || !strings.Contains(s.Problem, "source money: ") || !strings.Contains(s.Problem, "2030-01-02T03:04:05Z, 1 hour old") {
				t.Errorf("stale %v, of %s, %d hosts, problem %q", s.Stale, s.FetchedAt, len(s.Hosts), s.Problem)
			}
			if p := i.Parts(t.Context()); p[0].Stale || !p[1].Stale || p[1].Missing || !p[1].FetchedAt.Equal(good.FetchedAt) {
				t.Errorf("%+v", p)
			}
			w.clock.move(2 * time.Hour)
			if !optional {
				wantError(t, "too old", second(i.Snapshot(t.Context())), restart.CodeUnavailable, "source money is needed", "502")
				if p := i.Parts(t.Context()); !p[1].Missing || !p[1].FetchedAt.Equal(good.FetchedAt) || p[0].Missing {
					t.Errorf("%+v", p)
				}
				w.set(t, true)
				w.clock.move(time.Minute)
				if s := snapshot(t, i); s.Stale || s.Problem != "" {
					t.Errorf("back: stale %v, %q", s.Stale, s.Problem)
				}
				return
			}
			s = snapshot(t, i)
			if strings.Join(s.Missing, " ") != "money" || s.Stale || !strings.Contains(s.Problem, "source money gives nothing, so what only it knows is missing") {
				t.Errorf("missing %v, stale %v, problem %q", s.Missing, s.Stale, s.Problem)
			}
			if hosts, err := i.Resolve(t.Context(), "%shop-nginx-production,-web1.example.com"); err != nil || hostNames(hosts) != "web2.example.com web3.example.com" {
				t.Errorf("%s, %v", hostNames(hosts), err)
			}
			for _, expr := range []string{"%all,-%shop-nginx-testing", "%all,-%all@dc1", "%shop-nginx-production,-#canary"} {
				wantError(t, expr, second(i.Resolve(t.Context(), expr)), restart.CodeUnavailable, "lacks a part: money", "name the hosts")
			}
			wantError(t, "what only it knew", second(i.GroupFor(t.Context(), "billing", "production", "")), restart.CodeNotFound)
		})
	}
}

func TestMergedWithoutAny(t *testing.T) {
	w := mergedWorld(t, 0)
	w.config.Sources = w.config.Sources[1:]
	w.config.Sources[0].Optional = true
	i := started(t, w)
	w.down(t)
	wantError(t, "none", second(i.Snapshot(t.Context())), restart.CodeUnavailable, "none of its sources gives anything")
}

// A group that no snapshot has is looked up at the source that can.
func TestMergedLooksUp(t *testing.T) {
	conductor := conductorWorld(t, "json")
	conductor.set(t, false)
	file := filepath.Join(t.TempDir(), "a.yaml")
	write(t, file, oneSide)
	sub := conductor.config
	sub.Name, sub.Now = "conductor", nil
	i, err := inventory.New(inventory.Config{Kind: "merged", Sources: []inventory.Config{{Name: "a", Kind: "yaml", Path: file}, sub}})
	if err != nil {
		t.Fatal(err)
	}
	if hosts, err := i.Resolve(t.Context(), "%other-group"); err != nil || hostNames(hosts) != "other1.example.com web1.example.com" {
		t.Errorf("%s, %v", hostNames(hosts), err)
	}
	wantError(t, "none has it", second(i.Resolve(t.Context(), "%no-group")), restart.CodeNotFound)
}

func TestMergedSharesTheServicesFile(t *testing.T) {
	w := mergedWorld(t, 0)
	write(t, w.config.ServicesFile, services+"groups: [{name: shop-nginx-testing, environment: testing, project: shop, services: [nginx]}, {name: gone}]\n")
	i := started(t, w)
	if s := snapshot(t, i); s.Problem != "group gone of the services file is not known there" {
		t.Errorf("%q", s.Problem)
	}
}

func TestMergedRefuses(t *testing.T) {
	one := inventory.Config{Name: "a", Kind: "yaml", Path: "/x"}
	optional, nameless, other := one, one, one
	optional.Optional, nameless.Name, other.Name = true, "", "b"
	for want, sources := range map[string][]inventory.Config{
		"holds 0":                     nil,
		"holds 11":                    make([]inventory.Config, 11),
		"needs a name":                {nameless},
		"two of the name a":           {one, one},
		"merged itself":               {{Name: "m", Kind: "merged"}},
		"which is optional":           {optional, other},
		"inventory.sources, c: inven": {one, {Name: "c", Kind: "yaml"}},
	} {
		i, err := inventory.New(inventory.Config{Kind: "merged", Sources: sources})
		if i != nil || restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A broken or missing file is put up with for a week at most, or as long as is said.
func TestFilesAreStaleForAWhile(t *testing.T) {
	for stale, most := range map[time.Duration]time.Duration{0: 7 * 24 * time.Hour, time.Hour: time.Hour} {
		w := yamlWorld(t)
		w.config.StaleFor = stale
		i := started(t, w)
		snapshot(t, i)
		w.clock.move(30 * 24 * time.Hour)
		snapshot(t, i) // it is good all that time
		w.ruin(t)
		w.clock.move(most)
		if s := snapshot(t, i); !s.Stale || !strings.Contains(s.Problem, restart.Span(most)+" old") {
			t.Errorf("stale %v, %q", s.Stale, s.Problem)
		}
		w.clock.move(time.Minute)
		wantUnavailable(t, second(i.Snapshot(t.Context())))
	}
}

func TestConsulAccess(t *testing.T) {
	server := consul.New(t, "dc1")
	server.Token = "secret"
	server.Set(catalogue(false)...)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	write(t, token, "wrong\n")
	c := newClock()
	config := inventory.Config{Kind: "consul", URL: server.URL, ServicesFile: describe(t), TokenFile: token, Now: c.now, Domain: "example.com"}
	i, err := inventory.New(config)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "a wrong token", second(i.Snapshot(t.Context())), restart.CodeUnavailable, "403 Forbidden", "inventory.token_file")
	write(t, token, "secret\n")
	c.move(time.Minute)
	if s := snapshot(t, i); len(s.Hosts) != 3 || s.Problem != "" {
		t.Errorf("%d hosts, %q", len(s.Hosts), s.Problem)
	}
	config.TokenFile = ""
	if i, err = inventory.New(config); err != nil {
		t.Fatal(err)
	}
	if s := snapshot(t, i); len(s.Hosts) != 0 || !strings.Contains(s.Problem, "the token needs service:read and node:read") {
		t.Errorf("without a token: %d hosts, %q", len(s.Hosts), s.Problem)
	}
	config.TokenFile, config.Datacentres = token, []string{"dc1", "gone"}
	if i, err = inventory.New(config); err != nil {
		t.Fatal(err)
	}
	wantError(t, "a data centre that is not there", second(i.Snapshot(t.Context())), restart.CodeUnavailable, "500")
}

func TestPagesAreBounded(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another origin was asked") }))
	defer elsewhere.Close()
	for want, next := range map[string]string{
		"go round in a circle": `"/hosts?page=1&key=hidden"`, "at another address": fmt.Sprintf("%q", elsewhere.URL+"/x?key=hidden"), "can't be read": `7`, "not asked": `"file:///etc/passwd"`,
	} {
		server := newTeller(t)
		server.text(`{"results": ["a"], "next": ` + next + `}`)
		i, err := inventory.New(inventory.Config{Kind: "json", URL: server.URL + "/hosts?page=1&key=hidden", ServicesFile: describe(t), Mapping: &inventory.Mapping{Next: "/next", Hosts: &inventory.HostMapping{Each: "/results/*", Name: []string{"."}}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.Snapshot(t.Context())
		wantError(t, want, err, restart.CodeUnavailable, want)
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("a query is told: %v", err)
		}
	}
}
