package simulation

import (
	"fmt"
	"io"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// History is what became of one seed.
type History struct {
	Seed       uint64
	Events     int    // messages, commits, executions, faults, and what people pressed
	Faults     int    // of them
	Sum        uint64 // of everything that happened, where a trace was asked for: the same seed gives the same
	Violations []string
	Runs       []restart.Run // as they are at the end
	Unknown    int           // tasks
	Executed   int           // scripts begun
}

// Walk lives through the history of a seed. What happens is written to trace
// line by line; nil = nobody reads it. It panics where the code under test does.
func Walk(seed uint64, trace io.Writer, coverage *Coverage) History {
	w := newWorld(seed, trace, coverage)
	defer w.end()
	faults := map[int]int{}
	for range w.plan.faults {
		faults[5+w.rng.IntN(w.plan.chaos)]++
	}
	presses := map[int]bool{}
	for range w.plan.people {
		presses[5+w.rng.IntN(w.plan.chaos)] = true
	}
	const most = 40_000 // steps: ten times what a long history takes
	for mended := time.Duration(-1); w.steps < most && len(w.violations) == 0; {
		switch {
		case w.calm:
			if w.settled(mended) {
				w.ledger.last()
				return w.history(seed)
			}
		case w.steps > w.plan.chaos || w.quiet():
			w.mend()
			mended = w.now
		}
		for range faults[w.steps] {
			if !w.calm {
				w.breakSomething()
			}
		}
		if presses[w.steps] && !w.calm {
			w.press()
		}
		if !w.step() {
			w.violated("nothing can ever happen again")
		}
	}
	if len(w.violations) == 0 {
		w.violated("%d steps, and it does not come to an end", w.steps)
	}
	return w.history(seed)
}

func (w *world) history(seed uint64) History {
	h := History{Seed: seed, Events: w.events, Faults: w.faults, Sum: w.sum, Violations: w.violations}
	for _, id := range w.runs {
		r := w.run(id)
		h.Runs = append(h.Runs, r)
		for _, t := range r.Tasks {
			if t.State == restart.TaskUnknown {
				h.Unknown++
			}
		}
	}
	for _, n := range w.physical.begun {
		h.Executed += n
	}
	return h
}

// quiet tells that every run is over: what breaks now breaks nothing.
func (w *world) quiet() bool {
	for _, id := range w.runs {
		if !w.run(id).State.Final() {
			return false
		}
	}
	return len(w.runs) == w.plan.runs
}

// settled tells that nothing is going to change any more: every run is over, or
// waits for a person who has left; no host has anything in hand, and no run has a
// lock that it is to give back. After half an hour it is what it is.
func (w *world) settled(mended time.Duration) bool {
	if w.now-mended > 30*time.Minute {
		return true
	}
	if len(w.runs) < w.plan.runs || w.now-mended < 70*time.Second {
		return false
	}
	for _, id := range w.runs {
		r := w.run(id)
		if r.State.Final() || r.State == restart.RunQueued && r.Control == restart.ControlNone && w.behindPaused(r) {
			continue
		}
		if r.State != restart.RunPaused || r.Control != restart.ControlNone || w.expected[id] > 0 {
			return false
		}
		for _, t := range r.Tasks {
			if t.State.Active() {
				return false
			}
		}
	}
	for _, m := range w.hosts {
		if m.agent == nil || len(m.sups) > 0 || len(m.agent.Active()) > 0 {
			return false
		}
	}
	return len(w.outside.left()) == 0 // else whoever gives back what was left has not come to it yet
}

// String is one line.
func (h History) String() string {
	return fmt.Sprintf("seed %d: %d events, %d faults, %d executed, %d unknown, sum %016x, violations %q", h.Seed, h.Events, h.Faults, h.Executed, h.Unknown, h.Sum, h.Violations)
}
