package cli

import (
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func servicesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "services",
		Short: "List services and their owners",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Services(cmd.Context())
			if err != nil {
				return err
			}
			warnStale(cmd, list.Stale, list.FetchedAt)
			hintEmpty(cmd, len(list.Items), inventoryHint)
			return data(cmd, list, func(w io.Writer) {
				rows := make([][]string, 0, len(list.Items))
				for _, s := range list.Items {
					port := ""
					if s.Port != 0 {
						port = strconv.Itoa(s.Port)
					}
					rows = append(rows, []string{s.Name, s.Project, s.Package, s.Unit, port, s.Runtime, strings.Join(s.Owners, " ")})
				}
				table(w, []string{"SERVICE", "PROJECT", "PACKAGE", "UNIT", "PORT", "RUNTIME", "OWNERS"}, rows)
			})
		},
	}
}

// warnStale says that the inventory's source did not answer.
func warnStale(cmd *cobra.Command, stale bool, fetched *time.Time) {
	if stale {
		say(cmd, "warning: the inventory does not answer, or can't be read (restart --plan says why); this is its state of %s", moment(fetched))
	}
}
