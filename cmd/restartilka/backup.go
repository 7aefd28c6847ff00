package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
)

// backedUp is what `restartilka backup --json` prints.
type backedUp struct {
	File   string          `json:"file"`
	SHA256 string          `json:"sha256"`
	Backup backup.Manifest `json:"backup"`
	Keep   []string        `json:"keep,omitempty"` // files that are not in it
}

func backupCommand() *cobra.Command {
	var config, as, by string
	var force, withoutOutput bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Back up the database, beside a running server or without one",
		Long: `Back up the database that server.yaml names, SQLite or PostgreSQL: one moment of
it, while servers go on. "-" writes to standard output. The file can be restored
into either kind of database. It holds no keys and no tokens, but what scripts
printed, so it is for its owner's eyes (mode 0600).`,
		Example: `  restartilka backup /var/backups/restartilka-$(date +%F)
  restartilka backup - | ssh backups 'cat >restartilka.backup'`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := server.ReadConfig(config)
			if err != nil {
				return err
			}
			if by == "" {
				by = whoAmI()
			}
			as := runner(cmd, as, config)
			write := func(f io.Writer) (done backedUp, err error) {
				done.File = args[0]
				if as != "" {
					return done, asUser(cmd, as, nil, f, backupArgs(config, by, withoutOutput)...)
				}
				var unrecorded error
				done.Backup, done.SHA256, unrecorded, err = server.Backup(cmd.Context(), cfg, f, by, withoutOutput, newProgress(cmd, "backup").rows)
				if unrecorded != nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "this backup is not in the audit trail: %s\n", restart.Escape(unrecorded.Error()))
				}
				return done, err
			}
			if args[0] == "-" {
				_, err := write(cmd.OutOrStdout())
				return err
			}
			var done backedUp
			err = backup.CreateFile(args[0], force, func(f *os.File) error {
				if done, err = write(f); err != nil || as == "" {
					return err
				}
				// What the other user's process wrote is looked at here.
				if _, err := f.Seek(0, io.SeekStart); err != nil {
					return fmt.Errorf("read the backup: %w", err)
				}
				done.Backup, done.SHA256, err = backup.Verify(f, func(int64) {})
				return err
			})
			if err != nil {
				return err
			}
			done.Keep = cfg.Keep(config)
			return tellBackup(cmd, done)
		},
	}
	cmd.Flags().StringVar(&config, "config", server.DefaultConfig, "the server's configuration")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE where it is there")
	cmd.Flags().BoolVar(&withoutOutput, "without-output", false, "leave out what scripts printed, and thread dumps")
	cmd.Flags().StringVar(&by, "by", "", "who takes it, for the audit trail (default: the user)")
	userFlag(cmd, &as)
	cmd.AddCommand(backupVerifyCommand())
	return cmd
}

func backupArgs(config, by string, withoutOutput bool) []string {
	return []string{"backup", "-", "--config", config, "--by", by, fmt.Sprintf("--without-output=%t", withoutOutput)}
}

func tellBackup(cmd *cobra.Command, done backedUp) error {
	if asJSON, err := cmd.Flags().GetBool("json"); err != nil || asJSON {
		return printJSON(cmd.OutOrStdout(), done)
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), about(done)); err != nil || len(done.Keep) == 0 {
		return err
	}
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), "\nNot in it, and needed beside it for a new server; the keys are secret:\n  %s\n", strings.Join(done.Keep, "\n  "))
	return err
}

// about describes a backup in a few lines.
func about(b backedUp) string {
	m := b.Backup
	var rows []string
	for _, t := range m.Tables {
		if t.Rows > 0 {
			rows = append(rows, fmt.Sprintf("%s %d", t.Name, t.Rows))
		}
	}
	output := ""
	if m.WithoutOutput {
		output = ", without output of scripts"
	}
	return restart.Escape(b.File) + fmt.Sprintf(`
  of       %s, by the server %s, restartilka %s
  from     %s, schema %d%s
  rows     %s
  sha256   %s
`, m.MadeAt.UTC().Format("2006-01-02 15:04:05 UTC"), restart.Escape(m.Server), restart.Escape(m.Program), restart.Escape(m.Database), m.Schema, output, strings.Join(rows, ", "), b.SHA256)
}

func backupVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a backup: its sum, its rows, its form; exit code 1 where it is not whole",
		Long:  `Verify a backup without any server or database: its sum, the number of its rows and its form. "-" reads standard input.`,
		Args:  oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := openBackup(cmd, args[0])
			if err != nil {
				return err
			}
			defer in.Close() // read only
			progress := newProgress(cmd, "verify")
			done := backedUp{File: args[0]}
			done.Backup, done.SHA256, err = backup.Verify(in, func(n int64) { progress.rows(n, 0) })
			if err != nil {
				return &cli.ExitError{Code: cli.ExitFailed, Err: err}
			}
			return tellBackup(cmd, done)
		},
	}
}

