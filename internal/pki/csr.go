package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net/url"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// MaxCSR bounds a certificate request, in bytes.
const MaxCSR = 16 << 10

// NewAgentCSR makes, on the host itself, a key and the request to certify it as
// the agent of host: the key never travels. Both are PEM.
func NewAgentCSR(host string) (keyPEM, csrPEM []byte, err error) {
	if err := restart.CheckHost(host); err != nil {
		return nil, nil, err
	}
	if keyPEM, err = NewKeyPEM(); err != nil {
		return nil, nil, err
	}
	csrPEM, err = NewAgentCSRFor(keyPEM, host)
	return keyPEM, csrPEM, err
}

// NewAgentCSRFor makes the request to certify a key that there is already (PEM).
func NewAgentCSRFor(keyPEM []byte, host string) (csrPEM []byte, err error) {
	if err := restart.CheckHost(host); err != nil {
		return nil, err
	}
	key, err := parsePrivate(keyPEM)
	if err != nil {
		return nil, in("the key", err)
	}
	template := &x509.CertificateRequest{DNSNames: []string{host}, URIs: []*url.URL{Identity{RoleAgent, host}.url()}}
	if len(host) <= 64 {
		template.Subject = pkix.Name{CommonName: host}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request for %s: %w", host, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockRequest, Bytes: der}), nil
}

// SignAgentCSR certifies the key of a request as that of the agent of host, as
// IssueAgent does. The caller has made sure that host is who asks: of the
// request only the key is taken, and one that names anything but host is
// refused (CodeCertificate).
func (ca *CA) SignAgentCSR(csrPEM []byte, host string, now time.Time) (certPEM []byte, err error) {
	if len(csrPEM) > MaxCSR {
		return nil, restart.Errorf(restart.CodeTooLarge, "the certificate request has %d bytes; at most %d are read", len(csrPEM), MaxCSR)
	}
	der, err := onlyBlock(csrPEM, blockRequest)
	if err != nil {
		return nil, in("the certificate request", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, restart.Errorf(restart.CodeCertificate, "the certificate request can't be read: %v", err).Because(err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, restart.Errorf(restart.CodeCertificate, "the certificate request is not signed by the key it names").Because(err)
	}
	wanted := &x509.Certificate{URIs: csr.URIs, DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses}
	if len(csr.DNSNames) > 1 || len(csr.IPAddresses) > 0 || len(csr.EmailAddresses) > 0 || Is(wanted, Identity{RoleAgent, host}) != nil ||
		(len(csr.DNSNames) == 1 && csr.DNSNames[0] != host) {
		return nil, restart.Errorf(restart.CodeCertificate, "the certificate request is for %s, not for the agent of %s alone", Names(wanted), restart.Quote(host))
	}
	return ca.sign(Identity{RoleAgent, host}, []string{host}, nil, csr.PublicKey, now)
}
