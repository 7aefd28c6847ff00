package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
)

// extra gives the commands that package cli does not know.
func extra() []*cobra.Command {
	return []*cobra.Command{serverCommand(), configCommand(), backupCommand(), restoreCommand(), demoCommand(), auditKeyCommand()}
}

// serverCommand is `restartilka server` with its `init`.
func serverCommand() *cobra.Command {
	var config string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the server",
		Long: `Run the server: the pages and the API over TLS, the orchestrator, the audit
trail. It stops on SIGTERM or SIGINT: hosts in hand are left to their agents,
and what became of them is found out at the next start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := server.ReadConfig(config)
			if err != nil {
				return err
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			ctx := cmd.Context()
			s, err := server.Open(ctx, cfg, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
	}
	cmd.Flags().StringVar(&config, "config", server.DefaultConfig, "the configuration")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log more")
	cmd.AddCommand(initCommand(), rulesCommand(), envelopeKeyCommand())
	return cmd
}

func initCommand() *cobra.Command {
	var o server.InitOptions
	var addresses []string
	var passwordFile string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration, an authority of its own and the first admin",
		Long: `Write a first configuration, an authority of its own, credentials, the shipped
scenarios and an empty inventory, and make the database with the first admin, who
gets a token and a password; --password-file gives one of your own. Both are
shown once and stored nowhere: only hashes of them are. Nothing that is there is
changed: where a configuration lies already, nothing is done.`,
		Example: `  restartilka server init --dns restartilka.example.com --admin anna
  restartilka server init --dir ./etc --data ./var --listen 127.0.0.1:8443`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, a := range addresses {
				ip := net.ParseIP(a)
				if ip == nil {
					return restart.Errorf(restart.CodeInvalid, "--ip: %s is not an address", restart.Quote(a))
				}
				o.IPs = append(o.IPs, ip)
			}
			if !cmd.Flags().Changed("user") {
				o.User = server.DefaultUser(o.Dir)
			}
			if passwordFile != "" {
				password, err := cli.ReadPasswordFile(passwordFile)
				if err != nil {
					return err
				}
				o.Password = password
			}
			r, err := server.Init(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON, err := cmd.Flags().GetBool("json"); err != nil || asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			start, owner, password := "restartilka server --config "+r.Config, "", ""
			if r.Password != "" {
				password = fmt.Sprintf("password       %s\n", r.Password)
			}
			if r.User != "" {
				owner = fmt.Sprintf("keys and data  belong to the user %s, who can read the rest and change none of it\n", r.User)
			}
			if _, err := os.Stat("/run/systemd/system"); err == nil && r.User == server.ServiceUser && r.Config == server.DefaultConfig {
				start = "systemctl start restartilka" // the package's unit
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `configuration  %s
authority      %s
audit key      %s: for your auditors
%sfirst admin    %s
%stoken          %s

What is secret here is shown this once. The token is good for 90 days. Then:
  %s
  restartilka login %s --ca %s
`, r.Config, r.CA, r.AuditKey, owner, r.Admin, password, r.Token, start, r.URL, r.CA)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Dir, "dir", "/etc/restartilka", "folder of the configuration and the credentials")
	f.StringVar(&o.Data, "data", "/var/lib/restartilka", "folder of the database and the audit trail")
	f.StringVar(&o.Name, "name", "main", "the server's name, in the audit trail and towards agents")
	f.StringVar(&o.Listen, "listen", "0.0.0.0:8443", "address and port of the pages and the API")
	f.StringVar(&o.Admin, "admin", "admin", "user name of the first admin")
	f.StringVar(&passwordFile, "password-file", "", "file with the first admin's password in its first line (default: one is made and printed once)")
	f.StringVar(&o.User, "user", "", "who will run the server, and gets its keys and data (default: who asks; for root in /etc/restartilka, the user restartilka if there is one)")
	f.StringSliceVar(&o.DNS, "dns", nil, "names in the server's certificate, beside localhost and this host's name")
	f.StringSliceVar(&addresses, "ip", nil, "addresses in the server's certificate, beside those of loopback")
	return cmd
}

// configCommand is `restartilka config check|show`.
func configCommand() *cobra.Command {
	var config, as string
	check := &cobra.Command{
		Use: "check", Short: "Check the configuration, and all that it names, without starting anything", Args: cobra.NoArgs,
		Long: `Check the configuration, and all that it names, without starting anything. What
root can read the server may not be able to, so root checks as the user who runs
the server: restartilka for the configuration in /etc/restartilka, if there is
that user, or the one of --user.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("user") {
				as = server.DefaultUser(filepath.Dir(config))
			}
			if as != "" {
				return checkAs(cmd, as, config)
			}
			return checkConfig(cmd, config)
		},
	}
	check.Flags().StringVar(&as, "user", "", "check as this user; needs root")
	cmd := cli.Parent("config", "Look at the server's configuration",
		check,
		&cobra.Command{
			Use: "show", Short: "Show the configuration with every default filled in", Args: cobra.NoArgs,
			Long: "Show the configuration with every default filled in and every path resolved. It holds no secrets: those lie in files of their own, and of a webhook's address only the host is shown.",
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg, err := server.ReadConfig(config)
				if err != nil {
					return err
				}
				b, err := cfg.Show()
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(b)
				return err
			},
		},
	)
	cmd.PersistentFlags().StringVar(&config, "config", server.DefaultConfig, "the configuration")
	return cmd
}

func checkConfig(cmd *cobra.Command, config string) error {
	cfg, err := server.ReadConfig(config)
	if err != nil {
		return err
	}
	if wrong := cfg.Check(cmd.Context()); len(wrong) > 0 {
		return restart.Errorf(restart.CodeInvalid, "%s: %v", config, errors.Join(wrong...))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is in order\n", config)
	return err
}

// checkAs has this program check the configuration as another user: what they
// can read, and who owns a cache that is written meanwhile, is then as it is
// for the server.
func checkAs(cmd *cobra.Command, as, config string) error {
	program, err := self()
	if err != nil {
		return err
	}
	path, err := filepath.Abs(config)
	if err != nil {
		return fmt.Errorf("find %s: %w", config, err)
	}
	check := exec.CommandContext(cmd.Context(), program, "config", "check", "--config", path, "--user", "")
	check.Dir, check.Stdout, check.Stderr = "/", cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := server.RunAs(check, as); err != nil {
		return err
	}
	err = check.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return cli.Exit(exit.ExitCode()) // it has said why
	}
	if err != nil {
		return restart.Errorf(restart.CodeInvalid, "the check can't be run as %s: %v", restart.Quote(as), err).
			WithHint("%s must be able to run %s; --user root checks as root", as, program)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// self gives the path of this program.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}

// quiet tells whether an error is only the end of the context.
func quiet(err error) bool { return errors.Is(err, context.Canceled) }
