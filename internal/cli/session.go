package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func sessionCommand() *cobra.Command {
	return Parent("session", "List and end sessions in browsers", sessionListCommand(), sessionRevokeCommand(), sessionRevokeAllCommand())
}

func sessionListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List your sessions in browsers, the newest first",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			sessions, err := c.Sessions(cmd.Context(), all)
			if err != nil {
				return err
			}
			if len(sessions) == 0 && !asJSON(cmd) {
				say(cmd, "%s", map[bool]string{true: "nobody is signed in with a browser", false: "you are not signed in with any browser"}[all])
				return nil
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

func sessionRevokeAllCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke-all NAME",
		Short: "End all sessions of a person at once; for admins",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := c.RevokeSessions(cmd.Context(), args[0]); err != nil {
				return err
			}
			return data(cmd, struct {
				Owner   string `json:"owner"`
				Revoked bool   `json:"revoked"`
			}{args[0], true}, func(w io.Writer) { fmt.Fprintf(w, "all sessions of %s have ended\n", restart.Escape(args[0])) })
		},
	}
}
