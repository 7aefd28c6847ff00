package analyse

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/restartilka/restartilka/internal/dump"
)

// Lens looks at single threads, as the reports do: for tables and pages of
// threads. It remembers the frames and stacks it has seen, and is for one
// goroutine at a time.
type Lens struct {
	o      Options
	places map[placeKey]*place
	stacks map[string]*stack
	buffer []byte
}

// View is what a Lens sees of one thread.
type View struct {
	Does  Doing        `json:"does"`
	Idle  bool         `json:"idle,omitempty"`
	Pool  string       `json:"pool,omitempty"`
	Key   string       `json:"key"` // of its StackGroup
	Stack []StackFrame `json:"stack,omitempty"`
}

// NewLens gives a Lens.
func NewLens(o Options) *Lens {
	return &Lens{o: o, places: map[placeKey]*place{}, stacks: map[string]*stack{}}
}

// Thread says what a thread does. Whether the lock it waits for is held, only a
// Report tells.
func (l *Lens) Thread(t *dump.Thread) View {
	s := l.stackOf(t.Stack)
	does := doingOf(t, s)
	return View{Does: does, Idle: isIdle(t, does), Pool: poolOf(t), Key: s.key(), Stack: l.frames(t.Stack)}
}

// placeKey is what tells a frame from others; its line is not.
type placeKey struct{ function, file, module string }

// place is a frame, and what the tables know of it.
type place struct {
	number uint64
	name   string
	origin Origin
	act    act
	borrow string // the pool that it borrows from; "" = none
	peer   Peer
}

func (l *Lens) placeOf(f *dump.Frame) *place {
	key := placeKey{f.Function, f.File, f.Module}
	p, known := l.places[key]
	if !known {
		p = &place{number: uint64(len(l.places)), name: NameOf(*f), origin: OriginOf(*f, l.o.Own)}
		p.act, p.borrow, p.peer = acts[p.name], borrows[p.name], peerOf(p.name)
		l.places[key] = p
	}
	return p
}

// stack is what all threads with the same frames have in common.
type stack struct {
	places []*place
	lines  []int // nil unless stacks differ by line
	act    act   // of the innermost frames
	borrow *place
	peer   Peer
	block  *place // the innermost that is not the runtime's, else the one that acts, else the innermost; nil = no frames
	own    *place // the innermost of the service; nil = none
	hash   string
}

func (l *Lens) stackOf(frames []dump.Frame) *stack {
	l.buffer = l.buffer[:0]
	for i := range frames {
		l.buffer = binary.AppendUvarint(l.buffer, l.placeOf(&frames[i]).number)
		if l.o.ByLine {
			l.buffer = binary.AppendUvarint(l.buffer, uint64(max(frames[i].Line, 0)))
		}
	}
	s, known := l.stacks[string(l.buffer)]
	if !known {
		s = l.newStack(frames)
		l.stacks[string(l.buffer)] = s
	}
	return s
}

// newStack reads a stack from its innermost frame: what it does from the
// runtime's frames and the first that is not, for whom from those down to the
// first of the service itself.
func (l *Lens) newStack(frames []dump.Frame) *stack {
	s := &stack{places: make([]*place, len(frames))}
	var acts *place
	for i := range frames {
		p := l.placeOf(&frames[i])
		s.places[i] = p
		if l.o.ByLine {
			s.lines = append(s.lines, frames[i].Line)
		}
		if s.own != nil {
			continue
		}
		if s.block == nil && p.act.level > s.act.level {
			s.act, acts = p.act, p
		}
		if p.borrow != "" {
			s.borrow = p // the outermost: what the service called
		}
		if s.peer == "" {
			s.peer = p.peer
		}
		if p.origin != FromRuntime && s.block == nil {
			s.block = p
		}
		if p.origin == FromOwn {
			s.own = p
		}
	}
	switch {
	case s.block != nil:
	case acts != nil:
		s.block = acts
	case len(s.places) > 0:
		s.block = s.places[0]
	}
	return s
}

// key is the same for the same frames, whatever else was seen.
func (s *stack) key() string {
	if s.hash == "" {
		var text []byte
		for i, p := range s.places {
			text = append(append(text, p.name...), '\n')
			if s.lines != nil {
				text = binary.AppendUvarint(text, uint64(max(s.lines[i], 0)))
			}
		}
		sum := sha256.Sum256(text)
		s.hash = hex.EncodeToString(sum[:8])
	}
	return s.hash
}

func (l *Lens) frames(frames []dump.Frame) []StackFrame {
	shown := make([]StackFrame, len(frames))
	for i := range frames {
		p := l.placeOf(&frames[i])
		shown[i] = StackFrame{Name: p.name, File: frames[i].File, Line: frames[i].Line, Origin: p.origin}
	}
	return shown
}
