package monitoring

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

const reason = "workers hang since the 14:00 deploy"

// watched is a company and the Prometheus that scrapes it.
type watched struct {
	*company.Company
	*prometheus
	token string // a viewer's
	fail  string // while this file is there, scripts fail
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
	w.Company = company.New(t, company.Options{Hosts: 2, Scenario: w.scenario, Prepare: func(c *company.Company) { merged(t, c) }})
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

// hasty makes alerts fire at once.
func hasty(rules string) string {
	return regexp.MustCompile(`(?m)^\s+for: \S+\n`).ReplaceAllString(rules, "")
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

	if _, talk, code := w.CLI("restart", demo.ServiceName, "--reason", reason, "--yes"); code != 0 {
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
	run := w.Start(reason)
	w.Until(run.ID, restart.RunPaused)
	w.Eventually("the alert for a paused run", func() bool { return w.firing()["RestartilkaRunWaitsForPerson "] })
	if got := w.query(`restartilka_runs_paused > 0`, "cause"); len(got) != 1 || got["failure"] != 1 {
		t.Errorf("paused: %v", got)
	}
	_, err := w.Dev.Abort(t.Context(), run.ID)
	must(t, err)
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
