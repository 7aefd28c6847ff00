package dispatch_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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
	c.revoked.Replace([]pki.Revocation{{Serial: c.shown(t, restart.Host{Name: host, Address: address}), Host: host, At: time.Now(), Reason: "the disk was stolen"}})
}

// shown gives the serial number of the certificate that an agent shows.
func (c *trusting) shown(t *testing.T, h restart.Host) (serial string) {
	t.Helper()
	probe, err := dispatch.New(dispatch.Config{
		Certificate: c.authority.file("client.crt"), Key: c.authority.file("client.key"), CA: c.authority.file("ca.crt"),
		Refuse: func(cert *x509.Certificate) error {
			serial = pki.SerialOf(cert)
			return errors.New("only asking")
		},
	})
	must(t, err)
	defer probe.Close()
	get(t, probe, h.Address) // it fails, by asking
	if serial == "" {
		t.Fatal("the agent showed nothing")
	}
	return serial
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

// Nor does what is open escape a revocation because a renewal, or a new
// certificate of our own, has meanwhile had others make new connections.
func TestARevocationCutsWhatIsOpenOnAReplacedConnection(t *testing.T) {
	for name, replace := range map[string]func(*testing.T, *trusting, restart.Host){
		"renewal": func(t *testing.T, c *trusting, h restart.Host) {
			_, err := c.Renew(t.Context(), h, protocol.Renewal{})
			must(t, err)
		},
		"our own certificate": func(t *testing.T, c *trusting, h restart.Host) {
			cert, key, err := c.authority.ca.IssueClient("main", time.Now().Add(4*time.Minute))
			must(t, err)
			c.authority.write(t, "client", cert, key)
			_, err = c.Check(t.Context(), h, protocol.CheckRequest{})
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, "ours")
			arrived, wait := make(chan struct{}), make(chan struct{})
			defer close(wait)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /v1/tasks/{id}", func(_ http.ResponseWriter, r *http.Request) {
				close(arrived)
				select {
				case <-wait:
				case <-r.Context().Done():
				}
			})
			mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
			address := agent(t, a, a, host, mux)
			h := restart.Host{Name: host, Address: address}
			c := newTrusting(t, a)
			ended := make(chan error, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			go func() {
				_, err := c.Status(ctx, h, task, -1, 0)
				ended <- err
			}()
			<-arrived
			replace(t, c, h)
			c.revoked.Replace([]pki.Revocation{{Serial: c.shown(t, h), Host: host, At: time.Now(), Reason: "the disk was stolen"}})
			c.Recheck()
			if err := <-ended; err == nil || ctx.Err() != nil {
				t.Errorf("the connection to a revoked host was still open: %v", err)
			}
		})
	}
}

// A host that was revoked during its handshake gets no request.
func TestARevocationDuringTheHandshakeCounts(t *testing.T) {
	a := newAuthority(t, "ours")
	w := &witness{connections: map[string]bool{}}
	address := agent(t, a, a, host, w)
	judged := 0
	c, err := dispatch.New(dispatch.Config{
		Certificate: a.file("client.crt"), Key: a.file("client.key"), CA: a.file("ca.crt"), DialTimeout: time.Second,
		Refuse: func(*x509.Certificate) error { // good in the handshake, revoked right after it
			if judged++; judged > 1 {
				return restart.Errorf(restart.CodeRevoked, "revoked")
			}
			return nil
		},
	})
	must(t, err)
	defer c.Close()
	var notSent *dispatch.NotSentError
	if err := get(t, c, address); !errors.As(err, &notSent) || notSent.Err.Code != restart.CodeRevoked || w.seen() != 0 {
		t.Errorf("%v; %d connections brought a request", err, w.seen())
	}
}

// A host behind an open connection that has fallen silent is asked the next
// time over a new one: it may be well, and only what is between has forgotten.
func TestASilentConnectionIsNotUsedAgain(t *testing.T) {
	a := newAuthority(t, "ours")
	w := &witness{connections: map[string]bool{}}
	address := agent(t, a, a, host, w)
	relay := newRelay(t, address)
	c := newClient(t, a)
	must(t, get(t, c, relay.address))
	relay.forget()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Status(ctx, restart.Host{Name: host, Address: relay.address}, task, -1, 0); err == nil {
		t.Fatal("answered over a dead connection")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := c.Status(ctx, restart.Host{Name: host, Address: relay.address}, task, -1, 0); err != nil {
		t.Errorf("the host is well: %v", err)
	}
}

// relay passes connections on, until it forgets those that are there, as a
// firewall does: what comes on them goes nowhere, and nobody is told.
type relay struct {
	address string
	mu      sync.Mutex
	lost    *atomic.Bool // of the connections made from now on
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &relay{address: l.Addr().String(), lost: new(atomic.Bool)}
	var all sync.WaitGroup
	var open []net.Conn
	copyTo := func(dst, src net.Conn, lost *atomic.Bool) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if err != nil {
				dst.Close()
				return
			}
			if !lost.Load() {
				dst.Write(buf[:n]) // the reader sees what is wrong
			}
		}
	}
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			lost := r.lost
			open = append(open, in, out)
			r.mu.Unlock()
			all.Go(func() { copyTo(out, in, lost) })
			all.Go(func() { copyTo(in, out, lost) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for _, c := range open {
			c.Close()
		}
		r.mu.Unlock()
		all.Wait()
	})
	return r
}

func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost.Store(true)
	r.lost = new(atomic.Bool)
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
