package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func plannedCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a planned run",
		Long:  "Cancel a planned run before its time. Who planned it may, and who may stop runs of its service.",
		Args:  exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onPlanned(cmd, args[0], func(c *client.Client) error {
				p, err := c.CancelPlanned(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return data(cmd, p, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", p.ID, plannedWord(p)) })
			})
		},
	}
}

// plannedDecideCommand is approve or reject.
func plannedDecideCommand(approves bool) *cobra.Command {
	var req wire.DecideLaterRequest
	var yes bool
	example := "not during the sale, please plan it for five"
	cmd := &cobra.Command{
		Use:   "reject ID --reason TEXT",
		Short: "End a planned run that waits for an approval",
		Long:  "End a planned run that waits for an approval. It needs the right to approve, and another person than who\nplanned it, who takes it back with cancel instead.",
	}
	if approves {
		example = "looked at the graphs, one by one is fine"
		cmd.Use, cmd.Short = "approve ID --reason TEXT", "Let a planned run start at its time"
		cmd.Long = `Let a planned run start at its time. It needs the right to approve, and another
person than who planned it. What is approved is the plan that is shown: if it is another
one at that time, nothing is started.

At a terminal it shows the plan, and asks; in a pipe it needs --yes.`
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "approve without being shown the plan")
	}
	cmd.Example = fmt.Sprintf("  restartilka planned %s 01m81mtqf0qv5v0v89h9ffrra9 --reason %q", cmd.Name(), example)
	cmd.Args = exactly("ID")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := needReason(cmd, example); err != nil {
			return err
		}
		return onPlanned(cmd, args[0], func(c *client.Client) error {
			decide := c.RejectPlanned
			if approves {
				if err := lookPlanned(cmd, c, args[0], yes); err != nil {
					return err
				}
				decide = c.ApprovePlanned
			}
			p, err := decide(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			return data(cmd, p, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", p.ID, plannedWord(p)) })
		})
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "what you have looked at, or why not, in a sentence (needed, 10 to 500 characters)")
	return cmd
}

// lookPlanned shows what is to be approved and asks.
func lookPlanned(cmd *cobra.Command, c *client.Client, id string, yes bool) error {
	if yes {
		return nil
	}
	if !terminal(cmd.InOrStdin()) || !terminal(cmd.ErrOrStderr()) {
		return usage(restart.Errorf(restart.CodeInvalid, "nobody is there to look at the plan").WithHint("add --yes; the plan: restartilka planned show %s", id))
	}
	p, err := c.PlannedOne(cmd.Context(), id)
	if err != nil {
		return err
	}
	if p.State != restart.ScheduleAwaiting || p.Plan == nil {
		return restart.Errorf(restart.CodeConflict, "what is planned as %s is %s: it waits for no approval", id, p.State)
	}
	writePlan(cmd.ErrOrStderr(), *p.Plan)
	sure, err := ask(cmd.Context(), cmd, fmt.Sprintf("\n%s plans to %s %s on %s at %s. Approve?", restart.Escape(p.Actor), string(p.Kind), restart.Escape(p.Service), plural(p.Hosts, "host"), minute(p.At)))
	if err == nil && !sure {
		err = usage(restart.Errorf(restart.CodeInvalid, "not approved; it waits still").WithHint("to say no: restartilka planned reject %s --reason TEXT", id))
	}
	return err
}
