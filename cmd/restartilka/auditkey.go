package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/server"
)

// auditKeyCommand is `restartilka audit key`, beside what package cli has below
// audit: the key lies with the server.
func auditKeyCommand() *cobra.Command {
	var config string
	show := func(cmd *cobra.Command, key server.AuditKey, then string) error {
		if asJSON, err := cmd.Flags().GetBool("json"); err != nil || asJSON {
			return printJSON(cmd.OutOrStdout(), key)
		}
		fmt.Fprint(cmd.ErrOrStderr(), then)
		_, err := fmt.Fprint(cmd.OutOrStdout(), key.PEM)
		return err
	}
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print the public key that this server seals its audit trail with",
		Long: `Print the public half of the key that this server seals its audit trail with.
Auditors keep it where the server can't change it, and give it to "audit verify
--key". Behind it stand the words by which earlier keys have named it.`,
		Example: "  restartilka audit key > main.pub",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := server.ReadConfig(config)
			if err != nil {
				return err
			}
			key, err := cfg.AuditKey()
			if err != nil {
				return err
			}
			return show(cmd, key, "")
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "new",
		Short: "Make the key of the audit trail, or the next one, signed by the one before",
		Long: `Make the key that this server seals its audit trail with. Where there is one
already, it signs the new one, and is then gone: the trail tells of the change in
audit.key_changed, so that auditors who have the old public key trust the new one.
The server seals with it from its next start on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := server.ReadConfig(config)
			if err != nil {
				return err
			}
			key, err := cfg.NewAuditKey()
			if err != nil {
				return err
			}
			return show(cmd, key, "Restart the server: it seals with this key from then on.\n")
		},
	})
	cmd.PersistentFlags().StringVar(&config, "config", server.DefaultConfig, "the configuration")
	return cli.Parent("audit", "", cmd)
}
