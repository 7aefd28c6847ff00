package restart

import "time"

// DumpStep is what a scenario of kind thread-dump does without a script of its
// own: it takes dumps of one process, found on the host by what the reviewed
// file says, never by what a requester does. Zero values mean the defaults that
// Defaults fills in.
type DumpStep struct {
	Runtime      string     // jvm | go | python | process; "" = found out on the host
	Process      ProcessRef // whose threads; zero = the main process of the service's unit
	Count        int        // dumps of the series
	Interval     Duration   // from the start of one to that of the next
	Timeout      Duration   // of each
	Histogram    bool       // also what is on the heap, by class, where the runtime can tell: a JVM stands still for it
	PlatformOnly bool       // virtual threads are left out
	Method       string     // attach | signal | pprof | py-spy | proc; "" = the best that works
	URL          string     // of the pprof endpoint, for go
	Signal       string     // by which a python program dumps itself, such as USR1
	Log          string     // file that what a signal makes it print lands in; "" = its standard output, or the journal
	Redact       []string   // regular expressions, beside those that always count
}

// The defaults of a DumpStep.
const (
	DefaultDumps        = 3
	DefaultDumpInterval = Duration(5 * time.Second)
	DefaultDumpTimeout  = Duration(10 * time.Second)
)

// Defaults returns the step with every absent setting filled in.
func (d DumpStep) Defaults() DumpStep {
	if d.Count == 0 {
		d.Count = DefaultDumps
	}
	if d.Interval == 0 {
		d.Interval = DefaultDumpInterval
	}
	if d.Timeout == 0 {
		d.Timeout = DefaultDumpTimeout
	}
	return d
}

// DumpRuntimes lists what DumpStep.Runtime may be, "" apart.
func DumpRuntimes() []string { return []string{"jvm", "go", "python", "process"} }

// DumpMethods lists what DumpStep.Method may be, "" apart.
func DumpMethods() []string { return []string{"attach", "signal", "pprof", "py-spy", "proc"} }
