package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func runsCommand() *cobra.Command {
	var q wire.RunQuery
	var states []string
	var kind string
	cmd := &cobra.Command{
		Use:     "runs",
		Short:   "List runs, the newest first",
		Example: "  restartilka runs --service nginx --state paused,failed\n  restartilka runs --env production --since 2026-11-01 --text \"memory leak\"",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range states {
				if !slices.Contains(restart.RunStates(), restart.RunState(s)) {
					return usage(fmt.Errorf("--state %s: one of %v", restart.Quote(s), restart.RunStates()))
				}
				q.States = append(q.States, restart.RunState(s))
			}
			if kind != "" && !slices.Contains(restart.Kinds(), restart.Kind(kind)) {
				return usage(fmt.Errorf("--kind %s: one of %v", restart.Quote(kind), restart.Kinds()))
			}
			q.Kind = restart.Kind(kind)
			if _, _, err := q.Bounds(); err != nil {
				return usage(err)
			}
			if q.Limit < 1 || q.Limit > wire.MaxPage {
				return usage(fmt.Errorf("--limit is a number from 1 to %d", wire.MaxPage))
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Runs(cmd.Context(), q)
			if err != nil {
				return err
			}
			if cmd.Flags().NFlag() > 0 {
				hintEmpty(cmd, len(list.Items), "no run fits these flags")
			} else {
				hintEmpty(cmd, len(list.Items), "there is no run yet; ask for one with: restartilka restart SERVICE --reason TEXT")
			}
			shown := wire.List[shownRun]{Items: []shownRun{}, Next: list.Next}
			for _, run := range list.Items {
				shown.Items = append(shown.Items, show(run))
			}
			if err := data(cmd, shown, func(w io.Writer) { writeRuns(w, list.Items, time.Now()) }); err != nil {
				return err
			}
			if list.Next != "" && !asJSON(cmd) {
				if len(list.Items) < q.Limit { // it has looked through as many as one page may
					say(cmd, "looked back to %s; to look further: --cursor %s", restart.TimeOfID(list.Next).Format(time.DateOnly), list.Next)
				} else {
					say(cmd, "there are more: --cursor %s", list.Next)
				}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Service, "service", "", "of this service")
	flags.StringVar(&q.Environment, "env", "", "of this environment")
	flags.StringVar(&q.Group, "group", "", "over this group")
	flags.StringVar(&q.Host, "host", "", "with this host")
	flags.StringVar(&q.Actor, "actor", "", "asked for by this person")
	flags.StringSliceVar(&states, "state", nil, "in these states")
	flags.StringVar(&kind, "kind", "", "of this kind: restart, thread-dump or custom")
	flags.StringVar(&q.Since, "since", "", "asked for on this day or later, in UTC: 2026-11-22, or 2026-11-22T20:00:00Z")
	flags.StringVar(&q.Until, "until", "", "asked for on this day or earlier, or before this moment")
	flags.StringVar(&q.Text, "text", "", "with these words, or parts of words, in reason or ticket")
	flags.StringVar(&q.Cursor, "cursor", "", "go on after the page before")
	flags.IntVar(&q.Limit, "limit", 50, "at most so many, up to 200")
	return cmd
}

func writeRuns(w io.Writer, runs []restart.Run, now time.Time) {
	rows := make([][]string, 0, len(runs))
	for _, run := range runs {
		state := string(run.State)
		if run.Cause != "" {
			state += " (" + string(run.Cause) + ")"
		}
		done := 0
		latest := restart.Latest(run.Tasks)
		for _, t := range latest {
			if t.Done() {
				done++
			}
		}
		if run.OnHost() {
			state += ", made on the host"
		}
		if run.Work == restart.WorkRehearse {
			state += ", a rehearsal"
		}
		rows = append(rows, []string{
			run.ID, moment(&run.CreatedAt), run.Scenario, strings.TrimSuffix(run.Service+" "+run.Environment, " "), state,
			fmt.Sprintf("%d/%d", done, len(latest)), took(run.StartedAt, run.FinishedAt, now), run.Actor, brief(run.Reason),
		})
	}
	table(w, []string{"RUN", "ASKED", "SCENARIO", "SERVICE", "STATE", "DONE", "TOOK", "ACTOR", "REASON"}, rows)
}

// brief cuts a text for a column.
func brief(s string) string {
	const most = 50
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
