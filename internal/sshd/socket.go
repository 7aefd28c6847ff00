package sshd

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// Socket is for the machine's own sshd: `restartilka shell` comes by it, as one
// account. The kernel says which account that is; what it says of whose key it
// was, is believed, for sshd has verified it and starts nothing else.
type Socket struct {
	s       *Server
	path    string
	account string // its name
	uid     uint32
}

// NewSocket gives a socket at a path, for an account that exists.
func (s *Server) NewSocket(path, account string) (*Socket, error) {
	found, err := user.Lookup(account)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "there is no account %s: %v", restart.Quote(account), err).WithHint("useradd --system --shell /bin/sh %s", restart.Escape(account))
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read the number of account %s: %w", account, err)
	}
	return &Socket{s: s, path: path, account: account, uid: uint32(uid)}, nil
}

// Listen opens the socket. One that was left behind is replaced; one that
// somebody answers at, or another kind of file, is CodeConflict.
func (x *Socket) Listen(ctx context.Context) (net.Listener, error) {
	if info, err := os.Lstat(x.path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, restart.Errorf(restart.CodeConflict, "%s is there, and no socket", x.path)
		}
		if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", x.path); err == nil {
			conn.Close()
			return nil, restart.Errorf(restart.CodeConflict, "another program answers at %s", x.path)
		}
		if err := os.Remove(x.path); err != nil {
			return nil, fmt.Errorf("remove an old socket: %w", err)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", x.path)
	if err != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "can't listen on %s: %v", x.path, err).WithHint("its folder must be there and be writable by the server; under systemd: RuntimeDirectory=").Because(err)
	}
	// Another account comes by it; the kernel tells whether it is the right one.
	if err := os.Chmod(x.path, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s to its account: %w", x.path, err), l.Close())
	}
	return l, nil
}

// Serve answers until ctx ends. The listener is closed, and its file removed.
func (x *Socket) Serve(ctx context.Context, l net.Listener) error {
	requests, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	server := &http.Server{
		Handler:           x.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(x.s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	server.RegisterOnShutdown(end)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer done()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	err := server.Serve(&peers{Listener: l, uid: x.uid, log: x.s.cfg.Logger})
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", x.path, err)
}

// peers lets in only one account.
type peers struct {
	net.Listener
	uid uint32
	log *slog.Logger
}

// Accept implements net.Listener.
func (p *peers) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uid, err := peerOf(conn)
		if err == nil && uid == p.uid {
			return conn, nil
		}
		p.log.Warn("another account came by the socket of the special shell", "uid", uid, "error", err)
		conn.Close()
	}
}

// peerOf gives the account at the other end, as the kernel knows it.
func peerOf(conn net.Conn) (uint32, error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("it is no socket of this machine")
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("reach the socket: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || credErr != nil {
		return 0, fmt.Errorf("ask who is at the other end: %w", errors.Join(err, credErr))
	}
	return cred.Uid, nil
}

func (x *Socket) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.ShellLookUp, x.lookUp)
	mux.HandleFunc("POST "+wire.ShellBegin, x.begin)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		shown := shownBy(r)
		inner := r.Clone(authn.WithKey(r.Context(), shown))
		inner.RemoteAddr = net.JoinHostPort(shown.From, "0")
		inner.Header.Del("Authorization") // who it is, the key says alone
		inner.Header.Del("Cookie")
		x.s.cfg.Handler.ServeHTTP(w, inner)
	})
	return mux
}

// shownBy gives what `restartilka shell` says of who has come.
func shownBy(r *http.Request) authn.ShownKey {
	shown := authn.ShownKey{Fingerprint: r.Header.Get(wire.ShellKeyHeader)}
	if a, err := netip.ParseAddr(r.Header.Get(wire.ShellFromHeader)); err == nil {
		shown.From = a.String()
	}
	return shown
}

// lookUp tells sshd whether it may let a key in, to the one account.
func (x *Socket) lookUp(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var found wire.ShellKey
	key, err := publicKey(q.Get("type"), q.Get("key"))
	if err == nil && q.Get("user") == x.account {
		fingerprint := ssh.FingerprintSHA256(key)
		_, _, err = x.s.cfg.Keys.Check(r.Context(), authn.ShownKey{Fingerprint: fingerprint})
		if err == nil {
			found.Fingerprint = fingerprint
		}
	}
	switch restart.CodeOf(err) {
	case "", restart.CodeUnauthorised, restart.CodeInvalid: // sshd goes on to the next key
		tell(w, http.StatusOK, found)
	default:
		x.refuse(w, err)
	}
}

// publicKey reads a key as sshd tells it, by %t and %k.
func publicKey(kind, text string) (ssh.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "that is no public key")
	}
	key, err := ssh.ParsePublicKey(b)
	if err != nil || key.Type() != kind {
		return nil, restart.Errorf(restart.CodeInvalid, "that is no public key of its kind")
	}
	return key, authn.CheckPublicKey(key)
}

// begin records that somebody has come.
func (x *Socket) begin(w http.ResponseWriter, r *http.Request) {
	shown := shownBy(r)
	actor, key, err := x.s.cfg.Keys.Check(r.Context(), shown)
	rec := x.s.record(actor.Name, shown.From, audit.SignIn, "by key "+shown.Fingerprint+", by way of sshd")
	if restart.CodeOf(err) == restart.CodeUnauthorised {
		rec.Actor, rec.Action, rec.Outcome = "unknown", audit.SignInRefused, string(restart.CodeUnauthorised)
		rec.Detail = clip(x.s.unfit(shown.Fingerprint, key, err)) + ", by way of sshd"
	} else if err != nil {
		x.refuse(w, err)
		return
	}
	if failed := x.s.cfg.Record(r.Context(), rec); failed != nil {
		err = failed
	}
	if err != nil {
		x.refuse(w, err)
		return
	}
	tell(w, http.StatusOK, wire.ShellBegun{URL: x.s.cfg.URL, Name: actor.Name})
}

func (x *Socket) refuse(w http.ResponseWriter, err error) {
	p := wire.ProblemOf(err, "")
	if p.Code == restart.CodeInternal {
		x.s.cfg.Logger.Error("answer by the socket of the special shell", "error", err)
	}
	tell(w, p.Status, p)
}

func tell(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // it has gone
}
