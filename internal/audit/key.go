package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	blockPublic = "PUBLIC KEY"
	blockChange = "RESTARTILKA AUDIT KEY CHANGE"
)

// Key is what a server seals its trail with.
type Key struct {
	private ed25519.PrivateKey
	changes []KeyChange // by which it came from the keys before it, the oldest first
}

// Public is the half that auditors are given.
func (k *Key) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// PublicFile gives the path of the public half of a key: audit.pub beside
// audit.key.
func PublicFile(path string) string { return strings.TrimSuffix(path, ".key") + ".pub" }

// LoadKey reads a key, and how it came from the keys before it, out of the file
// of the public half. Without that file a change of the key is not signed.
func LoadKey(path string) (*Key, error) {
	private, err := pki.LoadSigningKey(path)
	if err != nil {
		return nil, err
	}
	k := &Key{private: private}
	text, err := os.ReadFile(PublicFile(path))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the public half of the key of the audit trail: %w", err)
	}
	if k.changes, err = parseChanges(text); err != nil {
		return nil, restart.Errorf(restart.CodeCertificate, "%s: %w", PublicFile(path), err)
	}
	return k, nil
}

// MakeKey makes a key where there is none at path, and otherwise the next one: the key before signs that it is, and is then no more. A server
// seals with it from its next start on. The public half lies beside it.
func MakeKey(path string, now time.Time) (*Key, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make a key for the audit trail: %w", err)
	}
	next := &Key{private: private}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		before, err := LoadKey(path)
		if err != nil {
			return nil, err
		}
		next.changes = append(before.changes, newKeyChange(before.private, next.Public(), now))
	}
	// The public half first: a change that is announced and not made is passed
	// over, one that is made and not announced can't be signed any more.
	text, err := next.PublicPEM()
	if err != nil {
		return nil, err
	}
	if err := pki.WritePEM(PublicFile(path), text, 0o644); err != nil {
		return nil, err
	}
	return next, pki.SaveSigningKey(path, private)
}

// PublicPEM is the public half for people and for openssl, with the words by
// which the keys before it have named it behind.
func (k *Key) PublicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, fmt.Errorf("encode the key of the audit trail: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: blockPublic, Bytes: der})
	for i := range k.changes {
		c := &k.changes[i]
		signed := fmt.Appendf(c.text(), "signature %s\n", encode(c.Signature))
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockChange, Bytes: signed})...)
	}
	return text, nil
}

// ParsePublicKeys reads public keys in PEM, at least one. Other blocks that a
// file of the public half has are passed over; a private key is an error.
func ParsePublicKeys(text []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case blockChange:
		case blockPublic:
			parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("it holds a public key that can't be read: %w", err)
			}
			key, ok := parsed.(ed25519.PublicKey)
			if !ok {
				return nil, errors.New("it holds a public key that is not Ed25519")
			}
			keys = append(keys, key)
		default:
			return nil, fmt.Errorf("it holds a block of type %s where only public keys may stand", restart.Quote(block.Type))
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no public key in PEM form")
	}
	return keys, nil
}

// parseChanges reads the words of the keys before, each of which must be signed.
func parseChanges(text []byte) ([]KeyChange, error) {
	var changes []KeyChange
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return changes, nil
		}
		if block.Type != blockChange {
			continue
		}
		c, err := parseChange(block.Bytes)
		if err == nil && !c.Valid() {
			err = errors.New("it is not signed by the key before")
		}
		if err != nil {
			return nil, fmt.Errorf("a change of the key can't be used: %w", err)
		}
		changes = append(changes, c)
	}
}

// parseChange reads the text of a change with its signature behind.
func parseChange(text []byte) (c KeyChange, err error) {
	values := map[string]string{}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		values[name] = value
	}
	if c.Key, err = decodeKey(values["key"]); err != nil {
		return c, fmt.Errorf("its key %w", err)
	}
	if c.Next, err = decodeKey(values["next"]); err != nil {
		return c, fmt.Errorf("its next key %w", err)
	}
	if c.Time, err = time.Parse(timeLayout, values["time"]); err != nil {
		return c, errTime
	}
	if c.Signature, err = decode(values["signature"], ed25519.SignatureSize); err != nil {
		return c, fmt.Errorf("its signature %w", err)
	}
	return c, nil
}

// since gives the changes that lead from a key to this one, none where it is
// this one. ok is false where no signed way leads here.
func (k *Key) since(before ed25519.PublicKey) (way []KeyChange, ok bool) {
	at := k.Public()
	for _, c := range slices.Backward(k.changes) {
		if at.Equal(before) {
			break
		}
		if c.Next.Equal(at) { // else it was announced and never made
			way, at = append(way, c), c.Key
		}
	}
	slices.Reverse(way)
	return way, at.Equal(before)
}
