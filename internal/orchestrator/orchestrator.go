package orchestrator

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Runs is what the orchestrator needs of the store to walk runs. Apply is the
// only way in which it changes one.
type Runs interface {
	Claim(ctx context.Context, owner string, ttl time.Duration, limit int) ([]store.Claim, error)
	Renew(ctx context.Context, owner string, ttl time.Duration) (held []string, err error)
	Release(ctx context.Context, run string, fence store.Fence) error
	Run(ctx context.Context, id string) (restart.Run, error)
	RunSince(ctx context.Context, id string, version int64) (restart.Run, error)
	Apply(ctx context.Context, change store.Change) (version int64, err error)
}

// Tasks is what drivers need of the store beside Apply.
type Tasks interface {
	Progress(ctx context.Context, fence store.Fence, task, phase string, detail json.RawMessage) error
	AppendOutput(ctx context.Context, task string, offset int64, data []byte, truncated int64) error
	OutputEnd(ctx context.Context, task string) (int64, error)
	MarkReported(ctx context.Context, tasks []string) error
	Unreported(ctx context.Context, after string, limit int) ([]restart.Task, error)
}

// Agents is the part of dispatch.Client that is used here.
type Agents interface {
	Put(ctx context.Context, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error)
	Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error)
	Output(ctx context.Context, host restart.Host, task string, offset int64, each func(protocol.Output) error) error
	Cancel(ctx context.Context, host restart.Host, task string, m protocol.Cancel) error
	Forget(ctx context.Context, host restart.Host, task string, m protocol.Forget) (protocol.Tombstone, error)
	Probe(ctx context.Context, host restart.Host, m protocol.ProbeRequest) (protocol.ProbeReport, error)
}

// Config of an Orchestrator. Owner, Runs, Tasks, Agents and Key are needed.
type Config struct {
	Owner  string // this server's name and this process: leases carry it
	Runs   Runs
	Tasks  Tasks
	Agents Agents
	Key    ed25519.PrivateKey // signs envelopes
	Logger *slog.Logger

	// Committed is called after each commit that wrote audit records, and
	// Changed after each change of a run, for those who watch it.
	Committed func()
	Changed   func(run string)

	Clock Clock // nil = the wall's

	// Dumps keeps thread dumps and evidence; nil = nobody does, and no host is
	// asked for evidence before a run.
	Dumps Dumps

	// Trail knows how far records have come; nil = no host waits for more than the
	// commit of the database.
	Trail Trail

	// Tell gives the messages about a run as it stands after an event (one of
	// wire.Event…); they are stored with the change, and Announced is called once
	// it is committed. nil = nobody is told.
	Tell      func(event string, at time.Time, run restart.Run) ([]store.Message, error)
	Announced func()

	// Observer is told of ends; nil = nobody is.
	Observer Observer

	// Quiet keeps monitoring from alerting of hosts in hand; nil = nobody does.
	Quiet Quiet

	// MayGoOn tells, just before a host is asked, why it may no longer be: the
	// rights of the person have gone. nil = it always may.
	MayGoOn func(ctx context.Context, run restart.Run) (restart.Cause, string)

	// Locks are those that runs share with others than us; nil = there are none.
	Locks Locks

	Lease          time.Duration // 0 = 15 s
	Poll           time.Duration // 0 = 1 s; how soon a wish left by another server is seen
	ContactTimeout time.Duration // 0 = 2 min; how long a silent host is asked before its task is unknown
	DialRetry      time.Duration // 0 = 3 s; how long a host that can't be dialled is tried, at least twice
	AutoResume     bool          // go on by itself after an interruption
}

// Orchestrator walks the runs that this server has leased.
type Orchestrator struct {
	cfg   Config
	log   *slog.Logger
	wake  chan struct{}
	mu    sync.Mutex
	loops map[string]*loop // by run id
	wg    *crew

	arrived atomic.Int64 // dumps that were taken in, of whatever task
}

// New returns an Orchestrator; Run starts it.
func New(cfg Config) *Orchestrator {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&cfg.Lease, 15*time.Second)
	or(&cfg.Poll, time.Second)
	or(&cfg.ContactTimeout, 2*time.Minute)
	or(&cfg.DialRetry, 3*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Committed == nil {
		cfg.Committed = func() {}
	}
	if cfg.Tell == nil {
		cfg.Tell = func(string, time.Time, restart.Run) ([]store.Message, error) { return nil, nil }
	}
	if cfg.Announced == nil {
		cfg.Announced = func() {}
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if cfg.Clock == nil {
		cfg.Clock = wall{}
	}
	if cfg.Changed == nil {
		cfg.Changed = func(string) {}
	}
	return &Orchestrator{cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), loops: map[string]*loop{}, wg: newCrew(cfg.Clock, 0)}
}

// Wake makes the orchestrator look at once for a new run, or at the run named.
func (o *Orchestrator) Wake(run string) {
	o.mu.Lock()
	l := o.loops[run]
	o.mu.Unlock()
	if l != nil {
		l.nudge()
		return
	}
	nudge(o.wake)
}

