package lock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
)

const (
	defaultGroup = "default"
	// slotTimeout bounds one request, its answer included.
	slotTimeout = 4 * time.Second
	// slotFresh is for how long an answer is believed: a slot is no session, and
	// goes only by somebody's hand.
	slotFresh = 5 * time.Second
	mostSaid  = 64 << 10 // bytes of an answer
)

// fleetLock is a slot of a FleetLock server, as hosts take one before they
// reboot: https://coreos.github.io/zincati/development/fleetlock/protocol/
// Whoever asks again with the same id keeps the slot that he has.
type fleetLock struct {
	url   *url.URL
	group string
	http  *http.Client
	trust time.Duration // for how long an answer is believed

	mu    sync.Mutex
	fresh map[string]time.Time // by run: when the server last said that it has the slot
}

func openFleetLock(s Setting, _ *slog.Logger) (Lock, error) {
	u, err := outgoing.CheckURL(s.URL, false)
	if err != nil {
		return nil, fmt.Errorf("url is not usable: %w", err)
	}
	if u.RawQuery != "" {
		return nil, errors.New("url: the protocol has no query")
	}
	if s.Group == "" {
		s.Group = defaultGroup
	}
	if err := checkTemplate(s.Group); err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	if bare := strings.ReplaceAll(s.Group, "#", ""); strings.ContainsFunc(bare, func(r rune) bool { return !inGroup(r) }) || len(s.Group) > 128 {
		return nil, fmt.Errorf("group: %s has more than letters, digits, . and -", restart.Quote(s.Group))
	}
	networks, err := outgoing.ParseNetworks(s.AllowNetworks)
	if err != nil {
		return nil, fmt.Errorf("allow_networks: %s", sentence(err))
	}
	client, err := outgoing.New(outgoing.Config{URL: u, CAFile: s.CAFile, Timeout: slotTimeout, Networks: networks})
	if err != nil {
		return nil, fmt.Errorf("ca_file: %s", sentence(err))
	}
	return &fleetLock{url: u, group: s.Group, http: client, trust: slotFresh, fresh: map[string]time.Time{}}, nil
}

// inGroup tells what the protocol allows in the name of a group.
func inGroup(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-'
}

func (f *fleetLock) groupOf(c Claim) string { return fill(f.group, c, inGroup) }

// Place is the group of slots.
func (f *fleetLock) Place(c Claim) string { return f.url.Host + " " + f.groupOf(c) }

// of gives where the slot of a claim is: the base address, and the group. A
// place that the settings do not say any more has the address of its server, and
// is asked in the way that they say.
func (f *fleetLock) of(c Claim) (base, group string) {
	u := *f.url
	group = f.groupOf(c)
	if host, old, whole := strings.Cut(c.At, " "); whole {
		u.Host, group = host, old
	}
	return strings.TrimRight(u.String(), "/"), group
}

// The two requests of the protocol.
const (
	takeSlot = "/v1/pre-reboot"
	freeSlot = "/v1/steady-state"
)

// Take asks for a slot.
func (f *fleetLock) Take(ctx context.Context, c Claim) error {
	err := f.post(ctx, takeSlot, c)
	f.mu.Lock()
	defer f.mu.Unlock()
	if delete(f.fresh, c.Run); err == nil {
		f.fresh[c.Run] = time.Now()
	}
	return err
}

// Held asks again for the slot that the run has.
func (f *fleetLock) Held(ctx context.Context, c Claim) error {
	f.mu.Lock()
	since := f.fresh[c.Run]
	f.mu.Unlock()
	if !since.IsZero() && time.Since(since) < f.trust {
		return nil
	}
	return f.Take(ctx, c)
}

// Stands has nobody to ask: the protocol tells nobody who has a slot, and a slot
// stays until it is given back.
func (f *fleetLock) Stands(context.Context, Claim) error { return nil }

// Release gives the slot back.
func (f *fleetLock) Release(ctx context.Context, c Claim) error {
	f.mu.Lock()
	delete(f.fresh, c.Run)
	f.mu.Unlock()
	err := f.post(ctx, freeSlot, c)
	if restart.CodeOf(err) == restart.CodeLocked {
		return restart.Errorf(restart.CodeUnavailable, "%s", sentence(err))
	}
	return err
}

// Check asks for nothing: any answer of HTTP is one.
func (f *fleetLock) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url.String(), nil)
	if err != nil {
		return err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return away(err)
	}
	return resp.Body.Close()
}

// Close leaves slots as they are: the next server goes on with them.
func (f *fleetLock) Close() { f.http.CloseIdleConnections() }

type slotRequest struct {
	Params slotParams `json:"client_params"`
}

type slotParams struct {
	ID    string `json:"id"`
	Group string `json:"group"`
}

// refusal is what the protocol says where it does not say yes.
type refusal struct {
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// post makes one request: nil for status 2xx, CodeLocked for a refusal in the
// words of the protocol, CodeUnavailable for anything else.
func (f *fleetLock) post(ctx context.Context, verb string, c Claim) error {
	base, group := f.of(c)
	body, err := json.Marshal(slotRequest{slotParams{ID: program + "-" + c.Run, Group: group}})
	if err != nil {
		return fmt.Errorf("ask for a slot: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+verb, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask for a slot: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Fleet-Lock-Protocol", "true")
	req.Header.Set("User-Agent", program+"/"+version.Current().Version)
	resp, err := f.http.Do(req)
	if err != nil {
		return away(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, mostSaid))
	if err != nil {
		return away(err)
	}
	if resp.StatusCode/100 == 2 {
		return nil
	}
	var why refusal
	refused := json.Unmarshal(said, &why) == nil && why.Kind != "" // HTML, a proxy's page: not the protocol
	if !refused || resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusBadRequest {
		return restart.Errorf(restart.CodeUnavailable, "the FleetLock server answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return restart.Errorf(restart.CodeLocked, "no slot of group %s is free (%s: %s)", group, restart.Quote(why.Kind), restart.Quote(why.Value))
}

// away says of a request that had no answer.
func away(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the address
	}
	return restart.Errorf(restart.CodeUnavailable, "the FleetLock server does not answer (%s)", restart.Escape(err.Error())).Because(err)
}
