package cli

import (
	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
)

func restartCommand() *cobra.Command {
	f := &requestFlags{req: restart.Request{Kind: restart.KindRestart}}
	cmd := &cobra.Command{
		Use:   "restart SERVICE --reason TEXT",
		Short: "Restart a service, host after host",
		Long: `Restart a service: show the plan, ask, start, and watch to the end.

At a terminal it asks before it starts; in a pipe it needs --yes. Ctrl-C stops
watching, not the run.`,
		Example: `  restartilka restart nginx --env production --reason "502s since the 14:00 deploy, workers hang"
  restartilka restart nginx --hosts 'web[01-03]' --plan --reason "to see what it would do"`,
		Args: exactly("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.req.Service = args[0]
			return f.run(cmd)
		},
	}
	f.add(cmd)
	f.addScenario(cmd)
	return cmd
}
