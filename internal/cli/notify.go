package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func notifyCommand() *cobra.Command {
	return Parent("notify", "See and try the receivers of messages", notifyListCommand(), notifyTestCommand())
}

func notifyListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the receivers of messages, what they are told of, and what waits for them",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Receivers(cmd.Context())
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(list), "nobody is told of anything: name receivers with notify: in server.yaml")
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(list))
				for _, r := range list {
					rows = append(rows, []string{r.Name, r.Address, strings.Join(r.Events, " "), strconv.FormatInt(r.Waiting, 10), r.Failure})
				}
				table(w, []string{"NAME", "TO", "EVENTS", "WAITING", "FAILURE"}, rows)
			})
		},
	}
}

func notifyTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test RECEIVER",
		Short: "Send a receiver a message now, and tell what it says",
		Long: `Send a receiver a message now, past all that waits for it, and tell what it says.
Its name is what restartilka notify list shows. One that writes to the owners of
services writes to you. Exit code 1 says that it was not taken.`,
		Example: "  restartilka notify test ops-chat",
		Args:    exactly("RECEIVER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			result, err := c.TestReceiver(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := data(cmd, result, func(w io.Writer) {
				if result.Taken {
					fmt.Fprintf(w, "%s has taken the message, in %s\n", result.Receiver, result.Took)
				}
			}); err != nil || result.Taken {
				return err
			}
			refused := restart.Errorf(restart.CodeUnavailable, "%s has not taken the message: %s", result.Receiver, result.Said)
			return &ExitError{Code: ExitFailed, Err: refused.WithHint("what each kind needs: docs/reference/messages.md")}
		},
	}
}
