package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/wire"
)

func locksCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "locks",
		Short: "List which run holds which service",
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
			return data(cmd, wire.ListOf(locks, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(locks))
				for _, l := range locks {
					rows = append(rows, []string{l.Service, l.Environment, l.Run, moment(&l.Since)})
				}
				table(w, []string{"SERVICE", "ENVIRONMENT", "RUN", "SINCE"}, rows)
			})
		},
	}
}
