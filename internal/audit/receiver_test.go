package audit_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
)

const logServer = "logs.example.com"

// authority signs the certificates of receivers.
type authority struct {
	ca    *pki.CA
	roots *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM())
	return authority{ca, roots}
}

func (a authority) server(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	certPEM, keyPEM, err := a.ca.IssueServer("logs", []string{logServer}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return certPEM, keyPEM
}

// receiver is a receiver of RFC 5425 in this process, for what rsyslog can't be
// told to do: stop reading, or break a connection at a given moment.
type receiver struct {
	authority
	address string
	config  *tls.Config

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	got      []audit.Record
	faults   []string
	messages []*rfc5424.SyslogMessage
	changed  chan struct{}
	frozen   chan struct{} // while not nil, nothing is read
	serving  sync.WaitGroup
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{authority: newAuthority(t), conns: map[net.Conn]bool{}, changed: make(chan struct{})}
	pair, err := tls.X509KeyPair(r.server(t))
	if err != nil {
		t.Fatal(err)
	}
	r.config = &tls.Config{Certificates: []tls.Certificate{pair}}
	r.start(t)
	t.Cleanup(func() {
		r.stop()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, fault := range r.faults {
			t.Error(fault)
		}
	})
	return r
}

// start listens, on the same address as before.
func (r *receiver) start(t *testing.T) {
	t.Helper()
	address := r.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r.address = listener.Addr().String()
	r.mu.Lock()
	r.listener = listener
	r.mu.Unlock()
	r.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[conn] = true
			r.mu.Unlock()
			r.serving.Go(func() { r.serve(conn) })
		}
	})
}

// stop ends listener and connections; what was not read is lost.
func (r *receiver) stop() {
	r.mu.Lock()
	r.listener.Close()
	if r.frozen != nil {
		close(r.frozen)
		r.frozen = nil
	}
	r.mu.Unlock()
	r.breakAll()
	r.serving.Wait()
}

// breakAll resets every connection.
func (r *receiver) breakAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		delete(r.conns, conn)
	}
}

func (r *receiver) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = make(chan struct{})
}

func (r *receiver) serve(raw net.Conn) {
	defer raw.Close()
	conn := tls.Server(raw, r.config)
	parser := octetcounting.NewParser(syslog.WithListener(r.take), syslog.WithMaxMessageLength(8192))
	parser.Parse(gate{conn, r})
}

// gate lets nothing through while the receiver is frozen.
type gate struct {
	io.Reader
	r *receiver
}

func (g gate) Read(b []byte) (int, error) {
	g.r.mu.Lock()
	frozen := g.r.frozen
	g.r.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	return g.Reader.Read(b)
}

func (r *receiver) take(result *syslog.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if result.Error != nil {
		if !strings.Contains(result.Error.Error(), "EOF") && result.Message != nil {
			r.faults = append(r.faults, result.Error.Error())
		}
		return
	}
	m := result.Message.(*rfc5424.SyslogMessage)
	record, err := audit.Decode([]byte(*m.Message))
	if err != nil {
		r.faults = append(r.faults, err.Error())
		return
	}
	r.got = append(r.got, record)
	r.messages = append(r.messages, m)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *receiver) records() []audit.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// await waits for what has arrived to be as wanted.
func (r *receiver) await(t *testing.T, wanted func([]audit.Record) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok, changed := wanted(r.got), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d records have arrived", len(r.records()))
		}
	}
}

func (r *receiver) sink(t *testing.T, settle time.Duration) *audit.Syslog {
	t.Helper()
	s, err := audit.NewSyslog(audit.SyslogConfig{
		Address: r.address, TLS: &tls.Config{RootCAs: r.roots, ServerName: logServer}, Settle: settle,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// eventually asks until it is so.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	if !within(20*time.Second, so) {
		t.Fatal("it is not so after 20 s")
	}
}

func within(d time.Duration, so func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(d)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}
	return true
}
