package orchestrator

import (
	"context"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
)

// outputKeeper copies a task's output from its agent into the store, in pieces
// flushed at most four times a second. It resumes a broken stream at the next
// offset, and never holds up the task's outcome for long.
type outputKeeper struct {
	o       *Orchestrator
	cancel  context.CancelFunc
	done    chan struct{}
	follows bool

	mu      sync.Mutex
	pending []byte
	offset  int64 // of pending's first byte
}

const (
	flushEvery = 250 * time.Millisecond
	flushAt    = 1 << 20 // bytes
	// streamFor bounds one stream, which is then resumed: silence tells nothing of
	// a script that prints nothing, and a proxy on the way may hold up what is dead.
	streamFor = time.Minute
)

// nothing is the keeper of a task that has no output yet.
func nothing(o *Orchestrator) *outputKeeper {
	k := &outputKeeper{o: o, cancel: func() {}, done: make(chan struct{})}
	close(k.done)
	return k
}

func (d *driver) keepOutput(ctx context.Context, status protocol.TaskStatus) *outputKeeper {
	if status.Outcome != "" && status.OutputSize == 0 {
		return nothing(d.l.o) // it is over and has said nothing
	}
	octx, cancel := context.WithCancel(ctx)
	k := &outputKeeper{o: d.l.o, cancel: cancel, done: make(chan struct{}), follows: true}
	k.o.cfg.Clock.Go(func() {
		defer close(k.done)
		k.copy(octx, d)
	})
	return k
}

func (k *outputKeeper) copy(ctx context.Context, d *driver) {
	flushing := newCrew(k.o.cfg.Clock, 0)
	fctx, stopFlushing := context.WithCancel(ctx)
	flushing.Go(func() {
		for k.o.sleep(fctx, flushEvery, nil) {
			k.flush(ctx, d, 0)
		}
	})
	defer func() {
		stopFlushing()
		flushing.Wait()
		k.flush(context.WithoutCancel(ctx), d, 0)
	}()
	next, err := d.l.o.cfg.Tasks.OutputEnd(ctx, d.task.ID)
	if err != nil {
		d.log.Warn("ask where the stored output ends", "error", err)
		next = 0 // the store skips what it has
	}
	for ctx.Err() == nil {
		sctx, cancel := k.o.cfg.Clock.WithTimeout(ctx, streamFor)
		err := d.l.o.cfg.Agents.Output(sctx, d.host, d.task.ID, next, func(o protocol.Output) error {
			if o.Truncated > 0 {
				k.flush(ctx, d, o.Truncated)
				next = o.Offset + o.Truncated
				return ctx.Err()
			}
			k.add(o)
			next = o.Offset + int64(len(o.Data))
			if k.size() >= flushAt {
				k.flush(ctx, d, 0)
			}
			return ctx.Err()
		})
		cancel()
		if err == nil {
			return
		}
		if !k.o.sleep(ctx, 300*time.Millisecond, nil) {
			return
		}
	}
}

func (k *outputKeeper) add(o protocol.Output) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pending) == 0 {
		k.offset = o.Offset
	}
	k.pending = append(k.pending, o.Data...)
}

func (k *outputKeeper) size() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.pending)
}

// flush stores what is pending, and then, where truncated is above 0, that so
// many bytes are missing after it.
func (k *outputKeeper) flush(ctx context.Context, d *driver, truncated int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pending) > 0 {
		if err := d.l.o.cfg.Tasks.AppendOutput(ctx, d.task.ID, k.offset, k.pending, 0); err != nil {
			d.log.Warn("store output", "error", err)
			return // kept, and tried again with the next flush
		}
		k.offset += int64(len(k.pending))
		k.pending = k.pending[:0]
	}
	if truncated > 0 {
		if err := d.l.o.cfg.Tasks.AppendOutput(ctx, d.task.ID, k.offset, nil, truncated); err != nil {
			d.log.Warn("store output", "error", err)
		}
		k.offset += truncated
	}
}

// drain waits for the end of the output, which is at size, for as long as more
// of it arrives: once idle has passed without any, the outcome is held up no
// longer. Nor is it by a host that says a little again and again, for longer
// than a silent one is asked, or than a force-abort waits.
func (k *outputKeeper) drain(idle time.Duration, size int64, givenUp func() bool) {
	began := k.o.cfg.Clock.Now()
	for before := k.end(); !k.over() && before < size && !givenUp() && k.o.since(began) < k.o.cfg.ContactTimeout; {
		until := k.o.cfg.Clock.Now().Add(idle)
		k.o.cfg.Clock.Sleep(context.Background(), idle, k.done)
		if k.over() || k.o.cfg.Clock.Now().Before(until) {
			continue
		}
		now := k.end()
		if now == before {
			return
		}
		before = now
	}
}

// over tells whether the copying has ended.
func (k *outputKeeper) over() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// end is the offset up to which output has arrived.
func (k *outputKeeper) end() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.offset + int64(len(k.pending))
}

// stop ends the copying and waits for it.
func (k *outputKeeper) stop() {
	k.cancel()
	for !k.over() {
		k.o.cfg.Clock.Sleep(context.Background(), forever, k.done)
	}
}
