package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	maxSamples  = 50
	maxWarnings = 20
	// most that is read of what a health command prints, in bytes
	maxCommandOutput = 4 << 10
)

// errTimeout is why the context of drain and run ends at task_timeout.
var errTimeout = errors.New("over its time")

// scripts runs scripts, one at a time, and takes dumps: *runner.
type scripts interface {
	run(ctx context.Context, s script) (exit int, err error)
	dump(ctx context.Context, job capture.Job, as host.User, emit func(capture.Captured) error) error
}

// tour is one task's way through its phases.
type tour struct {
	job      Job
	task     *spool.Task
	envelope protocol.Envelope
	work     host.Work
	scripts  scripts // nil until prepare, unless they are simulated
	output   *spool.Output
	baseline *health.Process
	kept     []protocol.EvidenceItem // from before the change
	status   protocol.TaskStatus
	log      *slog.Logger
}

// prepare readies what the scripts need, before the right to run is taken.
func (t *tour) prepare() {
	t.output = t.task.NewOutput()
	t.status.Containment = ByCgroup
	if t.job.Cgroup == "" {
		t.status.Containment = ByProcessGroup
	} else {
		SweepCgroups(t.job.Cgroup)
	}
	if t.scripts != nil {
		return
	}
	// Also beside a cgroup: the process group may have to stand in.
	if err := becomeReaper(); err != nil {
		t.warn(fmt.Sprintf("orphans of a script can't be found: %v", err))
	}
	t.scripts = &runner{task: t.job.Task, cgroup: t.job.Cgroup, grace: t.job.Grace, scratch: t.task.Scratch, warn: t.warn}
}

// walk goes through the phases: evidence, drain, run, health, undrain; or does
// the last alone, on a host that an earlier task has left drained.
func (t *tour) walk(ctx context.Context) {
	if t.envelope.Only == protocol.OnlyUndrain {
		t.status.Drained = true // until it has succeeded
		t.undrain(ctx, true)
		if t.status.Outcome == "" {
			t.status.Outcome = protocol.OutcomeSucceeded
		}
		return
	}
	if t.envelope.Only == protocol.OnlyRehearse {
		t.rehearse(ctx)
		return
	}
	ok := t.evidence(ctx)
	changed := ok && t.change(ctx)
	ok = changed && t.wait(ctx)
	undrain := t.work.Rendered.Undrain
	if undrain != nil && (ok || undrain.When == "always") {
		t.undrain(ctx, ok)
	}
	if changed {
		t.after(ctx)
	}
	if t.status.Outcome == "" {
		t.status.Outcome = protocol.OutcomeSucceeded
	}
}

// change makes the change itself: drain and run, together within task_timeout.
func (t *tour) change(ctx context.Context) bool {
	limit := t.work.Scenario.Strategy.TaskTimeout.Std()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	if step := t.work.Rendered.Drain; step != nil {
		t.status.Drained = true // from its first command on
		if !t.step(ctx, protocol.PhaseDrain, *step, limit) {
			return false
		}
	}
	if t.work.Rendered.Dump != nil {
		return t.dump(ctx, limit)
	}
	if !t.remember(ctx) {
		return false
	}
	return t.step(ctx, protocol.PhaseRun, *t.work.Rendered.Run, limit)
}

// remember observes the service's process, for new_process, as late as can be.
func (t *tour) remember(ctx context.Context) bool {
	ref := t.work.Rendered.Health.NewProcess
	if ref == nil {
		return true
	}
	p, err := health.Observe(ctx, *ref)
	if ctx.Err() != nil {
		return true // the run step says so, without running anything
	}
	if err == nil {
		err = t.task.Baseline(p)
	}
	if err != nil {
		// Without it "new" would mean nothing, and nothing has been touched but the drain.
		t.begin(protocol.PhaseRun)
		t.end(nil, fmt.Errorf("the process before the restart can't be told: %w", err))
		t.fail(protocol.PhaseRun, protocol.OutcomeFailed)
		return false
	}
	t.baseline = &p
	return true
}

// step runs the script of one phase and judges it.
func (t *tour) step(ctx context.Context, phase protocol.Phase, step restart.Step, limit time.Duration) bool {
	t.begin(phase)
	printed := &printed{to: t.output}
	if phase == protocol.PhaseRun && t.work.Scenario.Kind == restart.KindThreadDump {
		printed.most = dump.MaxCapture
	}
	begun := time.Now()
	exit, err := t.scripts.run(ctx, script{
		name: string(phase), text: step.Script, shell: t.work.Scenario.Shell, user: t.work.User, values: t.work.Values, output: printed,
	})
	t.recognise(printed, begun)
	var status *int
	if err == nil {
		status = &exit
	}
	switch {
	case errors.Is(err, errCancelled):
		t.end(nil, fmt.Errorf("cancelled: %s", ending(err)))
		return t.fail(phase, protocol.OutcomeCancelled)
	case errors.Is(err, errTimeout):
		t.end(nil, fmt.Errorf("not done within %s: %s", restart.Span(limit), ending(err)))
		return t.fail(phase, protocol.OutcomeTimedOut)
	case err == nil && exit != 0:
		err = fmt.Errorf("the script ended with exit status %d", exit)
	}
	if phase == protocol.PhaseRun {
		t.status.ExitCode = status
	}
	t.end(status, err)
	if err != nil {
		return t.fail(phase, protocol.OutcomeFailed)
	}
	return true
}

