package lock

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

// session is one connection to ZooKeeper, for all runs of this server, made when
// the first one wants it. The library connects it anew for ever; whoever asks
// meanwhile is told that nobody answers.
type session struct {
	servers  []string
	timeout  time.Duration
	authFile string
	tls      bool
	caFile   string
	certFile string
	keyFile  string
	networks []netip.Prefix
	log      *slog.Logger

	mu      sync.Mutex
	conn    *zk.Conn
	ended   <-chan zk.Event // closed when conn is over
	changed chan struct{}   // closed at each event
	wire    net.Conn        // that conn talks by
	trouble error           // why it could not be dialled last
	known   bool            // the credentials are with conn
	closed  bool
	asking  sync.WaitGroup
}

// connected gives the connection once it has a session.
func (s *session) connected(ctx context.Context) (*zk.Conn, error) {
	conn, err := s.open()
	if err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		changed, trouble := s.changed, s.trouble
		s.mu.Unlock()
		if conn.State() == zk.StateHasSession {
			return conn, s.introduce(ctx, conn)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if trouble == nil {
				trouble = errors.New("there is no session")
			}
			return nil, restart.Errorf(restart.CodeUnavailable, "ZooKeeper does not answer (%s)", restart.Escape(trouble.Error())).
				WithHint("is one of %v up?", s.servers).Because(trouble)
		}
	}
}

func (s *session) open() (*zk.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, restart.Errorf(restart.CodeStopping, "this server is stopping")
	}
	if s.conn != nil {
		return s.conn, nil
	}
	s.changed = make(chan struct{})
	conn, ended, err := zk.Connect(s.servers, s.timeout, zk.WithHostProvider(&inTurn{}), zk.WithDialer(s.dial), zk.WithEventCallback(s.happened),
		zk.WithMaxBufferSize(mostAnswered), zk.WithLogger(quiet{s.log}), zk.WithLogInfo(false))
	if err != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "no session with ZooKeeper can be begun").Because(err)
	}
	s.conn, s.ended = conn, ended
	return conn, nil
}

// mostAnswered bounds one answer, in bytes: a folder of some ten thousand nodes.
const mostAnswered = 1 << 20

func (s *session) happened(zk.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// introduce says once who we are; the library repeats it with each connection.
func (s *session) introduce(ctx context.Context, conn *zk.Conn) error {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if s.authFile == "" || known {
		return nil
	}
	word, err := readAuth(s.authFile)
	if err != nil {
		return err
	}
	if _, err := ask(ctx, s, func() (struct{}, error) { return struct{}{}, conn.AddAuth("digest", []byte(word)) }); err != nil {
		return unanswered(err)
	}
	s.mu.Lock()
	s.known = true
	s.mu.Unlock()
	return nil
}

// readAuth reads USER:PASSWORD.
func readAuth(path string) (string, error) {
	word, err := secret.ReadWord(path, 1<<10)
	if err != nil {
		return "", err
	}
	if user, password, found := strings.Cut(word, ":"); !found || user == "" || password == "" {
		return "", restart.Errorf(restart.CodeInvalid, "%s does not hold USER:PASSWORD", path)
	}
	return word, nil
}

// dial is the library's way to a server.
func (s *session) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	wire, err := s.reach(network, address, timeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed { // close has nothing to do with this one, and waits for the library's end
		wire.Close()
		err = net.ErrClosed
	}
	s.trouble = err
	if err != nil {
		return nil, err
	}
	s.wire = &guarded{Conn: wire, patience: s.timeout}
	return s.wire, nil
}

func (s *session) reach(network, address string, timeout time.Duration) (net.Conn, error) {
	to := outgoing.Config{URL: &url.URL{Host: address}, CAFile: s.caFile, Timeout: timeout, Networks: s.networks}
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	wire, err := to.Dialer().DialContext(ctx, network, address)
	if err != nil || !s.tls {
		return wire, err
	}
	trust, err := to.Trust()
	if err == nil && s.certFile != "" {
		var pair tls.Certificate
		pair, err = tls.LoadX509KeyPair(s.certFile, s.keyFile)
		trust.Certificates = []tls.Certificate{pair}
	}
	if err != nil {
		wire.Close()
		return nil, err
	}
	trust.ServerName = to.URL.Hostname()
	over := tls.Client(wire, trust)
	if err := over.HandshakeContext(ctx); err != nil {
		wire.Close()
		return nil, err
	}
	return over, nil
}

// close ends the session, with every node that it keeps, and waits for whatever
// the library does.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		conn.Close()
		s.mu.Lock()
		if s.wire != nil {
			s.wire.Close()
		}
		s.mu.Unlock()
		for range s.ended { // until it is closed
		}
	}
	s.asking.Wait()
}

