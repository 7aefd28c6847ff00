package receive

import "context"

// NewLimiter gives the wait of a limiter.
func NewLimiter(rate float64) func(context.Context, int64) error {
	return (&limiter{rate: rate}).wait
}

// Standing gives how many alarms of a source nobody has taken away.
func Standing(s *Store, source string) int { return s.sources[source].stats().AlarmCount }
