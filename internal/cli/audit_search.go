package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func auditSearchCommand() *cobra.Command {
	var q wire.AuditQuery
	var oldest bool
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Search records, the newest first",
		Example: `  restartilka audit search --actor anna --action run.requested
  restartilka audit search --host web1.example.com --since 2026-11-01 --until 2026-11-30
  restartilka audit search --area people --text 192.0.2.7`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Newest = !oldest
			if err := checkAuditQuery(q); err != nil {
				return usage(err)
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := searchAudit(cmd.Context(), c, q)
			if err != nil {
				return err
			}
			if err := writeAudit(cmd, list); err != nil {
				return err
			}
			if list.Next != "" && !asJSON(cmd) {
				say(cmd, "there may be more: --after %s", list.Next)
			}
			return nil
		},
	}
	auditFlags(cmd, &q)
	cmd.Flags().BoolVar(&oldest, "oldest", false, "the oldest first: a story from its beginning")
	cmd.Flags().StringVar(&q.After, "after", "", "go on after the page before")
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "at most so many, up to 200")
	return cmd
}

// auditFlags are those that narrow a search of the trail.
func auditFlags(cmd *cobra.Command, q *wire.AuditQuery) {
	flags := cmd.Flags()
	flags.StringVar(&q.Run, "run", "", "of this run")
	flags.StringVar(&q.Actor, "actor", "", "by this person")
	flags.StringVar(&q.Action, "action", "", "such as run.requested or task.outcome")
	flags.StringVar((*string)(&q.Area), "area", "", "about this in the large: runs, dumps, scenarios, people, hosts, server or trail")
	flags.StringVar(&q.Service, "service", "", "of this service")
	flags.StringVar(&q.Environment, "env", "", "of this environment")
	flags.StringVar(&q.Host, "host", "", "of this host")
	flags.StringVar(&q.Since, "since", "", "happened on this day or later, in UTC: 2026-11-22, or 2026-11-22T20:00:00Z")
	flags.StringVar(&q.Until, "until", "", "happened on this day or earlier, or before this moment")
	flags.StringVar(&q.Text, "text", "", "with these words, or parts of words, anywhere in the record")
	flags.BoolVar(&q.Seals, "seals", false, "with the seals, of which there is one a minute")
}

// checkAuditQuery finds on the command line what a server would refuse.
func checkAuditQuery(q wire.AuditQuery) error {
	if q.Area != "" && !slices.Contains(audit.Areas(), q.Area) {
		return fmt.Errorf("--area %s: one of %v", restart.Quote(string(q.Area)), audit.Areas())
	}
	if q.Limit < 0 || q.Limit > wire.MaxPage {
		return fmt.Errorf("--limit is a number from 1 to %d", wire.MaxPage)
	}
	_, _, err := q.Bounds()
	return err
}

// mostPages is how many pages are asked for that each have looked through
// thousands of records and found too few.
const mostPages = 20

// searchAudit asks until so many records are found as were asked for.
func searchAudit(ctx context.Context, c *client.Client, q wire.AuditQuery) (wire.List[audit.Record], error) {
	all := wire.ListOf[audit.Record](nil, "")
	limit := q.Limit
	for range mostPages {
		q.Limit = limit - len(all.Items)
		list, err := c.Audit(ctx, q)
		if err != nil {
			return all, err
		}
		all.Items, all.Next = append(all.Items, list.Items...), list.Next
		if list.Next == "" || len(all.Items) >= limit {
			break
		}
		q.After = list.Next
	}
	return all, nil
}

func writeAudit(cmd *cobra.Command, list wire.List[audit.Record]) error {
	return data(cmd, list, func(w io.Writer) { writeRecords(w, list.Items) })
}

func writeRecords(w io.Writer, records []audit.Record) {
	rows := make([][]string, 0, len(records))
	for _, r := range records {
		rows = append(rows, recordRow(r))
	}
	table(w, []string{"TIME", "ACTOR", "ORIGIN", "ACTION", "ABOUT"}, rows)
}

func recordRow(r audit.Record) []string {
	var about []string
	for _, text := range []string{r.Service, r.Environment, r.Host, r.Run, r.Outcome, r.Detail, r.Reason} {
		if text != "" {
			about = append(about, text)
		}
	}
	return []string{moment(&r.Time), r.Actor, r.Origin, string(r.Action), strings.Join(about, " · ")}
}
