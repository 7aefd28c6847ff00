package simulation

import "time"

// breakage is a way to break something in the world, which mends itself, or is
// mended, after a while.
type breakage struct {
	name string
	do   func(w *world) bool // false = there was nothing to break
}

func (w *world) anyServer() *server { return w.servers[w.rng.IntN(len(w.servers))] }

func (w *world) anyHost() *machine { return w.hosts[w.rng.IntN(len(w.hosts))] }

// busyHost prefers a host that something is being done on.
func (w *world) busyHost() *machine {
	for range 6 {
		if m := w.anyHost(); len(m.sups) > 0 || m.agent != nil && len(m.agent.Active()) > 0 {
			return m
		}
	}
	return w.anyHost()
}

// breakages is the one table of what breaks beside messages.
var breakages = []breakage{
	{"server killed", func(w *world) bool {
		s := w.anyServer()
		if !s.up() {
			return false
		}
		s.kill()
		w.after(w.between(0, 30*time.Second), s.start)
		return true
	}},
	{"server stopped", func(w *world) bool {
		s := w.anyServer()
		if !s.up() {
			return false
		}
		s.terminate()
		w.after(w.between(5*time.Second, 40*time.Second), func() {
			s.kill()
			s.start()
		})
		return true
	}},
	{"server frozen", func(w *world) bool {
		s := w.anyServer()
		if !s.up() || s.p.frozen {
			return false
		}
		s.freeze(w.between(100*time.Millisecond, 70*time.Second))
		return true
	}},
	{"agent killed", func(w *world) bool {
		m := w.busyHost()
		if m.agent == nil {
			return false
		}
		m.killAgent()
		w.after(w.between(0, 20*time.Second), m.startAgent)
		return true
	}},
	{"supervisor killed", func(w *world) bool {
		m := w.busyHost()
		for _, id := range m.supervised() {
			m.sups[id].kill()
			return true
		}
		return false
	}},
	{"agent and server killed", func(w *world) bool {
		m, s := w.busyHost(), w.anyServer()
		if m.agent == nil || !s.up() {
			return false
		}
		m.killAgent()
		s.kill()
		w.after(w.between(0, 20*time.Second), m.startAgent)
		w.after(w.between(0, 20*time.Second), s.start)
		return true
	}},
	{"power cut", func(w *world) bool {
		m := w.busyHost()
		if !m.up {
			return false
		}
		m.cutPower()
		return true
	}},
	{"crash at a disk operation", func(w *world) bool {
		m := w.anyHost()
		m.crash, m.power = 1+w.rng.IntN(14), false
		w.after(w.between(0, 20*time.Second), m.startAgent)
		w.after(w.between(20*time.Second, 40*time.Second), m.startAgent)
		return true
	}},
	{"power cut at a disk operation", func(w *world) bool {
		m := w.anyHost()
		m.crash, m.power = 1+w.rng.IntN(14), true
		return true
	}},
	{"disk full", func(w *world) bool {
		m := w.anyHost()
		m.sick = true
		w.after(w.between(100*time.Millisecond, 30*time.Second), func() { m.sick = false })
		return true
	}},
	{"partition", func(w *world) bool {
		s, m := w.anyServer(), w.busyHost()
		if !s.up() {
			return false
		}
		l, way := s.links[m.name], w.rng.IntN(3)
		l.deaf, l.mute = way != 0, way != 1
		w.after(w.between(500*time.Millisecond, 90*time.Second), func() { l.deaf, l.mute = false, false })
		return true
	}},
	{"host cut off", func(w *world) bool {
		m := w.busyHost()
		var all []*link
		for _, s := range w.servers {
			if s.up() {
				all = append(all, s.links[m.name])
			}
		}
		for _, l := range all {
			l.deaf, l.mute = true, true
		}
		w.after(w.between(500*time.Millisecond, 120*time.Second), func() {
			for _, l := range all {
				l.deaf, l.mute = false, false
			}
		})
		return len(all) > 0
	}},
	{"host's clock jumps", func(w *world) bool {
		m := w.busyHost()
		m.skew = w.jump()
		w.after(w.between(time.Second, 60*time.Second), func() { m.skew = 0 })
		return true
	}},
	{"server's clock jumps", func(w *world) bool {
		s := w.anyServer()
		s.skew = w.jump()
		w.after(w.between(time.Second, 60*time.Second), func() { s.skew = 0 })
		return true
	}},
	{"database in trouble", func(w *world) bool {
		w.dbTrouble = 1 + w.rng.IntN(12)
		return true
	}},
	{"log away", func(w *world) bool {
		if w.trail.away {
			return false
		}
		w.trail.leave(w.between(500*time.Millisecond, 90*time.Second))
		return true
	}},
	{"lock lost, or its keeper", func(w *world) bool {
		if !w.plan.shares || len(w.runs) == 0 {
			return false
		}
		if w.chance(3) {
			return w.outside.leave(w.between(100*time.Millisecond, 60*time.Second))
		}
		return w.outside.rob(w.run(w.runs[w.rng.IntN(len(w.runs))]).Service, w.between(100*time.Millisecond, 60*time.Second))
	}},
	{"rights lost", func(w *world) bool {
		if w.noRights {
			return false
		}
		w.noRights, w.ledger.revoked = true, w.now
		w.after(w.between(time.Second, 30*time.Second), func() { w.noRights, w.ledger.revoked = false, 0 })
		return true
	}},
}

// jump is how far a clock is off: a little, more than is allowed, an hour.
func (w *world) jump() time.Duration {
	d := []time.Duration{5 * time.Second, 29 * time.Second, 31 * time.Second, 70 * time.Second, time.Hour}[w.rng.IntN(5)]
	if w.chance(2) {
		return -d
	}
	return d
}

// swarm draws the kinds of faults of one history: a few of all. What needs one
// kind again and again is met sooner than where everything breaks a little.
func (w *world) swarm() []breakage {
	var out []breakage
	for _, b := range breakages {
		if w.chance(3) {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		return breakages
	}
	return out
}

// breakSomething does one fault; some worlds have nothing left to break.
func (w *world) breakSomething() {
	for range 8 {
		b := w.plan.kinds[w.rng.IntN(len(w.plan.kinds))]
		if stations := w.stations(); b.do(w) {
			w.log("FAULT: %s", b.name)
			w.faults++
			w.events++
			w.coverage.met(b.name, stations)
			return
		}
	}
}

// mend ends whatever is broken.
func (w *world) mend() {
	w.log("everything is mended")
	w.calm, w.dbTrouble, w.noRights, w.ledger.revoked = true, 0, false, 0
	w.trail.back()
	w.outside.clear()
	for _, m := range w.hosts {
		m.sick, m.crash, m.power, m.skew, m.failing, m.broken = false, 0, false, 0, false, false
		m.startAgent()
		m.attend()
	}
	for _, s := range w.servers {
		s.skew = 0
		if s.up() {
			if s.p.frozen {
				s.p.frozen, s.p.thawed = false, w.now
				w.trail.soon()
			}
			for _, l := range s.links {
				l.deaf, l.mute = false, false
			}
		}
		s.start()
	}
}
