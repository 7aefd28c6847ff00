package hostwork

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

const (
	// DefaultSweep is how often every host is asked.
	DefaultSweep = 5 * time.Minute
	// atOnce is how many hosts are asked at a time.
	atOnce = 20
	// bodies is from how many of them output is fetched at a time: each holds up
	// to store.ImportOutput in memory.
	bodies = 4
	// longestGap is the longest pause between two hosts of a sweep, so that few
	// hosts are not spread over minutes.
	longestGap = 100 * time.Millisecond
	// askTime bounds one question to a host, bodyTime the fetching of one task.
	askTime  = 5 * time.Second
	bodyTime = 30 * time.Second
	// pages is how many answers of one host are read in a visit.
	pages = 20
	// waiting is how many hosts may wait to be visited because of what they said.
	waiting = 1000
)

// Store is the part of store.Store that is needed.
type Store interface {
	LocalHead(ctx context.Context, host string) (protocol.ChainHead, error)
	MoveLocalHead(ctx context.Context, host string, from, to protocol.ChainHead, records ...audit.Record) error
	ImportRun(ctx context.Context, in store.Import) (taken bool, err error)
}

// Agents is the part of dispatch.Client that is needed.
type Agents interface {
	Local(ctx context.Context, host restart.Host, after int64) (protocol.LocalReport, error)
	Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error)
	Output(ctx context.Context, host restart.Host, task string, offset int64, each func(protocol.Output) error) error
	Forget(ctx context.Context, host restart.Host, task string, m protocol.Forget) (protocol.Tombstone, error)
}

// Inventory knows the hosts and what they belong to: inventory.Inventory.
type Inventory interface {
	Snapshot(ctx context.Context) (inventory.Snapshot, error)
}

// Config of a Keeper. All but Sweep, Committed, Changed, Logger and Now are
// needed.
type Config struct {
	Store     Store
	Agents    Agents
	Inventory Inventory
	Server    string           // this server's name, for the trail
	Sweep     time.Duration    // how often every host is asked; 0 = DefaultSweep
	Committed func()           // tells the audit trail that there is something to ship
	Changed   func(run string) // tells pages that there is a new run
	Logger    *slog.Logger     // nil = nobody listens
	Now       func() time.Time // nil = time.Now
}

// Keeper takes over what was done on hosts.
type Keeper struct {
	cfg   Config
	queue chan restart.Host
	slots chan struct{} // has a place for each host that is asked
	body  chan struct{} // has a place for each task that is fetched

	mu      sync.Mutex
	seen    map[string]protocol.ChainHead // by host: the head of the last visit
	visited map[string]bool               // hosts that are visited, or wait for it
}

// New makes a Keeper.
func New(cfg Config) *Keeper {
	if cfg.Sweep == 0 {
		cfg.Sweep = DefaultSweep
	}
	if cfg.Committed == nil {
		cfg.Committed = func() {}
	}
	if cfg.Changed == nil {
		cfg.Changed = func(string) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Keeper{
		cfg: cfg, queue: make(chan restart.Host, waiting), slots: make(chan struct{}, atOnce), body: make(chan struct{}, bodies),
		seen: map[string]protocol.ChainHead{}, visited: map[string]bool{},
	}
}

func (k *Keeper) now() time.Time { return k.cfg.Now().UTC().Truncate(time.Microsecond) }

// Seen is told where a host's chain stands, whenever a host has said so. A head
// that was not there at the last visit lets the host be visited soon. It never
// blocks.
func (k *Keeper) Seen(host restart.Host, head protocol.ChainHead) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.seen[host.Name] == head || k.visited[host.Name] {
		return
	}
	select {
	case k.queue <- host:
		k.visited[host.Name] = true
	default: // the sweep finds it
	}
}

// Run visits hosts until ctx ends: those that were Seen, and all by sweeps, of
// which the first begins at once.
func (k *Keeper) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { k.sweeps(ctx) })
	for {
		select {
		case <-ctx.Done():
			all.Wait()
			return
		case host := <-k.queue:
			k.slots <- struct{}{} // soon free: every visit is bounded
			all.Go(func() {
				defer func() { <-k.slots }()
				k.try(ctx, host)
				k.mu.Lock()
				delete(k.visited, host.Name)
				k.mu.Unlock()
			})
		}
	}
}

