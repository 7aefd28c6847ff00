// Package apitest runs the server's API for tests: the real routes, service
// layer, orchestrator and SQLite store behind TLS, over agents that only
// pretend. Tests of what happens on a host use real agents instead.
package apitest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api"
	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/internal/wire"
)

// Inventory is what the server knows: anna owns shop, on three hosts in two
// data centres; nobody owns bare.
const Inventory = `
services:
  - {name: shop, package: shop, unit: shop.service, port: 8080, project: web, owners: [anna]}
  - {name: bare, package: bare, unit: bare.service}
groups:
  - {name: shop-production, project: web, environment: production, services: [shop], hosts: [web1, web2, web3]}
  - {name: bare-production, environment: production, services: [bare], hosts: [web4]}
hosts:
  - {name: web1, address: 192.0.2.1, data_centre: dc1, tags: [edge]}
  - {name: web2, address: 192.0.2.2, data_centre: dc1}
  - {name: web3, address: 192.0.2.3, data_centre: dc2}
  - {name: web4, address: 192.0.2.4, data_centre: dc2}
`

// Scenario restarts any service, one host at a time.
const Scenario = `format: 1
name: plain-restart
serial: 1
author: review@example.com
kind: restart
services: ["*"]
description: Restart the unit
run_as: root
params:
  grace: {type: duration, default: 1s}
strategy:
  batches: [1]
  on_failure: pause
steps:
  run: {script: "systemctl restart #unit#"}
health:
  new_process: {unit: "#unit#"}
  healthy_for: 1s
  deadline: 10s
`

// Server is a running API with everything behind it.
type Server struct {
	URL     string
	CAFile  string
	CAPEM   []byte
	Dir     string // has its inventory.yaml
	Shelf   string // the folder of its scenarios
	Store   *store.Store
	Control *control.Control
	Agents  *Agents
	Archive *archive.Archive
	API     api.Config
	HTTP    *httptest.Server
	Process *Process
	Log     *Log // between requests and hosts
	// Receivers of messages, for who tries them; as they are when they are asked for.
	Receivers notify.Receivers

	t     testing.TB
	teams sync.Map                    // person → []string
	rules atomic.Pointer[authz.Rules] // nil = the shipped ones
}

// Rights has the server decide by other rules from now on: the text of a
// rules.yaml.
func (s *Server) Rights(text string) {
	s.t.Helper()
	rules, err := authz.Parse("rules.yaml", []byte(text))
	s.must(err)
	s.rules.Store(rules)
}

// AskApproval has the rules ask for an approval of restarts in production, from
// now on.
func (s *Server) AskApproval() { s.Rights(ApprovalRules) }

// ApprovalRules are the shipped rules with a question before restarts in
// production; its name is "rules.yaml, line 10".
const ApprovalRules = `format: 1
roles: {developer: [everybody]}
rules:
  - {allow: [see], to: [everybody]}
  - {allow: [restart, dump, control, approve], to: [owners]}
  - {allow: [break-glass], to: ["role:break-glass"]}
  - {allow: [audit, review-break-glass], to: ["role:auditor"]}
  - {allow: [all], to: ["role:admin"]}
approval:
  - {environments: [production], within: 1h}
`

// Teams puts a person into teams, as a directory would.
func (s *Server) Teams(person string, teams ...string) { s.teams.Store(person, teams) }

// told are the Receivers that a server has now.
type told struct{ s *Server }

func (x told) List() []wire.Receiver { return x.s.Receivers.List() }

func (x told) Find(name string) (wire.Receiver, error) { return x.s.Receivers.Find(name) }

func (x told) Try(ctx context.Context, id string, n wire.Notification) error {
	return x.s.Receivers.Try(ctx, id, n)
}

// withTeams adds the teams of a person.
func (s *Server) withTeams(actor restart.Actor) restart.Actor {
	if teams, ok := s.teams.Load(actor.Name); ok {
		actor.Teams = append(actor.Teams, teams.([]string)...)
	}
	return actor
}

// teamed is a way of signing in whose people are in teams.
type teamed struct {
	authn.Method
	s *Server
}

func (m teamed) Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error) {
	actor, err := m.Method.Authenticate(ctx, r)
	return m.s.withTeams(actor), err
}

// directory knows people and their teams.
type directory struct {
	authn.People
	s *Server
}

func (d directory) Person(ctx context.Context, name string) (restart.Actor, error) {
	actor, err := d.People.Person(ctx, name)
	return d.s.withTeams(actor), err
}

func (d directory) Present(ctx context.Context, name string) (restart.Actor, error) {
	actor, err := d.People.Present(ctx, name)
	return d.s.withTeams(actor), err
}

func (s *Server) inForce() *authz.Rules {
	if rules := s.rules.Load(); rules != nil {
		return rules
	}
	return authz.Default()
}

// Start runs a server until the end of the test. change may be nil; it changes
// the API's configuration before the start.
func Start(t testing.TB, change func(*api.Config)) *Server {
	t.Helper()
	return StartOn(t, storetest.Open(t, storetest.SQLite(t)), change)
}

// StartOn is Start over a store that may hold something already.
func StartOn(t testing.TB, over *store.Store, change func(*api.Config)) *Server {
	t.Helper()
	return start(t, over, change)
}

