package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func dumpCommand() *cobra.Command {
	f := &requestFlags{req: restart.Request{Kind: restart.KindThreadDump}}
	var out string
	cmd := &cobra.Command{
		Use:   "dump SERVICE --reason TEXT",
		Short: "Take thread dumps of a service, without restarting it",
		Long: `Take thread dumps of a service on all chosen hosts at once, and say what is
wrong: first the verdict over all hosts, then that of each. The dumps stay on the
server, with the run; --out saves them here as well.`,
		Example: `  restartilka dump shop --env production --reason "requests hang, looking for the lock"
  restartilka dump shop --env production --hosts web01 --out dumps --reason "requests hang, looking for the lock"`,
		Args: exactly("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.req.Service = args[0]
			if out != "" && (f.planOnly || f.detach) {
				return usage(errors.New("--out does not go together with --plan or --detach: there are no dumps yet"))
			}
			f.end = func(c *client.Client, run string) error { return showDumps(cmd, c, run, out) }
			return f.run(cmd)
		},
	}
	f.add(cmd)
	f.addScenario(cmd)
	cmd.Flags().StringVar(&out, "out", "", "save the dumps in this `folder`, a file for each")
	return cmd
}

// showDumps tells what the dumps of a run say, and saves them where that is
// wanted. With --json it prints what RunDumps gives, and the run is told on stderr.
func showDumps(cmd *cobra.Command, c *client.Client, run, out string) error {
	found, err := c.RunDumps(cmd.Context(), run, "")
	if restart.CodeOf(err) == restart.CodeNotFound { // how the run has ended says what it was
		found = wire.RunDumps{Run: run, Origins: []string{}, Dumps: []wire.Dump{}}
	} else if err != nil {
		return fmt.Errorf("look at the dumps: %w", err)
	}
	if err := saveDumps(cmd, c, found.Dumps, out); err != nil {
		return err
	}
	return data(cmd, found, func(w io.Writer) {
		if found.Report == nil {
			fmt.Fprintln(w, "no dump was taken")
			return
		}
		fmt.Fprintln(w)
		writeGroup(w, found.Report)
		for _, host := range found.LeftOut {
			fmt.Fprintf(w, "%s is not among them: its dumps can't be read, or all together are too many\n", restart.Escape(host))
		}
	})
}

func saveDumps(cmd *cobra.Command, c *client.Client, list []wire.Dump, out string) error {
	if out == "" || len(list) == 0 {
		return nil
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	saved := 0
	for _, d := range list {
		if d.Stored == 0 {
			continue
		}
		name := strings.Map(fileRune, fmt.Sprintf("%s-%s-%d-%s.txt", d.Service, d.Host, d.Number, d.ID))
		if err := saveDump(cmd, c, d.ID, client.DumpRaw, filepath.Join(out, name)); err != nil {
			return err
		}
		saved++
	}
	say(cmd, "%s saved in %s", plural(saved, "dump"), out)
	return nil
}

// fileRune leaves nothing in a file's name that is more than a name.
func fileRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		return r
	}
	return '_'
}
