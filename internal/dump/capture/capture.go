package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/restart"
)

// The ways of taking a dump, as Request.Method and dump.Header.Method name them.
const (
	MethodAttach = "attach" // HotSpot's attach protocol
	MethodSignal = "signal" // a signal that makes the runtime write to its output or log
	MethodPprof  = "pprof"  // the endpoint of a Go program
	MethodPySpy  = "py-spy" // where it is installed
	MethodProc   = "proc"   // the kernel's view of any process
)

const (
	// DefaultTimeout bounds one dump where the request names no time.
	DefaultTimeout = 10 * time.Second
	// MaxTimeout is the most that a request may name.
	MaxTimeout = 2 * time.Minute
	// DefaultInterval lies between the starts of two dumps of a series.
	DefaultInterval = 5 * time.Second
	// MaxInterval is the most that a request may name.
	MaxInterval = 5 * time.Minute
)

// Request says what to take.
type Request struct {
	Runtime   dump.Runtime  `json:"runtime,omitempty"`   // "" = find out
	Count     int           `json:"count,omitempty"`     // dumps of the series; 0 = 1
	Interval  time.Duration `json:"interval,omitempty"`  // from start to start, in ns; 0 = DefaultInterval
	Timeout   time.Duration `json:"timeout,omitempty"`   // of one dump, in ns; 0 = DefaultTimeout
	Histogram bool          `json:"histogram,omitempty"` // of a JVM: a histogram of the heap too, with the last dump
	Virtual   bool          `json:"virtual,omitempty"`   // of a JVM: its virtual threads too
	Method    string        `json:"method,omitempty"`    // "" = the best first, and the next where it fails
	URL       string        `json:"url,omitempty"`       // of a Go program: its pprof endpoint on this host
	Signal    string        `json:"signal,omitempty"`    // of a Python program: that faulthandler was registered for, as USR1
	Log       string        `json:"log,omitempty"`       // file that the signal's output goes to; "" = where the process's own output goes
	Unit      string        `json:"unit,omitempty"`      // whose journal holds that output; "" = the process's own control group says
}

// Target is the process to take a dump of.
type Target struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time,omitempty"` // in clock ticks since boot, field 22 of /proc/PID/stat; 0 = whoever has the number now
}

// Captured is one dump as it was taken.
type Captured struct {
	Header dump.Header
	Raw    []byte // as the runtime wrote it
}

// Text gives the capture as it is stored: the header's line and what follows it.
func (c Captured) Text() ([]byte, error) {
	line, err := c.Header.Line()
	if err != nil {
		return nil, err
	}
	return append(line, c.Raw...), nil
}

// check fills in what is absent, and refuses what no scenario may ask for.
func (r *Request) check() error {
	bad := func(format string, args ...any) *restart.Error {
		return restart.Errorf(restart.CodeInvalid, format, args...)
	}
	if r.Count == 0 {
		r.Count = 1
	}
	if r.Interval == 0 {
		r.Interval = DefaultInterval
	}
	if r.Timeout == 0 {
		r.Timeout = DefaultTimeout
	}
	switch {
	case r.Count < 1 || r.Count > dump.MaxSeries:
		return bad("a series has 1 to %d dumps, not %d", dump.MaxSeries, r.Count)
	case r.Interval < 0 || r.Interval > MaxInterval:
		return bad("the interval of a series is at most %s, not %s", restart.Span(MaxInterval), restart.Span(r.Interval))
	case r.Timeout < 0 || r.Timeout > MaxTimeout:
		return bad("the time for one dump is at most %s, not %s", restart.Span(MaxTimeout), restart.Span(r.Timeout))
	case r.Runtime != "" && !slices.Contains(dump.Runtimes(), r.Runtime):
		return bad("there is no runtime %s", restart.Quote(string(r.Runtime))).WithHint("jvm, go, python or process")
	case r.Method != "" && !slices.ContainsFunc(methods, func(m method) bool { return m.name == r.Method }):
		return bad("there is no method %s", restart.Quote(r.Method)).WithHint("attach, signal, pprof, py-spy or proc")
	}
	if r.Signal != "" {
		if _, err := signalNumber(r.Signal); err != nil {
			return err
		}
	}
	if r.Log != "" {
		if err := checkLog(r.Log); err != nil {
			return err
		}
	}
	if r.URL != "" {
		if _, err := endpoint(r.URL); err != nil {
			return err
		}
	}
	if r.Unit != "" {
		return restart.CheckUnit(r.Unit)
	}
	return nil
}

// Take takes the dumps of a series and calls emit with each as soon as it is
// there; an error of emit ends the series. It gives an error where a dump could
// not be taken by any way that the request allows; those before it were emitted.
func Take(ctx context.Context, r Request, t Target, emit func(Captured) error) error {
	return System{}.Take(ctx, r, t, emit)
}

// System is the host as this package sees it. The zero value is the real one;
// tests point it elsewhere.
type System struct {
	Journalctl string        // path of the program; "" = /usr/bin/journalctl
	PySpy      []string      // where py-spy may be; nil = the places of a Linux host
	Redact     *redact.Rules // nil = those that are built in
}

// Take is Take on this host.
func (s System) Take(ctx context.Context, r Request, t Target, emit func(Captured) error) error {
	if err := r.check(); err != nil {
		return err
	}
	held, err := hold(t)
	if err != nil {
		return err
	}
	defer held.release()
	if s.Redact == nil {
		s.Redact = redact.Defaults()
	}
	p := &process{System: s, life: held, request: r, runtime: r.Runtime}
	if p.runtime == "" {
		if p.runtime, err = runtimeOf(t.PID); err != nil {
			p.unknown = true
		}
	}
	next := time.Now()
	for i := range r.Count {
		if err := until(ctx, next); err != nil {
			return err
		}
		next = time.Now().Add(r.Interval) // a dump that took long is not followed by two at once
		captured, err := p.take(ctx, i+1)
		if err != nil {
			return err
		}
		if err := emit(captured); err != nil {
			return err
		}
	}
	return nil
}

