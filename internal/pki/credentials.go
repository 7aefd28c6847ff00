package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Credentials are one end's certificate, its key and the authorities it trusts,
// kept in step with their files. They may be used by any number of connections
// at once.
type Credentials struct {
	certFile, keyFile, caFile string

	mu      sync.Mutex
	loaded  loaded
	stamps  [3]stamp
	lastErr error
}

// loaded is one consistent reading of the three files; it is never changed.
type loaded struct {
	pair *tls.Certificate
	pool *x509.CertPool
}

// stamp is what tells, without reading it, that a file is still the same.
type stamp struct {
	modified, changed time.Time
	size              int64
	device, inode     uint64
}

// LoadCredentials reads the three PEM files. The certificate's file may carry
// intermediates after it. A missing or broken file, or a key that others can
// read, gives CodeCertificate.
func LoadCredentials(certFile, keyFile, caFile string) (*Credentials, error) {
	c := &Credentials{certFile: certFile, keyFile: keyFile, caFile: caFile}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	if c.loaded.pair == nil {
		return nil, c.lastErr
	}
	return c, nil
}

// current gives the files' content as of now, or of the last time they loaded.
func (c *Credentials) current() loaded {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	return c.loaded
}

// Err tells why the files as they are now are not in use: nil when they are.
func (c *Credentials) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh()
	return c.lastErr
}

// Leaf gives the certificate in use, for its names and its end.
func (c *Credentials) Leaf() *x509.Certificate { return c.current().pair.Leaf }

// refresh reads the files again where one has changed, or where the last
// reading went wrong. The stamps are taken before, so that a change in between
// is seen the next time.
func (c *Credentials) refresh() {
	stamps, err := stampsOf(c.certFile, c.keyFile, c.caFile)
	if err == nil && c.lastErr == nil && c.loaded.pair != nil && stamps == c.stamps {
		return
	}
	var now loaded
	if err == nil {
		now, err = read(c.certFile, c.keyFile, c.caFile)
	}
	c.lastErr = err
	if err == nil {
		c.loaded, c.stamps = now, stamps
	}
}

func read(certFile, keyFile, caFile string) (loaded, error) {
	authorities, err := readPublic(caFile)
	if err != nil {
		return loaded{}, err
	}
	pool, _, err := parseAuthorities(authorities)
	if err != nil {
		return loaded{}, in(caFile, err)
	}
	chain, err := readPublic(certFile)
	if err != nil {
		return loaded{}, err
	}
	certs, err := parseCertificates(chain)
	if err != nil {
		return loaded{}, in(certFile, err)
	}
	secret, err := readSecret(keyFile)
	if err != nil {
		return loaded{}, err
	}
	key, err := parsePrivate(secret)
	if err != nil {
		return loaded{}, in(keyFile, err)
	}
	if !samePublic(certs[0].PublicKey, key.Public()) {
		return loaded{}, restart.Errorf(restart.CodeCertificate, "the key %s does not belong to the certificate %s", keyFile, certFile)
	}
	pair := &tls.Certificate{PrivateKey: key, Leaf: certs[0]}
	for _, cert := range certs {
		pair.Certificate = append(pair.Certificate, cert.Raw)
	}
	return loaded{pair: pair, pool: pool}, nil
}

func stampsOf(files ...string) (out [3]stamp, err error) {
	for i, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return out, unreadable(file, err)
		}
		out[i] = stamp{modified: info.ModTime(), size: info.Size()}
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			out[i].changed, out[i].device, out[i].inode = time.Unix(sys.Ctim.Unix()), sys.Dev, sys.Ino
		}
	}
	return out, nil
}

// ServerConfig gives the TLS settings of an agent's listener, from files that
// are read again when they change: see Credentials.Listen.
func ServerConfig(certFile, keyFile, caFile string, servers []string) (*tls.Config, error) {
	c, err := LoadCredentials(certFile, keyFile, caFile)
	if err != nil {
		return nil, err
	}
	return c.Listen(servers)
}

// ClientConfig gives the TLS settings for calling the agent of host, from files
// that are read again when they change: see Credentials.Call. Who calls many
// hosts shares one Credentials among them instead.
func ClientConfig(certFile, keyFile, caFile, host string) (*tls.Config, error) {
	c, err := LoadCredentials(certFile, keyFile, caFile)
	if err != nil {
		return nil, err
	}
	return c.Call(host)
}

// Listen gives the settings of an agent's listener: TLS 1.3, and a client
// certificate without exception, which must be that of one of the servers, by
// name. No servers, or a name that is not a host name, give CodeInvalid.
func (c *Credentials) Listen(servers []string) (*tls.Config, error) {
	if len(servers) == 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "no server is named that this agent obeys").WithHint("list their names under servers: in agent.yaml")
	}
	accepted := make([]Identity, 0, len(servers))
	for _, name := range servers {
		if err := restart.CheckHost(name); err != nil {
			return nil, err
		}
		accepted = append(accepted, Identity{RoleServer, name})
	}
	base := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              x509.NewCertPool(), // nobody; the pinned authorities come with each connection, below
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verifyServer(cs.PeerCertificates, accepted)
		},
	}
	fresh := base.Clone()
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := c.current()
		config := fresh.Clone()
		config.Certificates = []tls.Certificate{*now.pair}
		config.ClientCAs = now.pool
		return config, nil
	}
	return base, nil
}

// verifyServer judges, after crypto/tls has built the chain to a pinned
// authority, whether the peer is a server that is obeyed.
func verifyServer(chain []*x509.Certificate, accepted []Identity) error {
	if len(chain) == 0 {
		return restart.Errorf(restart.CodeCertificate, "the peer showed no certificate")
	}
	if err := hasUsage(chain[0], x509.ExtKeyUsageClientAuth); err != nil {
		return err
	}
	var first error
	for _, id := range accepted {
		err := Is(chain[0], id)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// Call gives the settings for calling the agent of host: TLS 1.3, our
// certificate shown, and the peer must be the agent of exactly that host, under
// a pinned authority. A name that is not a host name gives CodeInvalid.
func (c *Credentials) Call(host string) (*tls.Config, error) {
	if err := restart.CheckHost(host); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: host,
		// The rules of crypto/tls accept wildcards and know nothing of our URIs
		// or of files that change, so VerifyConnection judges the whole chain.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verifyAgent(cs.PeerCertificates, c.current().pool, host, time.Now())
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.current().pair, nil
		},
	}, nil
}

// verifyAgent judges the whole chain that an agent showed: authority, time,
// usage, and that it is the agent of exactly that host.
func verifyAgent(chain []*x509.Certificate, pool *x509.CertPool, host string, now time.Time) error {
	if len(chain) == 0 {
		return restart.Errorf(restart.CodeCertificate, "the peer showed no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	if err := hasUsage(chain[0], x509.ExtKeyUsageServerAuth); err != nil {
		return err
	}
	return Is(chain[0], Identity{RoleAgent, host})
}

// hasUsage insists on a stated usage: for crypto/x509 a certificate without any
// is good for everything.
func hasUsage(cert *x509.Certificate, usage x509.ExtKeyUsage) error {
	if slices.Contains(cert.ExtKeyUsage, usage) {
		return nil
	}
	return wrongUsage(cert, errors.New("x509: extended key usage is not stated"))
}
