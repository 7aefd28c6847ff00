package server

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/renewal"
	"github.com/restartilka/restartilka/internal/restart"
)

// EnvelopeKeys are the server's keys for envelopes, by protocol.KeyID.
type EnvelopeKeys struct {
	InUse string `json:"in_use"`
	Next  string `json:"next,omitempty"` // the other one, while the key is changed
}

// keys loads the key in use, and the other one where there is one.
func (c *Config) keys() ([]ed25519.PrivateKey, error) {
	first, err := pki.LoadEnvelopeKey(c.Agents.EnvelopeKey)
	if err != nil {
		return nil, err
	}
	if c.Agents.NextEnvelopeKey == "" {
		return []ed25519.PrivateKey{first}, nil
	}
	if _, err := os.Lstat(c.Agents.NextEnvelopeKey); errors.Is(err, fs.ErrNotExist) {
		return []ed25519.PrivateKey{first}, nil
	}
	second, err := pki.LoadEnvelopeKey(c.Agents.NextEnvelopeKey)
	return []ed25519.PrivateKey{first, second}, err
}

// EnvelopeKeys tells which keys there are.
func (c *Config) EnvelopeKeys() (EnvelopeKeys, error) {
	keys, err := c.keys()
	if err != nil {
		return EnvelopeKeys{}, err
	}
	out := EnvelopeKeys{InUse: keyID(keys[0])}
	if len(keys) > 1 {
		out.Next = keyID(keys[1])
	}
	return out, nil
}

func keyID(key ed25519.PrivateKey) string { return protocol.KeyID(key.Public().(ed25519.PublicKey)) }

func (c *Config) needNext() error {
	if c.Agents.NextEnvelopeKey != "" {
		return nil
	}
	return restart.Errorf(restart.CodeInvalid, "server.yaml has no agents.next_envelope_key").
		WithHint("add next_envelope_key: envelope-next.key beside envelope_key; it names the file of the other key while the key is changed")
}

// NewEnvelopeKey makes the next key. It belongs to whom the present one belongs
// to. CodeConflict where there is one.
func (c *Config) NewEnvelopeKey() (EnvelopeKeys, error) {
	if err := c.needNext(); err != nil {
		return EnvelopeKeys{}, err
	}
	if _, err := os.Lstat(c.Agents.NextEnvelopeKey); !errors.Is(err, fs.ErrNotExist) {
		return EnvelopeKeys{}, restart.Errorf(restart.CodeConflict, "%s is there already", c.Agents.NextEnvelopeKey).
			WithHint("use it (restartilka server envelope-key use), or drop it first")
	}
	var present unix.Stat_t
	if err := unix.Stat(c.Agents.EnvelopeKey, &present); err != nil {
		return EnvelopeKeys{}, restart.Errorf(restart.CodeInvalid, "agents.envelope_key: %v", err).Because(err)
	}
	key, err := pki.GenerateEnvelopeKey()
	if err != nil {
		return EnvelopeKeys{}, err
	}
	if err := pki.SaveEnvelopeKey(c.Agents.NextEnvelopeKey, key); err != nil {
		return EnvelopeKeys{}, err
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(c.Agents.NextEnvelopeKey, int(present.Uid), int(present.Gid)); err != nil {
			return EnvelopeKeys{}, fmt.Errorf("give the key to the server's user: %w", err)
		}
	}
	return c.EnvelopeKeys()
}

// UseEnvelopeKey exchanges the two keys' files, at once: there is no moment at
// which one of them is missing. A second time takes it back.
func (c *Config) UseEnvelopeKey() (EnvelopeKeys, error) {
	if err := c.haveNext(); err != nil {
		return EnvelopeKeys{}, err
	}
	err := unix.Renameat2(unix.AT_FDCWD, c.Agents.EnvelopeKey, unix.AT_FDCWD, c.Agents.NextEnvelopeKey, unix.RENAME_EXCHANGE)
	if err == nil {
		err = syncFolders(c.Agents.EnvelopeKey, c.Agents.NextEnvelopeKey)
	}
	if err != nil {
		return EnvelopeKeys{}, fmt.Errorf("exchange %s and %s: %w", c.Agents.EnvelopeKey, c.Agents.NextEnvelopeKey, err)
	}
	return c.EnvelopeKeys()
}

// DropEnvelopeKey removes the key that is not in use.
func (c *Config) DropEnvelopeKey() (EnvelopeKeys, error) {
	if err := c.haveNext(); err != nil {
		return EnvelopeKeys{}, err
	}
	err := os.Remove(c.Agents.NextEnvelopeKey)
	if err == nil {
		err = syncFolders(c.Agents.NextEnvelopeKey)
	}
	if err != nil {
		return EnvelopeKeys{}, fmt.Errorf("drop %s: %w", c.Agents.NextEnvelopeKey, err)
	}
	return c.EnvelopeKeys()
}

func (c *Config) haveNext() error {
	if err := c.needNext(); err != nil {
		return err
	}
	keys, err := c.EnvelopeKeys()
	if err == nil && keys.Next == "" {
		err = restart.Errorf(restart.CodeConflict, "there is no other key: %s is absent", c.Agents.NextEnvelopeKey).WithHint("restartilka server envelope-key new makes one")
	}
	return err
}

func syncFolders(files ...string) error {
	for _, f := range files {
		d, err := os.Open(filepath.Dir(f))
		if err != nil {
			return err
		}
		err = d.Sync()
		d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// newTeller is nil where server.yaml names no other key: then nothing changes.
func (s *Server) newTeller(keys []ed25519.PrivateKey, inv *inventory.Inventory) *renewal.Teller {
	if s.cfg.Agents.NextEnvelopeKey == "" {
		return nil
	}
	return renewal.NewTeller(renewal.TellerConfig{Agents: s.agents, Hosts: inv, Keys: keys, Logger: s.log})
}
