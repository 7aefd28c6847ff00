package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/server"
)

// served is a server that runs in this process.
type served struct {
	t      *testing.T
	url    string
	ssh    string // address; "" = nobody comes by SSH
	token  string
	dir    string // of server.yaml
	stop   context.CancelFunc
	ended  chan error
	client *http.Client
}

// serve starts a server on a free port, once edit has changed what it likes.
func serve(t *testing.T, edit func(cfg *server.Config)) *served {
	t.Helper()
	r, _ := initialised(t)
	return serveAgain(t, r, edit)
}

// serveAgain starts a server of a folder that may have had one before.
func serveAgain(t *testing.T, r server.InitResult, edit func(cfg *server.Config)) *served {
	t.Helper()
	cfg, err := server.ReadConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "127.0.0.1:0"
	if edit != nil {
		edit(&cfg)
	}
	s, err := server.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(r.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	ctx, stop := context.WithCancel(t.Context())
	out := &served{
		t: t, url: "https://" + s.Address(), ssh: s.SSHAddress(), token: r.Token, dir: filepath.Dir(r.Config), stop: stop, ended: make(chan error, 1),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, DisableKeepAlives: true}},
	}
	go func() { out.ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := out.over(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return out
}

// over waits until the server has ended.
func (s *served) over() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(2 * time.Minute):
		return errors.New("no end within two minutes")
	}
}

func (s *served) get(path, token string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// becomes waits for an answer of /readyz.
func (s *served) becomes(status int, line string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body := s.get("/readyz", "")
		if got == status && strings.Contains(body, line+"\n") {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("it stays %d:\n%s", got, body)
		case <-tick.C:
		}
	}
}

const allFine = "database ok\nschema ok\ninventory ok\naudit ok\ndisk ok\nserving ok\nready\n"

func TestReadySaysWhatIsWrong(t *testing.T) {
	s := serve(t, nil)
	s.becomes(200, "ready")
	if _, body := s.get("/readyz", ""); body != allFine {
		t.Errorf("it says\n%s", body)
	}
	if status, body := s.get("/metrics", ""); status != 401 || strings.Contains(body, "restartilka_") {
		t.Errorf("without a token: %d\n%s", status, body)
	}
	if status, body := s.get("/metrics", s.token); status != 200 || !strings.Contains(body, `restartilka_ready{check="database"} 1`) {
		t.Errorf("with a token: %d\n%s", status, body)
	}
}

// An inventory that has never been read makes a server of no use; one that
// breaks later does not.
func TestReadyOnceTheInventoryIsRead(t *testing.T) {
	var good []byte
	var path string
	s := serve(t, func(cfg *server.Config) {
		path = cfg.Inventory.Path
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		good = b
		if err := os.WriteFile(path, []byte("services: [{nam: x}]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	s.becomes(503, "inventory failed")
	if _, body := s.get("/readyz", ""); strings.Contains(body, path) || strings.Contains(body, "nam") {
		t.Errorf("it tells too much:\n%s", body)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.becomes(200, "inventory ok")
	if err := os.WriteFile(path, []byte("services: [{nam: again}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.becomes(200, "inventory ok")
	if _, body := s.get("/metrics", s.token); !strings.Contains(body, "restartilka_inventory_up 0") {
		t.Error("the metric does not tell that the source fails")
	}
}

// A local trail that takes no records makes a server not ready.
func TestReadyNeedsTheLocalTrail(t *testing.T) {
	var trail string
	s := serve(t, func(cfg *server.Config) { trail = cfg.Audit.Sinks[0].Path })
	s.becomes(200, "audit ok")
	// Nothing can be appended to what is a folder now.
	if err := os.Remove(trail); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(trail, 0o700); err != nil {
		t.Fatal(err)
	}
	s.makeRecord()
	s.becomes(503, "audit failed")
	if err := os.Remove(trail); err != nil {
		t.Fatal(err)
	}
	s.becomes(200, "audit ok")
}

// A stopping server says so for as long as it is told to, and then ends. On a
// machine that has no time to look meanwhile it is told to for longer.
func TestStoppingServerDrains(t *testing.T) {
	for drain := 1500 * time.Millisecond; !drains(t, drain); drain *= 4 {
		if drain > time.Minute {
			t.Fatal("nobody can look while it drains")
		}
	}
}

// drains tells whether the server could be looked at while it drained.
func drains(t *testing.T, drain time.Duration) bool {
	t.Helper()
	s := serve(t, func(cfg *server.Config) { cfg.Drain = drain })
	s.becomes(200, "serving ok")
	began := time.Now()
	s.stop()
	inTime := func() bool { return time.Since(began) < drain }
	ready, body := s.get("/readyz", "")
	for inTime() && (ready != 503 || !strings.Contains(body, "serving failed\n")) {
		ready, body = s.get("/readyz", "")
	}
	ping, _ := s.get("/ping", "")
	looked := inTime()
	if looked && ping != 200 {
		t.Errorf("ping: %d", ping)
	}
	err := s.over()
	if took := time.Since(began); err != nil || took < drain {
		t.Errorf("it ended after %v with %v", took, err)
	}
	s.ended <- err
	return looked
}

// makeRecord has something written to the audit trail.
func (s *served) makeRecord() {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api/v1/tokens", strings.NewReader(`{"name":"more"}`))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		s.t.Fatalf("make a token: %s", resp.Status)
	}
}
