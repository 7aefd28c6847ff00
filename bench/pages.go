package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/company"
)

// pages measures a server with a long history: each page over one connection
// that is kept, one request after another.
func (s *session) pages(b *bed) error {
	c := company.New(b, company.Options{Hosts: 1, Scenario: noop, Agent: anyRate})
	ready(b, c)
	walkOnce(b, c)
	c.StopServer()
	begun := time.Now()
	h, err := storetest.FillHistory(b.ctx, c.Database(), s.history)
	b.must(err)
	s.detail("history_runs", s.history)
	s.detail("history_made_in_s", round(time.Since(begun).Seconds(), 1))
	s.detail("server_start_with_history_ms", ms(startTime(b, c)))

	client := httpsClient(b, c)
	defer client.CloseIdleConnections()
	cookie := signIn(b, c, client)
	// Every page is asked for with other runs, hosts and names each time.
	pages := []struct {
		name string
		path func(i int) string
	}{
		{"start", func(int) string { return "/" }},
		{"runs", func(int) string { return "/runs" }},
		{"runs, older", func(i int) string { return "/runs?before=" + h.Run(i*7919) }},
		{"run", func(i int) string { return "/runs/" + h.Run(i*7910) }},
		{"host", func(i int) string { return "/runs/" + h.Run(i*7920) + "/hosts/" + h.Host(i*7920) }},
		{"api: runs of a service", func(i int) string { return list("service", h.Service(i)) }},
		{"api: runs of an environment", func(i int) string { return list("environment", h.Environment(i)) }},
		{"api: runs of a service and environment", func(i int) string { return list("service", h.Service(i), "environment", h.Environment(i)) }},
		{"api: runs of a person", func(i int) string { return list("actor", h.Actor(i)) }},
		{"api: runs of a host", func(i int) string { return list("host", h.Host(i*7883)) }},
		{"api: failed runs", func(int) string { return list("state", "failed,aborted") }},
		{"api: failed runs of a service and a host", func(i int) string {
			return list("state", "failed,aborted", "service", h.Service(i*7883), "host", h.Host(i*7883))
		}},
		{"api: runs of nobody", func(i int) string { return list("actor", fmt.Sprintf("nobody%d", i)) }},
		{"api: runs of no environment", func(i int) string { return list("environment", fmt.Sprintf("none%d", i)) }},
	}
	var all []time.Duration
	each := map[string]Percentiles{}
	for _, p := range pages {
		var sample []time.Duration
		for i := range s.requests {
			took, err := get(b, client, c.URL+p.path(i), cookie)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			sample = append(sample, took)
		}
		all = append(all, sample...)
		each[p.name] = percentiles(sample)
	}
	s.results.PageP99 = new(ms(percentile(all, 99)))
	s.detail("pages_ms", each)
	return nil
}

// list is the address of a list of runs, narrowed.
func list(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "/api/v1/runs?" + q.Encode()
}

// get gives the time until the last byte of a page.
func get(b *bed, client *http.Client, address string, cookie *http.Cookie) (time.Duration, error) {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	req.AddCookie(cookie)
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusSeeOther {
		return 0, fmt.Errorf("%s: %s", address, resp.Status)
	}
	return took, nil
}
