package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// dumpFlags are what dump takes: of a service by its scenario, or of a process.
type dumpFlags struct {
	*localFlags
	pid  int
	out  string
	raw  bool
	look capture.Request
}

// forProcess are the flags that a reviewed scenario has decided.
var forProcess = []string{"count", "interval", "timeout", "runtime", "method", "url", "histogram"}

// forService are the flags that only a scenario has a use for.
var forService = []string{"scenario", "digest", "param", "env", "group", "project"}

func newDumpFlags(stderr io.Writer) *dumpFlags {
	f := &dumpFlags{localFlags: newLocalFlags("dump", stderr)}
	f.ask.Kind = restart.KindThreadDump
	f.StringVar(&f.ask.Scenario, "scenario", "", "the reviewed `scenario` of kind thread-dump, where several fit")
	f.IntVar(&f.pid, "pid", 0, "instead of a service: any `process` of this host")
	f.StringVar(&f.out, "out", "", "keep the dumps in this `file`, mode 0600, which must not be there")
	f.BoolVar(&f.raw, "raw", false, "print the dumps themselves, not what they say")
	f.IntVar(&f.look.Count, "count", restart.DefaultDumps, "of a process: how many `dumps`")
	f.DurationVar(&f.look.Interval, "interval", restart.DefaultDumpInterval.Std(), "of a process: `time` from one to the next")
	f.DurationVar(&f.look.Timeout, "timeout", restart.DefaultDumpTimeout.Std(), "of a process: the `time` for each")
	f.Func("runtime", "of a process: `jvm, go, python or process`; otherwise it is found out", func(s string) error {
		if s != "auto" && !slices.Contains(restart.DumpRuntimes(), s) {
			return errors.New("auto, " + strings.Join(restart.DumpRuntimes(), ", "))
		}
		f.look.Runtime = dump.Runtime(strings.TrimPrefix(s, "auto"))
		return nil
	})
	f.StringVar(&f.look.Method, "method", "", "of a process: `attach, signal, pprof, py-spy or proc`; otherwise the best that works")
	f.StringVar(&f.look.URL, "url", "", "of a Go process: the `address` of its pprof endpoint on this host")
	f.BoolVar(&f.look.Histogram, "histogram", false, "of a JVM: also what is on its heap; it stands still for that")
	f.look.Virtual = true
	return f
}

// wrongFor names the first flag that was given and has no effect.
func (f *dumpFlags) wrongFor(names []string) (flagName string) {
	for _, name := range names {
		if f.given(name) {
			return name
		}
	}
	return ""
}

// dumpHere takes thread dumps on this host, without a server.
func dumpHere(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	f := newDumpFlags(stderr)
	names, ok := f.names(args)
	if !ok {
		return exitUsage
	}
	if len(names) > 1 || (len(names) == 1) == (f.pid != 0) {
		fmt.Fprintln(stderr, `restartilka-agent dump: one service, or a process by --pid, is wanted, such as: dump --pid 4711 --reason "requests hang, looking for the lock"`)
		return exitUsage
	}
	if name := f.wrongFor(forProcess); f.pid == 0 && name != "" {
		fmt.Fprintf(stderr, "restartilka-agent dump: --%s is for --pid; for a service its reviewed scenario says it\n", name)
		return exitUsage
	}
	if name := f.wrongFor(forService); f.pid != 0 && name != "" {
		fmt.Fprintf(stderr, "restartilka-agent dump: --%s is for a service; a process needs no scenario\n", name)
		return exitUsage
	}
	if _, err := restart.CheckReason(f.ask.Reason); err != nil { // before anything is opened
		return failLocal(stderr, err)
	}
	taken, err := newTaken(f, stdout, stderr)
	if err != nil {
		return failLocal(stderr, err)
	}
	var code int
	if f.pid != 0 {
		code = lookHere(f, taken, stderr)
	} else {
		f.ask.Service = names[0]
		code = onHost(f.flags, taken, stderr, func(ctx context.Context, w *watcher) int {
			w.seen = taken.fetch(w)
			return workHere(ctx, w, f.localFlags, stdin)
		})
	}
	if err := taken.end(); err != nil {
		return failLocal(stderr, err)
	}
	return code
}

