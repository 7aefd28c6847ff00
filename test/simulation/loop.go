package simulation

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// began is when every history begins.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// never is later than any history.
const never = time.Duration(math.MaxInt64)

// loop is the one event loop of a history: which of the things that could
// happen next does, is drawn from its seed, and nothing else decides anything.
// Threads are coroutines: only one runs at a time, and only until it waits.
type loop struct {
	rng     *rand.Rand
	now     time.Duration // since began: true time, which no clock in the history need show
	threads []*thread
	current *thread
	can     []*thread // those that can go on, of one step
	events  eventHeap
	made    int // events made, for their order

	steps int
	trace io.Writer // nil = nobody reads it
	sum   uint64    // of everything that was logged, so that two histories can be compared; 0 = nobody does
}

func newLoop(seed uint64) *loop {
	return &loop{rng: rand.New(rand.NewPCG(seed, 0x5eed))}
}

// log notes what happened, for the trace and its sum.
func (l *loop) log(format string, args ...any) {
	if l.sum != 0 {
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %d ", l.sum, l.now)
		fmt.Fprintf(h, format, args...)
		l.sum = h.Sum64() | 1
	}
	if l.trace != nil {
		fmt.Fprintf(l.trace, "%5d %12s  %s\n", l.steps, l.now.Round(time.Microsecond), fmt.Sprintf(format, args...))
	}
}

// chance is true once in n times.
func (l *loop) chance(n int) bool { return l.rng.IntN(n) == 0 }

// between draws a duration.
func (l *loop) between(least, most time.Duration) time.Duration {
	return least + time.Duration(l.rng.Int64N(int64(most-least)+1))
}

// event is something that happens at a time.
type event struct {
	at  time.Duration
	n   int
	do  func()
	off bool
}

type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(*event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// after lets do happen once d is over.
func (l *loop) after(d time.Duration, do func()) *event {
	l.made++
	e := &event{at: l.now + max(d, 0), n: l.made, do: do}
	heap.Push(&l.events, e)
	return e
}

// process is what is killed, or frozen, as one.
type process struct {
	name   string
	dead   bool
	frozen bool
	thawed time.Duration // when it went on last; 0 = it never was frozen
}

// errKilled unwinds the threads of a process that was killed.
var errKilled = errors.New("killed")

// thread is a coroutine of a process.
type thread struct {
	of    *process
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	until time.Duration
	ctx   context.Context //nolint:containedctx // what the thread waits with, not what it was given
	nudge [2]<-chan struct{}
	ready bool
	over  bool
}

// spawn starts a thread.
func (l *loop) spawn(p *process, f func()) {
	t := &thread{of: p, ready: true}
	t.next, t.stop = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		defer func() {
			t.over = true
			if r := recover(); r != nil && r != any(errKilled) {
				panic(fmt.Sprintf("%v\n%s", r, debug.Stack())) // where it was is lost otherwise
			}
		}()
		f()
	})
	l.threads = append(l.threads, t)
}

// wait lets others happen until one of the things is true that a Clock's Sleep
// waits for.
func (l *loop) wait(ctx context.Context, d time.Duration, nudges ...<-chan struct{}) {
	t := l.current
	if t.of.dead {
		panic(errKilled) // a deferred function of a thread that is being killed
	}
	t.ctx, t.until, t.ready = ctx, never, false
	if d < never-l.now {
		t.until = l.now + max(d, 0)
	}
	t.nudge = [2]<-chan struct{}{}
	copy(t.nudge[:], nudges)
	if !t.yield(struct{}{}) {
		panic(errKilled)
	}
}

// awake tells whether a thread can go on. A nudge is taken by being seen.
func (t *thread) awake(now time.Duration) bool {
	if t.ready {
		return true
	}
	if t.until <= now || t.ctx.Err() != nil {
		t.ready = true
		return true
	}
	for _, c := range t.nudge {
		select {
		case <-c:
			t.ready = true
			return true
		default:
		}
	}
	return false
}

// kill ends a process: its threads never come to their next line.
func (l *loop) kill(p *process) {
	p.dead = true
	kept := l.threads[:0]
	var victims []*thread
	for _, t := range l.threads {
		if t.of == p {
			victims = append(victims, t)
		} else {
			kept = append(kept, t)
		}
	}
	l.threads = kept
	for _, t := range victims {
		if t != l.current { // who kills himself unwinds by himself
			l.unwind(t)
		}
	}
}

func (l *loop) unwind(t *thread) {
	before := l.current
	l.current = t
	t.stop()
	l.current = before
}

// step lets one thing happen: an event whose time has come, or a thread that
// can go on. false = nothing ever will.
func (l *loop) step() bool {
	l.steps++
	for {
		can := l.can[:0]
		for _, t := range l.threads {
			if !t.of.frozen && t.awake(l.now) {
				can = append(can, t)
			}
		}
		l.can = can
		due := len(l.events) > 0 && l.events[0].at <= l.now
		switch {
		case due && (len(can) == 0 || l.chance(len(can)+1)):
			e := heap.Pop(&l.events).(*event)
			if e.off {
				continue
			}
			e.do()
			return true
		case len(can) > 0:
			l.run(can[l.rng.IntN(len(can))])
			return true
		}
		next := never
		if len(l.events) > 0 {
			next = l.events[0].at
		}
		for _, t := range l.threads {
			if !t.of.frozen {
				next = min(next, t.until)
			}
		}
		if next == never {
			return false
		}
		l.now = max(l.now, next)
	}
}

func (l *loop) run(t *thread) {
	l.current = t
	t.next()
	l.current = nil
	if t.over {
		for i, x := range l.threads {
			if x == t {
				l.threads = append(l.threads[:i], l.threads[i+1:]...)
				break
			}
		}
	}
}

// end unwinds whatever is left.
func (l *loop) end() {
	for len(l.threads) > 0 {
		l.kill(l.threads[0].of)
	}
}

// clock is the orchestrator.Clock of a process whose wall clock is skewed.
type clock struct {
	l    *loop
	p    *process
	skew *time.Duration
}

func (c clock) Now() time.Time { return began.Add(c.l.now + *c.skew) }

func (c clock) Go(f func()) { c.l.spawn(c.p, f) }

func (c clock) Sleep(ctx context.Context, d time.Duration, nudges ...<-chan struct{}) {
	c.l.wait(ctx, d, nudges...)
}

func (c clock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(ctx)
	e := c.l.after(d, func() { cancel(context.DeadlineExceeded) })
	return inner, func() {
		e.off = true
		cancel(context.Canceled)
	}
}

func (c clock) Jitter(most time.Duration) time.Duration {
	return time.Duration(c.l.rng.Int64N(int64(most)))
}

// logger lets who reads the trace see what the parts themselves say. What
// they say is no part of the history.
func (l *loop) logger(who string) *slog.Logger {
	if l.trace == nil {
		return slog.New(slog.DiscardHandler)
	}
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(l.trace, &slog.HandlerOptions{ReplaceAttr: plain})).With("who", who)
}
