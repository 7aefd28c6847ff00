package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// AuditKey is the public half of the key that a server seals its trail with.
type AuditKey struct {
	Server string `json:"server"`
	Key    string `json:"key"`  // audit.KeyID
	File   string `json:"file"` // of the public half
	PEM    string `json:"pem"`
}

// auditKey loads the key; nil where server.yaml names none.
func (c *Config) auditKey() (*audit.Key, error) {
	if c.Audit.Key == "" {
		return nil, nil
	}
	if _, err := os.Lstat(c.Audit.Key); errors.Is(err, fs.ErrNotExist) {
		return nil, restart.Errorf(restart.CodeInvalid, "audit.key: there is no %s", c.Audit.Key).
			WithHint("make it: restartilka audit key new; and give auditors what it prints")
	}
	return audit.LoadKey(c.Audit.Key)
}

func (c *Config) needAuditKey() error {
	if c.Audit.Key != "" {
		return nil
	}
	return restart.Errorf(restart.CodeInvalid, "server.yaml has no audit.key").
		WithHint("add key: audit.key below audit: it names the file of the key that seals the trail")
}

// AuditKey gives the public half of the key.
func (c *Config) AuditKey() (AuditKey, error) {
	if err := c.needAuditKey(); err != nil {
		return AuditKey{}, err
	}
	key, err := c.auditKey()
	if err != nil {
		return AuditKey{}, err
	}
	return c.describe(key)
}

func (c *Config) describe(key *audit.Key) (AuditKey, error) {
	text, err := key.PublicPEM()
	return AuditKey{Server: c.Name, Key: audit.KeyID(key.Public()), File: audit.PublicFile(c.Audit.Key), PEM: string(text)}, err
}

// NewAuditKey makes the key, or the next one, which the one before signs. It
// belongs to whom the server's other keys belong to.
func (c *Config) NewAuditKey() (AuditKey, error) {
	if err := c.needAuditKey(); err != nil {
		return AuditKey{}, err
	}
	var owner unix.Stat_t
	if err := unix.Stat(c.Agents.EnvelopeKey, &owner); err != nil {
		return AuditKey{}, restart.Errorf(restart.CodeInvalid, "agents.envelope_key: %v", err).Because(err)
	}
	key, err := audit.MakeKey(c.Audit.Key, time.Now())
	if err != nil {
		return AuditKey{}, err
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(c.Audit.Key, int(owner.Uid), int(owner.Gid)); err != nil {
			return AuditKey{}, fmt.Errorf("give the key to the server's user: %w", err)
		}
	}
	return c.describe(key)
}
