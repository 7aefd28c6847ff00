package signing

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
)

// Namespace separates these signatures from any other use of the keys.
const Namespace = "restartilka-scenario"

const (
	// MaxList bounds the files of signers and of revocations, in bytes.
	MaxList = 1 << 20
	// maxSigners bounds what one file may list.
	maxSigners = 10_000
	// minRSA is the shortest RSA key that counts, in bits.
	minRSA = 2048
)

// Signer is one line of an allowed_signers file that is good for scenarios.
type Signer struct {
	Principals  []string
	Key         ssh.PublicKey
	ValidAfter  time.Time // zero = always
	ValidBefore time.Time // zero = for ever
}

// Fingerprint names the key, as ssh-keygen -l does.
func (s Signer) Fingerprint() string { return ssh.FingerprintSHA256(s.Key) }

// Allowed is who may sign. The zero value lets nobody.
type Allowed struct {
	signers []Signer
	person  []int // of each signer: the first of those who share a principal or a key
}

// Signers gives the lines that are good for scenarios, in the file's order.
func (a Allowed) Signers() []Signer { return slices.Clone(a.signers) }

// ParseAllowed reads an allowed_signers file as ssh-keygen(1) describes it.
// Lines whose namespaces= leave scenarios out are skipped. Patterns in
// principals and cert-authority are refused: a line names one person.
// CodeInvalid with the number of the line; CodeTooLarge.
func ParseAllowed(b []byte) (Allowed, error) {
	var a Allowed
	err := eachLine(b, "allowed signers", func(line string) error {
		s, ours, err := parseSigner(line)
		if err != nil || !ours {
			return err
		}
		if len(a.signers) == maxSigners {
			return fmt.Errorf("more than %d signers", maxSigners)
		}
		a.signers = append(a.signers, s)
		return nil
	})
	if err != nil {
		return Allowed{}, err
	}
	a.person = people(a.signers)
	return a, nil
}

// eachLine gives the lines that say something, and adds the number of one that
// is refused.
func eachLine(b []byte, what string, do func(line string) error) error {
	if len(b) > MaxList {
		return restart.Errorf(restart.CodeTooLarge, "the list of %s has more than %d bytes", what, MaxList)
	}
	n := 0
	for raw := range bytes.Lines(b) {
		n++
		line := strings.Trim(string(raw), " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := do(line); err != nil {
			e := restart.Errorf(restart.CodeInvalid, "line %d of the list of %s: %s", n, what, restart.Escape(err.Error()))
			if hinted, ok := errors.AsType[*restart.Error](err); ok && hinted.Hint != "" {
				e = restart.Errorf(restart.CodeInvalid, "line %d of the list of %s: %s", n, what, hinted.Message).WithHint("%s", hinted.Hint)
			}
			return e.Because(err)
		}
	}
	return nil
}

// parseSigner reads PRINCIPALS [OPTIONS] TYPE KEY [COMMENT].
func parseSigner(line string) (s Signer, ours bool, err error) {
	names, rest, err := word(line)
	if err != nil {
		return s, false, err
	}
	next, after, err := word(rest)
	if err != nil {
		return s, false, err
	}
	opts := options{}
	if !knownType(next) {
		if opts, err = parseOptions(next); err != nil {
			return s, false, err
		}
		rest = after
	}
	if opts.authority {
		return s, false, restart.Errorf(restart.CodeInvalid, "cert-authority is not supported").
			WithHint("list each reviewer's own key: who may sign is decided by this list alone")
	}
	if !opts.scenarios() {
		return s, false, nil
	}
	if s.Key, err = parseKey(rest); err != nil {
		return s, false, err
	}
	for name := range strings.SplitSeq(names, ",") {
		if err := CheckPrincipal(name); err != nil {
			return s, false, err
		}
		s.Principals = append(s.Principals, name)
	}
	s.ValidAfter, s.ValidBefore = opts.after, opts.before
	return s, true, nil
}

