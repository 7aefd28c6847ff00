package monitoring

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
	"github.com/restartilka/restartilka/test/foreign/alertmanager"
	"github.com/restartilka/restartilka/test/foreign/fleetlock"
	"github.com/restartilka/restartilka/test/foreign/gitlab"
	"github.com/restartilka/restartilka/test/foreign/telegram"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

const reason = "workers hang since the 14:00 deploy"

// watched is a company and the Prometheus that scrapes it.
type watched struct {
	*company.Company
	*prometheus
	token string // a viewer's
	fail  string // while this file is there, scripts fail

	gate  *trouble.Gate // before the Alertmanager that is silenced
	slots *fleetlock.Server
	takes atomic.Bool // whether the receiver of messages takes any
}

// outside is what the server is told of others: one system of each sort. Secrets
// go to files in dir.
func (w *watched) outside(t *testing.T, dir string) string {
	t.Helper()
	alerts, gate := alertmanager.Start(t).Front()
	lab, people := gitlab.Start(t), telegram.Start(t)
	lab.Add(gitlab.Issue{Number: 17, Title: "Workers hang"})
	w.gate, w.slots = gate, fleetlock.New(1)
	t.Cleanup(w.slots.Close)
	w.takes.Store(true)
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if !w.takes.Load() {
			rw.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(hook.Close)
	secret := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
		return path
	}
	return fmt.Sprintf(`monitoring:
  systems:
    - {name: main, kind: alertmanager, urls: [%q], credentials_file: %q}
tickets:
  - {name: lab, kind: gitlab, url: %q, token_file: %q, projects: [%s]}
locks:
  - {name: reboots, kind: fleetlock, url: %q}
chat:
  telegram: {token_file: %q, url: %q}
notify:
  webhooks:
    - {name: on-call, url: %q, secret_file: %q, events: [run-paused]}
`, alerts, secret("alertmanager", alertmanager.Authorization), lab.URL, secret("gitlab", gitlab.Token), gitlab.Project, w.slots.URL,
		secret("telegram", telegram.Token), people.URL, hook.URL, secret("hook", strings.Repeat("k", 32)))
}

// merged has a company's inventory be one of several sources, each with its
// metrics; it has one.
func merged(t *testing.T, c *company.Company) {
	t.Helper()
	b, err := os.ReadFile(c.Config())
	must(t, err)
	const single = "inventory:\n  kind: yaml\n  path: inventory.yaml\n"
	if !strings.Contains(string(b), single) {
		t.Fatalf("%s has no %s", c.Config(), single)
	}
	text := strings.Replace(string(b), single, "inventory:\n  kind: merged\n  sources: [{name: hosts, kind: yaml, path: inventory.yaml}]\n", 1)
	must(t, os.WriteFile(c.Config(), []byte(text), 0o640))
}

// watch starts a company whose agents can be scraped, and Prometheus with the
// examples, in haste: it scrapes twice a second, and alerts do not wait.
func watch(t *testing.T) *watched {
	program(t, "prometheus")
	w := &watched{fail: filepath.Join(t.TempDir(), "fail")}
	w.Company = company.New(t, company.Options{Hosts: 2, Server: w.outside(t, t.TempDir()), Scenario: w.scenario, Prepare: func(c *company.Company) { merged(t, c) }})
	var agents []string
	for _, h := range w.Hosts {
		file := filepath.Join(h.Dir, "agent.yaml")
		b, err := os.ReadFile(file)
		must(t, err)
		const off = "status_listen: \"\"\n"
		if !strings.Contains(string(b), off) {
			t.Fatalf("%s has no %s", file, off)
		}
		w.StopAgent(h)
		must(t, os.WriteFile(file, []byte(strings.Replace(string(b), off, "status_listen: "+h.Address+":3132\n", 1)), 0o600))
		w.StartAgent(h)
		agents = append(agents, h.Address+":3132")
	}
	created, err := w.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "scrape", Owner: "prometheus", Roles: []restart.Role{restart.RoleViewer}})
	must(t, err)
	w.token = created.Secret

	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	targets, err := json.Marshal([]map[string][]string{{"targets": agents}})
	must(t, err)
	write("agents/all.yml", string(targets))
	config := write("prometheus.yml", adapt(t, "prometheus.yml",
		"15s", "500ms",
		"restartilka.example.com:8443", strings.TrimPrefix(w.URL, "https://"),
		"/etc/prometheus/restartilka.token", write("token", created.Secret+"\n"),
		"/etc/prometheus/restartilka-ca.crt", w.CA,
		"/etc/prometheus/restartilka-agents/*.yml", dir+"/agents/*.yml",
		"/etc/prometheus/restartilka-alerts.yml", write("alerts.yml", hasty(adapt(t, "alerts.yml", "> 1800", "> 0.2"))),
	))
	promtool(t, "", "check", "config", config)
	w.prometheus = start(t, config)
	return w
}

