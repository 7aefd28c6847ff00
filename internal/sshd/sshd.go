package sshd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Login is the user name that everybody may give to ssh: who somebody is, his
// key says. One's own name is taken as well.
const Login = "restartilka"

// Keys knows whose key it is; authn.Keys does.
type Keys interface {
	Check(ctx context.Context, shown authn.ShownKey) (restart.Actor, store.Key, error)
}

// Config lists everything that the way in depends on. Handler, Keys and Record
// are needed.
type Config struct {
	Handler  http.Handler // the API; authn.Keys must be one of its methods
	URL      string       // of the server, as people know it
	Keys     Keys
	Record   func(ctx context.Context, rec audit.Record) error
	HostKeys []ssh.Signer // at least one, but for a Socket alone
	Limits   Limits
	Logger   *slog.Logger
	Now      func() time.Time // nil = time.Now
}

// Limits bound what connections may take; zero fields have defaults.
type Limits struct {
	Connections int           // at a time; 256
	Strangers   int           // of them not signed in yet; 64
	Address     int           // of one address; 32
	Newcomers   int           // of one address, not signed in yet; 8
	Person      int           // of one person, wherever he comes from; 16
	SignIn      time.Duration // to prove who one is; 20s
	Pause       time.Duration // that a refused connection is held, against guessing and floods of records; 1s
	Longest     time.Duration // of a connection; 12h
	Keepalive   time.Duration // between two questions whether the other end is there; 30s
	Look        time.Duration // between two looks whether the key is still good; 400ms
	Farewell    time.Duration // that a command may take to end, once its connection does; 2s
	Revoked     time.Duration // the same for a key that is good no more; 300ms
	Answer      time.Duration // that requests of commands may take to be answered, once all have gone and the server stops; 5s
}

func (l Limits) filled() Limits {
	return Limits{
		Connections: cmp.Or(l.Connections, 256), Strangers: cmp.Or(l.Strangers, 64), Address: cmp.Or(l.Address, 32), Newcomers: cmp.Or(l.Newcomers, 8), Person: cmp.Or(l.Person, 16),
		SignIn: cmp.Or(l.SignIn, 20*time.Second), Pause: cmp.Or(l.Pause, time.Second), Longest: cmp.Or(l.Longest, 12*time.Hour),
		Keepalive: cmp.Or(l.Keepalive, 30*time.Second), Look: cmp.Or(l.Look, 400*time.Millisecond),
		Farewell: cmp.Or(l.Farewell, farewell), Revoked: cmp.Or(l.Revoked, 300*time.Millisecond), Answer: cmp.Or(l.Answer, 5*time.Second),
	}
}

// Server lets people in by SSH. It is made by New.
type Server struct {
	cfg Config
	ssh *ssh.ServerConfig

	mu    sync.Mutex
	all   int
	fresh int             // of all, not signed in yet
	by    map[string]seat // by address
	of    map[string]int  // by person

	handling sync.WaitGroup // the requests of commands that are being answered
}

// seat counts the connections of one address.
type seat struct{ all, fresh int }

// New returns a Server over its parts.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Limits = cfg.Limits.filled()
	s := &Server{cfg: cfg, by: map[string]seat{}, of: map[string]int{}}
	s.ssh = s.sshConfig()
	return s
}

// Serve lets people in until ctx ends; then it tells those who are connected,
// and returns when the last has gone and what his command had asked for is
// answered: so that nothing of it is written afterwards. An answer that takes
// longer than Limits.Answer is not waited for, as with HTTP. The listener is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer s.settle()
	var connected sync.WaitGroup
	defer connected.Wait()
	for pause := 5 * time.Millisecond; ; {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept SSH connections: %w", err)
		case err != nil: // out of descriptors, such as
			s.cfg.Logger.Warn("accept an SSH connection", "error", err)
			if wait(ctx, pause) != nil {
				return nil
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		from, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		if err := s.enter(neighbourhood(from)); err != nil {
			s.cfg.Logger.Info("an SSH connection was turned away", "from", from, "error", err)
			conn.Close()
			continue
		}
		connected.Go(func() { s.serve(ctx, conn, from) })
	}
}

// settle waits for the answers that nobody is there for any more: a handler may
// be in the midst of a commit as its command leaves.
func (s *Server) settle() {
	settled := make(chan struct{})
	go func() { // it ends with the last handler
		defer close(settled)
		s.handling.Wait()
	}()
	late := time.NewTimer(s.cfg.Limits.Answer)
	defer late.Stop()
	select {
	case <-settled:
	case <-late.C:
		s.cfg.Logger.Warn("requests that came by SSH are not answered, and waited for no longer", "patience", s.cfg.Limits.Answer)
	}
}

// enter takes a seat for a connection from an address; CodeTooMany where there
// is none.
func (s *Server) enter(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, b := s.cfg.Limits, s.by[address]
	if s.all >= l.Connections || s.fresh >= l.Strangers || b.all >= l.Address || b.fresh >= l.Newcomers {
		return restart.Errorf(restart.CodeTooMany, "too many SSH connections")
	}
	s.all, s.fresh = s.all+1, s.fresh+1
	s.by[address] = seat{b.all + 1, b.fresh + 1}
	return nil
}

// known notes that a connection is a stranger's no more.
func (s *Server) known(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh--
	b := s.by[address]
	s.by[address] = seat{b.all, b.fresh - 1}
}

// leave gives a seat back.
func (s *Server) leave(address string, fresh bool) {
	if fresh {
		s.known(address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	b := s.by[address]
	if b.all--; b.all == 0 {
		delete(s.by, address)
		return
	}
	s.by[address] = b
}

// sit counts a connection of a person; CodeTooMany where he has enough of them.
// Behind a bastion all come from one address, and nobody is to take the seats of
// all others.
func (s *Server) sit(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most := s.cfg.Limits.Person; s.of[name] >= most {
		return restart.Errorf(restart.CodeTooMany, "you have %d connections by SSH, which is as many as one may have", most).WithHint("end one of them; a run that it watches goes on")
	}
	s.of[name]++
	return nil
}

// rise takes back what sit has counted.
func (s *Server) rise(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[name]--; s.of[name] == 0 {
		delete(s.of, name)
	}
}

// neighbourhood gives what counts as one address: of IPv6 the whole /64, which
// whoever has one address of it has.
func neighbourhood(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	whole, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return whole.String()
}

// serve goes the whole way of one connection, which has its seat.
func (s *Server) serve(ctx context.Context, conn net.Conn, from string) {
	defer s.recovered("an SSH connection", from, io.Discard)
	defer conn.Close()
	address := neighbourhood(from)
	fresh := true
	defer func() { s.leave(address, fresh) }()

	// Not a deadline, which commands would take for one of their own.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer time.AfterFunc(s.cfg.Limits.Longest, func() { cancel(errTooLong) }).Stop()
	if err := conn.SetDeadline(time.Now().Add(s.cfg.Limits.SignIn)); err != nil {
		return
	}
	unblock := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now().Add(2 * s.cfg.Limits.Farewell)) }) //nolint:errcheck // it has gone
	defer unblock()
	who, channels, requests, err := s.signIn(ctx, conn, from)
	if err != nil {
		wait(ctx, s.cfg.Limits.Pause) //nolint:errcheck // then it is over earlier
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil || ctx.Err() != nil {
		return
	}
	s.known(address)
	fresh = false
	if who.refused = s.sit(who.name); who.refused == nil {
		defer s.rise(who.name)
	} else {
		s.cfg.Logger.Info("an SSH connection was turned away", "from", from, "actor", who.name, "error", who.refused)
	}
	s.attend(ctx, who, channels, requests)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
