package pki

import (
	"crypto/x509"
	"maps"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Revocation says that a certificate counts no more, although its time is not
// over.
type Revocation struct {
	Serial string // hex, as SerialOf gives it
	Host   string
	At     time.Time
	Reason string
}

// SerialOf gives a certificate's serial number as it is stored and shown: hex.
func SerialOf(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

// Revocations is the list that every handshake with an agent is held against.
// The zero value revokes nothing. It may be used by many at once.
type Revocations struct {
	mu       sync.RWMutex
	bySerial map[string]Revocation
}

// Replace puts another list in the place of the present one. It tells whether
// the two differ.
func (r *Revocations) Replace(list []Revocation) (changed bool) {
	next := make(map[string]Revocation, len(list))
	for _, x := range list {
		next[x.Serial] = x
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = !maps.Equal(next, r.bySerial)
	r.bySerial = next
	return changed
}

// Check gives CodeRevoked for a certificate that is on the list.
func (r *Revocations) Check(cert *x509.Certificate) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	x, ok := r.bySerial[SerialOf(cert)]
	if !ok {
		return nil
	}
	return restart.Errorf(restart.CodeRevoked, "the certificate of %s was revoked on %s: %s", x.Host, day(x.At), restart.Escape(x.Reason)).
		WithHint("if the host is to be trusted again: restartilka host join-token %s, and restartilka-agent join --again there", x.Host)
}
