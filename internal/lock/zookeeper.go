package lock

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	defaultPath    = "/locks/#service#/#environment#"
	defaultSession = 10 * time.Second
	shortSession   = 4 * time.Second
	longSession    = time.Minute
)

// zookeeper is a lock of ZooKeeper by the recipe of kazoo: an ephemeral node
// with a number in the folder of the lock; who has the lowest has the lock.
type zookeeper struct {
	path    string
	session *session
	guarded bool // nodes are closed to others

	mu     sync.Mutex
	tokens map[string]string // by run: what the names of our nodes begin with
}

func openZooKeeper(s Setting, log *slog.Logger) (Lock, error) {
	if s.Path == "" {
		s.Path = defaultPath
	}
	if s.Session == 0 {
		s.Session = defaultSession
	}
	if s.Session < shortSession || s.Session > longSession {
		return nil, fmt.Errorf("session: %s is not from %s to %s", s.Session, shortSession, longSession)
	}
	if err := checkTemplate(s.Path); err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	if !strings.HasPrefix(s.Path, "/") || path.Clean(s.Path) != s.Path || s.Path == "/" || strings.HasPrefix(s.Path, "/zookeeper") || restart.Escape(s.Path) != s.Path {
		return nil, fmt.Errorf("path: %s is not the path of a node, such as %s", restart.Quote(s.Path), defaultPath)
	}
	if len(s.Servers) == 0 {
		return nil, errors.New("servers is needed: HOST:PORT of each")
	}
	for _, address := range s.Servers {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" || restart.Escape(address) != address {
			return nil, fmt.Errorf("servers: %s is not HOST:PORT", restart.Quote(address))
		}
	}
	if !s.TLS && (s.CAFile != "" || s.Certificate != "") || (s.Certificate == "") != (s.Key == "") {
		return nil, errors.New("ca_file, certificate and key say nothing without tls: true, and certificate and key go together")
	}
	if s.AuthFile != "" {
		if _, err := readAuth(s.AuthFile); err != nil {
			return nil, fmt.Errorf("auth_file: %s", sentence(err))
		}
	}
	networks, err := outgoing.ParseNetworks(s.AllowNetworks)
	if err != nil {
		return nil, fmt.Errorf("allow_networks: %s", sentence(err))
	}
	return &zookeeper{
		path: s.Path, guarded: s.AuthFile != "", tokens: map[string]string{},
		session: &session{
			servers: s.Servers, timeout: s.Session, authFile: s.AuthFile, tls: s.TLS, caFile: s.CAFile, certFile: s.Certificate, keyFile: s.Key, networks: networks, log: log,
		},
	}, nil
}

// Place is the folder of the lock.
func (z *zookeeper) Place(c Claim) string {
	return fill(z.path, c, func(r rune) bool { return r > ' ' && r <= '~' && r != '/' })
}

// Take makes the run's node, unless it is there, and sees whether it is the first.
func (z *zookeeper) Take(ctx context.Context, c Claim) error {
	conn, err := z.session.connected(ctx)
	if err != nil {
		return err
	}
	place, token := z.Place(c), z.token(c.Run)
	line, err := z.line(ctx, conn, place)
	if err == nil && !has(line, token) {
		if err = z.create(ctx, conn, place, token, c); err == nil {
			line, err = z.line(ctx, conn, place)
		}
	}
	if err != nil {
		return unanswered(err)
	}
	for _, ahead := range line {
		if strings.HasPrefix(ahead.name, token) {
			return nil
		}
		node, err := z.read(ctx, conn, place, ahead)
		switch {
		case errors.Is(err, zk.ErrNoNode):
			continue
		case err != nil:
			return unanswered(err)
		case node.ours.Run != c.Run:
			return restart.Errorf(restart.CodeLocked, "%s", node.text)
		case node.ours.Epoch > c.Epoch:
			return restart.Errorf(restart.CodeStaleEpoch, "server %s has this run at epoch %d", restart.Quote(node.ours.Server), node.ours.Epoch)
		}
		if err := z.remove(ctx, conn, place, ahead); err != nil { // of the server that had this run before
			return unanswered(err)
		}
	}
	return restart.Errorf(restart.CodeUnavailable, "the node of this run has gone as soon as it was made")
}

// Held asks whether the run's node is still the first. What ZooKeeper does not
// answer, because the session is interrupted, nobody knows.
func (z *zookeeper) Held(ctx context.Context, c Claim) error {
	if z.state() != zk.StateHasSession {
		return restart.Errorf(restart.CodeUnavailable, "the session with ZooKeeper is interrupted")
	}
	return z.first(ctx, c, func(n node) bool { return strings.HasPrefix(n.name, z.token(c.Run)) })
}

// Stands asks the same of whichever server made the node.
func (z *zookeeper) Stands(ctx context.Context, c Claim) error {
	return z.first(ctx, c, func(n node) bool { return n.ours.Run == c.Run })
}

