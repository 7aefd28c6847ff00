package inventory_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/foreign/conductor"
)

// world is one inventory, told by one source. All worlds tell the same: see
// yamlWorld.
type world struct {
	config inventory.Config
	clock  *clock
	set    func(t *testing.T, more bool) // tell it; more: web4 is in production as well
	ruin   func(t *testing.T)            // answer nonsense
	down   func(t *testing.T)            // do not answer
	keeps  bool                          // its last answer may be used for more than an hour
}

// clock is a clock that stands until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

const services = `
services:
  - name: nginx
    description: The front of the shop
    package: nginx
    unit: nginx.service
    port: 80
    project: shop
    owners: [anna, "team:shop"]
  - name: billing
    runtime: jvm
    project: money
`

func TestSources(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *world{
		"yaml":             yamlWorld,
		"ansible file":     func(t *testing.T) *world { return ansibleWorld(t, false) },
		"ansible command":  func(t *testing.T) *world { return ansibleWorld(t, true) },
		"conductor json":   func(t *testing.T) *world { return conductorWorld(t, "json") },
		"conductor text":   func(t *testing.T) *world { return conductorWorld(t, "text") },
		"conductor cached": cachedWorld,
		"prometheus files": prometheusFilesWorld,
		"prometheus http":  prometheusWebWorld,
		"consul":           consulWorld,
		"inventoree":       inventoreeWorld,
		"json file":        jsonFileWorld,
		"json command":     jsonCommandWorld,
		"json pages":       jsonPagesWorld,
		"merged":           func(t *testing.T) *world { return mergedWorld(t, 0) },
		"merged, stale":    func(t *testing.T) *world { return mergedWorld(t, 24*time.Hour) },
	} {
		t.Run(name, func(t *testing.T) { Exercise(t, make) })
	}
}

