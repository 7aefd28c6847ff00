package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/story"
	"github.com/restartilka/restartilka/internal/wire"
)

// mostStory bounds the records of a story.
const mostStory = 4000

func auditStoryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "story RUN",
		Short: "Tell a run as its records do: who, why, what, in which order, and what is missing",
		Long: `Tell a run from its records in the audit trail: who asked for it and why, who
approved, what was recorded before and after each host, how it ended; and whether
the intent was on record before the first host was touched, and each host has its
outcome. With --json the records themselves.`,
		Args: exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return usage(err)
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			q := wire.AuditQuery{Run: args[0]}
			list := wire.AuditList{}
			for q.Limit = wire.MaxPage; len(list.Items) < mostStory; q.After = list.Next {
				page, err := c.Audit(cmd.Context(), q)
				if err != nil {
					return err
				}
				list.Items, list.Next = append(list.Items, page.Items...), page.Next
				if page.Next == "" {
					break
				}
			}
			if len(list.Items) == 0 {
				return restart.Errorf(restart.CodeNotFound, "nothing is recorded of run %s", args[0])
			}
			if list.Next != "" {
				say(cmd, "the story goes on: only its first %d records are told", len(list.Items))
			}
			return data(cmd, list, func(w io.Writer) { story.Of(list.Items).Write(w) })
		},
	}
}
