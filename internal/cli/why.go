package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func whyCommand() *cobra.Command {
	var q wire.WhyQuery
	cmd := &cobra.Command{
		Use:   "why WHO ACTION [SERVICE]",
		Short: "Say whether somebody may do something, and why",
		Long: `Say whether somebody may do something now, by which rule, and who could where he
may not. Of yourself you may ask anything ("me" is you); of others those who
administer or audit. Without an environment or group it says whether he may
anywhere.`,
		Example: "  restartilka why me restart shop --env production",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 3 {
				return exactly("WHO", "ACTION")(cmd, args)
			}
			return exactly("WHO", "ACTION", "SERVICE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Who, q.Action = args[0], args[1]
			if q.Who == "me" {
				q.Who = ""
			}
			if len(args) > 2 {
				q.Service = args[2]
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			why, err := c.Why(cmd.Context(), q)
			if err != nil {
				return err
			}
			return data(cmd, why, func(w io.Writer) { writeWhy(w, why) })
		},
	}
	cmd.Flags().StringVar(&q.Environment, "env", "", "in this environment")
	cmd.Flags().StringVar(&q.Group, "group", "", "in this group")
	return cmd
}

func writeWhy(w io.Writer, why wire.Why) {
	verb := "may not"
	if why.Allowed {
		verb = "may"
	}
	what := strings.TrimSpace(why.Action + " " + why.Service)
	if why.Environment != "" {
		what += " in " + why.Environment
	}
	fmt.Fprintf(w, "%s %s %s: %s\n", restart.Escape(why.Who), verb, restart.Escape(what), restart.Escape(why.Why))
	if why.Ask != "" {
		fmt.Fprintf(w, "ask    %s\n", restart.Escape(why.Ask))
	}
	if len(why.NotIn) > 0 {
		fmt.Fprintf(w, "but    not in %s (--group says why)\n", restart.Escape(strings.Join(why.NotIn, ", ")))
	}
	if why.Approval != "" {
		fmt.Fprintf(w, "but    somebody else must approve it first (%s)\n", restart.Escape(why.Approval))
	}
	roles := "-"
	if len(why.Roles) > 0 {
		roles = roleNames(why.Roles)
	}
	fmt.Fprintf(w, "roles  %s\n", roles)
	teams := "-"
	if len(why.Teams) > 0 {
		teams = restart.Escape(strings.Join(why.Teams, ", "))
	}
	fmt.Fprintf(w, "teams  %s\n", teams)
}
