package pki_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestJoinTokens(t *testing.T) {
	cert := parse(t, newCA(t, "ca", time.Now()).CertPEM())
	made := pki.NewJoinToken(pki.PinOf(cert))
	if got, err := pki.ParseJoinToken(" \t" + made.String() + "\r\n"); err != nil || got != made || !got.Pin.Equal(made.Pin) {
		t.Errorf("%+v, %v", got, err)
	}
	if other := pki.NewJoinToken(made.Pin); other.Secret == made.Secret || other.Hash() == made.Hash() || len(other.Secret) != 43 {
		t.Error("two tokens are alike")
	}
	text := made.String()
	for name, bad := range map[string]string{
		"nothing": "", "another version": strings.Replace(text, "rj1", "rj2", 1), "no pin": "rj1.." + made.Secret, "no secret": "rj1." + made.Pin.String() + ".",
		"a part more": text + ".x", "cut short": text[:len(text)-1], "a letter more": text + "A", "padding": text + "=",
		"another alphabet": "rj1." + made.Pin.String() + "." + strings.Repeat("+", 43), "a newline inside": text[:60] + "\n" + text[60:],
		"a second spelling": text[:len(text)-1] + "B", // the last letter has four bits only
	} {
		got, err := pki.ParseJoinToken(bad)
		if restart.CodeOf(err) != restart.CodeInvalid || strings.Contains(err.Error(), made.Secret) {
			if name == "a second spelling" && got.String() == bad {
				continue // the random letter was that one
			}
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzJoinToken: what is read has one spelling only.
func FuzzJoinToken(f *testing.F) {
	f.Add(pki.NewJoinToken(pki.Pin{1, 2, 3}).String())
	f.Add("rj1..")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := pki.ParseJoinToken(text)
		if err != nil {
			return
		}
		if token.String() != strings.TrimSpace(text) || !pki.JoinSecret(token.Secret) {
			t.Fatalf("%q was read as %q", text, token)
		}
	})
}

func TestOnlyTheServersOwnCertificateIsForPeople(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now)
	web, _, err := ca.IssueServer("main", []string{"web1.example.com"}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	agent, _, err := ca.IssueAgent("web1.example.com", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	client, _, err := ca.IssueClient("main", now)
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.CheckWeb(parse(t, web)); err != nil {
		t.Error(err)
	}
	if err := pki.CheckWeb(parse(t, ca.CertPEM())); err != nil { // no URI: others judge it by its names
		t.Error(err)
	}
	for _, text := range [][]byte{agent, client} {
		if err := pki.CheckWeb(parse(t, text)); restart.CodeOf(err) != restart.CodeCertificate {
			t.Errorf("%s passes for the server: %v", pki.Names(parse(t, text)), err)
		}
	}
}

func TestRevocations(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now)
	text, _, err := ca.IssueAgent("web1.example.com", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, text)
	var list pki.Revocations
	if err := list.Check(cert); err != nil {
		t.Error(err)
	}
	revoked := pki.Revocation{Serial: pki.SerialOf(cert), Host: "web1.example.com", At: now, Reason: "stolen\x1b[31m"}
	if !list.Replace([]pki.Revocation{revoked}) || list.Replace([]pki.Revocation{revoked}) {
		t.Error("a change is not told, or one that was none")
	}
	err = list.Check(cert)
	if restart.CodeOf(err) != restart.CodeRevoked || !strings.Contains(err.Error(), `web1.example.com was revoked on `+now.UTC().Format("2006-01-02")) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v", err)
	}
	if !list.Replace(nil) || list.Check(cert) != nil {
		t.Error("the list is not empty")
	}
}
