package cli

import (
	"crypto/ed25519"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// thisMoment is what --now means by itself.
const thisMoment = "now"

func auditVerifyCommand() *cobra.Command {
	var keys, heads []string
	var o audit.VerifyOptions
	var now string
	var hosts hostsFlags
	cmd := &cobra.Command{
		Use:   "verify FILE|FOLDER…",
		Short: "Verify a stored trail offline: gaps, changes, order, seals; exit code 1 where it is not whole",
		Long: `Verify the trail as a log server has stored it, without any server: JSON lines,
or lines of rsyslog's with the record in them, packed by gzip or not. Several
files are the parts of one trail, the oldest first; a folder is the store of
"restartilka audit receive", or one source's folder in it. It finds records that
were deleted, changed, inserted or moved.

With the server's public key (restartilka audit key) it finds a chain that was
made anew with another key, and tells up to where records are sealed; with --now,
for a trail that was just fetched, a tail that was cut off. What an auditor should
know though the trail is whole, such as a server that was killed, is a note.

With --host it is also held against what hosts have recorded themselves: requests
that a host got and that the trail does not have, work that the host does not
have, and what either has changed since.`,
		Example: `  restartilka audit verify --key main.pub --now /var/log/restartilka.jsonl
  restartilka audit verify --key main.pub --now=2026-03-02T00:00:00Z restartilka.jsonl.1.gz restartilka.jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Keys, err = readPublicKeys(keys); err != nil {
				return err
			}
			if o.Now, err = parseNow(now); err != nil {
				return usage(err)
			}
			if o.Heads, err = parseHeads(heads); err != nil {
				return usage(err)
			}
			return verifyAudit(cmd, args, o, hosts)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "file with public keys that may seal the trail; again for more")
	f.StringVar(&now, "now", "", "the trail was fetched at this time (RFC 3339; alone: just now), so that it has to reach up to it")
	f.Lookup("now").NoOptDefVal = thisMoment
	f.StringArrayVar(&o.Sources, "source", nil, "only this server may be in the trail; again for more")
	f.StringArrayVar(&heads, "head", nil, "where a source's chain ends, SOURCE:EPOCH:SEQ:HASH; again for more")
	hosts.add(cmd)
	return cmd
}

func verifyAudit(cmd *cobra.Command, paths []string, o audit.VerifyOptions, hosts hostsFlags) error {
	inputs, shut, err := openTrails(paths)
	if err != nil {
		return err
	}
	defer shut()
	if len(inputs) == 0 {
		return usage(restart.Errorf(restart.CodeInvalid, "no file is named").WithHint("restartilka audit verify FILE|FOLDER…"))
	}
	report, err := audit.VerifyInputs(inputs, o)
	if err != nil {
		return restart.Errorf(restart.CodeInvalid, "the trail can't be read: %w", err)
	}
	both, err := hosts.beside(report, paths)
	if err != nil {
		return err
	}
	if err := data(cmd, both, func(w io.Writer) { both.Write(w) }); err != nil { //nolint:errcheck // data tells
		return err
	}
	if !both.OK {
		return &ExitError{Code: ExitFailed}
	}
	return nil
}

// readPublicKeys reads files of public keys.
func readPublicKeys(paths []string) (keys []ed25519.PublicKey, err error) {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "the public key can't be read: %w", err)
		}
		more, err := audit.ParsePublicKeys(text)
		if err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "%s is not a file of public keys: %w", path, err).WithHint("restartilka audit key, on the server, prints it")
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

func parseNow(s string) (time.Time, error) {
	switch s {
	case "":
		return time.Time{}, nil
	case thisMoment:
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, restart.Errorf(restart.CodeInvalid, "--now: %s is not a time", restart.Quote(s)).WithHint("--now alone, or --now=2026-03-02T00:00:00Z")
	}
	return t, nil
}

// parseHeads reads SOURCE:EPOCH:SEQ:HASH; a host's source has a colon itself.
func parseHeads(texts []string) (heads []audit.Head, err error) {
	for _, text := range texts {
		parts := strings.Split(text, ":")
		n := len(parts)
		bad := restart.Errorf(restart.CodeInvalid, "--head: %s is not SOURCE:EPOCH:SEQ:HASH", restart.Quote(text)).WithHint("such as main:1:3605:9f2c…, the hash in full")
		if n < 4 {
			return nil, bad
		}
		epoch, epochErr := strconv.ParseInt(parts[n-3], 10, 64)
		seq, seqErr := strconv.ParseInt(parts[n-2], 10, 64)
		if epochErr != nil || seqErr != nil || epoch < 1 || seq < 1 || len(parts[n-1]) != 64 {
			return nil, bad
		}
		heads = append(heads, audit.Head{Source: strings.Join(parts[:n-3], ":"), Epoch: epoch, Seq: seq, Hash: parts[n-1]})
	}
	return heads, nil
}