func (z *zookeeper) first(ctx context.Context, c Claim, fits func(node) bool) error {
	conn, err := z.session.connected(ctx)
	if err != nil {
		return err
	}
	place := z.Place(c)
	line, err := z.line(ctx, conn, place)
	if err != nil {
		return unanswered(err)
	}
	if len(line) > 0 && fits(node{contender: line[0]}) {
		return nil
	}
	for _, one := range line {
		n, err := z.read(ctx, conn, place, one)
		switch {
		case errors.Is(err, zk.ErrNoNode):
			continue
		case err != nil:
			return unanswered(err)
		case fits(n):
			return nil
		}
		return restart.Errorf(restart.CodeLocked, "%s", n.text)
	}
	return restart.Errorf(restart.CodeLocked, "its node has gone, with the session or by somebody's hand; nobody has taken the lock since")
}

// Release removes every node of the run, also one that was made after nobody
// waited for it any more.
func (z *zookeeper) Release(ctx context.Context, c Claim) error {
	if err := z.sweep(ctx, c); err != nil {
		return err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.tokens, c.Run)
	return nil
}

func (z *zookeeper) sweep(ctx context.Context, c Claim) error {
	conn, err := z.session.connected(ctx)
	if err != nil {
		return err
	}
	place := cmp.Or(c.At, z.Place(c))
	line, err := z.line(ctx, conn, place)
	if err != nil {
		return unanswered(err)
	}
	for _, one := range line {
		n, err := z.read(ctx, conn, place, one)
		if err == nil && n.ours.Run == c.Run {
			err = z.remove(ctx, conn, place, one)
		}
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return unanswered(err)
		}
	}
	return nil
}

// Check begins a session.
func (z *zookeeper) Check(ctx context.Context) error {
	_, err := z.session.connected(ctx)
	return err
}

// Close ends the session, and with it every node.
func (z *zookeeper) Close() { z.session.close() }

// Queues tells that a node keeps its place in the line, also while its run is
// paused.
func (*zookeeper) Queues() bool { return true }

// Interrupted tells whether there is no session although one was begun.
func (z *zookeeper) Interrupted() bool {
	z.session.mu.Lock()
	defer z.session.mu.Unlock()
	return z.session.conn != nil && !z.session.closed && z.session.conn.State() != zk.StateHasSession
}

func (z *zookeeper) state() zk.State {
	z.session.mu.Lock()
	defer z.session.mu.Unlock()
	if z.session.conn == nil {
		return zk.StateDisconnected
	}
	return z.session.conn.State()
}

// token is what the run's nodes begin with: whether one was made can be seen
// though the answer was lost.
func (z *zookeeper) token(run string) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.tokens[run] == "" {
		b := make([]byte, 16)
		rand.Read(b)
		z.tokens[run] = hex.EncodeToString(b) + mark
	}
	return z.tokens[run]
}

func has(line []contender, token string) bool {
	for _, c := range line {
		if strings.HasPrefix(c.name, token) {
			return true
		}
	}
	return false
}

// node is a contender with what it says of itself.
type node struct {
	contender

	ours ours   // zero = another's
	text string // for people
}

// line gives who contends for the lock; a folder that is not there has nobody.
func (z *zookeeper) line(ctx context.Context, conn *zk.Conn, place string) ([]contender, error) {
	names, err := ask(ctx, z.session, func() ([]string, error) {
		names, _, err := conn.Children(place)
		return names, err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	return inLine(names), err
}

func (z *zookeeper) read(ctx context.Context, conn *zk.Conn, place string, c contender) (node, error) {
	return ask(ctx, z.session, func() (node, error) {
		data, stat, err := conn.Get(path.Join(place, c.name))
		if err != nil {
			return node{}, err
		}
		n := node{contender: c, text: describe(c.name, data, time.UnixMilli(stat.Ctime))}
		n.ours, _ = readOurs(data)
		return n, nil
	})
}

func (z *zookeeper) remove(ctx context.Context, conn *zk.Conn, place string, c contender) error {
	_, err := ask(ctx, z.session, func() (struct{}, error) { return struct{}{}, conn.Delete(path.Join(place, c.name), -1) })
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	return err
}

// create makes the run's node, and the folders above it that are not there.
func (z *zookeeper) create(ctx context.Context, conn *zk.Conn, place, token string, c Claim) error {
	acl := zk.WorldACL(zk.PermAll)
	if z.guarded {
		acl = append(zk.AuthACL(zk.PermAll), zk.WorldACL(zk.PermRead)...) // who contends reads our nodes
	}
	make1 := func() (struct{}, error) {
		_, err := conn.Create(path.Join(place, token), newOurs(c), zk.FlagEphemeral|zk.FlagSequence, acl)
		return struct{}{}, err
	}
	_, err := ask(ctx, z.session, make1)
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	for i := 1; i <= len(place); i++ {
		if i < len(place) && place[i] != '/' {
			continue
		}
		folder := place[:i]
		_, err := ask(ctx, z.session, func() (struct{}, error) {
			if there, _, err := conn.Exists(folder); there || err != nil {
				return struct{}{}, err
			}
			_, err := conn.Create(folder, nil, 0, acl)
			return struct{}{}, err
		})
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	_, err = ask(ctx, z.session, make1)
	return err
}