// word cuts off the first word of a line; quotes keep one together, and stay in
// it where it does not begin with one, as in namespaces="a b".
func word(line string) (first, rest string, err error) {
	line = strings.TrimLeft(line, " \t")
	if line == "" {
		return "", "", errors.New("it ends too early: PRINCIPALS [OPTIONS] TYPE KEY")
	}
	quoted, end := false, len(line)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quoted && i+1 < len(line) && line[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			end = i
		}
		if end < len(line) {
			break
		}
	}
	if quoted {
		return "", "", errors.New("a quote is not closed")
	}
	first, rest = line[:end], line[end:]
	if len(first) > 1 && first[0] == '"' && strings.IndexByte(first[1:], '"') == len(first)-2 {
		first = first[1 : len(first)-1]
	}
	return first, rest, nil
}

// types are the keys that count, and how they are called where they don't.
var types = map[string]bool{
	ssh.KeyAlgoED25519: true, ssh.KeyAlgoRSA: true, ssh.KeyAlgoECDSA256: true, ssh.KeyAlgoECDSA384: true, ssh.KeyAlgoECDSA521: true,
	ssh.KeyAlgoSKED25519: true, ssh.KeyAlgoSKECDSA256: true,
	"ssh-dss": false,
}

func knownType(s string) bool {
	_, known := types[s]
	return known || strings.Contains(s, "-cert-v0")
}

// parseKey reads TYPE KEY [COMMENT].
func parseKey(text string) (ssh.PublicKey, error) {
	kind, rest, err := word(text)
	if err != nil {
		return nil, err
	}
	encoded, _, err := word(rest)
	if err != nil {
		return nil, err
	}
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("the key is not base64")
	}
	if err := checkType(kind); err != nil {
		return nil, err
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("the key can't be read: %w", err)
	}
	if key.Type() != kind {
		return nil, fmt.Errorf("the key is one of type %s, and its line says %s", key.Type(), restart.Quote(kind))
	}
	return key, checkKey(key)
}

func checkType(kind string) error {
	switch good, known := types[kind]; {
	case strings.Contains(kind, "-cert-v0"):
		return restart.Errorf(restart.CodeInvalid, "%s is a certificate", restart.Quote(kind)).WithHint("list the key itself")
	case !known:
		return restart.Errorf(restart.CodeInvalid, "keys of type %s are not known", restart.Quote(kind)).WithHint("ed25519, ecdsa, rsa or one of a security key (sk-)")
	case !good:
		return restart.Errorf(restart.CodeInvalid, "keys of type %s are too weak", kind).WithHint("make another: ssh-keygen -t ed25519")
	}
	return nil
}

// checkKey refuses keys that are too weak to count.
func checkKey(key ssh.PublicKey) error {
	if err := checkType(key.Type()); err != nil {
		return err
	}
	if public, ok := key.(ssh.CryptoPublicKey); ok {
		if r, ok := public.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() < minRSA {
			return restart.Errorf(restart.CodeInvalid, "the RSA key has %d bits; at least %d count", r.N.BitLen(), minRSA).WithHint("make another: ssh-keygen -t ed25519")
		}
	}
	return nil
}

var principal = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9@._+-]{0,127}$`)

// CheckPrincipal accepts the name of one who signs: it is also a file's name.
func CheckPrincipal(name string) error {
	if !principal.MatchString(name) || strings.Contains(name, "..") {
		return restart.Errorf(restart.CodeInvalid, "%s is not the name of one person", restart.Quote(name)).
			WithHint("such as anna@example.com: letters, digits and @ . _ + -; patterns are not read")
	}
	return nil
}

// people gives for each signer the first one that is the same person: who
// shares a principal, in whatever case, or a key.
func people(signers []Signer) []int {
	of := make([]int, len(signers))
	first := map[string]int{}
	root := func(i int) int {
		for of[i] != i {
			i = of[i]
		}
		return i
	}
	for i, s := range signers {
		of[i] = i
		marks := []string{"key " + string(s.Key.Marshal())}
		for _, p := range s.Principals {
			marks = append(marks, "name "+strings.ToLower(p))
		}
		for _, m := range marks {
			j, seen := first[m]
			if !seen {
				first[m] = i
				continue
			}
			x, y := root(i), root(j)
			of[max(x, y)] = min(x, y)
		}
	}
	for i := range of {
		of[i] = root(i)
	}
	return of
}
