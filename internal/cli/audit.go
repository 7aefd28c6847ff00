package cli

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

func auditCommand() *cobra.Command {
	return Parent("audit", "Read and verify the audit trail", auditTailCommand(), auditSearchCommand(), auditStoryCommand(), auditExportCommand(), auditVerifyCommand())
}

func auditVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE…",
		Short: "Verify a stored trail offline: gaps, changes, order; exit code 1 where it is not whole",
		Long: `Verify the trail as a log server has stored it, without any server: JSON lines,
or lines of rsyslog's with the record in them. Several files are the parts of
one trail, the oldest first. It finds records that were deleted, changed,
inserted or moved.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var parts []io.Reader
			for _, path := range args {
				f, err := os.Open(path)
				if err != nil {
					return restart.Errorf(restart.CodeInvalid, "the trail can't be read: %w", err)
				}
				defer f.Close() // read only
				parts = append(parts, f)
			}
			if len(parts) == 0 {
				return usage(restart.Errorf(restart.CodeInvalid, "no file is named").WithHint("restartilka audit verify FILE…"))
			}
			report, err := audit.Verify(io.MultiReader(parts...))
			if err != nil {
				return restart.Errorf(restart.CodeInvalid, "the trail can't be read: %w", err)
			}
			if err := data(cmd, report, func(w io.Writer) { report.Write(w) }); err != nil { //nolint:errcheck // data tells
				return err
			}
			if !report.OK {
				return &ExitError{Code: ExitFailed}
			}
			return nil
		},
	}
}