// ask waits for a request, which the library can't be told to give up, until ctx
// ends. A request that was given up may be carried out all the same.
func ask[T any](ctx context.Context, s *session, request func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	c := make(chan answer, 1)
	s.asking.Go(func() {
		v, err := request()
		c <- answer{v, err}
	})
	select {
	case a := <-c:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// unanswered puts an error of the library into a sentence.
func unanswered(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrInvalidACL):
		return restart.Errorf(restart.CodeUnavailable, "ZooKeeper refuses us the nodes of the lock").
			WithHint("auth_file needs the USER:PASSWORD that may make nodes there: getAcl says who may").Because(err)
	case errors.Is(err, zk.ErrAuthFailed):
		return restart.Errorf(restart.CodeUnavailable, "ZooKeeper does not take our USER:PASSWORD").Because(err)
	}
	return restart.Errorf(restart.CodeUnavailable, "the session with ZooKeeper is interrupted (%s)", restart.Escape(err.Error())).Because(err)
}

// inTurn gives the servers one after another, by name: each is looked up when it
// is dialled, and TLS compares its certificate with the name.
type inTurn struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int // since one was connected to
}

// Init takes the servers.
func (t *inTurn) Init(servers []string) error {
	t.servers = slices.Clone(servers)
	return nil
}

// Len counts them.
func (t *inTurn) Len() int { return len(t.servers) }

// Next gives the next one; true = all of them have been tried.
func (t *inTurn) Next() (server string, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	server = t.servers[t.next]
	t.next = (t.next + 1) % len(t.servers)
	again = t.tried > 0 && t.tried%len(t.servers) == 0
	t.tried++
	return server, again
}

// Connected is told of a session.
func (t *inTurn) Connected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried = 0
}

// guarded is a connection to what may be no ZooKeeper at all: the library makes
// room for whatever length the first four bytes say, and waits ten times as long
// as a session lives.
type guarded struct {
	net.Conn

	patience time.Duration
	head     []byte
	handed   int
	spoken   bool
}

// largestGreeting bounds ZooKeeper's first answer, in bytes; it has 41.
const largestGreeting = 1 << 10

var errNotZooKeeper = errors.New("what answers is not ZooKeeper")

// Read hands the first four bytes on only when they can be a length.
func (g *guarded) Read(b []byte) (int, error) {
	if !g.spoken {
		head := make([]byte, 4)
		if _, err := io.ReadFull(g.Conn, head); err != nil {
			return 0, fmt.Errorf("no greeting: %w", err)
		}
		if n := int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3]); n <= 0 || n > largestGreeting {
			return 0, errNotZooKeeper
		}
		g.head, g.spoken = head, true
	}
	if g.handed < len(g.head) {
		n := copy(b, g.head[g.handed:])
		g.handed += n
		return n, nil
	}
	return g.Conn.Read(b)
}

// SetReadDeadline does not wait longer than a session for the greeting.
func (g *guarded) SetReadDeadline(t time.Time) error {
	if most := time.Now().Add(g.patience); !g.spoken && t.After(most) {
		t = most
	}
	return g.Conn.SetReadDeadline(t)
}

// quiet is where the library's own messages go.
type quiet struct{ log *slog.Logger }

// Printf logs one.
func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("zookeeper", "message", fmt.Sprintf(format, args...))
}
