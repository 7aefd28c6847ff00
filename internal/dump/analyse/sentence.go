package analyse

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// String gives the English sentence, with what to do next where there is
// something. Names stand in it as they are in the dump.
func (f Finding) String() string {
	say, known := sentences[f.Kind]
	if !known {
		return string(f.Kind)
	}
	text := say(f)
	switch f.Kind {
	case SameFrame, OddHost, Nothing:
	default:
		if len(f.Hosts) > 0 {
			text = onHosts(f) + strings.ToLower(text[:1]) + text[1:]
		}
	}
	return text
}

var sentences = map[FindingKind]func(Finding) string{
	Fatal: sayFatal, Deadlocked: sayDeadlock, AllStopped: sayStopped, Zombies: sayZombies, Connections: sayConnections, LockHeld: sayLockHeld,
	LockUntold: sayLockUntold, AllBlocked: sayAllBlocked, DiskWait: sayDisk, PoolBusy: sayPool, Leaked: sayLeak, SamePlace: saySamePlace,
	StuckThreads: sayStuck, HotThread: sayHot, CollectorHot: sayCollector, Interpreter: sayInterpreter, LongWait: sayLongWait,
	CutShort: sayCut, NotRead: sayNotRead, Nothing: sayNothing, NoThreads: sayNoThreads, SameFrame: saySameFrame, OddHost: sayOdd,
}

func sayFatal(f Finding) string {
	if f.Severity == Note {
		return "The dump was written on " + strings.TrimRight(f.Text, ".! ") + "."
	}
	return "The process died: " + strings.TrimRight(f.Text, ".! ") + ". The stacks are its last ones."
}

func sayDeadlock(f Finding) string {
	text := fmt.Sprintf("Deadlock: %s wait for each other in a circle", listed(f.Names))
	if f.Lock != "" {
		text += ", the first of them for " + lockWord(f.Lock)
	}
	if f.Frame != "" {
		text += " in " + quoted(f.Frame)
	}
	text += "."
	if f.Behind > 0 {
		text += fmt.Sprintf(" %s behind them.", plural(f.Behind, "more thread waits", "more threads wait"))
	}
	return text + " It will not end by itself: keep the dump, then restart; the order in which the locks are taken is the bug."
}

func sayStopped(f Finding) string {
	if f.Threads == f.Of {
		return "The process is stopped by a signal or a debugger: it does nothing until it is continued (kill -CONT)."
	}
	return fmt.Sprintf("%s stopped by a signal or a debugger.", ofAll(f, "thread is", "threads are"))
}

func sayZombies(f Finding) string {
	if f.Threads == f.Of {
		return "The process is a zombie: it has ended, and its parent has not asked how. Look at the parent."
	}
	return fmt.Sprintf("%s over, and not yet collected by the process.", ofAll(f, "thread is", "threads are"))
}

func sayConnections(f Finding) string {
	text := fmt.Sprintf("%s for a connection from %s in %s: the pool has none to give.", ofAll(f, "thread waits", "threads wait"), f.Subject, quoted(f.Frame))
	switch {
	case f.Dealing > 0:
		text += fmt.Sprintf(" %s meanwhile: look at what takes so long there.", plural(f.Dealing, "thread deals with the "+peerWord(f.Does.Peer), "threads deal with the "+peerWord(f.Does.Peer)))
	case f.Does.Peer != "":
		text += fmt.Sprintf(" No thread deals with the %s meanwhile: connections were taken and not given back (a leak), or stand in threads that do something else.", peerWord(f.Does.Peer))
	default:
		text += " Look for who has the connections."
	}
	return text
}

func sayLockHeld(f Finding) string {
	waits := plural(f.Threads, "thread waits", "threads wait")
	if f.Threads < f.Of {
		waits = fmt.Sprintf("%d of %d threads wait", f.Threads, f.Of)
	}
	holder := named(f.Holder)
	if f.Holder == "" && f.OfHosts > 0 {
		holder = "one thread of their host"
	}
	text := fmt.Sprintf("%s for %s", waits, holder)
	if f.Depth > 1 {
		text += fmt.Sprintf(", over %d locks", f.Depth)
	}
	text += ", which " + f.Does.String()
	if f.Lock != "" {
		text += " and holds " + lockWord(f.Lock)
	}
	return text + fmt.Sprintf(". Look at %s.", holder)
}

