package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func whocanCommand() *cobra.Command {
	var q wire.WhoCanQuery
	var all, asCSV bool
	cmd := &cobra.Command{
		Use:   "whocan ACTION [SERVICE]",
		Short: "Say who can do something to a service",
		Long: `Say who can do something to a service, in each of its groups, and by which rule.
Actions: see, restart, dump, control, approve, freeze, break-glass,
review-break-glass, view-dump, review, audit, administer. The last three and see are of the
product as a whole and need no service. Who is denied it as one of a team or of a
role, "why" tells.`,
		Example: `  restartilka whocan restart shop --env production
  restartilka whocan restart --all --csv > rights.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("ACTION")(cmd, args)
			}
			return exactly("ACTION", "SERVICE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Action = args[0]
			if len(args) > 1 {
				q.Service = args[1]
			}
			switch {
			case all && q.Service != "":
				return usage(errors.New("--all is every service: name none"))
			case asCSV && asJSON(cmd):
				return usage(errors.New("--csv does not go with --json"))
			case !all && q.Service == "" && ofService(q.Action):
				return usage(restart.Errorf(restart.CodeInvalid, "SERVICE is missing: %s", cmd.UseLine()).WithHint("--all is every service"))
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.WhoCan(cmd.Context(), q)
			if err != nil {
				return err
			}
			if asCSV {
				return writeWhoCanCSV(cmd.OutOrStdout(), list)
			}
			return data(cmd, list, func(w io.Writer) { writeWhoCan(w, list) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Environment, "env", "", "only in this environment")
	flags.StringVar(&q.Group, "group", "", "only in this group")
	flags.BoolVar(&all, "all", false, "of every service")
	flags.BoolVar(&asCSV, "csv", false, "print CSV, one line for each who can")
	return cmd
}

// ofService tells whether an action is done to a service; the server knows
// which actions there are.
func ofService(action string) bool {
	switch action {
	case "see", "audit", "administer", "review":
		return false
	}
	return true
}

func writeWhoCan(w io.Writer, list []wire.WhoCan) {
	var rows [][]string
	for _, line := range list {
		var who, rules []string
		for _, g := range line.Who {
			who = append(who, g.Say)
			if len(rules) == 0 || rules[len(rules)-1] != g.Rule {
				rules = append(rules, g.Rule)
			}
		}
		if len(who) == 0 {
			who = []string{"nobody"}
		}
		rows = append(rows, []string{line.Service, line.Environment, line.Group, strings.Join(who, ", "), strings.Join(rules, "; ")})
	}
	table(w, []string{"SERVICE", "ENVIRONMENT", "GROUP", "WHO", "BY"}, rows)
}

func writeWhoCanCSV(w io.Writer, list []wire.WhoCan) error {
	out := csv.NewWriter(w)
	if err := out.WriteAll(append([][]string{wire.WhoCanColumns()}, wire.WhoCanRows(list)...)); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