// Run claims runs and walks them until ctx ends. It then leaves each run so
// that the next server can find out what became of the hosts in hand, and
// returns when every goroutine of it has ended.
func (o *Orchestrator) Run(ctx context.Context) {
	o.wg.Go(func() { o.renewLoop(ctx) })
	o.wg.Go(func() { o.forgetLoop(ctx) })
	for ctx.Err() == nil {
		o.claim(ctx)
		o.sleep(ctx, o.cfg.Poll/2+o.cfg.Clock.Jitter(o.cfg.Poll), o.wake)
	}
	o.wg.Wait()
}

func (o *Orchestrator) claim(ctx context.Context) {
	claims, err := o.cfg.Runs.Claim(ctx, o.cfg.Owner, o.cfg.Lease, 100)
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn("claim runs", "error", err)
		}
		return
	}
	for _, c := range claims {
		lctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		l := &loop{o: o, claim: c, stop: ctx.Done(), cancel: cancel, wake: make(chan struct{}, 1), gates: map[int]gate{}, rests: map[int]time.Time{}, drivers: map[string]bool{}, asked: roundDue, intent: intentDue, locks: locksDue, wg: newCrew(o.cfg.Clock, 0)}
		o.mu.Lock()
		if old := o.loops[c.RunID]; old != nil {
			old.cancel() // its lease was lost and won again: the epoch has moved on
		}
		o.loops[c.RunID] = l
		o.mu.Unlock()
		o.wg.Go(func() {
			defer cancel()
			l.walk(lctx)
			o.mu.Lock()
			if o.loops[c.RunID] == l {
				delete(o.loops, c.RunID)
			}
			o.mu.Unlock()
		})
	}
}

// renewLoop keeps the leases, and ends the loops whose lease is lost: they may
// change nothing any more, and the store would refuse them anyway.
func (o *Orchestrator) renewLoop(ctx context.Context) {
	var strays []string // held at the last renewal, and walked by nobody here
	for o.sleep(ctx, o.cfg.Lease/3, nil) {
		o.mu.Lock()
		before := make(map[string]*loop, len(o.loops))
		maps.Copy(before, o.loops)
		o.mu.Unlock()
		if len(before) == 0 {
			continue // what nobody walks is not renewed: its lease ends by itself
		}
		held, err := o.cfg.Runs.Renew(ctx, o.cfg.Owner, o.cfg.Lease)
		if err != nil {
			if ctx.Err() == nil {
				o.log.Warn("renew leases", "error", err)
			}
			continue
		}
		strays = o.giveBack(ctx, held, strays)
		for _, id := range held {
			delete(before, id)
		}
		for _, id := range slices.Sorted(maps.Keys(before)) {
			if l := before[id]; !l.left() {
				o.log.Warn("lease lost", "run_id", id)
				l.cancel()
			}
		}
	}
}

// giveBack releases the runs that this server held at the last renewal and
// still holds, and that no loop walks: the answer to a claim, or the release at
// the end of a loop, was lost with the database's connection. Renewed for ever,
// they would be walked by nobody. It returns those to look at the next time.
func (o *Orchestrator) giveBack(ctx context.Context, held, strays []string) (now []string) {
	for _, id := range held {
		if o.isWalked(id) {
			continue
		}
		now = append(now, id)
		if !slices.Contains(strays, id) {
			continue // perhaps it is being claimed, or released, in this moment
		}
		run, err := o.cfg.Runs.Run(ctx, id)
		if err == nil {
			err = o.cfg.Runs.Release(ctx, id, store.Fence{Owner: o.cfg.Owner, Epoch: run.Epoch})
		}
		o.log.Warn("a run was held and not walked; it is given back", "run_id", id, "error", err)
	}
	return now
}

func (o *Orchestrator) isWalked(run string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loops[run] != nil
}

// hostOf finds a host of the frozen plan, with the address it had there.
func hostOf(r restart.Run, name string) restart.Host {
	for i := range r.Plan.Hosts {
		if r.Plan.Hosts[i].Name == name {
			return r.Plan.Hosts[i].Host
		}
	}
	return restart.Host{Name: name}
}

// hostOf is hostOf of the package, for a walk that asks for each of 10,000.
func (l *loop) hostOf(run restart.Run, name string) restart.Host {
	if l.hosts == nil {
		l.hosts = make(map[string]int, len(run.Plan.Hosts))
		for i := range run.Plan.Hosts {
			l.hosts[run.Plan.Hosts[i].Name] = i
		}
	}
	if i, ok := l.hosts[name]; ok {
		return run.Plan.Hosts[i].Host
	}
	return restart.Host{Name: name}
}

// record starts an audit record about a run.
func record(r restart.Run, action audit.Action, now time.Time) audit.Record {
	return audit.Record{
		Time: now, Actor: r.Actor, Origin: r.Via, Action: action, Run: r.ID, Service: r.Service, Environment: r.Environment,
		ScenarioDigest: r.Digest, Params: r.Params, Reason: r.Reason,
	}
}

// fenced tells that the store, or an agent, has said that another server has
// the run now: whoever gets it changes nothing any more.
func fenced(err error) bool {
	var e *restart.Error
	return errors.As(err, &e) && e.Code == restart.CodeStaleEpoch
}
