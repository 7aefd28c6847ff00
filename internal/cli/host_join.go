package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func hostJoinTokenCommand() *cobra.Command {
	var req wire.JoinTokenRequest
	var window life
	cmd := &cobra.Command{
		Use:   "join-token HOST | --pattern GLOB --count N --window TIME",
		Short: "Make a token with which a host joins by itself",
		Long: `Make a join token and print it, this once: for one host's name, good for one use
within 15 minutes, or for a pattern of names, for so many hosts and so long.

On the host, as root, with the token in a file, in RESTARTILKA_JOIN_TOKEN or on
standard input:

  restartilka-agent join URL [--token-file FILE]

A token for a host's own name also enrols it anew: the host's earlier
certificates are revoked then. One for a pattern replaces nobody.
"list" and "revoke" are commands below this one, and never names of hosts.`,
		Example: `  restartilka host join-token web09.example.com
  restartilka host join-token --pattern 'web*.example.com' --count 40 --window 8h
  restartilka host join-token web09.example.com | ssh root@web09.example.com restartilka-agent join https://restartilka.example.com:8443`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("a token for a name is for one host: make one for each, or one for many with --pattern")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				req.Host = args[0]
			}
			if (req.Host == "") == (req.Pattern == "") {
				return usage(errors.New("name one host, or a pattern with --pattern"))
			}
			if req.Pattern != "" && (!cmd.Flags().Changed("count") || !cmd.Flags().Changed("window")) {
				return usage(errors.New("a pattern needs --count, how many hosts may join, and --window, for how long"))
			}
			req.Window = restart.Duration(window)
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			t, err := c.CreateJoinToken(cmd.Context(), req)
			if err != nil {
				return err
			}
			say(cmd, "join token %s for %s, %s, until %s", t.ID, joinTarget(t.JoinToken), plural(t.Count, "use"), moment(&t.ExpiresAt))
			say(cmd, "on the host: restartilka-agent join %s", c.URL())
			return data(cmd, t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Pattern, "pattern", "", "a glob over host names, such as 'web*.example.com'; its last two labels have no *")
	f.IntVar(&req.Count, "count", 0, "with --pattern: how many hosts may join, 1 to 10000")
	f.Var(&window, "window", "with --pattern: how long, such as 8h; at most 7d")
	cmd.AddCommand(joinTokenListCommand(), joinTokenRevokeCommand())
	return cmd
}

func joinTarget(t wire.JoinToken) string { return restart.Escape(t.Host + t.Pattern) }

func joinTokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the join tokens, the newest first; one that is over stays listed for a month",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.JoinTokens(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(list))
				for _, t := range list {
					rows = append(rows, []string{t.ID, joinTarget(t), t.State, fmt.Sprintf("%d of %d", t.Left, t.Count), moment(&t.ExpiresAt), restart.Escape(t.CreatedBy), moment(t.UsedAt)})
				}
				table(w, []string{"ID", "FOR", "STATE", "LEFT", "UNTIL", "MADE BY", "LAST USED"}, rows)
			})
		},
	}
}

func joinTokenRevokeCommand() *cobra.Command {
	return revokeCommand("End a join token at once; hosts that have joined with it stay", "join token %s is revoked", (*client.Client).RevokeJoinToken)
}

func hostCertificatesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "certificates [HOST]",
		Short: "List the certificates that the server has issued, and how they stand",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			all, err := c.Certificates(cmd.Context())
			if err != nil {
				return err
			}
			list := []wire.Certificate{}
			for _, x := range all {
				if len(args) == 0 || x.Host == args[0] {
					list = append(list, x)
				}
			}
			if len(args) == 1 && len(list) == 0 {
				return restart.Errorf(restart.CodeNotFound, "the server has issued no certificate for host %s", restart.Quote(args[0])).
					WithHint("is the name that of the inventory? The company's own PKI is not listed here")
			}
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(list))
				for _, x := range list {
					rows = append(rows, []string{restart.Escape(x.Host), x.State, moment(&x.IssuedAt), moment(&x.NotAfter), x.Serial, certificateNote(x)})
				}
				table(w, []string{"HOST", "STATE", "ISSUED", "UNTIL", "SERIAL", "NOTE"}, rows)
			})
		},
	}
}

func certificateNote(x wire.Certificate) string {
	var notes []string
	if x.RevokedAt != nil {
		notes = append(notes, "revoked "+moment(x.RevokedAt)+": "+restart.Escape(x.Revocation))
	}
	if x.RenewalFailure != "" {
		notes = append(notes, "not renewed: "+restart.Escape(x.RenewalFailure))
	}
	return strings.Join(notes, "; ")
}

func hostRevokeCommand() *cobra.Command {
	var req wire.RevocationRequest
	cmd := &cobra.Command{
		Use:   "revoke HOST | --serial S, --reason TEXT",
		Short: "End certificates of a host at once: the server talks to it no more",
		Long: `End the certificates of a host, or the one with a serial number, before their
time. Every server refuses whoever shows one within seconds, and open
connections to the host are cut: a task in hand there goes on by itself, and
its run pauses. To trust the host again, make a join token for its name.`,
		Example: `  restartilka host revoke web09.example.com --reason "its disk left the building"
  restartilka host revoke --serial 5f3a… --reason "the key was copied by mistake"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				req.Host = args[0]
			}
			if (req.Host == "") == (req.Serial == "") {
				return usage(errors.New("name one host, or one certificate with --serial"))
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := c.RevokeCertificates(cmd.Context(), req)
			if err != nil {
				return err
			}
			switch {
			case len(list) == 0 && req.Serial != "":
				say(cmd, "it was revoked before")
			case len(list) == 0:
				say(cmd, "it has no certificate that is not revoked; join tokens for its name are ended")
			}
			return data(cmd, wire.ListOf(list, ""), func(w io.Writer) {
				for _, x := range list {
					fmt.Fprintf(w, "%s of %s, until %s, is revoked\n", x.Serial, restart.Escape(x.Host), x.NotAfter.UTC().Format(time.DateOnly))
				}
			})
		},
	}
	cmd.Flags().StringVar(&req.Serial, "serial", "", "the serial number of one certificate, hex, as host certificates shows it")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why; it goes into the audit trail")
	cmd.MarkFlagRequired("reason") //nolint:errcheck // the flag is there: the line above
	return cmd
}
