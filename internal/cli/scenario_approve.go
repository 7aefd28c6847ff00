package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/diff"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
)

func scenarioApproveCommand() *cobra.Command {
	var who signer
	var trusted lists
	var service, host string
	var yes bool
	cmd := &cobra.Command{
		Use:   "approve NAME|DIGEST [--key PATH] [--signers FILE]",
		Short: "Read a proposed version, and sign it with your own SSH key",
		Long: `Fetch a version, show how it differs from the one in force, what lint says and what
a host would run; ask; sign it here, with your own key, and send the signature.
The key never leaves this machine. With --signers the version in force is no longer
the server's word: its signatures are checked here first, and where those of that
file don't make it trusted, nothing is shown and nothing is signed.`,
		Example: `  restartilka scenario approve nginx-restart --key ~/.ssh/id_ed25519
  restartilka scenario approve nginx-restart --key ~/.ssh/id_ed25519 --signers allowed_signers`,
		Args: exactly("NAME|DIGEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			policy, err := trusted.policy()
			if err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			me, err := c.Whoami(ctx)
			if err != nil {
				return err
			}
			r, s, err := fetchReview(cmd, c, args[0], service, host)
			if err != nil {
				return err
			}
			if who.as == "" {
				who.as = principalOf(me.Name, r.Version.Missing)
			}
			against, err := trusted.inForce(s.Name, r.InForce, policy)
			if err != nil {
				return err
			}
			showReview(cmd.ErrOrStderr(), s, r, against)
			if err := confirmSigning(ctx, cmd, yes, fmt.Sprintf("\nSign %s serial %d, %s?", s.Name, s.Serial, short(s.Digest))); err != nil {
				return err
			}
			made, err := who.sign(cmd, []byte(r.Version.Body))
			if err != nil {
				return err
			}
			v, err := c.SignScenario(ctx, s.Digest, wire.SignatureRequest{Principal: made.Principal, Armored: string(made.Armored)})
			if err != nil {
				return err
			}
			return data(cmd, v, func(w io.Writer) {
				fmt.Fprintf(w, "%s serial %d signed as %s with %s: %s\n", v.Name, v.Serial, made.Principal, made.key, counted(v))
			})
		},
	}
	who.flags(cmd)
	trusted.flags(cmd, "allowed_signers file, to check the version in force with")
	cmd.Flags().StringVar(&service, "service", "", "show it for this service")
	cmd.Flags().StringVar(&host, "host", "", "show it for this host")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "sign without asking")
	return cmd
}

// fetchReview gives the version that NAME|DIGEST means, for a service and host as
// an example, and what its bytes say, which are those of the digest.
func fetchReview(cmd *cobra.Command, c *client.Client, name, service, host string) (r wire.ScenarioReview, s restart.Scenario, err error) {
	digest, err := versionNamed(cmd, c, name, "waiting")
	if err != nil {
		return r, s, err
	}
	if r, err = c.ReviewScenario(cmd.Context(), digest, service, host); err != nil {
		return r, s, err
	}
	if scenario.Digest([]byte(r.Version.Body)) != digest {
		return r, s, restart.Errorf(restart.CodeBadSignature, "the server has sent other bytes than those of %s", digest).WithHint("sign nothing; tell whoever runs the server")
	}
	s, err = scenario.Parse([]byte(r.Version.Body))
	return r, s, err
}

// principalOf finds somebody among those who could sign; "" where he is not.
func principalOf(name string, missing []string) string {
	for _, p := range missing {
		if local, _, _ := strings.Cut(p, "@"); strings.EqualFold(p, name) || strings.EqualFold(local, name) {
			return p
		}
	}
	return ""
}

// showReview prints what a reviewer reads: the whole text with what differs,
// lint's findings, and what an example host would do. All of it is worked out
// here, from the bytes that are to be signed. Against says what it is compared
// with.
func showReview(w io.Writer, s restart.Scenario, r wire.ScenarioReview, against string) {
	v := r.Version
	by := v.ProposedBy
	if by == "" {
		by = "the server's folder"
	}
	fmt.Fprintf(w, "%s serial %d, written by %s, proposed by %s\n%s\n", s.Name, s.Serial, restart.Escape(s.Author), restart.Escape(by), v.Digest)
	before := ""
	if r.InForce != nil {
		before = r.InForce.Body
	}
	fmt.Fprintf(w, "\n%s\n\n", against)
	printDiff(w, before, v.Body)
	fmt.Fprint(w, "\nLint: ")
	findings := scenario.Lint([]byte(v.Body))
	if len(findings) == 0 {
		fmt.Fprintln(w, "nothing to say")
	}
	for _, f := range findings {
		fmt.Fprintf(w, "\n  %s: %s", f.Level, restart.Escape(f.String()))
	}
	if len(findings) > 0 {
		fmt.Fprintln(w)
	}
	showParts(w, s, r.Example)
	fmt.Fprintf(w, "\nSigned by %d of %d", v.Good, v.Quorum)
	for _, sig := range v.Signatures {
		if sig.Counts {
			fmt.Fprintf(w, "; %s with %s", restart.Escape(sig.Principal), restart.Escape(sig.Fingerprint))
		}
	}
	fmt.Fprintln(w)
}

