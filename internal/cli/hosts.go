package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const expressionHelp = `An expression is a comma list of hosts by their full names, %all, %group,
%group@datacentre, #tag, node[01-20].example.com, and -anything to leave out.
Quote it from the shell.`

func hostsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hosts [EXPR]",
		Short: "List the hosts of an expression, or all",
		Long:  "List the hosts of an expression, or all.\n\n" + expressionHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exactly("EXPR")(&cobra.Command{Use: "hosts [EXPR]"}, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			expr := strings.Join(args, "")
			hosts, err := c.Hosts(cmd.Context(), expr)
			if expr == "" && restart.CodeOf(err) == restart.CodeInvalid { // nothing was asked that could be: there is no host
				hosts, err = wire.ListOf[restart.Host](nil, ""), nil
			}
			if err != nil {
				return err
			}
			warnStale(cmd, hosts.Stale, hosts.FetchedAt)
			hintEmpty(cmd, len(hosts.Items), inventoryHint)
			return data(cmd, hosts, func(w io.Writer) {
				rows := make([][]string, 0, len(hosts.Items))
				for _, h := range hosts.Items {
					rows = append(rows, []string{h.Name, h.Address, h.DataCentre, strings.Join(h.Tags, " ")})
				}
				table(w, []string{"HOST", "ADDRESS", "DC", "TAGS"}, rows)
			})
		},
	}
	cmd.AddCommand(hostsCheckCommand(), hostsDiscoverCommand())
	return cmd
}
