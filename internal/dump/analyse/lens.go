package analyse

import "github.com/restartilka/restartilka/internal/dump"

// Lens looks at single threads, as the reports do: for tables and pages of
// threads. It remembers the frames it has seen, and is for one goroutine at a time.
type Lens struct{ o Options }

// View is what a Lens sees of one thread.
type View struct {
	Does  Doing        `json:"does"`
	Idle  bool         `json:"idle,omitempty"`
	Pool  string       `json:"pool,omitempty"`
	Key   string       `json:"key"` // of its StackGroup
	Stack []StackFrame `json:"stack,omitempty"`
}

// NewLens gives a Lens.
func NewLens(o Options) *Lens { return &Lens{o: o} }

// Thread says what a thread does. Whether the lock it waits for is held, only a
// Report tells.
func (l *Lens) Thread(t *dump.Thread) View { return View{} }
