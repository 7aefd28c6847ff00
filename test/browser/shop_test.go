package browser

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// shop is an invented company with a past, for pictures and for all that looks
// at every page: real programs, a real run that goes on, and runs of before
// written into the database as the orchestrator would have.
type shop struct {
	*fixture
	reviewers *apitest.Reviewers
	store     *store.Store // while the past is written
	runs      map[string]restart.Run
	tabs      map[string]*tab
	versions  map[string]string // digests
	secrets   map[string]string // tokens, by the person
	dumps     map[string]string // ids
	planned   map[string]string // ids of what is planned for later, by the service
}

// The people of the shop.
const (
	nobody    = ""
	developer = "dana"
	approver  = "maria"
	reviewer  = "ivan"
	admin     = "root"
)

const (
	checkout = "checkout"
	payments = "payments"
)

// group is the name of a service's group of hosts.
func group(service string) string { return "shop_" + service + "-production" }

// shopHosts have agents.
var shopHosts = []string{
	"checkout1.ams.shop.example", "checkout2.ams.shop.example", "checkout3.fra.shop.example", "checkout4.fra.shop.example",
	"payments1.ams.shop.example", "payments2.fra.shop.example", "search1.ams.shop.example",
}

func hostsOf(service string) (out []string) {
	for _, h := range shopHosts {
		if strings.HasPrefix(h, service) {
			out = append(out, h)
		}
	}
	return out
}

func newShop(t testing.TB) *shop {
	t.Helper()
	program := chromium(t)
	s := &shop{
		fixture: &fixture{t: t, gates: filepath.Join(t.TempDir(), "gates")}, runs: map[string]restart.Run{}, tabs: map[string]*tab{}, versions: map[string]string{}, secrets: map[string]string{}, dumps: map[string]string{}, planned: map[string]string{},
		reviewers: apitest.NewReviewers(t, "anna@example.com", "olga@example.com", "ivan@example.com"),
	}
	must(t, os.Mkdir(s.gates, 0o700))
	s.Company = company.New(t, company.Options{
		Names: shopHosts, Prepare: s.prepare,
		Scenario: func(*company.Company) (string, string) { return "checkout-restart", s.checkoutRecipe() },
		Server:   fmt.Sprintf("review: signed\nscenario_signers: %s\nscenario_revoked: %s\nssh: {listen: 127.0.0.1:0, host_keys: [ssh_host_ed25519_key]}\nschedules: {windows: [{name: nightly, zone: Europe/Amsterdam, weekly: [mon 03:00-mon 05:00, thu 03:00-thu 05:00]}]}\n", s.reviewers.Signers, s.reviewers.Revoked) + withChat(t) + withReceivers(t),
	})
	t.Cleanup(func() { os.RemoveAll(s.gates) }) // scripts that still wait give up then
	s.browser = start(t, program, publicKey(t, s.URL, s.CA))
	s.people()
	s.review()
	s.present()
	return s
}

