package cli

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/systemd"
)

func auditReceiveCommand() *cobra.Command {
	var path string
	var check bool
	given := receive.Config{}
	var sources []string
	cmd := &cobra.Command{
		Use:   "receive",
		Short: "Receive the audit trails of servers and store them on this machine",
		Long: `Receive the audit trails of servers, and store them on this machine, which
should be none that a server's admins can reach. Each record is checked as it
arrives; a server is answered only when its records are on the disk. A break in
a chain is stored apart and raises the alarm: in the log, at /healthz, in
/metrics.

Settings come from the file of --config, and flags go before it; with --folder
there need be no file.`,
		Example: `  restartilka audit receive --config /etc/restartilka/receiver.yaml
  restartilka audit receive --check
  restartilka audit receive --folder ./trails --source main --certificate log.crt --key log.key --ca ca.crt`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := receiverConfig(cmd, path, given, sources)
			if err != nil {
				return err
			}
			if check {
				if err := c.CheckHere(); err != nil {
					return err
				}
				say(cmd, "the receiver's settings are in order")
				return nil
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return receive.Serve(cmd.Context(), c, log, func(listen, status net.Addr) {
				say(cmd, "%s", addresses(listen, status))
				if err := systemd.Ready(); err != nil {
					log.Warn("the service manager was not told", "error", err)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "config", receive.DefaultConfig, "the configuration")
	f.BoolVar(&check, "check", false, "check the settings, and the files that they name, and leave")
	f.StringVar(&given.Listen, "listen", "", "address and port for servers")
	f.StringVar(&given.StatusListen, "status-listen", "", "address and port of /healthz and /metrics")
	f.StringVar(&given.Folder, "folder", "", "folder of the store")
	f.StringVar(&given.Certificate, "certificate", "", "this receiver's certificate, PEM")
	f.StringVar(&given.Key, "key", "", "its key, PEM, mode 0600")
	f.StringVar(&given.CA, "ca", "", "the authority of the servers' certificates, PEM")
	f.StringSliceVar(&sources, "source", nil, "name of a server whose records are taken; may be repeated")
	return cmd
}

// receiverConfig puts flags before the file. Relative paths of flags are taken
// from the working directory.
func receiverConfig(cmd *cobra.Command, path string, given receive.Config, sources []string) (receive.Config, error) {
	c := receive.Defaults()
	if cmd.Flags().Changed("config") || !cmd.Flags().Changed("folder") {
		var err error
		if c, err = receive.ReadConfig(path); err != nil {
			return c, err
		}
	}
	for flag, to := range map[string]struct{ value, into *string }{
		"listen": {&given.Listen, &c.Listen}, "status-listen": {&given.StatusListen, &c.StatusListen},
	} {
		if cmd.Flags().Changed(flag) {
			*to.into = *to.value
		}
	}
	for flag, to := range map[string]struct{ value, into *string }{
		"folder": {&given.Folder, &c.Folder}, "certificate": {&given.Certificate, &c.Certificate}, "key": {&given.Key, &c.Key}, "ca": {&given.CA, &c.CA},
	} {
		if !cmd.Flags().Changed(flag) {
			continue
		}
		absolute, err := filepath.Abs(*to.value)
		if err != nil {
			return c, fmt.Errorf("find %s: %w", *to.value, err)
		}
		*to.into = absolute
	}
	if cmd.Flags().Changed("source") {
		c.Sources = nil
		for _, name := range sources {
			c.Sources = append(c.Sources, receive.Source{Name: name})
		}
	}
	if err := c.Check(); err != nil {
		return c, usage(err)
	}
	return c, nil
}

func addresses(listen, status net.Addr) string {
	if status == nil {
		return "receiving on " + listen.String()
	}
	return "receiving on " + listen.String() + "; http://" + status.String() + "/healthz"
}
