package sshd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// owners knows keys by their fingerprints.
type owners map[string]string

func (o owners) Check(_ context.Context, shown authn.ShownKey) (restart.Actor, store.Key, error) {
	if name := o[shown.Fingerprint]; name != "" {
		return restart.Actor{Name: name}, store.Key{}, nil
	}
	return restart.Actor{}, store.Key{}, restart.Errorf(restart.CodeUnauthorised, "nobody's")
}

// meta is a connection about which somebody says who he is.
type meta struct{ user string }

func (m meta) User() string        { return m.user }
func (meta) SessionID() []byte     { return nil }
func (meta) ClientVersion() []byte { return nil }
func (meta) ServerVersion() []byte { return nil }
func (meta) RemoteAddr() net.Addr  { return &net.TCPAddr{} }
func (meta) LocalAddr() net.Addr   { return &net.TCPAddr{} }

func newPublic(t *testing.T) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestCVE202445337PermissionsAlone: whoever is asked about last, who has come is
// told by the permissions of the key that has signed.
func TestCVE202445337PermissionsAlone(t *testing.T) {
	t.Parallel()
	vera, anna := newPublic(t), newPublic(t)
	s := New(Config{Keys: owners{ssh.FingerprintSHA256(vera): "vera", ssh.FingerprintSHA256(anna): "anna"}})
	conn := meta{user: Login}
	ofVera, err := s.whoHolds(conn, vera)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.whoHolds(conn, anna); err != nil { // shown afterwards, and never signed with
		t.Fatal(err)
	}
	who, err := visitorOf(&ssh.ServerConn{Permissions: ofVera}, "192.0.2.1")
	if err != nil || who.name != "vera" || who.shown.Fingerprint != ssh.FingerprintSHA256(vera) || who.shown.From != "192.0.2.1" {
		t.Errorf("%+v, %v", who, err)
	}
	for _, nobody := range []*ssh.Permissions{nil, {}, {Extensions: map[string]string{extName: "anna"}}} {
		if who, err := visitorOf(&ssh.ServerConn{Permissions: nobody}, ""); err == nil {
			t.Errorf("%+v", who)
		}
	}
	for user, key := range map[string]ssh.PublicKey{"anna": vera, "": vera, Login: newPublic(t)} {
		if got, err := s.whoHolds(meta{user: user}, key); err == nil {
			t.Errorf("as %q: %+v", user, got)
		}
	}
}