// prepare lays the inventory, the rules and the past before anything runs.
func (s *shop) prepare(c *company.Company) {
	me, err := user.Current()
	must(s.t, err)
	inventory := "services:\n"
	for _, x := range [][3]string{
		{checkout, "jvm", "Basket, address and order"}, {payments, "jvm", "Talks to the banks"}, {"search", "go", "Finds what customers mean"},
		{"catalogue", "python", "Articles, prices and pictures"}, {"mail-out", "go", "Letters to customers"},
	} {
		inventory += fmt.Sprintf("  - {name: %s, description: %q, runtime: %s, unit: %s.service, project: shop, owners: [%s, %s]}\n", x[0], x[2], x[1], x[0], developer, approver)
	}
	inventory += "groups:\n"
	for _, name := range []string{checkout, payments, "search"} {
		inventory += fmt.Sprintf("  - {name: %s, project: shop, environment: production, services: [%s], hosts: [%s]}\n", group(name), name, strings.Join(hostsOf(name), ", "))
	}
	inventory += "  - {name: shop_search-staging, project: shop, environment: staging, services: [search], hosts: [search1.stage.shop.example, search2.stage.shop.example]}\n" +
		"hosts:\n  - {name: search1.stage.shop.example}\n  - {name: search2.stage.shop.example}\n"
	for i, h := range c.Hosts {
		centre := strings.Split(h.Name, ".")[1]
		inventory += fmt.Sprintf("  - {name: %s, address: %s, data_centre: %s, tags: [rack%d]}\n", h.Name, h.Address, centre, i%3+1)
		config := filepath.Join(h.Dir, "agent.yaml")
		b, err := os.ReadFile(config)
		must(s.t, err)
		service, _, _ := strings.Cut(h.Name, ".")
		service = strings.TrimRight(service, "0123456789")
		text := strings.NewReplacer(demo.GroupName, group(service), "environments: ["+demo.Environment+"]", "environments: [production]").Replace(string(b))
		must(s.t, os.WriteFile(config, []byte(text), 0o600))
		must(s.t, os.WriteFile(filepath.Join(h.Dir, "services.d", service+".yaml"), []byte("unit: "+service+".service\nuser: "+me.Username+"\n"), 0o600))
		for name, text := range map[string]string{"payments-restart": paymentsRecipe(1), "search-restart": searchRecipe} {
			must(s.t, os.WriteFile(filepath.Join(h.Dir, "scenarios.d", name+".yaml"), []byte(text), 0o600))
		}
	}
	must(s.t, os.WriteFile(filepath.Join(c.ServerDir(), "inventory.yaml"), []byte(inventory), 0o600))
	must(s.t, os.WriteFile(filepath.Join(c.ServerDir(), "rules.yaml"), []byte(shopRules), 0o600))
	s.store, err = store.Open(s.t.Context(), store.Config{DSN: "sqlite:" + c.Database()})
	must(s.t, err)
	s.past()
	s.linked()
	must(s.t, s.store.Close())
}

const shopRules = `format: 1
roles: {developer: [everybody]}
rules:
  - {allow: [see], to: [everybody]}
  - {allow: [restart, dump, control, approve, break-glass], to: [owners]}
  - {allow: [all], to: ["role:admin"]}
approval:
  - {services: [payments], environments: [production], within: 8h}
`

// checkoutRecipe prints what one would, and waits for the gate of its task.
func (s *shop) checkoutRecipe() string {
	return fmt.Sprintf(`format: 1
name: checkout-restart
serial: 4
author: anna@example.com
kind: restart
services: [checkout]
description: Restart checkout, out of the balancer while it is down
strategy: {batches: [1], min_available: N-1, task_timeout: 5m}
steps:
  drain: {script: 'echo "balancer: #host# is out, 0 connections left"'}
  run:
    script: |
      echo "checkout.service: stopping, pid 48211"
      printf '\033[33mWARN\033[0m  8 requests still open, waiting\n'
      echo "checkout.service: stopped after 3.2 s"
      while [ ! -e %[1]s/$RESTARTILKA_TASK ]; do [ -d %[1]s ] || exit 1; sleep 0.1; done
      echo "checkout.service: started, pid 51877"
  undrain: {script: 'echo "balancer: #host# is in"', when: healthy}
health:
  command: {script: "getent hosts localhost > /dev/null"}
  interval: 200ms
  deadline: 60s
`, s.gates)
}

const searchRecipe = `format: 1
name: search-restart
serial: 11
author: anna@example.com
kind: restart
services: [search]
description: Restart search
strategy: {batches: [1], task_timeout: 5m}
steps:
  run: {script: "systemctl restart #unit#"}
`

func paymentsRecipe(serial int) string {
	text := fmt.Sprintf(`format: 1
name: payments-restart
serial: %d
author: anna@example.com
kind: restart
services: [payments]
description: Restart payments, one host at a time, out of the balancer
strategy: {batches: [1], min_available: N-1, task_timeout: 5m}
steps:
  drain:
    script: |
      balancer out #host#
      balancer wait-idle #host# --for 30s
  run: {script: "systemctl restart #unit#"}
  undrain: {script: "balancer in #host#", when: healthy}
health:
  command: {script: "getent hosts localhost > /dev/null"}
  healthy_for: 10s
  deadline: 120s
`, serial)
	if serial > 1 {
		text = strings.NewReplacer("      balancer wait-idle #host# --for 30s\n", "      balancer wait-idle #host# --for 60s   # banks are slow at month's end\n      payments-cli flush --wait\n", "healthy_for: 10s", "healthy_for: 20s").Replace(text)
	}
	return text
}

