package notify_test

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const secret = "0123456789abcdef0123456789abcdef"

// hook is a real HTTP server that checks each request as a careful receiver does.
type hook struct {
	t      *testing.T
	server *httptest.Server
	dir    string

	mu      sync.Mutex
	got     []post
	refused int
	answer  func(w http.ResponseWriter, r *http.Request) // instead of 204; nil = none
}

func newHook(t *testing.T, secure bool) *hook {
	t.Helper()
	h := &hook{t: t, dir: t.TempDir()}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	if secure {
		h.server.StartTLS()
	} else {
		h.server.Start()
	}
	t.Cleanup(h.server.Close)
	for name, content := range map[string]string{"secret": secret + "\n", "ca.pem": ""} {
		if name == "ca.pem" && secure {
			content = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.server.Certificate().Raw}))
		}
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *hook) settings() notify.Settings {
	c := notify.Webhook{URL: h.server.URL + "/hooks/1?room=a%20b", SecretFile: filepath.Join(h.dir, "secret"), Choice: notify.Choice{Events: []string{wire.EventBreakGlass}}}
	if h.server.TLS != nil {
		c.CAFile = filepath.Join(h.dir, "ca.pem")
	}
	return notify.Settings{Webhooks: []notify.Webhook{c}}
}

func (h *hook) refuse(times int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = times
}

// post is a request as it came.
type post struct {
	id, event, body string
	taken           bool
}

func (h *hook) seen() []post {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (h *hook) tries() int { return len(h.seen()) }

func (h *hook) taken() (out []string) {
	for _, p := range h.seen() {
		var n wire.Notification
		if err := json.Unmarshal([]byte(p.body), &n); err != nil || n.ID != p.id || n.Event != p.event {
			h.t.Errorf("%+v: %v", p, err)
		}
		if p.taken {
			out = append(out, n.Reason)
		}
	}
	return out
}

func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	timestamp := r.Header.Get(wire.HeaderTimestamp)
	at, convErr := strconv.ParseInt(timestamp, 10, 64)
	switch {
	case err != nil, convErr != nil, time.Since(time.Unix(at, 0)).Abs() > time.Minute:
		h.t.Errorf("body %v, timestamp %q %v", err, timestamp, convErr)
	case r.Method != http.MethodPost || r.URL.RequestURI() != "/hooks/1?room=a%20b" || r.Header.Get("Content-Type") != "application/json":
		h.t.Errorf("%s %s, %v", r.Method, r.URL, r.Header)
	case r.Header.Get(wire.HeaderSignature) != "sha256="+wire.Sign([]byte(secret), timestamp, body):
		h.t.Errorf("the signature %q does not fit", r.Header.Get(wire.HeaderSignature))
	}
	h.mu.Lock()
	m := post{id: r.Header.Get(wire.HeaderID), event: r.Header.Get(wire.HeaderEvent), body: string(body), taken: h.refused == 0 && h.answer == nil}
	h.got = append(h.got, m)
	h.refused = max(h.refused-1, 0)
	answer := h.answer
	h.mu.Unlock()
	switch {
	case answer != nil:
		answer(w, r)
	case m.taken:
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "not now\x1b[2J", http.StatusServiceUnavailable)
	}
}

func TestWebhook(t *testing.T) {
	for name, secure := range map[string]bool{"https": true, "http on loopback": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Exercise(t, func(t *testing.T) receiver { return newHook(t, secure) })
		})
	}
}

// A message comes again under the same id, and with the same body.
func TestATryIsLikeTheFirst(t *testing.T) {
	b, h := newBench(t), newHook(t, false)
	h.refuse(2)
	to := b.open(h)
	id := b.leave(time.Time{}, "x", to)
	b.send(to, nil)
	b.until("the message", func() bool { return len(h.taken()) == 1 })
	for _, p := range h.seen() {
		if p.id != id || p.body != h.seen()[0].body {
			t.Errorf("a try is not like the first: %+v", p)
		}
	}
}

// The signature of a known message, by which a receiver in another language can
// be checked: printf '1700000000.{}' | openssl dgst -sha256 -hmac SECRET.
func TestSign(t *testing.T) {
	if got := wire.Sign([]byte("it's a secret"), "1700000000", []byte("{}")); got != "8d54014553777d39dfdde7a2cb5a4a7c4a082d2158b43ea94219da11276354bb" {
		t.Errorf("signature %s", got)
	}
}

// A redirect is not followed: neither the message nor its signature goes to
// where somebody else points.
func TestARedirectIsNotFollowed(t *testing.T) {
	b, h, elsewhere := newBench(t), newHook(t, false), newHook(t, false)
	h.answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.server.URL+"/hooks/1?room=a%20b", http.StatusTemporaryRedirect)
	}
	to := b.open(h)
	b.leave(time.Time{}, "x", to)
	b.send(to, nil)
	b.until("two tries", func() bool { return len(h.seen()) >= 2 })
	if n := len(elsewhere.seen()); n > 0 {
		t.Errorf("%d messages went elsewhere", n)
	}
}

