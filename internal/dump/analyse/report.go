package analyse

import (
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// Options says how dumps are looked at. The zero Options fit any service.
type Options struct {
	Own    []string // prefixes of the service's own packages; empty = all that the tables don't know
	ByLine bool     // stacks that differ in a line number alone are different groups
}

// Report is what the dumps of one process say. The picture is that of its
// latest dump that is whole; Stuck and Hot are seen over all of them.
type Report struct {
	Runtime   dump.Runtime       `json:"runtime"`
	Program   string             `json:"program,omitempty"`
	Dumps     []Look             `json:"dumps"`
	Picture   int                `json:"picture"`  // which of Dumps is told of, from 0
	Span      time.Duration      `json:"span"`     // from the first dump to the last, in ns; 0 = one dump, or not known
	Threads   int                `json:"threads"`  // in the picture
	Internal  int                `json:"internal"` // of them the runtime's own
	Virtual   int                `json:"virtual"`  // of them virtual
	Idle      int                `json:"idle"`     // of them waiting for work
	States    map[dump.State]int `json:"states"`   // their sum is Threads
	Findings  []Finding          `json:"findings"` // the gravest first; never empty
	Deadlocks []Deadlock         `json:"deadlocks,omitempty"`
	Chains    []Chain            `json:"chains,omitempty"` // the most waiting threads first
	Pools     []Pool             `json:"pools,omitempty"`  // exhausted ones first, then by size
	Stuck     []Stuck            `json:"stuck,omitempty"`  // the most threads first
	Hot       []Hot              `json:"hot,omitempty"`    // the hottest first
	Groups    []StackGroup       `json:"groups"`           // identical stacks, busy ones first, then by size; their Threads add up to Threads
	Sites     []Site             `json:"sites,omitempty"`  // Go: where goroutines were created, the most first
	Locks     LockGraph          `json:"locks"`
}

// Look is one dump that was looked at.
type Look struct {
	Taken   time.Time   `json:"taken,omitzero"`
	Format  dump.Format `json:"format"`
	Threads int         `json:"threads"`
	Cut     string      `json:"cut,omitempty"` // why it is not whole
}

// ThreadRef names a thread of the dump.
type ThreadRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// DoingKind is what a thread does, as its innermost frames tell.
type DoingKind string

// The kinds of doing. For all but OnCPU and Waits the thread can't go on by itself.
const (
	OnCPU       DoingKind = "cpu"          // computes, or is ready to
	SocketRead  DoingKind = "socket-read"  // waits for an answer
	SocketWrite DoingKind = "socket-write" // waits for the other side to take what it sends
	Connects    DoingKind = "connect"
	Accepts     DoingKind = "accept" // waits for somebody to connect
	Polls       DoingKind = "poll"   // waits for any of several files or sockets
	Resolves    DoingKind = "resolve"
	File        DoingKind = "file" // reads, writes or syncs a file or a pipe
	WaitsLock   DoingKind = "lock" // for a lock that another thread holds
	Borrows     DoingKind = "borrow"
	Sleeps      DoingKind = "sleep"
	Result      DoingKind = "result"  // waits for the result of another thread
	Child       DoingKind = "child"   // waits for another process
	Channel     DoingKind = "channel" // sends to, receives from or selects on channels
	WaitsWork   DoingKind = "work"    // idle: waits for something to do
	Waits       DoingKind = "wait"    // until it is woken, by whom is not told
	Halted      DoingKind = "stopped" // by a signal or a debugger
	NotTold     DoingKind = "unclear"
)

// Peer is whom a thread deals with, where a library on its stack tells.
type Peer string

// The peers.
const (
	Database  Peer = "database"
	HTTP      Peer = "http"
	Cache     Peer = "cache"
	Queue     Peer = "queue"
	Directory Peer = "directory"
	Mail      Peer = "mail"
	Names     Peer = "dns"
)

// Doing is what a thread does, with whom and where.
type Doing struct {
	Kind  DoingKind `json:"kind"`
	Peer  Peer      `json:"peer,omitempty"`
	Frame string    `json:"frame,omitempty"` // the innermost that is not the runtime's, else the innermost
	Own   string    `json:"own,omitempty"`   // the innermost of the service itself
}

// StackFrame is one frame as it is shown.
type StackFrame struct {
	Name   string `json:"name"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Origin Origin `json:"origin"`
}

// StackGroup is the threads whose stacks are the same.
type StackGroup struct {
	Key      string             `json:"key"` // of the stack: the same in every dump and on every host
	Threads  int                `json:"threads"`
	States   map[dump.State]int `json:"states"`
	Does     Doing              `json:"does"`
	Idle     bool               `json:"idle,omitempty"`
	Internal bool               `json:"internal,omitempty"` // all are the runtime's own
	Stack    []StackFrame       `json:"stack"`              // the innermost first; of one of them
	IDs      []string           `json:"ids"`                // of all of them, in order
}

// Deadlock is a circle of threads, each waiting for a lock of the next.
type Deadlock struct {
	Told    bool     `json:"told"`   // the runtime reported it
	Found   bool     `json:"found"`  // it was found in what the threads hold and wait for
	Behind  int      `json:"behind"` // further threads that wait for one of these
	Members []Member `json:"members"`
}

// Member is one thread of a deadlock.
type Member struct {
	ThreadRef

	Lock  LockRef `json:"lock"` // it waits for
	Owner string  `json:"owner"`
	Frame string  `json:"frame,omitempty"`
	Own   string  `json:"own,omitempty"`
}

// LockRef names a lock.
type LockRef struct {
	ID    string        `json:"id,omitempty"`
	Class string        `json:"class,omitempty"`
	Kind  dump.LockKind `json:"kind"`
}

// Chain is a queue of threads behind one that they all wait for, directly or
// by way of others. Its links are the most crowded way from the outside in.
type Chain struct {
	Threads int        `json:"threads"` // that wait
	Depth   int        `json:"depth"`   // links
	Links   []Link     `json:"links"`   // the last one's holder is Root
	Root    *ThreadRef `json:"root,omitempty"`
	Does    Doing      `json:"does"` // what Root does instead of giving back; unclear without Root
	IDs     []string   `json:"ids"`  // of the threads that wait, at most MaxIDs
}

// Link is one lock of a chain.
type Link struct {
	Lock    LockRef    `json:"lock"`
	Waiting int        `json:"waiting"`         // threads that wait for this lock itself
	Owner   *ThreadRef `json:"owner,omitempty"` // nil = the dump does not tell
	Frame   string     `json:"frame,omitempty"` // where its owner is
	Own     string     `json:"own,omitempty"`
}

// Pool is threads that serve the same queue.
type Pool struct {
	Name      string   `json:"name"`
	Threads   int      `json:"threads"`
	Busy      int      `json:"busy"`
	Idle      int      `json:"idle"`
	Exhausted bool     `json:"exhausted"` // all busy, in every dump
	Virtual   bool     `json:"virtual,omitempty"`
	Frame     string   `json:"frame,omitempty"` // where most of the busy ones are
	At        int      `json:"at,omitempty"`    // how many that is
	Does      Doing    `json:"does"`            // what those do
	IDs       []string `json:"ids"`
}

// Stuck is threads that stood on the same stack in every dump of the series,
// and were not idle.
type Stuck struct {
	Key     string        `json:"key"` // of the StackGroup
	Threads int           `json:"threads"`
	Does    Doing         `json:"does"`
	Dumps   int           `json:"dumps"`
	Span    time.Duration `json:"span"` // in ns; 0 = not known
	IDs     []string      `json:"ids"`
}

// Hot is a thread that used a processor between the first dump and the last.
type Hot struct {
	ThreadRef

	Internal bool          `json:"internal,omitempty"`
	CPU      time.Duration `json:"cpu"`     // used, in ns
	Percent  float64       `json:"percent"` // of one core
	Does     Doing         `json:"does"`
	Same     bool          `json:"same"` // in the same own or library frame in every dump
}

// Site is where goroutines come from.
type Site struct {
	Frame   string        `json:"frame"` // that created them
	File    string        `json:"file,omitempty"`
	Line    int           `json:"line,omitempty"`
	Threads int           `json:"threads"`
	Does    Doing         `json:"does"`              // what most of them do
	At      int           `json:"at"`                // how many that is
	Longest time.Duration `json:"longest,omitempty"` // in their state, in ns
	Grown   int           `json:"grown,omitempty"`   // since the first dump of the series
	IDs     []string      `json:"ids"`               // at most MaxIDs
}

// LockGraph is the locks that threads queue for, ready to be drawn.
type LockGraph struct {
	Nodes []LockNode `json:"nodes,omitempty"`
	Edges []LockEdge `json:"edges,omitempty"`
	Left  int        `json:"left,omitempty"` // waiting threads that are not drawn: the graph is bounded
}

// NodeKind says what a node is.
type NodeKind string

// The kinds of nodes.
const (
	ThreadNode  NodeKind = "thread"
	WaitersNode NodeKind = "waiters" // several threads that wait for one lock and hold none that matters
	LockedNode  NodeKind = "lock"
)

// LockNode is a thread, a crowd of threads, or a lock.
type LockNode struct {
	ID       string   `json:"id"` // within the graph
	Kind     NodeKind `json:"kind"`
	Name     string   `json:"name"`             // of the thread, or the class of the lock
	Thread   string   `json:"thread,omitempty"` // Thread.ID; of a crowd, of its first
	Threads  int      `json:"threads,omitempty"`
	Does     *Doing   `json:"does,omitempty"`
	Deadlock bool     `json:"deadlock,omitempty"` // it is part of one
}

// EdgeKind says what an edge means.
type EdgeKind string

// The kinds of edges.
const (
	HoldsEdge EdgeKind = "holds" // from a thread to a lock
	WaitsEdge EdgeKind = "waits" // from a thread to a lock
)

// LockEdge joins a thread and a lock.
type LockEdge struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Kind     EdgeKind `json:"kind"`
	Threads  int      `json:"threads"`
	Deadlock bool     `json:"deadlock,omitempty"`
}

// MaxIDs bounds the lists of threads that a finding, a chain or a site carries;
// StackGroup and Pool carry all of theirs.
const MaxIDs = 100

// Verdict gives the finding to show first. That nothing stands out is one too.
func (r *Report) Verdict() Finding {
	if len(r.Findings) == 0 {
		return Finding{Kind: NoThreads, Severity: Note}
	}
	return r.Findings[0]
}
