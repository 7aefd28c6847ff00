package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/wire"
)

func auditCommand() *cobra.Command {
	return Parent("audit", "Read and verify the audit trail", auditTailCommand(), auditSearchCommand(), auditVerifyCommand(), auditReceiveCommand())
}

func auditTailCommand() *cobra.Command {
	q := wire.AuditQuery{Newest: true}
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the newest records, the newest last",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := searchAudit(cmd, q)
			if err != nil {
				return err
			}
			slices.Reverse(list.Items)
			return writeAudit(cmd, list)
		},
	}
	auditFlags(cmd, &q)
	cmd.Flags().IntVarP(&q.Limit, "lines", "n", 20, "so many records, up to 200")
	return cmd
}

func auditSearchCommand() *cobra.Command {
	var q wire.AuditQuery
	var oldest bool
	cmd := &cobra.Command{
		Use:     "search",
		Short:   "Search records, the newest first",
		Example: "  restartilka audit search --actor anna --action run.requested",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Newest = !oldest
			list, err := searchAudit(cmd, q)
			if err != nil {
				return err
			}
			if err := writeAudit(cmd, list); err != nil {
				return err
			}
			if len(list.Items) == q.Limit && !asJSON(cmd) {
				say(cmd, "there may be more: --after %s", list.Next)
			}
			return nil
		},
	}
	auditFlags(cmd, &q)
	cmd.Flags().BoolVar(&oldest, "oldest", false, "the oldest first: a story from its beginning")
	cmd.Flags().Int64Var(&q.After, "after", 0, "go on after the page before")
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "at most so many, up to 200")
	return cmd
}

func auditFlags(cmd *cobra.Command, q *wire.AuditQuery) {
	cmd.Flags().StringVar(&q.Run, "run", "", "of this run")
	cmd.Flags().StringVar(&q.Actor, "actor", "", "by this person")
	cmd.Flags().StringVar(&q.Action, "action", "", "such as run.requested or task.outcome")
	cmd.Flags().StringVar(&q.Service, "service", "", "of this service")
}

func searchAudit(cmd *cobra.Command, q wire.AuditQuery) (wire.List[audit.Record], error) {
	c, err := connect()
	if err != nil {
		return wire.List[audit.Record]{}, err
	}
	return c.Audit(cmd.Context(), q)
}

func writeAudit(cmd *cobra.Command, list wire.List[audit.Record]) error {
	return data(cmd, list, func(w io.Writer) { writeRecords(w, list.Items) })
}

func writeRecords(w io.Writer, records []audit.Record) {
	rows := make([][]string, 0, len(records))
	for _, r := range records {
		var about []string
		for _, text := range []string{r.Service, r.Environment, r.Host, r.Run, r.Outcome, r.Detail, r.Reason} {
			if text != "" {
				about = append(about, text)
			}
		}
		rows = append(rows, []string{moment(&r.Time), r.Actor, r.Origin, string(r.Action), strings.Join(about, " · ")})
	}
	table(w, []string{"TIME", "ACTOR", "ORIGIN", "ACTION", "ABOUT"}, rows)
}
