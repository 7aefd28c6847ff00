package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/version"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := version.Current()
			return data(cmd, b, func(w io.Writer) { fmt.Fprintf(w, "restartilka %s (%s, %s)\n", b.Version, b.Commit, b.Go) })
		},
	}
}
