package signing_test

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/scenario/signing"
)

func FuzzParseAllowed(f *testing.F) {
	key := newKey(f).PublicKey()
	f.Add([]byte(line("anna@example.com,anna", `namespaces="git,!x*",valid-after="20260101Z"`, key)))
	f.Add([]byte("anna cert-authority ssh-ed25519 AAAA\n\"a b\" x=\"\\\"\" y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := signing.ParseAllowed(b)
		if err != nil {
			return
		}
		for _, s := range a.Signers() {
			if s.Key == nil || len(s.Principals) == 0 {
				t.Fatalf("a signer without key or name: %+v", s)
			}
			for _, p := range s.Principals {
				if signing.CheckPrincipal(p) != nil || strings.ContainsAny(p, "*?/") {
					t.Fatalf("principal %q", p)
				}
			}
		}
	})
}

func FuzzParseRevoked(f *testing.F) {
	f.Add([]byte("key SHA256:abc\nprincipal anna # x\nscenario 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		signing.ParseRevoked(b) //nolint:errcheck // it must not panic
	})
}

func FuzzCheck(f *testing.F) {
	key := newKey(f)
	p := signing.Policy{Allowed: parse(f, line("olga", "", key.PublicKey())), Now: now}
	good := sign(f, "olga", key).Armored
	f.Add(good, body)
	f.Add([]byte("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----"), body)
	f.Fuzz(func(t *testing.T, armored, text []byte) {
		_, err := signing.Check(text, signing.Signature{Principal: "olga", Armored: armored}, p)
		if err == nil && string(text) != string(body) {
			t.Fatalf("a signature counts for other bytes")
		}
	})
}
