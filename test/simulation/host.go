package simulation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/spool/memdisk"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// machine is one host: a disk, an agent that may be away, supervisors, and the
// services that scripts restart.
type machine struct {
	w    *world
	name string
	skew time.Duration
	disk *memdisk.Disk
	boot int

	up    bool         // has power
	agent *agent.Agent // nil = none answers
	proc  *process     // of the agent; nil = none runs
	busy  bool         // the agent does something
	due   bool         // a look of the agent at its tasks is due
	free  chan struct{}
	spool *spool.Spool
	life  int // of the agent, for its name
	sups  map[string]*supervisor
	sick  bool // the disk refuses what needs room
	crash int  // kill whoever makes the nth change of the disk from now; 0 = nobody
	power bool // and not only him: the host loses its power
	// broken services are not healthy after a restart, failing scripts do not end well
	broken, failing bool
	inHand          []func()         // resets what the agent has not answered
	polls           []*poll          // status requests that wait for news
	highest         map[string]int64 // by run: the epoch of the latest server that an order was followed of
}

// errCrash is what a machine's disk panics with to end whoever uses it.
var errCrash = errors.New("crash")

func newMachine(w *world, name string) *machine {
	m := &machine{w: w, name: name, disk: memdisk.New(w.rng), sups: map[string]*supervisor{}, up: true, highest: map[string]int64{}, free: make(chan struct{}, 1)}
	m.disk.Fault, m.disk.Yield = m.fault, m.yield
	return m
}

func (m *machine) now() time.Time { return began.Add(m.w.now + m.skew) }

func (m *machine) bootID() string { return fmt.Sprintf("boot-%d", m.boot) }

// yield lets others go on between two system calls, now and then.
func (m *machine) yield(op memdisk.Operation) {
	if m.w.current != nil && op.Changes() && m.w.chance(5) {
		m.w.wait(context.Background(), m.w.between(0, 3*time.Millisecond))
	}
}

// fault is asked before each operation of the disk.
func (m *machine) fault(op memdisk.Operation, _ string) error {
	if m.sick && op.Grows() {
		return errNoRoom
	}
	if m.crash > 0 && op.Changes() {
		if m.crash--; m.crash == 0 {
			m.w.log("%s: crash at %s", m.name, op)
			panic(errCrash)
		}
	}
	return nil
}

// guarded runs what the agent does: a crash of the disk's takes the agent with it.
func (m *machine) guarded(do func()) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errCrash) {
				panic(r)
			}
			m.crashed()
		}
	}()
	do()
}

// crashed takes away the agent, or all of the host, whichever was to crash.
func (m *machine) crashed() {
	if m.power {
		m.power = false
		m.cutPower()
	} else {
		m.killAgent()
	}
}

func (m *machine) owner() string { return fmt.Sprintf("agent-%d", m.life) }

// act lets the agent do something, once it has done what it is doing: it has
// one turn to give. Others go on meanwhile, between any two system calls.
func (m *machine) act(do func()) {
	p := m.proc
	m.w.spawn(p, func() {
		for m.busy {
			m.w.wait(context.Background(), never, m.free)
		}
		m.busy = true
		m.guarded(do)
		if m.proc == p {
			m.busy = false
			m.nudge()
		}
	})
}

func (m *machine) nudge() {
	select {
	case m.free <- struct{}{}:
	default:
	}
}

// startAgent starts an agent, which recovers from what is on the disk before it
// answers anybody.
func (m *machine) startAgent() {
	if !m.up || m.proc != nil {
		return
	}
	m.life++
	m.proc, m.busy = &process{name: fmt.Sprintf("%s agent %d", m.name, m.life)}, false
	m.act(func() {
		var a *agent.Agent
		s, err := spool.OpenOn(m.disk.Root(m.owner()), m.now)
		if err == nil {
			m.spool = s
			a, err = agent.New(agent.Config{
				Host: host.Host{Name: m.name}, Spool: s, Archive: archive{s}, Launcher: launcher{m}, Packages: nothingInstalled{},
				Keys: m.w.keys, BootID: m.bootID(), Now: m.now, Logger: m.w.logger(m.name), RatePerHour: 1000,
				Resolve: func(protocol.Envelope) (host.Work, error) { return host.Work{}, nil },
			})
		}
		if err == nil {
			err = a.Recover(context.Background())
		}
		if err != nil {
			m.w.log("%s: agent does not start: %v", m.name, err)
			m.disk.Kill(m.owner())
			m.spool, m.proc = nil, nil
			m.w.after(time.Second, m.startAgent)
			return
		}
		m.agent = a
		m.w.log("%s: agent %d listens", m.name, m.life)
		m.attend()
	})
}

