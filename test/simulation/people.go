package simulation

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/restart"
)

// press is somebody who presses something unasked; sometimes twice, or two
// things at once.
func (w *world) press() {
	if len(w.runs) == 0 {
		return
	}
	id := w.runs[w.rng.IntN(len(w.runs))]
	wish := []restart.Control{restart.ControlPause, restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort}[w.rng.IntN(4)]
	for range 1 + w.rng.IntN(2) {
		w.wish(id, wish)
	}
	if w.chance(3) {
		w.resume(id)
	}
}

func (w *world) wish(id string, wish restart.Control) {
	_, err := w.store.SetControl(context.Background(), id, wish, audit.Record{Action: audit.RunPauseRequested, Run: id})
	w.log("somebody presses %s on %s: %v", wish, id, restart.CodeOf(err))
	if err == nil {
		w.events++
		w.ledger.wished(id, wish)
	}
	w.nudgeOne(id)
}

// nudgeOne is the server at which somebody pressed: the others see it when they poll.
func (w *world) nudgeOne(id string) {
	s := w.servers[w.rng.IntN(len(w.servers))]
	if s.up() && !s.p.frozen {
		s.orch.Wake(id)
	}
}

// paused is told of each pause, and lets somebody come by and look.
func (w *world) paused(id string) {
	w.expect(id, w.between(time.Second, 40*time.Second))
}

// expect lets somebody stand before the run after a while.
func (w *world) expect(id string, d time.Duration) {
	w.expected[id]++
	w.after(d, func() {
		w.expected[id]--
		w.attendTo(id)
	})
}

// attendTo is a person in front of a paused run.
func (w *world) attendTo(id string) {
	r := w.run(id)
	if r.State != restart.RunPaused {
		return
	}
	switch w.ledger.visits[id]++; {
	case w.ledger.visits[id] > 8, w.chance(8):
		w.wish(id, restart.ControlAbort)
	case w.chance(10):
		return // leaves it as it is, for good
	default:
		w.resume(id)
	}
	if w.run(id).State == restart.RunPaused {
		w.expect(id, w.between(5*time.Second, 60*time.Second))
	}
}

// asks begins what somebody asks of a run, as package control does, without rights.
func (w *world) asks(id string) orchestrator.Wish {
	return orchestrator.Wish{Run: w.run(id), By: "boris", Origin: "cli", Now: began.Add(w.now), NewID: w.id}
}

// resume is somebody who presses resume; what he has to decide first, he decides
// first, as a rule.
func (w *world) resume(id string) {
	for _, t := range w.run(id).Undecided() {
		if w.chance(6) {
			continue // he does not look; it is refused then
		}
		w.decide(id, t)
	}
	change, err := w.asks(id).Resume()
	if err != nil {
		return
	}
	_, err = w.apply(change)
	w.log("somebody resumes %s: %v", id, restart.CodeOf(err))
	w.nudgeOne(id)
}

// decide is somebody who says what happened on a host; he may be wrong.
func (w *world) decide(id string, t restart.Task) {
	verdict := restart.Verdicts()[w.rng.IntN(len(restart.Verdicts()))]
	for range 1 + w.rng.IntN(2) { // twice, as a rule once
		change, err := w.asks(id).Decide(t.Host, verdict, "it has a new pid since noon")
		if err != nil || change == nil {
			continue
		}
		if _, err = w.apply(*change); err == nil && verdict == restart.VerdictAgain {
			w.ledger.again[t.ID] = true
		}
		w.log("somebody decides %s about %s: %v", verdict, t.Host, restart.CodeOf(err))
	}
	w.nudgeOne(id)
}
