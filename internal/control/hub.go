package control

import "sync"

// Hub tells those who watch a run that it has changed. It is a hint only:
// whoever is told reads the run from the store, and looks by itself now and
// then, as another server may have changed it.
type Hub struct {
	mu      sync.Mutex
	watches map[string]map[chan struct{}]struct{} // by run id; "" watches all
}

// NewHub returns an empty Hub.
func NewHub() *Hub { return &Hub{watches: map[string]map[chan struct{}]struct{}{}} }

// Watch gives a channel that gets a value after a run has changed ("" means
// any run), several changes perhaps as one; stop ends it.
func (h *Hub) Watch(run string) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watches[run] == nil {
		h.watches[run] = map[chan struct{}]struct{}{}
	}
	h.watches[run][ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watches[run], ch)
		if len(h.watches[run]) == 0 {
			delete(h.watches, run)
		}
	}
}

// Changed tells the watchers of a run. It never blocks.
func (h *Hub) Changed(run string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range []string{run, ""} {
		for ch := range h.watches[key] {
			select {
			case ch <- struct{}{}:
			default: // it has not looked since the last change: it will see both
			}
		}
	}
}