// people get tokens, with which they sign in.
func (s *shop) people() {
	for name, roles := range map[string][]restart.Role{
		developer: {restart.RoleDeveloper, restart.RoleBreakGlass}, approver: {restart.RoleDeveloper, restart.RoleAuditor, restart.RoleAdmin}, reviewer: {restart.RoleDeveloper, restart.RoleReviewer}, admin: {restart.RoleAdmin},
	} {
		token, err := s.Admin.CreateToken(s.t.Context(), wire.TokenRequest{Name: "laptop", Owner: name, Roles: roles})
		must(s.t, err)
		s.secrets[name] = token.Secret
	}
	for name, roles := range map[string][]restart.Role{"mei": {restart.RoleAuditor}, "tomas": nil} {
		_, err := s.Admin.CreateUser(s.t.Context(), wire.UserRequest{Name: name, Roles: roles})
		must(s.t, err)
	}
	s.DevToken = s.secrets[developer]
	s.Dev = s.Client(s.DevToken)
}

// review brings scenarios in force, and one that waits for a signature.
func (s *shop) review() {
	for _, p := range []struct {
		name, body string
		by         []string
	}{
		{"checkout", s.checkoutRecipe(), []string{"olga@example.com", "ivan@example.com"}},
		{"payments", paymentsRecipe(1), []string{"olga@example.com", "ivan@example.com"}},
		{"search", searchRecipe, []string{"olga@example.com", "ivan@example.com"}},
		{"waiting", paymentsRecipe(2), []string{"olga@example.com"}},
	} {
		proposal := wire.ScenarioProposal{Body: p.body}
		for _, who := range p.by {
			proposal.Signatures = append(proposal.Signatures, s.reviewers.Sign(who, p.body))
		}
		_, err := s.Admin.Propose(s.t.Context(), proposal)
		must(s.t, err)
		s.versions[p.name] = scenario.Digest([]byte(p.body))
	}
}

// present makes what is going on now: a run on its second host, one that waits
// for an approval, a plan, and freezes.
func (s *shop) present() {
	draft := func(service, reason string) restart.Run {
		run, err := s.Dev.Draft(s.t.Context(), restart.Request{Service: service, Environment: "production", Reason: reason, Ticket: "SHOP-4812"}, "")
		must(s.t, err)
		return run
	}
	begin := func(run restart.Run) restart.Run {
		run, err := s.Dev.Start(s.t.Context(), run.ID, wire.StartRequest{})
		must(s.t, err)
		return run
	}
	narrow, err := s.Dev.Draft(s.t.Context(), restart.Request{Service: payments, Environment: "production", Reason: "settlements hang since the certificate of the bank changed", Hosts: hostsOf(payments)[0]}, "")
	must(s.t, err)
	s.runs["narrow"] = narrow
	s.runs["draft"] = draft(payments, "settlements hang since the certificate of the bank changed")
	s.runs["awaiting"] = begin(draft(payments, "connection pool is full, customers wait 20 s to pay"))
	s.runs["running"] = begin(draft(checkout, "502s since the 14:00 deploy, workers hang"))
	s.release(s.runs["running"].Tasks[0])
	for _, f := range []wire.FreezeRequest{
		{Environments: []string{"staging"}, To: time.Now().Add(30 * time.Hour).UTC().Format(time.RFC3339), Reason: "load test of the new payment terminals"},
		{Environments: []string{restart.EveryEnvironment}, Weekly: "fri 18:00-mon 08:00", Zone: "Europe/Amsterdam", Services: []string{"mail-out"}, Reason: "nobody is there at weekends"},
	} {
		_, err := s.Admin.AddFreeze(s.t.Context(), f)
		must(s.t, err)
	}
	_, err = s.Admin.AddFreeze(s.t.Context(), wire.FreezeRequest{Environments: []string{"production"}, Services: []string{"search"}, To: time.Now().Add(20 * time.Hour).UTC().Format(time.RFC3339), Reason: "the autumn sale is on, and everybody searches"})
	must(s.t, err)
	glass, err := s.Dev.Start(s.t.Context(), draft("search", "no answer at all, customers see an empty page").ID, wire.StartRequest{BreakGlass: true})
	must(s.t, err)
	for service, more := range map[string]wire.LaterRequest{
		checkout: {At: time.Now().AddDate(0, 0, 1).Format("2006-01-02") + "T03:00", Zone: "Europe/Amsterdam"},
		payments: {At: time.Now().Add(40 * time.Hour).UTC().Format(time.RFC3339)},
	} {
		p, err := s.Dev.Later(s.t.Context(), draft(service, "the new certificate is read at a start only").ID, more)
		must(s.t, err)
		s.planned[service] = p.ID
	}
	cancelled, err := s.Dev.Later(s.t.Context(), draft(checkout, "heap above 90 % on two hosts").ID, wire.LaterRequest{At: time.Now().Add(50 * time.Hour).UTC().Format(time.RFC3339)})
	must(s.t, err)
	_, err = s.Dev.CancelPlanned(s.t.Context(), cancelled.ID)
	must(s.t, err)
	s.runs["frozen"] = draft("search", "answers come twice since the index was moved")
	s.Until(glass.ID, restart.RunFailed, restart.RunPaused)
	s.Eventually("messages that are not taken", func() bool {
		list, err := s.Admin.Receivers(s.t.Context())
		return err == nil && list[0].Failure != ""
	})
	s.Eventually("the second host to be worked on", func() bool {
		run, err := s.Dev.Run(s.t.Context(), s.runs["running"].ID)
		return err == nil && restart.Latest(run.Tasks)[1].State == restart.TaskRunning
	})
}

