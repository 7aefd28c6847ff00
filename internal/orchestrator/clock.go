package orchestrator

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// Clock is time as the orchestrator meets it, and whatever it does side by
// side: everything that could come out differently a second time. The one that
// servers use is Go's own; a simulation gives one that a seed decides.
type Clock interface {
	Now() time.Time
	// Go runs f beside its caller.
	Go(f func())
	// Sleep waits until d is over, something comes from a nudge (at most two are
	// given, either may be nil), or ctx ends.
	Sleep(ctx context.Context, d time.Duration, nudges ...<-chan struct{})
	// WithTimeout is context.WithTimeout by this clock.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// Jitter gives a random duration from 0 to below most, which is above 0.
	Jitter(most time.Duration) time.Duration
}

// forever is a sleep that only a nudge or the end of a context ends.
const forever = time.Duration(math.MaxInt64)

// wall is the Clock of a server.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }

func (wall) Go(f func()) { go f() }

func (wall) Sleep(ctx context.Context, d time.Duration, nudges ...<-chan struct{}) {
	var over <-chan time.Time
	if d != forever {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	var nudge [2]<-chan struct{}
	copy(nudge[:], nudges)
	select {
	case <-ctx.Done():
	case <-over:
	case <-nudge[0]:
	case <-nudge[1]:
	}
}

func (wall) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

func (wall) Jitter(most time.Duration) time.Duration {
	return rand.N(most) //nolint:gosec // jitter is no secret
}

// sleep waits for d, a nudge or the end of ctx; false means that ctx ended.
func (o *Orchestrator) sleep(ctx context.Context, d time.Duration, nudge <-chan struct{}) bool {
	o.cfg.Clock.Sleep(ctx, d, nudge)
	return ctx.Err() == nil
}

// since is time.Since by the orchestrator's clock.
func (o *Orchestrator) since(t time.Time) time.Duration { return o.cfg.Clock.Now().Sub(t) }

// crew is what a sync.WaitGroup is, by a Clock. One caller waits at a time.
type crew struct {
	clock Clock
	most  int // how many work at once; 0 = any number
	ended chan struct{}

	mu sync.Mutex
	n  int
}

func newCrew(clock Clock, most int) *crew {
	return &crew{clock: clock, most: most, ended: make(chan struct{}, 1)}
}

// Go runs f beside its caller, once there is room for it.
func (c *crew) Go(f func()) {
	if c.most > 0 {
		c.until(c.most - 1)
	}
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	c.clock.Go(func() {
		defer func() {
			c.mu.Lock()
			c.n--
			c.mu.Unlock()
			nudge(c.ended)
		}()
		f()
	})
}

// Wait returns when nobody works any more.
func (c *crew) Wait() { c.until(0) }

// until waits until at most n work.
func (c *crew) until(n int) {
	for {
		c.mu.Lock()
		working := c.n
		c.mu.Unlock()
		if working <= n {
			return
		}
		c.clock.Sleep(context.Background(), forever, c.ended)
	}
}

// nudge leaves a word in a channel that has room for one, unless one is there.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
