package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/internal/wire"
)

func scenarioPushCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "push FILE…",
		Short: "Propose scenarios to the server, with the signatures in FILE.sigs",
		Long: `Propose scenarios to a server with review: signed, with the signatures beside
them. Each comes into force once enough reviewers have signed it. A version never
changes: raise the serial with each change.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var proposals []wire.ScenarioProposal
			err := eachFile(args, func(path string, body []byte) error { // nothing is sent where one is broken
				if _, err := scenario.Parse(body); err != nil {
					return fileError(path, err)
				}
				sigs, problems := signing.ReadFolder(path + signing.FolderSuffix)
				if len(problems) > 0 {
					return restart.Errorf(restart.CodeInvalid, "%s", restart.Escape(problems[0].Error()))
				}
				p := wire.ScenarioProposal{Body: string(body)}
				for _, s := range sigs {
					p.Signatures = append(p.Signatures, wire.SignatureRequest{Principal: s.Principal, Armored: string(s.Armored)})
				}
				proposals = append(proposals, p)
				return nil
			})
			if err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			out := []wire.ScenarioVersion{}
			for i, p := range proposals {
				v, err := c.Propose(cmd.Context(), p)
				if err != nil {
					return fileError(args[i], err)
				}
				out = append(out, v)
			}
			return data(cmd, wire.ListOf(out, ""), func(w io.Writer) {
				for _, v := range out {
					fmt.Fprintf(w, "%s serial %d: %s\n%s\n", v.Name, v.Serial, counted(v), v.Digest)
				}
			})
		},
	}
}

// fileError says of which file an error for people is.
func fileError(path string, err error) error {
	if e, ok := asProblem(err); ok {
		c := *e
		c.Message = path + ": " + c.Message
		return &c
	}
	return fmt.Errorf("%s: %w", path, err)
}

// standing says in words how a version stands.
func standing(v wire.ScenarioVersion) string {
	word := strings.ReplaceAll(v.Standing, "_", " ")
	if v.Standing == "waiting" {
		return "waits for signatures"
	}
	if v.Standing == "in_force" && v.Expires != nil {
		return word + " until " + lastDay(v)
	}
	if v.Why != "" {
		word += ": " + v.Why
	}
	return restart.Escape(word)
}

// counted is how a version stands, with the signatures that one that waits has.
func counted(v wire.ScenarioVersion) string {
	if v.Standing == "waiting" {
		return fmt.Sprintf("%s, %d of %d", standing(v), v.Good, v.Quorum)
	}
	return standing(v)
}

// lastDay is the last day on which a version may be used, in UTC.
func lastDay(v wire.ScenarioVersion) string {
	return v.Expires.Add(-1).UTC().Format("2006-01-02")
}

func scenarioWithdrawCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "withdraw NAME|DIGEST --reason TEXT",
		Short: "End a version for ever; of a name, the one in force",
		Long: `End a version for ever: no plan is made with it, and a run that has it stops before
its next host. The version below it that was approved takes its place, if there is
one. It needs a reviewer or an admin. To keep it from hosts whatever a server
says, list it in their files of revocations.`,
		Args: exactly("NAME|DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(cmd, "it forgets to wait for the drain"); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			digest, err := versionNamed(cmd, c, args[0], "in_force")
			if err != nil {
				return err
			}
			v, err := c.WithdrawScenario(cmd.Context(), digest, reason)
			if err != nil {
				return err
			}
			return data(cmd, v, func(w io.Writer) { fmt.Fprintf(w, "%s serial %d is withdrawn\n", v.Name, v.Serial) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (needed, 10 to 500 characters)")
	return cmd
}

// shortDigest is how much of a digest is shown where there is no room for all.
const shortDigest = 12

// versionNamed finds the digest of what NAME|DIGEST names: of a name, the one
// version with a standing. A digest may be given as short as it is shown.
func versionNamed(cmd *cobra.Command, c *client.Client, name, standing string) (string, error) {
	if restart.CheckDigest(name) == nil {
		return name, nil
	}
	if err := restart.CheckScenarioName(name); err != nil {
		return "", err
	}
	if len(name) >= shortDigest && strings.Trim(name, "0123456789abcdef") == "" {
		if digest, err := versionBeginning(cmd, c, name); digest != "" || err != nil {
			return digest, err
		}
	}
	list, err := c.ScenarioVersions(cmd.Context(), name)
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(v wire.ScenarioVersion) bool { return v.Standing != standing })
	word := map[string]string{"in_force": "is in force", "waiting": "waits for signatures"}[standing]
	switch len(list) {
	case 1:
		return list[0].Digest, nil
	case 0:
		return "", restart.Errorf(restart.CodeNotFound, "no version of %s %s", name, word).WithHint("all of them: restartilka scenario list %s --all", name)
	}
	return "", restart.Errorf(restart.CodeInvalid, "%d versions of %s are meant by its name", len(list), name).WithHint("name one by its digest:\n%s", serials(list))
}

// versionBeginning finds the one version whose digest begins so; "" = none does.
func versionBeginning(cmd *cobra.Command, c *client.Client, start string) (string, error) {
	list, err := c.ScenarioVersions(cmd.Context(), "")
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(v wire.ScenarioVersion) bool { return !strings.HasPrefix(v.Digest, start) })
	switch len(list) {
	case 0:
		return "", nil
	case 1:
		return list[0].Digest, nil
	}
	return "", restart.Errorf(restart.CodeInvalid, "%d digests begin with %s", len(list), start).WithHint("give the whole of it:\n%s", serials(list))
}

// serials lists versions so that one of them can be chosen, a line each.
func serials(list []wire.ScenarioVersion) string {
	lines := make([]string, 0, len(list))
	for _, v := range list {
		lines = append(lines, fmt.Sprintf("%s  %s serial %d", v.Digest, v.Name, v.Serial))
	}
	return strings.Join(lines, "\n")
}

func scenarioCoverageCommand() *cobra.Command {
	var without string
	cmd := &cobra.Command{
		Use:   "coverage --without KEY|PRINCIPAL",
		Short: "Tell which scenarios in force need a key or a person; exit code 1 where one does",
		Long: `Tell which scenarios in force would lose their quorum if a key were revoked or a
person left. KEY is its fingerprint, SHA256:…, or a .pub file.`,
		Example: "  restartilka scenario coverage --without ivan@example.com\n  restartilka scenario coverage --without ivan.pub",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if without == "" {
				return usage(restart.Errorf(restart.CodeInvalid, "--without is needed: a key or a principal"))
			}
			what, err := keyOrPrincipal(without)
			if err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.ScenarioCoverage(cmd.Context(), what)
			if err != nil {
				return err
			}
			loses := 0
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				word := "stays in force"
				if v.Loses {
					word = "LOSES ITS QUORUM"
					loses++
				}
				rows = append(rows, []string{v.Name, fmt.Sprint(v.Serial), fmt.Sprintf("%d of %d", v.Left, v.Quorum), word})
			}
			err = data(cmd, wire.ListOf(list, ""), func(w io.Writer) { table(w, []string{"SCENARIO", "SERIAL", "WITHOUT IT", "STANDING"}, rows) })
			if err == nil && loses > 0 {
				say(cmd, "have others sign first: restartilka scenario approve DIGEST")
				err = Exit(ExitFailed)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&without, "without", "", "fingerprint or .pub file of a key, or a principal (needed)")
	return cmd
}
