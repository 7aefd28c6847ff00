package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func dumpsCommand() *cobra.Command {
	var q wire.DumpQuery
	cmd := &cobra.Command{
		Use:   "dumps",
		Short: "List thread dumps that the server keeps; look at one, compare, fetch",
		Example: `  restartilka dumps --service shop
  restartilka dumps show 01k6p8w2zt3f9m4q7r5x1y0c8d
  restartilka dumps get 01k6p8w2zt3f9m4q7r5x1y0c8d --out shop.txt`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.Dumps(cmd.Context(), q)
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(list.Items), `no thread dump is kept that you may see; take one: restartilka dump SERVICE --reason TEXT`)
			return data(cmd, list, func(w io.Writer) {
				if len(list.Items) > 0 {
					writeDumps(w, list.Items)
				}
				if list.Next != "" {
					say(cmd, "older ones: --cursor %s", list.Next)
				}
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Service, "service", "", "of this service")
	flags.StringVar(&q.Host, "host", "", "of this host")
	flags.StringVar(&q.Run, "run", "", "of this run")
	flags.BoolVar(&q.Mine, "mine", false, "the files that you have put in yourself")
	flags.StringVar(&q.Cursor, "cursor", "", "go on from where an earlier list ended")
	flags.IntVar(&q.Limit, "limit", 50, "at most so many, up to 200")
	cmd.AddCommand(dumpsShowCommand(), dumpsGetCommand(), dumpsCompareCommand(), dumpsPutCommand(), dumpsDeleteCommand())
	return cmd
}

func writeDumps(w io.Writer, list []wire.Dump) {
	rows := make([][]string, len(list))
	for i, d := range list {
		says := d.Says
		if d.Error != "" {
			says = d.Error
		}
		number := ""
		if d.Of > 1 {
			number = fmt.Sprintf("%d/%d", d.Number, d.Of)
		}
		of := d.Service
		if of == "" {
			of = d.Name
		}
		rows[i] = []string{d.ID, moment(&d.TakenAt), of, d.Host, d.Origin, number, says}
	}
	table(w, []string{"DUMP", "TAKEN", "SERVICE", "HOST", "ORIGIN", "N", "VERDICT"}, rows)
}

func dumpsShowCommand() *cobra.Command {
	var alone bool
	cmd := &cobra.Command{
		Use:   "show DUMP",
		Short: "Say what is found in a dump, and in the series it is part of",
		Args:  exactly("DUMP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			report, err := c.DumpReport(cmd.Context(), args[0], !alone)
			if err != nil {
				return err
			}
			return data(cmd, report, func(w io.Writer) { writeReport(w, report.Report) })
		},
	}
	cmd.Flags().BoolVar(&alone, "alone", false, "without the others of its series")
	return cmd
}

func dumpsGetCommand() *cobra.Command {
	var out, form string
	cmd := &cobra.Command{
		Use:   "get DUMP",
		Short: "Fetch a dump as it was taken, or its merged stacks",
		Args:  exactly("DUMP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{client.DumpRaw, client.DumpCollapsed, client.DumpSpeedscope}, form) {
				return usage(fmt.Errorf("--as %s: it is raw, collapsed or speedscope", restart.Quote(form)))
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if out == "" {
				to, done := harmless(cmd.OutOrStdout())
				defer done()
				return c.WriteDump(cmd.Context(), to, args[0], form)
			}
			if err := saveDump(cmd, c, args[0], form, out); err != nil {
				return err
			}
			say(cmd, "it is in %s", out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write it into this `file`, which must not be there, instead of the standard output")
	cmd.Flags().StringVar(&form, "as", client.DumpRaw, "raw, collapsed (for flame graphs) or speedscope")
	return cmd
}

// saveDump writes a dump into a new file that only its owner can read. A file
// that did not become whole is removed.
func saveDump(cmd *cobra.Command, c *client.Client, id, form, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usage(restart.Errorf(restart.CodeConflict, "%s is there already", restart.Escape(path)).WithHint("name another file, or move that one away"))
	}
	if err != nil {
		return err
	}
	err = c.WriteDump(cmd.Context(), f, id, form)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func dumpsCompareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare BEFORE AFTER",
		Short: "Say what changed from one dump to another",
		Args:  exactly("BEFORE", "AFTER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			d, err := c.CompareDumps(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return data(cmd, d, func(w io.Writer) { writeDifference(w, d.Difference) })
		},
	}
}

func dumpsPutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "put FILE",
		Short: "Put a file into the server's viewer; only you see it there",
		Long: `Put a thread dump from elsewhere into the server's viewer. Nobody else sees it
there, and it is deleted after a day. To read one without any server:
restartilka analyse FILE.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			d, err := c.UploadDump(cmd.Context(), filepath.Base(args[0]), f)
			if err != nil {
				return err
			}
			return data(cmd, d, func(w io.Writer) { fmt.Fprintf(w, "%s  %s\n", d.ID, restart.Escape(d.Says)) })
		},
	}
}

func dumpsDeleteCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "delete DUMP --reason TEXT",
		Short: "Delete a dump before its time; a file of your own without --reason",
		Args:  exactly("DUMP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := c.DeleteDump(cmd.Context(), args[0], reason); err != nil {
				return err
			}
			say(cmd, "dump %s is deleted; the audit trail keeps that it was there", args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; needed for the dump of a run; it goes into the audit trail")
	return cmd
}
