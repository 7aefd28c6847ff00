package sshd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/sshd"
	"github.com/restartilka/restartilka/internal/store"
)

// Lessons paid for by others, each a named test.

// shownOnly is a key of which somebody has the public half alone.
type shownOnly struct{ public ssh.PublicKey }

func (s shownOnly) PublicKey() ssh.PublicKey { return s.public }

func (s shownOnly) Sign(_ io.Reader, _ []byte) (*ssh.Signature, error) {
	return &ssh.Signature{Format: s.public.Type(), Blob: make([]byte, 64)}, nil
}

// TestCVE202445337KeyThatSigned: a key that was only shown, before or after the
// one that signs, gives nobody its owner's rights.
func TestCVE202445337KeyThatSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	anna, vera := w.people["anna"], w.people["vera"]
	// The real client shows the public half of a key of anna's that it can't sign
	// with, then signs with vera's.
	shown := w.keyOf("anna")
	w.must(os.Remove(shown.file))
	for _, args := range [][]string{{"-i", shown.file + ".pub"}, {"-i", shown.file + ".pub", "-i", vera.file}} {
		cmd := w.openSSH("vera", append(args, "-T", sshd.Login+"@127.0.0.1", "whoami")...)
		if got := w.run(cmd); got.code != 0 || !strings.HasPrefix(got.stdout, "vera at") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for _, rec := range w.records(audit.SignIn) {
		if rec.Actor != "vera" || !strings.Contains(rec.Detail, ssh.FingerprintSHA256(vera.signer.PublicKey())) {
			t.Errorf("%s is said to have come %s", rec.Actor, rec.Detail)
		}
	}
	// A key that is only shown lets nobody in.
	if _, err := w.dial(sshd.Login, shownOnly{anna.signer.PublicKey()}); err == nil {
		t.Error("a public half lets in")
	}
	rec := w.refusal()
	for _, want := range []string{ssh.FingerprintSHA256(anna.signer.PublicKey()), "of anna was shown and not proved", "signature did not verify"} {
		if rec.Actor != "unknown" || rec.Outcome != string(restart.CodeUnauthorised) || !strings.Contains(rec.Detail, want) {
			t.Errorf("no %q in %+v", want, rec)
		}
	}
}

// refusal waits for the record of a sign-in that was refused.
func (w *world) refusal() audit.Record {
	w.t.Helper()
	select {
	case rec := <-w.refused:
		return rec
	case <-time.After(patience):
		w.t.Fatal("no refusal is recorded")
		return audit.Record{}
	}
}

// TestRefusalsSayWhy: whoever reads the trail learns which key it was, and what
// was wrong about it.
func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	anna, mallory := w.people["anna"].signer, w.people["mallory"].signer
	expired := w.keyOf("")
	w.must(w.Store.AddKey(t.Context(), store.Key{
		ID: expired.id, Owner: "anna", Name: "old", Kind: expired.signer.PublicKey().Type(), Fingerprint: ssh.FingerprintSHA256(expired.signer.PublicKey()), CreatedAt: time.Now(), ExpiresAt: time.Now().Add(-time.Hour),
	}))
	of := func(s ssh.Signer) string { return ssh.FingerprintSHA256(s.PublicKey()) }
	try := func(login, want string, signers ...ssh.Signer) {
		t.Helper()
		if _, err := w.dial(login, signers...); err == nil {
			t.Errorf("%s: it lets in", want)
		} else if rec := w.refusal(); rec.Detail != want || rec.Actor != "unknown" || rec.Outcome != string(restart.CodeUnauthorised) {
			t.Errorf("want %s: %+v", want, rec)
		}
	}
	try("vera", "key "+of(anna)+` is that of anna, and not of "vera"`, anna)
	try(sshd.Login, "key "+of(expired.signer)+" of anna has expired", expired.signer)
	try(sshd.Login, "key "+of(mallory)+" is in no profile; key "+of(expired.signer)+" of anna has expired", mallory, expired.signer)
	disabled := true
	w.must(w.Store.ChangeUser(t.Context(), "anna", store.UserChange{Disabled: &disabled}))
	try("anna", "key "+of(anna)+" is that of anna, who may not sign in", anna)
}

