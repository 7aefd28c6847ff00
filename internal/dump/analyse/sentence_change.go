package analyse

import (
	"fmt"
	"strings"
)

// String gives the English sentence.
func (c Change) String() string {
	switch c.Kind {
	case ChangeFixed:
		return c.Finding.thing("is gone", "are gone") + rest(c)
	case ChangeNew:
		return "New: " + c.Finding.String()
	case ChangeStill:
		return "Still there: " + c.Finding.String()
	case ChangeMoved:
		return fmt.Sprintf("Nothing stood out before, and nothing does now; %d of %d threads are somewhere else.", c.Moved, c.Threads)
	default:
		return "Nothing changed that stands out."
	}
}

// rest says what else a restart left behind, or brought.
func rest(c Change) string {
	var also []string
	if more := c.Fixed - 1; more > 0 {
		also = append(also, fmt.Sprintf("so %s %s", either(more, "is", "are"), plural(more, "other finding", "other findings")))
	}
	if c.Still > 0 {
		also = append(also, plural(c.Still, "finding is still there", "findings are still there"))
	}
	if c.New > 0 {
		also = append(also, plural(c.New, "finding is new", "findings are new"))
	}
	if len(also) == 0 {
		return "."
	}
	return "; " + strings.Join(also, ", ") + "."
}

// thing names what a finding is about, as a thing of the past.
func (f Finding) thing(one, many string) string {
	threads := either(f.Threads, "The thread that ", fmt.Sprintf("The %d threads that ", f.Threads))
	verb := " " + either(f.Threads, one, many)
	switch f.Kind {
	case Deadlocked:
		return fmt.Sprintf("The deadlock of %d threads %s", f.Threads, one)
	case Connections:
		return threads + "waited for a connection from " + f.Subject + verb
	case LockHeld:
		return threads + "waited for " + named(f.Holder) + verb
	case LockUntold:
		return threads + "waited for the same lock" + verb
	case AllBlocked:
		return threads + "waited for locks and connections" + verb
	case PoolBusy:
		return "The exhaustion of pool " + named(f.Subject) + " " + one
	case DiskWait:
		return threads + "waited for a disk" + verb
	case AllStopped:
		return threads + either(f.Threads, "was", "were") + " stopped" + verb
	case Leaked:
		return fmt.Sprintf("The %d goroutines created by %s %s", f.Threads, quoted(f.Subject), many)
	case SamePlace, StuckThreads, LongWait:
		return threads + "stood in " + quoted(f.Frame) + verb
	}
	return fmt.Sprintf("What was found before (%s) %s", f.Kind, one)
}
