package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
)

func whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Say who you are to the server",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect()
			if err != nil {
				return err
			}
			actor, err := c.Whoami(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, actor, func(w io.Writer) {
				fmt.Fprintf(w, "%s at %s, roles: %s\n", restart.Escape(actor.Name), c.URL(), roleNames(actor.Roles))
			})
		},
	}
}
