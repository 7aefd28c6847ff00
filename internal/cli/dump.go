package cli

import (
	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
)

func dumpCommand() *cobra.Command {
	f := &requestFlags{req: restart.Request{Kind: restart.KindThreadDump}}
	cmd := &cobra.Command{
		Use:   "dump SERVICE --reason TEXT",
		Short: "Take thread dumps of a service, without restarting it",
		Example: `  restartilka dump shop --env production --hosts web01 --reason "requests hang, looking for the lock"
  restartilka dump shop --scenario jvm-dump --reason "requests hang, looking for the lock"`,
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
