package authn

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Throttle slows down who guesses. An attempt waits the longer, the more of
// its account, its address, and the two together have failed lately; then it is
// looked at all the same. So nobody can lock anybody out: somebody's right
// password is taken after some seconds at most, whatever others do. Only one
// address with too many attempts waiting at once is sent away.
//
// What it remembers is bounded, and forgotten after a while without failures.
type Throttle struct {
	Now func() time.Time // nil = time.Now

	mu       sync.Mutex
	failures map[throttleKey]failed
	waiting  map[string]int // by address
}

type throttleKey struct{ name, address string } // one of them may be ""

// neighbourhood gives what counts as one address. Whoever has one of IPv6 has
// its whole /64, so those together are one.
func neighbourhood(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	whole, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return whole.String()
}

type failed struct {
	count int
	last  time.Time
}

const (
	throttleKeys    = 20_000           // remembered at most
	throttleForgets = 15 * time.Minute // after the last failure
	throttleWaiting = 20               // attempts of one address that wait at once
)

// patience is how failures become a delay: none for the first free ones, then
// first, and twice as much with each, up to most.
type patience struct {
	free        int
	first, most time.Duration
}

var (
	ofBoth    = patience{2, 500 * time.Millisecond, 10 * time.Second}
	ofAccount = patience{10, 250 * time.Millisecond, 3 * time.Second}
	ofAddress = patience{20, 250 * time.Millisecond, 5 * time.Second}
	ofCode    = patience{4, 5 * time.Second, time.Minute}
)

func (p patience) delay(count int) time.Duration {
	n := count - p.free
	if n <= 0 {
		return 0
	}
	return min(p.first<<min(n-1, 20), p.most)
}

func (t *Throttle) now() time.Time {
	if t.Now != nil {
		return t.Now()
	}
	return time.Now()
}

// Wait waits as long as an attempt has to; CodeTooMany where it is sent away.
func (t *Throttle) Wait(ctx context.Context, name, address string) error {
	name, address = account(name), neighbourhood(address)
	t.mu.Lock()
	if t.waiting == nil {
		t.waiting = map[string]int{}
	}
	delay := max(t.delay(throttleKey{name, address}, ofBoth), t.delay(throttleKey{name: name}, ofAccount), t.delay(throttleKey{address: address}, ofAddress))
	if t.waiting[address] >= throttleWaiting {
		t.mu.Unlock()
		return restart.Errorf(restart.CodeTooMany, "too many sign-ins from %s wait already", restart.Quote(address)).WithHint("try again in some seconds")
	}
	t.waiting[address]++
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.waiting[address]--; t.waiting[address] == 0 {
			delete(t.waiting, address)
		}
	}()
	if delay == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Try is for attempts that must not be waited for, since they take a place from
// others: CodeTooMany for a while after each failure of somebody at an address,
// the longer the more there were. Nobody else's failures count.
func (t *Throttle) Try(name, address string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, now := t.failures[throttleKey{account(name), neighbourhood(address)}], t.now()
	if left := ofCode.delay(f.count) - now.Sub(f.last); left > 0 {
		return restart.Errorf(restart.CodeTooMany, "that were too many wrong codes").WithHint("try again in %d s", int(left/time.Second)+1)
	}
	return nil
}

// account bounds what is remembered of a name that can't be anybody's.
func account(name string) string {
	if restart.CheckPerson(name) != nil {
		return "?"
	}
	return name
}

func (t *Throttle) delay(key throttleKey, p patience) time.Duration {
	f, ok := t.failures[key]
	if !ok || t.now().Sub(f.last) > throttleForgets {
		return 0
	}
	return p.delay(f.count)
}

// Failed notes that an attempt has failed.
func (t *Throttle) Failed(name, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failures == nil {
		t.failures = map[throttleKey]failed{}
	}
	now := t.now()
	name, address = account(name), neighbourhood(address)
	for _, key := range []throttleKey{{name, address}, {name: name}, {address: address}} {
		f := t.failures[key]
		if now.Sub(f.last) > throttleForgets {
			f.count = 0
		}
		f.count, f.last = min(f.count+1, 1000), now
		t.failures[key] = f
	}
	if len(t.failures) > throttleKeys {
		t.forget(now)
	}
}

// forget makes room: what is over goes, and where that is not enough, any half
// of the rest. It is then as if those had not failed yet; the cost of a hash,
// and that few are computed at once, still bound the guesses.
func (t *Throttle) forget(now time.Time) {
	for key, f := range t.failures {
		if now.Sub(f.last) > throttleForgets {
			delete(t.failures, key)
		}
	}
	for key := range t.failures {
		if len(t.failures) <= throttleKeys/2 {
			return
		}
		delete(t.failures, key)
	}
}

// Succeeded forgets the failures of a person at an address: it was he.
func (t *Throttle) Succeeded(name, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failures, throttleKey{account(name), neighbourhood(address)})
}
