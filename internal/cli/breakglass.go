package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func breakGlassCommand() *cobra.Command {
	cmd := Parent("break-glass", "Look at runs that were started past their safeguards", breakGlassListCommand(), breakGlassReviewCommand())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return help(cmd, args)
		}
		return listBrokenGlass(cmd, args)
	}
	return cmd
}

func breakGlassListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List those that nobody has reviewed; what break-glass alone does, too",
		Args:  noArgs,
		RunE:  listBrokenGlass,
	}
}

func listBrokenGlass(cmd *cobra.Command, _ []string) error {
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	list, err := c.BrokenGlass(cmd.Context())
	if err != nil {
		return err
	}
	hintEmpty(cmd, len(list), "nothing waits for review: every run that broke the glass has been reviewed, or none did")
	return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
		rows := make([][]string, 0, len(list))
		for _, b := range list {
			rows = append(rows, []string{b.Run, moment(&b.At), b.By, b.Service, b.Environment, b.Outcome, b.Reason, orNothing(b.Waived)})
		}
		table(w, []string{"RUN", "WHEN", "BY", "SERVICE", "ENVIRONMENT", "OUTCOME", "REASON", "WAIVED"}, rows)
	})
}

func orNothing(waived string) string {
	if waived == "" {
		return "nothing stood in the way"
	}
	return waived
}

func breakGlassReviewCommand() *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use:   "review RUN --note TEXT",
		Short: "Note what you have found of such a run, and take it off the list",
		Long: `Note what you have found of a run that broke the glass: was it needed, and did
it help? It needs an auditor or an admin, and not the one who broke it.`,
		Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			if !cmd.Flags().Changed("note") {
				return usage(restart.Errorf(restart.CodeReason, "a note is needed: what have you found?").WithHint(`--note "the outage was real, and the restart ended it"`))
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			b, err := c.ReviewGlass(cmd.Context(), args[0], note)
			if err != nil {
				return err
			}
			return data(cmd, b, func(w io.Writer) { fmt.Fprintf(w, "run %s is reviewed\n", b.Run) })
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "what you have found (needed, 10 to 500 characters)")
	return cmd
}

// confirmGlass has the person at the terminal type the service's name: who
// breaks the glass says so with more than a y.
func confirmGlass(ctx context.Context, cmd *cobra.Command, p restart.Plan) error {
	service := restart.Escape(p.Service.Name)
	line, err := answer(ctx, cmd, fmt.Sprintf("\nThis breaks the glass: freezes, approvals and the wait for the remote log are waived, others are told at once, and it is reviewed afterwards.\n%s %s on %s? Type the service's name to go on: ",
		p.Kind, service, plural(len(p.Chosen()), "host")))
	if err != nil {
		return err
	}
	if strings.TrimSpace(line) != p.Service.Name {
		return usage(restart.Errorf(restart.CodeInvalid, "not confirmed; nothing was done"))
	}
	return nil
}
