package cli

import "github.com/spf13/cobra"

func auditCommand() *cobra.Command {
	return Parent("audit", "Read and verify the audit trail", auditTailCommand(), auditSearchCommand(), auditStoryCommand(), auditExportCommand(), auditVerifyCommand(), auditReceiveCommand())
}
