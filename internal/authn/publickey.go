package authn

import (
	"crypto/rsa"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	maxPublicKey = 16 << 10 // bytes of a line; the longest RSA key that is read takes 3 KiB
	minRSA       = 3072     // bits
)

// KeyKinds are the kinds of SSH keys by which people may come in.
func KeyKinds() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoRSA,
	}
}

// PublicKey is the public half of an SSH key.
type PublicKey struct {
	Kind        string // such as ssh-ed25519
	Fingerprint string // SHA256:…, as ssh-keygen -l prints it
	Base64      string // of its bytes, as in authorized_keys
	Comment     string // behind it; "" = none, or none that can be shown
}

// ParsePublicKey reads one line, as it stands in a .pub file: CodeInvalid for
// anything else, and for keys that are too weak. What was given is never in the
// error: somebody may have taken the wrong half.
func ParsePublicKey(text string) (PublicKey, error) {
	text = strings.TrimSpace(text)
	bad := func(format string, args ...any) (PublicKey, error) {
		return PublicKey{}, restart.Errorf(restart.CodeInvalid, format, args...).WithHint("the one line of a .pub file, such as ~/.ssh/id_ed25519.pub; make a pair with: ssh-keygen -t ed25519")
	}
	switch {
	case text == "":
		return bad("the key is missing")
	case strings.Contains(text, "PRIVATE KEY"):
		return bad("that is the private half of a key: keep it to yourself")
	case len(text) > maxPublicKey || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return bad("that is not one line with a public SSH key")
	}
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil || len(rest) > 0 {
		return bad("that is no public SSH key")
	}
	if len(options) > 0 {
		return bad("there are options before the key: only the key itself belongs there")
	}
	if err := CheckPublicKey(key); err != nil {
		return PublicKey{}, err
	}
	if !printable(comment, maxText) {
		comment = ""
	}
	return PublicKey{Kind: key.Type(), Fingerprint: ssh.FingerprintSHA256(key), Base64: base64.StdEncoding.EncodeToString(key.Marshal()), Comment: comment}, nil
}

// CheckPublicKey refuses keys of kinds that are not KeyKinds, certificates
// among them, and RSA keys of fewer than 3072 bits.
func CheckPublicKey(key ssh.PublicKey) error {
	if !slices.Contains(KeyKinds(), key.Type()) {
		return restart.Errorf(restart.CodeInvalid, "keys of kind %s are not taken", restart.Quote(key.Type())).WithHint("ed25519, ecdsa, rsa of at least %d bits, or a key in hardware (sk-)", minRSA)
	}
	if key.Type() != ssh.KeyAlgoRSA {
		return nil
	}
	if k, ok := key.(ssh.CryptoPublicKey); ok {
		if public, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && public.N.BitLen() >= minRSA {
			return nil
		}
	}
	return restart.Errorf(restart.CodeInvalid, "the RSA key has fewer than %d bits", minRSA).WithHint("make a better one: ssh-keygen -t ed25519")
}
