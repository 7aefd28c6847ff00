package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func keyCommand() *cobra.Command {
	return Parent("key", "Put SSH keys into your profile, list and remove them", keyAddCommand(), keyListCommand(), keyRemoveCommand())
}

func keyAddCommand() *cobra.Command {
	var req wire.KeyRequest
	var life life
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Put the public half of an SSH key into your profile",
		Long: `Put the public half of an SSH key into your profile: a .pub file, or "-" for
standard input. Whoever holds the key can then do by SSH what you can. A key is
good until it is removed, or for --life; one that is added here ends with the
token that the command line has. On your profile page it can be added for good.`,
		Example: "  restartilka key add ~/.ssh/id_ed25519.pub\n  restartilka key add ~/.ssh/id_ed25519.pub --name laptop --life 90d",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readPublicKey(cmd, args[0])
			if err != nil {
				return err
			}
			req.Key, req.Life = text, restart.Duration(life)
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			k, err := c.AddKey(cmd.Context(), req)
			if err != nil {
				return err
			}
			if life != 0 && k.ExpiresAt != nil && k.ExpiresAt.Sub(k.CreatedAt) < time.Duration(life)-time.Second {
				say(cmd, "that is sooner than %s: it ends with the token that it was added with", &life)
			}
			return data(cmd, k, func(w io.Writer) {
				fmt.Fprintf(w, "%s is in your profile as %s, %s\n", k.Fingerprint, restart.Escape(k.Name), goodUntil(k))
			})
		},
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "what it is, such as laptop; otherwise the comment behind the key")
	cmd.Flags().Var(&life, "life", "how long it is good for, such as 12h or 90d; otherwise until it is removed")
	return cmd
}

// maxPublicKey bounds what is read as a public key, in bytes.
const maxPublicKey = 16 << 10

func readPublicKey(cmd *cobra.Command, path string) (string, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", restart.Errorf(restart.CodeInvalid, "the key can't be read: %w", err)
		}
		defer f.Close() // read only
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPublicKey+1))
	if err != nil {
		return "", restart.Errorf(restart.CodeInvalid, "the key can't be read: %w", err)
	}
	if len(b) > maxPublicKey {
		return "", restart.Errorf(restart.CodeInvalid, "%s has more than %d bytes: that is no public key", restart.Quote(path), maxPublicKey)
	}
	return string(b), nil
}

func goodUntil(k wire.Key) string {
	switch {
	case k.ExpiresAt == nil:
		return "good until it is removed"
	case !time.Now().Before(*k.ExpiresAt):
		return "over since " + moment(k.ExpiresAt)
	}
	return "good until " + moment(k.ExpiresAt)
}

func keyListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List your SSH keys",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			keys, err := c.Keys(cmd.Context(), all)
			if err != nil {
				return err
			}
			hintEmpty(cmd, len(keys), "there is none; add one on your profile page, or with: restartilka key add ~/.ssh/id_ed25519.pub")
			return data(cmd, wire.ListOf(keys, ""), func(w io.Writer) {
				if len(keys) == 0 {
					return
				}
				rows := make([][]string, 0, len(keys))
				for _, k := range keys {
					rows = append(rows, []string{k.ID, k.Owner, k.Name, k.Kind, k.Fingerprint, goodUntil(k), moment(k.LastUsedAt)})
				}
				table(w, []string{"ID", "OWNER", "NAME", "KIND", "FINGERPRINT", "GOOD", "LAST USED"}, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "everybody's; for admins")
	return cmd
}

func keyRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Take an SSH key out of your profile at once; anybody's, as an admin",
		Args:  exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := args[0]
			if err := restart.CheckID(id); err != nil {
				return err
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := c.RemoveKey(cmd.Context(), id); err != nil {
				return err
			}
			return data(cmd, struct {
				ID      string `json:"id"`
				Removed bool   `json:"removed"`
			}{id, true}, func(w io.Writer) { fmt.Fprintf(w, "key %s is removed\n", id) })
		},
	}
}
