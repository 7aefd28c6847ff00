package dump

import "time"

// Runtime is the kind of program that a dump was taken of.
type Runtime string

// The runtimes.
const (
	JVM     Runtime = "jvm"
	Go      Runtime = "go"
	Python  Runtime = "python"
	Process Runtime = "process" // any: threads as the kernel sees them
)

// Runtimes lists the runtimes there are.
func Runtimes() []Runtime { return []Runtime{JVM, Go, Python, Process} }

// Format is the form in which a dump was written.
type Format string

// The formats.
const (
	HotSpot      Format = "hotspot"       // text of jstack, jcmd Thread.print, SIGQUIT; JDK 8 to 25
	HotSpotJSON  Format = "hotspot-json"  // jcmd Thread.dump_to_file -format=json
	HotSpotPlain Format = "hotspot-plain" // jcmd Thread.dump_to_file -format=plain
	Goroutines   Format = "goroutines"    // Go: pprof goroutine debug=2, SIGQUIT, a panic
	GoGrouped    Format = "go-grouped"    // Go: pprof goroutine debug=1
	Faulthandler Format = "faulthandler"  // Python
	PySpy        Format = "py-spy"        // py-spy dump
	Kernel       Format = "kernel"        // ours, from /proc
	Unknown      Format = "unknown"       // nothing in it was understood
)

// State is what a thread does, in one vocabulary for all runtimes. What the
// runtime itself said stands in Thread.Detail.
type State string

// The states of a thread.
const (
	Running      State = "running"       // on a processor, or ready for one
	Blocked      State = "blocked"       // waits to enter a lock that another holds
	Waiting      State = "waiting"       // until it is woken
	TimedWaiting State = "timed-waiting" // until it is woken, or for some time
	InIO         State = "io"            // in a system call that reads, writes, connects or accepts; on a disk
	Stopped      State = "stopped"       // by a signal or a debugger
	New          State = "new"
	Ended        State = "ended" // a zombie, or a thread that is over
	Unclear      State = "unclear"
)

// States lists the states, the most telling first.
func States() []State {
	return []State{Blocked, Running, InIO, Waiting, TimedWaiting, Stopped, New, Ended, Unclear}
}

// Dump is one look at all threads of one process.
type Dump struct {
	Runtime   Runtime      `json:"runtime"`
	Format    Format       `json:"format"`
	Header    *Header      `json:"header,omitempty"`  // nil = it comes from elsewhere
	Taken     time.Time    `json:"taken,omitzero"`    // by the header, or as the dump itself says
	Program   string       `json:"program,omitempty"` // the runtime's own words about itself: its name and version
	Fatal     string       `json:"fatal,omitempty"`   // what it died of, where this is a panic or a fatal error
	Threads   []Thread     `json:"threads"`           // in their order in the dump
	Deadlocks []Deadlock   `json:"deadlocks,omitempty"`
	Classes   []ClassCount `json:"classes,omitempty"` // of a histogram of the heap, the most bytes first
	Rest      []Fragment   `json:"rest,omitempty"`    // what was not understood
	Cut       string       `json:"cut,omitempty"`     // why it is not whole, in one sentence; "" = it is
	Lines     Span         `json:"lines"`             // in the text it was read from
}

// Thread is one thread, goroutine or kernel task.
type Thread struct {
	ID        string        `json:"id"` // within the dump: "12" (Java's #12), a goroutine's number, a kernel's
	Name      string        `json:"name"`
	State     State         `json:"state"`
	Detail    string        `json:"detail,omitempty"` // as the runtime says: "waiting on condition", "chan receive, 5 minutes"
	Native    int64         `json:"native,omitempty"` // the kernel's number of it; 0 = not known
	Priority  int           `json:"priority,omitempty"`
	Daemon    bool          `json:"daemon,omitempty"`
	Internal  bool          `json:"internal,omitempty"` // the runtime's own: garbage collector, compiler, signal dispatcher
	Virtual   bool          `json:"virtual,omitempty"`
	Carries   string        `json:"carries,omitempty"` // ID of the virtual thread that is mounted on it
	Carrier   string        `json:"carrier,omitempty"` // ID of the thread that it is mounted on
	Pool      string        `json:"pool,omitempty"`    // container that the runtime names; else parse leaves it to analyse
	CPU       time.Duration `json:"cpu,omitempty"`     // used since its start, in ns; -1 = not known
	Elapsed   time.Duration `json:"elapsed,omitempty"` // since its start, in ns; -1 = not known
	Since     time.Duration `json:"since,omitempty"`   // in this state, where the runtime tells (Go, in minutes); 0 = not told
	Stack     []Frame       `json:"stack,omitempty"`   // the innermost first
	Elided    bool          `json:"elided,omitempty"`  // frames are missing: the runtime left them out
	WaitsFor  *Lock         `json:"waits_for,omitempty"`
	Holds     []Lock        `json:"holds,omitempty"`
	CreatedBy *Frame        `json:"created_by,omitempty"`
	Count     int           `json:"count,omitempty"` // threads that this one stands for in a grouped form; 0 = 1
	Lines     Span          `json:"lines"`           // in the text it was read from
}

