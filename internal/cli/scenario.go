package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
)

func scenarioCommand() *cobra.Command {
	return Parent("scenario", "Write, check, review and look at scenarios",
		scenarioNewCommand(), scenarioLintCommand(), scenarioDigestCommand(), scenarioSignCommand(), scenarioVerifyCommand(),
		scenarioPushCommand(), scenarioApproveCommand(), scenarioWithdrawCommand(), scenarioListCommand(), scenarioShowCommand(), scenarioDiffCommand(), scenarioCoverageCommand())
}

func scenarioNewCommand() *cobra.Command {
	var unit string
	cmd := &cobra.Command{
		Use:     "new --unit UNIT",
		Short:   "Print a commented restart scenario for a systemd unit",
		Example: "  restartilka scenario new --unit nginx.service > nginx-restart.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := scenario.New(unit)
			if err != nil {
				return err
			}
			return data(cmd, struct {
				Body string `json:"body"`
			}{string(text)}, func(w io.Writer) { w.Write(text) }) //nolint:errcheck // data tells
		},
	}
	cmd.Flags().StringVar(&unit, "unit", "", "the unit, such as nginx.service")
	cmd.MarkFlagRequired("unit") //nolint:errcheck // the flag is there: one line above
	return cmd
}

func scenarioLintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE…",
		Short: "Check scenario files; exit code 1 where one would be refused",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			type finding struct {
				File    string `json:"file"`
				Line    int    `json:"line"`
				Level   string `json:"level"`
				Code    string `json:"code"`
				Message string `json:"message"`
				Hint    string `json:"hint,omitempty"`
			}
			found := wire.ListOf([]finding{}, "")
			bad := false
			err := eachFile(args, func(path string, b []byte) error {
				for _, f := range scenario.Lint(b) {
					bad = bad || f.Level == scenario.LevelError
					found.Items = append(found.Items, finding{path, f.Line, f.Level, f.Code, f.Message, f.Hint})
				}
				return nil
			})
			if err != nil {
				return err
			}
			err = data(cmd, found, func(w io.Writer) {
				for _, f := range found.Items {
					place := restart.Escape(f.File)
					if f.Line > 0 {
						place += ":" + strconv.Itoa(f.Line)
					}
					line := fmt.Sprintf("%s: %s: %s", place, f.Level, restart.Escape(f.Message))
					if f.Hint != "" {
						line += " (" + restart.Escape(f.Hint) + ")"
					}
					fmt.Fprintln(w, line)
				}
			})
			if err == nil && bad {
				err = &ExitError{Code: ExitFailed}
			}
			if err == nil && len(found.Items) == 0 && !asJSON(cmd) {
				say(cmd, "nothing to say of %s", plural(len(args), "file"))
			}
			return err
		},
	}
}

func scenarioDigestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "digest FILE…",
		Short: "Print the digest by which hosts and runs name a version (as sha256sum does)",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			type line struct {
				File   string `json:"file"`
				Digest string `json:"digest"`
			}
			list := wire.ListOf([]line{}, "")
			err := eachFile(args, func(path string, b []byte) error {
				list.Items = append(list.Items, line{path, scenario.Digest(b)})
				return nil
			})
			if err != nil {
				return err
			}
			return data(cmd, list, func(w io.Writer) {
				for _, l := range list.Items {
					fmt.Fprintf(w, "%s  %s\n", l.Digest, restart.Escape(l.File))
				}
			})
		},
	}
}

func eachFile(paths []string, do func(path string, b []byte) error) error {
	if len(paths) == 0 {
		return usage(fmt.Errorf("FILE is missing"))
	}
	for _, path := range paths {
		b, err := readScenario(path)
		if err != nil {
			return err
		}
		if err := do(path, b); err != nil {
			return err
		}
	}
	return nil
}

// readScenario reads at most a byte more than a scenario may have, so that the
// reader of it can say so.
func readScenario(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the scenario can't be read: %w", err)
	}
	defer f.Close() // read only
	b, err := io.ReadAll(io.LimitReader(f, 1<<20+1))
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the scenario can't be read: %w", err)
	}
	return b, nil
}

func scenarioListCommand() *cobra.Command {
	var all, waiting bool
	cmd := &cobra.Command{
		Use:   "list [NAME] [--all | --waiting]",
		Short: "List the scenarios in force; or all versions, or those that wait for signatures",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			if all || waiting || name != "" {
				return listVersions(cmd, c, name, waiting)
			}
			list, err := c.Scenarios(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(list))
				for _, s := range list {
					rows = append(rows, []string{s.Name, strconv.Itoa(s.Serial), string(s.Kind), strings.Join(s.Services, " "), short(s.Digest), s.Description})
				}
				table(w, []string{"SCENARIO", "SERIAL", "KIND", "SERVICES", "DIGEST", "DESCRIPTION"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every version that the server knows, with its review")
	cmd.Flags().BoolVar(&waiting, "waiting", false, "versions that wait for signatures; yours first")
	cmd.MarkFlagsMutuallyExclusive("all", "waiting")
	return cmd
}

// listVersions lists versions with their reviews.
func listVersions(cmd *cobra.Command, c *client.Client, name string, waiting bool) error {
	list, err := c.ScenarioVersions(cmd.Context(), name)
	if err != nil {
		return err
	}
	if waiting {
		list = slices.DeleteFunc(list, func(v wire.ScenarioVersion) bool { return v.Standing != "waiting" })
		slices.SortStableFunc(list, func(a, b wire.ScenarioVersion) int {
			switch {
			case a.Mine == b.Mine:
				return 0
			case a.Mine:
				return -1
			}
			return 1
		})
		hintEmpty(cmd, len(list), "nothing waits for signatures")
	}
	return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
		rows := make([][]string, 0, len(list))
		for _, v := range list {
			rows = append(rows, []string{v.Name, strconv.Itoa(v.Serial), standing(v), fmt.Sprintf("%d of %d", v.Good, v.Quorum), v.Author, v.Digest})
		}
		table(w, []string{"SCENARIO", "SERIAL", "STANDING", "SIGNED", "AUTHOR", "DIGEST"}, rows)
	})
}

func scenarioShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME|DIGEST",
		Short: "Print a scenario's reviewed bytes",
		Args:  exactly("NAME|DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			digest := args[0]
			if restart.CheckDigest(digest) != nil {
				if digest, err = digestOf(cmd, c, args[0]); err != nil {
					return err
				}
			}
			s, err := c.Scenario(cmd.Context(), digest)
			if err != nil {
				return err
			}
			return data(cmd, s, func(w io.Writer) {
				if !terminal(cmd.OutOrStdout()) {
					io.WriteString(w, s.Body) //nolint:errcheck // data tells; the bytes are what was reviewed
					return
				}
				out := &escaper{w: w}
				io.WriteString(out, s.Body) //nolint:errcheck // as above
				out.close()
			})
		},
	}
}

// digestOf finds the newest version of a name.
func digestOf(cmd *cobra.Command, c *client.Client, name string) (string, error) {
	if err := restart.CheckScenarioName(name); err != nil {
		return "", err
	}
	list, err := c.Scenarios(cmd.Context())
	if err != nil {
		return "", err
	}
	for _, s := range list {
		if s.Name == name {
			return s.Digest, nil
		}
	}
	return "", restart.Errorf(restart.CodeNotFound, "there is no scenario %s", restart.Quote(name)).WithHint("list them with: restartilka scenario list")
}
