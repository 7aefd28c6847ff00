package agent

import (
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Gauges are what the status listener looks at beside the agent itself. What is
// nil is not shown, or not checked.
type Gauges struct {
	SpoolSize     func() (int64, error)              // bytes that the tasks take on the disk
	SpoolSpace    func() (free, size int64, _ error) // of the spool's file system, in bytes
	SpoolWritable func() error                       // nil = a task could be received
	Certificate   func() *x509.Certificate           // in use on the listener for servers
	Credentials   func() error                       // why the files as they are now are not in use
}

// statusTime bounds an answer of the status listener.
const statusTime = 5 * time.Second

// StatusHandler serves /ping, /readyz and /metrics, for this host's own
// monitoring. Nothing can be changed through it, and nothing but names of
// checks and numbers is told.
func (a *Agent) StatusHandler(g Gauges) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		answerText(w, http.StatusOK, "pong\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, text := a.readiness(g)
		answerText(w, status, text)
	})
	// One at a time: whoever may connect can ask, and each answer looks at the
	// spool and reads the scenarios.
	var scraping sync.Mutex
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		scraping.Lock()
		text := a.metrics(g)
		scraping.Unlock()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		io.WriteString(w, text) //nolint:errcheck // the peer has gone
	})
	return mux
}

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, text) //nolint:errcheck // the peer has gone
}

// check is one thing that must hold so that a task could be taken now.
type check struct {
	name string
	err  error
}

func (a *Agent) checks(g Gauges) []check {
	var out []check
	add := func(name string, err error) { out = append(out, check{name, err}) }
	if g.Certificate != nil {
		add("credentials", a.certificateGood(g.Certificate()))
	}
	_, err := a.cfg.Keys()
	add("envelope_keys", err)
	if g.SpoolWritable != nil {
		add("spool", g.SpoolWritable())
	}
	add("listener", a.listening())
	return out
}

func (a *Agent) certificateGood(cert *x509.Certificate) error {
	now := a.cfg.Now()
	if cert == nil || now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return restart.Errorf(restart.CodeCertificate, "the certificate is not good now")
	}
	return nil
}

// listening tells whether tasks are let in. The listener for servers is there
// before the one that asks, and the agent ends when it breaks.
func (a *Agent) listening() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		return errStopping
	}
	return nil
}

// readiness answers /readyz: 200 where every check holds, else 503, with a
// line for each. Why one fails is in the log and in `restartilka-agent check`.
func (a *Agent) readiness(g Gauges) (status int, text string) {
	var b strings.Builder
	status, verdict := http.StatusOK, "ready\n"
	for _, c := range a.checks(g) {
		word := " ok\n"
		if c.err != nil {
			word, status, verdict = " failed\n", http.StatusServiceUnavailable, "not ready\n"
		}
		b.WriteString(c.name + word)
	}
	return status, b.String() + verdict
}
