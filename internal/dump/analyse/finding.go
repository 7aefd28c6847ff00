package analyse

import "time"

// Severity says how much a finding matters.
type Severity string

// The severities, the gravest first.
const (
	Alarm   Severity = "alarm"   // it does not work, or soon will not
	Warning Severity = "warning" // it may be the cause
	Note    Severity = "note"
)

// Severities lists them, the gravest first.
func Severities() []Severity { return []Severity{Alarm, Warning, Note} }

// FindingKind says what a finding is about. docs/reference/dumps.md tells each.
type FindingKind string

// The findings about one process, in the order in which they are shown among
// equally grave ones.
const (
	Fatal        FindingKind = "fatal"                 // Text: what it died of
	Deadlocked   FindingKind = "deadlock"              // Names, Behind; Threads in the circle
	AllStopped   FindingKind = "stopped"               // Threads Of are stopped by a signal or a debugger
	Zombies      FindingKind = "zombie"                // Threads Of are over
	Connections  FindingKind = "connections-exhausted" // Threads wait to borrow from Subject (a library's pool) at Frame; Dealing
	LockHeld     FindingKind = "lock-held"             // Threads wait for Holder, which Does; Lock; Depth
	LockUntold   FindingKind = "lock-untold"           // Threads wait for Lock; who holds it the dump does not tell
	AllBlocked   FindingKind = "all-blocked"           // all Threads that are not idle wait for locks or channels
	DiskWait     FindingKind = "disk"                  // Threads in uninterruptible sleep at Frame
	PoolBusy     FindingKind = "pool-exhausted"        // all Threads of Subject are busy, At of them at Frame, where they Does
	Leaked       FindingKind = "leak"                  // Threads goroutines created at Subject stand at Frame; Grown since the first dump
	SamePlace    FindingKind = "same-place"            // Threads Of stand at Frame, and Does
	StuckThreads FindingKind = "stuck"                 // Threads on one stack in all Dumps, for Span; Does, Frame
	HotThread    FindingKind = "hot"                   // Subject used Percent of a core over Span; Frame where it was seen in every dump
	CollectorHot FindingKind = "collector-hot"         // Threads that collect garbage used Percent of a core over Span
	Interpreter  FindingKind = "interpreter-lock"      // Holder has Python's interpreter lock in all Dumps; Threads wait for it
	LongWait     FindingKind = "long-wait"             // Threads stand at Frame, the longest for Span
	CutShort     FindingKind = "cut"                   // Text: why the dump is not whole
	NotRead      FindingKind = "not-understood"        // At lines of the dump
	Nothing      FindingKind = "nothing"               // nothing stands out in Threads; Looked, Missed
	NoThreads    FindingKind = "no-threads"            // the dump has none
)

// The findings about a group of hosts. Those about one process are there too,
// with Hosts and OfHosts.
const (
	SameFrame FindingKind = "hosts-same-place" // Hosts of OfHosts have Threads at Frame
	OddHost   FindingKind = "outlier"          // Subject (a host) differs: Deviation
)

// FindingKinds lists the kinds in the order in which they are shown.
func FindingKinds() []FindingKind {
	return []FindingKind{
		Fatal, Deadlocked, AllStopped, Zombies, SameFrame, Connections, LockHeld, LockUntold, AllBlocked, DiskWait, PoolBusy,
		Leaked, SamePlace, StuckThreads, HotThread, CollectorHot, Interpreter, LongWait, OddHost, NoThreads, Nothing, CutShort, NotRead,
	}
}

// Aspect is something that was looked at.
type Aspect string

// The aspects.
const (
	AspectDeadlocks   Aspect = "deadlocks"
	AspectLocks       Aspect = "locks"
	AspectConnections Aspect = "connections"
	AspectPools       Aspect = "pools"
	AspectGoroutines  Aspect = "goroutines"
	AspectInterpreter Aspect = "interpreter-lock"
	AspectStates      Aspect = "states" // of the kernel: stopped, on a disk, a zombie
	AspectStuck       Aspect = "stuck"  // needs several dumps
	AspectCPU         Aspect = "cpu"    // needs several dumps, and the time that threads used
)

// Aspects lists the aspects.
func Aspects() []Aspect {
	return []Aspect{AspectDeadlocks, AspectLocks, AspectConnections, AspectPools, AspectGoroutines, AspectInterpreter, AspectStates, AspectStuck, AspectCPU}
}

// Finding is one thing that the dumps say, in typed words. Which of them are set
// depends on its Kind. Names, frames and texts come from the dump: who shows
// them escapes them.
type Finding struct {
	Kind      FindingKind   `json:"kind"`
	Severity  Severity      `json:"severity"`
	Threads   int           `json:"threads,omitempty"` // it is about
	Of        int           `json:"of,omitempty"`      // how many there are
	Subject   string        `json:"subject,omitempty"` // name of a pool, a thread, a library, a creation site, a host
	Holder    string        `json:"holder,omitempty"`  // name of the thread that others wait for
	HolderID  string        `json:"holder_id,omitempty"`
	Lock      string        `json:"lock,omitempty"`  // class of the lock, or its ID
	Frame     string        `json:"frame,omitempty"` // where, in full; Short makes it fit a sentence
	Does      Doing         `json:"does,omitzero"`
	At        int           `json:"at,omitempty"`      // how many of Threads stand at Frame
	Depth     int           `json:"depth,omitempty"`   // of a chain of locks
	Behind    int           `json:"behind,omitempty"`  // further threads that wait for these
	Dealing   int           `json:"dealing,omitempty"` // threads that deal with the peer meanwhile
	Grown     int           `json:"grown,omitempty"`
	Names     []string      `json:"names,omitempty"`   // of the threads of a deadlock, in its order
	Percent   float64       `json:"percent,omitempty"` // of one core
	Span      time.Duration `json:"span,omitempty"`    // in ns
	Dumps     int           `json:"dumps,omitempty"`   // looked at
	Text      string        `json:"text,omitempty"`    // words of the runtime or the agent
	Looked    []Aspect      `json:"looked,omitempty"`
	Missed    []Aspect      `json:"missed,omitempty"` // could not be looked at: one dump only, or the runtime does not tell
	Hosts     []string      `json:"hosts,omitempty"`
	OfHosts   int           `json:"of_hosts,omitempty"`
	Deviation *Deviation    `json:"deviation,omitempty"`
	Key       string        `json:"key,omitempty"` // of the StackGroup or Cluster that shows it
	IDs       []string      `json:"ids,omitempty"` // of its threads, at most MaxIDs; none where Hosts are several
}
