package analyse

import (
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// act is what a frame says about the thread that stands in it.
type act struct {
	kind  DoingKind
	level int // the higher one of two frames counts, and of equals the inner one
}

// The levels of acts.
const (
	weak  = 1 // a frame further out may say better what for: a park
	firm  = 2
	known = 3 // a loop that is known to wait, whatever it waits in
)

// doingOf says what a thread does, by its stack and what the runtime says of it.
func doingOf(t *dump.Thread, s *stack) Doing {
	d := Doing{Kind: kindOf(t, s), Peer: s.peer}
	if d.Kind == Borrows {
		d.Frame = s.borrow.name
	} else if s.block != nil {
		d.Frame = s.block.name
	}
	if s.own != nil {
		d.Own = s.own.name
	}
	if d.Kind == Resolves {
		d.Peer = Names
	}
	return d
}

func kindOf(t *dump.Thread, s *stack) DoingKind {
	switch {
	case t.State == dump.Stopped:
		return Halted
	case t.State == dump.Ended || t.State == dump.New || t.Carries != "": // what it carries does something
		return NotTold
	case t.State == dump.Running && movesData(s.act.kind): // a JVM calls a thread in a system call runnable
		return s.act.kind
	case t.State == dump.Running && !s.isParked():
		return OnCPU
	case s.borrow != nil && !movesData(s.act.kind): // else it opens a connection, or tests one
		return Borrows
	case t.State == dump.Blocked || t.WaitsFor != nil && isLock(*t.WaitsFor):
		return WaitsLock
	case s.act.level > weak:
		return s.act.kind
	}
	return kindOfDetail(t, s)
}

// kindOfDetail is for stacks that tell little: a goroutine's shows no frame for
// a channel, its header does.
func kindOfDetail(t *dump.Thread, s *stack) DoingKind {
	switch {
	case strings.HasPrefix(t.Detail, "chan "), strings.HasPrefix(t.Detail, "select"):
		return Channel
	case strings.HasPrefix(t.Detail, "sync.Mutex"), strings.HasPrefix(t.Detail, "sync.RWMutex"):
		return WaitsLock
	case strings.HasPrefix(t.Detail, "sleep"):
		return Sleeps
	case s.act.kind == Waits && s.isRuntimeOnly():
		return WaitsWork
	case s.act.kind != "":
		return s.act.kind
	case t.State == dump.Waiting, t.State == dump.TimedWaiting:
		return Waits
	}
	return NotTold
}

// isParked tells whether the innermost frame gave the processor away, whatever
// the state says: a form of dump that knows no states calls all threads running.
func (s *stack) isParked() bool {
	return len(s.places) > 0 && (s.places[0].act.kind == Waits || s.places[0].act.kind == Sleeps)
}

// isRuntimeOnly tells whether a stack is whole and has no frame of anybody else:
// then it is the runtime's own machinery that waits, for work.
func (s *stack) isRuntimeOnly() bool {
	return s.block != nil && s.block.origin == FromRuntime && !isBare(s.places[len(s.places)-1].name)
}

// isMachine tells whether a stack shows machine code alone, so that nobody can
// tell for whom.
func (s *stack) isMachine() bool {
	for _, p := range s.places {
		if !isBare(p.name) {
			return false
		}
	}
	return true
}

// movesData tells whether a thread talks to somebody, and does not wait for
// another thread.
func movesData(k DoingKind) bool {
	switch k {
	case SocketRead, SocketWrite, Connects, Accepts, Polls, Resolves, File, Child:
		return true
	default:
		return false
	}
}

// isIdle tells whether a thread waits for something to do. An event loop that
// waits for a database is not idle, one that waits for anything is.
func isIdle(t *dump.Thread, d Doing) bool {
	switch {
	case t.Internal:
		return true
	case d.Kind == Polls:
		return d.Peer == "" || d.Peer == Queue
	}
	return d.Kind == WaitsWork || d.Kind == Accepts
}

// isLock tells whether l is something that one thread holds and gives back. A
// semaphore, a latch and a condition are not.
func isLock(l dump.Lock) bool {
	switch l.Kind {
	case dump.Monitor, dump.Class:
		return true
	case dump.Mutex: // without a class it is a futex, a condition as often as a lock
		return l.Class != "" || l.Owner != ""
	case dump.Synchronizer:
		return l.Owner != "" || l.Class == "" || strings.Contains(l.Class, "Lock")
	default:
		return false
	}
}

// peerOf tells by a library's name whom it deals with.
func peerOf(name string) Peer {
	if i := strings.IndexByte(name, '('); i > 0 && name[i-1] == ' ' { // Python: execute (psycopg/cursor.py)
		file := name[i+1 : len(name)-1]
		if p, ok := pythonPeers[file]; ok {
			return p
		}
		first, _, _ := strings.Cut(file, "/")
		return pythonPeers[first]
	}
	for _, entry := range peers {
		if strings.HasPrefix(name, entry.prefix) {
			return entry.peer
		}
	}
	return ""
}
