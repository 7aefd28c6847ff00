package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstCheck  = 5 * time.Millisecond   // after which a sink is asked about what it was just sent, then later and later
	settleCheck = 250 * time.Millisecond // how often it is asked at least
	cursorEvery = time.Second            // how often, at most, a cursor costs a commit
	lastCursor  = 2 * time.Second        // for storing the cursor when the trail stops
)

// shipper sends one source's records to one sink, in order.
//
//	stored ≤ settled ≤ sent
//
// stored is durable, settled is what the sink vouches for, sent is what the
// sink was handed. A crash goes back to stored, a failing sink to settled.
type shipper struct {
	trail *Trail
	sink  Sink
	wake  chan struct{}

	// Owned by run.
	known    bool // stored has been read
	stored   int64
	storedAt time.Time
	sent     int64
	pending  []sentBatch

	// The sink has lost records that it had settled, and gets them again.
	lacks atomic.Bool

	mu      sync.Mutex
	began   bool // the cursor was read
	settled int64
	oldest  time.Time     // event time of the oldest record that has not settled; zero for none
	failure error         // the last one, nil once records flow
	since   time.Time     // of the first failure in a row
	changed chan struct{} // closed and made anew when settled moves
	shipped time.Time     // when settled moved last since the start; zero for never
}

// sentBatch is what a Send has handed over.
type sentBatch struct {
	last   int64
	oldest time.Time
}

func newShipper(t *Trail, sink Sink) *shipper {
	return &shipper{trail: t, sink: sink, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

func (s *shipper) run(ctx context.Context) {
	defer s.storeLast(ctx)
	retry, check := newBackoff(), settleCheck
	for {
		before := s.sent
		moved, err := s.ship(ctx)
		if ctx.Err() != nil {
			return
		}
		idle := len(s.pending) == 0
		if s.sent > before {
			check = firstCheck
		}
		if moved || err == nil && idle {
			retry.reset()
			s.recovered()
		}
		pause, wake := s.trail.poll, s.wake
		switch {
		case err != nil:
			pause, wake = retry.next(), nil // a failing sink is not tried more often by a busy server
			s.failed(err, pause)
		case !idle:
			pause, check = min(pause, check), min(2*check, settleCheck)
		case s.settled > s.stored:
			pause = min(pause, cursorEvery)
		}
		if !wait(ctx, pause, wake) {
			return
		}
	}
}

// ship sends what there is, and takes note of what has settled; moved tells
// whether anything has. After an error the next call begins behind settled.
func (s *shipper) ship(ctx context.Context) (moved bool, err error) {
	if !s.known {
		cursor, err := s.trail.store.Cursor(ctx, s.sink.Name(), s.trail.source)
		if err != nil {
			return false, fmt.Errorf("read the cursor: %w", err)
		}
		s.known, s.stored, s.sent = true, cursor, cursor
		s.advance(cursor)
	}
	for {
		var records []Record
		if s.sent-s.settled < maxInFlight {
			if records, err = s.trail.store.Sequenced(ctx, s.trail.source, s.sent, s.trail.batch); err != nil {
				return moved, fmt.Errorf("read records after %d: %w", s.sent, err)
			}
		}
		if len(records) > 0 {
			if err := s.send(ctx, records); err != nil {
				return moved, err
			}
		}
		progress, err := s.settle()
		moved = moved || progress
		if err != nil {
			return moved, err
		}
		if err := s.store(ctx, cursorEvery); err != nil {
			return moved, err
		}
		if len(records) < s.trail.batch {
			return moved, nil
		}
	}
}

func (s *shipper) send(ctx context.Context, records []Record) error {
	if first := records[0].Seq; first != s.sent+1 {
		err := fmt.Errorf("the database has no record %d of %s: the next is %d", s.sent+1, s.trail.source, first)
		s.rewind()
		return err
	}
	s.note(records[0].Time)
	err := s.sink.Send(ctx, records)
	if behind, ok := errors.AsType[*Behind](err); ok && behind.After < s.sent {
		s.sent, s.pending = behind.After, nil
		s.lacks.Store(behind.After < s.settled)
		return err
	}
	if err != nil {
		s.rewind()
		return err
	}
	s.sent = records[len(records)-1].Seq
	s.pending = append(s.pending, sentBatch{last: s.sent, oldest: records[0].Time})
	return nil
}

// settle asks the sink what has settled.
func (s *shipper) settle() (moved bool, err error) {
	settled, err := s.sink.Settled()
	if err != nil {
		s.rewind()
		return false, err
	}
	settled = min(settled, s.sent)
	if settled >= s.settled {
		s.lacks.Store(false)
	}
	for len(s.pending) > 0 && s.pending[0].last <= settled {
		s.pending = s.pending[1:]
	}
	if settled <= s.settled {
		return false, nil
	}
	s.advance(settled)
	s.mu.Lock()
	s.shipped = time.Now()
	s.mu.Unlock()
	return true, nil
}

// store makes the cursor durable if it was stored longer ago than every. A
// cursor that lags costs duplicates after a crash, never a record.
func (s *shipper) store(ctx context.Context, every time.Duration) error {
	if s.settled <= s.stored || time.Since(s.storedAt) < every {
		return nil
	}
	if err := s.trail.store.SetCursor(ctx, s.sink.Name(), s.trail.source, s.settled); err != nil {
		return fmt.Errorf("store the cursor: %w", err)
	}
	s.stored, s.storedAt = s.settled, time.Now()
	return nil
}

func (s *shipper) storeLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCursor)
	defer cancel()
	if err := s.store(ctx, 0); err != nil {
		s.trail.logger.Warn("store the cursor of an audit sink", "sink", s.sink.Name(), "error", err)
	}
}

