package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// fixture is a server of the pages over a real database, and somebody who has
// a token for it. Runs are written into the database as the orchestrator does.
type fixture struct {
	t       testing.TB
	store   *store.Store
	hub     *control.Hub
	site    *site
	server  *httptest.Server
	client  *http.Client // keeps cookies of its own, follows no redirects
	secret  string       // dana's token
	tokenID string
	log     *logged
	agents  *apitest.Agents
	archive *archive.Archive
	runs    int         // made so far
	asks    atomic.Bool // the rules ask for an approval

	mu      sync.Mutex
	records []audit.Record // what Record was given
}

// logged keeps what the server has logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	return newFixtureOf(t, nil, change...)
}

// newFixtureOf has an inventory of its own; nil = the usual one.
func newFixtureOf(t testing.TB, inv *inventory.Inventory, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, store: storetest.Open(t, storetest.SQLite(t)), hub: control.NewHub(), log: &logged{}, agents: apitest.NewAgents("")}
	f.archive = archive.New(archive.Config{Store: f.store, Hosts: f.agents})
	if inv == nil {
		inv = f.inventory()
	}
	sessions := authn.Sessions{Store: f.store, Tokens: f.store}
	logger := slog.New(slog.NewTextHandler(f.log, nil))
	cfg := Config{
		Control: control.New(control.Config{
			Rights: f.rights, Store: f.store, Hub: f.hub, Logger: logger, Inventory: inv, Scenarios: f.shelf(), Agents: f.agents, Dumps: f.archive,
			Wake: func(string) {}, Committed: func() {},
		}),
		Auth: sessions, Sessions: sessions, Tokens: authn.Tokens{Store: f.store}, Logger: logger,
		Entrance: entrance(f.store), People: authn.People{Store: f.store},
		Record: func(ctx context.Context, rec audit.Record) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.records = append(f.records, rec)
			return f.store.AppendAudit(ctx, rec)
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	f.site = newSite(cfg)
	f.server = httptest.NewUnstartedServer(f.site.mux)
	f.server.EnableHTTP2 = true
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.client = f.server.Client()
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f.secret, f.tokenID = f.token("dana", restart.RoleDeveloper)
	return f
}

func (f *fixture) rights() *authz.Rules {
	if !f.asks.Load() {
		return authz.Default()
	}
	rules, err := authz.Parse("rules.yaml", []byte(apitest.ApprovalRules))
	f.must(err)
	return rules
}

// entrance knows the local users of a store.
func entrance(s *store.Store) *authn.Entrance {
	return &authn.Entrance{People: authn.People{Store: s}, Passwords: []authn.Password{authn.Local{Store: s, Hasher: authn.NewHasher()}}, Throttle: &authn.Throttle{}}
}

// scenario is the only one on the shelf.
const scenarioText = `format: 1
name: nginx-restart
serial: 1
author: review@example.com
kind: restart
services: [nginx]
description: Restart out of the balancer
run_as: root
steps:
  drain: {script: "balancer out #host#"}
  run: {script: "systemctl restart nginx"}
  undrain: {script: "balancer in #host#"}
`

// inventory has one service, nginx, which is dana's.
func (f *fixture) inventory() *inventory.Inventory { return inventoryOf(f.t, "dana") }

// inventoryOf has one service, nginx, with its owners.
func inventoryOf(t testing.TB, owners string) *inventory.Inventory {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	text := "services:\n  - {name: nginx, package: nginx, unit: nginx.service, owners: [" + owners + "]}\n" +
		"groups:\n  - {name: shop_nginx-production, environment: production, services: [nginx], hosts: [web1.nginx.example.com, web2.nginx.example.com, web3.nginx.example.com]}\n" +
		"hosts:\n  - {name: web1.nginx.example.com}\n  - {name: web2.nginx.example.com}\n  - {name: web3.nginx.example.com}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.New(inventory.Config{Kind: "yaml", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func (f *fixture) shelf() *control.Shelf {
	f.t.Helper()
	dir := f.t.TempDir()
	f.must(os.WriteFile(filepath.Join(dir, "nginx-restart.yaml"), []byte(scenarioText), 0o600))
	shelf, err := control.NewShelf(dir, slog.New(slog.DiscardHandler))
	f.must(err)
	return shelf
}

