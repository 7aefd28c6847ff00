package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// AuthorityLife is the validity of an authority's certificate.
	AuthorityLife = 10 * 365 * 24 * time.Hour
	// LeafLife is the validity of every other certificate, cut at the
	// authority's own end.
	LeafLife = 365 * 24 * time.Hour
	// Backdate is how far before its issue a certificate is valid already, for
	// hosts whose clock is behind.
	Backdate = 5 * time.Minute

	// CertFile is what Save calls an authority's certificate.
	CertFile = "ca.crt"
	// KeyFile is what Save calls its private key.
	KeyFile = "ca.key"
)

// CA is a certificate authority with its private key.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes an authority of its own, valid from Backdate before now for
// AuthorityLife. The name is shown to people only; it must be printable and
// have 1 to 64 bytes (CodeInvalid).
func NewCA(name string, now time.Time) (*CA, error) {
	if name == "" || len(name) > 64 || restart.Escape(name) != name {
		return nil, restart.Errorf(restart.CodeInvalid, "%s can't be the name of an authority", restart.Quote(name)).WithHint("1 to 64 bytes of printable text")
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(AuthorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("issue the authority's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issue the authority's certificate: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

// LoadCA reads an authority from its certificate and private key (PEM, PKCS #8).
// A key that others can read, that does not belong to the certificate, or a
// certificate that may not sign others gives CodeCertificate.
func LoadCA(certFile, keyFile string) (*CA, error) {
	text, err := readPublic(certFile)
	if err != nil {
		return nil, err
	}
	_, certs, err := parseAuthorities(text)
	if err != nil {
		return nil, in(certFile, err)
	}
	secret, err := readSecret(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := parsePrivate(secret)
	if err != nil {
		return nil, in(keyFile, err)
	}
	if !samePublic(certs[0].PublicKey, key.Public()) {
		return nil, restart.Errorf(restart.CodeCertificate, "the key %s does not belong to the certificate %s", keyFile, certFile)
	}
	return &CA{cert: certs[0], key: key}, nil
}

// Save stores the authority durably in dir, as CertFile (0644) and KeyFile
// (0600). It never replaces an authority (CodeConflict): that would cut off
// every host that trusts the old one.
func (ca *CA) Save(dir string) error {
	certPath, keyPath := filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)
	for _, path := range []string{certPath, keyPath} {
		if _, err := os.Lstat(path); err == nil {
			return restart.Errorf(restart.CodeConflict, "%s exists already", path).WithHint("move it away first, if no host trusts it")
		} else if !os.IsNotExist(err) {
			return fmt.Errorf("save the authority: %w", err)
		}
	}
	secret, err := encodePrivate(ca.key)
	if err != nil {
		return err
	}
	if err := WritePEM(keyPath, secret, 0o600); err != nil {
		return err
	}
	return WritePEM(certPath, ca.CertPEM(), 0o644)
}

// CertPEM gives the authority's certificate, as hosts and browsers take it.
func (ca *CA) CertPEM() []byte { return encodeCertificate(ca.cert.Raw) }

// NotAfter is when the authority's certificate ends, and with it all it issued.
func (ca *CA) NotAfter() time.Time { return ca.cert.NotAfter }

// IssueServer makes the certificate of the server's pages and API (port 8443):
// serverAuth, for the DNS names and addresses that people reach it by. The name
// tells several servers apart and must be a host name. Certificate and key are
// PEM; the key belongs into a file of mode 0600.
func (ca *CA) IssueServer(name string, dns []string, ips []net.IP, now time.Time) (certPEM, keyPEM []byte, err error) {
	if len(dns) == 0 && len(ips) == 0 {
		return nil, nil, restart.Errorf(restart.CodeInvalid, "the server's certificate needs a DNS name or an address that people reach it by")
	}
	return ca.issue(Identity{RoleWeb, name}, dns, ips, now)
}

// IssueClient makes the certificate that a server shows to agents: clientAuth,
// with the identity restartilka://server/NAME. Agents list the names they obey.
func (ca *CA) IssueClient(name string, now time.Time) (certPEM, keyPEM []byte, err error) {
	return ca.issue(Identity{RoleServer, name}, nil, nil, now)
}

// IssueAgent makes the certificate of the agent of one host: serverAuth, with
// the identity restartilka://agent/HOST and the DNS name HOST. Addresses are
// for people's own tools; the server never goes by them.
func (ca *CA) IssueAgent(host string, ips []net.IP, now time.Time) (certPEM, keyPEM []byte, err error) {
	return ca.issue(Identity{RoleAgent, host}, []string{host}, ips, now)
}

func (ca *CA) issue(id Identity, dns []string, ips []net.IP, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	if certPEM, err = ca.sign(id, dns, ips, key.Public(), now); err != nil {
		return nil, nil, err
	}
	if keyPEM, err = encodePrivate(key); err != nil {
		return nil, nil, err
	}
	return certPEM, keyPEM, nil
}

// sign certifies a public key as id's.
func (ca *CA) sign(id Identity, dns []string, ips []net.IP, public crypto.PublicKey, now time.Time) ([]byte, error) {
	for _, name := range append([]string{id.Name}, dns...) {
		if err := restart.CheckHost(name); err != nil {
			return nil, err
		}
	}
	if !sound(public) {
		return nil, restart.Errorf(restart.CodeCertificate, "the key of %s %s is too weak or of an unknown kind", id.Role, id.Name).
			WithHint("ECDSA P-256 or more, Ed25519, or RSA of at least 2048 bits")
	}
	if now.Before(ca.cert.NotBefore) || !now.Before(ca.cert.NotAfter) {
		return nil, restart.Errorf(restart.CodeCertificate, "the authority is valid from %s to %s only", day(ca.cert.NotBefore), day(ca.cert.NotAfter)).
			WithHint("check the clock, or make a new authority")
	}
	notAfter := now.Add(LeafLife)
	if notAfter.After(ca.cert.NotAfter) {
		notAfter = ca.cert.NotAfter
	}
	usage := x509.ExtKeyUsageServerAuth
	if id.Role == RoleServer {
		usage = x509.ExtKeyUsageClientAuth
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		NotBefore:             now.Add(-Backdate),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{id.url()},
		DNSNames:              dns,
		IPAddresses:           ips,
	}
	if len(id.Name) <= 64 { // the upper bound of a common name, RFC 5280
		template.Subject = pkix.Name{CommonName: id.Name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	if err != nil {
		return nil, fmt.Errorf("issue the certificate of %s: %w", id, err)
	}
	return encodeCertificate(der), nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// newSerial gives 128 random bits, of which the highest is cleared so that the
// number is positive in 16 bytes, and the next set so that it is never zero.
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails, by its documentation
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
