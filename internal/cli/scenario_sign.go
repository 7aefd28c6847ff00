package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

// signer is how a command finds the reviewer's key and name.
type signer struct{ key, as string }

func (s *signer) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.key, "key", "", "private key, or the .pub file of one that ssh-agent holds; one in ~/.ssh, otherwise")
	cmd.Flags().StringVar(&s.as, "as", "", "principal to sign as, such as anna@example.com, as the allowed signers name you")
}

func scenarioSignCommand() *cobra.Command {
	var who signer
	cmd := &cobra.Command{
		Use:   "sign FILE [--key PATH] [--as PRINCIPAL]",
		Short: "Sign a scenario with your own SSH key, into FILE.sigs",
		Long: `Sign a scenario with your own SSH key, as "ssh-keygen -Y sign -n ` + signing.Namespace + `" does.
The signature becomes FILE.sigs/PRINCIPAL.sig. No server is asked.

Without --as the comment of the key's .pub file is the principal.`,
		Example: "  restartilka scenario sign nginx-restart.yaml --key ~/.ssh/id_ed25519 --as anna@example.com",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := readScenario(args[0])
			if err != nil {
				return err
			}
			s, err := scenario.Parse(body)
			if err != nil {
				return err
			}
			made, err := who.sign(cmd, body)
			if err != nil {
				return err
			}
			dir := args[0] + signing.FolderSuffix
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("make the folder of signatures: %w", err)
			}
			path := filepath.Join(dir, made.Principal+signing.FileSuffix)
			if err := writeFile(path, made.Armored, 0o644); err != nil {
				return err
			}
			if strings.EqualFold(s.Author, made.Principal) {
				say(cmd, "%s is the author of %s: this signature does not count", made.Principal, s.Name)
			}
			out := struct {
				File        string `json:"file"`
				Principal   string `json:"principal"`
				Fingerprint string `json:"fingerprint"`
				Digest      string `json:"digest"`
			}{path, made.Principal, made.key, s.Digest}
			return data(cmd, out, func(w io.Writer) {
				fmt.Fprintf(w, "%s serial %d signed as %s with %s: %s\n", s.Name, s.Serial, made.Principal, made.key, restart.Escape(path))
			})
		},
	}
	who.flags(cmd)
	return cmd
}

// keyNames are the files in ~/.ssh that are tried where --key names none.
var keyNames = []string{"id_ed25519", "id_ecdsa", "id_rsa"}

// signed is a signature, and by which key it was made.
type signed struct {
	signing.Signature
	key string // its fingerprint
}

// sign signs a scenario's bytes with the key and the principal of the flags.
func (s *signer) sign(cmd *cobra.Command, body []byte) (signed, error) {
	key, done, err := s.open(cmd)
	if err != nil {
		return signed{}, err
	}
	defer done.Close() // ssh-agent's connection
	principal, err := s.principal()
	if err != nil {
		return signed{}, err
	}
	armored, err := signing.Sign(body, key)
	return signed{signing.Signature{Principal: principal, Armored: armored}, ssh.FingerprintSHA256(key.PublicKey())}, err
}

// open gives the key. One that ssh-agent holds is taken from there, so that
// nobody types a passphrase that he has given already.
func (s *signer) open(cmd *cobra.Command) (ssh.Signer, io.Closer, error) {
	if s.key == "" {
		if err := s.find(); err != nil {
			return nil, nil, err
		}
	}
	ask := func(prompt string) ([]byte, error) {
		phrase, err := readSecret(cmd.Context(), cmd, prompt)
		return []byte(phrase), err
	}
	public := strings.TrimSuffix(s.key, ".pub") + ".pub"
	if _, err := os.Stat(public); err == nil && s.key != public && os.Getenv("SSH_AUTH_SOCK") != "" {
		if key, done, err := signing.ReadKey(public, ask); err == nil {
			return key, done, nil
		}
	}
	return signing.ReadKey(s.key, ask)
}

func (s *signer) find() error {
	home, err := os.UserHomeDir()
	if err != nil {
		return usage(restart.Errorf(restart.CodeInvalid, "there is no home to look for a key in").WithHint("--key PATH"))
	}
	for _, name := range keyNames {
		for _, path := range []string{filepath.Join(home, ".ssh", name), filepath.Join(home, ".ssh", name+".pub")} {
			if _, err := os.Stat(path); err == nil {
				s.key = path
				return nil
			}
		}
	}
	return usage(restart.Errorf(restart.CodeInvalid, "there is no key in %s", filepath.Join(home, ".ssh")).WithHint("--key PATH; make one with: ssh-keygen -t ed25519"))
}

// principal gives --as, or the comment of the key's .pub file.
func (s *signer) principal() (string, error) {
	if s.as != "" {
		return s.as, signing.CheckPrincipal(s.as)
	}
	none := usage(restart.Errorf(restart.CodeInvalid, "it is not known who signs").WithHint("--as anna@example.com: the principal, as the allowed signers name you"))
	b, err := os.ReadFile(strings.TrimSuffix(s.key, ".pub") + ".pub")
	if err != nil {
		return "", none
	}
	_, comment, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil || signing.CheckPrincipal(comment) != nil {
		return "", none
	}
	return comment, nil
}

