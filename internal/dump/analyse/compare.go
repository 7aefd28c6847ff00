package analyse

import (
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// Difference is what changed from one dump to another of the same service.
type Difference struct {
	Before    Side          `json:"before"`
	After     Side          `json:"after"`
	Restarted bool          `json:"restarted"` // another process: threads are matched by name
	Same      int           `json:"same"`      // threads on the same stack
	Appeared  int           `json:"appeared"`
	Gone      int           `json:"gone"`
	Moved     int           `json:"moved"`   // threads that are on another stack
	Threads   []Move        `json:"threads"` // those that moved, then appeared, then went; at most MaxMoves
	Groups    []GroupChange `json:"groups"`  // that grew or shrank, the most first
	Fixed     []Finding     `json:"fixed"`   // findings that are gone
	New       []Finding     `json:"new"`
	Still     []Finding     `json:"still"` // as they are after
}

// Side is one of the two dumps.
type Side struct {
	Taken   time.Time          `json:"taken,omitzero"`
	Threads int                `json:"threads"`
	States  map[dump.State]int `json:"states"`
	Verdict Finding            `json:"verdict"`
}

// MoveKind says what became of a thread.
type MoveKind string

// The kinds of moves.
const (
	MoveMoved    MoveKind = "moved"
	MoveAppeared MoveKind = "appeared"
	MoveGone     MoveKind = "gone"
)

// Move is one thread that is not where it was.
type Move struct {
	ThreadRef

	Kind   MoveKind   `json:"kind"`
	State  dump.State `json:"state,omitempty"`  // before; "" = it was not there
	Before *Doing     `json:"before,omitempty"` // nil = it was not there
	Now    dump.State `json:"now,omitempty"`
	After  *Doing     `json:"after,omitempty"` // nil = it is gone
}

// GroupChange is a stack that has more or fewer threads than before.
type GroupChange struct {
	Key    string `json:"key"`
	Does   Doing  `json:"does"`
	Idle   bool   `json:"idle,omitempty"`
	Before int    `json:"before"`
	After  int    `json:"after"`
}

// MaxMoves bounds Difference.Threads; Appeared, Gone and Moved count all.
const MaxMoves = 1000

// ChangeKind says what a Change is about.
type ChangeKind string

// The kinds of changes.
const (
	ChangeFixed   ChangeKind = "fixed" // Finding is gone
	ChangeNew     ChangeKind = "new"   // Finding is there now
	ChangeStill   ChangeKind = "still" // Finding is there before and after
	ChangeMoved   ChangeKind = "moved" // no finding in either; Moved threads of Threads are elsewhere
	ChangeNothing ChangeKind = "nothing"
)

// Change is the sentence about a Difference, in typed words.
type Change struct {
	Kind    ChangeKind `json:"kind"`
	Finding *Finding   `json:"finding,omitempty"`
	Fixed   int        `json:"fixed"` // findings that are gone, new, still there
	New     int        `json:"new"`
	Still   int        `json:"still"`
	Moved   int        `json:"moved"`
	Threads int        `json:"threads"` // after
}

// Compare says what changed from one dump to another of the same service,
// before and after a restart among them.
func Compare(before, after *dump.Dump, o Options) *Difference { return &Difference{} }

// Verdict gives the sentence about the difference.
func (d *Difference) Verdict() Change { return Change{Kind: ChangeNothing} }

// String gives the English sentence.
func (c Change) String() string { return "" }
