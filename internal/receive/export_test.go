package receive

import "context"

// NewLimiter gives the wait of a limiter.
func NewLimiter(rate float64) func(context.Context, int64) error {
	return (&limiter{rate: rate}).wait
}
