package authn_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

// line gives the line of a .pub file for a public key.
func line(t testing.TB, public any) string {
	t.Helper()
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

const (
	// Made by ssh-keygen; the hardware's by its format, for there is none here.
	keygenLine  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG5Uuev0LsIacQyWYNeMbgT/Z7tt/JW/xikAuAi/zvO8 anna@laptop"
	keygenPrint = "SHA256:oeZe8ULI00yCH39Sv2xF5zCUszj7G0E1iGr7QV0t858"
)

func TestPublicKeys(t *testing.T) {
	t.Parallel()
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	hardware, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Kind, Key, Application string
	}{ssh.KeyAlgoSKED25519, string(ed), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[string]string{
		ssh.KeyAlgoED25519: line(t, ed), ssh.KeyAlgoECDSA384: line(t, &curve.PublicKey), ssh.KeyAlgoRSA: line(t, &strong.PublicKey),
		ssh.KeyAlgoSKED25519: string(ssh.MarshalAuthorizedKey(hardware)),
	} {
		got, err := authn.ParsePublicKey(text + " anna@laptop\n")
		if kind == ssh.KeyAlgoSKED25519 {
			got, err = authn.ParsePublicKey(text)
		}
		if err != nil || got.Kind != kind || !strings.HasPrefix(got.Fingerprint, "SHA256:") || !strings.Contains(text, got.Base64) {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
	}
	if got, err := authn.ParsePublicKey(keygenLine); err != nil || got.Fingerprint != keygenPrint || got.Comment != "anna@laptop" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := authn.ParsePublicKey(line(t, ed) + " \u202eevil"); err != nil || got.Comment != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPublicKeysRefused(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	secret := string(block.Bytes)
	for name, text := range map[string]string{
		"nothing": " ", "words": "hello there", "the private half": "-----BEGIN OPENSSH PRIVATE KEY-----\n" + secret, "a weak one": line(t, &weak.PublicKey),
		"a certificate": string(ssh.MarshalAuthorizedKey(cert)), "options": `command="id" ` + keygenLine, "two lines": keygenLine + "\n" + keygenLine, "a NUL": keygenLine + "\x00",
		"cut": keygenLine[:40], "another kind's name": strings.Replace(keygenLine, "ssh-ed25519 ", "ssh-rsa ", 1) + "x", "endless": keygenLine + strings.Repeat("x", 20<<10), "DSA": "ssh-dss AAAAB3NzaC1kc3MAAAAB",
	} {
		_, err := authn.ParsePublicKey(text)
		if restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: what was given is in the error: %v", name, err)
		}
	}
}

func FuzzPublicKey(f *testing.F) {
	f.Add(keygenLine)
	f.Add("ssh-rsa AAAA x")
	f.Add(`from="1.2.3.4" ` + keygenLine)
	f.Fuzz(func(t *testing.T, text string) {
		k, err := authn.ParsePublicKey(text)
		if err != nil {
			return
		}
		again, err := authn.ParsePublicKey(k.Kind + " " + k.Base64)
		if err != nil || again.Fingerprint != k.Fingerprint || restart.Escape(k.Comment) != k.Comment {
			t.Fatalf("%+v, then %+v, %v", k, again, err)
		}
	})
}
