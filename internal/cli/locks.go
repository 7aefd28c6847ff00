package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/wire"
)

func locksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "locks",
		Short: "List which run holds which service, and what it shares with others",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			locks, err := c.Locks(cmd.Context())
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(locks), "nothing is held: no run is under way, or paused half-way")
			return data(cmd, wire.ListOf(locks, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(locks))
				for _, l := range locks {
					scope := "environment"
					if l.Group != "" {
						scope = "group " + l.Group
					}
					rows = append(rows, []string{l.Service, l.Environment, scope, l.Run, string(l.State), l.Actor, moment(&l.Since)})
				}
				table(w, []string{"SERVICE", "ENVIRONMENT", "SCOPE", "RUN", "STATE", "BY", "SINCE"}, rows)
				printOutside(w, locks)
			})
		},
	}
	cmd.AddCommand(locksReleaseCommand())
	return cmd
}

// printOutside lists the locks that are shared with others, where there are any.
func printOutside(w io.Writer, locks []wire.Lock) {
	var rows [][]string
	for _, l := range locks {
		for _, o := range l.Outside {
			rows = append(rows, []string{o.Name, o.Place, o.State, l.Run, moment(&o.Since), o.Note})
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w, "\nShared with others:")
		table(w, []string{"LOCK", "WHERE", "STATE", "RUN", "SINCE", "WHO HAS IT, OR WHY"}, rows)
	}
}

// printGiven says what became of the locks that are shared with others.
func printGiven(w io.Writer, locks []wire.OutsideLock) {
	for _, o := range locks {
		if o.State == wire.OutsideLeft {
			fmt.Fprintf(w, "lock %s (%s), shared with others, could not be given back yet; it is tried again every 15 seconds\n", o.Name, o.Place)
			continue
		}
		fmt.Fprintf(w, "lock %s (%s), shared with others, is given back\n", o.Name, o.Place)
	}
}

func locksReleaseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "release RUN --reason TEXT",
		Short: "Take the hold of its service from a paused run",
		Long: `Take the hold of its service from a run that is paused, so that others may start.
It needs an admin, and never works while a host of the run is in hand. The run
stays paused: who resumes it must get the service again. To end the run, and
its hold with it: restartilka abort RUN.`,
		Example: `  restartilka locks release 01k6p8w2zt3f9m4q7r5x1y0c8d --reason "anna is on a plane, and the shop hangs"`,
		Args:    exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			locks, err := c.ReleaseLock(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return data(cmd, wire.ListOf(locks, ""), func(w io.Writer) {
				for _, l := range locks {
					what := l.Service
					if l.Environment != "" {
						what += " in " + l.Environment
					}
					fmt.Fprintf(w, "%s is free; run %s stays paused\n", what, l.Run)
					printGiven(w, l.Outside)
				}
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it goes into the audit trail")
	cmd.MarkFlagRequired("reason") //nolint:errcheck // the flag is there: the line above
	return cmd
}
