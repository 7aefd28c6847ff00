package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func userCommand() *cobra.Command {
	return Parent("user", "Make, list and change the people who may sign in; for admins",
		userAddCommand(), userListCommand(), userStateCommand("disable", true), userStateCommand("enable", false),
		userPasswdCommand(), userRolesCommand(), userMethodCommand())
}

func userAddCommand() *cobra.Command {
	var roles []string
	var passwordFile string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a local user; a password is made and printed once",
		Long: `Make a local user, who signs in with a password. Without --password-file one is
made and printed this once; nobody has a password that this program chose for
everybody. People of a directory are not made: they appear when they first sign in.`,
		Example: `  restartilka user add anna --role developer`,
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := wire.UserRequest{Name: args[0], Roles: rolesOf(roles)}
			if passwordFile != "" {
				password, err := ReadPasswordFile(passwordFile)
				if err != nil {
					return err
				}
				req.Password = password
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			u, err := c.CreateUser(cmd.Context(), req)
			if err != nil {
				return err
			}
			say(cmd, "user %s, roles: %s", restart.Escape(u.Name), roleNames(u.Roles))
			return data(cmd, u, func(w io.Writer) {
				if u.Password != "" {
					fmt.Fprintln(w, u.Password)
				}
			})
		},
	}
	roleFlag(cmd, &roles)
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "file with the password in its first line")
	return cmd
}

func roleFlag(cmd *cobra.Command, roles *[]string) {
	cmd.Flags().StringSliceVar(roles, "role", nil, "a role: viewer, developer, reviewer, auditor, break-glass, admin; may be repeated")
}

func rolesOf(names []string) []restart.Role {
	roles := []restart.Role{}
	for _, r := range names {
		roles = append(roles, restart.Role(r))
	}
	return roles
}

func userListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List everybody who was made or has signed in",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			users, err := c.Users(cmd.Context())
			if err != nil {
				return err
			}
			return data(cmd, wire.ListOf(users, ""), func(w io.Writer) {
				rows := make([][]string, 0, len(users))
				for _, u := range users {
					state := "may sign in"
					if u.DisabledAt != nil {
						state = "disabled " + moment(u.DisabledAt)
					}
					rows = append(rows, []string{u.Name, u.Method, roleNames(u.Roles), strings.Join(u.Groups, ", "), state})
				}
				table(w, []string{"NAME", "METHOD", "ROLES", "GROUPS", "STATE"}, rows)
			})
		},
	}
}

// changeUser is what the commands do that change one thing of a user.
func changeUser(cmd *cobra.Command, name string, req wire.UserChange) error {
	c, err := connect(cmd)
	if err != nil {
		return err
	}
	u, err := c.ChangeUser(cmd.Context(), name, req)
	if err != nil {
		return err
	}
	return data(cmd, u, func(w io.Writer) {
		state := "may sign in"
		if u.DisabledAt != nil {
			state = "is disabled"
		}
		fmt.Fprintf(w, "%s %s by %s, roles: %s\n", restart.Escape(u.Name), state, restart.Escape(u.Method), roleNames(u.Roles))
	})
}

func userStateCommand(verb string, disabled bool) *cobra.Command {
	short := "Let somebody sign in again"
	if disabled {
		short = "End somebody's sessions and the use of his tokens at once; he can't sign in any more"
	}
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeUser(cmd, args[0], wire.UserChange{Disabled: &disabled})
		},
	}
}

func userRolesCommand() *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use:   "roles NAME --role ROLE",
		Short: "Give somebody these roles, and no others, beside what the rules give",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("role") {
				return usage(restart.Errorf(restart.CodeInvalid, "--role is missing").WithHint(`--role "" takes every role away`))
			}
			given := rolesOf(roles)
			return changeUser(cmd, args[0], wire.UserChange{Roles: &given})
		},
	}
	roleFlag(cmd, &roles)
	return cmd
}

func userMethodCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "method NAME METHOD",
		Short: "Say by which method somebody signs in from now on: local, ldap, oidc or proxy",
		Long: `Say by which method somebody signs in from now on. A name belongs to the method
that was first seen with it: that is what keeps a stranger who got the same name
elsewhere from becoming this person. His sessions end, and so does his password.`,
		Args: exactly("NAME", "METHOD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeUser(cmd, args[0], wire.UserChange{Method: args[1]})
		},
	}
}

func userPasswdCommand() *cobra.Command {
	var passwordFile, oldFile string
	cmd := &cobra.Command{
		Use:   "passwd [NAME]",
		Short: "Change your own password, or set somebody's",
		Long: `Change your own password: the old one is asked for, then the new one, or both are
read from files. With NAME, an admin sets the password of a local user; without
--password-file one is made and printed this once. His sessions end.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			var req wire.PasswordRequest
			if oldFile != "" {
				if req.Old, err = ReadPasswordFile(oldFile); err != nil {
					return err
				}
			}
			if passwordFile != "" {
				if req.New, err = ReadPasswordFile(passwordFile); err != nil {
					return err
				}
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			var name string
			if len(args) == 1 {
				name = args[0]
			} else {
				self, err := c.Whoami(cmd.Context())
				if err != nil {
					return err
				}
				name = self.Name
				if err := askPasswords(cmd, &req); err != nil {
					return err
				}
			}
			made, err := c.SetPassword(cmd.Context(), name, req)
			if err != nil {
				return err
			}
			say(cmd, "the password of %s is set", restart.Escape(name))
			return data(cmd, made, func(w io.Writer) {
				if made.Password != "" {
					fmt.Fprintln(w, made.Password)
				}
			})
		},
	}
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "file with the new password in its first line")
	cmd.Flags().StringVar(&oldFile, "old-password-file", "", "file with the old password in its first line")
	return cmd
}

// askPasswords asks for what no file has given.
func askPasswords(cmd *cobra.Command, req *wire.PasswordRequest) (err error) {
	if req.Old == "" {
		if req.Old, err = readSecret(cmd.Context(), cmd, "Old password: "); err != nil {
			return err
		}
	}
	if req.New == "" {
		if req.New, err = readSecret(cmd.Context(), cmd, "New password: "); err != nil {
			return err
		}
	}
	return nil
}

// ReadPasswordFile gives the first line of a file, as it is.
func ReadPasswordFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", restart.Errorf(restart.CodeInvalid, "the password's file can't be read: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", restart.Errorf(restart.CodeInvalid, "the first line of %s is empty", path)
	}
	return line, nil
}
