package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
)

// rulesTested is what `restartilka server rules test --json` prints.
type rulesTested struct {
	File   string         `json:"file"`
	Digest string         `json:"digest"`
	Doubts []string       `json:"doubts"`
	Cases  int            `json:"cases"`
	Failed []authz.Failed `json:"failed"`
}

func rulesCommand() *cobra.Command {
	return cli.Parent("rules", "Look at the rules of rights", rulesTestCommand())
}

func rulesTestCommand() *cobra.Command {
	var config, cases string
	cmd := &cobra.Command{
		Use:   "test [FILE]",
		Short: "Check a file of rules, and by cases that it says what is meant; exit code 1 where it does not",
		Long: `Check a file of rules without a server: the one named, or that of server.yaml. What
is probably not meant, such as an environment that the inventory of server.yaml
does not have, is said and is no error. With --cases each case is asked, and one
that is answered otherwise than it wants ends with exit code 1.`,
		Example: `  restartilka server rules test
  restartilka server rules test new-rules.yaml --cases cases.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%q is one argument too many", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			file, known, in, err := rulesToTest(cmd, args, config)
			if err != nil {
				return err
			}
			return testRules(cmd, file, cases, known, in)
		},
	}
	cmd.Flags().StringVar(&config, "config", server.DefaultConfig, "the server's configuration: its rules, and its inventory")
	cmd.Flags().StringVar(&cases, "cases", "", "file of cases: who, action, service and what is wanted")
	return cmd
}

// rulesToTest gives the file, "" for the shipped rules, what the inventory has,
// nil where there is none to be had, and how people sign in. A file that is
// named needs no configuration.
func rulesToTest(cmd *cobra.Command, args []string, config string) (string, *authz.Inventory, server.SignInConfig, error) {
	cfg, err := server.ReadConfig(config)
	named := len(args) == 1
	switch {
	case err != nil && (!named || cmd.Flags().Changed("config")):
		return "", nil, server.SignInConfig{}, err
	case err != nil:
		return args[0], nil, server.SignInConfig{}, nil
	}
	file := cfg.Rules
	if named {
		file = args[0]
	}
	known, err := inInventory(cmd.Context(), cfg.Inventory)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "names are not compared with the inventory: %s\n", restart.Escape(err.Error()))
	}
	return file, known, cfg.SignIn, nil
}

func inInventory(ctx context.Context, cfg inventory.Config) (*authz.Inventory, error) {
	inv, err := inventory.New(cfg)
	if err != nil {
		return nil, err
	}
	now, err := inv.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	known := &authz.Inventory{}
	for _, s := range now.Services {
		known.Services = append(known.Services, s.Name)
	}
	for _, g := range now.Groups {
		known.Groups = append(known.Groups, g.Name)
		if g.Environment != "" {
			known.Environments = append(known.Environments, g.Environment)
		}
	}
	return known, nil
}

func testRules(cmd *cobra.Command, file, casesFile string, known *authz.Inventory, in server.SignInConfig) error {
	wrong := func(err error) error { return &cli.ExitError{Code: cli.ExitFailed, Err: err} }
	rules, err := server.ReadRules(file, in)
	if err != nil {
		return wrong(err)
	}
	out := rulesTested{File: file, Digest: rules.Digest(), Doubts: append([]string{}, rules.Doubts(known)...), Failed: []authz.Failed{}}
	if err := rules.CheckLowerTeams(); err != nil && in.LDAP != nil { // a group of another method may be meant
		out.Doubts = append(out.Doubts, err.Error())
	}
	if file == "" {
		out.File = "the shipped rules"
	}
	if casesFile != "" {
		b, err := os.ReadFile(casesFile)
		if err != nil {
			return restart.Errorf(restart.CodeInvalid, "the cases can't be read: %w", err)
		}
		cases, err := authz.ParseCases(b)
		if e, ok := errors.AsType[*restart.Error](err); ok {
			return wrong(restart.Errorf(e.Code, "%s: %s", casesFile, e.Message).WithHint("%s", e.Hint))
		}
		out.Cases, out.Failed = len(cases), append(out.Failed, rules.Try(cases)...)
	}
	if wantsJSON(cmd) {
		err = printJSON(cmd.OutOrStdout(), out)
	} else {
		err = tellRules(cmd, out)
	}
	if err == nil && len(out.Failed) > 0 {
		return cli.Exit(cli.ExitFailed)
	}
	return err
}

func tellRules(cmd *cobra.Command, out rulesTested) error {
	for _, d := range out.Doubts {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", restart.Escape(d))
	}
	var text strings.Builder
	for _, f := range out.Failed {
		got := map[bool]string{true: "allow", false: "deny"}[f.Decision.Allowed]
		fmt.Fprintf(&text, "case of line %d failed: %s: want %s, got %s: %s\n", f.Line, restart.Escape(f.Case), f.Want, got, restart.Escape(f.Decision.Why))
	}
	if len(out.Failed) == 0 {
		fmt.Fprintf(&text, "%s is in order", restart.Escape(out.File))
		if out.Cases > 0 {
			fmt.Fprintf(&text, ", and all of %d cases are", out.Cases)
		}
		text.WriteString("\n")
	}
	_, err := io.WriteString(cmd.OutOrStdout(), text.String())
	return err
}
