package orchestrator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// slowDumps takes dumps in as slowly as it is told to.
type slowDumps struct {
	fetch func(ctx context.Context, n int) error

	mu     sync.Mutex
	stored map[int]string // why there are no bytes, by number; "" = there are
}

func (s *slowDumps) Kept(context.Context, string) ([]int, error) { return nil, nil }

func (s *slowDumps) Before(context.Context, restart.Run) {}

func (s *slowDumps) Fetch(ctx context.Context, _ restart.Run, _ restart.Task, _ restart.Host, r protocol.DumpReport) error {
	if r.Stored > 0 {
		if err := s.fetch(ctx, r.N); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[r.N] = r.Error
	return ctx.Err()
}

// after takes a dump in within so much time.
func after(d time.Duration) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestDumpsThatAreLate: an outcome waits for dumps for as long as this server
// takes any in, and no dump that a host has told of goes without a trace.
func TestDumpsThatAreLate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fetch  func(ctx context.Context, n int) error
		others time.Duration // for how long those of other tasks arrive
		forced bool          // a person forces the end
		leaves bool          // the server stops
		want   map[int]string
		waits  time.Duration
	}{
		"in time":           {fetch: after(4 * time.Second), want: map[int]string{1: "", 2: "", 3: ""}, waits: 8 * time.Second},
		"behind others":     {fetch: after(25 * time.Second), others: time.Minute, want: map[int]string{1: "", 2: "", 3: ""}, waits: 50 * time.Second},
		"never":             {fetch: after(time.Hour), want: map[int]string{1: noTimeToFetch, 2: noTimeToFetch, 3: noTimeToFetch}, waits: 10 * time.Second},
		"never, and others": {fetch: after(time.Hour), others: time.Hour, want: map[int]string{1: notFetched, 2: notFetched, 3: noTimeToFetch}, waits: 2 * time.Minute},
		"one of three": {fetch: func(ctx context.Context, n int) error {
			if n == 2 {
				return after(time.Hour)(ctx, n)
			}
			return nil
		}, want: map[int]string{1: "", 2: noTimeToFetch, 3: ""}, waits: 10 * time.Second},
		"it breaks off":   {fetch: func(context.Context, int) error { return errors.New("reset by peer") }, want: map[int]string{1: notFetched, 2: notFetched, 3: notFetched}, waits: 4 * time.Second},
		"by force":        {fetch: after(time.Hour), forced: true, want: map[int]string{1: noTimeToFetch, 2: noTimeToFetch, 3: noTimeToFetch}},
		"a server leaves": {fetch: after(time.Hour), leaves: true, want: map[int]string{}}, // the next one fetches them
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dumps := &slowDumps{fetch: c.fetch, stored: map[int]string{}}
				o := New(Config{Dumps: dumps})
				d := &driver{l: &loop{o: o}, log: slog.New(slog.DiscardHandler)}
				walk, leave := context.WithCancel(t.Context())
				defer leave()
				var others sync.WaitGroup
				others.Go(func() {
					for began := time.Now(); time.Since(began) < c.others && after(8*time.Second)(walk, 0) == nil; {
						o.arrived.Add(1)
					}
				})
				k := d.keepDumps(walk)
				k.look(protocol.TaskStatus{Dumps: []protocol.DumpReport{{N: 1, Stored: 1}, {N: 2, Stored: 1}, {N: 3, Stored: 1}}})
				if c.leaves {
					time.AfterFunc(time.Second, leave)
				}
				began := time.Now()
				k.drain(func() bool { return c.forced })
				if waited := time.Since(began); !c.leaves && waited != c.waits {
					t.Errorf("the outcome waited for %s, want %s", waited, c.waits)
				}
				k.stop()
				k.stop()
				leave()
				others.Wait()
				if len(dumps.stored) != len(c.want) {
					t.Errorf("stored: %v", dumps.stored)
				}
				for n, why := range c.want {
					if got, there := dumps.stored[n]; !there || got != why {
						t.Errorf("dump %d: %q (%t), want %q", n, got, there, why)
					}
				}
			})
		})
	}
}
