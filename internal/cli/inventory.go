package cli

import (
	"cmp"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/wire"
)

func inventoryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inventory",
		Short: "Show how old the inventory and its sources are, and what is wrong",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			now, err := c.Inventory(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, now, func(w io.Writer) {
				rows := make([][]string, 0, len(now.Sources))
				for _, s := range now.Sources {
					rows = append(rows, []string{
						cmp.Or(s.Name, "-"), s.Kind, sourceState(s), moment(s.FetchedAt), took(s.FetchedAt, nil, time.Now()),
						strconv.Itoa(s.Services), strconv.Itoa(s.Groups), strconv.Itoa(s.Hosts),
					})
				}
				table(w, []string{"SOURCE", "KIND", "STATE", "AS OF", "AGE", "SERVICES", "GROUPS", "HOSTS"}, rows)
				if now.Problem != "" {
					say(cmd, "warning: %s", now.Problem)
				}
			})
		},
	}
}

// sourceState is how a source is, in a word.
func sourceState(s wire.InventorySource) string {
	switch {
	case s.Missing:
		return "missing"
	case s.Stale:
		return "stale"
	}
	return "good"
}
