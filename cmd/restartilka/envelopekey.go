package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/server"
)

// envelopeKeyCommand is `restartilka server envelope-key`, by which the key
// that hosts obey is changed.
func envelopeKeyCommand() *cobra.Command {
	var config string
	verb := func(use, short, then string, do func(*server.Config) (server.EnvelopeKeys, error)) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := server.ReadConfig(config)
			if err != nil {
				return err
			}
			keys, err := do(&cfg)
			if err != nil {
				return err
			}
			if asJSON, err := cmd.Flags().GetBool("json"); err != nil || asJSON {
				return printJSON(cmd.OutOrStdout(), keys)
			}
			next := keys.Next
			if next == "" {
				next = "none"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "in use  %s\nother   %s\n%s", keys.InUse, next, then)
			return err
		}}
	}
	cmd := verb("envelope-key", "Show which keys sign what hosts are asked to do", "", (*server.Config).EnvelopeKeys)
	cmd.Long = `Show which keys sign what hosts are asked to do, by the short names under which
hosts know them. The key is changed in three steps, each followed by a restart of
every server: new, use, drop. Until drop, use takes the step back.`
	cmd.AddCommand(
		verb("new", "Make the next key, for hosts to learn", "\nRestart the server: it tells the hosts. Then see that all know the new key:\n  restartilka hosts check %all\n", (*server.Config).NewEnvelopeKey),
		verb("use", "Exchange the key in use and the other one", "\nRestart the server: it signs with the key in use. Hosts obey both.\n", (*server.Config).UseEnvelopeKey),
		verb("drop", "Remove the key that is not in use", "\nRestart the server: hosts forget the one that was dropped.\n", (*server.Config).DropEnvelopeKey),
	)
	cmd.PersistentFlags().StringVar(&config, "config", server.DefaultConfig, "the configuration")
	return cmd
}
