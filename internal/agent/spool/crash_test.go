//go:build !race

// All of it is one goroutine over a disk in memory, of which the race detector can
// say nothing, at five times the time: `make test` runs it without.

package spool_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/spool/memdisk"
	"github.com/restartilka/restartilka/internal/protocol"
)

// errCrash is what a Fault panics with.
var errCrash = errors.New("crash")

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// crashing is a host whose tasks are worked on, and which crashes: an agent and
// a supervisor a task over one disk, and beside it what doc.go promises.
type crashing struct {
	t    *rapid.T
	rng  *rand.Rand
	disk *memdisk.Disk
	log  []string

	crashes int

	agent *spool.Spool
	known map[string]spool.Record // what the agent holds in memory
	grave map[string]bool

	sups    map[string]*supervisor
	tasks   []protocol.Envelope
	started int // attempts, of which each has its own pid

	promised map[string]*promises

	unread func(op memdisk.Operation, path string) error // the disk's Fault while a starting agent looks at its spool; nil = the same as ever
}

// supervisor is one that lives.
type supervisor struct {
	*spool.Task
	lock  io.Closer
	runs  bool // it has the right to
	dumps int  // that it has tried to keep
}

// promises are what was answered of one task.
type promises struct {
	received, voided, buried, done bool
	burying                        bool // Bury was called
	pid                            int  // of the one that may run; 0 = none
	outcome                        protocol.Outcome
	epoch                          int64
	evidence                       bool
	dumps                          int // the number of the last one that was kept
}

func newCrashing(t *rapid.T, seed uint64) *crashing {
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &crashing{
		t: t, rng: rng, disk: memdisk.New(rng),
		sups: map[string]*supervisor{}, promised: map[string]*promises{},
	}
	for i, service := range []string{"nginx", "nginx", "redis"} {
		e := protocol.Envelope{Version: 1, Task: fmt.Sprintf("01m81md7nggqn1jspgfe752rn%d", i), Run: "01m81md7nggqn1jspgfe752rnr", Host: "web1", Service: service}
		c.tasks = append(c.tasks, e)
		c.promised[e.Task] = &promises{}
	}
	return c
}

func (c *crashing) failf(format string, args ...any) {
	c.t.Helper()
	for _, line := range c.log {
		c.t.Log(line)
	}
	c.t.Fatalf(format, args...)
}

// boot starts the agent, as after any crash, and holds what it finds against
// what was promised.
func (c *crashing) boot() {
	s, err := spool.OpenOn(c.disk.Root("agent"), func() time.Time { return noon })
	if errors.Is(err, unix.EIO) {
		panic(errCrash) // the agent does not start; it will be tried again
	}
	if err != nil {
		c.failf("open: %v", err)
	}
	c.agent = s
	found, err := c.load()
	if failing(err) {
		panic(errCrash) // as above
	}
	if err != nil || slices.ContainsFunc(found.Broken, func(err error) bool { return !failing(err) }) {
		c.failf("load: %v, broken %v", err, found.Broken)
	}
	c.known, c.grave = map[string]spool.Record{}, map[string]bool{}
	for _, stone := range found.Tombstones {
		c.grave[stone.Task] = true
	}
	waiting := map[string]string{}
	for _, r := range found.Tasks {
		if r.Received == nil {
			c.failf("task %s is there without the file that made it exist", r.ID)
		}
		c.known[r.ID] = r
		if e := c.tasks[c.index(r.ID)]; r.Started == nil && r.Done == nil {
			if other := waiting[e.Service]; other != "" {
				c.failf("%s and %s both wait to run on %s", other, r.ID, e.Service)
			}
			waiting[e.Service] = r.ID
		}
	}
	for _, e := range c.tasks {
		c.compare(e.Task)
		c.answer(e.Task)
	}
}

// failing tells an error that the disk was made to give.
func failing(err error) bool { return errors.Is(err, unix.EIO) || errors.Is(err, unix.EMFILE) }

