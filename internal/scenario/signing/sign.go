package signing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxKey bounds a key's file, in bytes.
const maxKey = 64 << 10

// agentTime bounds the connection to ssh-agent.
const agentTime = 5 * time.Second

// Sign makes the signature of one reviewer, armored, as ssh-keygen -Y sign
// makes it.
func Sign(body []byte, key ssh.Signer) ([]byte, error) {
	if err := checkKey(key.PublicKey()); err != nil {
		return nil, err
	}
	s, err := sshsig.Sign(bytes.NewReader(body), key, sshsig.HashSHA512, Namespace)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if err := sshsig.Verify(bytes.NewReader(body), s, key.PublicKey(), sshsig.HashSHA512, Namespace); err != nil {
		return nil, fmt.Errorf("the key has made a signature that does not verify: %w", err)
	}
	return sshsig.Armor(s), nil
}

// ReadKey reads a private key, asking for its passphrase where it has one; of a
// .pub file it takes the key that ssh-agent holds. The Closer ends the
// connection to ssh-agent; it is never nil where there is no error.
func ReadKey(path string, passphrase func(prompt string) ([]byte, error)) (ssh.Signer, io.Closer, error) {
	b, err := readKeyFile(path)
	if err != nil {
		return nil, nil, err
	}
	if strings.HasSuffix(path, ".pub") {
		return fromAgent(path, b)
	}
	key, err := ssh.ParsePrivateKey(b)
	if locked := (*ssh.PassphraseMissingError)(nil); errors.As(err, &locked) {
		key, err = unlock(path, b, passphrase)
	}
	if err != nil {
		if known, ok := errors.AsType[*restart.Error](err); ok {
			return nil, nil, known
		}
		return nil, nil, restart.Errorf(restart.CodeInvalid, "%s can't be used as a key: %s", path, restart.Escape(err.Error())).
			WithHint("a key of ssh-keygen; for one that ssh-agent or a security key holds, name its .pub file").Because(err)
	}
	return key, io.NopCloser(nil), checkKey(key.PublicKey())
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the key can't be read: %v", err).WithHint("--key names a private key, or the .pub file of one that ssh-agent holds").Because(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if !strings.HasSuffix(path, ".pub") && info.Mode().Perm()&0o077 != 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "%s can be read by others than its owner (mode %04o)", path, info.Mode().Perm()).WithHint("chmod 600 %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxKey {
		return nil, restart.Errorf(restart.CodeTooLarge, "%s has more than %d bytes", path, maxKey)
	}
	return b, nil
}

func unlock(path string, b []byte, ask func(prompt string) ([]byte, error)) (ssh.Signer, error) {
	if ask == nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s has a passphrase, and nobody can be asked for it", path).
			WithHint("load it into ssh-agent (ssh-add), and name its .pub file")
	}
	phrase, err := ask("passphrase of " + path + ": ")
	if err != nil {
		return nil, err
	}
	defer clear(phrase)
	key, err := ssh.ParsePrivateKeyWithPassphrase(b, phrase)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the passphrase does not open %s", path).Because(err)
	}
	return key, nil
}

// fromAgent finds the key of a .pub file in ssh-agent.
func fromAgent(path string, b []byte) (ssh.Signer, io.Closer, error) {
	want, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return nil, nil, restart.Errorf(restart.CodeInvalid, "%s is no public key", path).Because(err)
	}
	if err := checkKey(want); err != nil {
		return nil, nil, err
	}
	at := os.Getenv("SSH_AUTH_SOCK")
	if at == "" {
		return nil, nil, restart.Errorf(restart.CodeUnavailable, "no ssh-agent runs here").WithHint("start one and ssh-add the key, or name the private key itself")
	}
	ctx, cancel := context.WithTimeout(context.Background(), agentTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", at)
	if err != nil {
		return nil, nil, restart.Errorf(restart.CodeUnavailable, "ssh-agent does not answer: %v", err).WithHint("SSH_AUTH_SOCK names its socket").Because(err)
	}
	keys, err := agent.NewClient(conn).Signers()
	if err == nil {
		for _, k := range keys {
			if bytes.Equal(k.PublicKey().Marshal(), want.Marshal()) {
				return k, conn, nil
			}
		}
		err = restart.Errorf(restart.CodeNotFound, "ssh-agent does not hold the key of %s", path).WithHint("ssh-add %s", strings.TrimSuffix(path, ".pub"))
	}
	conn.Close()
	return nil, nil, err
}