func sayLockUntold(f Finding) string {
	text := fmt.Sprintf("%s for the same lock", ofAll(f, "thread waits", "threads wait"))
	if f.Lock != "" {
		text = fmt.Sprintf("%s for %s", ofAll(f, "thread waits", "threads wait"), lockWord(f.Lock))
	}
	if f.Frame != "" {
		text += " in " + quoted(f.Frame)
	}
	return text + "; who holds it the dump does not tell. Look for a thread that is inside, and for what it waits."
}

func sayAllBlocked(f Finding) string {
	return fmt.Sprintf("No thread gets on: %s for a lock or a connection, %d of them in %s; all others wait, sleep or are idle.", plural(f.Threads, "waits", "wait"), f.At, quoted(f.Frame))
}

func sayDisk(f Finding) string {
	text := ofAll(f, "thread is", "threads are") + " in uninterruptible sleep (D)"
	if f.Frame != "" {
		text += " in " + quoted(f.Frame)
	}
	if f.Dumps < 2 {
		return text + ": where they stay so, a disk or a network file system does not answer. Take several dumps, and look at the host's disks and mounts."
	}
	return text + through(f) + ": a disk or a network file system does not answer. A restart may hang too; look at the host's disks and mounts."
}

func sayPool(f Finding) string {
	text := fmt.Sprintf("Pool %s is exhausted: all its %d threads are busy%s", named(f.Subject), f.Threads, through(f))
	if f.Frame != "" {
		text += fmt.Sprintf(", %d of them in %s, where each %s", f.At, quoted(f.Frame), f.Does.verb())
	}
	return text + ". What comes now waits in its queue."
}

func sayLeak(f Finding) string {
	text := fmt.Sprintf("%s created by %s stand in %s", plural(f.Threads, "goroutine", "goroutines"), quoted(f.Subject), quoted(f.Frame))
	if f.Span > 0 {
		text += ", the longest for " + duration(f.Span)
	}
	if f.Grown > 0 {
		text += fmt.Sprintf("; %d more than in the first dump", f.Grown)
	}
	return text + ". They look leaked: nobody comes who wakes them. Look at " + quoted(f.Subject) + "."
}

func saySamePlace(f Finding) string {
	return fmt.Sprintf("%s in the same place, %s, where each %s.", ofAll(f, "thread stands", "threads stand"), quoted(f.Frame), f.Does.verb())
}

func sayStuck(f Finding) string {
	return fmt.Sprintf("%s on the same frame%s: %s, where %s %s.", ofAll(f, "thread stood", "threads stood"), through(f), quoted(f.Frame), either(f.Threads, "it", "each"), f.Does.verb())
}

func sayHot(f Finding) string {
	text := fmt.Sprintf("%s used %s %% of a core", named(f.Subject), percent(f.Percent))
	if f.Span > 0 {
		text += " over " + duration(f.Span)
	}
	if f.Frame != "" {
		return text + ", in every dump in " + quoted(f.Frame) + ": it may run in a loop."
	}
	return text + ". Look where it is in each dump."
}

func sayCollector(f Finding) string {
	return fmt.Sprintf("The garbage collector used %s %% of a core: memory is short, or filled faster than it can be cleared. Look at the heap.", percent(f.Percent))
}

func sayInterpreter(f Finding) string {
	return fmt.Sprintf("%s has the interpreter lock (GIL)%s, in %s; %s for it.", named(f.Holder), through(f), quoted(f.Frame), plural(f.Threads, "thread waits", "threads wait"))
}

func sayLongWait(f Finding) string {
	return fmt.Sprintf("%s in %s%s %s, where %s %s.", ofAll(f, "goroutine has stood", "goroutines have stood"), quoted(f.Frame), either(f.Threads, " for", ", the longest for"), duration(f.Span), either(f.Threads, "it", "each"), f.Does.verb())
}

func sayCut(f Finding) string {
	if f.Dumps < f.Of {
		return fmt.Sprintf("%d of %d dumps %s not whole: %s.", f.Dumps, f.Of, either(f.Dumps, "is", "are"), strings.TrimSuffix(f.Text, "."))
	}
	return fmt.Sprintf("The dump is not whole: %s. %s read; what is missing was not judged.", strings.TrimSuffix(f.Text, "."), plural(f.Threads, "thread was", "threads were"))
}

func sayNotRead(f Finding) string {
	return fmt.Sprintf("%s not understood; %s kept: see the raw text.", plural(f.At, "line of the dump was", "lines of the dump were"), either(f.At, "it is", "they are"))
}

