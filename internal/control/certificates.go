package control

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Enrolment is what a host needs to trust this server.
type Enrolment struct {
	CA     *pki.CA // nil where the company's own PKI issues certificates
	CAPEM  []byte  // what agents pin
	Server string  // the server's name in its client certificate
	// EnvelopeKeys are those that a host is to obey: the one in use first.
	EnvelopeKeys []ed25519.PublicKey
	// Pin gives the pin of the listener's certificate as it is now, by which a
	// new host knows the server. Needed where CA is.
	Pin func() (pki.Pin, error)
	// Revoked is called when certificates were revoked, so that connections to
	// their hosts end at once; nil = nobody calls agents.
	Revoked func(ctx context.Context) error
}

// keyIDs names the envelope keys; nil of none.
func (e *Enrolment) keyIDs() []string {
	if e == nil {
		return nil
	}
	var out []string
	for _, k := range e.EnvelopeKeys {
		out = append(out, protocol.KeyID(k))
	}
	return out
}

var errNoAuthority = restart.Errorf(restart.CodeConflict, "this server has no certificate authority of its own").
	WithHint("the company's PKI issues the hosts' certificates, with the host's name as DNS SAN")

// signed is a certificate that the authority has just made.
type signed struct {
	pem     []byte
	row     store.Certificate
	keyHash string // SHA-256 of the public key, hex
}

func (s signed) detail() string {
	return "serial " + s.row.Serial + ", until " + s.row.NotAfter.UTC().Format(time.RFC3339)
}

// sign has the authority sign a host's request. Nothing is stored.
func (c *Control) sign(csrPEM []byte, host string, now time.Time) (signed, error) {
	ca := c.cfg.Enrol.CA
	if ca == nil {
		return signed{}, errNoAuthority
	}
	certPEM, err := ca.SignAgentCSR(csrPEM, host, now)
	if bad, ok := errors.AsType[*restart.Error](err); ok && bad.Code == restart.CodeCertificate {
		err = restart.Errorf(restart.CodeInvalid, "%s", bad.Message) // what was sent is at fault, not a peer
	}
	if err != nil {
		return signed{}, err
	}
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return signed{}, fmt.Errorf("read the certificate just issued: %w", err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	row := store.Certificate{Serial: pki.SerialOf(cert), Host: host, IssuedAt: now, NotAfter: cert.NotAfter.UTC()}
	return signed{pem: certPEM, row: row, keyHash: hex.EncodeToString(sum[:])}, nil
}

// trust gives a certificate with all that a host needs beside it.
func (c *Control) trust(certPEM []byte) (wire.HostCredentials, error) {
	e := c.cfg.Enrol
	var keys []byte
	for _, k := range e.EnvelopeKeys {
		text, err := pki.EnvelopePublicPEM(k)
		if err != nil {
			return wire.HostCredentials{}, err
		}
		keys = append(keys, text...)
	}
	return wire.HostCredentials{Certificate: string(certPEM), CA: string(e.CAPEM), Server: e.Server, EnvelopeKey: string(keys)}, nil
}

// IssueHost signs a host's certificate request. The key never leaves whoever
// made it.
func (c *Control) IssueHost(ctx context.Context, actor restart.Actor, host string, csrPEM []byte) (wire.HostCredentials, error) {
	rec := c.record(actor, audit.CertificateIssued)
	rec.Host = clip(host)
	err := c.requireNow(actor, authz.Administer)
	if err == nil {
		err = restart.CheckHost(host)
	}
	var issued signed
	if err == nil {
		issued, err = c.sign(csrPEM, host, c.now())
	}
	if err != nil {
		return wire.HostCredentials{}, c.refused(ctx, rec, err)
	}
	rec.Detail = issued.detail()
	if err := c.cfg.Store.PutCertificate(ctx, issued.row, rec); err != nil {
		return wire.HostCredentials{}, err
	}
	c.cfg.Committed()
	return c.trust(issued.pem)
}

// Certificates lists what this server's own authority has issued to hosts.
func (c *Control) Certificates(ctx context.Context, actor restart.Actor) ([]wire.Certificate, error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return nil, err
	}
	list, err := c.cfg.Store.Certificates(ctx)
	if err != nil {
		return nil, err
	}
	out := []wire.Certificate{}
	for _, x := range list {
		out = append(out, c.certificateInfo(x))
	}
	return out, nil
}

func (c *Control) certificateInfo(x store.Certificate) wire.Certificate {
	state := wire.CertificateGood
	switch {
	case !x.RevokedAt.IsZero():
		state = wire.CertificateRevoked
	case !c.now().Before(x.NotAfter):
		state = wire.CertificateOver
	case x.Pending:
		state = wire.CertificatePending
	}
	out := wire.Certificate{Serial: x.Serial, Host: x.Host, State: state, IssuedAt: x.IssuedAt, NotAfter: x.NotAfter, RevokedAt: orNull(x.RevokedAt), Revocation: x.Revocation}
	if state == wire.CertificateGood {
		out.RenewalFailure = x.Failure
	}
	return out
}

// RevokeCertificates ends the certificates of a host, or the one with a serial,
// before their time: the server then talks to nobody who shows them. It gives
// those that were not revoked before.
func (c *Control) RevokeCertificates(ctx context.Context, actor restart.Actor, req wire.RevocationRequest) ([]wire.Certificate, error) {
	rec := c.record(actor, audit.CertificateRevoked)
	rec.Host, rec.Reason = clip(req.Host), clip(req.Reason)
	reason, err := c.checkRevocation(actor, req)
	if err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	list, err := c.cfg.Store.RevokeCertificates(ctx, store.Revocation{Host: req.Host, Serial: req.Serial, Reason: reason, At: c.now(), Record: rec})
	if err != nil {
		return nil, c.refused(ctx, rec, restart.InField(err, revokedField(req)))
	}
	c.cfg.Committed()
	c.revocationsChanged(ctx)
	out := []wire.Certificate{}
	for _, x := range list {
		out = append(out, c.certificateInfo(x))
	}
	return out, nil
}

// revokedField is the field that names what is revoked.
func revokedField(req wire.RevocationRequest) string {
	if req.Host != "" {
		return "host"
	}
	return "serial"
}

func (c *Control) checkRevocation(actor restart.Actor, req wire.RevocationRequest) (reason string, err error) {
	if err := c.requireNow(actor, authz.Administer); err != nil {
		return "", err
	}
	switch {
	case (req.Host == "") == (req.Serial == ""):
		return "", restart.Errorf(restart.CodeInvalid, "name a host, or the serial number of one certificate")
	case req.Host != "":
		err = restart.InField(restart.CheckHost(req.Host), "host")
	default:
		err = checkSerial(req.Serial)
	}
	if err != nil {
		return "", err
	}
	return restart.CheckReason(req.Reason)
}

// checkSerial accepts a serial number as the list shows it. RFC 5280 allows 20
// bytes.
func checkSerial(s string) error {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			s = ""
		}
	}
	if s == "" || len(s) > 40 {
		return restart.Errorf(restart.CodeInvalid, "that is no serial number").WithHint("hex, in lower case, as restartilka host certificates shows it")
	}
	return nil
}

// revocationsChanged has connections ended to hosts whose certificates were
// revoked. They are looked at again every few seconds as well, so an error is
// only logged.
func (c *Control) revocationsChanged(ctx context.Context) {
	if c.cfg.Enrol.Revoked == nil {
		return
	}
	if err := c.cfg.Enrol.Revoked(ctx); err != nil {
		c.cfg.Logger.ErrorContext(ctx, "read the revoked certificates", "error", err)
	}
}
