package web

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// lookAround is how often the sessions of all readers are looked up, in one
	// question: a session that is revoked ends its streams in under a second.
	lookAround = 700 * time.Millisecond
	// recheck is how often a stream asks in full whether its reader may still
	// read: his user, his groups, his limits.
	recheck = 10 * time.Second
)

// presence watches the sessions of all who look at live pages of this server.
// However many pages are open, the database is asked once for all.
type presence struct {
	site    *site
	mu      sync.Mutex
	readers map[string]*watched // by the session's id
	cancel  context.CancelFunc  // of the loop; nil = nobody is watched
	done    chan struct{}       // closed when the loop has ended
}

type watched struct {
	streams int
	gone    chan struct{} // closed once the session has ended
}

// join gives what is closed when a session ends, to be left again. Who comes
// without a session, as by a proxy, is not watched: nil.
func (p *presence) join(session string) <-chan struct{} {
	if session == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.readers[session]
	if w == nil {
		w = &watched{gone: make(chan struct{})}
		p.readers[session] = w
	}
	w.streams++
	if p.cancel == nil {
		var ctx context.Context
		ctx, p.cancel = context.WithCancel(context.Background()) // of all readers: the last one ends it
		done := make(chan struct{})
		p.done = done
		go func() {
			defer close(done)
			p.run(ctx)
		}()
	}
	return w.gone
}

// leave ends the loop with the last reader, and waits for it.
func (p *presence) leave(session string) {
	if ended := p.left(session); ended != nil {
		<-ended
	}
}

// left gives the loop that ends, if one does; nil = others are still watched.
func (p *presence) left(session string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.readers[session]
	if w == nil {
		return nil
	}
	if w.streams--; w.streams == 0 {
		delete(p.readers, session)
	}
	if len(p.readers) > 0 || p.cancel == nil {
		return nil
	}
	p.cancel()
	p.cancel = nil
	return p.done
}

func (p *presence) run(ctx context.Context) {
	tick := time.NewTicker(lookAround)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := p.look(ctx); err != nil && ctx.Err() == nil {
				p.site.cfg.Logger.WarnContext(ctx, "look up who is signed in", "error", err) // recheck is left
			}
		case <-ctx.Done():
			return
		}
	}
}

// look tells the streams of sessions that have ended.
func (p *presence) look(ctx context.Context) error {
	p.mu.Lock()
	ids := make([]string, 0, len(p.readers))
	for id := range p.readers {
		ids = append(ids, id)
	}
	p.mu.Unlock()
	slices.Sort(ids)
	open, err := p.site.cfg.Sessions.Store.SessionsOpen(ctx, ids)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		w := p.readers[id]
		if w == nil || open[id] {
			continue
		}
		select {
		case <-w.gone:
		default:
			close(w.gone)
		}
	}
	return nil
}