// hasty makes alerts fire soon: of what is so for more than a moment.
func hasty(rules string) string {
	return regexp.MustCompile(`(?m)^(\s+for:) \S+\n`).ReplaceAllString(rules, "$1 1s\n")
}

// scenario is one whose script fails while there is a file.
func (w *watched) scenario(*company.Company) (name, content string) {
	return "moody", fmt.Sprintf(`format: 1
name: moody
serial: 1
author: test@restartilka.invalid
kind: restart
services: [%s]
description: Fails while a file is there
strategy: {batches: [1], task_timeout: 30s, on_failure: pause}
silence: [InstanceDown]
steps:
  run:
    script: |
      if [ -e %s ]; then echo "in a mood"; exit 7; fi
`, demo.ServiceName, w.fail)
}

// scrape asks for metrics as Prometheus does, with a client of its own.
func (w *watched) scrape(t *testing.T, url, token string) string {
	t.Helper()
	pem, err := os.ReadFile(w.CA)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s\n%s", url, resp.Status, body)
	}
	return string(body)
}

func TestPrometheusWatchesACompany(t *testing.T) {
	w := watch(t)
	w.Eventually("all targets to be up", func() bool {
		up := w.query("up", "job", "instance")
		return len(up) == 3 && !slices.Contains(values(up), 0)
	})
	w.Eventually("every check to hold", func() bool {
		server, agents := w.query("restartilka_ready", "check"), w.query("restartilka_agent_ready", "instance", "check")
		return len(server) == 6 && len(agents) == 8 && !slices.Contains(append(values(server), values(agents)...), 0)
	})

	if _, talk, code := w.CLI("restart", demo.ServiceName, "--reason", reason, "--ticket", gitlab.Project+"#17", "--yes"); code != 0 {
		t.Fatalf("exit %d\n%s", code, talk)
	}
	for expr, want := range map[string]float64{
		`restartilka_tasks_finished_total{kind="restart",outcome="succeeded"}`: 2,
		`restartilka_runs_finished_total{kind="restart",outcome="completed"}`:  1,
		`restartilka_task_duration_seconds_count{kind="restart"}`:              2,
		`restartilka_run_duration_seconds_count{kind="restart"}`:               1,
		`restartilka_dispatch_requests_total{verb="put",result="ok"}`:          2,
		`sum(restartilka_agent_tasks_total{outcome="succeeded"})`:              2,
		`sum(restartilka_agent_task_duration_seconds_count)`:                   2,
		`sum(restartilka_agent_requests_total{verb="put",status="200"})`:       2,
		`restartilka_inventory_hosts`:                                          2,
		`restartilka_scenarios > bool 0`:                                       1,
		`restartilka_scenario_problems`:                                        0,
		`restartilka_runs_paused_oldest_seconds`:                               0,
		`count(restartilka_certificate_not_after_timestamp_seconds > time())`:  3,

		`restartilka_monitoring_requests_total{system="main",verb="place",result="ok"}`: 2,
		`restartilka_monitoring_requests_total{system="main",verb="lift",result="ok"}`:  2,
		`restartilka_monitoring_requests_total{result!="ok"}`:                           0,
		`restartilka_silences{system="main"}`:                                           0,
		`restartilka_ticket_checks_total{tracker="lab",result="open"} > bool 0`:         1,
		`restartilka_lock_attempts_total{lock="reboots",result="taken"}`:                1,
		`restartilka_outside_locks{lock="reboots"}`:                                     0,
		`restartilka_lock_session_interrupted`:                                          0,
		`restartilka_chat_connected{chat="telegram"}`:                                   1,
		`restartilka_receiver_messages_waiting`:                                         0,
		`restartilka_schedules_open`:                                                    0,
	} {
		w.Eventually(fmt.Sprintf("%s to be %v", expr, want), func() bool {
			got, ok := w.one("sum(" + expr + ")")
			return ok && got == want
		})
	}
	if fires := w.firing(); len(fires) > 0 {
		t.Errorf("alerts without a cause: %v", fires)
	}
	server := w.scrape(t, w.URL+"/metrics", w.token)
	agent := w.scrape(t, "http://"+w.Hosts[0].Address+":3132/metrics", "")
	for who, text := range map[string]string{"server": server, "agent": agent} {
		if said := promtool(t, text, "check", "metrics"); strings.TrimSpace(said) != "" {
			t.Errorf("of the %s promtool says:\n%s", who, said)
		}
		for _, secret := range []string{w.Hosts[0].Name, demo.Developer, "moody"} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s's metrics hold %q", who, secret)
			}
		}
	}
	documented(t, server, agent)

	// What goes wrong is seen, and gone when it is over.
	must(t, os.WriteFile(w.fail, nil, 0o600))
	w.takes.Store(false)
	w.gate.Next(trouble.Forever, func(rw http.ResponseWriter, r *http.Request, well http.Handler) { // nothing is lifted
		if r.Method == http.MethodDelete {
			trouble.Status(http.StatusForbidden)(rw, r, well)
			return
		}
		well.ServeHTTP(rw, r)
	})
	run := w.Start(reason)
	w.Until(run.ID, restart.RunPaused)
	troubles := []string{"RestartilkaRunWaitsForPerson ", "RestartilkaSilenceLeft ", "RestartilkaReceiverFails "}
	w.Eventually("the alerts for a paused run, an alert that is silent still, and a message that is not taken", func() bool {
		fires := w.firing()
		return !slices.ContainsFunc(troubles, func(name string) bool { return !fires[name] })
	})
	for expr, want := range map[string]float64{
		`restartilka_silences{system="main",state="due"}`:                                            1,
		`restartilka_monitoring_requests_total{system="main",verb="lift",result="refused"} > bool 0`: 1,
		`restartilka_outside_locks{lock="reboots",state="held"}`:                                     1,
		`restartilka_receiver_failing{receiver="on-call"}`:                                           1,
		`restartilka_receiver_messages_waiting{receiver="on-call"}`:                                  1,
	} {
		if got, ok := w.one("sum(" + expr + ")"); !ok || got != want {
			t.Errorf("%s is %v, want %v", expr, got, want)
		}
	}
	if got := w.query(`restartilka_runs_paused > 0`, "cause"); len(got) != 1 || got["failure"] != 1 {
		t.Errorf("paused: %v", got)
	}
	w.takes.Store(true)
	w.gate.Next(0, nil)
	w.slots.Behave(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }) // nothing is given back
	_, err := w.Dev.Abort(t.Context(), run.ID)
	must(t, err)
	const left = "RestartilkaLockLeft "
	w.Eventually("the alert for a lock that is not given back", func() bool { return w.firing()[left] })
	w.slots.Behave(nil)
	w.Eventually("the alerts to end", func() bool {
		fires := w.firing()
		return !slices.ContainsFunc(append(troubles, left), func(name string) bool { return fires[name] })
	})
	w.KillAgent(w.Hosts[1])
	down := "RestartilkaAgentDown " + w.Hosts[1].Address + ":3132"
	w.Eventually("the alert for an agent", func() bool {
		fires := w.firing()
		return fires[down] && !fires["RestartilkaRunWaitsForPerson "]
	})
	w.StartAgent(w.Hosts[1])
	w.Eventually("the alert to end", func() bool { return !w.firing()[down] })
	if n, ok := w.one(`restartilka_runs_finished_total{kind="restart",outcome="aborted"}`); !ok || n != 1 {
		t.Errorf("%v runs aborted", n)
	}
}

func values(m map[string]float64) []float64 {
	var out []float64
	for _, v := range m {
		out = append(out, v)
	}
	return out
}
