package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Snapshot is everything a source knows at one moment. What it holds is shared
// between callers: don't change it.
type Snapshot struct {
	Services  []restart.Service `json:"services"`
	Groups    []restart.Group   `json:"groups"`            // their services and hosts are all in Services and Hosts
	Hosts     []restart.Host    `json:"hosts"`             // in the order of %all
	FetchedAt time.Time         `json:"fetched_at"`        // of its oldest part
	Source    string            `json:"source"`            // what people call the source: a path, a command, a URL
	Stale     bool              `json:"stale"`             // the source fails now; this is its last good answer
	Problem   string            `json:"problem,omitempty"` // what people should know: why it is stale, what was left out
	Missing   []string          `json:"missing,omitempty"` // sources of kind merged that give nothing now, and without which it is used
}

// Source is where an inventory comes from. It needs no cache of its own.
type Source interface {
	// Name is what people call it: a path, a command, a URL; no secrets.
	Name() string
	// Fetch asks for everything; Source is filled in by the inventory, and
	// FetchedAt where the source leaves it open. Errors are *restart.Error with CodeUnavailable
	// (no answer) or CodeInvalid (an answer that makes no sense).
	Fetch(ctx context.Context) (Snapshot, error)
	// Stamp changes when a local file that Fetch reads has changed. It is asked
	// for often, so it must be cheap. "" when there is no such file.
	Stamp() string
}

// Finder is a source that can look up a group that its snapshot does not hold.
type Finder interface {
	// Find gives the group and its hosts; CodeNotFound when there is none.
	Find(ctx context.Context, group string) (restart.Group, []restart.Host, error)
}

const (
	retryAfter = 10 * time.Second // how long a source that failed is left alone
	// patience is how long callers may wait in vain, each until he leaves, before
	// the source is taken to have failed.
	patience = 10 * time.Second
)

// Inventory answers questions about services, groups and hosts from one
// source. It is safe for concurrent use, and needs no closing.
type Inventory struct {
	cfg    Config
	source Source
	finder Finder        // nil when the source has no look-ups
	disk   *disk         // nil without a cache folder
	slot   chan struct{} // holds one token while the source is being asked

	mu   sync.Mutex
	last state
}

// state is what the last attempts gave.
type state struct {
	view    *view     // the last good answer; nil before there is one
	asked   time.Time // when that was asked for
	stamp   string    // Source.Stamp before that answer
	failure error     // of the attempt after it; nil when it is good
	failed  time.Time
	tried   string        // Source.Stamp before the failed attempt
	waited  time.Duration // that callers who left had waited, together, since it last gave or failed
}

// New makes an inventory. It checks the configuration and asks nothing yet:
// a source that is down shows at the first question. Errors are *restart.Error
// with CodeInvalid, naming the key.
func New(c Config) (*Inventory, error) {
	c, err := c.check()
	if err != nil {
		return nil, err
	}
	source, err := kinds()[c.Kind].make(c)
	if err != nil {
		return nil, err
	}
	i := &Inventory{cfg: c, source: source, slot: make(chan struct{}, 1)}
	i.finder, _ = source.(Finder)
	if c.CacheDir != "" {
		i.disk = newDisk(c)
	}
	return i, nil
}

