package renewal_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

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
}

func (h *hearers) LearnKeys(_ context.Context, host restart.Host, _ protocol.SealedKeys) (protocol.KeyReport, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, host.Name)
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
	teller, err := renewal.NewTeller(renewal.TellerConfig{Agents: h, Hosts: h, Keys: []ed25519.PrivateKey{key}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"another-key away old own well", "another-key away"} {
		h.asked = nil
		if _, err := teller.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(h.asked)
		if got := strings.Join(h.asked, " "); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
}
