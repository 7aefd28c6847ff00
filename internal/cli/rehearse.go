package cli

import (
	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
)

func rehearseCommand() *cobra.Command {
	f := &requestFlags{req: restart.Request{Kind: restart.KindRestart, Rehearse: true}}
	cmd := &cobra.Command{
		Use:   "rehearse SERVICE --reason TEXT",
		Short: "Do all of a restart but the restart",
		Long: `Rehearse a restart: every gate, check and probe is for real, host after host, and
no script of the scenario is run. Each host says what it would have run, or why
it would have refused. It holds the service and is recorded, as a restart is.`,
		Example: `  restartilka rehearse nginx --scenario nginx-restart --reason "before the new scenario is used"`,
		Args:    exactly("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.req.Service = args[0]
			if f.req.Scenario != "" {
				f.req.Kind = "" // whatever kind that is
			}
			return f.run(cmd)
		},
	}
	f.add(cmd)
	f.addScenario(cmd)
	return cmd
}