// Exercise is what every source passes.
func Exercise(t *testing.T, makeWorld func(*testing.T) *world) {
	start := func(t *testing.T) (*world, *inventory.Inventory) {
		w := makeWorld(t)
		w.set(t, false)
		i, err := inventory.New(w.config)
		if err != nil {
			t.Fatal(err)
		}
		return w, i
	}

	t.Run("tells everything", func(t *testing.T) {
		w, i := start(t)
		s, err := i.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := inventory.Snapshot{
			Services: []restart.Service{
				{Name: "nginx", Description: "The front of the shop", Package: "nginx", Unit: "nginx.service", Port: 80, Project: "shop", Owners: []string{"anna", "team:shop"}},
				{Name: "billing", Runtime: "jvm", Project: "money"},
			},
			FetchedAt: w.clock.now(),
			Source:    s.Source,
		}
		groups, hosts := s.Groups, s.Hosts
		s.Groups, s.Hosts = nil, nil
		if diff := cmp.Diff(want, s); diff != "" || s.Source == "" {
			t.Errorf("source %q, snapshot (-want +got):\n%s", s.Source, diff)
		}
		byName := map[string]restart.Group{}
		for _, g := range groups {
			byName[g.Name] = g
		}
		wantGroups := map[string]restart.Group{
			"shop-nginx-testing":       {Name: "shop-nginx-testing", Project: "shop", Environment: "testing", Services: []string{"nginx"}, Hosts: []string{"web01.test.example.com", "web02.test.example.com"}},
			"shop-nginx-production":    {Name: "shop-nginx-production", Project: "shop", Environment: "production", Services: []string{"nginx"}, Hosts: []string{"web2.example.com", "web1.example.com", "web3.example.com"}},
			"money-billing-production": {Name: "money-billing-production", Project: "money", Environment: "production", Services: []string{"billing"}, Hosts: []string{"pay1.example.com"}},
		}
		if diff := cmp.Diff(wantGroups, byName); diff != "" {
			t.Errorf("groups (-want +got):\n%s", diff)
		}
		dcs := map[string]string{}
		for _, h := range hosts {
			dcs[h.Name] = h.DataCentre + " " + strings.Join(h.Tags, ",")
		}
		wantDCs := map[string]string{
			"web01.test.example.com": "dc1 ", "web02.test.example.com": "dc1 ", "web1.example.com": "dc1 canary",
			"web2.example.com": "dc2 ", "web3.example.com": "dc2 ", "pay1.example.com": "dc1 ",
		}
		if diff := cmp.Diff(wantDCs, dcs); diff != "" {
			t.Errorf("hosts (-want +got):\n%s", diff)
		}
	})

	t.Run("resolves", func(t *testing.T) {
		_, i := start(t)
		for expr, want := range map[string]string{
			"%shop-nginx-production":                       "web2.example.com web1.example.com web3.example.com",
			"%shop-nginx-production@dc2":                   "web2.example.com web3.example.com",
			"%shop-nginx-production#canary":                "web1.example.com",
			"#canary":                                      "web1.example.com",
			"%shop-nginx-production,-web[1-2].example.com": "web3.example.com",
			"web[01-02].test.example.com":                  "web01.test.example.com web02.test.example.com",
		} {
			if got, err := i.Resolve(t.Context(), expr); err != nil || hostNames(got) != want {
				t.Errorf("%s: %s, %v, want %s", expr, hostNames(got), err, want)
			}
		}
		wantError(t, "unknown group", second(i.Resolve(t.Context(), "%shop-nginx-prodution")), restart.CodeNotFound, "did you mean shop-nginx-production?")
	})

	t.Run("finds the group", func(t *testing.T) {
		_, i := start(t)
		g, err := i.GroupFor(t.Context(), "nginx", "testing", "")
		if err != nil || g.Name != "shop-nginx-testing" {
			t.Errorf("group %q, %v", g.Name, err)
		}
		wantError(t, "no environment", second(i.GroupFor(t.Context(), "nginx", "", "")), restart.CodeInvalid, "shop-nginx-testing (testing, shop)")
	})

	t.Run("sees a change", func(t *testing.T) {
		w, i := start(t)
		if _, err := i.Host(t.Context(), "web4.example.com"); restart.CodeOf(err) != restart.CodeNotFound {
			t.Fatalf("web4 is there too soon: %v", err)
		}
		w.set(t, true)
		w.clock.move(time.Hour)
		s, err := i.Snapshot(t.Context())
		if err != nil || !s.FetchedAt.Equal(w.clock.now()) {
			t.Errorf("fetched at %s, %v", s.FetchedAt, err)
		}
		if _, err := i.Host(t.Context(), "web4.example.com"); err != nil {
			t.Error(err)
		}
	})

	t.Run("is ruined or goes down, and comes back", func(t *testing.T) {
		for name, harm := range map[string]func(*world) func(*testing.T){
			"ruined": func(w *world) func(*testing.T) { return w.ruin },
			"down":   func(w *world) func(*testing.T) { return w.down },
		} {
			t.Run(name, func(t *testing.T) {
				w, i := start(t)
				good, err := i.Snapshot(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				harm(w)(t)
				w.clock.move(time.Hour)
				s, err := i.Snapshot(t.Context())
				if w.keeps || w.config.Path != "" || len(w.config.Files) > 0 || w.config.StaleFor > time.Hour {
					if err != nil || !s.Stale || s.Problem == "" || len(s.Hosts) != len(good.Hosts) {
						t.Errorf("stale %v, problem %q, %d hosts, %v", s.Stale, s.Problem, len(s.Hosts), err)
					}
				} else {
					wantUnavailable(t, err)
				}
				w.set(t, true)
				w.clock.move(time.Minute)
				s, err = i.Snapshot(t.Context())
				if err != nil || s.Stale || s.Problem != "" || len(s.Hosts) != len(good.Hosts)+1 {
					t.Errorf("after: stale %v, problem %q, %d hosts, %v", s.Stale, s.Problem, len(s.Hosts), err)
				}
			})
		}
	})

	t.Run("was never there", func(t *testing.T) {
		w := makeWorld(t)
		w.down(t)
		i, err := inventory.New(w.config)
		if err != nil {
			t.Fatal(err)
		}
		wantUnavailable(t, second(i.Snapshot(t.Context())))
		wantUnavailable(t, second(i.Service(t.Context(), "nginx")))
		wantUnavailable(t, second(i.Resolve(t.Context(), "%all")))
		wantUnavailable(t, second(i.GroupFor(t.Context(), "nginx", "testing", "")))
		if e := i.Environments(t.Context(), "nginx"); e != nil {
			t.Errorf("environments %v", e)
		}
	})

	t.Run("is asked by many at once", func(t *testing.T) {
		_, i := start(t)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := i.Resolve(t.Context(), "%all"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})

	t.Run("a caller who leaves changes nothing", func(t *testing.T) {
		_, i := start(t)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = i.Snapshot(gone) // a file answers all the same
		if s, err := i.Snapshot(t.Context()); err != nil || s.Stale {
			t.Errorf("stale %v, %v", s.Stale, err)
		}
	})
}

func yamlWorld(t *testing.T) *world {
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	c := newClock()
	return &world{
		config: inventory.Config{Kind: "yaml", Path: path, Now: c.now},
		clock:  c,
		set: func(t *testing.T, more bool) {
			web4, in := "", ""
			if more {
				web4, in = "\n  - {name: web4.example.com, data_centre: dc1}", ", web4.example.com"
			}
			write(t, path, services+`
groups:
  - {name: shop-nginx-testing, project: shop, environment: testing, services: [nginx], hosts: ["web[01-02].test.example.com"], data_centre: dc1}
  - {name: shop-nginx-production, project: shop, environment: production, services: [nginx], hosts: [web2.example.com, web1.example.com, web3.example.com`+in+`]}
  - {name: money-billing-production, project: money, environment: production, services: [billing], hosts: [pay1.example.com]}
hosts:
  - name: web[01-02].test.example.com
  - {name: web1.example.com, data_centre: dc1, tags: [canary]}
  - {name: web2.example.com, data_centre: dc2}
  - {name: web3.example.com, data_centre: dc2}
  - {name: pay1.example.com, data_centre: dc1}`+web4+"\n")
		},
		ruin: func(t *testing.T) { write(t, path, "services: [\n") },
		down: func(t *testing.T) { remove(t, path) },
	}
}

func ansibleWorld(t *testing.T, command bool) *world {
	dir := t.TempDir()
	path, described := filepath.Join(dir, "list.json"), filepath.Join(dir, "services.yaml")
	write(t, described, services)
	c := newClock()
	w := &world{
		clock: c,
		set: func(t *testing.T, more bool) {
			web4, in := "", ""
			if more {
				web4, in = `,"web4.example.com": {"restartilka_services": "nginx", "restartilka_environment": "production", "restartilka_project": "shop"}`, `, "web4.example.com"`
			}
			web := func(environment, more string) string {
				return `{"restartilka_services": ["nginx"], "restartilka_project": "shop", "restartilka_environment": "` + environment + `", ` + more + `}`
			}
			write(t, path, `{"_meta": {"hostvars": {
				"web01.test.example.com": `+web("testing", `"restartilka_data_centre": "dc1"`)+`,
				"web02.test.example.com": `+web("testing", `"restartilka_data_centre": "dc1"`)+`,
				"web1.example.com": `+web("production", `"restartilka_data_centre": "dc1", "restartilka_tags": "canary"`)+`,
				"web2.example.com": `+web("production", `"restartilka_data_centre": "dc2", "restartilka_tags": []`)+`,
				"web3.example.com": `+web("production", `"restartilka_data_centre": "dc2"`)+`,
				"pay1.example.com": {"restartilka_services": ["billing"], "restartilka_environment": "production", "restartilka_project": "money", "restartilka_data_centre": "dc1"}
				`+web4+`}},
				"all": {"children": ["shop-nginx-testing", "shop-nginx-production", "money-billing-production"]},
				"shop-nginx-testing": {"hosts": ["web01.test.example.com", "web02.test.example.com"]},
				"shop-nginx-production": {"hosts": ["web2.example.com", "web1.example.com", "web3.example.com"`+in+`]},
				"money-billing-production": {"hosts": ["pay1.example.com"]}}`)
		},
		ruin: func(t *testing.T) { write(t, path, `{"all": ["web1"]}`) },
		down: func(t *testing.T) { remove(t, path) },
	}
	w.config = inventory.Config{Kind: "ansible", ServicesFile: described, Now: c.now}
	if command {
		w.config.Command = []string{"cat", path}
	} else {
		w.config.Path = path
	}
	return w
}

// shop is what Conductor knows.
func shop(more bool) conductor.Data {
	d := conductor.Data{
		Groups: map[string][]conductor.Host{
			"shop-nginx-testing":       {{DataCentre: "dc1", Name: "web01.test.example.com"}, {DataCentre: "dc1", Name: "web02.test.example.com"}},
			"shop-nginx-production":    {{DataCentre: "dc2", Name: "web2.example.com"}, {DataCentre: "dc1", Name: "web1.example.com"}, {DataCentre: "dc2", Name: "web3.example.com"}},
			"money-billing-production": {{DataCentre: "dc1", Name: "pay1.example.com"}},
			"other-group":              {{DataCentre: "dc1", Name: "other1.example.com"}, {DataCentre: "dc1", Name: "web1.example.com"}},
		},
		Tags: map[string][]string{"web1.example.com": {"canary"}},
	}
	if more {
		d.Groups["shop-nginx-production"] = append(d.Groups["shop-nginx-production"], conductor.Host{DataCentre: "dc1", Name: "web4.example.com"})
	}
	return d
}

func conductorWorld(t *testing.T, format string) *world {
	described := filepath.Join(t.TempDir(), "services.yaml")
	write(t, described, services)
	c, server := newClock(), conductor.New(t)
	return &world{
		config: inventory.Config{
			Kind: "conductor", URL: server.URL + "/api", Format: format, ServicesFile: described, Tags: true,
			GroupNames: []string{"#project#-#service#-#environment#"}, Environments: []string{"testing", "prestable", "production"}, Now: c.now,
		},
		clock: c,
		set:   func(_ *testing.T, more bool) { server.Set(shop(more)) },
		ruin:  func(*testing.T) { server.Answer(signInPage) },
		down:  func(*testing.T) { server.Answer(badGateway) },
	}
}

// cachedWorld is Conductor with all that the configuration can allow.
func cachedWorld(t *testing.T) *world {
	w := conductorWorld(t, "")
	w.config.CacheDir = filepath.Join(t.TempDir(), "cache")
	w.config.StaleFor = 24 * time.Hour
	return w
}

func wantError(t *testing.T, what string, err error, code restart.Code, words ...string) {
	t.Helper()
	if restart.CodeOf(err) != code {
		t.Errorf("%s: %v (%s), want %s", what, err, restart.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want in it: %s", what, err, w)
		}
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	wantError(t, "without a source", err, restart.CodeUnavailable)
	if e, ok := errors.AsType[*restart.Error](err); !ok || e.Hint == "" {
		t.Errorf("%v has no hint", err)
	}
}

func second[T any](_ T, err error) error { return err }

func hostNames(hosts []restart.Host) string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return strings.Join(out, " ")
}

// write replaces a file as an editor does.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