func (k *Keeper) sweeps(ctx context.Context) {
	for ctx.Err() == nil {
		began := k.cfg.Now()
		k.sweep(ctx)
		if !pause(ctx, k.cfg.Sweep-k.cfg.Now().Sub(began)) {
			return
		}
	}
}

// sweep visits every host of the inventory once, spread over half the time
// between two sweeps at most.
func (k *Keeper) sweep(ctx context.Context) {
	now, err := k.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		if ctx.Err() == nil {
			k.cfg.Logger.Warn("hosts are not asked what was done on them: the inventory can't be used; it is asked again", "error", err)
		}
		return
	}
	if len(now.Hosts) == 0 {
		return
	}
	gap := min(longestGap, k.cfg.Sweep/2/time.Duration(len(now.Hosts)))
	var visits sync.WaitGroup
	defer visits.Wait()
	for _, host := range now.Hosts {
		select {
		case k.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		visits.Go(func() {
			defer func() { <-k.slots }()
			k.try(ctx, host)
		})
		if !pause(ctx, gap) {
			return
		}
	}
}

// pause waits for d; false means that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// try visits a host and logs what is in the way. A host that is silent, or
// whose agent knows no such verb, has nothing to tell.
func (k *Keeper) try(ctx context.Context, host restart.Host) {
	_, err := k.Visit(ctx, host)
	if err == nil || ctx.Err() != nil {
		return
	}
	log := k.cfg.Logger.With("host", host.Name, "error", err)
	if _, silent := errors.AsType[*dispatch.NotSentError](err); silent || errors.Is(err, context.DeadlineExceeded) {
		log.Debug("the host was not asked what was done on it; it is asked again")
		return
	}
	log.Warn("not all that was done on the host itself is taken over; it is tried again")
}

// Visit asks a host what was done on it, and takes over what is new. It gives
// how many tasks that were.
func (k *Keeper) Visit(ctx context.Context, host restart.Host) (taken int, err error) {
	for range pages {
		n, more, err := k.page(ctx, host)
		taken += n
		if err != nil || !more {
			return taken, err
		}
	}
	return taken, nil
}

// page reads one answer. more tells that another one brings something new.
func (k *Keeper) page(ctx context.Context, host restart.Host) (taken int, more bool, err error) {
	head, err := k.cfg.Store.LocalHead(ctx, host.Name)
	if err != nil {
		return 0, false, err
	}
	report, knows, err := k.ask(ctx, host, head.Seq)
	if err != nil || !knows || report.Head.Seq == 0 && head.Seq == 0 && len(report.Tasks) == 0 {
		return 0, false, err
	}
	moved, err := k.follow(ctx, host, head, report)
	if err != nil {
		return 0, false, err
	}
	k.mu.Lock()
	k.seen[host.Name] = report.Head
	k.mu.Unlock()
	var all error
	for _, t := range report.Tasks[:min(len(report.Tasks), protocol.MaxLocalTasks)] {
		if t.Status.Stage != restart.StageDone || len(t.Outcome) == 0 {
			continue // it goes on, or its record is not written yet
		}
		done, err := k.takeOver(ctx, host, t)
		all = errors.Join(all, err)
		if done {
			taken++
		}
		if restart.CodeOf(err) == restart.CodeBusy {
			break // the day's bound: the others wait
		}
	}
	return taken, report.More && (moved || taken > 0) && all == nil, all
}

// ask asks a host. An agent of a version that knows no such verb has nothing to
// tell, and has not lost anything either.
func (k *Keeper) ask(ctx context.Context, host restart.Host, after int64) (report protocol.LocalReport, knows bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	report, err = k.cfg.Agents.Local(ctx, host, after)
	if refused, ok := errors.AsType[*dispatch.RefusedError](err); ok && refused.Err.Code == restart.CodeNotFound {
		return report, false, nil
	}
	return report, err == nil, err
}
