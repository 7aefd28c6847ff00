package restart

import (
	"fmt"
	"strings"
	"time"
)

// AnyDump names the scenario that ships and takes dumps of whatever a service
// is: the one that is meant where several fit and none was named.
const AnyDump = "thread-dump"

// DumpStep is what a scenario of kind thread-dump does without a script of its
// own: it takes dumps of one process, found on the host by what the reviewed
// file says, never by what a requester does. Zero values mean the defaults that
// Defaults fills in.
type DumpStep struct {
	Runtime      string     // jvm | go | python | process; "" = found out on the host
	Process      ProcessRef // whose threads; zero = the main process of the service's unit
	Count        int        // dumps of the series
	Interval     Duration   // from the start of one to that of the next
	Timeout      Duration   // of each; one that takes longer than Interval delays the next
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

// Longest is how long the whole series may take by its own limits: each dump its
// whole timeout.
func (d DumpStep) Longest() Duration {
	d = d.Defaults()
	return Duration(d.Count-1)*max(d.Interval, d.Timeout) + d.Timeout
}

// String tells people what is done, a line for each thing.
func (d DumpStep) String() string {
	d = d.Defaults()
	var b strings.Builder
	dumps := "one thread dump"
	if d.Count > 1 {
		dumps = fmt.Sprintf("%d thread dumps, one every %s,", d.Count, d.Interval)
	}
	fmt.Fprintf(&b, "%s of %s, each within %s\n", dumps, d.Process, d.Timeout)
	for _, line := range []struct{ name, value string }{
		{"runtime", orElse(d.Runtime, "found out on the host")}, {"method", orElse(d.Method, "the best that works")},
		{"url", d.URL}, {"signal", d.Signal}, {"log", d.Log}, {"left out too", strings.Join(d.Redact, ", ")},
	} {
		if line.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", line.name, line.value)
		}
	}
	if d.Histogram {
		b.WriteString("with a histogram of the heap\n")
	}
	if d.PlatformOnly {
		b.WriteString("without virtual threads\n")
	}
	return b.String()
}

// String names the process for people.
func (p ProcessRef) String() string {
	switch {
	case p.Unit != "":
		return "the main process of " + p.Unit
	case p.PIDFile != "":
		return "the process in " + p.PIDFile
	case p.Port != "":
		return "the process that listens on " + p.Port
	case p.Command != "":
		return "the process whose command line matches " + p.Command
	}
	return "the main process of the service's unit"
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// DumpRuntimes lists what DumpStep.Runtime may be, "" apart.
func DumpRuntimes() []string { return []string{"jvm", "go", "python", "process"} }

// DumpMethods lists what DumpStep.Method may be, "" apart.
func DumpMethods() []string { return []string{"attach", "signal", "pprof", "py-spy", "proc"} }
