package dispatch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// line is the way to one host: its pooled connections, and what each was made
// with. The pool of net/http asks nobody again once a handshake is done, so
// that a certificate that has ended or was revoked meanwhile would go on to be
// good for as long as its connection is busy.
type line struct {
	http *http.Client

	asking int // requests that have no answer yet; Client.mu guards it

	mu   sync.Mutex
	open map[net.Conn]identities
}

// identities are the two certificates that a connection rests on.
type identities struct{ own, agent *x509.Certificate }

// add notes a connection; drop forgets it.
func (l *line) add(raw net.Conn, with identities) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[raw] = with
}

func (l *line) drop(raw net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, raw)
}

// stale tells whether one of the connections rests on what counts no more:
// either certificate is over, the agent's is refused, or our own was replaced.
func (l *line) stale(now time.Time, own *x509.Certificate, refuse func(*x509.Certificate) error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, with := range l.open {
		if now.After(with.agent.NotAfter) || now.After(with.own.NotAfter) || !with.own.Equal(own) || refuse(with.agent) != nil {
			return true
		}
	}
	return false
}

// cut ends the connections to refused agents at once; the others are left to
// the requests that are on them.
func (l *line) cut(refuse func(*x509.Certificate) error) {
	l.mu.Lock()
	var ended []net.Conn
	for raw, with := range l.open {
		if refuse(with.agent) != nil {
			ended = append(ended, raw)
		}
	}
	l.mu.Unlock()
	for _, raw := range ended {
		raw.Close()
	}
	l.http.CloseIdleConnections()
}

// busy tells whether it has connections.
func (l *line) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) > 0
}

// noted is a connection that tells its line when it is closed.
type noted struct {
	net.Conn
	line *line
}

// Close forgets the connection and closes it.
func (n *noted) Close() error {
	n.line.drop(n)
	return n.Conn.Close()
}

// Recheck holds every open connection against the certificates as they count
// now. Those to agents that are refused are cut, with whatever is on them;
// where a certificate is over or was replaced, the next request makes a new
// connection, and is judged by that. It is called when certificates were
// revoked; each request does the same for its own host.
func (c *Client) Recheck() {
	c.mu.Lock()
	var stale []*line
	for key, l := range c.hosts {
		if c.ended(l) {
			delete(c.hosts, key)
			c.retire(l)
		}
	}
	for l := range c.retired {
		stale = append(stale, l)
	}
	c.mu.Unlock()
	for _, l := range stale {
		l.cut(c.cfg.Refuse)
	}
}

func (c *Client) ended(l *line) bool { return l.stale(c.cfg.Now(), c.creds.Leaf(), c.cfg.Refuse) }

// retire keeps a line in sight that takes no new requests, for as long as
// something is on it: a revocation must end that, too. c.mu is held.
func (c *Client) retire(l *line) {
	for old := range c.retired {
		if !old.busy() {
			delete(c.retired, old)
		}
	}
	c.retired[l] = struct{}{}
}

// joined notes that a line has got a connection, also one that was retired
// while that was made.
func (c *Client) joined(key string, l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hosts[key] != l {
		c.retire(l)
	}
}

// renew has the next request to a host make a new connection.
func (c *Client) renew(host restart.Host) {
	key := host.Name + " " + host.Address
	c.mu.Lock()
	l := c.hosts[key]
	delete(c.hosts, key)
	if l != nil {
		c.retire(l)
	}
	c.mu.Unlock()
	if l != nil {
		l.http.CloseIdleConnections()
	}
}

// take gives the way to a host, for one request; give takes it back once that
// is answered.
func (c *Client) take(host restart.Host) (*line, error) {
	key := host.Name + " " + host.Address
	c.mu.Lock()
	l := c.hosts[key]
	var old *line
	if l != nil && c.ended(l) {
		l, old = nil, l
		c.retire(old)
	}
	var err error
	if l == nil {
		if l, err = c.newLine(key, host); err == nil {
			c.hosts[key] = l
		}
	}
	if err == nil {
		l.asking++
	}
	over := c.recent.use(key, keptOpen)
	idle := c.hosts[over]
	c.mu.Unlock()
	if old != nil {
		old.cut(c.cfg.Refuse)
	}
	if idle != nil {
		idle.http.CloseIdleConnections()
		c.forget(over, idle)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (c *Client) give(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.asking--
}

// forget drops a line that has not been used for long, with all that net/http
// keeps for it, unless something is on it: that goes on, and Recheck finds it.
func (c *Client) forget(key string, l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.asking == 0 && !l.busy() && c.hosts[key] == l {
		delete(c.hosts, key)
	}
}

// config gives the TLS settings for calling a host.
func (c *Client) config(host restart.Host) (*tls.Config, error) {
	conf, err := c.creds.Call(host.Name)
	if err != nil {
		return nil, err
	}
	conf.NextProtos = []string{"h2"}
	whole := conf.VerifyConnection
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := whole(cs); err != nil {
			return err
		}
		return c.cfg.Refuse(cs.PeerCertificates[0])
	}
	return conf, nil
}

// deadAfter is how long a host may answer nothing at all, not even by its
// kernel, before a connection to it is given up. It is for TCP to find out:
// HTTP/2's own pings would keep each connection in memory for as long as one is
// due after its end, with all its buffers, which a plan over 10,000 hosts feels.
const deadAfter = 15 * time.Second

// giveUp bounds the time for which what was sent may go without a sign that it
// has arrived (tcp(7), TCP_USER_TIMEOUT); keep-alives are for what is silent.
func giveUp(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	})
	return errors.Join(err, failed)
}

func (c *Client) newLine(key string, host restart.Host) (*line, error) {
	conf, err := c.config(host)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{
		Timeout: c.cfg.DialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: deadAfter - 5*time.Second, Interval: time.Second, Count: 5}, Control: giveUp,
	}
	l := &line{open: map[net.Conn]identities{}}
	l.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			ForceAttemptHTTP2: true,
			IdleConnTimeout:   time.Minute,
			MaxConnsPerHost:   4,
			// Errors of dialling and of the handshake are marked, so that "nothing
			// was sent" is known and not guessed.
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				raw, err := dialer.DialContext(ctx, network, addr)
				if err != nil {
					return nil, &handshakeError{err}
				}
				n := &noted{Conn: raw, line: l}
				own := c.creds.Leaf() // before the handshake shows it, or its elder: that is only judged once more
				conn := tls.Client(n, conf.Clone())
				// A handshake is work for this server: hundreds at once would make all
				// of them late, and healthy hosts look unreachable.
				select {
				case c.shaking <- struct{}{}:
					defer func() { <-c.shaking }()
				case <-ctx.Done():
					raw.Close()
					return nil, &handshakeError{ctx.Err()}
				}
				hctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
				defer cancel()
				if err := conn.HandshakeContext(hctx); err != nil {
					raw.Close()
					return nil, &handshakeError{err}
				}
				agent := conn.ConnectionState().PeerCertificates[0]
				l.add(n, identities{own: own, agent: agent})
				c.joined(key, l)
				// Once more: what was revoked since it was judged in the handshake was
				// not yet among the connections that Recheck looks at.
				if err := c.cfg.Refuse(agent); err != nil {
					n.Close()
					return nil, &handshakeError{err}
				}
				return conn, nil
			},
		},
	}
	return l, nil
}
