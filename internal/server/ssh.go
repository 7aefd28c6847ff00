package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
	"github.com/restartilka/restartilka/internal/sshd"
	"github.com/restartilka/restartilka/internal/web"
)

// SSHConfig is how people come by SSH: to this server, to the machine's own
// sshd, or to both.
type SSHConfig struct {
	Listen     string   `yaml:"listen"`      // ADDRESS:PORT; "" = not to this server
	HostKeys   []string `yaml:"host_keys"`   // files of private keys, each of another kind
	Socket     string   `yaml:"socket"`      // path, for the machine's sshd; "" = not by way of it
	SocketUser string   `yaml:"socket_user"` // the account that comes by it, and nobody else
}

func (c *SSHConfig) resolve(dir string) {
	for i := range c.HostKeys {
		c.HostKeys[i] = secret.Locate(dir, c.HostKeys[i])
	}
	c.Socket = secret.Locate(dir, c.Socket)
}

func (c *SSHConfig) check() error {
	switch {
	case c.Listen != "" && len(c.HostKeys) == 0:
		return errors.New("ssh.host_keys is needed for ssh.listen: a file that ssh-keygen -t ed25519 -N '' -f FILE has made")
	case c.Listen == "" && len(c.HostKeys) > 0:
		return errors.New("ssh.host_keys says nothing without ssh.listen")
	case (c.Socket == "") != (c.SocketUser == ""):
		return errors.New("ssh.socket and ssh.socket_user go together: where the machine's sshd comes, and as which account")
	case secret.Named(c.Socket):
		return errors.New("ssh.socket is a path, and no credential")
	}
	if c.Listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("ssh.listen: %s is not ADDRESS:PORT", restart.Quote(c.Listen))
	}
	return nil
}

// try reads what it names, as a start would.
func (c *SSHConfig) try() error {
	_, err := sshd.ReadHostKeys(c.HostKeys)
	if c.Socket != "" {
		_, account := sshd.New(sshd.Config{}).NewSocket(c.Socket, c.SocketUser)
		err = errors.Join(err, account)
	}
	return err
}

// sshDoor is the way in by SSH while it is open; the zero sshDoor is shut.
type sshDoor struct {
	hostKeys []ssh.Signer
	server   *sshd.Server
	listener net.Listener // nil = people don't come to this server
	socket   *sshd.Socket
	local    net.Listener // of socket
}

// keys recognises who has come by SSH.
func (d *door) keys(s *Server) authn.Keys {
	return authn.Keys{Store: s.store, People: &d.people}
}

// listen takes the port where people come by SSH, and reads the server's keys.
func (d *sshDoor) listen(ctx context.Context, c SSHConfig) (err error) {
	if c.Listen == "" {
		return nil
	}
	if d.hostKeys, err = sshd.ReadHostKeys(c.HostKeys); err != nil {
		return err
	}
	if d.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen); err != nil {
		return restart.Errorf(restart.CodeUnavailable, "can't listen on %s for SSH: %v", c.Listen, err).WithHint("another program may have the port; choose another with ssh.listen:").Because(err)
	}
	return nil
}

// openSSH makes the way in to a handler that knows authn.Keys.
func (s *Server) openSSH(ctx context.Context, handler http.Handler) (err error) {
	c, d := s.cfg.SSH, &s.ssh
	d.server = sshd.New(sshd.Config{Handler: handler, URL: s.cfg.URL, Keys: s.door.keys(s), Record: s.recordAtOnce, HostKeys: d.hostKeys, Logger: s.log})
	if c.Socket == "" {
		return nil
	}
	if d.socket, err = d.server.NewSocket(c.Socket, c.SocketUser); err != nil {
		return err
	}
	d.local, err = d.socket.Listen(ctx)
	return err
}

// run lets people in until ctx ends.
func (d *sshDoor) run(ctx context.Context, s *Server) {
	var open sync.WaitGroup
	if d.listener != nil {
		s.log.Info("people may come by SSH", "address", d.listener.Addr().String())
		open.Go(func() { s.shut("SSH", d.server.Serve(ctx, d.listener)) })
	}
	if d.local != nil {
		open.Go(func() { s.shut("the machine's sshd", d.socket.Serve(ctx, d.local)) })
	}
	open.Wait()
}

// shut tells of a way in that has closed by itself.
func (s *Server) shut(way string, err error) {
	if err != nil {
		s.log.Error("nobody can come in this way any more", "way", way, "error", err)
	}
}

func (d *sshDoor) close() error {
	var errs []error
	for _, l := range []net.Listener{d.listener, d.local} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// told is what pages tell people of it; nil = there is no way in by SSH.
func (d *sshDoor) told(c Config) *web.SSH {
	if c.SSH.Listen == "" && c.SSH.Socket == "" {
		return nil
	}
	host := "SERVER"
	if u, err := url.Parse(c.URL); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	out := &web.SSH{Command: "ssh " + c.SSH.SocketUser + "@" + host}
	if d.listener != nil {
		out.Command = "ssh " + sshd.Login + "@" + host
		if _, port, err := net.SplitHostPort(d.listener.Addr().String()); err == nil && port != "22" {
			out.Command = "ssh -p " + port + " " + sshd.Login + "@" + host
		}
	}
	for _, key := range d.hostKeys {
		out.HostKeys = append(out.HostKeys, ssh.FingerprintSHA256(key.PublicKey()))
	}
	return out
}

// SSHAddress is where people come by SSH; "" = they don't.
func (s *Server) SSHAddress() string {
	if s.ssh.listener == nil {
		return ""
	}
	return s.ssh.listener.Addr().String()
}

// recordAtOnce puts a record into the trail that goes with no other change.
func (s *Server) recordAtOnce(ctx context.Context, rec audit.Record) error {
	if err := s.store.AppendAudit(ctx, rec); err != nil {
		return err
	}
	s.trail.Wake()
	return nil
}
