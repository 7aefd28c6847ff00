package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/wire"
)

func plannedWindowsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "windows",
		Short: "List maintenance windows, by when they open",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Windows(cmd.Context())
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(list), "the server has no maintenance windows; whoever runs it names them under schedules.windows (docs/reference/schedules.md)")
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(list))
				for _, m := range list {
					now := "from " + minute(m.Begins) + " until " + minute(m.Ends)
					if m.Open {
						now = "open until " + minute(m.Ends)
					}
					rows = append(rows, []string{m.Name, now, allOr(m.Environments), allOr(m.Services), strings.Join(m.Weekly, ", ") + " " + m.Zone})
				}
				table(w, []string{"WINDOW", "NOW", "ENVIRONMENTS", "SERVICES", "WEEKLY"}, rows)
			})
		},
	}
}

func allOr(names []string) string {
	if len(names) == 0 {
		return "all"
	}
	return strings.Join(names, " ")
}

func plannedCalendarCommand() *cobra.Command {
	var end bool
	cmd := &cobra.Command{
		Use:   "calendar",
		Short: "Make the address under which calendar programs read what is planned",
		Long: `Make the address under which calendar programs read what is planned: subscribe to it.
Whoever has it can read that, and nothing else. It is shown once; a new one ends the one
before, and so does --end.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if end {
				if err := c.EndCalendar(cmd.Context()); err != nil {
					return err
				}
				return data(cmd, struct {
					Ended bool `json:"ended"`
				}{true}, func(w io.Writer) { fmt.Fprintln(w, "the address of your calendar is good no more") })
			}
			made, err := c.MakeCalendar(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, made, func(w io.Writer) { fmt.Fprintln(w, made.URL) })
		},
	}
	cmd.Flags().BoolVar(&end, "end", false, "end the address that you have")
	return cmd
}
