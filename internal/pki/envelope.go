package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// GenerateEnvelopeKey makes the Ed25519 key that a server signs envelopes with.
func GenerateEnvelopeKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an envelope key: %w", err)
	}
	return key, nil
}

// SaveEnvelopeKey stores the key durably as PEM (PKCS #8) with mode 0600.
func SaveEnvelopeKey(path string, key ed25519.PrivateKey) error { return SaveSigningKey(path, key) }

// LoadEnvelopeKey reads what SaveEnvelopeKey wrote. A file that others can
// read, or that holds no Ed25519 key, gives CodeCertificate.
func LoadEnvelopeKey(path string) (ed25519.PrivateKey, error) { return LoadSigningKey(path) }

// SaveSigningKey stores an Ed25519 key durably as PEM (PKCS #8) with mode 0600.
func SaveSigningKey(path string, key ed25519.PrivateKey) error {
	text, err := encodePrivate(key)
	if err != nil {
		return err
	}
	return WritePEM(path, text, 0o600)
}

// LoadSigningKey reads what SaveSigningKey wrote. A file that others can read,
// or that holds no Ed25519 key, gives CodeCertificate.
func LoadSigningKey(path string) (ed25519.PrivateKey, error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	signer, err := parsePrivate(text)
	if err != nil {
		return nil, in(path, err)
	}
	key, ok := signer.(ed25519.PrivateKey)
	if !ok {
		return nil, restart.Errorf(restart.CodeCertificate, "%s holds no Ed25519 key", path).WithHint("envelopes and audit trails are signed with Ed25519 only")
	}
	return key, nil
}

// EnvelopePublicPEM gives the public half of an envelope key, as it is laid on
// the hosts.
func EnvelopePublicPEM(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode an envelope key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockPublic, Bytes: der}), nil
}

// SaveEnvelopePublicKey stores the public half durably as PEM with mode 0644.
func SaveEnvelopePublicKey(path string, key ed25519.PublicKey) error {
	text, err := EnvelopePublicPEM(key)
	if err != nil {
		return err
	}
	return WritePEM(path, text, 0o644)
}

// LoadEnvelopePublicKeys reads the keys whose envelopes a host obeys, by their
// protocol.KeyID: one PEM block each, at least one, so that a server's old and
// new key can stand side by side while they change.
func LoadEnvelopePublicKeys(path string) (map[string]ed25519.PublicKey, error) {
	text, err := readPublic(path)
	if err != nil {
		return nil, err
	}
	return ParseEnvelopePublicKeys(path, text)
}

// ParseEnvelopePublicKeys is LoadEnvelopePublicKeys for who has read the file;
// path is for messages.
func ParseEnvelopePublicKeys(path string, text []byte) (map[string]ed25519.PublicKey, error) {
	keys, err := parseEnvelopeKeys(text)
	if err != nil {
		return nil, in(path, err)
	}
	return keys, nil
}

func parseEnvelopeKeys(text []byte) (map[string]ed25519.PublicKey, error) {
	keys := map[string]ed25519.PublicKey{}
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != blockPublic {
			return nil, restart.Errorf(restart.CodeCertificate, "holds a block of type %s where only public keys may stand", restart.Quote(block.Type))
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, restart.Errorf(restart.CodeCertificate, "holds a public key that can't be read: %v", err).Because(err)
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, restart.Errorf(restart.CodeCertificate, "holds a public key that is not Ed25519")
		}
		keys[protocol.KeyID(key)] = key
	}
	if len(keys) == 0 {
		return nil, restart.Errorf(restart.CodeCertificate, "holds no public key in PEM form")
	}
	return keys, nil
}
