package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// joinPrefix makes a join token recognisable to people and scanners; its digit
// is the version of the form.
const joinPrefix = "rj1"

// joinBytes is the length of pin and secret, in bytes. A secret of 256 bits
// can't be guessed, however fast a server answers.
const joinBytes = 32

// strict refuses a second spelling of the same bytes.
var strict = base64.RawURLEncoding.Strict()

// Pin is the SHA-256 of a public key (the DER of its SubjectPublicKeyInfo), by
// which one peer is known without any authority. It outlives the renewal of a
// certificate that keeps its key.
type Pin [joinBytes]byte

// PinOf gives the pin of a certificate's key.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// String gives the pin in base64url, without padding.
func (p Pin) String() string { return strict.EncodeToString(p[:]) }

// Equal compares in constant time.
func (p Pin) Equal(other Pin) bool { return subtle.ConstantTimeCompare(p[:], other[:]) == 1 }

// JoinToken is what a person carries to a new host: by which key the server is
// known at the very first handshake, and the secret that the host shows then.
type JoinToken struct {
	Pin    Pin
	Secret string
}

// NewJoinToken makes a token with a fresh secret.
func NewJoinToken(server Pin) JoinToken {
	var b [joinBytes]byte
	rand.Read(b[:]) // never fails, by its documentation
	return JoinToken{Pin: server, Secret: strict.EncodeToString(b[:])}
}

// String gives the text rj1.PIN.SECRET.
func (t JoinToken) String() string { return joinPrefix + "." + t.Pin.String() + "." + t.Secret }

// Hash gives what may be stored of the secret.
func (t JoinToken) Hash() string { return HashJoinSecret(t.Secret) }

// ParseJoinToken reads the text of a token; blanks around it do no harm. The
// error (CodeInvalid) repeats nothing of it.
func ParseJoinToken(text string) (JoinToken, error) {
	bad := restart.Errorf(restart.CodeInvalid, "this is not a join token").
		WithHint("it reads rj1.….… in one line, as restartilka host join-token has printed it")
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 3 || parts[0] != joinPrefix || !JoinSecret(parts[2]) {
		return JoinToken{}, bad
	}
	pin, err := strict.DecodeString(parts[1])
	if err != nil || len(pin) != joinBytes || strings.ContainsAny(parts[1], "\r\n") {
		return JoinToken{}, bad
	}
	return JoinToken{Pin: Pin(pin), Secret: parts[2]}, nil
}

// JoinSecret tells whether s has the form of a secret of ours.
func JoinSecret(s string) bool {
	if len(s) != strict.EncodedLen(joinBytes) || strings.ContainsAny(s, "\r\n") { // which the decoder would skip
		return false
	}
	_, err := strict.DecodeString(s)
	return err == nil
}

// HashJoinSecret gives the verifier of a secret: its SHA-256 in hex. Looking a
// hash up tells nothing, by its duration, about the secrets that there are.
func HashJoinSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CheckWeb refuses a certificate that says by its restartilka URI that it is
// something else than a server's pages and API: an agent's certificate carries
// its host's name, and must not pass for the server on that host. One without
// such a URI is judged by its names alone.
func CheckWeb(cert *x509.Certificate) error {
	id, ok, err := IdentityOf(cert)
	if err != nil {
		return err
	}
	if ok && id.Role != RoleWeb {
		return restart.Errorf(restart.CodeCertificate, "this is not the server's certificate: it is that of %s %s", id.Role, id.Name).
			WithHint("the server answers on port 8443; an agent, on port 3131, is not asked by people")
	}
	return nil
}
