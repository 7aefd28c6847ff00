package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/version"
)

// metrics answers /metrics. What it tells is asked of the parts when it is
// scraped; nothing is counted twice.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{s})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

type collector struct{ s *Server }

var (
	buildInfo = prometheus.NewDesc("restartilka_build_info", "The running build; always 1.", []string{"version", "commit", "go"}, nil)
	openRuns  = prometheus.NewDesc("restartilka_runs_open", "Runs that are not over, by state; at most the newest 200 of each.", []string{"state"}, nil)
	backlog   = prometheus.NewDesc("restartilka_audit_backlog_records", "Audit records that a sink has not settled.", []string{"sink"}, nil)
	oldest    = prometheus.NewDesc("restartilka_audit_backlog_age_seconds", "Age of the oldest record that a sink has not settled; 0 for none.", []string{"sink"}, nil)
	failing   = prometheus.NewDesc("restartilka_audit_sink_failing", "1 while the last attempt to ship to the sink failed.", []string{"sink"}, nil)
	up        = prometheus.NewDesc("restartilka_database_up", "1 when the database answered this scrape.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, openRuns, backlog, oldest, failing, up} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	b := version.Current()
	gauge(buildInfo, 1, b.Version, b.Commit, b.Go)
	for _, state := range []restart.RunState{restart.RunAwaitingApproval, restart.RunQueued, restart.RunRunning, restart.RunPaused} {
		runs, _, err := c.s.store.Runs(ctx, store.RunFilter{States: []restart.RunState{state}, Limit: 200})
		if err != nil {
			gauge(up, 0)
			return
		}
		gauge(openRuns, float64(len(runs)), string(state))
	}
	stats, err := c.s.trail.Stats(ctx)
	if err != nil {
		gauge(up, 0)
		return
	}
	gauge(up, 1)
	for _, sink := range stats.Sinks {
		gauge(backlog, float64(sink.Backlog), sink.Name)
		gauge(oldest, sink.Oldest.Seconds(), sink.Name)
		failed := 0.0
		if sink.Error != "" {
			failed = 1
		}
		gauge(failing, failed, sink.Name)
	}
}