// TestTerrapin (CVE-2023-48795): the server offers strict key exchange, without
// which packets could be cut out before the encryption begins.
func TestTerrapin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	conn := w.tcp()
	w.must(conn.SetDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(conn, "SSH-2.0-test\r\n")
	w.must(err)
	offered := firstPacket(t, conn)
	if !bytes.Contains(offered, []byte("kex-strict-s-v00@openssh.com")) {
		t.Errorf("no strict key exchange is offered: %q", offered)
	}
	for _, weak := range []string{"sha1", "-cbc", "arcfour", "3des", "ssh-dss", "md5", "none,z"} {
		if strings.Contains(string(offered), weak) {
			t.Errorf("%s is offered: %q", weak, offered)
		}
	}
	if got := w.run(w.openSSH("anna", "-o", "LogLevel=DEBUG3", "-T", sshd.Login+"@127.0.0.1", "whoami")); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// firstPacket reads the server's version and the first packet behind it.
func firstPacket(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	var version []byte
	for b := make([]byte, 1); !bytes.HasSuffix(version, []byte("\n")); {
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		version = append(version, b...)
	}
	if string(version) != "SSH-2.0-restartilka\r\n" {
		t.Errorf("%q", version)
	}
	var length uint32
	if err := binary.Read(conn, binary.BigEndian, &length); err != nil || length > 1<<16 {
		t.Fatal(length, err)
	}
	packet := make([]byte, length)
	if _, err := io.ReadFull(conn, packet); err != nil {
		t.Fatal(err)
	}
	return packet
}

// TestEmptyCommand: what is empty is no command, in whichever way it is empty,
// and never a shell.
func TestEmptyCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	for name, begin := range map[string]func(s *ssh.Session) error{
		"shell":  func(s *ssh.Session) error { return s.Shell() },
		"exec":   func(s *ssh.Session) error { return s.Start("") },
		"space":  func(s *ssh.Session) error { return s.Start(" \t ") },
		"quotes": func(s *ssh.Session) error { return s.Start(`""`) },
		"shell with a terminal": func(s *ssh.Session) error {
			return errors.Join(s.RequestPty("xterm", 24, 80, nil), s.Shell())
		},
	} {
		s, err := w.dialAs("anna").NewSession()
		w.must(err)
		in, err := s.StdinPipe()
		w.must(err)
		out, talk := newSpoken(), newSpoken()
		s.Stdout, s.Stderr = out, talk
		w.must(begin(s))
		io.WriteString(in, "id\nexit\n")
		code, said := exitCode(t, s.Wait()), out.String()+talk.String()
		if code != cli.ExitUsage || !strings.Contains(said, "restartilka") || strings.Contains(said, "uid=") {
			t.Errorf("%s: exit code %d: %s", name, code, said)
		}
	}
}

// TestRevokedInMidSession: a key that is removed, or whose owner is disabled,
// ends what goes on with it, in less than a second by
// TestRevokedInLessThanASecond; the run goes on.
func TestRevokedInMidSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sshd.Limits{})
	w.Agents.Set("web1", apitest.Hangs)
	s, err := w.dialAs("anna").NewSession()
	w.must(err)
	said := newSpoken()
	s.Stdout, s.Stderr = said, said
	w.must(s.Start(`restart shop --hosts web1,web2 --yes --reason "workers hang since noon"`))
	said.until(t, "web1: running")
	w.must(w.Store.RemoveKey(t.Context(), w.people["anna"].id, audit.Record{Action: audit.KeyRemoved}))
	code := exitCode(t, s.Wait())
	if code != cli.ExitRefused || !strings.Contains(said.String(), "the key is good no more") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if _, err := w.dial(sshd.Login, w.people["anna"].signer); err == nil {
		t.Error("the key still lets in")
	}
	w.Agents.Set("web1", apitest.Succeeds)
	if got := w.ask("vera", "runs", "--service", "shop"); !strings.Contains(got.stdout, "shop production") {
		t.Errorf("%+v", got)
	}
}
