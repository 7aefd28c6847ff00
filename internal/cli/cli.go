package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/version"
)

// Main runs one command line and gives its exit code. ctx ends where the
// person interrupts: a command that watches then detaches. extra are commands
// that this package does not know.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, extra ...*cobra.Command) int {
	root := New(extra...)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return execute(ctx, root, args)
}

// execute runs a command line of a tree.
func execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitDone
	}
	if ran, ok := errors.AsType[*runError](err); ok {
		return report(cmd, ran.err)
	}
	return report(cmd, usage(err)) // no command has begun: the line itself is wrong
}

// runError is what a command's own work has ended with, as told apart from
// what the parser of flags and arguments finds.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }

// markRuns makes every command of a tree return its errors as runError.
func markRuns(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := run(cmd, args); err != nil {
				return &runError{err}
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		markRuns(child)
	}
}

// New gives the whole tree of commands. One of extra that is there already by
// its name lends it its children. Those of extra find --json as a flag of theirs, and may return any error that ExitCode knows; what they return
// from anything but RunE counts as an error of the command line.
func New(extra ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "restartilka",
		Short: "Restart services safely, host after host",
		Long: `restartilka restarts services on many hosts, one after another: the next host
only when the last is healthy, every act in the audit trail. It takes thread
dumps of them, and says what hangs.

It asks a server. Name it once with "restartilka login URL", or in the environment:
RESTARTILKA_URL, RESTARTILKA_CA (file), RESTARTILKA_TOKEN or RESTARTILKA_TOKEN_FILE.`,
		Version:                    version.Current().Version,
		Args:                       noArgs,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		RunE:                       help,
	}
	root.PersistentFlags().Bool("json", false, "print data as JSON")
	root.AddGroup(
		&cobra.Group{ID: "act", Title: "Restart and watch:"},
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "admin", Title: "Prepare and administer:"},
	)
	for id, commands := range map[string][]*cobra.Command{
		"act": {
			restartCommand(), runCommand(), rehearseCommand(), dumpCommand(), watchCommand(),
			verbCommand(pauseVerb), verbCommand(resumeVerb), verbCommand(abortVerb), verbCommand(forceAbortVerb),
			approveCommand(), rejectCommand(), decideCommand(), retryCommand(), undrainCommand(),
		},
		"look":  {showCommand(), runsCommand(), dumpsCommand(), analyseCommand(), hostsCommand(), inventoryCommand(), servicesCommand(), groupsCommand(), locksCommand(), approvalsCommand(), plannedCommand(), breakGlassCommand(), whocanCommand(), whyCommand(), auditCommand()},
		"admin": {loginCommand(), whoamiCommand(), tokenCommand(), keyCommand(), sessionCommand(), userCommand(), hostCommand(), scenarioCommand(), freezeCommand(), shellCommand(), notifyCommand()},
	} {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	root.AddCommand(versionCommand())
	for _, c := range extra {
		if there := childOf(root, c.Name()); there != nil {
			there.AddCommand(c.Commands()...)
		} else {
			root.AddCommand(c)
		}
	}
	markRuns(root)
	return root
}

// childOf gives a command's child of that name; nil = it has none.
func childOf(parent *cobra.Command, name string) *cobra.Command {
	for _, c := range parent.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// help is what a command does that only has others below it.
func help(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()))
	}
	if cmd.HasParent() {
		cmd.SetOut(cmd.ErrOrStderr())
		cmd.Usage() //nolint:errcheck // the error below says it
		return usage(fmt.Errorf("%s needs a command", cmd.CommandPath()))
	}
	return cmd.Help()
}

// Parent makes a command that only has others below it: by itself it is a
// command line that is not complete.
func Parent(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: help}
	c.AddCommand(children...)
	return c
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasParent() {
		return exactly()(cmd, args)
	}
	near := ""
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		near = " (did you mean " + strings.Join(names, " or ") + "?)"
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), near)
}

// exactly wants so many arguments, named in names for the message.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing: %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return fmt.Errorf("%q is one argument too many: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}
