package chat

import (
	"sync"
	"time"
)

const (
	mostAMinute = 20     // events of one account
	mostKnown   = 10_000 // accounts that are remembered
)

// passing is what becomes of an event of an account that sends many.
type passing int

const (
	passGood passing = iota
	passTell         // the first that is too many: it is told so
	passTold
)

// limits bounds what one account can have done.
type limits struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time
	seen  map[string]int
}

func (l *limits) pass(account string) passing {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.since) >= time.Minute || len(l.seen) >= mostKnown {
		l.since, l.seen = now, map[string]int{}
	}
	l.seen[account]++
	switch n := l.seen[account]; {
	case n <= mostAMinute:
		return passGood
	case n == mostAMinute+1:
		return passTell
	}
	return passTold
}
