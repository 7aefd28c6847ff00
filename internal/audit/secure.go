package audit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Ledger is what the trail needs of the database to know how far records have
// come, those of other servers too. It is needed where more than the database's
// commit is waited for, or anything is shipped.
type Ledger interface {
	// Elsewhere gives what other sources than this one have recorded of a run
	// since its newest intent, that record included: see Record.Intent.
	Elsewhere(ctx context.Context, run, source string) ([]Part, error)
	// Cursors gives the seq up to which each sink has everything of source, by
	// the sink's name.
	Cursors(ctx context.Context, source string) (map[string]int64, error)
	// AuditBytes adds up the canonical bytes of source's records from the seq
	// after the first given to the second.
	AuditBytes(ctx context.Context, source string, after, upTo int64) (int64, error)
}

// Part is what one source has recorded of a run.
type Part struct {
	Source   string
	Last     int64 // the highest seq among it, 0 for none
	Unplaced bool  // some of it has no place in the trail yet
}

// Intent tells whether r is what must be in the log before a host is touched:
// a run's start, or that it goes on, with the hosts that it is to touch.
func (r *Record) Intent() bool {
	return r.Outcome == "" && (r.Action == RunStarted || r.Action == RunResumed)
}

// elsewherePoll is how often the cursors of another server are looked at: it
// stores them once a second.
const elsewherePoll = 250 * time.Millisecond

// Secure waits until the newest intent of a run, and all that was recorded of
// it since and before this call, has the level that is needed; nothing is
// waited for where that is LevelSpool. It does not have it within the deadline:
// CodeAuditBacklog. Any other error says that it could not be found out.
//
// What this server has recorded is followed in its own chain. A run that goes
// on here may have been resumed at another server, or taken from one that is
// dead: what that one has recorded counts by the cursors that it has stored, so
// that a record which it took with it keeps the run from its hosts.
func (t *Trail) Secure(ctx context.Context, run string) error {
	if !t.need.waits() {
		return nil
	}
	late, cancel := context.WithTimeout(ctx, t.need.Deadline)
	defer cancel()
	err := t.secureHere(late)
	if err == nil {
		err = t.secureElsewhere(late, run)
	}
	if err != nil && late.Err() != nil && ctx.Err() == nil && !errors.Is(err, errStopped) {
		if other, ok := errors.AsType[*unshipped](err); ok {
			return t.need.backlog("the log has not taken the intent of this run within %s: server %s has recorded it, and not shipped it", restart.Span(t.need.Deadline), other.source)
		}
		return t.need.backlog("the log has not taken the intent of this run within %s", restart.Span(t.need.Deadline))
	}
	return err
}

