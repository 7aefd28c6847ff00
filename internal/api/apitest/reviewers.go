package apitest

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/internal/wire"
)

// Reviewers are people with SSH keys, and the lists that name them.
type Reviewers struct {
	Signers, Revoked string // paths
	Keys             map[string]ssh.Signer

	t testing.TB
}

// NewReviewers makes a key for each principal, and lists them all.
func NewReviewers(t testing.TB, principals ...string) *Reviewers {
	t.Helper()
	dir := t.TempDir()
	r := &Reviewers{Signers: filepath.Join(dir, "allowed_signers"), Revoked: filepath.Join(dir, "revoked"), Keys: map[string]ssh.Signer{}, t: t}
	var lines strings.Builder
	for _, p := range principals {
		r.Keys[p] = NewSigner(t)
		lines.WriteString(p + " " + string(ssh.MarshalAuthorizedKey(r.Keys[p].PublicKey())))
	}
	r.write(r.Signers, lines.String())
	r.write(r.Revoked, "# nothing yet\n")
	return r
}

// NewSigner makes an SSH key that nobody knows of.
func NewSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err == nil {
		var key ssh.Signer
		if key, err = ssh.NewSignerFromKey(private); err == nil {
			return key
		}
	}
	t.Fatal(err)
	return nil
}

// Review is how a server judges by them: two must sign.
func (r *Reviewers) Review() control.Review {
	return control.Review{Signed: true, Signers: r.Signers, Revoked: r.Revoked, Quorum: 2}
}

// Sign gives a principal's signature over a scenario.
func (r *Reviewers) Sign(principal, body string) wire.SignatureRequest {
	r.t.Helper()
	armored, err := signing.Sign([]byte(body), r.Keys[principal])
	if err != nil {
		r.t.Fatal(err)
	}
	return wire.SignatureRequest{Principal: principal, Armored: string(armored)}
}

// Revoke adds lines to the file of revocations.
func (r *Reviewers) Revoke(lines ...string) {
	r.t.Helper()
	r.write(r.Revoked, strings.Join(lines, "\n")+"\n")
}

// Fingerprint names the key of a principal.
func (r *Reviewers) Fingerprint(principal string) string {
	return ssh.FingerprintSHA256(r.Keys[principal].PublicKey())
}

func (r *Reviewers) write(path, text string) {
	r.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}
