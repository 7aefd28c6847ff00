package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/wire"
)

func locksCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "locks",
		Short: "List which run holds which service, and in which scope",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect()
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
					rows = append(rows, []string{l.Service, l.Environment, scope, l.Run, l.Actor, moment(&l.Since)})
				}
				table(w, []string{"SERVICE", "ENVIRONMENT", "SCOPE", "RUN", "BY", "SINCE"}, rows)
			})
		},
	}
}
