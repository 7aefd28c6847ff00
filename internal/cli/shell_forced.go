package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// defaultSocket is where the server of this machine listens for its sshd.
const defaultSocket = "/run/restartilka/shell.sock"

func shellCommand() *cobra.Command {
	var key, socket string
	cmd := &cobra.Command{
		Use:   "shell --key FINGERPRINT",
		Short: "Run the command of somebody who came by this machine's sshd",
		Long: `Run the command that somebody has given to ssh (SSH_ORIGINAL_COMMAND) as the
person whose key it is. It is the forced command of an account that people come to
by this machine's own sshd; the server must run here too. See docs/guide/ssh.md.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			door := shellDoor{socket: socket, key: key, from: sshClient()}
			begun, err := door.begin(cmd.Context())
			if err != nil {
				return err
			}
			shell := Shell{URL: begun.URL, Transport: door}
			return Exit(shell.Run(cmd.Context(), os.Getenv("SSH_ORIGINAL_COMMAND"), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.PersistentFlags().StringVar(&socket, "socket", defaultSocket, "the server's socket, ssh.socket in server.yaml")
	cmd.Flags().StringVar(&key, "key", "", "fingerprint of the key that sshd has verified, SHA256:…")
	cmd.MarkFlagRequired("key") //nolint:errcheck // the flag is there
	cmd.AddCommand(shellKeysCommand(&socket))
	return cmd
}

func shellKeysCommand(socket *string) *cobra.Command {
	var pty bool
	cmd := &cobra.Command{
		Use:   "keys USER TYPE KEY",
		Short: "Say whether sshd may let a key in, as its AuthorizedKeysCommand",
		Long: `Print the line of authorized_keys for a key that is in somebody's profile, with
this program as its forced command and nothing else allowed; print nothing for any
other key, or for another account than the one that the server expects.`,
		Example: `  AuthorizedKeysCommand /usr/bin/restartilka shell keys %u %t %k`,
		Args:    exactly("USER", "TYPE", "KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			door := shellDoor{socket: *socket}
			k, err := door.lookUp(cmd.Context(), args[0], args[1], args[2])
			if err != nil || k.Fingerprint == "" {
				return err
			}
			command, err := forcedCommand(*socket, k.Fingerprint)
			if err != nil {
				return err
			}
			options := "restrict,"
			if pty {
				options += "pty,"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%scommand=\"%s\" %s %s\n", options, command, args[1], args[2])
			return err
		},
	}
	cmd.Flags().BoolVar(&pty, "pty", false, "let people have a terminal, so that they are shown the plan and asked")
	return cmd
}

// plainWord is what means the same to sshd and to every shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9/._:+=-]+$`)

// forcedCommand is what sshd is to run. It goes through the account's shell, so
// that it has no word in it which that could read in another way.
func forcedCommand(socket, fingerprint string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	words := []string{program, "shell", "--key", fingerprint}
	if socket != defaultSocket {
		if socket, err = filepath.Abs(socket); err != nil {
			return "", fmt.Errorf("find the socket: %w", err)
		}
		words = append(words, "--socket", socket)
	}
	for _, w := range words {
		if !plainWord.MatchString(w) {
			return "", restart.Errorf(restart.CodeInvalid, "%s can't stand in a forced command", restart.Quote(w)).WithHint("put the program and the socket where their paths have letters, digits and / . _ - only")
		}
	}
	return strings.Join(words, " "), nil
}

// sshClient gives the address that sshd says somebody comes from.
func sshClient() string {
	from, _, _ := strings.Cut(os.Getenv("SSH_CONNECTION"), " ")
	return from
}

// shellDoor asks the server over its socket, in the name of who has a key. The
// server believes that of this account alone.
type shellDoor struct{ socket, key, from string }

// RoundTrip implements http.RoundTripper.
func (d shellDoor) RoundTrip(req *http.Request) (*http.Response, error) {
	inner := req.Clone(req.Context())
	inner.URL.Scheme, inner.URL.Host, inner.Host = "http", "shell", ""
	inner.Header.Set(wire.ShellKeyHeader, d.key)
	inner.Header.Set(wire.ShellFromHeader, d.from)
	transport := &http.Transport{
		DisableKeepAlives: true, // a command has few requests, and no next one
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", d.socket)
		},
	}
	return transport.RoundTrip(inner)
}

func (d shellDoor) begin(ctx context.Context) (wire.ShellBegun, error) {
	return askShell[wire.ShellBegun](ctx, d, http.MethodPost, wire.ShellBegin, nil)
}

func (d shellDoor) lookUp(ctx context.Context, user, kind, key string) (wire.ShellKey, error) {
	return askShell[wire.ShellKey](ctx, d, http.MethodGet, wire.ShellLookUp, url.Values{"user": {user}, "type": {kind}, "key": {key}})
}

// askShell asks what is beside the API on that socket.
func askShell[T any](ctx context.Context, d shellDoor, method, path string, query url.Values) (T, error) {
	var out T
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://shell"+path+"?"+query.Encode(), nil)
	if err != nil {
		return out, fmt.Errorf("make a request: %w", err)
	}
	resp, err := d.RoundTrip(req)
	if err != nil {
		return out, restart.Errorf(restart.CodeUnavailable, "the server does not answer at %s: %v", restart.Escape(d.socket), err).WithHint("it must run on this machine, with ssh.socket in server.yaml")
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, 1<<20)
	if resp.StatusCode != http.StatusOK {
		var p wire.Problem
		if json.NewDecoder(body).Decode(&p) != nil || p.Code == "" {
			return out, restart.Errorf(restart.CodeUnavailable, "what answers at %s is no server of ours", restart.Escape(d.socket))
		}
		return out, p.Err()
	}
	if err := json.NewDecoder(body).Decode(&out); err != nil {
		return out, restart.Errorf(restart.CodeUnavailable, "the server's answer can't be read: %v", err)
	}
	return out, nil
}
