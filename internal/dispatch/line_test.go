package dispatch_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// trusting is a client whose list of revocations and clock are the test's.
type trusting struct {
	*dispatch.Client
	authority authority
	revoked   pki.Revocations
	ahead     atomic.Int64 // of its clock, ns
}

func newTrusting(t *testing.T, a authority) *trusting {
	t.Helper()
	c := &trusting{authority: a}
	var err error
	c.Client, err = dispatch.New(dispatch.Config{
		Certificate: a.file("client.crt"), Key: a.file("client.key"), CA: a.file("ca.crt"), DialTimeout: time.Second,
		Refuse: c.revoked.Check, Now: func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) },
	})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// witness answers statuses, and notes serials and connections.
type witness struct {
	mu          sync.Mutex
	connections map[string]bool
	wait        chan struct{} // closed = answer; nil = at once
	arrived     chan struct{}
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.connections[r.RemoteAddr] = true
	w.mu.Unlock()
	if w.wait != nil {
		w.arrived <- struct{}{}
		select {
		case <-w.wait:
		case <-r.Context().Done():
			return
		}
	}
	json.NewEncoder(rw).Encode(protocol.TaskStatus{Task: task}) // the test sees it
}

func (w *witness) seen() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.connections)
}

// revoke puts the certificate that an agent shows onto the list.
func (c *trusting) revoke(t *testing.T, address string) {
	t.Helper()
	var serial string
	probe, err := dispatch.New(dispatch.Config{
		Certificate: c.authority.file("client.crt"), Key: c.authority.file("client.key"), CA: c.authority.file("ca.crt"),
		Refuse: func(cert *x509.Certificate) error {
			serial = pki.SerialOf(cert)
			return errors.New("only asking")
		},
	})
	must(t, err)
	defer probe.Close()
	get(t, probe, address) // it fails, by asking
	if serial == "" {
		t.Fatal("the agent showed nothing")
	}
	c.revoked.Replace([]pki.Revocation{{Serial: serial, Host: host, At: time.Now(), Reason: "the disk was stolen"}})
}

func TestARevokedHostIsNotTalkedTo(t *testing.T) {
	a := newAuthority(t, "ours")
	w := &witness{connections: map[string]bool{}}
	address := agent(t, a, a, host, w)
	c := newTrusting(t, a)
	must(t, get(t, c.Client, address))
	c.revoke(t, address)
	// The pooled connection is not used any more, and no new one is accepted.
	err := get(t, c.Client, address)
	var notSent *dispatch.NotSentError
	if !errors.As(err, &notSent) || notSent.Err.Code != restart.CodeRevoked || !strings.Contains(err.Error(), "the certificate of "+host+" was revoked on") || !strings.Contains(err.Error(), "the disk was stolen") {
		t.Errorf("%v", err)
	}
	if w.seen() != 1 {
		t.Errorf("%d connections brought a request", w.seen())
	}
}

// What is on a connection when the host is revoked ends then, and not when it
// would have ended by itself.
func TestARevocationCutsWhatIsOpen(t *testing.T) {
	a := newAuthority(t, "ours")
	w := &witness{connections: map[string]bool{}, wait: make(chan struct{}), arrived: make(chan struct{}, 1)}
	address := agent(t, a, a, host, w)
	c := newTrusting(t, a)
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		_, err := c.Status(ctx, restart.Host{Name: host, Address: address}, task, -1, 0)
		ended <- err
	}()
	<-w.arrived
	c.Recheck() // nothing is revoked: it stays
	select {
	case err := <-ended:
		t.Fatalf("cut without a reason: %v", err)
	default:
	}
	c.revoke(t, address)
	c.Recheck()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("answered")
		}
	case <-ctx.Done():
		t.Error("the connection to a revoked host is still open")
	}
	close(w.wait)
}

// A connection rests on two certificates, and counts no longer than both.
func TestAConnectionDoesNotOutliveItsCertificates(t *testing.T) {
	a := newAuthority(t, "ours")
	w := &witness{connections: map[string]bool{}}
	address := agent(t, a, a, host, w)
	c := newTrusting(t, a)
	for range 3 {
		must(t, get(t, c.Client, address))
	}
	if w.seen() != 1 {
		t.Fatalf("%d connections for three requests", w.seen())
	}
	// Our own certificate was replaced, by one that lives longer than the agent's.
	cert, key, err := a.ca.IssueClient("main", time.Now().Add(4*time.Minute))
	must(t, err)
	a.write(t, "client", cert, key)
	must(t, get(t, c.Client, address))
	if w.seen() != 2 {
		t.Errorf("%d connections after our certificate was replaced", w.seen())
	}
	// The agent's is over.
	c.ahead.Store(int64(pki.LeafLife + 2*time.Minute))
	must(t, get(t, c.Client, address)) // this one's handshake is judged by the real clock
	if w.seen() != 3 {
		t.Errorf("%d connections after the end of the agent's certificate", w.seen())
	}
	// Our own is over, and nobody has replaced it: no connection is good then.
	c.ahead.Store(0)
	cert, key, err = a.ca.IssueClient("main", time.Now().Add(-4*time.Minute))
	must(t, err)
	a.write(t, "client", cert, key)
	must(t, get(t, c.Client, address))
	before := w.seen()
	must(t, get(t, c.Client, address))
	if w.seen() != before {
		t.Errorf("%d connections where %d were enough", w.seen(), before)
	}
	c.ahead.Store(int64(pki.LeafLife - 2*time.Minute))
	must(t, get(t, c.Client, address))
	if w.seen() != before+1 {
		t.Errorf("%d connections after the end of our certificate, %d before", w.seen(), before)
	}
}

func TestRenewalVerbs(t *testing.T) {
	a := newAuthority(t, "ours")
	var seen []string
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/certificate/request", func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.RemoteAddr)
		fmt.Fprint(w, `{"csr":"please"}`)
	})
	mux.HandleFunc("PUT /v1/certificate", func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.RemoteAddr)
		var m protocol.Renewal
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.Certificate != "here" {
			t.Errorf("%+v, %v", m, err)
		}
		fmt.Fprint(w, `{"serial":"5f"}`)
	})
	mux.HandleFunc("POST /v1/check", func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.RemoteAddr)
		fmt.Fprint(w, `{}`)
	})
	h := restart.Host{Name: host, Address: agent(t, a, a, host, mux)}
	c := newClient(t, a)
	ctx := t.Context()
	_, err := c.Check(ctx, h, protocol.CheckRequest{})
	must(t, err)
	request, shown, err := c.RequestRenewal(ctx, h)
	if err != nil || request.CSR != "please" || pki.Is(shown, pki.Identity{Role: pki.RoleAgent, Name: host}) != nil {
		t.Errorf("%+v, %v, %v", request, shown, err)
	}
	report, err := c.Renew(ctx, h, protocol.Renewal{Certificate: "here"})
	if err != nil || report.Serial != "5f" {
		t.Errorf("%+v, %v", report, err)
	}
	_, err = c.Check(ctx, h, protocol.CheckRequest{})
	must(t, err)
	// What the agent shows now is asked on a new connection, and so is what
	// comes after a renewal.
	if len(seen) != 4 || seen[0] == seen[1] || seen[1] != seen[2] || seen[2] == seen[3] {
		t.Errorf("connections: %v", seen)
	}
}
