package signing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// MaxSignature bounds one signature, in bytes of its armored form.
	MaxSignature = 16 << 10
	// MaxSignatures bounds how many are looked at under one scenario.
	MaxSignatures = 64
)

// Signature is one file of NAME.yaml.sigs.
type Signature struct {
	Principal string // who says that he has signed
	Armored   []byte
}

// Policy is by what signatures are judged.
type Policy struct {
	Allowed Allowed
	Revoked Revoked
	Quorum  int // at least 1; less counts as 1
	Now     time.Time
}

// Seal is a signature that was found good.
type Seal struct {
	Principal   string `json:"principal"`
	Fingerprint string `json:"fingerprint"` // SHA256:…
}

// Fault is a signature that does not count, and why.
type Fault struct {
	Principal string
	Err       error
}

// Verdict is what the signatures under one scenario are worth.
type Verdict struct {
	Good   []Seal // one a person
	Bad    []Fault
	Quorum int
}

// Enough tells whether a quorum has signed.
func (v Verdict) Enough() bool { return v.Quorum >= 1 && len(v.Good) >= v.Quorum }

// Err is nil where a quorum has signed, and otherwise the sentence that says
// what is missing: CodeNotReviewed.
func (v Verdict) Err() error {
	if v.Enough() {
		return nil
	}
	e := restart.Errorf(restart.CodeNotReviewed, "it is signed by %d of the %d people that are needed beside its author", len(v.Good), v.Quorum)
	if len(v.Bad) == 0 {
		return e.WithHint("have it reviewed and signed: restartilka scenario approve")
	}
	var why []string
	for _, f := range v.Bad[:min(len(v.Bad), 5)] {
		why = append(why, restart.Quote(f.Principal)+": "+restart.Escape(f.Err.Error()))
	}
	return e.WithHint("not counted: %s", strings.Join(why, "; "))
}

// Verify counts the people who have signed a scenario: distinct ones, with
// distinct keys, its author not among them. A version that was revoked has no
// good signature.
func Verify(body []byte, author string, sigs []Signature, p Policy) Verdict {
	v := Verdict{Quorum: max(p.Quorum, 1)}
	if len(sigs) > MaxSignatures {
		v.Bad = append(v.Bad, Fault{"", fmt.Errorf("there are %d signatures; at most %d are looked at", len(sigs), MaxSignatures)})
		return v
	}
	sum := sha256.Sum256(body)
	withdrawn := p.Revoked.Scenario(hex.EncodeToString(sum[:]))
	signed := map[int]string{}
	for _, sig := range sigs {
		seal, who, err := check(body, sig, p)
		switch {
		case err != nil:
		case withdrawn:
			err = errors.New("this version of the scenario was revoked")
		case p.Allowed.wrote(author, who):
			err = errors.New("the author of the scenario does not count")
		case signed[who] != "":
			err = fmt.Errorf("the same person has signed already, as %s", signed[who])
		default:
			signed[who] = seal.Principal
			v.Good = append(v.Good, seal)
			continue
		}
		v.Bad = append(v.Bad, Fault{sig.Principal, err})
	}
	return v
}

// Check judges one signature: its form, namespace and key, who it is of, and
// whether it is over these bytes. CodeBadSignature.
func Check(body []byte, sig Signature, p Policy) (Seal, error) {
	seal, _, err := check(body, sig, p)
	if err != nil {
		return Seal{}, restart.Errorf(restart.CodeBadSignature, "the signature of %s does not count: %s", restart.Quote(sig.Principal), restart.Escape(err.Error())).Because(err)
	}
	return seal, nil
}

// check is Check, and gives the person who has signed, as Allowed numbers them.
func check(body []byte, sig Signature, p Policy) (seal Seal, who int, err error) {
	if err := CheckPrincipal(sig.Principal); err != nil {
		return seal, 0, err
	}
	s, err := decode(sig.Armored)
	if err != nil {
		return seal, 0, err
	}
	if s.Namespace != Namespace {
		return seal, 0, fmt.Errorf("it was made for the namespace %s, not for %s", restart.Quote(s.Namespace), Namespace)
	}
	signer, who, err := p.Allowed.find(sig.Principal, s.PublicKey, p.Now)
	if err != nil {
		return seal, 0, err
	}
	if err := p.Revoked.signer(signer.Key, p.Allowed.names(who)); err != nil {
		return seal, 0, err
	}
	if err := sshsig.Verify(bytes.NewReader(body), s, signer.Key, s.HashAlgorithm, Namespace); err != nil {
		return seal, 0, fmt.Errorf("it is not over these bytes, or damaged (%w)", err)
	}
	return Seal{Principal: sig.Principal, Fingerprint: signer.Fingerprint()}, who, nil
}

