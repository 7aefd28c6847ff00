package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
)

func whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Say who you are to the server",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			actor, err := c.Whoami(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, actor, func(w io.Writer) {
				fmt.Fprintf(w, "%s at %s, %s\n", restart.Escape(actor.Name), c.URL(), aboutActor(actor))
			})
		},
	}
}

// aboutActor tells what somebody may be, by what, and for how long.
func aboutActor(a restart.Actor) string {
	text := "roles: " + roleNames(a.Roles)
	if len(a.Roles) == 0 {
		text = "no roles"
	}
	if len(a.Teams) > 0 {
		text += "; teams: " + restart.Escape(strings.Join(a.Teams, ", "))
	}
	if a.Method != "" {
		text += "; by " + restart.Escape(a.Method)
	}
	if a.ExpiresAt != nil {
		text += " until " + moment(a.ExpiresAt)
	}
	if !a.Scope.IsZero() {
		text += "; only for " + restart.Escape(a.Scope.String())
	}
	return text
}
