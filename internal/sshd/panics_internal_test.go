package sshd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// A panic is the end of one command, or of one connection, and of no more.

// brittle is a channel that panics where anything is written to it.
type brittle struct{ session }

func (brittle) Write([]byte) (int, error) { panic("on purpose") }

// TestAPanicEndsOneCommand: the server stays, the log has the stack, and the
// person is told.
func TestAPanicEndsOneCommand(t *testing.T) {
	t.Parallel()
	near, far := newLine()
	defer far.Close()
	defer near.Close()
	var log bytes.Buffer
	s := New(Config{URL: "https://restartilka.example.com", Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	talk := &oneByOne{t: t}
	code := s.run(t.Context(), visitor{name: "anna", conn: &ssh.ServerConn{Conn: lineOnly{near}}}, brittle{session{talk: talk}}, nil, "version")
	if said := talk.text.String(); code != cli.ExitUnreachable || !strings.Contains(said, "internal error") || strings.Contains(said, "on purpose") {
		t.Errorf("exit code %d: %s", code, said)
	}
	for _, want := range []string{"on purpose", "anna", "brittle.Write"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q: %s", want, log.String())
		}
	}
}

// broken is a store of keys that panics.
type broken struct{}

func (broken) Check(context.Context, authn.ShownKey) (restart.Actor, store.Key, error) {
	panic("on purpose")
}

// TestAPanicEndsOneConnection: that of a stranger too, whose seat is free again.
func TestAPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		host := newSigner(t)
		s := New(Config{Keys: broken{}, HostKeys: []ssh.Signer{host}, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
		near, far := newLine()
		defer far.Close()
		if err := s.enter("192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		left := make(chan struct{})
		go func() {
			defer close(left)
			s.serve(t.Context(), near, "192.0.2.1")
		}()
		_, _, _, err := ssh.NewClientConn(net.Conn(far), "", &ssh.ClientConfig{User: Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(newSigner(t))}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey())})
		<-left
		if err == nil || s.all != 0 || s.fresh != 0 || len(s.by) != 0 || !strings.Contains(log.String(), "broken.Check") {
			t.Errorf("%v, %d, %d, %v: %s", err, s.all, s.fresh, s.by, log.String())
		}
	})
}
