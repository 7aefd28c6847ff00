package main

import (
	"context"
	"time"
)

func netRefused(ctx context.Context, r *round) error {
	away := r.aimAtSome(ctx)
	r.strike()
	for _, h := range away {
		h.proxy.set(rule{refuse: true})
		h.proxy.reset()
	}
	pause(ctx, r.between(100*time.Millisecond, 2*time.Second))
	return nil
}

// request is how many bytes a piece has at least that holds a task: its
// envelope alone is longer.
const aTask = 800

// netDrop loses one request, or the answer to one: the next that is asked of a
// host, or the next that hands it a task.
func netDrop(loss func(least int) rule) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		least := choose(r, []int{1, aTask})
		before := map[*host]int64{}
		for _, h := range r.hosts {
			before[h] = h.proxy.cut.Load()
			h.proxy.set(loss(least))
		}
		eventually(ctx, 1500*time.Millisecond, func() bool {
			for _, h := range r.hosts {
				if h.proxy.cut.Load() > before[h] {
					r.strike()
					return true
				}
			}
			return false
		})
		return nil
	}
}

func netHalfOpen(from, to time.Duration) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		way := choose(r, []rule{{holdUp: true}, {holdDown: true}, {holdUp: true, holdDown: true}})
		held := r.aimAtSome(ctx)
		r.strike()
		for _, h := range held {
			h.proxy.set(way)
		}
		pause(ctx, r.between(from, to))
		return nil
	}
}

func netDelay(from, to, most time.Duration) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		slow := r.aimAtSome(ctx)
		each := r.between(from, to)
		r.strike()
		for _, h := range slow {
			h.proxy.set(rule{delay: each})
		}
		pause(ctx, most)
		return nil
	}
}

func netReset(ctx context.Context, r *round) error {
	h, _ := r.busy(ctx, time.Second)
	if h == nil {
		return nil
	}
	r.strike()
	for range 1 + r.random.IntN(4) {
		for _, h := range r.hosts {
			h.proxy.reset()
		}
		pause(ctx, r.between(20*time.Millisecond, 150*time.Millisecond))
	}
	return nil
}
