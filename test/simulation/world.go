package simulation

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/memory"
)

// plan is what a seed draws before its history begins.
type plan struct {
	servers, hosts, runs int
	autoResume           bool
	bad                  int // of a hundred messages, how many do not simply arrive
	faults               int
	kinds                []breakage
	people               int // how often somebody presses something unasked
	chaos                int // steps until everything is mended
	scriptTime           time.Duration
	healthTime           time.Duration
	lease                time.Duration
	shares               bool // runs share a lock with others
	lenient              bool // and go on without where nobody can say who has it
}

// String leaves the functions out.
func (p plan) String() string {
	var kinds []string
	for _, b := range p.kinds {
		kinds = append(kinds, b.name)
	}
	return fmt.Sprintf("%d servers, %d hosts, %d runs, auto_resume %t, leases of %s, %d %% of messages go astray, %d faults within %d steps of: %s",
		p.servers, p.hosts, p.runs, p.autoResume, p.lease, p.bad, p.faults, p.chaos, strings.Join(kinds, ", "))
}

// world is one history.
type world struct {
	*loop
	plan     plan
	store    *memory.Store
	servers  []*server
	machines map[string]*machine
	hosts    []*machine
	runs     []string
	key      ed25519.PrivateKey
	trusted  map[string]ed25519.PublicKey

	calm      bool     // nothing is broken any more
	asking    *process // whose call is in the database now
	dbTrouble int      // calls to come that may fail
	noRights  bool
	ids       int
	expected  map[string]int // by run: people who will come by

	physical *witness
	ledger   *ledger
	trail    *trail
	outside  *outside
	coverage *Coverage
	faults   int // met in this history
	events   int // messages, commits, faults and what people pressed

	violations []string
}

// signing is the one key of all histories: what it signs is not the question.
var signing = ed25519.NewKeyFromSeed([]byte("a seed of the simulation's own.."))

// id gives an id, as restart.NewID would, that the seed decides.
func (w *world) id() string {
	w.ids++
	return fmt.Sprintf("01%024d", w.ids)
}

func newWorld(seed uint64, trace io.Writer, coverage *Coverage) *world {
	w := &world{loop: newLoop(seed), machines: map[string]*machine{}, key: signing, coverage: coverage, expected: map[string]int{}}
	if w.trace = trace; trace != nil {
		w.sum = 1
	}
	w.trusted = map[string]ed25519.PublicKey{protocol.KeyID(signing.Public().(ed25519.PublicKey)): signing.Public().(ed25519.PublicKey)}
	w.store = memory.New(func() time.Time { return began.Add(w.now) })
	w.physical = newWitness(w)
	w.ledger = newLedger(w)
	w.trail = newTrail(w)
	w.outside = newOutside(w)
	w.plan = plan{
		servers: 1 + w.rng.IntN(3), hosts: 2 + w.rng.IntN(3), runs: 1 + w.rng.IntN(2), autoResume: w.chance(2),
		bad: []int{0, 2, 8, 20}[w.rng.IntN(4)], faults: 3 + w.rng.IntN(5), people: w.rng.IntN(4), chaos: 60 + w.rng.IntN(300),
		scriptTime: w.between(20*time.Millisecond, 8*time.Second), healthTime: w.between(20*time.Millisecond, 5*time.Second),
		lease: []time.Duration{3 * time.Second, 15 * time.Second}[w.rng.IntN(2)],
	}
	w.plan.shares = w.chance(3)
	w.plan.lenient = w.plan.shares && w.chance(2)
	w.plan.kinds = w.swarm()
	w.log("%s", w.plan)
	for i := range w.plan.hosts {
		m := newMachine(w, fmt.Sprintf("web%d", i))
		w.machines[m.name], w.hosts = m, append(w.hosts, m)
		if w.chance(12) {
			m.failing = true
		}
		if w.chance(12) {
			m.broken = true
		}
		m.startAgent()
	}
	for i := range w.plan.servers {
		s := &server{w: w, name: fmt.Sprintf("server%d", i)}
		w.servers = append(w.servers, s)
		s.start()
	}
	for i := range w.plan.runs {
		if i == 0 {
			w.request(i)
		} else {
			w.after(w.between(0, 20*time.Second), func() { w.request(i) })
		}
	}
	return w
}

// services are those that somebody may ask a run of.
var services = []string{"shop", "cart"}

