package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func freezeCommand() *cobra.Command {
	return Parent("freeze", "Keep runs from starting at some times", freezeListCommand(), freezeAddCommand(), freezeRemoveCommand())
}

func freezeListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List freezes: which apply now and until when, when the others begin",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Freezes(cmd.Context())
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(list), "nothing is frozen, now or later; an admin adds one with: restartilka freeze add --env production --weekly 'fri 18:00-mon 08:00' --reason TEXT")
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(list))
				for _, f := range list {
					rows = append(rows, []string{f.ID, freezeWord(f), strings.Join(f.Environments, " "), services(f), rule(f), f.CreatedBy, f.Reason})
				}
				table(w, []string{"ID", "NOW", "ENVIRONMENTS", "SERVICES", "RULE", "BY", "REASON"}, rows)
			})
		},
	}
}

// freezeWord says whether a freeze applies, and when that changes, by the
// reader's own clock.
func freezeWord(f wire.Freeze) string {
	if f.Applies {
		return "frozen until " + minute(f.Ends)
	}
	return "from " + minute(f.Begins) + " until " + minute(f.Ends)
}

func minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

func services(f wire.Freeze) string {
	if len(f.Services) == 0 {
		return "all"
	}
	return strings.Join(f.Services, " ")
}

func rule(f wire.Freeze) string {
	if f.Weekly != "" {
		return "weekly " + f.Weekly + " " + f.Zone
	}
	return "by date"
}

func freezeAddCommand() *cobra.Command {
	var req wire.FreezeRequest
	cmd := &cobra.Command{
		Use:   "add --env E (--weekly TIMES | [--from TIME] --to TIME) --reason TEXT",
		Short: "Freeze environments, by date or weekly",
		Long: `Freeze environments: while a freeze applies, no run that changes a service
starts there, and one that is under way goes on to no further host. Thread
dumps may be taken, and drained hosts put back. It needs an admin.

Times are meant in the zone that --tz names, or else in the server's.`,
		Example: `  restartilka freeze add --env production --weekly 'fri 18:00-mon 08:00' --tz Europe/Berlin --reason "nobody is there to look at weekends"
  restartilka freeze add --env all --from 2026-12-24T00:00 --to 2026-12-27T00:00 --reason "Christmas, only a few are on call"
  restartilka freeze add --env production --service shop --to 2026-11-28T06:00 --reason "the big sale: only the shop, from now on"`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFreezeFlags(cmd, req); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			f, err := c.AddFreeze(cmd.Context(), req)
			if err != nil {
				return err
			}
			say(cmd, "%s: %s", restart.Escape(f.Where()), freezeWord(f))
			return data(cmd, f, func(w io.Writer) { fmt.Fprintln(w, f.ID) })
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&req.Environments, "env", nil, "environment, or all for every one; may be repeated")
	flags.StringSliceVar(&req.Services, "service", nil, "only this service; may be repeated")
	flags.StringVar(&req.Weekly, "weekly", "", "from a day and time to another, every week: 'fri 18:00-mon 08:00'")
	flags.StringVar(&req.From, "from", "", "when it begins, such as 2026-12-24T00:00; now, otherwise")
	flags.StringVar(&req.To, "to", "", "when it ends")
	flags.StringVar(&req.Zone, "tz", "", "time zone, such as Europe/Berlin; the server's, otherwise")
	flags.StringVar(&req.Reason, "reason", "", "why (needed, 10 to 500 characters)")
	return cmd
}

// checkFreezeFlags finds what can be found without the server.
func checkFreezeFlags(cmd *cobra.Command, req wire.FreezeRequest) error {
	switch {
	case len(req.Environments) == 0:
		return usage(restart.Errorf(restart.CodeInvalid, "no environment is named").WithHint("--env production, or --env %s for every one", restart.EveryEnvironment))
	case req.Weekly != "" && (req.From != "" || req.To != ""):
		return usage(errors.New("--weekly does not go with --from and --to: a freeze is either weekly or by date"))
	case req.Weekly == "" && req.To == "":
		return usage(restart.Errorf(restart.CodeInvalid, "it is not said when the freeze ends").WithHint("--to 2026-12-27T00:00, or --weekly 'fri 18:00-mon 08:00'"))
	}
	return needReason(cmd, "nobody is there to look at weekends")
}

// needReason refuses a command without --reason.
func needReason(cmd *cobra.Command, example string) error {
	if cmd.Flags().Changed("reason") {
		return nil
	}
	return usage(restart.Errorf(restart.CodeReason, "a reason is needed: why is this done?").WithHint("--reason %q", example))
}

func freezeRemoveCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "remove ID --reason TEXT",
		Short: "Lift a freeze at once",
		Long:  "Lift a freeze at once. Runs that it has paused stay paused until somebody resumes them. It needs an admin.",
		Args:  exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			if err := needReason(cmd, "the hotfix for the outage has to go out now"); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := c.RemoveFreeze(cmd.Context(), args[0], reason); err != nil {
				return err
			}
			return data(cmd, struct {
				ID      string `json:"id"`
				Removed bool   `json:"removed"`
			}{args[0], true}, func(w io.Writer) { fmt.Fprintf(w, "freeze %s is lifted\n", args[0]) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (needed, 10 to 500 characters)")
	return cmd
}
