package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
)

// anyRate lets an agent take as many tasks as a measurement needs.
const anyRate = "task_rate_per_hour: 100000\n"

// noop is a reviewed scenario that does nothing at all.
func noop(*company.Company) (name, content string) {
	return "noop", `format: 1
name: noop
serial: 1
author: bench@restartilka.invalid
kind: restart
services: [` + demo.ServiceName + `]
description: Does nothing, to be measured
strategy: {batches: [1], task_timeout: 30s}
steps:
  run: {script: ":"}
`
}

// walk measures runs over real agents, one host after another.
func (s *session) walk(b *bed) error {
	c := company.New(b, company.Options{Hosts: s.hosts, Scenario: noop, Agent: anyRate})
	ready(b, c)
	highest := 0.0
	for _, h := range c.Hosts {
		rss, err := memory(c.AgentPID(h), "VmRSS")
		b.must(err)
		highest = max(highest, rss)
	}
	s.results.AgentRSS = new(highest)

	agents := func() (sum float64) {
		for _, h := range c.Hosts {
			used, err := cpu(c.AgentPID(h))
			b.must(err)
			sum += used
		}
		return sum
	}
	agentsBefore := agents()
	serverBefore, err := cpu(c.ServerPID())
	b.must(err)
	var between, whole []time.Duration
	for range s.rounds {
		run := walkOnce(b, c)
		whole = append(whole, run.FinishedAt.Sub(*run.StartedAt))
		for i := 1; i < len(run.Tasks); i++ {
			between = append(between, run.Tasks[i].StartedAt.Sub(*run.Tasks[i-1].StartedAt))
		}
	}
	s.results.PerHost = new(percentiles(between))
	s.results.Serial20 = new(round(percentile(whole, 50).Seconds(), 3))
	s.detail("per_host_samples", len(between))
	serverAfter, err := cpu(c.ServerPID())
	b.must(err)
	walked := float64(s.rounds * s.hosts)
	s.detail("per_host_server_cpu_ms", round(1000*(serverAfter-serverBefore)/walked, 2))
	s.detail("per_host_agent_and_script_cpu_ms", round(1000*(agents()-agentsBefore)/walked, 2))

	highest = 0
	for _, h := range c.Hosts {
		rss, err := memory(c.AgentPID(h), "VmRSS")
		b.must(err)
		highest = max(highest, rss)
	}
	s.detail("agent_rss_after_work_mb", highest)

	var starts []time.Duration
	for range 7 {
		c.StopServer()
		starts = append(starts, startTime(b, c))
	}
	s.results.ServerStart = median(starts)
	return nil
}

// ready waits until every agent answers the server, so that a plan ticks it.
func ready(b *bed, c *company.Company) {
	c.Eventually("the agents to be ready", func() bool {
		plan, err := c.Dev.Plan(b.ctx, restart.Request{Service: demo.ServiceName, Reason: "measure it"})
		return err == nil && len(plan.Chosen()) == len(c.Hosts)
	})
}

// walkOnce restarts every host and gives the finished run, its tasks in the
// order of the walk.
func walkOnce(b *bed, c *company.Company) restart.Run {
	run := c.Start("measure it")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !run.State.Final() && run.State != restart.RunPaused {
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			b.Fatal(b.ctx.Err())
		}
		var err error
		run, err = c.Dev.Run(b.ctx, run.ID)
		b.must(err)
	}
	if run.State != restart.RunCompleted {
		b.Fatalf("the run is %s: %s", run.State, run.Explanation)
	}
	return run
}

// startTime starts the server and gives the time from its exec to the first
// "ready" over HTTPS, asked every millisecond.
func startTime(b *bed, c *company.Company) time.Duration {
	client := httpsClient(b, c)
	ask, err := http.NewRequestWithContext(b.ctx, http.MethodGet, c.URL+"/readyz", nil)
	b.must(err)
	begun := time.Now()
	took := make(chan time.Duration, 1)
	go func() {
		defer client.CloseIdleConnections()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for time.Since(begun) < 30*time.Second {
			resp, err := client.Do(ask)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
			}
			<-tick.C
		}
		took <- time.Since(begun)
	}()
	c.StartServer()
	return <-took
}

// httpsClient trusts the company's server and keeps its connections.
func httpsClient(b *bed, c *company.Company) *http.Client {
	pem, err := os.ReadFile(c.CA)
	b.must(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		b.Fatal(fmt.Errorf("no certificate in %s", c.CA))
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
