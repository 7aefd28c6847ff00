package renewal_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/renewal"
	"github.com/restartilka/restartilka/internal/restart"
)

// hearers are hosts that answer each in its own way.
type hearers struct {
	mu    sync.Mutex
	says  map[string]error
	asked []string
	list  protocol.SealedKeys // the last
}

func (h *hearers) LearnKeys(_ context.Context, host restart.Host, list protocol.SealedKeys) (protocol.KeyReport, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked, h.list = append(h.asked, host.Name), list
	return protocol.KeyReport{}, h.says[host.Name]
}

func (h *hearers) Snapshot(context.Context) (inventory.Snapshot, error) {
	var out inventory.Snapshot
	for name := range h.says {
		out.Hosts = append(out.Hosts, restart.Host{Name: name})
	}
	return out, nil
}

// Each host is told once: those that were away, or did not believe it, again,
// those that take none no more.
func TestHostsAreToldOnce(t *testing.T) {
	refused := func(code restart.Code) error { return &dispatch.RefusedError{Err: restart.Errorf(code, "no")} }
	h := &hearers{says: map[string]error{
		"well": nil, "old": refused(restart.CodeNotFound), "own": refused(restart.CodeForbidden),
		"away": errors.New("away"), "another-key": refused(restart.CodeBadSignature),
	}}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	teller := renewal.NewTeller(renewal.TellerConfig{Agents: h, Hosts: h, Keys: []ed25519.PrivateKey{key}, Now: func() time.Time { return now }})
	for _, want := range []string{"another-key away old own well", "another-key away"} {
		h.asked, now = nil, now.Add(time.Minute)
		if _, err := teller.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(h.asked)
		if got := strings.Join(h.asked, " "); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		list, err := protocol.OpenKeys(h.list, map[string]ed25519.PublicKey{protocol.KeyID(key.Public().(ed25519.PublicKey)): key.Public().(ed25519.PublicKey)})
		if err != nil || !list.At.Equal(now) { // a host takes none that was made before its keys were laid
			t.Errorf("the list is of %s, not of %s: %v", list.At, now, err)
		}
	}
}
