package renewal_test

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/renewal"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "web1.example.com"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bed is a server's table, and hosts whose files are real and whose network is
// not.
type bed struct {
	t     *testing.T
	dir   string
	ca    *pki.CA
	store *store.Store
	mu    sync.Mutex
	now   time.Time
	away  error // what the first call to any host gives; nil = an answer
	lost  bool  // whether the answer to the second is lost
	calls int
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir(), store: storetest.Open(t, storetest.SQLite(t)), now: start}
	var err error
	b.ca, err = pki.NewCA("ours", start)
	b.must(err)
	b.must(os.WriteFile(b.file("ca.crt"), b.ca.CertPEM(), 0o644))
	return b
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) file(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) pair(name string) pki.Pair {
	return pki.Pair{Cert: b.file(name + ".crt"), Key: b.file(name + ".key")}
}

// enrol gives a host a certificate that is stored, or, of another authority,
// is not.
func (b *bed) enrol(name string, ca *pki.CA) {
	b.t.Helper()
	cert, key, err := ca.IssueAgent(name, nil, b.now)
	b.must(err)
	b.must(b.pair(name).Install(key, cert))
	c := b.shown(name)
	b.must(b.store.PutCertificate(b.t.Context(), store.Certificate{Serial: pki.SerialOf(c), Host: name, IssuedAt: b.now, NotAfter: c.NotAfter.UTC()}))
}

func (b *bed) shown(name string) *x509.Certificate {
	b.t.Helper()
	cert, err := pki.ReadCertificate(b.file(name + ".crt"))
	b.must(err)
	return cert
}

func (b *bed) renewer() *renewal.Renewer {
	return renewal.New(renewal.Config{Store: b.store, Agents: b, Hosts: b, CA: b.ca, Server: "main", Now: b.clock})
}

func (b *bed) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bed) forward(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bed) round(want int) {
	b.t.Helper()
	if n, err := b.renewer().Round(b.t.Context()); err != nil || n != want {
		b.t.Errorf("%d hosts were renewed, want %d: %v", n, want, err)
	}
}

// Host implements renewal.Hosts.
func (b *bed) Host(_ context.Context, name string) (restart.Host, error) {
	if name == "gone.example.com" {
		return restart.Host{}, restart.Errorf(restart.CodeNotFound, "there is no host %s", name)
	}
	return restart.Host{Name: name}, nil
}

// RequestRenewal implements renewal.Agents.
func (b *bed) RequestRenewal(_ context.Context, h restart.Host) (protocol.RenewalRequest, *x509.Certificate, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.away != nil {
		return protocol.RenewalRequest{}, nil, b.away
	}
	csr, err := b.pair(h.Name).Prepare(h.Name)
	return protocol.RenewalRequest{CSR: string(csr)}, b.shown(h.Name), err
}

// Renew implements renewal.Agents.
func (b *bed) Renew(_ context.Context, h restart.Host, m protocol.Renewal) (protocol.CertificateReport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	cert, err := b.pair(h.Name).Replace([]byte(m.Certificate), b.file("ca.crt"), h.Name, b.now)
	if err != nil {
		return protocol.CertificateReport{}, err
	}
	if b.lost {
		return protocol.CertificateReport{}, errors.New("no answer")
	}
	return *protocol.ReportCertificate(cert), nil
}

func (b *bed) certificates(name string) (good, pending, revoked int, failure string) {
	b.t.Helper()
	list, err := b.store.Certificates(b.t.Context())
	b.must(err)
	for _, c := range list {
		switch {
		case c.Host != name:
		case !c.RevokedAt.IsZero():
			revoked++
		case c.Pending:
			pending++
		default:
			good++
		}
		if c.Host == name {
			failure = c.Failure
		}
	}
	return good, pending, revoked, failure
}

func (b *bed) records(action audit.Action) (out []audit.Record) {
	b.t.Helper()
	out, _, err := b.store.AuditSearch(b.t.Context(), store.AuditFilter{Action: action})
	b.must(err)
	return out
}

const twoThirds = pki.LeafLife * 2 / 3

func TestRenewedAtTwoThirds(t *testing.T) {
	b := newBed(t)
	b.enrol(host, b.ca)
	b.forward(twoThirds - time.Minute)
	b.round(0)
	if b.calls != 0 {
		t.Error("the host was called before its time")
	}
	b.forward(2 * time.Minute)
	before := b.shown(host)
	b.round(1)
	after := b.shown(host)
	if !after.NotAfter.After(before.NotAfter.Add(twoThirds-time.Hour)) || after.Equal(before) {
		t.Errorf("until %v, then until %v", before.NotAfter, after.NotAfter)
	}
	if good, pending, revoked, failure := b.certificates(host); good != 2 || pending+revoked != 0 || failure != "" {
		t.Errorf("%d good, %d pending, %d revoked, failure %q", good, pending, revoked, failure)
	}
	rec := b.records(audit.CertificateIssued)
	if len(rec) != 1 || rec[0].Host != host || rec[0].Actor != "server:main" || !strings.Contains(rec[0].Detail, "renewal of "+pki.SerialOf(before)) || !strings.Contains(rec[0].Detail, pki.SerialOf(after)) {
		t.Errorf("%+v", rec)
	}
	b.forward(time.Hour)
	b.round(0)
	if b.calls != 1 {
		t.Errorf("%d calls", b.calls)
	}
	b.forward(twoThirds)
	b.round(1)
}

