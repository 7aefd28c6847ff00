package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/api"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/inventory"
)

const (
	// readyTime bounds the checks of one /readyz.
	readyTime = 3 * time.Second
	// roomForRecords is the free space, in bytes, below which the database or
	// the local audit trail counts as full: outcomes of what is in hand must
	// still find room.
	roomForRecords = 32 << 20
)

// readiness is what /readyz needs beside the parts themselves.
type readiness struct {
	stopping chan struct{} // closed when the server begins to stop
	once     sync.Once

	mu   sync.Mutex
	said map[string]string // by check: its error at the last look, "" for none
}

func newReadiness() *readiness {
	return &readiness{stopping: make(chan struct{}), said: map[string]string{}}
}

func (r *readiness) stop() { r.once.Do(func() { close(r.stopping) }) }

func (r *readiness) serving() error {
	select {
	case <-r.stopping:
		return errors.New("the server is stopping")
	default:
		return nil
	}
}

// ready looks whether the server can do its work. Everybody may ask for it, so
// it costs a few small questions to the database, and nothing else.
func (s *Server) ready(ctx context.Context) []api.Check {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	var out []api.Check
	add := func(name string, err error) { out = append(out, api.Check{Name: name, Err: err}) }
	err := s.store.Ping(ctx)
	add("database", err)
	if err == nil {
		err = s.store.SchemaFits(ctx)
	}
	add("schema", err)
	var never error
	if seen := s.inventory.look(ctx); seen.good.IsZero() {
		if never = seen.err; never == nil {
			never = errors.New("it has not been read yet")
		}
	}
	add("inventory", never)
	add("audit", s.auditReady(ctx))
	out[len(out)-1].Note = logNote(s.trail.Standing())
	add("disk", s.diskReady())
	add("serving", s.state.serving())
	s.state.note(s.log, out)
	return out
}

// auditReady tells whether records get their place in the trail and reach the
// sinks on this machine. A remote one may be away: what it has not taken is kept.
func (s *Server) auditReady(ctx context.Context) error {
	stats, err := s.trail.Stats(ctx)
	if err != nil {
		return err
	}
	if stats.Error != "" {
		return errors.New(stats.Error)
	}
	for _, sink := range stats.Sinks {
		if sink.Level == audit.LevelSpool && sink.Error != "" {
			return fmt.Errorf("%s: %s", sink.Name, sink.Error)
		}
	}
	return nil
}

// logNote says on /readyz what is wrong with the log; "" = nothing is. The
// server is ready all the same: people must be able to look, and to stop runs.
func logNote(now audit.Standing) string {
	switch {
	case !now.Late.IsZero():
		return "the log takes no records, so no host is touched"
	case now.Fill == audit.FillFull:
		return fmt.Sprintf("the spool is %d %% full, so no run starts", now.Percent())
	case now.Fill == audit.FillWarn:
		return fmt.Sprintf("the spool is %d %% full", now.Percent())
	}
	return ""
}

func (s *Server) diskReady() error {
	for use, dir := range s.storage() {
		free, err := freeSpace(dir)
		if err != nil {
			return err
		}
		if free < roomForRecords {
			return fmt.Errorf("%d bytes are left for the %s in %s", free, use, dir)
		}
	}
	return nil
}

// note logs each check that has changed, once, with the why that nobody is told
// over the network.
func (r *readiness) note(log *slog.Logger, checks []api.Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range checks {
		text := ""
		if c.Err != nil {
			text = c.Err.Error()
		}
		before, known := r.said[c.Name]
		r.said[c.Name] = text
		switch {
		case (before == "") == (text == "") && known, !known && text == "":
		case text == "":
			log.Info("ready again", "check", c.Name)
		default:
			log.Warn("not ready", "check", c.Name, "error", text)
		}
	}
}

// inventoryWatch asks the inventory for those who want to know how it is,
// without letting them wait for a slow source, or break its answer off.
type inventoryWatch struct {
	source *inventory.Inventory
	life   context.Context // of the questions, which outlive who asked
	end    context.CancelFunc
	asking sync.WaitGroup

	mu   sync.Mutex
	busy chan struct{} // closed at the end of the question in hand; nil = none is
	seen inventoryState
}

// inventoryState is what the last question gave.
type inventoryState struct {
	good  time.Time // of the last good answer; zero = never
	hosts int
	err   error            // of the source now; nil = it is good
	parts []inventory.Part // its sources, where it has several
}

const (
	// inventoryPatience is how long one question may take.
	inventoryPatience = time.Minute
	// inventoryGlance is how long who looks waits for it.
	inventoryGlance = time.Second
)

func newInventoryWatch(source *inventory.Inventory) *inventoryWatch {
	life, end := context.WithCancel(context.Background())
	return &inventoryWatch{source: source, life: life, end: end}
}

// close ends the question in hand and waits for it.
func (w *inventoryWatch) close() {
	w.mu.Lock()
	w.end()
	w.mu.Unlock()
	w.asking.Wait()
}

// look gives the state now, or the last one where the source is slow. The
// inventory itself decides how often its source is asked.
func (w *inventoryWatch) look(ctx context.Context) inventoryState {
	w.mu.Lock()
	if w.busy == nil && w.life.Err() == nil {
		w.busy = make(chan struct{})
		w.asking.Go(w.ask)
	}
	busy := w.busy
	w.mu.Unlock()
	glance := time.NewTimer(inventoryGlance)
	defer glance.Stop()
	if busy != nil {
		select {
		case <-busy:
		case <-glance.C:
		case <-ctx.Done():
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

func (w *inventoryWatch) ask() {
	ctx, cancel := context.WithTimeout(w.life, inventoryPatience)
	defer cancel()
	now, err := w.source.Snapshot(ctx)
	var parts []inventory.Part
	if w.source.Merged() {
		parts = w.source.Parts(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.Err() == nil {
		w.seen.parts = parts
	}
	switch {
	case err != nil && w.life.Err() != nil: // we are leaving: says nothing about the source
	case err != nil:
		w.seen.err = err
	default:
		w.seen = inventoryState{good: now.FetchedAt, hosts: len(now.Hosts), parts: parts}
		if now.Stale || len(now.Missing) > 0 {
			w.seen.err = errors.New(now.Problem)
		}
	}
	close(w.busy)
	w.busy = nil
}
