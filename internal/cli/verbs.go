package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
)

// verb is a command that asks something of a run and says how it stands then.
type verb struct {
	name, short, long string
}

var (
	pauseVerb = verb{name: "pause", short: "Stop a run before its next host",
		long: "Stop a run before its next host. The host in hand finishes. It goes on with resume."}
	resumeVerb = verb{name: "resume", short: "Let a paused run go on",
		long: "Let a paused run go on, in spite of the failures it has. Hosts known not to have been started are tried again.\nWhile it is not known whether the script ran on a host, that has to be decided first: restartilka decide."}
	abortVerb = verb{name: "abort", short: "End a run; the host in hand finishes",
		long: "End a run: the host in hand finishes, no other is touched."}
	forceAbortVerb = verb{name: "force-abort", short: "End a run and kill what runs on the host in hand",
		long: "End a run and kill the whole process tree of the script on the host in hand. What state that leaves the host in\nis not known afterwards: it counts as unknown, and a person has to look."}
)

func verbCommand(v verb) *cobra.Command {
	var seen int64
	cmd := &cobra.Command{
		Use:   v.name + " RUN",
		Short: v.short,
		Long:  v.long,
		Args:  exactly("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			run, err := c.Ask(cmd.Context(), args[0], v.name, seen)
			if err != nil {
				return err
			}
			return data(cmd, show(run), func(w io.Writer) { fmt.Fprintf(w, "run %s: %s\n", run.ID, runWord(run)) })
		},
	}
	addSeen(cmd, &seen)
	return cmd
}

// addSeen is for the commands that may be given upon a version of the run.
func addSeen(cmd *cobra.Command, seen *int64) {
	cmd.Flags().Int64Var(seen, "if-version", 0, "only if the run has taken no other turn since this version of it (see show --json)")
}
