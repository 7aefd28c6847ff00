package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
)

// Shell runs command lines of people who came by SSH: the commands of this
// package, but only those of shellVerbs with their flags there. None of them
// reads or writes a file, looks at the environment or has a token. Who asks,
// Transport says.
type Shell struct {
	URL       string            // of the server, as people know it
	Transport http.RoundTripper // carries the requests, and who asks
}

// shellVerbs is the exact list of commands that are there by SSH, by their path
// below the root, each with its flags. What is not in it does not exist there.
var shellVerbs = map[string][]string{
	"restart":   append([]string{"scenario"}, requestFlagNames...),
	"rehearse":  append([]string{"scenario"}, requestFlagNames...),
	"dump":      append([]string{"scenario"}, requestFlagNames...),
	"run":       requestFlagNames,
	"retry":     {"reason", "ticket", "if-version", "plan", "detach", "yes", "break-glass"},
	"undrain":   {"reason", "ticket", "if-version", "plan", "detach", "yes"},
	"watch":     {},
	"pause":     {"if-version"},
	"resume":    {"if-version"},
	"abort":     {"if-version"},
	"approve":   {"reason", "yes", "if-version"},
	"reject":    {"reason", "if-version"},
	"decide":    {"reason", "if-version"},
	"show":      {"host"},
	"runs":      {"service", "env", "group", "host", "actor", "state", "kind", "since", "until", "text", "cursor", "limit"},
	"dumps":     {"service", "host", "run", "mine", "cursor", "limit"},
	"hosts":     {},
	"services":  {},
	"groups":    {},
	"locks":     {},
	"inventory": {},
	"planned":   {"over", "ics"},
	"approvals": {},
	"whocan":    {"env", "group", "all", "csv"},
	"why":       {"env", "group"},
	"whoami":    {},
	"version":   {},

	"force-abort":      {"if-version"},
	"planned show":     {},
	"planned cancel":   {},
	"planned approve":  {"reason", "yes"},
	"planned reject":   {"reason"},
	"planned windows":  {},
	"dumps show":       {"alone"},
	"dumps get":        {"as"},
	"dumps compare":    {},
	"hosts check":      {"service", "env", "only", "verbose"},
	"break-glass list": {},
	"freeze list":      {},
	"scenario list":    {"all", "waiting"},
	"scenario show":    {},
	"key list":         {},
	"audit search":     {"run", "actor", "action", "area", "service", "env", "host", "since", "until", "text", "seals", "oldest", "after", "limit"},
	"audit story":      {},
	"audit tail":       {"run", "actor", "action", "area", "service", "env", "host", "since", "until", "text", "seals", "lines", "follow"},
}

var requestFlagNames = []string{"env", "project", "group", "hosts", "except", "reason", "ticket", "param", "key", "at", "tz", "in-window", "plan", "detach", "yes", "break-glass"}

// shellFlags are there with every command.
var shellFlags = []string{"json", "help", "version"}

// Run runs one line and gives its exit code. An empty one tells what can be done
// and is a mistake, as there is nothing to be interactive with. ctx ends where
// the person interrupts: who watches a run is told that it goes on.
func (s Shell) Run(ctx context.Context, line string, stdin io.Reader, stdout, stderr io.Writer) int {
	root, words, err := read(line)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err != nil {
		return report(root, usage(err))
	}
	if len(words) == 0 {
		root.SetOut(stderr)
		root.Help() //nolint:errcheck // whoever asked has gone
		return report(root, usage(restart.Errorf(restart.CodeInvalid, "a command is missing: there is no shell here").WithHint("ssh … whoami")))
	}
	door := &client.Config{URL: s.URL, Transport: s.Transport}
	code := execute(context.WithValue(ctx, doorKey{}, door), root, words)
	if code == ExitUsage && strings.Contains(line, "--") {
		fmt.Fprintln(stderr, `hint: ssh takes one level of quotes away: ssh … restart nginx --reason '"502s since the deploy"'`)
	}
	return code
}

// read gives the tree of what is there by SSH, and the words of a line for it.
func read(line string) (root *cobra.Command, words []string, err error) {
	root = New()
	restrict(root)
	if words, err = Words(line); err != nil {
		return root, nil, err
	}
	if len(words) > 0 && words[0] == root.Name() { // as our own hints have it
		words = words[1:]
	}
	return root, words, known(root, words)
}

// doorKey is that of the client's configuration in the context of a command.
type doorKey struct{}

// doorOf gives how a command reaches its server where it came by SSH; nil =
// as the environment and client.yaml say.
func doorOf(ctx context.Context) *client.Config {
	if ctx == nil {
		return nil
	}
	door, _ := ctx.Value(doorKey{}).(*client.Config)
	return door
}

// known refuses lines that don't begin with a command of the tree. Cobra has
// some of its own, which are in no tree before it runs, and takes the word
// behind a flag that it does not know for the flag's value: so that what runs is
// the first word only where no other flag than --json is before it.
func known(root *cobra.Command, words []string) error {
	for i, w := range words {
		switch {
		case w == "--json" || strings.HasPrefix(w, "--json="):
		case strings.HasPrefix(w, "-") && i == len(words)-1: // such as --help; there is no command behind it
			return nil
		case strings.HasPrefix(w, "-"):
			return restart.Errorf(restart.CodeInvalid, "%s stands before the command, where only --json may", restart.Quote(w)).WithHint("flags stand behind it: ssh … restart --help")
		case w != "help" && childOf(root, w) == nil:
			return restart.Errorf(restart.CodeInvalid, "%s can't be done by SSH, or is no command", restart.Quote(w)).WithHint("what can be done: ssh … help")
		default:
			return nil
		}
	}
	return nil
}

// restrict leaves of a tree only what stands in shellVerbs.
func restrict(root *cobra.Command) {
	root.CompletionOptions.DisableDefaultCmd = true
	root.Long = `The commands of restartilka that are there by SSH. You are who your key belongs
to; what you may do, the server decides, as everywhere.

There is no shell behind this, nothing is forwarded, and no file is read or
written. A connection that ends takes no run with it.`
	prune(root, "")
}

// prune takes away the commands below one that are not listed, and of those
// that are, the flags. It tells whether anything is left of cmd.
func prune(cmd *cobra.Command, path string) bool {
	flags, listed := shellVerbs[path]
	for _, child := range cmd.Commands() {
		if !prune(child, strings.TrimPrefix(path+" "+child.Name(), " ")) {
			cmd.RemoveCommand(child)
		}
	}
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(flags, f.Name) && !slices.Contains(shellFlags, f.Name) {
				f.Hidden, f.Value = true, absent{f.Name}
			}
		})
	}
	switch {
	case listed:
		return true
	case !cmd.HasSubCommands():
		return false
	case cmd.HasParent():
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return help(cmd, args) } // what it does by itself is not listed
	}
	return true
}

// absent is a flag that is not there by SSH.
type absent struct{ name string }

// Set refuses; pflag calls it.
func (a absent) Set(string) error {
	return fmt.Errorf("--%s is not there by SSH", a.name)
}

func (absent) String() string { return "" }

// Type is that of a value which is needed; pflag asks.
func (absent) Type() string { return "string" }
