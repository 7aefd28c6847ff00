package fleet

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Watch polls the nginx of several hosts throughout, and knows how many were
// down at one moment. It is a witness: it asks no part of the product.
type Watch struct {
	stop    context.CancelFunc
	polling sync.WaitGroup

	mu    sync.Mutex
	down  map[string]bool
	most  int             // hosts down at one moment
	seen  map[string]bool // hosts that were down at least once
	who   string          // the first moment with more than one down
	polls int
}

// NewWatch begins to poll, each host every few milliseconds.
func NewWatch(f *Fleet, hosts []*Host) *Watch {
	ctx, stop := context.WithCancel(context.WithoutCancel(f.t.Context()))
	w := &Watch{stop: stop, down: map[string]bool{}, seen: map[string]bool{}}
	client := &http.Client{Transport: &http.Transport{DialContext: f.Dial, DisableKeepAlives: true}, Timeout: 2 * time.Second}
	for _, h := range hosts {
		w.polling.Go(func() {
			for ctx.Err() == nil {
				w.note(h.short(), poll(ctx, client, h))
				select {
				case <-ctx.Done():
				case <-time.After(4 * time.Millisecond):
				}
			}
		})
	}
	return w
}

func poll(ctx context.Context, client *http.Client, h *Host) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.Name+"/", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return ctx.Err() != nil // the end of the watch says nothing of the host
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (w *Watch) note(host string, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls++
	if up {
		delete(w.down, host)
		return
	}
	w.down[host], w.seen[host] = true, true
	if len(w.down) > w.most {
		w.most = len(w.down)
	}
	if len(w.down) > 1 && w.who == "" {
		names := []string{}
		for name := range w.down {
			names = append(names, name)
		}
		w.who = strings.Join(names, " and ")
	}
}

// Seen is what a watch has seen.
type Seen struct {
	Most     int    // hosts down at one moment
	Hosts    int    // hosts that were down at least once
	Polls    int    // requests made
	Together string // the hosts of the first moment with more than one down
}

// Stop ends the watch.
func (w *Watch) Stop() Seen {
	w.stop()
	w.polling.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return Seen{w.most, len(w.seen), w.polls, w.who}
}