// wait waits until the service is healthy. A cancel here ends the waiting only:
// what the run step has left behind is the service.
func (t *tour) wait(ctx context.Context) bool {
	h := t.work.Rendered.Health
	if h.Empty() {
		return true
	}
	t.begin(protocol.PhaseHealth)
	err := health.Wait(ctx, h, t.baseline, t.command, func(s protocol.HealthSample) {
		t.status.Health = append(t.status.Health, s)
		t.status.Health = t.status.Health[max(0, len(t.status.Health)-maxSamples):]
		t.tell()
	})
	if ctx.Err() != nil {
		t.end(nil, errors.New("cancelled while waiting for the service to be healthy; the service was left as it is"))
		return t.fail(protocol.PhaseHealth, protocol.OutcomeCancelled)
	}
	t.end(nil, err)
	if err != nil {
		return t.fail(protocol.PhaseHealth, protocol.OutcomeFailed)
	}
	return true
}

// command runs the script of a health check.
func (t *tour) command(ctx context.Context, text string) (int, string, error) {
	var out bounded
	exit, err := t.scripts.run(ctx, script{
		name: string(protocol.PhaseHealth), text: text, shell: t.work.Scenario.Shell, user: t.work.User, values: t.work.Values, output: &out,
	})
	return exit, out.String(), err
}

// undrain puts the host back. After a failure it is done although somebody may
// have cancelled the task: "always" means always.
func (t *tour) undrain(ctx context.Context, healthy bool) {
	if !healthy {
		ctx = context.WithoutCancel(ctx)
	}
	limit := t.work.Scenario.Strategy.TaskTimeout.Std()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	if t.step(ctx, protocol.PhaseUndrain, *t.work.Rendered.Undrain, limit) {
		t.status.Drained = false
	}
}

// begin opens a phase's report.
func (t *tour) begin(phase protocol.Phase) {
	t.status.Phase = phase
	t.status.Phases = append(t.status.Phases, protocol.PhaseReport{Phase: phase, StartedAt: time.Now().UTC()})
	t.tell()
}

// end closes the report of the phase that was begun last.
func (t *tour) end(exit *int, err error) {
	r := &t.status.Phases[len(t.status.Phases)-1]
	now := time.Now().UTC()
	r.FinishedAt, r.ExitCode = &now, exit
	if err != nil {
		r.Error = sentence(err)
	}
}

// fail says how the task ends, unless an earlier phase has said so. It gives
// false, for its callers to return.
func (t *tour) fail(phase protocol.Phase, outcome protocol.Outcome) bool {
	if t.status.Outcome != "" {
		t.warn(fmt.Sprintf("%s: %s", phase, t.status.Phases[len(t.status.Phases)-1].Error))
		return false
	}
	t.status.Outcome, t.status.FailedPhase = outcome, phase
	t.status.Error = fmt.Sprintf("%s: %s", phase, t.status.Phases[len(t.status.Phases)-1].Error)
	return false
}

// warn tells what is weaker than it should be, each thing once.
func (t *tour) warn(text string) {
	if len(t.status.Warnings) < maxWarnings && !slices.Contains(t.status.Warnings, text) {
		t.status.Warnings = append(t.status.Warnings, text)
	}
	t.log.Warn("weaker than it should be", "warning", text)
}

// tell lets the agent see how far the task is. No script runs meanwhile, so
// the output's size is at rest.
func (t *tour) tell() {
	t.status.Revision++
	t.status.OutputSize = t.output.Size()
	if err := t.task.Progress(t.status); err != nil {
		t.log.Warn("progress can't be told", "error", err)
	}
}

// finish writes how the task ended.
func (t *tour) finish() error {
	now := time.Now().UTC()
	if t.output != nil {
		t.output.Close() // it never fails
		t.status.OutputSize = t.output.Size()
		if n := t.output.Dropped(); n > 0 {
			t.warn(fmt.Sprintf("%d bytes of output were not kept: the spool's disk did not take them", n))
		}
	}
	t.status.Stage, t.status.FinishedAt, t.status.Phase = restart.StageDone, &now, ""
	t.status.Revision++
	return t.task.Done(t.status)
}

// bounded keeps the last bytes of what is written to it.
type bounded struct{ kept bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	p = p[max(0, len(p)-maxCommandOutput):]
	if over := b.kept.Len() + len(p) - maxCommandOutput; over > 0 {
		b.kept.Next(over)
	}
	b.kept.Write(p)
	return n, nil
}

func (b *bounded) String() string { return b.kept.String() }
