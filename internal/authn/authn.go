// Package authn finds out who is asking. Every way of proving it is a Method,
// one file each; a Chain asks them in order, and the first that recognises its
// kind of credential decides. A request that carries none is nobody.
//
// Secrets are 160 random bits. Only their SHA-256 is stored: they can't be
// guessed, so a slow hash would protect nothing.
package authn

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"net"
	"net/http"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Method recognises one kind of credential. An empty actor and no error mean
// that the request carries none of its kind; an error means that it carries one
// that is not good (CodeUnauthorised).
type Method interface {
	Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error)
}

// Chain asks its methods in order.
type Chain []Method

// Authenticate gives the actor of a request: CodeUnauthorised if it carries no
// credential, or one that is wrong, expired or revoked.
func (c Chain) Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error) {
	for _, m := range c {
		actor, err := m.Authenticate(ctx, r)
		if err != nil {
			return restart.Actor{}, err
		}
		if actor.Name != "" {
			return actor, nil
		}
	}
	return restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "nobody is signed in").
		WithHint("send a token (Authorization: Bearer …), or sign in; in the command line: restartilka login URL")
}

// secretPrefix makes a leaked token recognisable to people and scanners.
const secretPrefix = "rtk_"

var encoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewSecret makes a secret and the hash that may be stored.
func NewSecret() (secret, hash string) {
	var b [20]byte
	rand.Read(b[:]) // never fails, by its documentation
	secret = secretPrefix + encoding.EncodeToString(b[:])
	return secret, Hash(secret)
}

// Hash gives what is stored of a secret: its SHA-256 in hex.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// from gives the address that a request came from.
func from(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// IsSecret tells whether a text looks like a secret that NewSecret made: a
// token rather than a password.
func IsSecret(text string) bool { return wellFormed(text) }

// wellFormed keeps anything that is no secret of ours away from the database.
func wellFormed(secret string) bool {
	body, ok := strings.CutPrefix(secret, secretPrefix)
	return ok && len(body) == 32
}