// request is a run that somebody has asked for, as package control stores it.
func (w *world) request(i int) {
	service := services[0]
	if i > 0 && w.chance(3) {
		service = services[1]
	}
	strategy := restart.Strategy{
		Batches:        [][]restart.Amount{{{Count: 1}}, {{Count: 2}}, {{Count: 1}, {Count: 2}}, {{Percent: 50}}}[w.rng.IntN(4)],
		PauseBetween:   restart.Duration([]time.Duration{0, 0, 3 * time.Second}[w.rng.IntN(3)]),
		MaxFailures:    []int{0, 0, 1, 2}[w.rng.IntN(4)],
		OnFailure:      []string{"pause", "pause", "abort", "continue"}[w.rng.IntN(4)],
		HoldAfterFirst: w.chance(8), TaskTimeout: restart.Duration(30 * time.Second),
	}
	if w.chance(4) {
		strategy.MinAvailable = "N-1"
	}
	r := restart.Run{
		ID: w.id(), Scenario: "plain-restart", Digest: strings.Repeat("ab", 32), Kind: restart.KindRestart, Service: service, Environment: "production",
		Actor: "anna", Via: "cli", Reason: "workers hang since the deploy", State: restart.RunQueued, CreatedAt: began.Add(w.now), BreakGlass: w.chance(8),
		Plan: &restart.Plan{Strategy: strategy, Deadline: restart.Duration(20 * time.Second), Kind: restart.KindRestart},
	}
	r.Plan.Batches = restart.ResolveBatches(strategy.Batches, len(w.hosts))
	for k, m := range w.hosts {
		r.Plan.Hosts = append(r.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: m.name}, Health: restart.HealthHealthy})
		r.Tasks = append(r.Tasks, restart.Task{ID: w.id(), RunID: r.ID, Host: m.name, Position: k, Batch: restart.BatchOf(r.Plan.Batches, k), Attempt: 1, State: restart.TaskPlanned})
	}
	w.store.Create(r)
	w.runs = append(w.runs, r.ID)
	w.log("run %s of %s: %+v", r.ID, service, strategy)
	for _, s := range w.servers {
		if s.up() {
			s.orch.Wake(r.ID)
		}
	}
}

// run reads a run without anybody's network between.
func (w *world) run(id string) restart.Run {
	r, err := w.store.Run(context.Background(), id)
	if err != nil {
		panic(err)
	}
	return r
}

// apply is the one write path of a run, watched by the ledger.
func (w *world) apply(c store.Change) (int64, error) {
	before := w.run(c.RunID)
	owner, _ := w.store.Owner(c.RunID)
	version, err := w.store.Apply(context.Background(), c)
	if err != nil {
		return version, err
	}
	w.events++
	if w.asking != nil && w.asking.name != owner && moves(c) {
		w.violated("%s has moved run %s, which %q has", w.asking.name, c.RunID, owner)
	}
	w.trail.committed(c)
	w.ledger.committed(before, c)
	w.wakeAll(c.RunID)
	return version, nil
}

// moves tells whether a change is a step of the walk, and not only what a host
// says later of a task that is over.
func moves(c store.Change) bool {
	return c.Run != nil || slices.ContainsFunc(c.Tasks, func(t store.TaskChange) bool { return len(t.Path) > 0 })
}

// wakeAll is what the hub does: it tells the servers that are there.
func (w *world) wakeAll(run string) {
	for _, s := range w.servers {
		if s.up() && s.p == w.asking {
			s.orch.Wake(run)
		}
	}
}

func (w *world) databaseFails() (failed, lost bool) {
	if w.dbTrouble == 0 || w.calm {
		return false, false
	}
	w.dbTrouble--
	switch w.rng.IntN(4) {
	case 0, 1:
		return true, false
	case 2:
		return false, true
	}
	return false, false
}

func (w *world) mayGoOn(context.Context, restart.Run) (restart.Cause, string) {
	if w.noRights {
		return restart.CauseRightsLost, "anna may no longer"
	}
	return "", ""
}

// violated notes that a promise was broken.
func (w *world) violated(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.log("VIOLATION: %s", text)
	w.violations = append(w.violations, text)
}

// met counts a fault against everything that it met.
func (w *world) met(fault string) {
	w.faults++
	w.events++
	w.coverage.met(fault, w.stations())
}

// stations names where the history's runs and tasks are.
func (w *world) stations() []string {
	seen := map[string]bool{}
	var out []string
	add := func(s string) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, id := range w.runs {
		r := w.run(id)
		add("run " + string(r.State))
		for _, t := range r.Tasks {
			if t.State.Active() {
				add("task " + string(t.State))
			}
		}
	}
	for _, m := range w.hosts {
		for range m.sups {
			add("supervisor works")
		}
	}
	return out
}
