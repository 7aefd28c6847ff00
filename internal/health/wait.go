package health

import (
	"context"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Wait takes samples of a service until it is healthy: see Checker.Wait.
func Wait(ctx context.Context, h restart.Health, baseline *Process, run Runner, report func(protocol.HealthSample)) error {
	return New(Config{Health: h, Baseline: baseline, Run: run}).Wait(ctx, report)
}

// Wait takes a sample at once and then every Interval, and reports each, until
// all checks have held for HealthyFor without a break and with the same process
// throughout. A HealthyFor of 0 asks for one good sample. A sample that takes
// longer than the interval is followed by the next at once.
//
// When the deadline is over first, the error (CodeUnhealthy) says what did not
// hold at the last sample and for how long. When ctx ends first, its cause is
// returned. Without a baseline there is nothing that a process could be newer
// than, so a new_process check then gives CodeInvalid at once.
func (c *Checker) Wait(ctx context.Context, report func(protocol.HealthSample)) error {
	if c.observe != nil && c.baseline == nil {
		return restart.Errorf(restart.CodeInvalid, "whether the process is new can't be told: the one before the restart was not observed")
	}
	deadline, interval := c.health.Deadline.Std(), c.health.Interval.Std()
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	if interval <= 0 {
		interval = DefaultInterval
	}
	end := time.Now().Add(deadline)
	until, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	row := streak{need: c.health.HealthyFor.Std()}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-until.Done():
		case <-next.C:
		}
		begin := time.Now()
		if until.Err() != nil || !begin.Before(end) {
			break
		}
		sample, process := c.sample(until)
		if !sample.Healthy && until.Err() != nil && row.samples > 0 {
			break // the deadline cut this sample short: the one before says more
		}
		done := row.add(&sample, process, begin, time.Now())
		if report != nil {
			report(sample)
		}
		if done {
			return nil
		}
		next.Reset(max(0, interval-time.Since(begin)))
	}
	if ctx.Err() != nil {
		return fmt.Errorf("wait for health: %w", context.Cause(ctx))
	}
	return restart.Errorf(restart.CodeUnhealthy, "not healthy within %s: %s", restart.Span(deadline), row.verdict(time.Now()))
}

// streak judges a row of samples. It only ever looks at what it is given.
type streak struct {
	need    time.Duration // how long they must hold
	samples int
	good    bool      // the last sample was healthy
	since   time.Time // when the last sample's state began: the end of its first sample where good
	process Process   // the new process that must stay
	changes int       // how often it was replaced by yet another one
	detail  string    // of the last sample
}

// add takes the next sample, that was taken from begin to end, and tells
// whether they have held long enough. Only the time that lies between samples
// for certain counts: from the end of the first to the begin of this one. A
// sample that finds yet another process says so in its detail.
func (s *streak) add(sample *protocol.HealthSample, process Process, begin, end time.Time) (done bool) {
	replaced := s.process.Exists() && process.Exists() && !process.SameAs(s.process)
	if replaced {
		s.changes++
		sample.Detail = sentence(fmt.Sprintf("%s; it replaced %s, which was new as well", sample.Detail, s.process))
	}
	if process.Exists() {
		s.process = process
	}
	switch {
	case !sample.Healthy:
		if s.good || s.samples == 0 {
			s.since = begin
		}
	case !s.good || replaced:
		s.since = end
	}
	s.samples++
	s.good, s.detail = sample.Healthy, sample.Detail
	return s.good && max(0, begin.Sub(s.since)) >= s.need
}

// verdict says why it is not enough at now.
func (s *streak) verdict(now time.Time) string {
	var v string
	switch lasted := now.Sub(s.since).Round(100 * time.Millisecond); {
	case s.samples == 0:
		return "there was no time for a single look"
	case s.good:
		v = fmt.Sprintf("it held for the last %s only, and must hold for %s (%s)", restart.Span(lasted), restart.Span(s.need), s.detail)
	default:
		v = fmt.Sprintf("for the last %s: %s", restart.Span(lasted), s.detail)
	}
	if s.changes > 0 {
		v += fmt.Sprintf("; the process was replaced %d times since the restart, as if it crashed again and again", s.changes)
	}
	return v
}