// One receiver that is dead delays no other.
func TestADeadReceiverDelaysNobody(t *testing.T) {
	b, dead, alive := newBench(t), newHook(t, false), newHook(t, true)
	release := make(chan struct{})
	dead.answer = func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	defer close(release)
	settings := notify.Settings{Webhooks: append(dead.settings().Webhooks, alive.settings().Webhooks...)}
	to, err := settings.Open()
	b.must(err)
	_, stop := b.send(to, nil)
	for range 3 {
		b.leave(time.Time{}, "x", to)
	}
	b.until("the living one to have all", func() bool { return len(alive.taken()) == 3 })
	stop()
	if b.waiting() == 0 {
		t.Error("the dead one has taken something")
	}
}

// The address may be a secret itself, as is the one in the file: neither is
// logged, and what the receiver says can't forge a line of the log.
func TestTheLogHasNoSecrets(t *testing.T) {
	b, h := newBench(t), newHook(t, false)
	h.refuse(1)
	to := b.open(h)
	b.leave(time.Time{}, "x", to)
	b.send(to, nil)
	b.until("the message", func() bool { return len(h.taken()) == 1 })
	h.server.Close()
	b.leave(time.Time{}, "y", to)
	b.until("a failure", func() bool { return strings.Contains(b.log.String(), "refused") })
	for _, bad := range []string{secret, "hooks/1", "room=", "\x1b"} {
		if strings.Contains(b.log.String(), bad) {
			t.Errorf("the log has %q:\n%s", bad, b.log)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := notify.Webhook{URL: "https://chat.example.com/x", SecretFile: file("good", secret, 0o600), Choice: notify.Choice{Events: []string{"break-glass"}}}
	if r, err := (notify.Settings{Webhooks: []notify.Webhook{good}}).Open(); err != nil || len(r.For(wire.Notification{Event: wire.EventBreakGlass})) != 1 || len(r.For(wire.Notification{Event: "other"})) != 0 {
		t.Fatalf("%v, %v", r, err)
	}
	for name, c := range map[string]struct {
		change func(*notify.Webhook)
		says   string
	}{
		"no address":      {func(w *notify.Webhook) { w.URL = "" }, "not given"},
		"http":            {func(w *notify.Webhook) { w.URL = "http://chat.example.com/x" }, "without TLS"},
		"http to private": {func(w *notify.Webhook) { w.URL = "http://10.0.0.1/x" }, "without TLS"},
		"another scheme":  {func(w *notify.Webhook) { w.URL = "ftp://chat.example.com/x" }, "scheme"},
		"a file":          {func(w *notify.Webhook) { w.URL = "file:///etc/passwd" }, "not the address"},
		"a password":      {func(w *notify.Webhook) { w.URL = "https://u:hunter2@chat.example.com/x" }, "password does not belong"},
		"no secret":       {func(w *notify.Webhook) { w.SecretFile = "" }, "secret_file is not given"},
		"absent secret":   {func(w *notify.Webhook) { w.SecretFile = filepath.Join(dir, "absent") }, "can't be read"},
		"open secret":     {func(w *notify.Webhook) { w.SecretFile = file("open", secret, 0o644) }, "others can reach it"},
		"short secret":    {func(w *notify.Webhook) { w.SecretFile = file("short", "abc\n", 0o600) }, "16 to 4096 bytes"},
		"no events":       {func(w *notify.Webhook) { w.Events = nil }, "events is empty"},
		"unknown event":   {func(w *notify.Webhook) { w.Events = []string{"brake-glass"} }, "no event"},
		"no CA":           {func(w *notify.Webhook) { w.CAFile = filepath.Join(dir, "absent") }, "ca_file"},
		"no network":      {func(w *notify.Webhook) { w.AllowNetworks = []string{"everything"} }, "neither a network"},
		"every network":   {func(w *notify.Webhook) { w.AllowNetworks = []string{"::/0"} }, "every address"},
		"a credential":    {func(w *notify.Webhook) { w.SecretFile = "credential:hook" }, "systemd has handed none"},
		"a CA of nothing": {func(w *notify.Webhook) { w.CAFile = w.SecretFile }, "no PEM certificate"},
	} {
		w := good
		c.change(&w)
		_, err := notify.Settings{Webhooks: []notify.Webhook{w}}.Open()
		if restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "number 1") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is told: %v", name, err)
		}
	}
	_, err := notify.Settings{Webhooks: []notify.Webhook{good, good}}.Open()
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("twice: %v", err)
	}
}
