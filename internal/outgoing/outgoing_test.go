package outgoing_test

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

// A name that leads elsewhere than to this machine gets nothing without TLS.
func TestCheckAddress(t *testing.T) {
	t.Parallel()
	for address, plain := range map[string]bool{"192.0.2.1:80": true, "169.254.169.254:80": false, "0.0.0.0:80": false, "[fe80::1]:443": false, "[::ffff:169.254.169.254]:80": false, "224.0.0.1:389": false} {
		if err := outgoing.CheckAddress(plain)(context.Background(), "tcp", address, nil); err == nil {
			t.Errorf("%s, without TLS %v, is dialled", address, plain)
		}
	}
	for address, plain := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "192.0.2.1:443": false, "10.1.2.3:443": false} {
		if err := outgoing.CheckAddress(plain)(context.Background(), "tcp", address, nil); err != nil {
			t.Errorf("%s, without TLS %v: %v", address, plain, err)
		}
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/exact":
			io.WriteString(w, strings.Repeat("x", 100))
		default:
			io.WriteString(w, strings.Repeat("x", 101))
		}
	}))
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	get := func(o outgoing.Options, path string) (int, string, error) {
		o.Timeout, o.Most = 5*time.Second, 100
		client, err := outgoing.Client(o)
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	if _, body, err := get(outgoing.Options{CAFile: ca}, "/exact"); err != nil || len(body) != 100 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if _, body, err := get(outgoing.Options{CAFile: ca}, "/long"); restart.CodeOf(err) != restart.CodeTooLarge || len(body) > 100 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if status, _, err := get(outgoing.Options{CAFile: ca}, "/redirect"); err != nil || status != http.StatusTemporaryRedirect || elsewhere != 0 {
		t.Errorf("status %d, %d followed, %v", status, elsewhere, err)
	}
	if _, _, err := get(outgoing.Options{}, "/exact"); err == nil {
		t.Error("an unknown authority is believed")
	}
	if _, err := outgoing.Client(outgoing.Options{CAFile: ca + ".none"}); restart.CodeOf(err) != restart.CodeInvalid {
		t.Error(err)
	}
}
