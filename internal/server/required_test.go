package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/server"
)

// With a log server among the sinks its level is what is needed, without a word
// of it in the configuration; a log that takes nothing is said, and the server
// is ready all the same: people must be able to look, and to stop runs.
func TestALogThatTakesNothingIsSaid(t *testing.T) {
	t.Parallel()
	var takes atomic.Bool
	log := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !takes.Load() {
			w.WriteHeader(http.StatusInsufficientStorage)
		}
	}))
	t.Cleanup(log.Close)
	var shown string
	s := serve(t, func(cfg *server.Config) {
		cfg.Audit.Require, cfg.Audit.Deadline = "", time.Second
		cfg.Audit.Sinks = append(cfg.Audit.Sinks, audit.SinkConfig{Kind: "http", URL: log.URL, Format: "lines"})
		text, err := cfg.Show()
		if err != nil {
			t.Fatal(err)
		}
		shown = string(text)
	})
	for _, want := range []string{"require: received", "deadline: 1s", "limit: 1GiB"} {
		if !strings.Contains(shown, want) {
			t.Errorf("it shows no %q:\n%s", want, shown)
		}
	}
	s.becomes(200, "audit ok: the log takes no records, so no host is touched")
	told := func() (audits string) {
		_, body := s.get("/metrics", s.token)
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "restartilka_audit") {
				audits += line
			}
		}
		return audits
	}
	if body := told(); !strings.Contains(body, "restartilka_audit_late 1\n") || !strings.Contains(body, "restartilka_audit_spool_limit_bytes 1.073741824e+09\n") {
		t.Errorf("%s", body)
	}
	takes.Store(true)
	s.becomes(200, "audit ok")
	if body := told(); !strings.Contains(body, "restartilka_audit_late 0\n") {
		t.Errorf("%s", body)
	}
}