// StartReviewed is Start of a server that lets through only what was signed.
// Each change changes the configuration of its service layer.
func StartReviewed(t testing.TB, review control.Review, changes ...func(*control.Config)) *Server {
	t.Helper()
	return start(t, storetest.Open(t, storetest.SQLite(t)), nil, append([]func(*control.Config){func(c *control.Config) { c.Review = review }}, changes...)...)
}

func start(t testing.TB, over *store.Store, change func(*api.Config), below ...func(*control.Config)) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{t: t, Dir: dir, Agents: NewAgents("restarted\n"), Store: over, Process: newProcess(), Log: &Log{}}
	s.Shelf = s.writeAll(dir)
	shelf, err := control.NewShelf(s.Shelf, slog.New(slog.DiscardHandler))
	s.must(err)
	inv, err := inventory.New(inventory.Config{Kind: "yaml", Path: filepath.Join(dir, "inventory.yaml")})
	s.must(err)
	ca, err := pki.NewCA("test", time.Now())
	s.must(err)
	s.CAPEM = ca.CertPEM()
	s.CAFile = filepath.Join(dir, "ca.crt")
	s.must(os.WriteFile(s.CAFile, s.CAPEM, 0o644))
	key, err := pki.GenerateEnvelopeKey()
	s.must(err)

	hub := control.NewHub()
	s.Archive = archive.New(archive.Config{Store: s.Store, Hosts: s.Agents})
	o := orchestrator.New(orchestrator.Config{
		Owner: "test", Runs: s.Store, Tasks: s.Store, Agents: s.Agents, Dumps: s.Archive, Key: key,
		Changed: hub.Changed, Poll: 50 * time.Millisecond, DialRetry: time.Millisecond,
		MayGoOn: func(ctx context.Context, run restart.Run) (restart.Cause, string) { return s.Control.MayGoOn(ctx, run) }, Trail: s.Log,
	})
	service := control.Config{
		Store: s.Store, Inventory: inv, Scenarios: shelf, Agents: s.Agents, Dumps: s.Archive, Hub: hub, Wake: o.Wake, Committed: func() {},
		Channels: func(wire.Notification) []string { return []string{"test"} }, Receivers: told{s}, URL: "https://restartilka.example.com",
		Rights: s.inForce, People: directory{authn.People{Store: s.Store}, s}, Server: s.Process, Trail: s.Log,
		Enrol: &control.Enrolment{
			CA: ca, CAPEM: s.CAPEM, Server: "test", EnvelopeKeys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)},
			Pin: func() (pki.Pin, error) { return pki.PinOf(s.HTTP.Certificate()), nil },
		},
	}
	for _, c := range below {
		c(&service)
	}
	s.Control = control.New(service)
	s.API = api.Config{
		Control: s.Control,
		Authn:   authn.Chain{teamed{authn.Keys{Store: s.Store}, s}, teamed{authn.Tokens{Store: s.Store}, s}, authn.Sessions{Store: s.Store, Tokens: s.Store}},
	}
	if change != nil {
		change(&s.API)
	}
	s.serve(ca, o)
	return s
}

// writeAll lays out inventory and scenarios; it gives the scenarios' folder.
func (s *Server) writeAll(dir string) string {
	shelf := filepath.Join(dir, "scenarios")
	s.must(os.Mkdir(shelf, 0o755))
	s.must(os.WriteFile(filepath.Join(dir, "inventory.yaml"), []byte(Inventory), 0o644))
	s.must(os.WriteFile(filepath.Join(shelf, "plain-restart.yaml"), []byte(Scenario), 0o644))
	return shelf
}

func (s *Server) serve(ca *pki.CA, o *orchestrator.Orchestrator) {
	ctx, stop := context.WithCancel(context.Background())
	var walking sync.WaitGroup
	walking.Go(func() { o.Run(ctx) })

	s.HTTP = httptest.NewUnstartedServer(api.Handler(s.API))
	s.HTTP.Config.BaseContext = func(net.Listener) context.Context { return ctx } // streams end with it
	certPEM, keyPEM, err := ca.IssueServer("test", []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	s.must(err)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	s.must(err)
	s.HTTP.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	s.HTTP.EnableHTTP2 = true
	s.HTTP.StartTLS()
	s.URL = s.HTTP.URL
	s.t.Cleanup(func() {
		stop()
		s.HTTP.Close()
		walking.Wait()
	})
}

// Token makes a token for somebody with some roles, and gives its secret.
func (s *Server) Token(owner string, roles ...restart.Role) string {
	s.t.Helper()
	secret, hash := authn.NewSecret()
	now := time.Now().UTC()
	s.must(s.Store.CreateToken(context.Background(), store.Token{
		ID: restart.NewID(now), Name: "test", Owner: owner, Roles: roles, Hash: hash, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}))
	return secret
}

// Answer is a response whose body is closed with the test.
type Answer struct{ *http.Response }

// Request asks the API; token "" is none.
func (s *Server) Request(method, path, token string, body []byte, header http.Header) Answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, bytes.NewReader(body))
	s.must(err)
	maps.Copy(req.Header, header)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.HTTP.Client().Do(req)
	s.must(err)
	s.t.Cleanup(func() { resp.Body.Close() })
	return Answer{resp}
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
