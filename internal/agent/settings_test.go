package agent

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const least = "host: web1.example.com\nservers: [control.example.com]\n"

func TestSettings(t *testing.T) {
	s, err := ParseSettings([]byte(least + "grace: 1m30s\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != ":3131" || s.StatusListen != "127.0.0.1:3132" || s.Review != "files" || s.Grace != 90*time.Second || s.Rate != 60 || s.Spool != "/var/spool/restartilka" {
		t.Errorf("%+v", s)
	}
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSettings(text)
	if err != nil || again.Grace != s.Grace || again.Host != s.Host {
		t.Errorf("shown and read again: %+v, %v\n%s", again, err, text)
	}
	for text, want := range map[string]string{
		"":                                   "host: is needed",
		"host: web1.example.com\n":           "servers: is needed",
		least + "lisen: :1\n":                "line 3",
		least + "host: b\n":                  "line 3",
		"host: Web1\nservers: [a]\n":         "not a valid name",
		least + "review: signd\n":            "files or signed",
		least + "quorum: 0\n":                "between 1 and 16",
		least + "signers: allowed\n":         "plain absolute path",
		least + "review: none\n":             "is not known",
		least + "spool: relative\n":          "absolute path",
		least + "spool: /var/../etc\n":       "absolute path",
		least + "listen: 3131\n":             "not an address",
		least + "grace: 1h\n":                "between 0s and 10m",
		least + "task_rate_per_hour: 0\n":    "between 1 and",
		least + "groups: [../x]\n":           "not a valid name",
		least + "cgroup: maybe\n":            "absolute path",
		least + "envelope_keys: []\n":        "envelope_keys: is needed",
		least + "---\nhost: b\n":             "more than one document",
		least + "token: hunter2\n":           "token",
		"host: [a]\nservers: [a.example]\n":  "line 1",
		"servers: &a [*a]\nhost: b\n":        "",
		strings.Repeat("[", 10000) + "\n":    "",
		"host: \"a\\nb\"\nservers: [a.test]": "not a valid name",
	} {
		_, err := ParseSettings([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text[:min(len(text), 80)], err, want)
		}
	}
}

// idle is an agent without a host, for what needs none.
func idle(t testing.TB) *Agent {
	t.Helper()
	store, err := spool.Open(spool.Config{Dir: filepath.Join(t.TempDir(), "spool")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	a, err := New(Config{
		Host:  host.Host{Name: "web1", Scenarios: t.TempDir(), Services: t.TempDir()},
		Keys:  func() (map[string]ed25519.PublicKey, error) { return map[string]ed25519.PublicKey{}, nil },
		Spool: store, Archive: store, Launcher: Processes{Spool: store}, Packages: host.Packages{},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWithoutAVerifiedCertificateEverythingIsRefused(t *testing.T) {
	a := idle(t)
	for _, v := range append(a.verbs(), verb{http.MethodGet, "/nothing", servers, nil}) {
		req := httptest.NewRequest(v.method, strings.ReplaceAll(v.path, "{id}", restart.NewID(time.Now())), strings.NewReader("{}"))
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, req)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s: %d", v.method, v.path, w.Code)
		}
	}
}

func TestStatusListener(t *testing.T) {
	a := idle(t)
	h := a.StatusHandler(Gauges{SpoolSize: func() (int64, error) { return 4096, nil }})
	get := func(path string) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Body.String()
	}
	if got := get("/ping"); got != "pong\n" {
		t.Errorf("ping: %q", got)
	}
	metrics := get("/metrics")
	for _, want := range []string{
		"restartilka_agent_build_info{", "restartilka_agent_tasks_total{outcome=\"unknown\"} 0\n", "restartilka_agent_tasks_active 0\n", "restartilka_agent_spool_bytes 4096\n",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%q is missing in:\n%s", want, metrics)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/ping", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// FuzzSubmission sends any bytes as a task: they are refused with a code, never
// taken and never a crash.
func FuzzSubmission(f *testing.F) {
	f.Add([]byte(`{"sealed":{"payload":"e30=","key_id":"0123456789abcdef","signature":"AA=="},"epoch":1}`))
	f.Add([]byte(`{"sealed":{"payload":"e30="},"epoch":1,"more":true}`))
	f.Add([]byte(`{}{}`))
	f.Add([]byte(`[1`))
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	a := idle(f)
	a.cfg.Keys = func() (map[string]ed25519.PublicKey, error) {
		public := key.Public().(ed25519.PublicKey)
		return map[string]ed25519.PublicKey{protocol.KeyID(public): public}, nil
	}
	id := restart.NewID(time.Now())
	f.Fuzz(func(t *testing.T, body []byte) {
		var s protocol.Submission
		err := decode(httptest.NewRequest(http.MethodPut, "/", strings.NewReader(string(body))), &s)
		if err == nil {
			_, err = a.Put(t.Context(), id, s)
		}
		if code := restart.CodeOf(err); err == nil || code == restart.CodeInternal {
			t.Errorf("%q: %v", body, err)
		}
		// The same bytes as an envelope that is truly signed.
		s = protocol.Submission{Epoch: 1, Sealed: protocol.Sealed{Payload: body, KeyID: protocol.KeyID(key.Public().(ed25519.PublicKey))}}
		s.Sealed.Signature = ed25519.Sign(key, append([]byte("restartilka-envelope-v1\x00"), body...))
		if _, err := a.Put(t.Context(), id, s); err == nil || restart.CodeOf(err) == restart.CodeInternal {
			t.Errorf("signed %q: %v", body, err)
		}
		w := httptest.NewRecorder()
		protocol.WriteError(w, err)
		var e restart.Error
		if err := json.NewDecoder(io.LimitReader(w.Body, 1<<20)).Decode(&e); err != nil {
			t.Error(err)
		}
	})
}
