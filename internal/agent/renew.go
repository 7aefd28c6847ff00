package agent

import (
	"context"
	"crypto/x509"
	"net/http"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Identity is the host's own certificate as its agent keeps it, and renews it
// when a server asks.
type Identity struct {
	Host string
	Pair pki.Pair
	CA   string                   // file of the authorities
	Leaf func() *x509.Certificate // in use on the listener

	turn sync.Mutex // one exchange at a time
}

// NewIdentity gives the identity of these settings, with the certificate in use.
func NewIdentity(s Settings, leaf func() *x509.Certificate) *Identity {
	return &Identity{Host: s.Host, Pair: pki.Pair{Cert: s.Certificate, Key: s.Key}, CA: s.CA, Leaf: leaf}
}

// Report tells which certificate is in use; nil of none.
func (i *Identity) Report() *protocol.CertificateReport {
	if i == nil {
		return nil
	}
	return protocol.ReportCertificate(i.Leaf())
}

// request makes a new key and the request to certify it. A certificate that is
// not one of ours, by its URI, comes from a company's PKI and is not touched
// (CodeConflict).
func (i *Identity) request() (protocol.RenewalRequest, error) {
	i.turn.Lock()
	defer i.turn.Unlock()
	id, ours, err := pki.IdentityOf(i.Leaf())
	if err != nil {
		return protocol.RenewalRequest{}, err
	}
	if !ours || id != (pki.Identity{Role: pki.RoleAgent, Name: i.Host}) {
		return protocol.RenewalRequest{}, restart.Errorf(restart.CodeConflict, "the certificate of %s is not one that restartilka has issued", i.Host).
			WithHint("whoever issued it renews it: lay the new files, they are taken up without a restart")
	}
	csr, err := i.Pair.Prepare(i.Host)
	if err != nil {
		return protocol.RenewalRequest{}, err
	}
	return protocol.RenewalRequest{CSR: string(csr)}, nil
}

// renew puts the certificate for the newest key into use.
func (i *Identity) renew(m protocol.Renewal, now time.Time) (*protocol.CertificateReport, error) {
	i.turn.Lock()
	defer i.turn.Unlock()
	if len(m.Certificate) > pki.MaxCSR {
		return nil, restart.Errorf(restart.CodeTooLarge, "the certificate has %d bytes; at most %d are read", len(m.Certificate), pki.MaxCSR)
	}
	if _, err := i.Pair.Replace([]byte(m.Certificate), i.CA, i.Host, now); err != nil {
		return nil, err
	}
	return protocol.ReportCertificate(i.Leaf()), nil // as the next handshake will show it
}

func (a *Agent) serveRenewalRequest(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, func(context.Context, string, struct{}) (protocol.RenewalRequest, error) {
		if a.cfg.Identity == nil {
			return protocol.RenewalRequest{}, errNoIdentity
		}
		return a.cfg.Identity.request()
	})
}

func (a *Agent) serveRenewal(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, func(_ context.Context, _ string, m protocol.Renewal) (*protocol.CertificateReport, error) {
		if a.cfg.Identity == nil {
			return nil, errNoIdentity
		}
		report, err := a.cfg.Identity.renew(m, a.cfg.Now())
		if err == nil {
			a.cfg.Logger.Info("this host's certificate was renewed", "serial", report.Serial, "until", report.NotAfter)
		}
		return report, err
	})
}

var errNoIdentity = restart.Errorf(restart.CodeConflict, "this agent does not keep its certificate itself")

// expired refuses a server whose certificate has ended since its connection was
// made: connections live for as long as they are busy.
func expired(r *http.Request, now time.Time) error {
	if cert := r.TLS.PeerCertificates[0]; now.After(cert.NotAfter) {
		return restart.Errorf(restart.CodeUnauthorised, "the server's certificate has expired since this connection was made").
			WithHint("make a new connection, with a certificate that is good")
	}
	return nil
}