// load is the agent's look at its spool, in which an operation may fail: see starts.
func (c *crashing) load() (spool.Contents, error) {
	if c.unread != nil {
		before := c.disk.Fault
		c.disk.Fault = c.unread
		defer func() { c.disk.Fault = before }()
	}
	return c.agent.Load()
}

// starts lets the agent start again and again, beside the supervisors that
// live, and lets another operation of its look at the spool fail each time.
// Where it starts all the same, all that was promised holds; and where it does
// not, all of it still holds afterwards.
func (c *crashing) starts(with error) {
	for at, more := 1, true; more; at++ {
		n := 0
		c.unread = func(op memdisk.Operation, path string) error {
			if n++; n != at {
				return nil
			}
			c.log = append(c.log, fmt.Sprintf("%v of %s %s at a start:", with, op, path))
			return with
		}
		c.disk.Kill("agent")
		c.survives(c.boot)
		c.unread, more = nil, n >= at
		c.recover(act{}, protocol.Envelope{}, false)
	}
}

// answer counts what the agent has found as promised: it tells of it from now
// on, whether those who wrote it had come to know that it is durable or not.
func (c *crashing) answer(id string) {
	p := c.promised[id]
	r, there := c.known[id]
	if !there || c.sups[id] != nil {
		return
	}
	p.received, p.epoch = true, r.Epoch
	if r.Started != nil {
		p.pid = r.Started.PID
	}
	if r.Done != nil {
		p.done, p.outcome, p.voided = true, r.Done.Outcome, r.Done.Outcome == protocol.OutcomeNotStarted
	}
}

func (c *crashing) index(id string) int {
	return slices.IndexFunc(c.tasks, func(e protocol.Envelope) bool { return e.Task == id })
}

func (c *crashing) compare(id string) {
	p := c.promised[id]
	r, there := c.known[id]
	if p.buried && (!c.grave[id] || there) {
		c.failf("%s was buried; tombstone %t, task %t", id, c.grave[id], there)
	}
	if p.burying {
		return // either is true of it
	}
	switch {
	case c.grave[id]:
		c.failf("%s is buried, by nobody", id)
	case p.received && !there:
		c.failf("%s was answered as received and is gone", id)
	case p.pid != 0 && (r.Started == nil || r.Started.Void || r.Started.PID != p.pid):
		c.failf("%s was started by %d: %+v", id, p.pid, r.Started)
	case p.voided && (r.Started == nil || !r.Started.Void || r.Done == nil):
		c.failf("%s was promised never to run: started %+v, done %+v", id, r.Started, r.Done)
	case p.done && (r.Done == nil || r.Done.Outcome != p.outcome):
		c.failf("%s has ended as %s: %+v", id, p.outcome, r.Done)
	case r.Epoch < p.epoch:
		c.failf("%s has epoch %d, %d was shown", id, r.Epoch, p.epoch)
	case there && r.Err != nil:
		c.failf("%s is broken: %v", id, r.Err)
	case there && r.Done == nil && (r.Started == nil || c.runs(id)) && c.agent.Holder(c.tasks[c.index(id)].Service) != id:
		c.failf("%s runs or may, and holds its service no more", id)
	}
	if items, err := c.agent.Evidence(id); there && (err != nil || p.evidence && len(items) != 1) {
		c.failf("%s: evidence %+v, %v", id, items, err)
	}
	if there && p.dumps > 0 {
		if b, err := readDump(c.agent, id, p.dumps); err != nil || string(b) != id {
			c.failf("%s: its dump %d is %q, %v", id, p.dumps, b, err)
		}
	}
}

// runs tells whether a living supervisor has the right to run the task.
func (c *crashing) runs(id string) bool { return c.sups[id] != nil && c.sups[id].runs }

// supervisor gives the task's living supervisor, or a new one, as the agent
// launches it; nil where there is nothing to open.
func (c *crashing) supervisor(id string) *supervisor {
	if t := c.sups[id]; t != nil {
		return t
	}
	t, err := spool.OpenTaskOn(c.disk.Root("supervisor of "+id), id)
	if err != nil {
		return nil
	}
	lock, err := t.Lock()
	if err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			c.failf("the lock of %s is held by nobody", id)
		}
		return nil
	}
	c.sups[id] = &supervisor{Task: t, lock: lock}
	return c.sups[id]
}

