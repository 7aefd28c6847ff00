package signing

import (
	"errors"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
)

// Revoked is what counts no more. The zero value revokes nothing.
type Revoked struct {
	keys, scenarios, principals map[string]bool
}

var fingerprint = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)

// ParseRevoked reads a file of revocations, one a line:
//
//	key SHA256:…        as ssh-keygen -l prints it
//	scenario DIGEST     as restartilka scenario digest prints it
//	principal NAME      all keys of that person
//
// What follows a # that begins a line or comes after a space is a comment.
// CodeInvalid with the number of the line; CodeTooLarge.
func ParseRevoked(b []byte) (Revoked, error) {
	r := Revoked{keys: map[string]bool{}, scenarios: map[string]bool{}, principals: map[string]bool{}}
	err := eachLine(b, "revocations", func(line string) error {
		line, _, _ = strings.Cut(line, " #")
		words := strings.Fields(line)
		if len(words) != 2 {
			return restart.Errorf(restart.CodeInvalid, "%s is not two words", restart.Quote(line)).WithHint("key SHA256:…, scenario DIGEST or principal NAME")
		}
		switch name := words[1]; words[0] {
		case "key":
			if !fingerprint.MatchString(name) {
				return restart.Errorf(restart.CodeInvalid, "%s is no fingerprint", restart.Quote(name)).WithHint("SHA256:… as ssh-keygen -l -f KEY.pub prints it")
			}
			r.keys[name] = true
		case "scenario":
			if err := restart.CheckDigest(name); err != nil {
				return err
			}
			r.scenarios[name] = true
		case "principal":
			if err := CheckPrincipal(name); err != nil {
				return err
			}
			r.principals[strings.ToLower(name)] = true
		default:
			return restart.Errorf(restart.CodeInvalid, "%s can't be revoked", restart.Quote(words[0])).WithHint("key, scenario or principal")
		}
		return nil
	})
	if err != nil {
		return Revoked{}, err
	}
	return r, nil
}

// Scenario tells whether a version was revoked.
func (r Revoked) Scenario(digest string) bool { return r.scenarios[digest] }

// Digests tells how many versions were revoked.
func (r Revoked) Digests() int { return len(r.scenarios) }

// signer tells whether a signer's key, or one of his names, was revoked.
func (r Revoked) signer(key ssh.PublicKey, principals []string) error {
	if print := ssh.FingerprintSHA256(key); r.keys[print] {
		return errors.New("key " + print + " was revoked")
	}
	for _, p := range principals {
		if r.principals[strings.ToLower(p)] {
			return errors.New("all keys of " + p + " were revoked")
		}
	}
	return nil
}
