package agent

import (
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/version"
)

// Gauges are what /metrics shows beside the agent's own numbers.
type Gauges struct {
	SpoolSize   func() (int64, error)    // bytes on the disk
	Certificate func() *x509.Certificate // in use on the listener for servers
}

// statusTime bounds an answer of the status listener.
const statusTime = 5 * time.Second

// StatusHandler serves /ping and /metrics, for this host's own monitoring.
// Nothing can be changed through it.
func (a *Agent) StatusHandler(g Gauges) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "pong\n") //nolint:errcheck // the peer has gone
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		io.WriteString(w, a.metrics(g)) //nolint:errcheck // the peer has gone
	})
	return mux
}

// metrics writes the Prometheus text format: a handful of numbers is not worth
// a library in a program that runs as root on every host.
func (a *Agent) metrics(g Gauges) string {
	var b strings.Builder
	family := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	build := version.Current()
	family("restartilka_agent_build_info", "gauge", "The running build.")
	fmt.Fprintf(&b, "restartilka_agent_build_info{version=%q,commit=%q,go=%q} 1\n", build.Version, build.Commit, build.Go)

	a.mu.Lock()
	counts := maps.Clone(a.counts)
	active, kept, graves := 0, len(a.tasks), len(a.graves)
	for _, t := range a.tasks {
		if !t.done() {
			active++
		}
	}
	a.mu.Unlock()

	family("restartilka_agent_tasks_total", "counter", "Tasks that ended since this agent started.")
	for _, outcome := range []protocol.Outcome{
		protocol.OutcomeSucceeded, protocol.OutcomeFailed, protocol.OutcomeTimedOut, protocol.OutcomeCancelled, protocol.OutcomeNotStarted, protocol.OutcomeUnknown,
	} {
		fmt.Fprintf(&b, "restartilka_agent_tasks_total{outcome=%q} %d\n", string(outcome), counts[outcome])
	}
	family("restartilka_agent_tasks_active", "gauge", "Tasks that are received or running.")
	fmt.Fprintf(&b, "restartilka_agent_tasks_active %d\n", active)
	family("restartilka_agent_tasks_kept", "gauge", "Tasks in the spool, those that wait to be fetched included.")
	fmt.Fprintf(&b, "restartilka_agent_tasks_kept %d\n", kept)
	family("restartilka_agent_tombstones", "gauge", "Task ids that never run again.")
	fmt.Fprintf(&b, "restartilka_agent_tombstones %d\n", graves)
	if g.SpoolSize != nil {
		if size, err := g.SpoolSize(); err == nil {
			family("restartilka_agent_spool_bytes", "gauge", "Bytes that the tasks take on the disk.")
			fmt.Fprintf(&b, "restartilka_agent_spool_bytes %d\n", size)
		}
	}
	if g.Certificate != nil {
		if cert := g.Certificate(); cert != nil {
			family("restartilka_agent_certificate_expiry_seconds", "gauge", "Seconds until the agent's certificate is over.")
			fmt.Fprintf(&b, "restartilka_agent_certificate_expiry_seconds %.0f\n", cert.NotAfter.Sub(a.cfg.Now()).Seconds())
		}
	}
	return b.String()
}
