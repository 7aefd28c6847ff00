package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func tokenCommand() *cobra.Command {
	return Parent("token", "Make, list and revoke API tokens", tokenCreateCommand(), tokenListCommand(), tokenRevokeCommand())
}

func tokenCreateCommand() *cobra.Command {
	var req wire.TokenRequest
	var roles []string
	var scope restart.Scope
	life := life(90 * day)
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token; its secret is printed once",
		Long: `Make a token and print its secret, which is stored nowhere and shown once.
NAME says what it is for. Without --role it gets the roles of its owner; one of a
program, which is no user, needs --role. A token for somebody else, or with other
roles, needs an admin. A token of a person never has a role that its owner has not
at the time; --service, --env and --action bound it further: what it may do, not
what it may see.`,
		Example: `  restartilka token create "deploy pipeline" --role developer --life 30d
  restartilka token create "shop's pipeline" --service 'shop-*' --env testing --action restart`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name, req.Life = args[0], restart.Duration(life)
			for _, r := range roles {
				req.Roles = append(req.Roles, restart.Role(r))
			}
			if !scope.IsZero() {
				req.Scope = &scope
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			t, err := c.CreateToken(cmd.Context(), req)
			if err != nil {
				return err
			}
			say(cmd, "token %s for %s, roles %s, until %s", t.ID, restart.Escape(t.Owner), roleNames(t.Roles), moment(t.ExpiresAt))
			if t.ExpiresAt != nil && t.ExpiresAt.Sub(t.CreatedAt) < time.Duration(life)-time.Second {
				say(cmd, "that is sooner than %s: it ends with the token that it was made with", &life)
			}
			return data(cmd, t, func(w io.Writer) { fmt.Fprintln(w, t.Secret) })
		},
	}
	cmd.Flags().StringVar(&req.Owner, "owner", "", "whose token it is; you, otherwise")
	cmd.Flags().StringSliceVar(&roles, "role", nil, "a role: viewer, developer, reviewer, auditor, break-glass, admin; may be repeated")
	cmd.Flags().StringSliceVar(&scope.Services, "service", nil, "only for this service, a name or a glob; may be repeated")
	cmd.Flags().StringSliceVar(&scope.Environments, "env", nil, "only in this environment, a name or a glob; may be repeated")
	cmd.Flags().StringSliceVar(&scope.Actions, "action", nil, "only for this action, such as restart, dump or control; may be repeated")
	cmd.Flags().Var(&life, "life", "how long it is good for, such as 12h or 90d")
	return cmd
}

const day = 24 * time.Hour

// life is how long a token is good for, as a flag: a duration, or whole days.
type life time.Duration

// Set reads a duration; pflag calls it.
func (l *life) Set(s string) error {
	d, err := time.ParseDuration(s)
	if days, whole := strings.CutSuffix(s, "d"); whole {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16) // far more than any token lives, and no overflow
		d = time.Duration(n) * day
	}
	if err != nil || d <= 0 {
		return errors.New("not a time above zero, such as 12h or 90d")
	}
	*l = life(d)
	return nil
}

func (l *life) String() string {
	if *l == 0 { // none is said
		return ""
	}
	if d := time.Duration(*l); d%day != 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(time.Duration(*l)/day), 10) + "d"
}

// Type names what Set reads.
func (*life) Type() string { return "duration" }

func tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List your tokens; an admin sees everybody's",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, wire.ListOf(tokens, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(tokens))
				for _, t := range tokens {
					state := "until " + moment(t.ExpiresAt)
					switch {
					case t.RevokedAt != nil:
						state = "revoked " + moment(t.RevokedAt)
					case t.ExpiresAt == nil:
						state = "for ever"
					case !time.Now().Before(*t.ExpiresAt):
						state = "over since " + moment(t.ExpiresAt)
					}
					rows = append(rows, []string{t.ID, t.Owner, t.Name, roleNames(t.Roles), t.Scope.String(), state, moment(t.LastUsedAt)})
				}
				table(w, []string{"ID", "OWNER", "NAME", "ROLES", "ONLY FOR", "GOOD", "LAST USED"}, rows)
			})
		},
	}
}

func tokenRevokeCommand() *cobra.Command {
	return revokeCommand("End a token, and every session opened with it, at once", "token %s is revoked", (*client.Client).RevokeToken)
}

// revokeCommand ends what has an id.
func revokeCommand(short, said string, revoke func(*client.Client, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: short,
		Args:  exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := restart.CheckID(args[0]); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := revoke(c, cmd.Context(), args[0]); err != nil {
				return err
			}
			return data(cmd, struct {
				ID      string `json:"id"`
				Revoked bool   `json:"revoked"`
			}{args[0], true}, func(w io.Writer) { fmt.Fprintf(w, said+"\n", args[0]) })
		},
	}
}

func roleNames(roles []restart.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, restart.Escape(string(r)))
	}
	return strings.Join(names, ", ")
}