func showParts(w io.Writer, s restart.Scenario, e wire.ScenarioExample) {
	if e.Service == "" {
		fmt.Fprintln(w, "\nThe inventory has no service that it fits, to show it for.")
		return
	}
	fmt.Fprintf(w, "\nFor service %s on %s, as the inventory knows them:\n", restart.Escape(e.Service), restart.Escape(e.Host))
	parts, err := review.Parts(s, scenario.Facts{
		Service: e.Service, Package: e.Package, Unit: e.Unit, User: e.User, Host: e.Host, Group: e.Group, Environment: e.Environment, Project: e.Project,
	})
	if err != nil {
		fmt.Fprintf(w, "  it can't be shown: %s\n", restart.Escape(err.Error()))
		return
	}
	for _, p := range parts {
		fmt.Fprintf(w, "  %s:\n", p.Name)
		for line := range strings.Lines(p.Text) {
			fmt.Fprintf(w, "    %s\n", restart.Escape(strings.TrimSuffix(line, "\n")))
		}
	}
}

func printDiff(w io.Writer, before, after string) {
	for _, l := range diff.Lines(before, after) {
		fmt.Fprintf(w, "%c %s\n", l.Op, restart.Escape(l.Text))
		if l.Open {
			fmt.Fprintln(w, `\ no newline at the end`)
		}
	}
}

// keyOrPrincipal gives the fingerprint of a .pub file, and anything else as it is.
func keyOrPrincipal(what string) (string, error) {
	if !strings.HasSuffix(what, ".pub") {
		return what, nil
	}
	b, err := readBounded(what, 64<<10)
	if err != nil {
		return "", err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return "", restart.Errorf(restart.CodeInvalid, "%s is no public key", what)
	}
	return ssh.FingerprintSHA256(key), nil
}

func scenarioDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff NAME|DIGEST|FILE [DIGEST]",
		Short: "Show how a version differs from the one in force, or from another",
		Long: `Show how a version differs from the one of its name that is in force, or from the
one that the second digest names. NAME is the version of it that waits for
signatures. A FILE need not have been pushed.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			before, after, err := bothSides(cmd, c, args[0])
			if err != nil {
				return err
			}
			if len(args) == 2 {
				old, err := c.Scenario(cmd.Context(), args[1])
				if err != nil {
					return err
				}
				before = old.Body
			}
			type line struct {
				Op   string `json:"op"`
				Old  int    `json:"old,omitempty"`
				New  int    `json:"new,omitempty"`
				Text string `json:"text"`
			}
			list := wire.ListOf([]line{}, "")
			for _, l := range diff.Lines(before, after) {
				list.Items = append(list.Items, line{string(l.Op), l.Old, l.New, l.Text})
			}
			return data(cmd, list, func(w io.Writer) { printDiff(w, before, after) })
		},
	}
}

// bothSides gives the text of what NAME|DIGEST|FILE names, and before it that of
// the version in force; "" where none is.
func bothSides(cmd *cobra.Command, c *client.Client, what string) (before, after string, err error) {
	if _, err := os.Stat(what); err == nil {
		body, err := readScenario(what)
		if err != nil {
			return "", "", err
		}
		s, err := scenario.Parse(body)
		if err != nil {
			return "", "", fileError(what, err)
		}
		before, err = inForceBody(cmd, c, s.Name)
		return before, string(body), err
	}
	digest, err := versionNamed(cmd, c, what, "waiting")
	if err != nil {
		return "", "", err
	}
	r, err := c.ReviewScenario(cmd.Context(), digest, "", "")
	if err != nil {
		return "", "", err
	}
	if r.InForce != nil {
		before = r.InForce.Body
	}
	return before, r.Version.Body, nil
}

// inForceBody gives the text of a name's version in force; "" where none is.
func inForceBody(cmd *cobra.Command, c *client.Client, name string) (string, error) {
	digest, err := digestOf(cmd, c, name)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	s, err := c.Scenario(cmd.Context(), digest)
	return s.Body, err
}

func asProblem(err error) (*restart.Error, bool) { return errors.AsType[*restart.Error](err) }
