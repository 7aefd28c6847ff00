package audit

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// RelpConfig describes a receiver of RELP over TLS.
type RelpConfig struct {
	Address  string      // HOST:PORT
	TLS      *tls.Config // CA and server name; version 1.2 at least
	Facility string      // local0 (default) … local7, auth, authpriv
	// Window is how many records may be on their way without an answer; 1024 by default.
	Window int
	// Timeout bounds connecting, with its handshake and the opening of a session,
	// and the time for which a receiver answers nothing, in Send and after it; 10 s
	// by default. One that answers slowly is waited for.
	Timeout time.Duration
}

// Relp ships the trail by the Reliable Event Logging Protocol: each record is a
// transaction that the receiver's program answers. It has settled when it and
// all before it were answered with 200. That is no promise of storage: rsyslog
// answers when a record is in its queue, its disk full or not. So the level is
// "received".
//
// After a break everything that was not answered is sent again; the receiver
// may then have records twice, which their seq tells.
type Relp struct {
	config RelpConfig
	header header

	session slot[relpSession]
	done    int64 // the last seq settled by an earlier session
}

func openRelp(c SinkConfig) (Sink, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	return NewRelp(RelpConfig{Address: c.Address, TLS: config, Facility: c.Facility})
}

// NewRelp makes a sink without connecting: the first Send does. The server name
// defaults to the host of the address.
func NewRelp(c RelpConfig) (*Relp, error) {
	h, err := newHeader(c.Facility)
	if err != nil {
		return nil, err
	}
	if c.TLS, err = streamTLS("relp", c.Address, c.TLS); err != nil {
		return nil, err
	}
	if c.Window <= 0 {
		c.Window = 1024
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	return &Relp{config: c, header: h}, nil
}

// Name is "relp:" and the address.
func (s *Relp) Name() string { return "relp:" + s.config.Address }

// Level is LevelReceived.
func (s *Relp) Level() Level { return LevelReceived }

// Send writes the records, as soon as the window has room for them, to the
// session, opened first where there is none.
func (s *Relp) Send(ctx context.Context, records []Record) error {
	if s.session.open == nil {
		if err := s.connect(ctx); err != nil {
			return fmt.Errorf("connect to log server %s: %w", s.config.Address, err)
		}
	}
	r := s.session.open
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(s.config.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer silent.Stop()
	answered := func() { silent.Reset(s.config.Timeout) }
	err := r.guard(ctx, func() error {
		for len(records) > 0 {
			n, err := r.room(ctx, min(len(records), s.config.Window), s.config.Window, answered)
			if err == nil {
				err = r.write(s.header, records[:n])
			}
			if err != nil {
				return err
			}
			records = records[n:]
		}
		return nil
	})
	if err != nil {
		if ended := r.ended(); ended != nil && ctx.Err() == nil {
			err = ended // which says more than a write that failed
		}
		s.drop()
		return fmt.Errorf("send to log server %s: %w", s.config.Address, err)
	}
	return nil
}

// Settled gives the last record that was answered, with all before it.
func (s *Relp) Settled() (int64, error) {
	r := s.session.open
	if r == nil {
		return s.done, nil
	}
	ended := r.ended() // first: answers that came before the end count
	done, waiting, since := r.state()
	s.done = max(s.done, done)
	if ended != nil {
		s.drop()
		if waiting == 0 && errors.Is(ended, errRelpOver) {
			return s.done, nil // the receiver closed an idle session
		}
		return s.done, fmt.Errorf("log server %s: %w", s.config.Address, ended)
	}
	if waiting > 0 && time.Since(since) > s.config.Timeout {
		s.drop()
		return s.done, fmt.Errorf("log server %s has not answered for what was sent, nor for anything else for %s", s.config.Address, restart.Span(s.config.Timeout))
	}
	return s.done, nil
}

// Close ends the session. What was not answered will be sent again by the next
// program that has the cursor.
func (s *Relp) Close() error {
	if r := s.session.end(); r != nil {
		r.close()
	}
	return nil
}

func (s *Relp) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	l, err := dial(ctx, s.config.Address, s.config.TLS, nil)
	if err != nil {
		return err
	}
	r := &relpSession{stream: l, input: bufio.NewReader(l.tls), moved: make(chan struct{}, 1)}
	if err = r.open(ctx); err == nil {
		err = s.session.keep(r, func() { r.follow(r.read) })
	}
	if err != nil {
		l.raw.Close()
	}
	return err
}

// drop ends the session at once, and keeps what it has settled.
func (s *Relp) drop() {
	r := s.session.take()
	r.drop()
	done, _, _ := r.state()
	s.done = max(s.done, done)
}

// errRelpOver is the end of a session that the receiver wished.
var errRelpOver = errors.New("it closed the session")

// relpSent is a record on its way.
type relpSent struct {
	transaction int
	seq         int64
	at          time.Time
	answered    bool
}

// relpSession is an open session with a reader of its answers.
type relpSession struct {
	*stream

	input *bufio.Reader
	moved chan struct{} // has a token when the window has moved

	mu          sync.Mutex
	transaction int        // the last number given
	sent        []relpSent // not settled, in order
	done        int64      // the last settled seq
	answered    time.Time  // when the last answer came
	closing     int        // the transaction that asks for the end; 0 for none
}

// relpOffer opens a session: the version of the protocol, who we are, and what
// we want to send.
const relpOffer = "relp_version=0\nrelp_software=restartilka\ncommands=syslog"

// open opens the session.
func (r *relpSession) open(ctx context.Context) error {
	r.transaction = 1
	return r.guard(ctx, func() error {
		if _, err := r.tls.Write(appendRelp(nil, r.transaction, "open", []byte(relpOffer))); err != nil {
			return err
		}
		f, err := readRelp(r.input)
		if err != nil {
			return err
		}
		return f.checkOpened(r.transaction)
	})
}

// room waits until some of the wanted records may be sent, and calls answered
// whenever answers have come meanwhile.
func (r *relpSession) room(ctx context.Context, wanted, window int, answered func()) (int, error) {
	for {
		_, waiting, _ := r.state()
		if free := window - waiting; free > 0 {
			return min(wanted, free), nil
		}
		select {
		case <-r.moved:
			answered()
		case <-r.over:
			return 0, r.err
		case <-ctx.Done():
			return 0, fmt.Errorf("it has not answered for %d records: %w", waiting, context.Cause(ctx))
		}
	}
}

// write sends records. They are noted first: answers may overtake Write's return.
func (r *relpSession) write(h header, records []Record) error {
	now := time.Now()
	var frames []byte
	r.mu.Lock()
	for i := range records {
		r.transaction = nextTransaction(r.transaction)
		r.sent = append(r.sent, relpSent{transaction: r.transaction, seq: records[i].Seq, at: now})
		frames = appendRelp(frames, r.transaction, "syslog", h.appendMessage(nil, &records[i]))
	}
	r.mu.Unlock()
	_, err := r.tls.Write(frames)
	return err
}

// state gives the last settled seq, how many records wait for an answer or for
// that of one before them, and since when nothing has come.
func (r *relpSession) state() (done int64, waiting int, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sent) > 0 {
		if since = r.sent[0].at; r.answered.After(since) {
			since = r.answered
		}
	}
	return r.done, len(r.sent), since
}