func restoreCommand() *cobra.Command {
	var config, as, by string
	var replace bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup into an empty database, while no server runs",
		Long: `Put a backup into the database that server.yaml names, which must be empty; of
either kind, whatever the backup was made of. No server may run on it. "-" reads
standard input. It is done whole or not at all.

Runs that were queued or running come back paused: their hosts may have been
touched since the backup. Everybody has to sign in again. What was revoked since
the backup, tokens and certificates of hosts, is good again: revoke it anew.`,
		Example: `  restartilka restore /var/backups/restartilka-2026-03-01
  restartilka restore --replace /var/backups/restartilka-2026-03-01`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := server.ReadConfig(config)
			if err != nil {
				return err
			}
			in, err := openBackup(cmd, args[0])
			if err != nil {
				return err
			}
			defer in.Close() // read only
			if by == "" {
				by = whoAmI()
			}
			if as := runner(cmd, as, config); as != "" {
				return asUser(cmd, as, in, cmd.OutOrStdout(), "restore", "-", "--config", config, "--by", by, fmt.Sprintf("--replace=%t", replace), fmt.Sprintf("--json=%t", wantsJSON(cmd)))
			}
			out, err := server.Restore(cmd.Context(), cfg, in, by, replace, newProgress(cmd, "restore").rows)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), out)
			}
			m := out.Manifest
			fmt.Fprintf(cmd.OutOrStdout(), "restored the backup of %s, made by the server %s: %d rows\n", m.MadeAt.UTC().Format("2006-01-02 15:04:05 UTC"), restart.Escape(m.Server), m.Rows())
			for _, id := range out.Paused {
				fmt.Fprintf(cmd.OutOrStdout(), "paused   run %s\n", restart.Escape(id))
			}
			for _, path := range out.Moved {
				fmt.Fprintf(cmd.OutOrStdout(), "kept     %s\n", restart.Escape(path))
			}
			_, err = fmt.Fprint(cmd.ErrOrStderr(), afterRestore)
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config", server.DefaultConfig, "the server's configuration")
	cmd.Flags().BoolVar(&replace, "replace", false, "SQLite: move a database that is there aside")
	cmd.Flags().StringVar(&by, "by", "", "who restores, for the audit trail (default: the user)")
	userFlag(cmd, &as)
	return cmd
}

const afterRestore = `
What the database forgot, somebody has to remember:
- tokens and certificates of hosts that were revoked since the backup are good again: revoke them anew (token list, host certificates)
- tokens that were made since are gone; join tokens are ended; everybody signs in again
- hosts may have been touched since: look at them before you resume a run
- never start a server on the lost database again
`

// oneFile wants one argument.
func oneFile(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return fmt.Errorf("FILE is missing: %s", cmd.UseLine())
	case 1:
		return nil
	}
	return fmt.Errorf("%q is one argument too many: %s", args[1], cmd.UseLine())
}

func wantsJSON(cmd *cobra.Command) bool {
	yes, err := cmd.Flags().GetBool("json")
	return err == nil && yes
}

func openBackup(cmd *cobra.Command, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the backup can't be read: %w", err)
	}
	return f, nil
}

func userFlag(cmd *cobra.Command, as *string) {
	cmd.Flags().StringVar(as, "user", "", "touch the database as this user; needs root (default: restartilka, for the configuration in /etc/restartilka)")
}

// runner gives the user as whom root touches the database: its files are to
// stay the server's, and a folder of the server's leads root nowhere.
func runner(cmd *cobra.Command, as, config string) string {
	if cmd.Flags().Changed("user") {
		return as
	}
	return server.DefaultUser(filepath.Dir(config))
}

// asUser has this program do the work as another user, between streams that
// are open already.
func asUser(cmd *cobra.Command, as string, in io.Reader, out io.Writer, args ...string) error {
	program, err := self()
	if err != nil {
		return err
	}
	for i := range args { // its folder is another
		if i > 0 && args[i-1] == "--config" {
			if args[i], err = filepath.Abs(args[i]); err != nil {
				return fmt.Errorf("find the configuration: %w", err)
			}
		}
	}
	child := exec.CommandContext(cmd.Context(), program, append(args, "--user", "")...)
	child.Dir, child.Stdin, child.Stdout, child.Stderr = "/", in, out, cmd.ErrOrStderr()
	if err := server.RunAs(child, as); err != nil {
		return err
	}
	err = child.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return cli.Exit(exit.ExitCode()) // it has said why
	}
	if err != nil {
		return restart.Errorf(restart.CodeInvalid, "%s can't be run as %s: %v", program, restart.Quote(as), err)
	}
	return nil
}

// whoAmI names the person for the audit trail: whoever became root by sudo.
func whoAmI() string {
	if name := os.Getenv("SUDO_USER"); name != "" && os.Geteuid() == 0 && restart.CheckUser(name) == nil {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// progress tells on standard error how far a long work is: first after two
// seconds, then every five.
type progress struct {
	cmd  *cobra.Command
	what string
	next time.Time
}

func newProgress(cmd *cobra.Command, what string) *progress {
	return &progress{cmd: cmd, what: what, next: time.Now().Add(2 * time.Second)}
}

// rows is called every now and then; a total of 0 is not known.
func (p *progress) rows(done, total int64) {
	now := time.Now()
	if done%1000 != 0 || now.Before(p.next) {
		return
	}
	p.next = now.Add(5 * time.Second)
	if total > 0 {
		fmt.Fprintf(p.cmd.ErrOrStderr(), "%s: %d of %d rows\n", p.what, done, total)
		return
	}
	fmt.Fprintf(p.cmd.ErrOrStderr(), "%s: %d rows\n", p.what, done)
}