func scenarioVerifyCommand() *cobra.Command {
	var trusted lists
	cmd := &cobra.Command{
		Use:   "verify FILE… --signers FILE [--revoked FILE] [--quorum N]",
		Short: "Check the signatures beside scenarios; exit code 3 where one has not enough",
		Long:  "Check the signatures in FILE.sigs, as a host with review: signed does. No server is asked.",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if trusted.signers == "" {
				return usage(errors.New("--signers FILE is needed: an allowed_signers file, as ssh-keygen(1) describes it"))
			}
			policy, err := trusted.policy()
			if err != nil {
				return err
			}
			return verifyFiles(cmd, args, policy)
		},
	}
	trusted.flags(cmd, "allowed_signers file (needed)")
	return cmd
}

// verified is what verify says of one file.
type verified struct {
	File    string         `json:"file"`
	Name    string         `json:"name"`
	Serial  int            `json:"serial"`
	Digest  string         `json:"digest"`
	Enough  bool           `json:"enough"`
	Quorum  int            `json:"quorum"`
	Good    []signing.Seal `json:"good"`
	Bad     []badSignature `json:"bad"`
	Missing []string       `json:"missing"` // who could sign it still
}

type badSignature struct {
	Principal string `json:"principal,omitempty"`
	Why       string `json:"why"`
}

func verifyFiles(cmd *cobra.Command, paths []string, policy signing.Policy) error {
	list := []verified{}
	refused := false
	err := eachFile(paths, func(path string, body []byte) error {
		s, err := scenario.Parse(body)
		if err != nil {
			return err
		}
		sigs, problems := signing.ReadFolder(path + signing.FolderSuffix)
		verdict := signing.Verify(body, s.Author, sigs, policy)
		v := verified{
			File: path, Name: s.Name, Serial: s.Serial, Digest: s.Digest, Enough: verdict.Enough(), Quorum: verdict.Quorum, Good: []signing.Seal{}, Bad: []badSignature{}, Missing: []string{},
		}
		v.Good = append(v.Good, verdict.Good...)
		v.Missing = append(v.Missing, signing.Missing(s.Author, verdict, policy)...)
		for _, f := range verdict.Bad {
			v.Bad = append(v.Bad, badSignature{f.Principal, f.Err.Error()})
		}
		for _, p := range problems {
			v.Bad = append(v.Bad, badSignature{Why: p.Error()})
		}
		refused = refused || !v.Enough
		list = append(list, v)
		return nil
	})
	if err != nil {
		return err
	}
	err = data(cmd, struct {
		Items []verified `json:"items"`
		Next  string     `json:"next"`
	}{list, ""}, func(w io.Writer) {
		for _, v := range list {
			printVerified(w, v)
		}
	})
	if err == nil && refused {
		err = Exit(ExitRefused)
	}
	return err
}

func printVerified(w io.Writer, v verified) {
	word := "NOT ENOUGH"
	if v.Enough {
		word = "ok"
	}
	fmt.Fprintf(w, "%s: %s, signed by %d of %d (%s serial %d, %s)\n", restart.Escape(v.File), word, len(v.Good), v.Quorum, restart.Escape(v.Name), v.Serial, short(v.Digest))
	for _, g := range v.Good {
		fmt.Fprintf(w, "  good     %s with %s\n", restart.Escape(g.Principal), g.Fingerprint)
	}
	for _, b := range v.Bad {
		fmt.Fprintf(w, "  bad      %s\n", restart.Escape(strings.TrimPrefix(b.Principal+": ", ": ")+b.Why))
	}
	if !v.Enough {
		fmt.Fprintf(w, "  missing  %s\n", restart.Escape(strings.Join(v.Missing, ", ")))
	}
}

// readPolicy reads the lists of signers and revocations, strictly.
func readPolicy(signers, revoked string, quorum int) (p signing.Policy, err error) {
	p = signing.Policy{Quorum: quorum, Now: time.Now()}
	b, err := readBounded(signers, signing.MaxList)
	if err == nil {
		p.Allowed, err = signing.ParseAllowed(b)
	}
	if err == nil && revoked != "" {
		if b, err = readBounded(revoked, signing.MaxList); err == nil {
			p.Revoked, err = signing.ParseRevoked(b)
		}
	}
	return p, err
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the file can't be read: %w", err)
	}
	defer f.Close() // read only
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = restart.Errorf(restart.CodeTooLarge, "%s has more than %d bytes", path, most)
	}
	return b, err
}

// confirmSigning has a person at the terminal say yes; elsewhere --yes says it.
func confirmSigning(ctx context.Context, cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(cmd.InOrStdin()) {
		return usage(restart.Errorf(restart.CodeInvalid, "nobody is there to say whether it may be signed").WithHint("add --yes once you have read it"))
	}
	agreed, err := ask(ctx, cmd, question)
	if err == nil && !agreed {
		err = usage(restart.Errorf(restart.CodeInvalid, "nothing was signed"))
	}
	return err
}
