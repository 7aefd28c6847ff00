package simulation

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
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

// resume is package control's, without rights.
func (w *world) resume(id string) {
	r := w.run(id)
	if r.State != restart.RunPaused || r.Control == restart.ControlAbort || r.Control == restart.ControlForceAbort {
		return
	}
	for _, t := range r.Tasks {
		if t.State.Active() {
			return
		}
	}
	again := r.Again(began.Add(w.now))
	for i := range again {
		again[i].ID = w.id()
	}
	r.Tasks = append(r.Tasks, again...)
	none := restart.ControlNone
	_, err := w.apply(store.Change{
		RunID: id, At: began.Add(w.now), NewTasks: again, Hold: true,
		Run: &store.RunChange{From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning, Control: &none, Acknowledged: new(r.Failures()), ReleaseLease: true},
	})
	w.log("somebody resumes %s: %v", id, restart.CodeOf(err))
	w.nudgeOne(id)
}