// until waits for a moment, or for the end of ctx.
func until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}

// process is one process whose dumps are taken.
type process struct {
	System
	*life
	request Request
	runtime dump.Runtime
	unknown bool     // the kernel did not show which runtime
	notes   []string // of the dump that is being taken
	last    bool     // it is the last of the series
}

func (p *process) note(format string, args ...any) {
	p.notes = append(p.notes, restart.Escape(string(p.Redact.Text([]byte(fmt.Sprintf(format, args...)))))) // it may quote what the process said
}

// method is one way of taking a dump.
type method struct {
	name string
	of   []dump.Runtime // that it is tried for unasked, nil = all
	take func(p *process, ctx context.Context) ([]byte, error)
	// share of the time that is left which it may use where others follow, in percent
	share int
}

// methods lists the ways, the best first.
var methods = []method{
	{MethodAttach, []dump.Runtime{dump.JVM}, (*process).attach, 60},
	{MethodPprof, []dump.Runtime{dump.Go}, (*process).pprof, 80},
	{MethodSignal, []dump.Runtime{dump.JVM, dump.Python}, (*process).signalled, 70},
	{MethodPySpy, []dump.Runtime{dump.Python}, (*process).pySpy, 80},
	{MethodProc, nil, (*process).kernel, 100},
}

// chosen gives the methods to try, in order.
func (p *process) chosen() []method {
	return slices.DeleteFunc(slices.Clone(methods), func(m method) bool {
		if p.request.Method != "" {
			return m.name != p.request.Method
		}
		return m.of != nil && !slices.Contains(m.of, p.runtime)
	})
}

// take takes one dump, by the first method that gives one.
func (p *process) take(ctx context.Context, number int) (Captured, error) {
	ctx, cancel := context.WithTimeout(ctx, p.request.Timeout)
	defer cancel()
	p.notes, p.last = nil, number == p.request.Count
	if p.withheld {
		p.note("the arguments of the process: not shown by the kernel within %s, as it holds a lock of its memory", restart.Span(lookTime))
	}
	if p.unknown {
		p.note("what the process runs on: not shown by the kernel within %s, as it holds a lock of its memory", restart.Span(lookTime))
	}
	var failed error
	for _, m := range p.chosen() {
		if err := p.check(); err != nil {
			return Captured{}, err
		}
		begun := time.Now()
		usage := make(chan usage, 1)
		go func() { usage <- p.usage(ctx) }()
		raw, err := p.within(ctx, m)
		used := <-usage
		took := time.Since(begun)
		if err == nil && len(raw) == 0 {
			err = restart.Errorf(restart.CodeUnavailable, "process %d wrote nothing", p.pid)
		}
		if err == nil {
			return p.captured(m, number, begun, took, raw, used)
		}
		if ended := p.check(); ended != nil {
			return Captured{}, ended
		}
		failed = err
		if p.request.Method == "" {
			p.note("%s: %v", m.name, err)
		}
	}
	if errors.Is(failed, context.DeadlineExceeded) && restart.CodeOf(failed) == restart.CodeInternal {
		failed = restart.Errorf(restart.CodeUnavailable, "process %d gave no dump within %s", p.pid, restart.Span(p.request.Timeout)).Because(failed)
	}
	return Captured{}, failed
}

// within runs a method in its share of the time, so that one that hangs leaves
// some for the next.
func (p *process) within(ctx context.Context, m method) ([]byte, error) {
	share := m.share
	if p.request.Method != "" {
		share = 100
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/100*time.Duration(share))
		defer cancel()
	}
	return m.take(p, ctx)
}

// captured puts the header before what a method gave.
func (p *process) captured(m method, number int, begun time.Time, took time.Duration, raw []byte, used usage) (Captured, error) {
	raw, cut := bounded(p.Redact.Text(raw))
	if cut > 0 {
		p.note("the dump was longer than %d MiB: the last %d bytes are not kept", dump.MaxCapture>>20, cut)
	}
	p.notes = append(p.notes, used.notes...)
	if err := p.check(); errors.Is(err, errReused) {
		return Captured{}, err
	} else if err != nil {
		p.note("the process ended while the dump was taken or right after it")
	}
	header := dump.Header{
		PID: p.pid, Command: restart.Escape(p.Redact.Arguments(p.arguments)), Runtime: p.runtime, Method: m.name, Taken: begun, Took: took,
		Number: number, Of: p.request.Count, CPU: used.cpu, States: used.states, Notes: p.notes,
	}
	return Captured{Header: header, Raw: raw}, nil
}

// bounded cuts what is too long at the end of a line, and says by how much. A
// dump ends with the end of a line, so that another can follow it.
func bounded(raw []byte) (kept []byte, cut int) {
	if len(raw) > dump.MaxCapture {
		kept = raw[:dump.MaxCapture]
		if end := bytes.LastIndexByte(kept, '\n'); end >= 0 {
			kept = kept[:end+1]
		}
		cut = len(raw) - len(kept)
	} else {
		kept = raw
	}
	if len(kept) > 0 && kept[len(kept)-1] != '\n' {
		if len(kept) == dump.MaxCapture {
			kept = kept[:len(kept)-1]
		}
		kept = append(kept, '\n')
	}
	return kept, cut
}
