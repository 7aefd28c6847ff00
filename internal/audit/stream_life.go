package audit

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// stream is a TLS connection to a receiver, with a reader that notices its end.
type stream struct {
	raw  net.Conn
	tls  *tls.Conn
	over chan struct{} // closed when the reader has returned
	err  error         // why; set before over is closed
}

// dial connects and shakes hands. through, if given, stands between TLS and the
// network.
func dial(ctx context.Context, address string, config *tls.Config, through func(net.Conn) net.Conn) (*stream, error) {
	raw, err := streamDialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	below := raw
	if through != nil {
		below = through(raw)
	}
	s := &stream{raw: raw, tls: tls.Client(below, config), over: make(chan struct{})}
	if err := s.tls.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return s, nil
}

// follow has the reader read until it gives the reason why the stream is over.
func (s *stream) follow(read func() error) {
	go func() {
		defer close(s.over)
		s.err = read()
	}()
}

// ended gives the reason why the stream is over, or nil.
func (s *stream) ended() error {
	select {
	case <-s.over:
		return s.err
	default:
		return nil
	}
}

// guard does what may wait for the receiver, for no longer than ctx lasts. A stream
// of which ctx has ended meanwhile is of no use any more: it may have a deadline.
func (s *stream) guard(ctx context.Context, do func() error) error {
	stop := context.AfterFunc(ctx, func() { s.tls.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // fails only once the connection is closed, and then what it does fails too
	err := do()
	stop()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// drop ends the stream at once.
func (s *stream) drop() {
	s.raw.Close()
	<-s.over
}

// leave ends the stream by saying goodbye, for a second at most. It may be called
// twice.
func (s *stream) leave(goodbye func()) {
	impatient := time.AfterFunc(time.Second, func() { s.raw.Close() })
	defer impatient.Stop()
	goodbye()
	<-s.over
}

// slot has the connection of a sink, which Send makes and drops, while Close may
// come at any time.
type slot[C any] struct {
	open *C // nil = there is none; Send and Settled alone change it

	mu   sync.Mutex // guards shut, and open against Close
	shut bool
}

// keep takes a new connection in and has begin start its reader, unless the sink
// is closed.
func (s *slot[C]) keep(c *C, begin func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return net.ErrClosed
	}
	begin()
	s.open = c
	return nil
}

// take gives the connection that is not to be used any more.
func (s *slot[C]) take() *C {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.open
	s.open = nil
	return c
}

// end takes no further connection in, and gives the one that there is; nil = none.
func (s *slot[C]) end() *C {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	return s.open
}