// weekly is a reason of checkout that comes back.
const weekly = "weekly restart until the leak is found"

// past writes runs of the last weeks.
func (s *shop) past() {
	now := time.Now().UTC().Truncate(time.Microsecond)
	s.was(was{name: "done", service: checkout, by: developer, ago: 3 * time.Hour, took: 4 * time.Minute, reason: "heap above 90 % on two hosts", state: restart.RunCompleted}, now)
	s.was(was{name: "failed", service: "search", by: "tomas", ago: 26 * time.Hour, took: 2 * time.Minute, reason: "new synonyms are not read without a restart", state: restart.RunFailed, broken: 2}, now)
	s.was(was{name: "paused", service: "catalogue", by: developer, ago: 50 * time.Minute, took: time.Minute, reason: "pictures of new articles are missing", state: restart.RunPaused, broken: 2}, now)
	s.was(was{name: "aborted", service: "mail-out", by: "mei", ago: 49 * time.Hour, took: time.Minute, reason: "queue stands still after the failover", state: restart.RunAborted}, now)
	s.pastDumps(now)
	reasons := []string{weekly, "certificate was renewed", "time zone data is new", "stuck after the network was away", "memory grows by a gigabyte a day"}
	for i := range 14 {
		service := []string{checkout, payments, "search", "catalogue", "mail-out"}[i%5]
		s.was(was{service: service, by: []string{developer, "mei", "tomas"}[i%3], ago: time.Duration(i+3) * 25 * time.Hour, took: time.Duration(90+i*17) * time.Second, reason: reasons[i*3%5], state: restart.RunCompleted}, now)
	}
}

// was is one run of the past.
type was struct {
	name, service, by, reason string
	kind                      restart.Kind // "" = a restart
	ago, took                 time.Duration
	state                     restart.RunState
	broken                    int // number of the host that failed, from 1
}

func (s *shop) was(w was, now time.Time) {
	at := now.Add(-w.ago)
	hosts := hostsOf(w.service)
	for i := len(hosts) + 1; i <= 3; i++ {
		hosts = append(hosts, fmt.Sprintf("%s%d.%s.shop.example", w.service, i, []string{"ams", "fra"}[i%2]))
	}
	run := restart.Run{
		ID: restart.NewID(at), Scenario: w.service + "-restart", Digest: strings.Repeat("4d1c0a97", 8), Kind: cmp.Or(w.kind, restart.KindRestart), Service: w.service, Environment: "production", Group: group(w.service),
		Project: "shop", Actor: w.by, Via: "web", Reason: w.reason, State: restart.RunQueued, CreatedAt: at,
	}
	run.Plan = &restart.Plan{Scenario: run.Scenario, Digest: run.Digest, Kind: run.Kind, Service: restart.Service{Name: w.service}, Environment: run.Environment, Group: run.Group, Project: "shop", MadeAt: at, InventoryAt: at}
	each := w.took / time.Duration(len(hosts))
	started := store.Change{RunID: run.ID, At: at.Add(2 * time.Second), Run: &store.RunChange{To: restart.RunRunning, SetStarted: true}}
	for i, host := range hosts {
		task := restart.Task{ID: restart.NewID(at), RunID: run.ID, Host: host, Position: i, Batch: i, Attempt: 1, State: restart.TaskPlanned}
		run.Tasks = append(run.Tasks, task)
		run.Plan.Batches = append(run.Plan.Batches, 1)
		run.Plan.Hosts = append(run.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: host, DataCentre: strings.Split(host, ".")[1]}, Health: restart.HealthHealthy, Agent: "ready"})
		started.Tasks = append(started.Tasks, w.task(task, at.Add(2*time.Second+time.Duration(i)*each), each))
	}
	_, err := s.store.CreateRun(s.t.Context(), run, "", nil, nil)
	must(s.t, err)
	_, err = s.store.Apply(s.t.Context(), started)
	must(s.t, err)
	end := store.RunChange{To: w.state, SetFinished: w.state.Final()}
	if w.broken > 0 {
		end.Cause, end.Explanation = restart.CauseFailure, hosts[w.broken-1]+": failed, health: "+unwell
		if w.state == restart.RunPaused {
			end.Cause, end.Explanation = restart.CauseUnknown, hosts[w.broken-1]+": unknown, "+silent
		}
	}
	_, err = s.store.Apply(s.t.Context(), store.Change{RunID: run.ID, At: at.Add(w.took), Run: &end})
	must(s.t, err)
	if w.name != "" {
		s.runs[w.name] = run
	}
}

