package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func decideCommand() *cobra.Command {
	var req wire.DecideRequest
	cmd := &cobra.Command{
		Use:   "decide RUN HOST happened|did-not|again --reason TEXT",
		Short: "Say what became of a host that is unknown",
		Long: `Say what became of a host of which it is not known whether the script ran. Look
at the host first: restartilka show RUN --host HOST has what was last heard of it.

  happened  the script ran, and the service is well: the host counts as done
  did-not   it did not, and the host is left as it is: it counts as failed
  again     run the script once more: a new attempt, which starts when the run goes on

A decision is given once, with its reason, and is in the audit trail. A paused run
stays paused until it is resumed.`,
		Example: `  restartilka decide 01m81mtqf0qv5v0v89h9ffrra9 web2.example.com happened --reason "nginx has a new pid since 14:05, and answers"`,
		Args:    exactly("RUN", "HOST", "happened|did-not|again"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			req.Host, req.Verdict = args[1], restart.Verdict(args[2])
			if !slices.Contains(restart.Verdicts(), req.Verdict) {
				return usage(fmt.Errorf("%s is no decision; one of: happened, did-not, again", restart.Quote(args[2])))
			}
			if err := checkReason(cmd, req.Reason); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			run, err := c.Decide(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			if err := data(cmd, show(run), func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s\nrun %s: %s\n", restart.Escape(req.Host), req.Verdict, run.ID, runWord(run))
			}); err != nil {
				return err
			}
			switch left := run.Undecided(); {
			case len(left) > 0:
				say(cmd, "%s not decided yet: %s", plural(len(left), "host"), hostsOf(left))
			case run.State == restart.RunPaused:
				say(cmd, "nothing is undecided any more; resume it with: restartilka resume %s", run.ID)
			case run.State.Final() && len(run.Left()) > 0:
				say(cmd, "to do what is left: restartilka retry %s --reason TEXT", run.ID)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "how you found out (needed, 10 to 500 characters)")
	addSeen(cmd, &req.Version)
	return cmd
}

func hostsOf(tasks []restart.Task) string {
	var out []string
	for _, t := range tasks {
		out = append(out, restart.Escape(t.Host))
	}
	return strings.Join(out, ", ")
}

// linkedFlags are what the commands have in common that make a run from
// another.
type linkedFlags struct {
	req wire.UndrainRequest
	begin
}

func (f *linkedFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.req.Reason, "reason", "", "why: what you see and what you expect (needed, 10 to 500 characters)")
	cmd.Flags().StringVar(&f.req.Ticket, "ticket", "", "key of a ticket, such as WEB-123")
	addSeen(cmd, &f.req.Version)
	f.addTo(cmd)
}

// run goes the whole way: draft, plan, question, start, watch.
func (f *linkedFlags) run(cmd *cobra.Command, id string, draft func(ctx context.Context, c *client.Client, key string) (restart.Run, error)) error {
	if err := restart.CheckID(id); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	if err := checkReason(cmd, f.req.Reason); err != nil {
		return err
	}
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	run, err := draft(cmd.Context(), c, restart.NewID(time.Now()))
	if err != nil {
		return err
	}
	if f.planOnly && run.Plan != nil { // the draft is forgotten by itself
		return data(cmd, *run.Plan, func(w io.Writer) { writePlan(w, *run.Plan) })
	}
	return f.start(cmd, c, run)
}

func retryCommand() *cobra.Command {
	f := &linkedFlags{}
	cmd := &cobra.Command{
		Use:   "retry RUN --reason TEXT",
		Short: "Do what a run has left undone, as a new run",
		Long: `Do what a run that is over has left undone, as a new run linked to it: over its
hosts that failed, were refused, unreachable, cancelled, unknown or not started. It
is by the same version of the scenario, with the same values, and planned afresh.

At a terminal it asks before it starts; in a pipe it needs --yes.`,
		Example: `  restartilka retry 01m81mtqf0qv5v0v89h9ffrra9 --reason "the disk of web2 has room again"`,
		Args:    exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[0], func(ctx context.Context, c *client.Client, key string) (restart.Run, error) {
				return c.Retry(ctx, args[0], f.req.RetryRequest, key)
			})
		},
	}
	f.add(cmd)
	f.addGlass(cmd)
	return cmd
}

func undrainCommand() *cobra.Command {
	f := &linkedFlags{}
	cmd := &cobra.Command{
		Use:   "undrain RUN [HOST…] --reason TEXT",
		Short: "Put back hosts that a run has left drained",
		Long: `Put hosts back that a run which is over has left drained: the undrain step of its
scenario alone, by the same reviewed version, as a new run linked to it. Without
HOST it is for all of them. A host where it fails keeps no other from being put back.`,
		Example: `  restartilka undrain 01m81mtqf0qv5v0v89h9ffrra9 web2.example.com --reason "repaired by hand, it answers again"`,
		Args: func(cmd *cobra.Command, args []string) error {
			return exactly("RUN")(cmd, args[:min(len(args), 1)])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.req.Hosts = args[1:]
			return f.run(cmd, args[0], func(ctx context.Context, c *client.Client, key string) (restart.Run, error) {
				return c.Undrain(ctx, args[0], f.req, key)
			})
		},
	}
	f.add(cmd)
	return cmd
}
