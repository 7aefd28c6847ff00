package cli

import (
	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	f := &requestFlags{}
	cmd := &cobra.Command{
		Use:     "run SCENARIO SERVICE --reason TEXT",
		Short:   "Run any reviewed scenario on a service's hosts",
		Example: `  restartilka run systemd-reload nginx --env production --reason "new certificate is in place" --param grace=30s`,
		Args:    exactly("SCENARIO", "SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.req.Scenario, f.req.Service = args[0], args[1]
			return f.run(cmd)
		},
	}
	f.add(cmd)
	return cmd
}