// rewind makes the next ship begin behind what has settled.
func (s *shipper) rewind() { s.sent, s.pending = s.settled, nil }

// advance publishes what has settled.
func (s *shipper) advance(settled int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled, s.oldest, s.began = settled, time.Time{}, true
	if len(s.pending) > 0 {
		s.oldest = s.pending[0].oldest
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.trail.reach.progress()
}

func (s *shipper) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// reached gives the seq up to which everything has settled.
func (s *shipper) reached() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}

// note remembers the event time of the oldest record on its way.
func (s *shipper) note(oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oldest.IsZero() {
		s.oldest = oldest
	}
}

func (s *shipper) failed(err error, pause time.Duration) {
	s.mu.Lock()
	first := s.failure == nil
	s.failure = err
	if first {
		s.since = time.Now()
	}
	s.mu.Unlock()
	if first {
		s.trail.logger.Warn("audit sink fails, records are kept", "sink", s.sink.Name(), "error", err, "retry_in", pause)
	} else {
		s.trail.logger.Debug("audit sink still fails", "sink", s.sink.Name(), "error", err, "retry_in", pause)
	}
}

func (s *shipper) recovered() {
	s.mu.Lock()
	failure, since := s.failure, s.since
	s.failure, s.since = nil, time.Time{}
	s.mu.Unlock()
	if failure != nil {
		s.trail.logger.Info("audit sink takes records again", "sink", s.sink.Name(), "failed_for", time.Since(since))
	}
}

// await waits until everything up to seq has settled.
func (s *shipper) await(ctx context.Context, seq int64) error {
	for {
		s.mu.Lock()
		settled, changed := s.settled, s.changed
		s.mu.Unlock()
		if settled >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-s.trail.stopped:
			return errStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *shipper) stats(head int64) SinkStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := SinkStats{Name: s.sink.Name(), Level: s.sink.Level(), Settled: s.settled, Backlog: max(head-s.settled, 0), Since: s.since, Shipped: s.shipped}
	if out.Backlog > 0 && !s.oldest.IsZero() {
		out.Oldest = max(time.Since(s.oldest), 0)
	}
	if s.failure != nil {
		out.Error = s.failure.Error()
	}
	return out
}

// wait returns after d or at a wake, and false when ctx is over.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return true
}
