package audit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// SyslogConfig describes a receiver of RFC 5424 over TLS (RFC 5425).
type SyslogConfig struct {
	Address  string      // HOST:PORT
	TLS      *tls.Config // CA and server name; version 1.2 at least
	Facility string      // local0 (default) … local7, auth, authpriv
	// Settle is how long a connection has to live on after a record was sent
	// before the record counts as settled; 2 s by default.
	Settle time.Duration
	// Timeout bounds connecting with its handshake, and each Send; 10 s by default.
	Timeout time.Duration
}

// Syslog ships the trail to a receiver that acknowledges nothing. TCP takes
// bytes long before anybody reads them, so a record is settled only when
//
//   - the receiver's kernel has acknowledged its last byte, and
//   - the connection was still whole Settle later.
//
// After a break, which a reader notices at once, everything that had not
// settled is sent again: the receiver may then have records twice, which their
// seq tells, and which the verifier counts. What remains possible is that a
// receiver stands still for longer than Settle and is then killed, with bytes
// in its kernel that it never read: that is why the level is only "sent".
type Syslog struct {
	config SyslogConfig
	header header

	conn slot[connection]
	done int64 // the last settled seq
}

func openSyslog(c SinkConfig) (Sink, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	return NewSyslog(SyslogConfig{Address: c.Address, TLS: config, Facility: c.Facility})
}

// NewSyslog makes a sink without connecting: the first Send does. The server
// name defaults to the host of the address.
func NewSyslog(c SyslogConfig) (*Syslog, error) {
	h, err := newHeader(c.Facility)
	if err != nil {
		return nil, err
	}
	if c.TLS, err = streamTLS("syslog", c.Address, c.TLS); err != nil {
		return nil, err
	}
	if c.Settle <= 0 {
		c.Settle = 2 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	return &Syslog{config: c, header: h}, nil
}

// Name is "syslog:" and the address.
func (s *Syslog) Name() string { return "syslog:" + s.config.Address }

// Level is LevelSent.
func (s *Syslog) Level() Level { return LevelSent }

// Send writes the records to the connection, made first where there is none.
func (s *Syslog) Send(ctx context.Context, records []Record) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	c := s.conn.open
	if c == nil {
		var err error
		if c, err = s.connect(ctx); err != nil {
			return fmt.Errorf("connect to log server %s: %w", s.config.Address, err)
		}
	}
	var frames []byte
	for i := range records {
		frames = s.header.appendFrame(frames, &records[i])
	}
	err := c.guard(ctx, func() error {
		_, err := c.tls.Write(frames)
		return err
	})
	if err != nil {
		s.drop()
		return fmt.Errorf("send to log server %s: %w", s.config.Address, err)
	}
	if len(records) > 0 {
		c.sent = append(c.sent, mark{seq: records[len(records)-1].Seq, bytes: c.counted.n.Load(), at: time.Now()})
	}
	return nil
}

// Settled moves past what was sent long enough ago on a whole connection.
func (s *Syslog) Settled() (int64, error) {
	c := s.conn.open
	if c == nil {
		return s.done, nil
	}
	// First the age, then the bytes, then whether the connection is whole: so
	// it was whole at a time when the record was old enough.
	old := time.Now().Add(-s.config.Settle)
	unacknowledged, err := c.unacknowledged()
	if ended := c.ended(); ended != nil {
		err = ended
	}
	if err != nil {
		lost := len(c.sent) > 0
		s.drop()
		if !lost {
			return s.done, nil // the receiver closed an idle connection
		}
		return s.done, fmt.Errorf("log server %s closed the connection: %w", s.config.Address, err)
	}
	acknowledged := c.counted.n.Load() - unacknowledged
	if len(c.sent) > 0 && c.sent[0].bytes > acknowledged && time.Since(c.sent[0].at) > s.config.Timeout {
		s.drop()
		return s.done, fmt.Errorf("log server %s has not taken what was sent %s ago", s.config.Address, restart.Span(s.config.Timeout))
	}
	for len(c.sent) > 0 && !c.sent[0].at.After(old) && c.sent[0].bytes <= acknowledged {
		s.done = c.sent[0].seq
		c.sent = c.sent[1:]
	}
	return s.done, nil
}

// Close ends the connection. What has not settled will be sent again by the
// next program that has the cursor.
func (s *Syslog) Close() error {
	if c := s.conn.end(); c != nil {
		c.leave(func() { c.tls.Close() })
	}
	return nil
}

func (s *Syslog) connect(ctx context.Context) (*connection, error) {
	c := &connection{}
	l, err := dial(ctx, s.config.Address, s.config.TLS, func(raw net.Conn) net.Conn {
		c.counted = &counted{Conn: raw}
		return c.counted
	})
	if err != nil {
		return nil, err
	}
	c.stream = l
	if c.system, err = l.raw.(*net.TCPConn).SyscallConn(); err == nil {
		err = s.conn.keep(c, func() { c.follow(c.read) })
	}
	if err != nil {
		l.raw.Close()
		return nil, err
	}
	return c, nil
}

func (s *Syslog) drop() { s.conn.take().drop() }

// mark remembers a batch that was sent: its last seq, how many bytes had gone
// to TCP with its end, and when.
type mark struct {
	seq   int64
	bytes int64
	at    time.Time
}

// connection is a stream of which the bytes are counted.
type connection struct {
	*stream

	counted *counted
	system  interface {
		Control(func(fd uintptr)) error
	}
	sent []mark // not settled, in order
}

// read ends when the peer closes, resets or answers with an alert. A receiver
// of RFC 5425 sends nothing, so what comes is thrown away.
func (c *connection) read() error {
	_, err := io.Copy(io.Discard, c.tls)
	if err == nil {
		err = io.EOF
	}
	return err
}

// unacknowledged is the number of bytes that the peer's TCP has not confirmed.
func (c *connection) unacknowledged() (int64, error) {
	var n int
	var ioctlErr error
	err := c.system.Control(func(fd uintptr) { n, ioctlErr = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return int64(n), errors.Join(err, ioctlErr)
}

// counted counts what goes to TCP.
type counted struct {
	net.Conn
	n atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}