// token makes a token for somebody.
func (f *fixture) token(owner string, roles ...restart.Role) (secret, id string) {
	f.t.Helper()
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	t := store.Token{ID: restart.NewID(now), Name: "test", Owner: owner, Roles: roles, Hash: hash, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	f.must(f.store.CreateToken(f.t.Context(), t))
	return secret, t.ID
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// do asks for a path; headers come in pairs.
func (f *fixture) do(method, path, body string, headers ...string) answer {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, f.server.URL+path, strings.NewReader(body))
	f.must(err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := f.client.Do(req)
	f.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	f.must(err)
	return answer{res, string(b)}
}

// post sends a form as a browser does from one of our own pages.
func (f *fixture) post(path string, form url.Values, headers ...string) answer {
	f.t.Helper()
	return f.do("POST", path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded", "Origin", f.server.URL, "Sec-Fetch-Site", "same-origin"}, headers...)...)
}

// signIn gives the cookie of a new session of dana's.
func (f *fixture) signIn() string {
	f.t.Helper()
	res := f.post("/sign-in", url.Values{"name": {"dana"}, "secret": {f.secret}})
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		f.t.Fatalf("sign-in: %s, cookies %v\n%s", res.Status, res.Cookies(), res.body)
	}
	c := res.Cookies()[0]
	return c.Name + "=" + c.Value
}

// newRun stores a queued run over hosts web1 … webN, in batches.
func (f *fixture) newRun(service string, batches ...int) restart.Run {
	f.t.Helper()
	f.runs++ // ids sort by their millisecond
	now := time.Now().UTC().Add(time.Duration(f.runs)*time.Millisecond - time.Minute).Truncate(time.Microsecond)
	plan := restart.Plan{
		Scenario: service + "-restart", Digest: strings.Repeat("4d1c0a97", 8), Kind: restart.KindRestart, Service: restart.Service{Name: service},
		Environment: "production", Group: "shop_" + service + "-production", Batches: batches, MadeAt: now, InventoryAt: now,
	}
	run := restart.Run{
		ID: restart.NewID(now), Scenario: plan.Scenario, Digest: plan.Digest, Kind: plan.Kind, Service: service, Environment: plan.Environment, Group: plan.Group,
		Actor: "dana", Via: "cli", Reason: "502s since the 14:00 deploy, workers hang", State: restart.RunQueued, CreatedAt: now,
	}
	for batch, n := range batches {
		for range n {
			i := len(run.Tasks)
			host := restart.Host{Name: fmt.Sprintf("web%d.%s.example.com", i+1, service), DataCentre: "ams"}
			plan.Hosts = append(plan.Hosts, restart.PlannedHost{Host: host, Health: restart.HealthHealthy})
			run.Tasks = append(run.Tasks, restart.Task{ID: restart.NewID(now), RunID: run.ID, Host: host.Name, Position: i, Batch: batch, Attempt: 1, State: restart.TaskPlanned})
		}
	}
	run.Plan = &plan
	return run
}

func (f *fixture) create(run restart.Run) restart.Run {
	f.t.Helper()
	_, err := f.store.CreateRun(f.t.Context(), run, "", nil, nil)
	f.must(err)
	return run
}

// apply commits a change and tells those who watch the run.
func (f *fixture) apply(c store.Change) {
	f.t.Helper()
	if c.At.IsZero() {
		c.At = time.Now().UTC()
	}
	_, err := f.store.Apply(f.t.Context(), c)
	f.must(err)
	f.hub.Changed(c.RunID)
}

// to moves a run along the states that lead to one.
func (f *fixture) to(run restart.Run, state restart.RunState, cause restart.Cause, why string) {
	f.t.Helper()
	path := map[restart.RunState][]restart.RunState{
		restart.RunRunning: {restart.RunRunning}, restart.RunPaused: {restart.RunRunning, restart.RunPaused}, restart.RunCompleted: {restart.RunRunning, restart.RunCompleted},
		restart.RunFailed: {restart.RunRunning, restart.RunFailed}, restart.RunAborted: {restart.RunRunning, restart.RunAborted}, restart.RunQueued: {},
	}[state]
	for _, s := range path {
		current, err := f.store.Run(f.t.Context(), run.ID)
		f.must(err)
		if current.State == s {
			continue
		}
		change := &store.RunChange{To: s, SetStarted: true, SetFinished: s.Final()}
		if s == state {
			change.Cause, change.Explanation = cause, why
		}
		f.apply(store.Change{RunID: run.ID, Run: change})
	}
}

// task moves a host of a run to a state, with what its agent says of it.
func (f *fixture) task(run restart.Run, position int, state restart.TaskState, change store.TaskChange, said *protocol.TaskStatus) {
	f.t.Helper()
	now := time.Now().UTC()
	current, err := f.store.Run(f.t.Context(), run.ID)
	f.must(err)
	t := restart.Latest(current.Tasks)[position]
	order := []restart.TaskState{restart.TaskPlanned, restart.TaskIntentLogged, restart.TaskDispatching, restart.TaskAccepted, restart.TaskRunning}
	change.ID = t.ID
	at := slices.Index(order, t.State)
	for _, s := range order[at+1:] {
		if last := len(change.Path); (last > 0 && change.Path[last-1] == state) || (state.Final() && order[at+last].CanBecome(state)) {
			break
		}
		change.Path = append(change.Path, s)
	}
	if len(change.Path) == 0 || change.Path[len(change.Path)-1] != state {
		change.Path = append(change.Path, state)
	}
	if t.State == state {
		change.Path = nil
	}
	if change.StartedAt == nil && t.StartedAt == nil && state != restart.TaskNotStarted {
		change.StartedAt = &now
	}
	if state.Final() && change.FinishedAt == nil {
		change.FinishedAt = &now
	}
	if said != nil {
		change.Detail, err = json.Marshal(said)
		f.must(err)
	}
	f.apply(store.Change{RunID: run.ID, Tasks: []store.TaskChange{change}})
}
