package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
)

func watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch RUN",
		Short: "Watch a run until it is over, or needs a person",
		Args:  exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			return watch(cmd, c, args[0])
		},
	}
}

// errAtRest ends the following of a run that needs a person.
var errAtRest = errors.New("the run is at rest")

// WatchOptions say where the progress of a run is shown.
type WatchOptions struct {
	Out  io.Writer // progress and how the run stands at the end; with JSON, only the run
	Talk io.Writer // advice; with JSON, the progress too
	JSON bool
}

// Watch shows the progress of a run until it is over or paused with no host in
// hand, prints how it stands and gives the exit code for that. Where ctx ends
// before, it looks once more, and where the run is not over it says how to come
// back; the run goes on.
func Watch(ctx context.Context, c *client.Client, id string, o WatchOptions) (exitCode int, err error) {
	out := o.Out
	if o.JSON {
		out = o.Talk
	}
	run, err := follow(ctx, c, id, newProgress(out), o.Talk)
	left := ctx.Err() != nil
	if left && err == nil {
		run, left = lookAgain(ctx, c, id, run)
	}
	switch {
	case err != nil && run.ID == "":
		return ExitCode(err), err
	case err != nil:
		fmt.Fprintf(o.Talk, "the run goes on without being watched; come back with: restartilka watch %s\n", id)
		return ExitCode(err), err
	case left:
		if run.State == restart.RunAwaitingApproval {
			fmt.Fprintf(o.Talk, "detached: the run waits for an approval, and starts by itself once it has it; come back with: restartilka watch %s\n", id)
			return ExitPerson, nil
		}
		fmt.Fprintf(o.Talk, "detached: the run goes on; come back with: restartilka watch %s\n", id)
		return ExitInterrupted, nil
	}
	if o.JSON {
		err = writeJSON(o.Out, show(run))
	} else {
		_, err = fmt.Fprintln(o.Out, summary(run))
	}
	if err != nil {
		return ExitFailed, fmt.Errorf("print the run: %w", err)
	}
	advise(o.Talk, run)
	return runCode(run), nil
}

// lookAgain gives a run as it is while the person leaves: what was seen last may
// be older than its end. Where nobody answers in time, that must do. on tells
// whether it goes on.
func lookAgain(ctx context.Context, c *client.Client, id string, seen restart.Run) (run restart.Run, on bool) {
	over := func(run restart.Run) bool { return run.State.Final() || atRest(run) }
	if over(seen) {
		return seen, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if fresh, err := c.Run(ctx, id); err == nil {
		return fresh, !over(fresh)
	}
	return seen, true
}

// watch is Watch as the end of a command.
func watch(cmd *cobra.Command, c *client.Client, id string) error {
	code, err := Watch(cmd.Context(), c, id, WatchOptions{Out: cmd.OutOrStdout(), Talk: cmd.ErrOrStderr(), JSON: asJSON(cmd)})
	if err != nil {
		return err
	}
	return Exit(code)
}

// follow feeds the view with the run as it changes, and with the time each
// second, until the run is at rest. On talk it says when the server goes away
// and when it is back.
func follow(ctx context.Context, c *client.Client, id string, view progress, talk io.Writer) (restart.Run, error) {
	fctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	runs, contact, ended := make(chan restart.Run), make(chan bool), make(chan error, 1)
	following.Go(func() {
		ended <- c.Follow(fctx, id, 0, func(run restart.Run) error {
			select {
			case runs <- run:
			case <-fctx.Done():
				return fctx.Err()
			}
			if atRest(run) {
				return errAtRest
			}
			return nil
		}, func(answers bool) {
			select {
			case contact <- answers:
			case <-fctx.Done():
			}
		})
	})
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var run restart.Run
	for {
		select {
		case run = <-runs:
			view.show(run, time.Now())
		case answers := <-contact:
			text := "the server does not answer; asking again"
			if answers {
				text = "the server answers again"
			}
			fmt.Fprintln(talk, text)
			view.interrupted()
		case now := <-second.C:
			view.tick(now)
		case err := <-ended:
			if errors.Is(err, errAtRest) {
				err = nil
			}
			if err == nil && run.ID == "" && ctx.Err() == nil {
				return c.Run(ctx, id)
			}
			return run, err
		}
	}
}

// atRest tells whether nothing more happens without a person.
func atRest(run restart.Run) bool {
	if run.State != restart.RunPaused || run.Control != restart.ControlNone { // what a person has asked for is still to come
		return false
	}
	for _, t := range run.Tasks {
		if t.State.Active() {
			return false
		}
	}
	return true
}

// summary says in one line how a run stands.
func summary(run restart.Run) string {
	s := restart.Escape(run.Summary())
	if run.Explanation != "" {
		s += ": " + restart.Escape(run.Explanation)
	}
	return s
}

// advise says what a person can do about a run that did not go well.
func advise(w io.Writer, run restart.Run) {
	for _, t := range restart.Latest(run.Tasks) {
		if t.Counts() && t.Error != "" {
			fmt.Fprintf(w, "%s %s: %s\n", restart.Escape(t.Host), t.State, about(t.Host, t.Error))
		}
		if t.Drained {
			fmt.Fprintf(w, "%s is still drained\n", restart.Escape(t.Host))
		}
	}
	for _, h := range run.Missed() {
		fmt.Fprintf(w, "%s was left out: %s\n", restart.Escape(h.Name), about(h.Name, h.Why))
	}
	adviseNext(w, run)
}

// adviseNext names the commands that lead on from where a run stands.
func adviseNext(w io.Writer, run restart.Run) {
	for _, t := range run.Undecided() {
		fmt.Fprintf(w, "whether the script ran on %s is not known; find out, then: restartilka decide %s %s happened|did-not|again --reason TEXT\n",
			restart.Escape(t.Host), run.ID, restart.Escape(t.Host))
	}
	switch {
	case run.State == restart.RunPaused && run.Cause == restart.CauseFreeze && len(run.Undecided()) == 0:
		fmt.Fprintf(w, "once the freeze is over: restartilka resume %s\nwhere it can't wait: restartilka abort %s, then restartilka retry %s --break-glass --reason TEXT\n", run.ID, run.ID, run.ID)
	case run.State == restart.RunRejected:
		fmt.Fprintln(w, "no host was touched; to ask anew, make another request")
	case run.Cause == restart.CauseExpired:
		fmt.Fprintln(w, "no host was touched; where it can't wait, another person approves, or who has the right breaks the glass: --break-glass")
	case run.State == restart.RunPaused && len(run.Undecided()) == 0:
		fmt.Fprintf(w, "it needs a person: restartilka show %s, then resume or abort\n", run.ID)
	case run.State == restart.RunPaused:
		fmt.Fprintf(w, "it needs a person: restartilka show %s, then decide and resume, or abort\n", run.ID)
	case run.State.Final() && len(run.Left()) > 0:
		fmt.Fprintf(w, "to do what is left: restartilka retry %s --reason TEXT\n", run.ID)
	}
	if run.State.Final() && len(run.Drained()) > 0 && run.Work != restart.WorkUndrain {
		fmt.Fprintf(w, "to put drained hosts back without more: restartilka undrain %s --reason TEXT\n", run.ID)
	}
}
