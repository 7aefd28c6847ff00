package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/internal/wire"
)

// lists are the reviewers whom somebody trusts here, whatever a server says.
type lists struct {
	signers, revoked string // files; "" = none
	quorum           int
}

func (l *lists) flags(cmd *cobra.Command, signers string) {
	flags := cmd.Flags()
	flags.StringVar(&l.signers, "signers", "", signers)
	flags.StringVar(&l.revoked, "revoked", "", "file of revocations")
	flags.IntVar(&l.quorum, "quorum", 2, "how many people must have signed, beside the author")
}

// policy reads the files. Without signers there is none.
func (l *lists) policy() (signing.Policy, error) {
	switch {
	case l.quorum < 1:
		return signing.Policy{}, usage(errors.New("--quorum is 1 or more"))
	case l.signers == "" && l.revoked != "":
		return signing.Policy{}, usage(errors.New("--revoked says nothing without --signers"))
	case l.signers == "":
		return signing.Policy{}, nil
	}
	return readPolicy(l.signers, l.revoked, l.quorum)
}

// inForce says against what a reviewer reads a version: the server's word for
// what is in force, or, where there are signers, what their signatures prove. A
// version in force that they do not prove is CodeBadSignature: the differences
// to it could hide anything.
func (l *lists) inForce(name string, v *wire.ScenarioVersion, p signing.Policy) (against string, err error) {
	switch {
	case v == nil && l.signers != "":
		return "The server says that no version of it is in force, which nobody can prove: read all of it, it counts as new.", nil
	case v == nil:
		return "No version of it is in force: all of it is new.", nil
	case l.signers == "":
		return fmt.Sprintf("Against serial %d, which the server says is in force (%s); read the whole text, not the differences alone:", v.Serial, v.Digest), nil
	}
	lie := func(format string, args ...any) *restart.Error {
		return restart.Errorf(restart.CodeBadSignature, format, args...).
			WithHint("sign nothing before that is explained; if %s is not up to date, fetch it from where your company keeps it", l.signers)
	}
	body := []byte(v.Body)
	s, err := scenario.Parse(body)
	switch {
	case err != nil:
		return "", lie("the server has sent no scenario as the version of %s in force", name).Because(err)
	case s.Name != name:
		return "", lie("the server has sent a version of %s as the one of %s in force", restart.Quote(s.Name), name)
	}
	var sigs []signing.Signature
	for _, sig := range v.Signatures {
		sigs = append(sigs, signing.Signature{Principal: sig.Principal, Armored: []byte(sig.Armored)})
	}
	verdict := signing.Verify(body, s.Author, sigs, p)
	if !verdict.Enough() {
		return "", lie("the server says that %s serial %d is in force, and by %s %d of %d needed signatures of it count", name, s.Serial, l.signers, len(verdict.Good), verdict.Quorum)
	}
	var by []string
	for _, g := range verdict.Good {
		by = append(by, restart.Escape(g.Principal)+" with "+g.Fingerprint)
	}
	return fmt.Sprintf("Against serial %d (%s), signed by %s; that it is the last one is the server's word:", s.Serial, scenario.Digest(body), strings.Join(by, ", ")), nil
}