// decode reads one armored signature, and nothing beside it.
func decode(armored []byte) (*sshsig.Signature, error) {
	if len(armored) > MaxSignature {
		return nil, fmt.Errorf("it has more than %d bytes", MaxSignature)
	}
	text := bytes.TrimSpace(armored)
	if !bytes.HasPrefix(text, []byte("-----BEGIN "+sshsig.PEMType+"-----")) {
		return nil, errors.New("it is not an SSH signature")
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 {
		return nil, errors.New("it is damaged or cut short")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("something follows it: one file holds one signature")
	}
	s, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it can't be read: %w", err)
	}
	if err := checkKey(s.PublicKey); err != nil {
		return nil, err
	}
	if len(s.Signature.Rest) > 0 && !strings.HasPrefix(s.PublicKey.Type(), "sk-") {
		return nil, errors.New("it is followed by other data")
	}
	return s, nil
}

// find gives the line by which a key is good for a principal now.
func (a Allowed) find(name string, key ssh.PublicKey, now time.Time) (Signer, int, error) {
	blob := key.Marshal()
	err := fmt.Errorf("key %s is not among those that may sign here", ssh.FingerprintSHA256(key))
	for i, s := range a.signers {
		if !bytes.Equal(s.Key.Marshal(), blob) {
			continue
		}
		switch {
		case !slices.Contains(s.Principals, name):
			err = fmt.Errorf("key %s is one of %s", s.Fingerprint(), strings.Join(s.Principals, ", "))
		case !s.ValidAfter.IsZero() && now.Before(s.ValidAfter):
			err = fmt.Errorf("key %s is valid from %s on", s.Fingerprint(), s.ValidAfter.UTC().Format(time.RFC3339))
		case !s.ValidBefore.IsZero() && now.After(s.ValidBefore):
			err = fmt.Errorf("key %s was valid until %s", s.Fingerprint(), s.ValidBefore.UTC().Format(time.RFC3339))
		default:
			return s, a.person[i], nil
		}
	}
	return Signer{}, 0, err
}

// Unfit says why a line's key does not count now; "" = it does.
func (p Policy) Unfit(s Signer) string {
	if _, who, err := p.Allowed.find(s.Principals[0], s.Key, p.Now); err != nil {
		return err.Error()
	} else if err := p.Revoked.signer(s.Key, p.Allowed.names(who)); err != nil {
		return err.Error()
	}
	return ""
}

// names gives all principals of a person.
func (a Allowed) names(who int) []string {
	var out []string
	for i, s := range a.signers {
		if a.person[i] == who {
			out = append(out, s.Principals...)
		}
	}
	return out
}

// wrote tells whether a person is the author, or one of several: author: names
// each by a principal, with or without a mail address in angle brackets, or by
// the name that he signs in by, which is what stands before the @.
func (a Allowed) wrote(author string, who int) bool {
	is := strings.FieldsFunc(author, func(r rune) bool { return strings.ContainsRune(" \t,;<>()\"'/&", r) }) // of several authors, or with a remark
	is = append(is, strings.TrimSpace(author))
	if name, mail, ok := strings.Cut(author, "<"); ok {
		mail, _, _ = strings.Cut(mail, ">")
		is = append(is, strings.TrimSpace(name), strings.TrimSpace(mail))
	}
	return slices.ContainsFunc(a.names(who), func(principal string) bool {
		return slices.ContainsFunc(is, func(s string) bool { return strings.EqualFold(s, principal) }) ||
			slices.ContainsFunc(loginNames(author), func(s string) bool { return sameLogin(s, principal) })
	})
}

// loginNames gives those of several authors who are one word or one address:
// the first name in "Anna Petrova" says nothing of anna@example.com.
func loginNames(author string) []string {
	var out []string
	for _, one := range strings.FieldsFunc(author, func(r rune) bool { return strings.ContainsRune(",;/&", r) }) {
		one, _, _ = strings.Cut(one, "(")
		if _, mail, ok := strings.Cut(one, "<"); ok {
			one, _, _ = strings.Cut(mail, ">")
		}
		if one = strings.TrimSpace(one); one != "" && !strings.ContainsAny(one, " \t") {
			out = append(out, one)
		}
	}
	return out
}

// sameLogin tells whether one of two names is what stands before the @ of the
// other. Two addresses of different domains are two people.
func sameLogin(a, b string) bool {
	localA, _, mailA := strings.Cut(a, "@")
	localB, _, mailB := strings.Cut(b, "@")
	return mailA != mailB && strings.EqualFold(localA, localB)
}
