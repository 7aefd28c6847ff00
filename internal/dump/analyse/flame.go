package analyse

import "github.com/restartilka/restartilka/internal/dump"

// Weight says what the width of a flame is.
type Weight string

// The weights.
const (
	ByThread Weight = "threads" // each thread of each dump counts one
	ByCPU    Weight = "cpu"     // ns that a thread used up to its last dump, or between the first and the last
)

// FlameOptions says what is merged, and how.
type FlameOptions struct {
	Options

	Weight Weight // "" = ByThread
	Busy   bool   // leave out idle threads and the runtime's own
	Pools  bool   // put the name of the pool, or of the thread, below the outermost frame
}

// Flame is the stacks of many threads, merged from the outermost frame.
type Flame struct {
	Weight Weight     `json:"weight"`
	Dumps  int        `json:"dumps"`
	Depth  int        `json:"depth"` // frames of the deepest stack
	Root   *FlameNode `json:"root"`  // stands for all; its Name is ""
}

// FlameNode is a frame with all that was called from there.
type FlameNode struct {
	Name     string       `json:"name"`
	File     string       `json:"file,omitempty"`
	Origin   Origin       `json:"origin,omitempty"` // "" = no frame: the root, a pool, or frames left out
	Total    int64        `json:"total"`            // threads, or ns
	Self     int64        `json:"self,omitempty"`   // of it not in Children
	Children []*FlameNode `json:"children,omitempty"`
}

// MaxFlame bounds the depth of a flame: of a longer stack the innermost frames
// are one, named "…".
const MaxFlame = 1000

// FlameOf merges the stacks of dumps. The Total of its root is the number of
// threads of all of them, or the time that they used.
func FlameOf(dumps []*dump.Dump, o FlameOptions) *Flame { return &Flame{Root: &FlameNode{}} }
