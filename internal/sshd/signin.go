package sshd

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// lookUp bounds how long the database is asked for a key.
	lookUp = 10 * time.Second
	// tries are how many keys a connection may show: agents have some.
	tries = 10
)

// visitor is somebody who has proved who he is.
type visitor struct {
	conn  *ssh.ServerConn
	shown authn.ShownKey
	name  string
}

// The extensions of ssh.Permissions by which the callback says for whom a key
// stands. They are of the key that has signed: never is anything kept between
// two calls of the callback (CVE-2024-45337).
const (
	extFingerprint = "restartilka-fingerprint"
	extName        = "restartilka-name"
)

func (s *Server) sshConfig() *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		// Every client of the last ten years has some of these; SHA-1 and CBC, which
		// the library offers or knows for older ones, are not among them.
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521, ssh.KeyExchangeDH14SHA256},
			Ciphers:      []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES256GCM, ssh.CipherAES128GCM, ssh.CipherAES256CTR, ssh.CipherAES192CTR, ssh.CipherAES128CTR},
			MACs:         []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512},
		},
		MaxAuthTries:  tries,
		ServerVersion: "SSH-2.0-restartilka",
		// Nor here: and none for the kinds of keys that are not taken.
		PublicKeyAuthAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
			ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		},
		PublicKeyCallback: s.whoHolds,
	}
	for _, key := range s.cfg.HostKeys {
		cfg.AddHostKey(key)
	}
	return cfg
}

// whoHolds says for whom a key stands that is shown. That it was shown proves
// nothing yet: what it gives counts once the key has signed.
func (s *Server) whoHolds(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if err := authn.CheckPublicKey(key); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUp)
	defer cancel()
	shown := authn.ShownKey{Fingerprint: ssh.FingerprintSHA256(key)}
	actor, _, err := s.cfg.Keys.Check(ctx, shown)
	if err != nil {
		return nil, err
	}
	if conn.User() != Login && conn.User() != actor.Name {
		return nil, restart.Errorf(restart.CodeUnauthorised, "the key is not that of %s", restart.Quote(conn.User()))
	}
	return &ssh.Permissions{Extensions: map[string]string{extFingerprint: shown.Fingerprint, extName: actor.Name}}, nil
}

// visitorOf gives who has come, by what the callback has returned for the key
// that has signed.
func visitorOf(conn *ssh.ServerConn, from string) (visitor, error) {
	if conn.Permissions == nil || conn.Permissions.Extensions[extFingerprint] == "" {
		return visitor{}, errors.New("nobody has signed in")
	}
	return visitor{
		conn: conn, name: conn.Permissions.Extensions[extName],
		shown: authn.ShownKey{Fingerprint: conn.Permissions.Extensions[extFingerprint], From: from},
	}, nil
}

// signIn has somebody prove who he is, and records it, or the refusal.
func (s *Server) signIn(ctx context.Context, conn net.Conn, from string) (visitor, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	config := *s.ssh
	var shown int
	config.AuthLogCallback = func(_ ssh.ConnMetadata, method string, err error) {
		if method == "publickey" && err != nil {
			shown++
		}
	}
	sc, channels, requests, err := ssh.NewServerConn(conn, &config)
	if err != nil {
		if shown > 0 { // who has shown none has not tried
			s.refuse(ctx, from, err)
		}
		return visitor{}, nil, nil, err
	}
	who, err := visitorOf(sc, from)
	if err == nil {
		err = s.cfg.Record(ctx, s.record(who.name, from, audit.SignIn, "by key "+who.shown.Fingerprint))
	}
	if err != nil {
		s.cfg.Logger.Error("sign in by SSH", "from", from, "error", err)
		sc.Close()
		return visitor{}, nil, nil, err
	}
	return who, channels, requests, nil
}

// refuse records that nobody whom we know has come.
func (s *Server) refuse(ctx context.Context, from string, why error) {
	code := restart.CodeUnauthorised
	if found, ok := errors.AsType[*ssh.ServerAuthError](why); ok {
		for _, err := range found.Errors {
			if restart.CodeOf(err) == restart.CodeUnavailable {
				code = restart.CodeUnavailable
			}
		}
	}
	rec := s.record("unknown", from, audit.SignInRefused, "no key that was shown is in a profile")
	rec.Outcome = string(code)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookUp)
	defer cancel()
	if err := s.cfg.Record(ctx, rec); err != nil {
		s.cfg.Logger.Error("record a refusal", "from", from, "error", err)
	}
}

func (s *Server) record(name, from string, action audit.Action, detail string) audit.Record {
	return audit.Record{Time: s.cfg.Now().UTC().Truncate(time.Microsecond), Actor: name, Origin: strings.TrimSpace("ssh " + from), Action: action, Detail: detail}
}