// Number gives how many threads t stands for.
func (t Thread) Number() int { return max(t.Count, 1) }

// Frame is one call of a stack.
type Frame struct {
	Function string   `json:"function"`         // "java.lang.Object.wait", "net/http.(*conn).serve", "do_epoll_wait"
	File     string   `json:"file,omitempty"`   // as the runtime says
	Line     int      `json:"line,omitempty"`   // 0 = not known
	Module   string   `json:"module,omitempty"` // Java's: "java.base@17.0.9"
	Native   bool     `json:"native,omitempty"` // machine code, where the others are not
	Inlined  bool     `json:"inlined,omitempty"`
	Locks    []Marked `json:"locks,omitempty"` // what it locks or waits for, as HotSpot tells below a frame
}

// LockKind says what is locked.
type LockKind string

// The kinds of locks.
const (
	Monitor      LockKind = "monitor"      // synchronized
	Synchronizer LockKind = "synchronizer" // java.util.concurrent
	Condition    LockKind = "condition"    // waited on, held by nobody: Object.wait, a condition, a parked queue
	Channel      LockKind = "channel"      // Go
	Mutex        LockKind = "mutex"        // Go, Python, futex
	Class        LockKind = "class"        // its initialization
)

// Lock is something that threads wait for, and one of them may hold.
type Lock struct {
	ID    string   `json:"id,omitempty"`    // its address, as the runtime writes it, or the monitor's; "" = not told
	Class string   `json:"class,omitempty"` // "java.util.concurrent.locks.ReentrantLock$NonfairSync"
	Kind  LockKind `json:"kind"`
	Owner string   `json:"owner,omitempty"` // Thread.ID of the holder, where the runtime itself tells
}

// Mark is what a frame does with a lock.
type Mark string

// The marks, as HotSpot writes them.
const (
	Locked        Mark = "locked"
	Eliminated    Mark = "eliminated" // by the compiler: it is not taken in fact
	WaitingToLock Mark = "waiting-to-lock"
	WaitingOn     Mark = "waiting-on" // Object.wait: given back meanwhile
	ParkingFor    Mark = "parking-for"
)

// Marked is one mark below a frame.
type Marked struct {
	Mark Mark `json:"mark"`
	Lock Lock `json:"lock"`
}

// Deadlock is a circle that the runtime itself reported: each thread waits for
// a lock of the next, the last for one of the first.
type Deadlock struct {
	Threads []DeadlockedThread `json:"threads"`
}

// DeadlockedThread is one thread of a circle.
type DeadlockedThread struct {
	Name  string `json:"name"`
	Lock  Lock   `json:"lock"`  // that it waits for
	Owner string `json:"owner"` // name of the thread that holds it
}

// ClassCount is one line of a histogram of the heap.
type ClassCount struct {
	Class     string `json:"class"`
	Instances int64  `json:"instances"`
	Bytes     int64  `json:"bytes"`
}

// Fragment is text that was not understood.
type Fragment struct {
	Line  int    `json:"line"`  // of its first line, from 1
	Lines int    `json:"lines"` // how many it has
	Text  string `json:"text"`  // bounded: what is beyond ends with "…", and stands in the text that was read
}

// Span is a range of lines, from 1, both ends included; the zero Span is none.
type Span struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

const (
	// MaxCapture bounds one captured dump, in bytes before compression; what is
	// longer is cut at the end of a line, and says so.
	MaxCapture = 64 << 20
	// MaxSeries bounds the dumps of one series.
	MaxSeries = 20
)
