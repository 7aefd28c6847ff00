package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func approveCommand() *cobra.Command {
	var req wire.ApprovalRequest
	var yes bool
	cmd := &cobra.Command{
		Use:   "approve RUN --reason TEXT",
		Short: "Let a run start that waits for an approval",
		Long: `Let a run start that waits for an approval. It needs the right to approve, and
another person than who asked. What is approved is exactly the plan that is shown:
these hosts in this order, these batches, this version of the scenario, these values.

At a terminal it shows the plan and the scripts, and asks; in a pipe it needs --yes.`,
		Example: `  restartilka approve 01m81mtqf0qv5v0v89h9ffrra9 --reason "looked at the graphs, one by one is fine"`,
		Args:    exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			if err := needReason(cmd, "looked at the graphs, one by one is fine"); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if !yes {
				if req.Version, err = look(cmd, c, args[0], req.Version); err != nil {
					return err
				}
			}
			run, err := c.Approve(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			return data(cmd, show(run), func(w io.Writer) {
				fmt.Fprintf(w, "run %s: %s\napproved; watch it with: restartilka watch %s\n", run.ID, runWord(run), run.ID)
			})
		},
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "what you have looked at, in a sentence (needed, 10 to 500 characters)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "approve without being shown the plan")
	addSeen(cmd, &req.Version)
	return cmd
}

// look shows what is to be approved and asks; it gives the version of the run
// that was shown.
func look(cmd *cobra.Command, c *client.Client, id string, seen int64) (int64, error) {
	if !terminal(cmd.InOrStdin()) || !terminal(cmd.ErrOrStderr()) {
		return 0, usage(restart.Errorf(restart.CodeInvalid, "nobody is there to look at the plan").WithHint("add --yes, with --if-version of the run that was looked at; the plan: restartilka show %s", id))
	}
	ctx := cmd.Context()
	run, err := c.Run(ctx, id)
	if err != nil {
		return 0, err
	}
	if run.State != restart.RunAwaitingApproval || run.Plan == nil {
		return 0, restart.Errorf(restart.CodeConflict, "run %s is %s: it waits for no approval", id, run.State)
	}
	if err := showToApprover(ctx, cmd.ErrOrStderr(), c, run); err != nil {
		return 0, err
	}
	yes, err := ask(ctx, cmd, fmt.Sprintf("\n%s asks to %s %s on %s. Approve?", restart.Escape(run.Actor), workWord(run.Kind, run.Work), restart.Escape(run.Service), plural(len(run.Plan.Chosen()), "host")))
	switch {
	case err != nil:
		return 0, err
	case !yes:
		return 0, usage(restart.Errorf(restart.CodeInvalid, "not approved; the run waits still").WithHint("to say no: restartilka reject %s --reason TEXT", id))
	case seen != 0:
		return seen, nil
	}
	return run.Version, nil
}

func showToApprover(ctx context.Context, w io.Writer, c *client.Client, run restart.Run) error {
	steps, err := c.Steps(ctx, run.ID, "")
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "asked:   by %s at %s\n", restart.Escape(run.Actor), moment(&run.CreatedAt))
	writeApproval(w, run)
	writePlan(w, *run.Plan)
	writeSteps(w, steps)
	return nil
}

// writeSteps shows the scripts as they are on one host.
func writeSteps(w io.Writer, s wire.Steps) {
	user := s.RunAs
	if user == "" {
		user = "the service's own user"
	}
	fmt.Fprintf(w, "\non each host, shown for %s, as %s by %s:\n", restart.Escape(s.Host), restart.Escape(user), restart.Escape(s.Shell))
	for _, name := range slices.Sorted(maps.Keys(s.Variables)) {
		fmt.Fprintf(w, "  %s=%s\n", restart.Escape(name), restart.Escape(s.Variables[name]))
	}
	for _, step := range s.Steps {
		fmt.Fprintf(w, "  %s:\n", restart.Escape(step.Name))
		out := &escaper{w: w, indent: "    "}
		io.WriteString(out, step.Script) //nolint:errcheck // the writer below keeps its error
		out.close()
	}
	if s.Note != "" {
		fmt.Fprintf(w, "  (%s)\n", restart.Escape(s.Note))
	}
}

// writeApproval says what the rules have asked for, and what became of it.
func writeApproval(w io.Writer, run restart.Run) {
	a := run.Approval
	switch {
	case a == nil:
	case a.Verdict == restart.ApprovalPending:
		fmt.Fprintf(w, "approval: asked for by the rule %s, until %s\n", restart.Quote(a.Rule), moment(&a.Until))
	case a.By == "":
		fmt.Fprintf(w, "approval: %s at %s\n", restart.Escape(string(a.Verdict)), moment(a.At))
	default:
		line := fmt.Sprintf("approval: %s by %s at %s", restart.Escape(string(a.Verdict)), restart.Escape(a.By), moment(a.At))
		if a.Reason != "" {
			line += ": " + restart.Escape(a.Reason)
		}
		fmt.Fprintln(w, line)
	}
}

func rejectCommand() *cobra.Command {
	var req wire.ApprovalRequest
	cmd := &cobra.Command{
		Use:     "reject RUN --reason TEXT",
		Short:   "End a run that waits for an approval",
		Long:    "End a run that waits for an approval: no host is touched. It needs the right to approve, and another\nperson than who asked, who takes it back with abort instead.",
		Example: `  restartilka reject 01m81mtqf0qv5v0v89h9ffrra9 --reason "not during the sale, please wait until five"`,
		Args:    exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			if err := needReason(cmd, "not during the sale, please wait until five"); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			run, err := c.Reject(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			return data(cmd, show(run), func(w io.Writer) { fmt.Fprintf(w, "run %s: %s\n", run.ID, runWord(run)) })
		},
	}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why not, in a sentence (needed, 10 to 500 characters)")
	addSeen(cmd, &req.Version)
	return cmd
}

func approvalsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "approvals",
		Short: "List runs that wait for an approval, those that you may decide about first",
		Long: `List runs that wait for an approval, those that you may decide about first. One with a
time under FOR is planned for it, and decided about with: restartilka planned approve ID`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Approvals(cmd.Context())
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(list), "no run waits for an approval")
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(list))
				for _, a := range list {
					may, planned := "-", "now"
					if a.MayDecide {
						may = "you"
					}
					if a.PlannedFor != nil {
						planned = minute(*a.PlannedFor)
					}
					rows = append(rows, []string{
						a.ID(), may, planned, minute(a.Until), a.Actor, strings.TrimSuffix(a.Service+" "+a.Environment, " "), a.Scenario, strconv.Itoa(a.Hosts), brief(a.Reason), a.Who,
					})
				}
				table(w, []string{"ID", "DECIDE", "FOR", "UNTIL", "ACTOR", "SERVICE", "SCENARIO", "HOSTS", "REASON", "WHO MAY"}, rows)
			})
		},
	}
}
