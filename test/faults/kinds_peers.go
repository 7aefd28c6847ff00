package main

import (
	"context"
	"syscall"
	"time"
)

func logKilled(ctx context.Context, r *round) error {
	r.strike()
	r.log.Stop(syscall.SIGKILL)
	defer r.log.Start()
	pause(ctx, r.between(0, time.Second))
	return nil
}

func logAway(ctx context.Context, r *round) error {
	r.strike()
	r.log.Stop(syscall.SIGTERM)
	defer r.log.Start()
	pause(ctx, r.between(2*time.Second, 4*time.Second))
	return nil
}

func logFrozen(ctx context.Context, r *round) error {
	r.strike()
	r.log.Send(syscall.SIGSTOP)
	defer r.log.Send(syscall.SIGCONT)
	pause(ctx, r.between(500*time.Millisecond, 3*time.Second))
	return nil
}

func postgresKilled(ctx context.Context, r *round) error {
	r.strike()
	r.pg.signal(syscall.SIGKILL)
	<-r.pg.ended
	r.late(ctx)
	r.pg.start()
	return nil
}

func postgresFrozen(ctx context.Context, r *round) error {
	r.strike()
	r.pg.signal(syscall.SIGSTOP)
	defer r.pg.signal(syscall.SIGCONT)
	pause(ctx, r.between(500*time.Millisecond, 4*time.Second))
	return nil
}

func postgresCut(ctx context.Context, r *round) error {
	r.strike()
	for range 1 + r.random.IntN(3) {
		r.pg.cut()
		pause(ctx, r.between(10*time.Millisecond, 200*time.Millisecond))
	}
	return nil
}