// What is said of a host, word for word, so that a page in Russian knows it.
const (
	unwell = "not healthy within 1 minute: for the last 20 seconds: unit search.service is failed (failed)"
	silent = "the host did not answer for 5 minutes: whether the script ran is not known (dial tcp 10.20.1.7:3131: i/o timeout)"
)

// task gives how the work on one host went.
func (w was) task(t restart.Task, from time.Time, took time.Duration) store.TaskChange {
	c := store.TaskChange{ID: t.ID, Path: []restart.TaskState{restart.TaskNotStarted}}
	if (w.broken > 0 && t.Position >= w.broken) || (w.state == restart.RunAborted && t.Position > 0) {
		if w.state == restart.RunPaused {
			c.Path = nil
		}
		return c
	}
	to, state, result := from.Add(took), restart.TaskSucceeded, ""
	if w.broken == t.Position+1 {
		state, result = restart.TaskFailed, "health: "+unwell
		if w.state == restart.RunPaused {
			state, result = restart.TaskUnknown, silent
		}
	}
	c.Path = []restart.TaskState{restart.TaskIntentLogged, restart.TaskDispatching, restart.TaskAccepted, restart.TaskRunning, state}
	c.StartedAt, c.FinishedAt, c.Error = &from, &to, result
	said := protocol.TaskStatus{Task: t.ID, Run: t.RunID, Service: w.service, Revision: 9, ReceivedAt: from, StartedAt: &from, FinishedAt: &to, Containment: "cgroup", Error: result}
	for i, phase := range []protocol.Phase{protocol.PhaseDrain, protocol.PhaseRun, protocol.PhaseHealth, protocol.PhaseUndrain} {
		begin := from.Add(took * time.Duration(i) / 4)
		end := from.Add(took * time.Duration(i+1) / 4)
		report := protocol.PhaseReport{Phase: phase, StartedAt: begin, FinishedAt: &end}
		if result != "" && phase == protocol.PhaseHealth {
			report.Error = strings.TrimPrefix(result, "health: ")
		}
		said.Phases = append(said.Phases, report)
		if report.Error != "" {
			break
		}
	}
	if state == restart.TaskFailed {
		said.Evidence = []protocol.EvidenceItem{{Kind: "journal", Text: "systemd[1]: search.service: Main process exited, code=exited, status=1/FAILURE\nsearch[9120]: FATAL synonyms.txt:2214: unexpected end of line\n"}}
	}
	var err error
	if c.Detail, err = json.Marshal(said); err != nil {
		panic(err)
	}
	return c
}

// as gives the tab of a person, who signs in the first time.
func (s *shop) as(name string) *tab {
	s.t.Helper()
	if s.tabs[name] != nil {
		return s.tabs[name]
	}
	b := open(s.browser, s.t, s.URL)
	s.tabs[name] = b
	b.zone("Europe/Amsterdam")
	if l := os.Getenv("RESTARTILKA_LANGUAGE"); l != "" {
		b.visit("/sign-in")
		b.press("button[name=language][value=" + l + "]")
		b.until("document.documentElement.lang === '" + l + "' && document.readyState === 'complete'")
	}
	if name != nobody {
		s.signIn(b, name, s.secrets[name])
	}
	return b
}
