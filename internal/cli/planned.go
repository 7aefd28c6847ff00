package cli

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func plannedCommand() *cobra.Command {
	var over, ics bool
	cmd := &cobra.Command{
		Use:   "planned",
		Short: "List runs that are planned for a time to come",
		Long: `List runs that are planned for a time to come, by that time: made with --at or
--in-window of restart, run, rehearse and dump. At its time the server plans it anew,
with your rights of then, and starts it only if it is what you were shown.`,
		Example: `  restartilka planned
  restartilka planned --over
  restartilka planned --ics > planned.ics`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if ics {
				return writeCalendar(cmd, c)
			}
			list, err := c.Planned(cmd.Context(), over)
			if err != nil {
				return err
			}
			hint := "nothing is planned; plan something with: restartilka restart SERVICE --at '2026-12-24 03:00' --reason TEXT"
			if over {
				hint = "nothing that was planned is over, of the last 90 days"
			}
			hintEmpty(cmd, len(list), hint)
			if len(list) == wire.MaxPage {
				say(cmd, "these are the first %d", len(list))
			}
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) { writePlanned(w, list) })
		},
	}
	cmd.Flags().BoolVar(&over, "over", false, "those that are over, and how they ended, the last first")
	cmd.Flags().BoolVar(&ics, "ics", false, "write what is planned as a calendar's file (iCalendar)")
	cmd.MarkFlagsMutuallyExclusive("over", "ics")
	cmd.AddCommand(plannedShowCommand(), plannedCancelCommand(), plannedDecideCommand(true), plannedDecideCommand(false), plannedWindowsCommand(), plannedCalendarCommand())
	return cmd
}

func writeCalendar(cmd *cobra.Command, c *client.Client) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	if err := c.WriteCalendar(cmd.Context(), w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func writePlanned(w io.Writer, list []wire.Planned) {
	rows := make([][]string, 0, len(list))
	for _, p := range list {
		rows = append(rows, []string{
			p.ID, minute(p.At), strings.TrimSuffix(p.Service+" "+p.Environment, " "), string(p.Kind), strconv.Itoa(p.Hosts), p.Actor, plannedWord(p), brief(p.Request.Reason),
		})
	}
	table(w, []string{"ID", "AT", "SERVICE", "KIND", "HOSTS", "BY", "STATE", "REASON"}, rows)
}

// plannedWord says how a planned run stands, with why.
func plannedWord(p wire.Planned) string {
	switch {
	case p.State == restart.ScheduleStarted:
		return "started: run " + p.Run
	case p.State == restart.ScheduleAwaiting:
		return "waits for an approval, by " + restart.Escape(p.Who)
	case p.State == restart.ScheduleCancelled:
		return "cancelled by " + restart.Escape(p.EndedBy)
	case p.State == restart.ScheduleRejected:
		return "rejected by " + restart.Escape(p.EndedBy)
	case p.Why != "":
		return string(p.State) + ": " + restart.Escape(p.Why)
	}
	return string(p.State)
}

// planLater confirms a draft for the time that was asked for.
func (b *begin) planLater(cmd *cobra.Command, c *client.Client, draft restart.Run) error {
	p, err := c.Later(cmd.Context(), draft.ID, b.later)
	if err != nil {
		return err
	}
	say(cmd, "planned for %s, with your rights of then", minute(p.At))
	if p.Plan != nil && draft.Plan != nil {
		for _, w := range p.Plan.Warnings {
			if !slices.Contains(draft.Plan.Warnings, w) { // of its time: the others were shown
				say(cmd, "%s", restart.Escape(w))
			}
		}
	}
	if err := data(cmd, p, func(w io.Writer) { fmt.Fprintln(w, p.ID) }); err != nil || p.State != restart.ScheduleAwaiting {
		return err
	}
	say(cmd, "it waits for an approval before that, by %s", restart.Escape(p.Who))
	return Exit(ExitPerson)
}

func plannedShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a planned run, with the plan as it was shown",
		Args:  exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onPlanned(cmd, args[0], func(c *client.Client) error {
				p, err := c.PlannedOne(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return data(cmd, p, func(w io.Writer) {
					fmt.Fprintf(w, "planned: for %s, until %s at the latest%s\nby:      %s at %s\nstate:   %s\n",
						minute(p.At), minute(p.Until), windowWord(p), restart.Escape(p.Actor), moment(&p.CreatedAt), plannedWord(p))
					writeApproval(w, restart.Run{Approval: p.Approval})
					if p.Plan != nil {
						writePlan(w, *p.Plan)
					}
				})
			})
		},
	}
}

func windowWord(p wire.Planned) string {
	if p.Window == "" {
		return ""
	}
	return ", in window " + restart.Escape(p.Window)
}

// onPlanned does something about what is planned under an id.
func onPlanned(cmd *cobra.Command, id string, do func(c *client.Client) error) error {
	if err := restart.CheckID(id); err != nil {
		return err
	}
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	return do(c)
}