// read takes answers until the session ends, and gives the reason.
func (r *relpSession) read() error {
	for {
		f, err := readRelp(r.input)
		if errors.Is(err, io.EOF) {
			return errRelpOver
		}
		if _, ok := errors.AsType[net.Error](err); ok {
			return fmt.Errorf("%w: %w", errRelpOver, err)
		}
		if err == nil {
			err = r.take(f)
		}
		if err != nil {
			return err
		}
	}
}

// take notes an answer.
func (r *relpSession) take(f relpFrame) error {
	if f.command == "serverclose" {
		return errRelpOver
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing != 0 && f.transaction == r.closing {
		return errRelpOver
	}
	i := 0
	for i < len(r.sent) && (r.sent[i].transaction != f.transaction || r.sent[i].answered) {
		i++
	}
	if f.command != "rsp" || i == len(r.sent) {
		return fmt.Errorf("it answers nonsense: %s of transaction %d, which waits for none", said([]byte(f.command)), f.transaction)
	}
	if code, err := f.code(); err != nil {
		return err
	} else if code != relpOK {
		return fmt.Errorf("it refuses record %d: %s", r.sent[i].seq, said(f.data))
	}
	r.sent[i].answered, r.answered = true, time.Now()
	for len(r.sent) > 0 && r.sent[0].answered {
		r.done = r.sent[0].seq
		r.sent = r.sent[1:]
	}
	select {
	case r.moved <- struct{}{}:
	default:
	}
	return nil
}

// close asks the receiver for the end of the session.
func (r *relpSession) close() {
	r.leave(func() {
		r.mu.Lock()
		first := r.closing == 0
		if first {
			r.transaction = nextTransaction(r.transaction)
			r.closing = r.transaction
		}
		frame := appendRelp(nil, r.closing, "close", nil)
		r.mu.Unlock()
		if first {
			if _, err := r.tls.Write(frame); err != nil {
				r.raw.Close()
			}
		}
	})
	r.tls.Close()
}

const maxTransaction = 999_999_999

// nextTransaction counts from 1 and begins again.
func nextTransaction(n int) int {
	if n >= maxTransaction {
		return 1
	}
	return n + 1
}

// appendRelp adds one frame.
func appendRelp(b []byte, transaction int, command string, data []byte) []byte {
	b = append(strconv.AppendInt(b, int64(transaction), 10), ' ')
	b = append(append(b, command...), ' ')
	b = strconv.AppendInt(b, int64(len(data)), 10)
	if len(data) > 0 {
		b = append(append(b, ' '), data...)
	}
	return append(b, '\n')
}
