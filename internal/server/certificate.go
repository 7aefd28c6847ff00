package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
)

// certificate is the listener's certificate, read again when its file changes,
// so that a renewal needs no restart.
type certificate struct {
	certFile, keyFile string

	mu       sync.Mutex
	modified time.Time
	pair     *tls.Certificate
}

// listenConfig gives the listener's TLS: 1.3, as every browser of these years
// speaks it, with the certificate as it is now.
func listenConfig(certFile, keyFile string) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.current(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current() },
	}, nil
}

func (c *certificate) current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.certFile)
	if err == nil && c.pair != nil && info.ModTime().Equal(c.modified) {
		return c.pair, nil
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = pki.LoadKeyPair(c.certFile, c.keyFile); err == nil {
			c.pair, c.modified = &pair, info.ModTime()
			return c.pair, nil
		}
	}
	if c.pair != nil {
		return c.pair, nil // half-way through a renewal: what was good still is
	}
	return nil, fmt.Errorf("tls: %w", err)
}