// step does one act and gives true, or crashes in it.
func (c *crashing) step(a act, e protocol.Envelope) (ended bool) {
	return c.survives(func() {
		err := a.do(c, e, c.promised[e.Task])
		c.log = append(c.log, fmt.Sprintf("%s of %s: %v", a.name, e.Task, err))
	})
}

// survives does something, and says whether no crash came in between.
func (c *crashing) survives(do func()) (ended bool) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case any(errCrash):
			c.crashes++
			c.log = append(c.log, "CRASH")
		default:
			panic(r)
		}
	}()
	do()
	return true
}

// recover is what follows a crash in that act: the power was cut, or the one
// process killed, and the agent starts again, which may crash too.
func (c *crashing) recover(a act, e protocol.Envelope, power bool) {
	if !power && a.by == bySupervisor {
		c.disk.Kill("supervisor of " + e.Task)
		delete(c.sups, e.Task)
		return
	}
	for {
		if power {
			c.disk.PowerCut(c.rng)
			clear(c.sups)
		} else {
			c.disk.Kill("agent")
		}
		if c.survives(c.boot) {
			return
		}
	}
}

// step of a life: what is done to which task.
type lifeStep struct{ act, task int }

// unreadEvery is how many lives there are to one that ends with starts: they
// are long.
const unreadEvery = 5

// live does the steps, and crashes before the crash-th operation that changes
// the disk, and now and then after it, or lets the operation fail where fails
// says so. It says whether there were that many.
func (c *crashing) live(steps []lifeStep, crash int, power, fails bool) bool {
	n := 0
	c.disk.Fault = func(op memdisk.Operation, path string) error {
		if !op.Changes() {
			return nil
		}
		n++
		switch now := n == crash || n > crash && c.rng.IntN(40) == 0; {
		case !now:
		case fails && c.rng.IntN(2) == 0:
			c.log = append(c.log, fmt.Sprintf("EIO of %s %s:", op, path))
			return unix.EIO
		default:
			c.log = append(c.log, fmt.Sprintf("before %s %s:", op, path))
			panic(errCrash)
		}
		return nil
	}
	if !c.survives(c.boot) {
		c.recover(act{}, protocol.Envelope{}, true)
	}
	for _, s := range steps {
		if e := c.tasks[s.task]; !c.step(acts[s.act], e) {
			c.recover(acts[s.act], e, power)
		}
	}
	c.disk.Fault = nil
	if crash%unreadEvery == 0 {
		c.starts([]error{unix.EIO, unix.EMFILE}[c.rng.IntN(2)])
	}
	c.recover(act{}, protocol.Envelope{}, true)
	c.recover(act{}, protocol.Envelope{}, false) // over what the start before has left
	return n >= crash
}

// TestAnyCrashLeavesWhatWasPromised takes what agents and supervisors do, in
// any order, and crashes at every one of their operations on the disk, once all
// of the host and once the process, with and without a disk that fails as well;
// and then lets everything that a starting agent does on the disk fail once.
func TestAnyCrashLeavesWhatWasPromised(t *testing.T) {
	var lives, crashes int
	rapid.Check(t, func(t *rapid.T) {
		steps := append([]lifeStep{{act: 0, task: 0}}, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) lifeStep {
			return lifeStep{rapid.IntRange(0, len(acts)-1).Draw(t, "act"), rapid.IntRange(0, 2).Draw(t, "task")}
		}), 1, 8).Draw(t, "steps")...)
		seed := rapid.Uint64().Draw(t, "seed")
		for _, mode := range []struct{ power, fails bool }{{power: true}, {}, {power: true, fails: true}, {fails: true}} {
			for at, more := 1, true; more; at++ {
				c := newCrashing(t, seed+uint64(at))
				more = c.live(steps, at, mode.power, mode.fails)
				lives++
				crashes += c.crashes
			}
		}
	})
	t.Logf("%d lives with %d crashes", lives, crashes)
}