func sayNothing(f Finding) string {
	text := fmt.Sprintf("Nothing stands out in %s", plural(f.Threads, "thread", "threads"))
	if f.Dumps > 1 {
		text += fmt.Sprintf(" of %d dumps", f.Dumps)
	}
	if f.OfHosts > 0 {
		text += fmt.Sprintf(" on %s", plural(f.OfHosts, "host", "hosts"))
	}
	text += "."
	if len(f.Looked) > 0 { // of hosts that have a note each, nothing is told
		text += " Looked at: " + aspects(f.Looked) + "."
	}
	if len(f.Missed) > 0 {
		text += " Not looked at: " + aspects(f.Missed) + "; that takes several dumps, or a method that tells more."
	}
	return text
}

func sayNoThreads(f Finding) string {
	if f.Dumps == 0 {
		return "There is no dump."
	}
	return "There are no threads in " + either(f.Dumps, "the dump", "the dumps") + "."
}

func saySameFrame(f Finding) string {
	return fmt.Sprintf("%d of %d hosts hang in %s: %s, each %s.", len(f.Hosts), f.OfHosts, quoted(f.Frame), plural(f.Threads, "thread", "threads"), f.Does.verb())
}

func sayOdd(f Finding) string {
	d := f.Deviation
	if d == nil {
		return fmt.Sprintf("%s differs from its neighbours.", named(f.Subject))
	}
	return fmt.Sprintf("%s differs from its neighbours: %s.", named(f.Subject), d)
}

// String tells the deviation, without the host.
func (d Deviation) String() string {
	const numbers = "%s %s, the median of the others is %s"
	median := strconv.FormatFloat(d.Median, 'f', -1, 64)
	switch d.Kind {
	case ByState:
		return fmt.Sprintf(numbers, plural(d.Threads, "thread", "threads"), stateWord(d.State), median)
	case ByCluster:
		return fmt.Sprintf(numbers, plural(d.Threads, "thread", "threads"), "in "+quoted(d.Frame), median)
	case ByFinding:
		return fmt.Sprintf("it has what most of them lack (%s)", d.Finding)
	}
	return fmt.Sprintf(numbers, plural(d.Threads, "thread", "threads"), "in all", median)
}

func stateWord(s dump.State) string {
	if s == dump.InIO {
		return "in I/O"
	}
	return string(s)
}

// String says what a thread does, for a sentence that began with it: "waits for
// the database in `PGStream.receive`".
func (d Doing) String() string {
	where := d.Own
	if where == "" {
		where = d.Frame
	}
	if where == "" {
		return d.verb()
	}
	return d.verb() + " in " + quoted(where)
}

func (d Doing) verb() string {
	peer := peerWord(d.Peer)
	if d.Peer != "" {
		switch d.Kind {
		case SocketRead, Polls:
			return "waits for the " + peer
		case SocketWrite:
			return "sends to the " + peer
		case Connects:
			return "connects to the " + peer
		}
	}
	if verb, known := verbs[d.Kind]; known {
		return verb
	}
	return "does what the dump does not tell"
}

var verbs = map[DoingKind]string{
	OnCPU: "computes", SocketRead: "reads from a socket", SocketWrite: "writes to a socket", Connects: "connects to somebody", Accepts: "waits for somebody to connect",
	Polls: "waits for any of its sockets", Resolves: "resolves a name", File: "reads or writes a file", WaitsLock: "waits for a lock", Borrows: "waits for a connection",
	Sleeps: "sleeps", Result: "waits for another thread's result", Child: "waits for another process", Channel: "waits on a channel", WaitsWork: "waits for work",
	Waits: "waits to be woken", Halted: "is stopped",
}

func peerWord(p Peer) string {
	switch p {
	case HTTP:
		return "HTTP server"
	case Names:
		return "DNS"
	case Mail:
		return "mail server"
	default:
		return string(p)
	}
}

var aspectWords = map[Aspect]string{
	AspectDeadlocks: "deadlocks", AspectLocks: "queues for locks", AspectConnections: "pools of connections", AspectPools: "pools of threads", AspectGoroutines: "leaked and late goroutines",
	AspectInterpreter: "the interpreter lock", AspectStates: "the kernel's states", AspectStuck: "threads that do not move", AspectCPU: "processor time by thread",
}

func aspects(list []Aspect) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = aspectWords[a]
	}
	return strings.Join(words, ", ")
}
