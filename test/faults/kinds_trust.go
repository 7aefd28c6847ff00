package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/restartilka/restartilka/internal/wire"
)

// credentials are a host's, as they lie there.
type credentials struct{ cert, key []byte }

func (h *host) credentials() (c credentials, err error) {
	var e1, e2 error
	c.cert, e1 = os.ReadFile(filepath.Join(h.Dir, "agent.crt"))
	c.key, e2 = os.ReadFile(filepath.Join(h.Dir, "agent.key"))
	return c, errors.Join(e1, e2)
}

// lay puts others in their place; the agent reads them again by itself.
func (h *host) lay(c credentials) error {
	for _, f := range []struct {
		name string
		b    []byte
	}{{"agent.key", c.key}, {"agent.crt", c.cert}} {
		path := filepath.Join(h.Dir, f.name)
		if err := os.WriteFile(path+".new", f.b, 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func block(b []byte) []byte {
	p, _ := pem.Decode(b)
	if p == nil {
		return nil
	}
	return p.Bytes
}

// ownCertificate gives a host a certificate that the server has issued, and
// so can revoke.
func ownCertificate(r *round) {
	r.target = choose(r, r.hosts)
	old, err := r.target.credentials()
	r.b.must(err)
	r.kept = old
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.b.must(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{r.target.Name}, URIs: []*url.URL{{Scheme: "restartilka", Host: "agent", Path: "/" + r.target.Name}}}, key)
	r.b.must(err)
	var out wire.HostCredentials
	r.b.must(r.asAdminCall(r.b.Context(), http.MethodPost, "/api/v1/certificates", wire.CertificateRequest{
		Host: r.target.Name, CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
	}, &out))
	text, err := encodeKey(key)
	r.b.must(err)
	r.b.must(r.target.lay(credentials{[]byte(out.Certificate), text}))
	r.target.proxy.reset()
}

func certificateRevoked(ctx context.Context, r *round) error {
	defer r.target.lay(r.kept) //nolint:errcheck // a host that can't be asked is found at once
	shown, err := r.target.credentials()
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(block(shown.cert))
	if err != nil {
		return err
	}
	r.strike()
	err = r.asAdminCall(ctx, http.MethodPost, "/api/v1/certificates/revoke", wire.RevocationRequest{Serial: fmt.Sprintf("%x", cert.SerialNumber), Reason: "the harness revokes it"}, nil)
	if err != nil {
		return fmt.Errorf("revoke a certificate: %w", err)
	}
	r.over(ctx)
	return nil
}

// shortCertificate gives a host one that the same authority has signed, and
// that is over in one or two seconds.
func shortCertificate(r *round) {
	r.target = choose(r, r.hosts)
	old, err := r.target.credentials()
	r.b.must(err)
	r.kept = old
	dir := r.c.ServerDir()
	b, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	r.b.must(err)
	ca, err := x509.ParseCertificate(block(b))
	r.b.must(err)
	b, err = os.ReadFile(filepath.Join(dir, "ca.key"))
	r.b.must(err)
	caKey, err := x509.ParsePKCS8PrivateKey(block(b))
	r.b.must(err)
	like, err := x509.ParseCertificate(block(old.cert))
	r.b.must(err)
	like.SerialNumber = big.NewInt(time.Now().UnixNano())
	r.expiry = time.Now().Add(2500 * time.Millisecond).Truncate(time.Second) // X.509 counts seconds
	like.NotAfter = r.expiry
	moods("slow")(r) // so that the runs go on when it comes
	der, err := x509.CreateCertificate(rand.Reader, like, ca, like.PublicKey, caKey.(crypto.Signer))
	r.b.must(err)
	r.b.must(r.target.lay(credentials{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), old.key}))
	r.target.proxy.reset()
}

func certificateExpired(ctx context.Context, r *round) error {
	defer r.target.lay(r.kept) //nolint:errcheck // a host that can't be asked is found at once
	pause(ctx, time.Until(r.expiry))
	r.strike()
	pause(ctx, time.Second)
	r.target.proxy.reset() // a connection that was made before is not looked at again at once
	r.over(ctx)
	return nil
}

// scenarioEdited changes what lies on a host: what was planned is not reviewed
// there any more.
func scenarioEdited(ctx context.Context, r *round) error {
	path := filepath.Join(choose(r, r.hosts).Dir, "scenarios.d", "witness.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	defer os.WriteFile(path, b, 0o600) //nolint:errcheck // a host that refuses everything is found at once
	r.strike()
	if err := os.WriteFile(path, append(b, "# edited\n"...), 0o600); err != nil {
		return err
	}
	r.over(ctx)
	return nil
}