// Snapshot gives everything the source knows, from memory where that is still
// good. Errors are *restart.Error with CodeUnavailable and a hint, or ctx's.
func (i *Inventory) Snapshot(ctx context.Context) (Snapshot, error) {
	v, err := i.view(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	return v.Snapshot, nil
}

// view gives the snapshot with its index. One caller at a time asks the
// source; the others wait for its answer.
func (i *Inventory) view(ctx context.Context) (*view, error) {
	if ok, v, err := i.known(i.source.Stamp()); ok {
		return v, err
	}
	select {
	case i.slot <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the inventory: %w", context.Cause(ctx))
	}
	defer func() { <-i.slot }()

	stamp := i.source.Stamp()
	i.restore()
	if ok, v, err := i.known(stamp); ok {
		return v, err
	}
	asked := i.cfg.Now()
	snapshot, err := i.source.Fetch(ctx)
	if err != nil && ctx.Err() != nil { // the caller left
		if i.tooSlow(i.cfg.Now().Sub(asked)) {
			_, _ = i.fail(ctx, stamp, restart.Errorf(restart.CodeUnavailable, "nobody has waited long enough for its answer: %s together", restart.Span(patience))) // for those who come after him
		}
		return nil, fmt.Errorf("read the inventory: %w", context.Cause(ctx))
	}
	if err == nil {
		err = checkSnapshot(snapshot)
	}
	if err != nil {
		return i.fail(ctx, stamp, err)
	}
	snapshot.Source = i.source.Name()
	if snapshot.FetchedAt.IsZero() {
		snapshot.FetchedAt = asked
	}
	return i.keep(ctx, stamp, asked, snapshot), nil
}

// tooSlow notes for how long a caller has waited who left before there was an
// answer. One who leaves at once says nothing of the source; when they all do,
// after a while, it gives none. Of kind merged that is for each part to say.
func (i *Inventory) tooSlow(waited time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last.waited += max(waited, 0)
	return i.last.waited >= patience && len(i.cfg.Sources) == 0
}

// known answers from memory; ok is false when the source must be asked.
func (i *Inventory) known(stamp string) (ok bool, v *view, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now, l := i.cfg.Now(), i.last
	if l.failure != nil && l.tried == stamp && now.Sub(l.failed) < retryAfter && now.Sub(l.failed) >= 0 {
		v, err = i.fallback(now)
		return true, v, err
	}
	if l.view == nil || l.failure != nil || l.stamp != stamp {
		return false, nil, nil
	}
	if !i.cfg.ages() {
		i.last.view = l.view.at(now) // the file still says so
		return true, i.last.view, nil
	}
	age := now.Sub(l.asked)
	return age >= 0 && age < i.cfg.CacheFor, l.view, nil
}

// fallback is the answer while the source fails: the last good view where it
// may be used, or the failure. The caller holds mu.
func (i *Inventory) fallback(now time.Time) (*view, error) {
	l := i.last
	if l.view == nil {
		return nil, l.failure
	}
	age := now.Sub(l.view.FetchedAt)
	if age >= 0 && (age < i.cfg.CacheFor || age <= i.cfg.StaleFor) {
		return l.view.stale(l.failure, age), nil
	}
	return nil, l.failure
}

// fail remembers that the source failed, and gives the answer for that.
func (i *Inventory) fail(ctx context.Context, stamp string, err error) (*view, error) {
	err = unavailable(i.source, err)
	i.mu.Lock()
	now := i.cfg.Now()
	i.last.failure, i.last.failed, i.last.tried, i.last.waited = err, now, stamp, 0
	v, answer := i.fallback(now)
	i.mu.Unlock()
	i.cfg.Logger.WarnContext(ctx, "inventory fails", slog.Any("error", err), slog.Bool("stale_served", v != nil))
	return v, answer
}

// keep remembers a good answer, on disk too where that is configured.
func (i *Inventory) keep(ctx context.Context, stamp string, asked time.Time, s Snapshot) *view {
	v := newView(s)
	i.mu.Lock()
	recovered := i.last.failure != nil
	i.last = state{view: v, asked: asked, stamp: stamp}
	i.mu.Unlock()
	if recovered {
		i.cfg.Logger.InfoContext(ctx, "inventory is back")
	}
	if i.disk != nil {
		if err := i.disk.save(stamp, s); err != nil {
			i.cfg.Logger.WarnContext(ctx, "inventory is not cached on disk", slog.Any("error", err))
		}
	}
	return v
}

// restore reads the disk's answer when there is none in memory yet. The caller
// holds the slot.
func (i *Inventory) restore() {
	i.mu.Lock()
	wanted := i.disk != nil && i.last.view == nil
	i.mu.Unlock()
	if !wanted {
		return
	}
	stamp, s, err := i.disk.load()
	if err != nil {
		i.cfg.Logger.Warn("inventory cache is left unused", slog.Any("error", err))
	}
	if err != nil || s == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last.view, i.last.asked, i.last.stamp = newView(*s), s.FetchedAt, stamp
}

// unavailable makes a failure of a source an answer for people.
func unavailable(s Source, err error) error {
	hint := "the server asks again by itself; nothing was done"
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		return restart.Errorf(restart.CodeUnavailable, "the inventory %s can't be read", s.Name()).WithHint("%s", hint).Because(err)
	}
	if e.Hint != "" {
		hint = e.Hint
	}
	return restart.Errorf(restart.CodeUnavailable, "the inventory %s can't be used: %s", s.Name(), e.Message).WithHint("%s", hint).Because(err)
}
