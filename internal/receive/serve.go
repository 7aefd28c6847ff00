package receive

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	stopTime       = 10 * time.Second // for answers in hand when the receiver stops
	maxConnections = 256
)

// Serve runs a receiver until ctx ends. ready is called once it takes
// connections; status is nil where there is no such listener.
func Serve(ctx context.Context, c Config, log *slog.Logger, ready func(listen, status net.Addr)) error {
	credentials, secure, err := c.credentials()
	if err != nil {
		return err
	}
	store, err := Open(ctx, c.store(log))
	if err != nil {
		return err
	}
	defer store.Close() // what was answered for is on the disk
	m := newMeters(c.Folder, store, credentials)

	var listenConfig net.ListenConfig
	listener, err := listenConfig.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen for servers: %w", err)
	}
	defer listener.Close()
	public := server(newHandler(c, store, m.turned, log), log)
	public.TLSConfig = secure
	servers := []serving{{public, tls.NewListener(newBounded(listener, maxConnections), secure)}}
	var statusAddr net.Addr
	if c.StatusListen != "" {
		plain, err := listenConfig.Listen(ctx, "tcp", c.StatusListen)
		if err != nil {
			return fmt.Errorf("listen for /healthz and /metrics: %w", err)
		}
		defer plain.Close()
		statusAddr = plain.Addr()
		servers = append(servers, serving{server(m.handler(), log), newBounded(plain, maxConnections)})
	}
	for _, s := range m.stats() {
		log.Info("source", "source", s.Source, "epoch", s.Head.Epoch, "seq", s.Head.Seq, "hash", s.Head.Hash, "alarms", s.AlarmCount)
	}
	log.Info("receiver listens", "address", listener.Addr().String(), "folder", c.Folder)
	if ready != nil {
		ready(listener.Addr(), statusAddr)
	}
	return run(ctx, servers, log)
}

// CheckHere tells whether a receiver could work by these settings here, without
// starting it or changing anything.
func (c Config) CheckHere() error {
	if err := c.Check(); err != nil {
		return err
	}
	if _, _, err := c.credentials(); err != nil {
		return err
	}
	for _, dir := range []string{c.Folder, filepath.Dir(c.Folder)} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return nil
		}
	}
	return restart.Errorf(restart.CodeInvalid, "folder: there is neither %s nor the folder that it is to be made in", c.Folder)
}

func (c Config) credentials() (*pki.Credentials, *tls.Config, error) {
	credentials, err := pki.LoadCredentials(c.Certificate, c.Key, c.CA)
	if err != nil {
		return nil, nil, err
	}
	peers := make([]string, 0, len(c.Sources))
	for _, s := range c.Sources {
		peers = append(peers, s.peer())
	}
	secure, err := credentials.Listen(peers)
	return credentials, secure, err
}

func (c Config) store(log *slog.Logger) StoreConfig {
	names := make([]string, 0, len(c.Sources))
	for _, s := range c.Sources {
		names = append(names, s.Name)
	}
	return StoreConfig{Folder: c.Folder, Sources: names, Most: c.SourceMax << 20, KeepFree: c.KeepFree << 20, Logger: log}
}

type serving struct {
	server   *http.Server
	listener net.Listener
}

// run serves until ctx ends or a listener breaks, then lets answers in hand end.
func run(ctx context.Context, servers []serving, log *slog.Logger) error {
	var all sync.WaitGroup
	broken := make(chan error, len(servers))
	for _, s := range servers {
		all.Go(func() {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				broken <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("receiver stops")
	case err = <-broken:
		err = fmt.Errorf("serve: %w", err)
	}
	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	for _, s := range servers {
		if s.server.Shutdown(finish) != nil {
			s.server.Close()
		}
	}
	all.Wait()
	return err
}

// bounded is a listener with so many connections at once: more wait.
type bounded struct {
	net.Listener
	free   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newBounded(l net.Listener, n int) *bounded {
	return &bounded{Listener: l, free: make(chan struct{}, n), closed: make(chan struct{})}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.free <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	conn, err := b.Listener.Accept()
	if err != nil {
		<-b.free
		return nil, err
	}
	return &boundedConn{Conn: conn, free: b.free}, nil
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

type boundedConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (c *boundedConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}
