package cli

import (
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func groupsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "groups",
		Short: "List groups of hosts",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Groups(cmd.Context())
			if err != nil {
				return err
			}
			warnStale(cmd, list.Stale, list.FetchedAt)
			hintEmpty(cmd, len(list.Items), inventoryHint)
			return data(cmd, list, func(w io.Writer) {
				rows := make([][]string, 0, len(list.Items))
				for _, g := range list.Items {
					rows = append(rows, []string{g.Name, g.Project, g.Environment, strconv.Itoa(len(g.Hosts)), strings.Join(g.Services, " ")})
				}
				table(w, []string{"GROUP", "PROJECT", "ENVIRONMENT", "HOSTS", "SERVICES"}, rows)
			})
		},
	}
}