// killAgent is kill -9: what was written is there, supervisors live on.
func (m *machine) killAgent() {
	if m.proc == nil {
		return
	}
	m.w.log("%s: agent %d is killed", m.name, m.life)
	p := m.proc
	m.agent, m.spool, m.proc, m.busy = nil, nil, nil, false
	m.w.kill(p)
	m.disk.Kill(m.owner())
	for _, p := range m.polls {
		p.answer(nil, errReset)
	}
	for _, reset := range m.inHand {
		reset()
	}
	m.polls, m.inHand = nil, nil
}

// cutPower takes everything that was not durable.
func (m *machine) cutPower() {
	m.w.log("%s: power cut", m.name)
	m.killAgent()
	for _, id := range m.supervised() {
		m.sups[id].kill()
	}
	m.disk.PowerCut(m.w.rng)
	m.up = false
	m.boot++
	m.w.after(m.w.between(200*time.Millisecond, 15*time.Second), func() {
		m.up = true
		m.w.log("%s: power is back", m.name)
		m.startAgent()
	})
}

func (m *machine) supervised() []string {
	var ids []string
	for id := range m.sups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// attend is the agent's own look at its tasks, again and again while it has some.
func (m *machine) attend() {
	if m.due {
		return // one look sees everything
	}
	m.due = true
	life := m.life
	m.w.after(m.w.between(0, time.Second), func() {
		m.due = false
		m.look(life)
	})
}

func (m *machine) look(life int) {
	if m.agent == nil || m.life != life {
		return
	}
	m.act(func() {
		active := m.agent.Active()
		slices.Sort(active)
		for _, id := range active {
			m.agent.Refresh(context.Background(), id) //nolint:errcheck // the next look tries again
		}
		m.tell()
		if len(active) > 0 {
			m.attendLater(life)
		}
	})
}

func (m *machine) attendLater(life int) {
	m.w.after(m.w.between(3*time.Second, 12*time.Second), func() { m.look(life) })
}

// poll is a status request that waits for a later revision.
type poll struct {
	task  string
	after int64
	// answer is called once.
	answer func(status any, err error)
}

// tell answers the polls that there is news for. It is the agent's to do.
func (m *machine) tell() {
	waiting := m.polls
	m.polls = nil
	for _, p := range waiting {
		status, err := m.agent.Get(context.Background(), p.task)
		if err == nil && status.Revision <= p.after && status.Stage != restart.StageDone {
			m.polls = append(m.polls, p)
			continue
		}
		p.answer(status, err)
	}
}

// launcher starts the machine's supervisors.
type launcher struct{ m *machine }

func (l launcher) Launch(_ context.Context, id string) error {
	if s := l.m.sups[id]; s != nil {
		return nil
	}
	l.m.startSupervisor(id)
	l.m.attend()
	return nil
}

func (l launcher) Alive(id string) (bool, error) { return l.m.spool.Alive(id) }

func (l launcher) Cancel(id string) error {
	defer func() {
		if s := l.m.sups[id]; s != nil {
			s.heed()
		}
	}()
	return l.m.spool.Wish(id)
}

// archive keeps no output.
type archive struct{ *spool.Spool }

func (archive) Evidence(string) ([]protocol.EvidenceItem, error) { return nil, nil }
func (archive) OutputSize(string) (int64, error)                 { return 0, nil }
func (archive) ReadOutput(string, int64, int64) (protocol.Output, error) {
	return protocol.Output{}, nil
}

type nothingInstalled struct{}

func (nothingInstalled) Installed(context.Context, string) (string, error) { return "", nil }

// keys are those whose envelopes the machines obey.
func (w *world) keys() (map[string]ed25519.PublicKey, error) { return w.trusted, nil }
