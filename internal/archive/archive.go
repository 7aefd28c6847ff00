package archive

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/parse"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Store is what the archive needs of the store.
type Store interface {
	AddDump(ctx context.Context, d store.Dump, data []byte, records ...audit.Record) error
	ReadDump(ctx context.Context, id string) (store.Dump, []byte, error)
	TaskDumps(ctx context.Context, task string) ([]int, error)
	HostsBefore(ctx context.Context, run string) ([]string, error)
	DropDumps(ctx context.Context, keep store.Retention) (int, int64, error)
}

// Hosts is the part of dispatch.Client that is used here.
type Hosts interface {
	Dump(ctx context.Context, host restart.Host, task string, n int, more dispatch.Room) ([]byte, error)
	Evidence(ctx context.Context, host restart.Host, m protocol.EvidenceRequest, more dispatch.Room) (protocol.EvidenceReport, error)
}

// Config of an Archive. Store and Hosts are needed.
type Config struct {
	Store Store
	Hosts Hosts

	Server      string        // this server's name, for the trail
	Keep        time.Duration // 0 = 30 days
	KeepUploads time.Duration // 0 = 24 h
	MaxBytes    int64         // of all dumps, compressed; 0 = 10 GB
	UploadMax   int64         // bytes of a file that somebody puts in; 0 = 64 MB
	CacheBytes  int64         // of parsed dumps, estimated; 0 = 96 MiB

	Redact *redact.Rules // what is taken out before anything is stored; nil = what is built in
	// Kept is told of each dump that was stored; nil = nobody is. It must not block.
	Kept   func(runtime dump.Runtime, origin store.DumpOrigin)
	Logger *slog.Logger
	Now    func() time.Time // nil = time.Now
}

// Archive keeps dumps. It is safe for concurrent use.
type Archive struct {
	cfg    Config
	log    *slog.Logger
	slots  chan struct{} // a place for each text that is parsed now
	taken  chan struct{} // and for each upload that is in memory
	large  chan struct{} // and for each long answer of a host
	looks  chan struct{} // and for whoever looks at much text
	cache  *cache
	grown  atomic.Int64  // bytes stored since the last sweep
	full   chan struct{} // has a word when that is much
	parser func(text []byte) ([]*dump.Dump, error)
}

// Bounds of what happens at once: a dump of 64 MiB takes several times that in
// memory, and must not slow down a run.
const (
	parsedAtOnce = 2
	takenAtOnce  = 4
	largeAtOnce  = 3
	looksAtOnce  = 2
)

// New returns an Archive; Run drops what is old.
func New(cfg Config) *Archive {
	if cfg.Keep == 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.KeepUploads == 0 {
		cfg.KeepUploads = DefaultKeepUploads
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.UploadMax == 0 {
		cfg.UploadMax = DefaultUploadMax
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 96 << 20
	}
	if cfg.Redact == nil {
		cfg.Redact = redact.Defaults()
	}
	if cfg.Kept == nil {
		cfg.Kept = func(dump.Runtime, store.DumpOrigin) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Archive{
		cfg: cfg, log: cfg.Logger, slots: make(chan struct{}, parsedAtOnce), taken: make(chan struct{}, takenAtOnce),
		large: make(chan struct{}, largeAtOnce), looks: make(chan struct{}, looksAtOnce), cache: newCache(cfg.CacheBytes),
		full: make(chan struct{}, 1), parser: parse.Bytes,
	}
}

// What stands in for a zero of Config.
const (
	DefaultKeep        = 30 * 24 * time.Hour
	DefaultKeepUploads = 24 * time.Hour
	DefaultMaxBytes    = 10_000_000_000
	DefaultUploadMax   = 64_000_000
)

// UploadMax gives the most bytes that a file may have that somebody puts in.
func (a *Archive) UploadMax() int64 { return a.cfg.UploadMax }

func (a *Archive) now() time.Time { return a.cfg.Now().UTC().Truncate(time.Microsecond) }

// sweepEvery is how often is looked for what is old.
const sweepEvery = 10 * time.Minute

// grew counts what was stored, and has it swept before its time where that is
// much: the disk is the database's, and restarts need it.
func (a *Archive) grew(bytes int) {
	if a.grown.Add(int64(bytes)) < a.cfg.MaxBytes/20 {
		return
	}
	select {
	case a.full <- struct{}{}:
	default:
	}
}

// Run drops what is too old or too much, until ctx ends.
func (a *Archive) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := a.Sweep(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("drop old thread dumps; trying again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.full:
		}
	}
}

// Sweep drops once what is too old or too much.
func (a *Archive) Sweep(ctx context.Context) error {
	a.grown.Store(0)
	now := a.now()
	n, bytes, err := a.cfg.Store.DropDumps(ctx, store.Retention{Before: now.Add(-a.cfg.Keep), Uploads: now.Add(-a.cfg.KeepUploads), Bytes: a.cfg.MaxBytes, By: "server:" + a.cfg.Server})
	if n > 0 {
		a.log.Info("dropped thread dumps", "dumps", n, "bytes", bytes)
	}
	return err
}
