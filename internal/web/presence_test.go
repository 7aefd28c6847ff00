package web

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/store"
)

// sessionCounter counts what is asked of the sessions.
type sessionCounter struct {
	*store.Store
	one    atomic.Int64
	looked chan int // how many were looked up in one question
}

func (c *sessionCounter) SessionByHash(ctx context.Context, hash string) (store.Session, error) {
	c.one.Add(1)
	return c.Store.SessionByHash(ctx, hash)
}

func (c *sessionCounter) SessionsOpen(ctx context.Context, ids []string) (map[string]bool, error) {
	select {
	case c.looked <- len(ids):
	default:
	}
	return c.Store.SessionsOpen(ctx, ids)
}

// slowSessions answers a question when it is given up, and a while later.
type slowSessions struct {
	*store.Store
	asked chan struct{}
	ended atomic.Bool
}

func (s *slowSessions) SessionsOpen(ctx context.Context, _ []string) (map[string]bool, error) {
	if ctx.Err() != nil { // a tick came with the end
		return nil, ctx.Err()
	}
	close(s.asked)
	<-ctx.Done()
	time.Sleep(time.Second) // of the bubble's clock
	s.ended.Store(true)
	return nil, ctx.Err()
}

// The last reader leaves nothing behind that still asks the database.
func TestTheLastReaderWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sessions := &slowSessions{asked: make(chan struct{})}
		p := &presence{site: &site{cfg: Config{Sessions: authn.Sessions{Store: sessions}}}, readers: map[string]*watched{}}
		p.join("a")
		p.join("b")
		<-sessions.asked
		p.leave("a")
		if sessions.ended.Load() {
			t.Error("the first who leaves ends it for all")
		}
		p.leave("b")
		if !sessions.ended.Load() {
			t.Error("it goes on behind the last reader")
		}
	})
}

// Whoever looks at a live page is asked about with all others in one question,
// and a session that is revoked ends its pages in under a second all the same.
func TestReadersAreLookedUpTogether(t *testing.T) {
	var count *sessionCounter
	f := newFixture(t, func(c *Config) {
		count = &sessionCounter{Store: c.Sessions.Store.(*store.Store), looked: make(chan int)}
		c.Sessions.Store = count
		c.Auth = authn.Chain{c.Sessions}
	})
	run := f.running(1)
	const pages = 100
	var listeners []*listener
	first := f.signIn()
	second := f.signInAs("vera", developer)
	for i := range pages {
		cookie := first
		if i%2 == 1 {
			cookie = second
		}
		listeners = append(listeners, f.listen(cookie, "/runs/"+run.ID+"/events"))
	}
	before, began := count.one.Load(), time.Now()
	list, err := f.store.Sessions(t.Context(), store.SessionFilter{Owner: "vera", Idle: time.Hour, Limit: 1})
	f.must(err)
	for range 2 {
		if n := <-count.looked; n != 2 {
			t.Errorf("%d sessions were looked up, want each of the two once", n)
		}
	}
	if n := count.one.Load() - before; n >= pages && time.Since(began) < recheck {
		t.Errorf("%d readers were asked about one by one in %s", n, time.Since(began))
	}
	f.must(f.store.RevokeSession(t.Context(), list[0].ID))
	revoked := time.Now()
	for i, l := range listeners {
		if i%2 == 0 {
			continue
		}
		for _, open := l.next(); open; _, open = l.next() {
		}
	}
	if took := time.Since(revoked); took > lookAround+5*time.Second { // the machine may be slow; the promise is lookAround
		t.Errorf("the last page ended %s after its session", took)
	}
	f.site.present.mu.Lock()
	defer f.site.present.mu.Unlock()
	if w := f.site.present.readers; len(w) != 1 {
		t.Errorf("%d sessions are watched, want that of who still reads", len(w))
	}
}
