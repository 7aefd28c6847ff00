package sshd

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

// largestHostKey bounds a file with a host key, in bytes.
const largestHostKey = 64 << 10

// NewHostKey makes the key by which people know this server by SSH: ed25519, in
// the form of OpenSSH, as a private file's content.
func NewHostKey(comment string) ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, fmt.Errorf("encode a host key: %w", err)
	}
	return pem.EncodeToMemory(block), nil
}

// ReadHostKeys reads private keys from files that only their owner can read, of
// which each is of another kind.
func ReadHostKeys(paths []string) ([]ssh.Signer, error) {
	var keys []ssh.Signer
	for _, path := range paths {
		b, err := secret.Read(path, largestHostKey)
		if err != nil {
			return nil, err
		}
		key, err := ssh.ParsePrivateKey(b)
		if err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "%s holds no private key that can be used: %v", path, err).WithHint("make one without a passphrase: ssh-keygen -t ed25519 -N '' -f %s", path)
		}
		if slices.ContainsFunc(keys, func(k ssh.Signer) bool { return k.PublicKey().Type() == key.PublicKey().Type() }) {
			return nil, restart.Errorf(restart.CodeInvalid, "%s is a second key of kind %s", path, key.PublicKey().Type())
		}
		keys = append(keys, key)
	}
	return keys, nil
}
