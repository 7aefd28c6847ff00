package renewal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// TellAgain is how soon hosts that have not heard of the keys are told again.
const TellAgain = 5 * time.Minute

// KeyAgents is the part of dispatch.Client that a Teller needs.
type KeyAgents interface {
	LearnKeys(ctx context.Context, host restart.Host, m protocol.SealedKeys) (protocol.KeyReport, error)
}

// AllHosts lists them: inventory.Inventory.
type AllHosts interface {
	Snapshot(ctx context.Context) (inventory.Snapshot, error)
}

// TellerConfig is what a Teller needs; Logger and Now may be nil.
type TellerConfig struct {
	Agents KeyAgents
	Hosts  AllHosts
	Keys   []ed25519.PrivateKey // all that the server has; each signs the list of all
	Logger *slog.Logger
	Now    func() time.Time
}

// Teller tells every host which envelope keys are good, once while this server
// runs, so that a new key is known everywhere before it is used.
type Teller struct {
	cfg  TellerConfig
	told map[string]bool // by host; only Round's goroutine changes it, under mu
	mu   sync.Mutex
}

// NewTeller makes a Teller.
func NewTeller(cfg TellerConfig) *Teller {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Teller{cfg: cfg, told: map[string]bool{}}
}

// Run tells hosts until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if _, err := t.Round(ctx); err != nil && ctx.Err() == nil {
			t.cfg.Logger.Warn("hosts are not told of the envelope keys; it is tried again", "error", err)
		}
		pause := time.NewTimer(TellAgain)
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
	}
}

// Round tells the hosts that have not heard yet, and gives how many have now. A
// host that is away, or does not take the list, is no error. Each round makes a
// list of its own: a host takes none that was made before its keys were laid.
func (t *Teller) Round(ctx context.Context) (told int, err error) {
	now, err := t.cfg.Hosts.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	list, err := protocol.SealKeys(t.cfg.Now(), t.cfg.Keys...)
	if err != nil {
		return 0, err
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, host := range now.Hosts {
		t.mu.Lock()
		done := t.told[host.Name]
		t.mu.Unlock()
		if done || ctx.Err() != nil {
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if t.tell(ctx, host, list) {
				t.mu.Lock()
				defer t.mu.Unlock()
				t.told[host.Name] = true
				told++
			}
		})
	}
	all.Wait()
	return told, nil
}

// tell tells one host, and gives whether it need not be told again.
func (t *Teller) tell(ctx context.Context, host restart.Host, list protocol.SealedKeys) bool {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err := t.cfg.Agents.LearnKeys(ctx, host, list)
	if err == nil {
		return true
	}
	refused, ok := errors.AsType[*dispatch.RefusedError](err)
	if !ok {
		t.cfg.Logger.Debug("the host is not told of the envelope keys; it is tried again", "host", host.Name, "error", err)
		return false
	}
	t.cfg.Logger.Warn("the host does not take this server's envelope keys", "host", host.Name, "error", refused)
	return refused.Err.Code == restart.CodeNotFound || refused.Err.Code == restart.CodeForbidden // an older agent; one whose administrators lay the keys
}
