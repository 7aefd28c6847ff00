package web

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// broadcasts are the runs that somebody looks at. However many look at one, it
// is read once, and each of its steps is rendered once for each language.
type broadcasts struct {
	site  *site
	mu    sync.Mutex
	byRun map[string]*broadcast
}

// broadcast is one run for all its readers. It goes on for as long as it has
// any, or until the run is over.
type broadcast struct {
	id      string
	cancel  context.CancelFunc
	readers int // guarded by broadcasts.mu

	began chan struct{} // closed once there is a step, or none will be

	mu     sync.Mutex
	recent []*step // the newest is the last
	over   bool
	err    error // why it is over; nil = the run is
}

// keptSteps is how many steps a broadcast keeps. A reader who is further behind gets
// what he has missed as one event of his own.
const keptSteps = 8

// step is the run at one moment. Readers go from one step to the next, each at
// his own pace; waiting, they hold none, as the tasks of a run may be many.
type step struct {
	number  int
	at      time.Time
	run     restart.Run    // with its plan and all tasks; never changed
	changed []restart.Task // since the step before
	notes   map[string]string
	frozen  bool
	moved   bool   // a state is another one since the step before
	key     string // for the forms of this step
	boards  *boards

	passed chan struct{} // closed once there is a next one, or none will be

	mu    sync.Mutex
	texts map[string]string // rendered, by language and, of forms, by what is in them
}

// boards are those of one plan, by language.
type boards struct {
	mu     sync.Mutex
	byLang map[language]*board
}

func (b *boards) of(l language, run restart.Run) *board {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byLang[l] == nil {
		b.byLang[l] = newBoard(l, run)
	}
	return b.byLang[l]
}

// join gives the broadcast of a run, to be left again.
func (bs *broadcasts) join(id string) *broadcast {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b := bs.byRun[id]
	if b == nil {
		ctx, cancel := context.WithCancel(context.Background()) // of all its readers: the last one ends it
		b = &broadcast{id: id, cancel: cancel, began: make(chan struct{})}
		bs.byRun[id] = b
		go bs.run(ctx, b)
	}
	b.readers++
	return b
}

func (bs *broadcasts) leave(b *broadcast) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b.readers--; b.readers == 0 {
		b.cancel()
		bs.forget(b)
	}
}

// forget lets the next reader begin another broadcast. The lock is held.
func (bs *broadcasts) forget(b *broadcast) {
	if bs.byRun[b.id] == b {
		delete(bs.byRun, b.id)
	}
}

// run makes steps until the run is over, or the last reader has gone.
func (bs *broadcasts) run(ctx context.Context, b *broadcast) {
	defer b.cancel()
	err := bs.site.cfg.Control.Broadcast(ctx, b.id, maxNotes, func(g control.Glance) error {
		if b.add(g, bs.site.cfg.Now()) {
			return nil // the first has no one to wait for
		}
		select {
		case <-time.After(pace): // what changes meanwhile comes as one
		case <-ctx.Done():
		}
		return nil
	})
	bs.mu.Lock()
	bs.forget(b)
	bs.mu.Unlock()
	b.end(err)
}

// add makes the next step; it tells whether it is the first.
func (b *broadcast) add(g control.Glance, now time.Time) (first bool) {
	s := &step{
		at: now, run: g.Run, changed: g.Tasks, notes: g.Notes, frozen: g.Frozen, moved: true, key: restart.NewID(now),
		passed: make(chan struct{}), texts: map[string]string{}, boards: &boards{byLang: map[language]*board{}},
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.recent) == 0 {
		b.recent = []*step{s}
		close(b.began)
		return true
	}
	before := b.recent[len(b.recent)-1]
	s.number = before.number + 1
	s.run.Tasks = restart.Merge(before.run.Tasks, g.Tasks)
	s.moved = moved(before.run, s.run)
	if s.run.GlassReview == nil {
		s.run.GlassReview = before.run.GlassReview
	}
	if s.run.Plan == nil {
		s.run.Plan, s.boards = before.run.Plan, before.boards
	}
	s.notes = maps.Clone(before.notes) // of whom nothing new is said
	for _, t := range g.Tasks {
		delete(s.notes, t.ID)
	}
	maps.Copy(s.notes, g.Notes)
	b.recent = append(b.recent[max(0, len(b.recent)-keptSteps+1):len(b.recent):len(b.recent)], s)
	close(before.passed)
	return false
}

// end tells the readers that there is no further step.
func (b *broadcast) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over, b.err = true, err
	if len(b.recent) == 0 {
		close(b.began)
		return
	}
	close(b.recent[len(b.recent)-1].passed)
}

// newest gives the step from which a new reader goes on; nil where there is
// none, with why.
func (b *broadcast) newest(ctx context.Context) (*step, error) {
	select {
	case <-b.began:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.recent) == 0 {
		return nil, b.err
	}
	return b.recent[len(b.recent)-1], nil
}

// after gives the step after the one of a number, or, with behind, the newest
// where that one is not kept any more; nil where there is none, with why.
func (b *broadcast) after(number int) (next *step, behind bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.recent[len(b.recent)-1]
	at := len(b.recent) - 1 - (last.number - number - 1)
	switch {
	case last.number == number:
		return nil, false, b.err
	case at < 0:
		return last, true, nil
	}
	return b.recent[at], false, nil
}

// text gives what the readers of a language get of a step.
func (s *step) text(site *site, l language) (string, error) {
	return s.once(string(l), func() (string, error) {
		return site.frame(s, l, s.at, s.changed, s.moved)
	})
}

// forms gives what readers of a language get who may press the same.
func (s *step) forms(site *site, l language, a acts) (string, error) {
	return s.once(fmt.Sprint(l, " ", a), func() (string, error) {
		var b bytes.Buffer
		if err := site.pages[l][pageRun]().ExecuteTemplate(&b, "acts", a); err != nil {
			return "", fmt.Errorf("render forms: %w", err)
		}
		return data(b.String()), nil
	})
}

func (s *step) once(key string, render func() (string, error)) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := s.texts[key]; ok {
		return text, nil
	}
	text, err := render()
	if err == nil {
		s.texts[key] = text
	}
	return text, err
}

// frame renders a step with so many of its tasks, as lines of an event.
func (s *site) frame(now *step, l language, at time.Time, changed []restart.Task, aloud bool) (string, error) {
	attempts := map[string]int{} // the newest of each host
	for _, t := range now.run.Tasks {
		attempts[t.Host] = max(attempts[t.Host], t.Attempt)
	}
	board := now.boards.of(l, now.run)
	f := frame{Title: board.title(now.run), Run: board.view(now.run, at)}
	f.Run.Live = true
	for _, t := range changed {
		if t.Attempt < attempts[t.Host] {
			continue
		}
		c, r := board.cell(t), board.row(t, now.notes[t.ID], at)
		c.Live, r.Live = true, true
		f.Cells, f.Hosts = append(f.Cells, c), append(f.Hosts, r)
	}
	if board.total > maxCells {
		f.Cells = nil
	}
	f.Parts = board.sights(now.run.ID, tallyOf(hostsOf(now.run)), "")
	if aloud {
		f.Said = say(l, "said.run", f.Run.State, f.Run.Counts[0].Text)
	}
	var b bytes.Buffer
	if err := s.pages[l][pageRun]().ExecuteTemplate(&b, "frame", f); err != nil {
		return "", fmt.Errorf("render an event: %w", err)
	}
	return data(b.String()), nil
}
