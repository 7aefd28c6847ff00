package simulation

import (
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// witness sees what really happens on the hosts: it believes no database and no
// spool, and forgets nothing when something crashes.
type witness struct {
	w     *world
	begun map[string]int               // by task: how often its script was begun
	down  map[string]map[string]string // service → host → the task that has it down
	well  map[string]bool              // tasks that made their host healthy again
}

func newWitness(w *world) *witness {
	return &witness{w: w, begun: map[string]int{}, down: map[string]map[string]string{}, well: map[string]bool{}}
}

// executed is the moment at which a script begins: there is no way back.
func (x *witness) executed(m *machine, e protocol.Envelope) {
	w := x.w
	w.log("%s: EXECUTES %s of run %s", m.name, e.Task, e.Run)
	w.events++
	x.begun[e.Task]++
	if n := x.begun[e.Task]; n > 1 {
		w.violated("task %s was executed %d times on %s", e.Task, n, m.name)
	}
	r := w.run(e.Run)
	task, earlier := restart.Task{}, []restart.Task{}
	for _, t := range r.Tasks {
		switch {
		case t.ID == e.Task:
			task = t
		case t.Host == m.name && t.Attempt < e.Attempt:
			earlier = append(earlier, t)
		}
	}
	if task.ID == "" {
		w.violated("task %s was executed, and no run has it", e.Task)
	}
	switch task.State {
	case restart.TaskNotStarted, restart.TaskUnreachable, restart.TaskRefused, restart.TaskPlanned:
		w.violated("task %s was executed while it is called %s", e.Task, task.State)
	}
	for _, t := range earlier {
		if x.begun[t.ID] > 0 && !w.ledger.again[t.ID] {
			w.violated("attempt %d was executed on %s although attempt %d (%s) was", e.Attempt, m.name, t.Attempt, t.State)
		}
	}
	if w.ledger.intents[e.Task] == 0 {
		w.violated("task %s was executed without an intent in the trail", e.Task)
	}
	w.ledger.logged(r, "executed on")
	if other := x.down[e.Service][m.name]; other != "" {
		w.violated("%s began on %s while %s was at work on the same service there", e.Task, m.name, other)
	}
	x.countDown(m, e, r)
}

// countDown holds the run to its batch: so many hosts of the service are down
// at once, and no more. Hosts that the server has given up as unknown are for
// people, who have seen them.
func (x *witness) countDown(m *machine, e protocol.Envelope, r restart.Run) {
	down := x.down[e.Service]
	if down == nil {
		down = map[string]string{}
		x.down[e.Service] = down
	}
	down[m.name] = e.Task
	most := 0
	for _, n := range r.Plan.Batches {
		most = max(most, n)
	}
	var together []string
	for host, task := range down {
		if state, ok := x.stateOf(task); ok && state.Active() {
			together = append(together, host)
		}
	}
	if len(together) > most {
		x.w.violated("%d hosts of %s are down at once, the batches allow %d", len(together), e.Service, most)
	}
}

func (x *witness) stateOf(task string) (restart.TaskState, bool) {
	for _, id := range x.w.runs {
		for _, t := range x.w.run(id).Tasks {
			if t.ID == task {
				return t.State, true
			}
		}
	}
	return "", false
}

// healthy is the end of a task that did what it should.
func (x *witness) healthy(m *machine, task string) {
	x.well[task] = true
	x.up(m, task)
}

// stopped is the end of a supervisor, however it ended.
func (x *witness) stopped(m *machine, task string) { x.up(m, task) }

func (x *witness) up(m *machine, task string) {
	for _, down := range x.down {
		if down[m.name] == task {
			delete(down, m.name)
		}
	}
}

func (x *witness) isHealthy(m *machine) bool {
	for _, down := range x.down {
		if down[m.name] != "" {
			return false
		}
	}
	return !m.broken
}
