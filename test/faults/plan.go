package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// injection is one entry of a plan.
type injection struct {
	n    int // from 1
	seed uint64
	kind *kind
}

// usual is about how long an injection takes that has nothing to wait for.
const (
	usualSQLite   = 1800 * time.Millisecond
	usualPostgres = 4500 * time.Millisecond // leases have to run out
)

// plan draws n injections from a seed and deals them out to the lanes, so that
// all of them have about as long to work: the same seed gives the same plan.
// Kinds of weight 0 come once each where the run is long enough for them.
func plan(seed uint64, n int, from []*kind, lanes []laneKind) [][]injection {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be had again
	total := 0
	var order []*kind // rare and long ones first: they are begun early
	var often []*kind
	for _, k := range from {
		if k.weight > 0 {
			total += k.weight
			often = append(often, k)
		} else {
			for range n / longEvery {
				order = append(order, k)
			}
		}
	}
	if len(often) == 0 {
		often, total = from, len(from)
	}
	var drawn []*kind
	for i := range max(n-len(order), 0) {
		if i < len(often) {
			drawn = append(drawn, often[i]) // each once, as far as they go
			continue
		}
		at := random.IntN(total)
		for _, k := range often {
			if at -= max(k.weight, 1); at < 0 {
				drawn = append(drawn, k)
				break
			}
		}
	}
	random.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	if len(drawn) == 0 && len(order) == 0 {
		return make([][]injection, len(lanes))
	}
	out := make([][]injection, len(lanes))
	busy := make([]time.Duration, len(lanes))
	for i, k := range append(order, drawn...) {
		if i == n {
			break
		}
		seed := random.Uint64()
		best := -1
		for at := range lanes {
			if k.fits(lanes[at]) && (best < 0 || busy[at]+lanes[at].usual() < busy[best]+lanes[best].usual()) {
				best = at
			}
		}
		if best < 0 {
			continue // main has left these out
		}
		busy[best] += lanes[best].usual() + k.lasts
		out[best] = append(out[best], injection{n: i + 1, seed: seed, kind: k})
	}
	for at := range out { // a long one is not always the first
		slices.SortStableFunc(out[at], func(a, b injection) int { return int(a.seed%1000) - int(b.seed%1000) })
	}
	return out
}

// longEvery is how many injections a run has for each of every long kind.
const longEvery = 300

func (l laneKind) usual() time.Duration {
	if l.postgres() {
		return usualPostgres
	}
	return usualSQLite
}
