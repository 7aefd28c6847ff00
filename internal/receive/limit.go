package receive

import (
	"context"
	"sync"
	"time"
)

// burst is how much of its rate a source may use at once.
const burst = time.Second

// limiter holds one source to a rate, by making it wait.
type limiter struct {
	rate float64 // bytes a second

	mu   sync.Mutex
	paid time.Time // when all that was let through is paid for
}

// wait returns when so many bytes may come, or with the error of ctx.
func (l *limiter) wait(ctx context.Context, bytes int64) error {
	l.mu.Lock()
	now := time.Now()
	if l.paid.Before(now) {
		l.paid = now
	}
	l.paid = l.paid.Add(time.Duration(float64(bytes) / l.rate * float64(time.Second)))
	pause := l.paid.Sub(now) - burst
	l.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
