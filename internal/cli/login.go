package cli

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
)

func loginCommand() *cobra.Command {
	var ca string
	var how loginHow
	cmd := &cobra.Command{
		Use:   "login URL [--ca FILE] [--token | --browser]",
		Short: "Sign in to a server by its page, or with a token, and remember it",
		Long: `Sign in: show a page's address and a code, wait until you have confirmed the code
on that page, in any browser on any machine, and store server, CA and the token
that comes of it in client.yaml, readable by you only. It is good for 30 days.

With --token, ask for a token that you have already, without showing it. In a
pipe it is read from standard input, or from RESTARTILKA_TOKEN or
RESTARTILKA_TOKEN_FILE; --browser shows the page there too.

A server with an authority of its own needs --ca FILE, its certificate, once.
The server's certificate is always verified.`,
		Args: exactly("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg := client.Config{URL: args[0]}
			if ca == "" {
				ca = os.Getenv("RESTARTILKA_CA")
			}
			if ca != "" {
				pem, err := os.ReadFile(ca)
				if err != nil {
					return restart.Errorf(restart.CodeInvalid, "the CA's certificate can't be read: %w", err)
				}
				cfg.CAPEM = pem
			} else if have, err := readSettings(); err == nil && have.URL == strings.TrimRight(args[0], "/") {
				cfg.CAPEM = []byte(have.CA) // as it was given for this very server
			}
			return login(cmd, cfg, how)
		},
	}
	cmd.Flags().BoolVar(&how.token, "token", false, "ask for a token instead of a page")
	cmd.Flags().BoolVar(&how.browser, "browser", false, "sign in by the page, also where no terminal is")
	cmd.MarkFlagsMutuallyExclusive("token", "browser")
	cmd.Flags().StringVar(&ca, "ca", "", "certificate of the server's authority, PEM")
	return cmd
}

// loginHow is what the person wants to sign in with; none: what fits.
type loginHow struct{ token, browser bool }

func login(cmd *cobra.Command, cfg client.Config, how loginHow) error {
	ctx := cmd.Context()
	// First without a token: one is asked for only where there is a server
	// that we know.
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	if _, err := c.Whoami(ctx); restart.CodeOf(err) != restart.CodeUnauthorised {
		showCertificates(cmd, err)
		if err == nil {
			err = errors.New("the server lets everybody in; that is no server of ours")
		}
		return err
	}
	if !how.browser {
		cfg.Token, err = tokenFromEnvironment("")
	}
	switch {
	case err != nil || cfg.Token != "":
	case how.browser || !how.token && terminal(cmd.InOrStdin()):
		cfg.Token, err = loginByPage(ctx, cmd, c)
	default:
		cfg.Token, err = readSecret(ctx, cmd, "Token for "+c.URL()+": ")
	}
	if err != nil {
		return err
	}
	if cfg.Token == "" {
		return usage(restart.Errorf(restart.CodeInvalid, "no token was given").WithHint("whoever runs the server makes one with: restartilka token create"))
	}
	if c, err = client.New(cfg); err != nil {
		return err
	}
	actor, err := c.Whoami(ctx)
	if err != nil {
		return err
	}
	path, err := settings{URL: c.URL(), CA: string(cfg.CAPEM), Token: cfg.Token}.write()
	if err != nil {
		return err
	}
	say(cmd, "stored in %s", path)
	return data(cmd, actor, func(w io.Writer) {
		fmt.Fprintf(w, "signed in to %s as %s, %s\n", c.URL(), restart.Escape(actor.Name), aboutActor(actor))
	})
}

// showCertificates tells what a server has shown that is not trusted, so that
// a person can compare it with what the server's keeper says.
func showCertificates(cmd *cobra.Command, err error) {
	away, ok := errors.AsType[*client.UnreachableError](err)
	if !ok {
		return
	}
	for _, cert := range away.Certificates {
		say(cmd, "the server shows: %s\n  issued by %s\n  SHA-256 %s", name(cert.Subject.String()), name(cert.Issuer.String()), fingerprint(cert))
	}
	if _, misnamed := errors.AsType[x509.HostnameError](err); len(away.Certificates) > 0 && !misnamed {
		say(cmd, "get the authority's certificate (ca.crt) from whoever runs the server, and sign in with --ca FILE")
	}
}

func name(s string) string {
	if s == "" {
		return "(no name)"
	}
	return restart.Escape(s)
}

// fingerprint gives a certificate's SHA-256 as openssl x509 -fingerprint does.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	var pairs []string
	for i := 0; i < len(text); i += 2 {
		pairs = append(pairs, text[i:i+2])
	}
	return strings.Join(pairs, ":")
}

// readSecret reads a line without showing it at a terminal, and plainly from a pipe.
func readSecret(ctx context.Context, cmd *cobra.Command, prompt string) (string, error) {
	in := cmd.InOrStdin()
	f, ok := file(in)
	if !ok || !terminal(in) {
		line, err := readLine(ctx, in)
		return strings.TrimSpace(line), err
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	defer term.Restore(fd, before) //nolint:errcheck // also where Ctrl-C has ended the wait
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	line, err := readLine(ctx, readerFunc(func(b []byte) (int, error) {
		secret, err := term.ReadPassword(fd)
		if err != nil {
			return 0, err
		}
		return copy(b, append(secret, '\n')), nil
	}))
	fmt.Fprintln(cmd.ErrOrStderr())
	return strings.TrimSpace(line), err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
