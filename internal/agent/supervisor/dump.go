package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// scriptless tells whether the task runs no script whatever happens, so that
// nothing can be left half done.
func (t *tour) scriptless() bool { return t.work.Rendered.Dump != nil }

// dump takes the dumps of a scenario, in the place of running its script. Each
// is kept and told of as soon as it is there; one is enough to succeed.
func (t *tour) dump(ctx context.Context, limit time.Duration) bool {
	t.begin(protocol.PhaseRun)
	step := *t.work.Rendered.Dump
	taken, kept := 0, 0
	err := t.scripts.dump(ctx, t.jobOf(step), t.work.User, func(c capture.Captured) error {
		taken++
		if r := t.keep(c, protocol.DumpRun); r.Stored > 0 {
			kept++
		}
		return nil
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	have := fmt.Sprintf("%d of %d dumps were taken", taken, step.Count)
	outcome := protocol.OutcomeFailed
	switch {
	case errors.Is(err, errCancelled):
		outcome, err = protocol.OutcomeCancelled, fmt.Errorf("cancelled: %s", have)
	case errors.Is(err, errTimeout):
		err = fmt.Errorf("not done within %s: %s", restart.Span(limit), have)
		if taken == 0 {
			outcome = protocol.OutcomeTimedOut
		}
	case err == nil && taken == 0:
		err = errors.New("no dump was taken")
	}
	if outcome == protocol.OutcomeFailed && taken > 0 {
		switch {
		case kept == 0:
			err = errors.New(t.status.Dumps[len(t.status.Dumps)-1].Error)
		case err != nil:
			t.warn(fmt.Sprintf("%s: %s", have, sentence(err)))
			err = nil
		case kept < taken:
			t.warn(fmt.Sprintf("%d of %d dumps could not be kept", taken-kept, taken))
		}
	}
	t.end(nil, err)
	return err == nil || t.fail(protocol.PhaseRun, outcome)
}

// jobOf says to the process that takes dumps what a step wants.
func (t *tour) jobOf(step restart.DumpStep) capture.Job {
	job := jobOf(step)
	job.Host, job.Service = t.envelope.Host, t.envelope.Service
	return job
}

func jobOf(step restart.DumpStep) capture.Job {
	step = step.Defaults()
	return capture.Job{
		Process: refOf(step.Process), Redact: step.Redact,
		Request: capture.Request{
			Runtime: dump.Runtime(step.Runtime), Count: step.Count, Interval: step.Interval.Std(), Timeout: step.Timeout.Std(), Histogram: step.Histogram,
			Virtual: !step.PlatformOnly, Method: step.Method, URL: step.URL, Signal: step.Signal, Log: step.Log,
		},
	}
}

func refOf(p restart.ProcessRef) capture.Ref {
	return capture.Ref{Unit: p.Unit, PIDFile: p.PIDFile, Port: p.Port, Command: p.Command}
}

// keep puts a dump into the spool, and tells of it.
func (t *tour) keep(c capture.Captured, when protocol.DumpWhen) protocol.DumpReport {
	r, packed, err := packDump(c, when)
	r.N = len(t.status.Dumps) + 1
	if err == nil {
		err = t.task.Dump(r.N, packed)
	}
	if err == nil {
		r.Stored = int64(len(packed))
	} else {
		r.Error = sentence(err)
	}
	t.status.Dumps = append(t.status.Dumps, r)
	fmt.Fprintln(t.output, DumpLine(r))
	for _, note := range r.Notes {
		fmt.Fprintf(t.output, "  %s\n", note)
	}
	t.tell()
	return r
}

// packDump gives the report of a dump, and the dump as it is kept.
func packDump(c capture.Captured, when protocol.DumpWhen) (protocol.DumpReport, []byte, error) {
	h := c.Header
	r := protocol.DumpReport{
		Number: h.Number, Of: h.Of, When: when, Runtime: h.Runtime, Method: h.Method, PID: h.PID, TakenAt: h.Taken.UTC(), Took: h.Took, Notes: someNotes(h.Notes),
	}
	text, err := c.Text()
	if err != nil {
		return r, nil, err
	}
	r.Size = int64(len(text))
	packed, err := pack.Pack(text)
	return r, packed, err
}

// someNotes gives as many notes as fit a status.
func someNotes(notes []string) []string {
	var out []string
	left := protocol.MaxDumpNotes
	for i, n := range notes {
		n = restart.Escape(n)
		if len(n) > left {
			return append(out, fmt.Sprintf("and %d more, in the dump itself", len(notes)-i))
		}
		left -= len(n)
		out = append(out, n)
	}
	return out
}

// DumpLine tells of a dump in plain words.
func DumpLine(r protocol.DumpReport) string {
	what := "dump"
	switch {
	case r.When == protocol.DumpEvidence:
		what = "dump before the change"
	case r.When == protocol.DumpAfter:
		what = "dump after the change"
	case r.Of > 1:
		what = fmt.Sprintf("dump %d of %d", r.Number, r.Of)
	}
	whose := runtimeWord(r.Runtime)
	if r.PID != 0 {
		whose += fmt.Sprintf(" %d", r.PID)
	}
	line := fmt.Sprintf("%s: %s by %s, %s in %s", what, whose, restart.Escape(r.Method), bytesText(r.Size), shortTime(r.Took))
	if r.Error != "" {
		line += "; " + r.Error
	}
	return line
}

func runtimeWord(r dump.Runtime) string {
	switch r {
	case dump.JVM:
		return "JVM"
	case dump.Go:
		return "Go program"
	case dump.Python:
		return "Python program"
	}
	return "process"
}

// bytesText writes a size for people.
func bytesText(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d KB", n/1000)
	}
	return fmt.Sprintf("%d MB", n/1_000_000)
}

// shortTime writes a length of time for people.
func shortTime(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	}
	return restart.Span(d.Round(time.Second))
}

// dump takes dumps in a process of its own, kept together as a script is.
func (r *runner) dump(ctx context.Context, job capture.Job, as host.User, emit func(capture.Captured) error) error {
	tree, err := contain(r.cgroup, r.task+"-dump")
	if err != nil {
		r.warn(err.Error())
	}
	defer tree.close()
	return capture.Runner{Prepare: func(cmd *exec.Cmd) {
		tree.prepare(cmd)
		if !as.Self {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.UID, Gid: as.GID, Groups: as.Groups}
		}
	}}.Run(ctx, job, emit)
}
