package audit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Fill says how full the spool is: what waits in the database for the log.
type Fill string

// The steps of filling. Nothing is ever dropped, whatever the step.
const (
	FillLow  Fill = "low"
	FillWarn Fill = "warn" // from 70 % on: said everywhere
	FillFull Fill = "full" // from 85 % on: no run starts, so that what is in hand has room for its outcomes
)

const (
	warnAt = 70 // percent
	fullAt = 85
	// hostRoom is what one host of a run is reckoned to need for its records, in
	// bytes: an intent and an outcome.
	hostRoom = 4 << 10
	// countedAnew is up to how many records the spool is added up as a whole.
	countedAnew = 20_000
)

// Standing is how the trail stands between requests and hosts.
type Standing struct {
	Level    Level         // what an intent must have before a host is touched
	Deadline time.Duration // how long that is waited for
	Late     time.Time     // since when the oldest record waits that is late: no host is touched; zero = none is
	Used     int64         // bytes that wait for the log
	Limit    int64         // bytes; 0 = nothing is shipped, and nothing waits
	Fill     Fill
}

// Percent is how much of the spool is used.
func (s Standing) Percent() int { return percent(s.Used, s.Limit) }

func percent(used, limit int64) int {
	if limit <= 0 {
		return 0
	}
	return int(min(used, 1<<50) * 100 / limit)
}

// Standing tells how the trail stands, from memory: every page asks.
func (t *Trail) Standing() Standing {
	out := Standing{Level: t.need.Level, Deadline: t.need.Deadline, Late: t.lateSince(), Fill: FillLow}
	if t.spool.level == "" {
		return out
	}
	out.Used, out.Limit = t.spool.used(), t.need.Limit
	out.Fill = fillOf(out.Used, out.Limit)
	return out
}

func fillOf(used, limit int64) Fill {
	switch p := percent(used, limit); {
	case p >= fullAt:
		return FillFull
	case p >= warnAt:
		return FillWarn
	}
	return FillLow
}

// Room tells whether there is room for the records of a run over so many hosts,
// beside those in hand: CodeAuditBacklog where there is not. A run past the
// wait for the log may use what is kept for outcomes, and no more than there is;
// while the log takes records it may start wherever any other may.
func (t *Trail) Room(inHand, hosts int, past bool) error {
	if t.spool.level == "" {
		return nil
	}
	used := t.spool.used() + int64(inHand)*hostRoom
	if used < t.need.Limit*fullAt/100 && (!past || t.Late() == nil) {
		return nil
	}
	if past && used+int64(hosts)*hostRoom < t.need.Limit {
		return nil
	}
	return t.need.backlog("the spool of the audit trail is full: %s of %s wait for the log, with what %d hosts in hand still need", size(used), size(t.need.Limit), inHand)
}

func size(n int64) string {
	if n < 10_000_000 {
		return fmt.Sprintf("%d KB", n/1000)
	}
	return fmt.Sprintf("%d MB", n/1_000_000)
}

// spool adds up what waits in the database for the log.
type spool struct {
	level Level // what has it waits no more; "" = nothing is shipped

	mu    sync.Mutex
	last  int64 // seq of the chain's head, as the sequencer knows it
	told  bool  // it has said so
	after int64 // the sum is of the records after this seq, up to upTo
	upTo  int64
	bytes int64
	known bool
	fill  Fill
}

func newSpool(need Need, sinks []Sink) *spool {
	s := &spool{fill: FillLow}
	for _, sink := range sinks {
		if sink.Level().AtLeast(LevelSent) {
			s.level = LevelSent
		}
	}
	if need.waits() {
		s.level = need.Level
	}
	return s
}

func (s *spool) used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// placed tells where the chain's head is.
func (s *spool) placed(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.told = max(s.last, seq), true
}

// measure keeps the sum until ctx is over.
func (t *Trail) measure(ctx context.Context) {
	if t.spool.level == "" {
		return
	}
	failed := false
	for {
		err := t.addUp(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failed {
			t.logger.Warn("add up what waits for the log", "error", err)
		}
		failed = err != nil
		t.tellFill()
		if !wait(ctx, t.poll, nil) {
			return
		}
	}
}

// addUp brings the sum to where the chain and the sinks are now. The whole is
// added up while it is little, and only what has come and gone once it is much.
func (t *Trail) addUp(ctx context.Context) error {
	s := t.spool
	settled := bestSettled(t.shippers, s.level)
	s.mu.Lock()
	last, after, upTo, bytes, known, told := s.last, s.after, s.upTo, s.bytes, s.known, s.told
	s.mu.Unlock()
	if !told || !cursorsRead(t.shippers) {
		return nil // a long history would be added up that nobody waits for
	}
	settled = min(settled, last)
	sum := func(after, upTo int64) (int64, error) {
		if after >= upTo {
			return 0, nil
		}
		return t.ledger.AuditBytes(ctx, t.source, after, upTo)
	}
	switch {
	case known && settled == after && last == upTo:
		return nil
	case !known || last-settled <= countedAnew:
		whole, err := sum(settled, last)
		if err != nil {
			return err
		}
		bytes = whole
	default:
		come, err := sum(upTo, last)
		if err != nil {
			return err
		}
		gone, err := sum(after, settled)
		if err != nil {
			return err
		}
		bytes = max(bytes+come-gone, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after, s.upTo, s.bytes, s.known = settled, last, bytes, true
	return nil
}

// cursorsRead tells whether every sink's cursor was read since the start.
func cursorsRead(shippers []*shipper) bool {
	for _, s := range shippers {
		if !s.begun() {
			return false
		}
	}
	return true
}

// tellFill says once that the spool fills, or has room again.
func (t *Trail) tellFill() {
	used := t.spool.used()
	now := fillOf(used, t.need.Limit)
	before := t.spool.fill // measure's alone
	if now == before {
		return
	}
	t.spool.fill = now
	args := []any{"fill", now, "waiting", restart.Bytes(used), "limit", restart.Bytes(t.need.Limit)}
	switch now {
	case FillLow:
		t.logger.Info("what waits for the log has room again", args...)
	case FillWarn:
		t.logger.Warn("the spool of the audit trail fills up: does the log server take records?", args...)
	case FillFull:
		t.logger.Error("the spool of the audit trail is full: no run starts until the log server takes records", args...)
	}
}
