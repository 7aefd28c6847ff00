package server

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/renewal"
)

// revokedEvery is how soon this server learns what another has revoked. What
// was revoked here counts at once.
const revokedEvery = 5 * time.Second

// enrolment loads what new hosts are given.
func (s *Server) enrolment(keys []ed25519.PrivateKey) (*control.Enrolment, error) {
	e := &control.Enrolment{Server: s.cfg.Name, Pin: s.pin, Revoked: s.loadRevoked}
	for _, key := range keys {
		e.EnvelopeKeys = append(e.EnvelopeKeys, key.Public().(ed25519.PublicKey))
	}
	var err error
	if e.CAPEM, err = os.ReadFile(s.cfg.Agents.CA); err != nil {
		return nil, fmt.Errorf("agents.ca: %w", err)
	}
	if s.cfg.Agents.CAKey == "" {
		return e, nil
	}
	if e.CA, err = pki.LoadCA(s.cfg.Agents.CA, s.cfg.Agents.CAKey); err != nil {
		return nil, err
	}
	return e, nil
}

// pin is that of the listener's certificate as its file is now.
func (s *Server) pin() (pki.Pin, error) {
	text, err := os.ReadFile(s.cfg.TLS.Certificate)
	if err != nil {
		return pki.Pin{}, fmt.Errorf("tls.certificate: %w", err)
	}
	block, _ := pem.Decode(text) // the leaf comes first
	if block == nil {
		return pki.Pin{}, fmt.Errorf("tls.certificate: %s holds no certificate", s.cfg.TLS.Certificate)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return pki.Pin{}, fmt.Errorf("tls.certificate: %w", err)
	}
	return pki.PinOf(cert), nil
}

// loadRevoked reads which certificates are revoked, and ends the connections
// to their hosts.
func (s *Server) loadRevoked(ctx context.Context) error {
	s.revoking.Lock() // an older answer must not take the place of a newer
	defer s.revoking.Unlock()
	list, err := s.store.RevokedCertificates(ctx, time.Now())
	if err != nil {
		return err
	}
	revoked := make([]pki.Revocation, len(list))
	for i, c := range list {
		revoked[i] = pki.Revocation{Serial: c.Serial, Host: c.Host, At: c.RevokedAt, Reason: c.Revocation}
	}
	if s.revoked.Replace(revoked) {
		s.agents.Recheck()
	}
	return nil
}

// watchRevoked reads again and again what is revoked, until ctx ends.
func (s *Server) watchRevoked(ctx context.Context) {
	tick := time.NewTicker(revokedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.loadRevoked(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("read the revoked certificates; the list of before goes on to count", "error", err)
			}
		}
	}
}

// newRenewer is nil where certificates come from elsewhere.
func (s *Server) newRenewer(e *control.Enrolment, inv *inventory.Inventory) *renewal.Renewer {
	if e.CA == nil {
		return nil
	}
	return renewal.New(renewal.Config{
		Store: s.store, Agents: s.agents, Hosts: inv, CA: e.CA, Server: s.cfg.Name, Committed: s.trail.Wake, Logger: s.log,
	})
}
