package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// nothing is the script of a rehearsal.
const nothing = ":\n"

// rehearse does what comes before and after the scenario's scripts, and none of
// them: the host has judged the envelope, and holds the service, as for a run.
// A script that does nothing is run as the same user, by the same shell, kept
// together in the same way; the health checks look once, at the process that is
// there. What would have been run is the output.
func (t *tour) rehearse(ctx context.Context) {
	limit := t.work.Scenario.Strategy.TaskTimeout.Std()
	fmt.Fprintf(t.output, "A rehearsal: nothing below was run.\n")
	t.would("drain", t.work.Rendered.Drain)
	t.would("run", t.work.Rendered.Run)
	if undrain := t.work.Rendered.Undrain; undrain != nil {
		t.would("undrain, when "+undrain.When, undrain)
	}
	before := t.stand
	if t.work.Rendered.Dump != nil {
		before = t.seek
	}
	if ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout); !before(ctx, cancel) {
		return
	}
	if !t.look(ctx) {
		return
	}
	t.status.Outcome = protocol.OutcomeSucceeded
}

// would tells of a step that is not run.
func (t *tour) would(name string, step *restart.Step) {
	if step == nil {
		return
	}
	shell := t.work.Scenario.Shell
	if shell == "" {
		shell = defaultShell
	}
	fmt.Fprintf(t.output, "\n== %s, as %s, by %s:\n%s\n", name, t.work.User.Name, shell, strings.TrimRight(step.Script, "\n"))
}

// stand runs the script that does nothing, in the place of the scenario's.
func (t *tour) stand(ctx context.Context, cancel context.CancelFunc) bool {
	defer cancel()
	exit, err := t.scripts.run(ctx, script{
		name: string(protocol.PhaseRun), text: nothing, shell: t.work.Scenario.Shell, user: t.work.User, values: t.work.Values, output: io.Discard,
	})
	outcome := protocol.OutcomeFailed
	switch {
	case errors.Is(err, errCancelled):
		outcome = protocol.OutcomeCancelled
	case err == nil && exit != 0:
		err = fmt.Errorf("a script that does nothing ended with exit status %d", exit)
	}
	if err == nil {
		return true
	}
	t.begin(protocol.PhaseRun)
	t.end(nil, fmt.Errorf("no script could be run: %w", err))
	return t.fail(protocol.PhaseRun, outcome)
}

// seek finds the process of a dump, in the place of taking one.
func (t *tour) seek(ctx context.Context, cancel context.CancelFunc) bool {
	defer cancel()
	fmt.Fprintf(t.output, "\n== dump:\n%s", t.work.Rendered.Dump)
	err := t.scripts.dump(ctx, seekOf(t.jobOf(*t.work.Rendered.Dump)), t.work.User, func(c capture.Captured) error {
		fmt.Fprintf(t.output, "that is process %d now: %s\n", c.Header.PID, c.Header.Runtime)
		return nil
	})
	if err == nil {
		return true
	}
	t.begin(protocol.PhaseRun)
	t.end(nil, err)
	return t.fail(protocol.PhaseRun, protocol.OutcomeFailed)
}

// seekOf is the job that only finds the process of another one.
func seekOf(job capture.Job) capture.Job {
	job.Seek, job.Request.Count = true, 1
	return job
}

// look probes the service as it is now.
func (t *tour) look(ctx context.Context) bool {
	h := t.work.Rendered.Health
	if h.Empty() {
		return true
	}
	t.begin(protocol.PhaseHealth)
	ctx, cancel := context.WithTimeout(ctx, h.ResolvedDeadline().Std())
	defer cancel()
	sample := health.New(health.Config{Health: h, Run: t.command}).Sample(ctx)
	t.status.Health = append(t.status.Health, sample)
	if context.Cause(ctx) != nil && errors.Is(context.Cause(ctx), errCancelled) {
		t.end(nil, errors.New("cancelled"))
		return t.fail(protocol.PhaseHealth, protocol.OutcomeCancelled)
	}
	if !sample.Healthy {
		t.end(nil, fmt.Errorf("the service is not healthy now, before anything was done: %s", sample.Detail))
		return t.fail(protocol.PhaseHealth, protocol.OutcomeFailed)
	}
	t.end(nil, nil)
	return true
}