// secureHere waits for everything that this server has committed.
func (t *Trail) secureHere(ctx context.Context) error {
	head, err := t.pass(ctx)
	if err != nil {
		return err
	}
	for {
		settled, moved := t.reach.settled(t.shippers)
		if settled >= head.Seq {
			return nil
		}
		select {
		case <-moved:
		case <-t.stopped:
			return errStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unshipped is why a record of another server keeps a run waiting.
type unshipped struct {
	source string
	err    error
}

func (u *unshipped) Error() string { return "records of " + u.source + ": " + u.err.Error() }
func (u *unshipped) Unwrap() error { return u.err }

// secureElsewhere waits for what other servers have committed of the run.
func (t *Trail) secureElsewhere(ctx context.Context, run string) error {
	for {
		source, err := t.owes(ctx, run)
		if err != nil || source == "" {
			return err
		}
		select {
		case <-time.After(elsewherePoll):
		case <-t.stopped:
			return errStopped
		case <-ctx.Done():
			return &unshipped{source, ctx.Err()}
		}
	}
}

// owes names a source that has not shipped what it has recorded of a run; "" =
// none is.
func (t *Trail) owes(ctx context.Context, run string) (string, error) {
	parts, err := t.ledger.Elsewhere(ctx, run, t.source)
	if err != nil {
		return "", err
	}
	for _, p := range parts {
		cursors, err := t.ledger.Cursors(ctx, p.Source)
		if err != nil {
			return "", err
		}
		if p.Unplaced || p.Last > reachedBy(cursors, t.need.Level) {
			return p.Source, nil
		}
	}
	return "", nil
}

// reachedBy gives how far a chain has come at a level, by its sinks' cursors.
func reachedBy(cursors map[string]int64, level Level) int64 {
	var best int64
	for sink, seq := range cursors {
		if levelOf(sink).AtLeast(level) {
			best = max(best, seq)
		}
	}
	return best
}

// Late tells why no further host may be touched: something that this server has
// recorded has waited for its level longer than the deadline. nil = nothing
// has. Otherwise CodeAuditBacklog.
func (t *Trail) Late() error {
	since := t.lateSince()
	if since.IsZero() {
		return nil
	}
	return t.need.backlog("the log takes no records: what was recorded %s ago is still here alone", restart.Span(time.Since(since).Round(time.Second)))
}

// lateSince is since when the oldest record waits that is late; zero = none is.
func (t *Trail) lateSince() time.Time {
	if !t.need.waits() {
		return time.Time{}
	}
	oldest := t.reach.oldest(t.shippers)
	if oldest.IsZero() || time.Since(oldest) <= t.need.Deadline {
		return time.Time{}
	}
	return oldest
}

// reach follows how far the chain has come at the level that is needed.
type reach struct {
	level Level
	step  time.Duration // marks nearer than this to each other are one

	mu      sync.Mutex
	moved   chan struct{} // closed and made anew when a sink has settled more
	marks   []milestone   // of records that have a place and had not the level yet, by seq
	failing time.Time     // since when records get no place; zero = they do
}

// milestone says that the records up to seq, from the mark before on, were not
// placed before at: they wait for their level since then, or a step later.
type milestone struct {
	at  time.Time
	seq int64
}

// mostMarks bounds them. They are of use for one deadline, and a step is a
// small part of that.
const mostMarks = 64

func newReach(need Need) *reach {
	return &reach{level: need.Level, step: need.Deadline / 16, moved: make(chan struct{})}
}

// settled gives the seq up to which a sink of the level, or a stronger one, has
// everything, and what is closed when that may have changed.
func (r *reach) settled(shippers []*shipper) (int64, <-chan struct{}) {
	r.mu.Lock()
	moved := r.moved // before the sinks are asked, so that nothing is missed
	r.mu.Unlock()
	return bestSettled(shippers, r.level), moved
}

// bestSettled gives the seq up to which one sink at least of that level, or a
// stronger one, has everything.
func bestSettled(shippers []*shipper, level Level) int64 {
	var best int64
	for _, s := range shippers {
		if s.sink.Level().AtLeast(level) {
			best = max(best, s.reached())
		}
	}
	return best
}

// progress tells that a sink has settled more.
func (r *reach) progress() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.moved)
	r.moved = make(chan struct{})
}

// placed tells that everything which was committed before began has a place,
// and seq is the last of them.
func (r *reach) placed(shippers []*shipper, began time.Time, seq int64) {
	settled := bestSettled(shippers, r.level)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune(settled)
	if !r.failing.IsZero() {
		began = r.failing
	}
	last := len(r.marks) - 1
	switch {
	case last >= 0 && seq <= r.marks[last].seq:
	case last >= 0 && (len(r.marks) == mostMarks || began.Sub(r.marks[last].at) < r.step):
		r.marks[last].seq = seq
	default:
		r.marks = append(r.marks, milestone{began, seq})
	}
}

// prune forgets the marks of what has its level.
func (r *reach) prune(settled int64) {
	for len(r.marks) > 0 && r.marks[0].seq <= settled {
		r.marks = r.marks[1:]
	}
}

// stuck tells that records get no place.
func (r *reach) stuck(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failing.IsZero() {
		r.failing = at
	}
}

// unstuck tells that they get one, and have been told of.
func (r *reach) unstuck() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failing = time.Time{}
}

// oldest is since when the oldest record waits; zero = none does.
func (r *reach) oldest(shippers []*shipper) time.Time {
	settled := bestSettled(shippers, r.level)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune(settled)
	if len(r.marks) > 0 {
		return r.marks[0].at
	}
	return r.failing
}