// A host that does not answer is tried again, later and later, and its failure
// can be seen.
func TestAFailureIsTriedAgain(t *testing.T) {
	b := newBed(t)
	b.enrol(host, b.ca)
	b.forward(twoThirds + time.Minute)
	b.away = restart.Errorf(restart.CodeUnreachable, "nothing listens there")
	for i, wait := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour} {
		b.round(0)
		b.round(0)
		if b.calls != i+1 {
			t.Fatalf("%d calls after %d rounds", b.calls, i+1)
		}
		b.forward(wait - time.Second)
		b.round(0)
		if b.calls != i+1 {
			t.Fatalf("tried again before %v", wait)
		}
		b.forward(2 * time.Second)
	}
	if _, _, _, failure := b.certificates(host); !strings.Contains(failure, "nothing listens there") {
		t.Errorf("failure %q", failure)
	}
	b.away = nil
	b.round(1)
	if _, _, _, failure := b.certificates(host); failure != "" {
		t.Errorf("failure %q after it was renewed", failure)
	}
}

// The host has taken the certificate, and its answer is lost.
func TestALostAnswerIsFoundOut(t *testing.T) {
	b := newBed(t)
	b.enrol(host, b.ca)
	b.forward(twoThirds + time.Minute)
	b.lost = true
	b.round(0)
	if good, pending, _, _ := b.certificates(host); good != 1 || pending != 1 {
		t.Errorf("%d good, %d pending", good, pending)
	}
	taken := b.shown(host)
	b.lost = false
	b.forward(time.Hour)
	b.round(1)
	if good, pending, revoked, failure := b.certificates(host); good != 2 || pending+revoked != 0 || failure != "" || !b.shown(host).Equal(taken) {
		t.Errorf("%d good, %d pending, %d revoked, failure %q", good, pending, revoked, failure)
	}
	if n := len(b.records(audit.CertificateIssued)); n != 1 {
		t.Errorf("%d certificates for one renewal", n)
	}
}

// A certificate that never reached its host is of no use to anybody after the
// next was taken.
func TestWhatWasNotTakenIsRevoked(t *testing.T) {
	b := newBed(t)
	b.enrol(host, b.ca)
	b.forward(twoThirds + time.Minute)
	b.must(b.store.PutCertificate(t.Context(), store.Certificate{Serial: "0f", Host: host, IssuedAt: b.now, NotAfter: b.now.Add(pki.LeafLife), Pending: true}))
	b.round(1)
	if good, pending, revoked, _ := b.certificates(host); good != 2 || pending != 0 || revoked != 1 || len(b.records(audit.CertificateRevoked)) != 1 {
		t.Errorf("%d good, %d pending, %d revoked", good, pending, revoked)
	}
}

// A company's own certificates are left alone, whoever is in the table.
func TestACompanysCertificateIsLeftAlone(t *testing.T) {
	b := newBed(t)
	b.enrol(host, b.ca)
	company.NewPKI(t).Lay(host, company.ServerAuth, b.file(host+".crt"), b.file(host+".key"))
	shown := b.shown(host)
	b.forward(twoThirds + time.Minute)
	b.round(0)
	b.round(0)
	if b.calls != 1 || !b.shown(host).Equal(shown) || len(b.records(audit.CertificateIssued)) != 0 {
		t.Errorf("%d calls, %d certificates", b.calls, len(b.records(audit.CertificateIssued)))
	}
}

// While the authority is changed, hosts trust both, and renewal moves them to
// the new one.
func TestRenewalMovesToTheNewAuthority(t *testing.T) {
	b := newBed(t)
	b.enrol(host, b.ca)
	b.forward(twoThirds + time.Minute)
	old := b.ca.CertPEM()
	var err error
	b.ca, err = pki.NewCA("the next", b.now)
	b.must(err)
	b.must(os.WriteFile(b.file("ca.crt"), append(b.ca.CertPEM(), old...), 0o644))
	b.round(1)
	if issuer := b.shown(host).Issuer.CommonName; issuer != "the next" {
		t.Errorf("issued by %s", issuer)
	}
}

func TestNoCertificateOutlivesItsAuthority(t *testing.T) {
	b := newBed(t)
	b.forward(pki.AuthorityLife - 200*24*time.Hour)
	b.enrol(host, b.ca)
	b.forward(150 * 24 * time.Hour)
	b.round(0)
	if _, _, _, failure := b.certificates(host); !strings.Contains(failure, "the authority itself ends") || b.calls != 0 {
		t.Errorf("failure %q, %d calls", failure, b.calls)
	}
}

// Two servers, and more hosts than are renewed at a time: each once.
func TestEachHostIsOneServers(t *testing.T) {
	b := newBed(t)
	const hosts = 30
	for i := range hosts {
		b.enrol("web"+string(rune('a'+i%26))+string(rune('a'+i/26))+".example.com", b.ca)
	}
	b.enrol("gone.example.com", b.ca)
	b.forward(twoThirds + time.Minute)
	var all sync.WaitGroup
	counts := make([]int, 2)
	for i := range counts {
		all.Go(func() {
			n, err := b.renewer().Round(t.Context())
			if err != nil {
				t.Error(err)
			}
			counts[i] = n
		})
	}
	all.Wait()
	if counts[0]+counts[1] != hosts || b.calls != hosts || len(b.records(audit.CertificateIssued)) != hosts {
		t.Errorf("renewed %v, %d calls, %d certificates", counts, b.calls, len(b.records(audit.CertificateIssued)))
	}
	if _, _, _, failure := b.certificates("gone.example.com"); !strings.Contains(failure, "no host gone.example.com") {
		t.Errorf("failure %q", failure)
	}
}

func TestRunStops(t *testing.T) {
	b := newBed(t)
	b.enrol(host, b.ca)
	b.forward(twoThirds + time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	r := b.renewer()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 2000 { // 20 s
		if good, _, _, _ := b.certificates(host); good == 2 {
			break
		}
		<-tick.C
	}
	if good, _, _, _ := b.certificates(host); good != 2 {
		t.Error("nothing was renewed")
	}
	cancel()
	<-ended
}
