package pki_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
)

// The settings are used under net/http: HTTP/2 must be spoken, and a refusal,
// which TLS 1.3 tells only after the client's handshake, must be understood.
func TestThroughHTTP(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }),
		TLSConfig: agent(t, ca, "web1", now).listen(t, "main"),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { srv.Close(); <-served })

	get := func(name string) (string, error) {
		transport := &http.Transport{TLSClientConfig: server(t, ca, name, now).call(t, "web1"), ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		resp, err := client.Get("https://" + listener.Addr().String() + "/")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if proto, err := get("main"); err != nil || proto != "HTTP/2.0" {
		t.Errorf("a listed server: %q, %v", proto, err)
	}
	if _, err = get("stray"); err == nil {
		t.Fatal("a server that is not listed was answered")
	}
	e := pki.Explain(err)
	if e == nil { // the connection's end came before the refusal
		e = pki.Diagnose(t.Context(), listener.Addr().String(), server(t, ca, "stray", now).call(t, "web1"))
	}
	if e == nil || !strings.Contains(e.Message, "refused our certificate") {
		t.Errorf("a server that is not listed: %v, explained as %v", err, e)
	}
	if e := pki.Diagnose(t.Context(), listener.Addr().String(), server(t, ca, "main", now).call(t, "web1")); e != nil {
		t.Errorf("nothing is wrong, but: %v", e)
	}
}
