package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy stands between the servers and one agent and copies bytes, which are
// TLS to it: it can lose, hold, delay and cut, and nothing else.
type proxy struct {
	listener net.Listener
	target   string
	ctx      context.Context // of the bed; over, nobody is dialled any more
	wg       sync.WaitGroup

	mu      sync.Mutex
	rule    rule
	changed chan struct{} // closed when the rule changes
	conns   map[*passage]struct{}

	cut atomic.Int64 // connections that a drop rule has cut
}

// rule is what a proxy does with what passes. The zero rule copies.
type rule struct {
	refuse             bool          // reset whoever dials
	holdUp, holdDown   bool          // copy nothing to the agent, nothing to the server
	delay              time.Duration // of each piece, both ways
	dropUp, dropAnswer int           // lose the next piece to the agent of at least so many bytes; lose what is said to one
}

// passage is one connection through the proxy.
type passage struct {
	server, agent *net.TCPConn
	mute          atomic.Bool // what the agent says is lost, and the connection cut then
	gone          chan struct{}
	once          sync.Once
}

func newProxy(b *bed, listen, target string) (*proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", listen)
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, ctx: b.Context(), changed: make(chan struct{}), conns: map[*passage]struct{}{}}
	p.wg.Go(p.accept)
	b.Cleanup(p.close)
	return p, nil
}

func (p *proxy) close() {
	p.listener.Close()
	p.set(rule{refuse: true})
	p.reset()
	p.wg.Wait()
}

// set changes what happens from now on, also on connections that are open.
func (p *proxy) set(r rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = r
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *proxy) now() (rule, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rule, p.changed
}

// reset cuts every connection with RST on both sides.
func (p *proxy) reset() {
	p.mu.Lock()
	conns := make([]*passage, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.end(true)
	}
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		server := conn.(*net.TCPConn)
		if r, _ := p.now(); r.refuse {
			drop(server)
			continue
		}
		p.wg.Go(func() { p.pass(server) })
	}
}

func (p *proxy) pass(server *net.TCPConn) {
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		drop(server) // as the host itself would say: nobody listens
		return
	}
	c := &passage{server: server, agent: conn.(*net.TCPConn), gone: make(chan struct{})}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(c, true) })
	both.Go(func() { p.copy(c, false) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (c *passage) end(reset bool) {
	c.once.Do(func() {
		close(c.gone)
		for _, conn := range []*net.TCPConn{c.server, c.agent} {
			if reset {
				drop(conn)
			}
			conn.Close()
		}
	})
}

// drop ends a connection with RST.
func drop(conn *net.TCPConn) {
	conn.SetLinger(0) //nolint:errcheck // it has ended already
	conn.Close()
}

// copy copies one way until either side ends.
func (p *proxy) copy(c *passage, up bool) {
	from, to := c.agent, c.server
	if up {
		from, to = c.server, c.agent
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.let(c, up, n) {
			c.end(true)
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				c.end(false)
				return
			}
		}
		if err != nil {
			c.end(false)
			return
		}
	}
}

// let waits until a piece of n bytes may pass; false = it is lost, and the
// connection with it.
func (p *proxy) let(c *passage, up bool, n int) bool {
	if !up && c.mute.Load() {
		p.cut.Add(1)
		return false
	}
	r, changed := p.now()
	if r.delay > 0 {
		timer := time.NewTimer(r.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-changed:
		case <-c.gone:
			return false
		}
	}
	for (up && r.holdUp) || (!up && r.holdDown) {
		select {
		case <-changed:
		case <-c.gone:
			return false
		}
		r, changed = p.now()
	}
	if !up {
		return true
	}
	if r.dropUp > 0 && n >= r.dropUp && p.disarm(func(r *rule) bool { was := r.dropUp > 0; r.dropUp = 0; return was }) {
		p.cut.Add(1)
		return false
	}
	if r.dropAnswer > 0 && n >= r.dropAnswer && p.disarm(func(r *rule) bool { was := r.dropAnswer > 0; r.dropAnswer = 0; return was }) {
		c.mute.Store(true)
	}
	return true
}

// disarm takes a rule that holds once; one caller alone gets it.
func (p *proxy) disarm(take func(*rule) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return take(&p.rule)
}
