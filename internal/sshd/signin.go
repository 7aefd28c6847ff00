package sshd

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
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

	refused error // why his command is not run; nil = it is
}

// patience is how long he may take for each step to his command: who gets
// nothing but a word is to leave soon.
func (v visitor) patience(l Limits) time.Duration {
	if v.refused != nil {
		return min(l.SignIn, farewell)
	}
	return l.SignIn
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
		PublicKeyCallback: s.whoHolds, // signIn has its own about it, which notes what was tried
	}
	for _, key := range s.cfg.HostKeys {
		cfg.AddHostKey(key)
	}
	return cfg
}

// whoHolds says for whom a key stands that is shown. That it was shown proves
// nothing yet: what it gives counts once the key has signed. An error is worded
// for the audit trail; the other end learns only that the key lets it in not.
func (s *Server) whoHolds(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	shown := authn.ShownKey{Fingerprint: ssh.FingerprintSHA256(key)}
	if err := authn.CheckPublicKey(key); err != nil {
		return nil, restart.Errorf(restart.CodeUnauthorised, "key %s is of a kind or a size that is not taken: %s", shown.Fingerprint, restart.Quote(key.Type())).Because(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUp)
	defer cancel()
	actor, found, err := s.cfg.Keys.Check(ctx, shown)
	if err != nil {
		return nil, s.unfit(shown.Fingerprint, found, err)
	}
	if conn.User() != Login && conn.User() != actor.Name {
		return nil, restart.Errorf(restart.CodeUnauthorised, "key %s is that of %s, and not of %s", shown.Fingerprint, actor.Name, restart.Quote(conn.User()))
	}
	return &ssh.Permissions{Extensions: map[string]string{extFingerprint: shown.Fingerprint, extName: actor.Name}}, nil
}

// unfit words for the audit trail why a key lets nobody in, by what the look-up
// has given. A failure of the database stays one, and is logged.
func (s *Server) unfit(fingerprint string, key store.Key, err error) error {
	switch {
	case restart.CodeOf(err) != restart.CodeUnauthorised:
		s.cfg.Logger.Error("look an SSH key up", "key", restart.Escape(fingerprint), "error", err)
		return restart.Errorf(restart.CodeUnavailable, "key %s could not be looked up", fingerprint).Because(err)
	case key.ID == "":
		return restart.Errorf(restart.CodeUnauthorised, "key %s is in no profile", fingerprint)
	case !key.Valid(s.cfg.Now()):
		return restart.Errorf(restart.CodeUnauthorised, "key %s of %s has expired", fingerprint, key.Owner)
	}
	return restart.Errorf(restart.CodeUnauthorised, "key %s is that of %s, who may not sign in", fingerprint, key.Owner)
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
	var tried attempts
	config.PublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		permissions, err := s.whoHolds(meta, key)
		tried.key(permissions, err)
		return permissions, err
	}
	config.AuthLogCallback = func(_ ssh.ConnMetadata, method string, err error) {
		if method == "publickey" && err != nil {
			tried.note(err)
		}
	}
	sc, channels, requests, err := ssh.NewServerConn(conn, &config)
	if err != nil {
		tried.end(err)
		if len(tried.said) > 0 { // who has shown none has not tried
			s.refuse(ctx, from, tried)
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

// attempts are what a connection has tried and not come in by, in words of the
// audit trail.
type attempts struct {
	said        []string
	unavailable bool   // a key could not be looked up
	unsigned    string // the key that was shown last, where it was good and has not signed yet
}

// key adds what has become of a key that is shown. The same one may be asked
// about and then signed with: it is told once.
func (a *attempts) key(permissions *ssh.Permissions, err error) {
	if a.unsigned != "" {
		a.say(a.unsigned + " was shown and not signed with")
		a.unsigned = ""
	}
	if err != nil {
		a.note(err)
		return
	}
	a.unsigned = "key " + permissions.Extensions[extFingerprint] + " of " + permissions.Extensions[extName]
}

// note adds a refusal.
func (a *attempts) note(err error) {
	a.unavailable = a.unavailable || restart.CodeOf(err) == restart.CodeUnavailable
	a.say(clip(err))
}

func (a *attempts) say(text string) {
	if !slices.Contains(a.said, text) && len(a.said) < tries {
		a.said = append(a.said, text)
	}
}

// end adds the key that would have been good, had it signed. The library ends
// the connection over a signature that is wrong, and tells of it only here.
func (a *attempts) end(err error) {
	if a.unsigned == "" {
		return
	}
	text := a.unsigned + " was shown and not signed with"
	if _, ok := errors.AsType[*ssh.ServerAuthError](err); !ok && !errors.Is(err, io.EOF) {
		text = a.unsigned + " was shown and not proved: " + clip(err)
	}
	a.said = append(a.said, text)
}

// clip bounds what foreign text may be in, to what fits a line.
func clip(err error) string {
	const most = 300 // bytes
	text := restart.Escape(err.Error())
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// refuse records that nobody whom we know has come, and by what he tried. Whose
// key it was is no proof of who it was: the record is in nobody's name.
func (s *Server) refuse(ctx context.Context, from string, tried attempts) {
	rec := s.record("unknown", from, audit.SignInRefused, strings.Join(tried.said, "; "))
	rec.Outcome = string(restart.CodeUnauthorised)
	if tried.unavailable {
		rec.Outcome = string(restart.CodeUnavailable)
	}
	s.cfg.Logger.Info("a sign-in by SSH was refused", "from", from, "detail", rec.Detail)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookUp)
	defer cancel()
	if err := s.cfg.Record(ctx, rec); err != nil {
		s.cfg.Logger.Error("record a refusal", "from", from, "error", err)
	}
}

func (s *Server) record(name, from string, action audit.Action, detail string) audit.Record {
	return audit.Record{Time: s.cfg.Now().UTC().Truncate(time.Microsecond), Actor: name, Origin: strings.TrimSpace("ssh " + from), Action: action, Detail: detail}
}
