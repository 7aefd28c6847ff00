package cli

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/wire"
)

func auditExportCommand() *cobra.Command {
	var q wire.AuditQuery
	var table bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write records as a file: JSON lines that can be verified, or a table",
		Long: `Write all records that the flags name to standard output, in the order of their
chains: a record a line, in its canonical bytes, so that "restartilka audit verify"
reads them; or with --csv a table for spreadsheets. Who has taken what is on record
(audit.exported). At most 200,000 records at once.`,
		Example: `  restartilka audit export --since 2026-11-01 --until 2026-11-30 > november.jsonl
  restartilka audit export --area people --csv > people.csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkAuditQuery(q); err != nil {
				return usage(err)
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			form := wire.AuditLines
			if table {
				form = wire.AuditTable
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			if err := c.ExportAudit(cmd.Context(), w, q, form); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			return nil
		},
	}
	auditFlags(cmd, &q)
	cmd.Flags().BoolVar(&table, "csv", false, "a table, with a header")
	return cmd
}