// lookHere takes dumps of any process: root's own look, which needs no scenario
// and is recorded.
func lookHere(f *dumpFlags, taken *taken, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer stop()
	settings, err := agent.LoadSettings(f.config)
	if errors.Is(err, fs.ErrNotExist) && os.Geteuid() == 0 && !f.given("config") { // the host has no agent, rather than a name mistyped
		fmt.Fprintf(stderr, "restartilka-agent: there is no %s: this look is not recorded\n", f.config)
		return f.capture(ctx, taken, "", stderr)
	}
	if err != nil {
		return failLocal(stderr, err)
	}
	return onHost(f.flags, io.Discard, stderr, func(ctx context.Context, w *watcher) int {
		record := agent.HostDump{
			PID: f.pid, Program: program(f.pid), Count: f.look.Count, Reason: f.ask.Reason, Actor: agent.Invoker(settings.Host),
		}
		known, err := w.here.RecordDump(ctx, record)
		if err != nil {
			return failLocal(stderr, err)
		}
		if known.Service != "" {
			fmt.Fprintf(stderr, "process %d belongs to service %s\n", f.pid, known.Service)
		}
		code := f.capture(ctx, taken, settings.Host, stderr)
		record.Outcome, record.Detail = protocol.OutcomeSucceeded, fmt.Sprintf("%d were taken", taken.count)
		if code != exitFine {
			record.Outcome = protocol.OutcomeFailed
		}
		err = w.try(context.WithoutCancel(ctx), func(here agent.OnHost) error {
			_, err := here.RecordDump(context.WithoutCancel(ctx), record)
			return err
		})
		if err != nil {
			return failLocal(stderr, err)
		}
		return code
	})
}

// program says for a record what a process is called. More than that can make
// the reader wait for the process, which may hang.
func program(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "unknown"
	}
	return restart.Escape(strings.TrimSpace(string(name)))
}

// capture takes the dumps of a process, in a process of its own.
func (f *dumpFlags) capture(ctx context.Context, taken *taken, host string, stderr io.Writer) int {
	supervisor.KeepDescriptors()
	job := capture.Job{Host: host, Target: capture.Target{PID: f.pid}, Request: f.look}
	err := capture.Run(ctx, job, func(c capture.Captured) error {
		text, err := c.Text()
		if err != nil {
			return err
		}
		h := c.Header
		fmt.Fprintln(stderr, supervisor.DumpLine(protocol.DumpReport{
			N: h.Number, Number: h.Number, Of: h.Of, When: protocol.DumpRun, Runtime: h.Runtime, Method: h.Method, PID: h.PID, Took: h.Took, Size: int64(len(text)),
		}))
		for _, note := range h.Notes {
			fmt.Fprintf(stderr, "  %s\n", restart.Escape(note))
		}
		return taken.add(text)
	})
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(stderr, "restartilka-agent: interrupted; nothing was changed")
		return exitInterrupted
	}
	if err != nil {
		return failLocal(stderr, err)
	}
	return exitFine
}

// fetch gives what takes the dumps of a task over, each as soon as it is there:
// once a server has the task, they are there no more.
func (t *taken) fetch(w *watcher) func(context.Context, protocol.TaskStatus) {
	last := 0
	return func(ctx context.Context, s protocol.TaskStatus) {
		for _, d := range s.Dumps {
			if d.N <= last {
				continue
			}
			last = d.N
			if d.Stored == 0 || d.When != protocol.DumpRun {
				continue
			}
			if !w.talk && t.file == nil { // a script printed it, where the person reads it
				continue
			}
			text, err := fetchDump(ctx, w, s.Task, d.N)
			switch {
			case err != nil:
			case w.talk:
				err = t.add(text)
			default: // what a script printed is in the file already
				t.read(text)
			}
			if err != nil {
				fmt.Fprintf(w.stderr, "dump %d of %d is not here: %s\n", d.Number, d.Of, restart.Escape(err.Error()))
			}
		}
	}
}

// fetchTime bounds the fetching of one dump from the agent on this host.
const fetchTime = time.Minute

func fetchDump(ctx context.Context, w *watcher, id string, n int) (text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	err = w.try(ctx, func(here agent.OnHost) error {
		packed, _, err := here.Dump(ctx, id, n)
		if err != nil {
			return err
		}
		defer packed.Close()
		text, err = pack.Bytes(packed)
		return err
	})
	return text, err
}
