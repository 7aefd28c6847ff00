// Package alertmanager starts a real Alertmanager, of the Debian package
// prometheus-alertmanager, on a loopback address, for tests.
package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// Authorization is the header that Front wants to see.
const Authorization = "Bearer of-the-tests"

// Server is an Alertmanager that runs.
type Server struct {
	t   testing.TB
	URL string // of itself
}

const config = `route: {receiver: nobody, group_wait: 1s}
receivers: [{name: nobody}]
`

// Start starts one, and ends it with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	path, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus-alertmanager is missing: apt-get install prometheus-alertmanager")
		}
		t.Skip("NOT TESTED: prometheus-alertmanager is missing (apt-get install prometheus-alertmanager)")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	for range 5 { // somebody else may take a port that is free
		free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		address := free.Addr().String()
		must(t, free.Close())
		s := &Server{t: t, URL: "http://" + address}
		if s.run(path, "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn") {
			return s
		}
	}
	t.Fatal("Alertmanager does not come up")
	return nil
}

// run starts it, and tells whether it is ready: else it has ended.
func (s *Server) run(path string, args ...string) (ready bool) {
	s.t.Helper()
	var log bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() { // Pdeathsig is of the thread that starts: it must live as long as the child
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is ended by a signal
		}
	}()
	must(s.t, <-started)
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has nothing to keep
		<-ended
		if s.t.Failed() {
			s.t.Logf("Alertmanager says:\n%s", log.String())
		}
	})
	s.until(func() bool {
		select {
		case <-ended:
			return true
		default:
		}
		ready = s.call(http.MethodGet, "/-/ready", nil, nil) == http.StatusOK
		return ready
	})
	select {
	case <-ended: // whoever answered was another
		return false
	default:
		return ready
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Server) until(ok func() bool) {
	s.t.Helper()
	giveUp := time.NewTimer(time.Minute)
	defer giveUp.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-giveUp.C:
			s.t.Fatal("Alertmanager is not as it was waited for")
		case <-tick.C:
		}
	}
}

// call gives the status of an answer; 0 where there is none.
func (s *Server) call(method, path string, body, out any) int {
	s.t.Helper()
	b, err := json.Marshal(body)
	must(s.t, err)
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), method, s.URL+path, bytes.NewReader(b))
	must(s.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(s.t, err)
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			s.t.Fatalf("%s %s: %v\n%s", method, path, err, text)
		}
	}
	return resp.StatusCode
}

// Fire has alerts fire, each with these labels, until Stop.
func (s *Server) Fire(alerts ...map[string]string) { s.alerts(time.Now().Add(time.Hour), alerts) }

// Stop ends alerts.
func (s *Server) Stop(alerts ...map[string]string) { s.alerts(time.Now(), alerts) }

func (s *Server) alerts(until time.Time, alerts []map[string]string) {
	s.t.Helper()
	var body []map[string]any
	for _, labels := range alerts {
		body = append(body, map[string]any{"labels": labels, "startsAt": time.Now().Add(-time.Minute), "endsAt": until})
	}
	if status := s.call(http.MethodPost, "/api/v2/alerts", body, nil); status != http.StatusOK {
		s.t.Fatalf("alerts: it answers %d", status)
	}
}

// Heard lists those alerts that somebody would be woken for: the name and the
// instance of each.
func (s *Server) Heard() map[string]bool {
	s.t.Helper()
	var list []struct {
		Labels map[string]string
	}
	s.call(http.MethodGet, "/api/v2/alerts?active=true&silenced=false&inhibited=false&unprocessed=true", nil, &list)
	out := map[string]bool{}
	for _, a := range list {
		out[a.Labels["alertname"]+" "+a.Labels["instance"]] = true
	}
	return out
}

// Silence is one as it lies there.
type Silence struct {
	ID, Comment, CreatedBy string
	StartsAt, EndsAt       time.Time
	Matchers               []struct {
		Name, Value      string
		IsRegex, IsEqual bool
	}
	Status struct{ State string } // active | pending | expired
}

// Silences lists all that are not over.
func (s *Server) Silences() []Silence {
	s.t.Helper()
	var out []Silence
	for _, x := range s.AllSilences() {
		if x.Status.State != "expired" {
			out = append(out, x)
		}
	}
	return out
}

// AllSilences lists those that are over as well.
func (s *Server) AllSilences() []Silence {
	s.t.Helper()
	var list []Silence
	s.call(http.MethodGet, "/api/v2/silences", nil, &list)
	return list
}

// Add places a silence as a person would, and gives its id.
func (s *Server) Add(body map[string]any) string {
	s.t.Helper()
	var said struct {
		SilenceID string `json:"silenceID"`
	}
	if status := s.call(http.MethodPost, "/api/v2/silences", body, &said); status != http.StatusOK {
		s.t.Fatalf("a silence: it answers %d", status)
	}
	return said.SilenceID
}

// Expire ends a silence, as a person would.
func (s *Server) Expire(id string) {
	s.t.Helper()
	if status := s.call(http.MethodDelete, "/api/v2/silence/"+id, nil, nil); status != http.StatusOK {
		s.t.Fatalf("the end of a silence: it answers %d", status)
	}
}

// Front puts a proxy before it that wants Authorization, and that can be told to
// be in trouble.
func (s *Server) Front() (address string, gate *trouble.Gate) {
	s.t.Helper()
	gate = &trouble.Gate{}
	to, err := url.Parse(s.URL)
	must(s.t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(gate.Before(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != Authorization {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	})))
	s.t.Cleanup(front.Close)
	return front.URL, gate
}
