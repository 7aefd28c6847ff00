package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/wire"
)

func sessionCommand() *cobra.Command {
	return Parent("session", "List and end sessions in browsers", sessionListCommand(), sessionRevokeCommand())
}

func sessionListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List your sessions in browsers, the newest first",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect()
			if err != nil {
				return err
			}
			sessions, err := c.Sessions(cmd.Context(), all)
			if err != nil {
				return err
			}
			return data(cmd, wire.ListOf(sessions, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(sessions))
				for _, s := range sessions {
					rows = append(rows, []string{s.ID, s.Owner, s.Method, s.Address, moment(&s.CreatedAt), moment(&s.LastSeenAt), s.UserAgent})
				}
				table(w, []string{"ID", "OWNER", "METHOD", "FROM", "SINCE", "LAST SEEN", "BROWSER"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "everybody's; for admins")
	return cmd
}

func sessionRevokeCommand() *cobra.Command {
	return revokeCommand("End a session at once: your own, or anybody's as an admin", "session %s has ended", (*client.Client).RevokeSession)
}
