// Package review says which versions of scenarios are in force on a server that
// lets through only what was signed (review: signed), and what would be if a
// key were gone. It is pure: versions, policy and time in, standings out.
//
//	proposed ──quorum──► approved ──► in force: the highest serial of its name
//	    │                   │             │ that is approved, has its quorum still,
//	    └───────┬───────────┘             │ is neither withdrawn nor revoked
//	            ▼                         ▼
//	        withdrawn                  expired: then nothing of that name is
//
// A version that is withdrawn or revoked, or whose signers' keys are, gives way
// to the one below it. One that is over does not: a day that was set for a look
// at a scenario brings no older one back.
package review

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

// Standing is what a version is good for now.
type Standing string

// The standings.
const (
	InForce    Standing = "in_force"
	Waiting    Standing = "waiting"    // for signatures
	Superseded Standing = "superseded" // a higher serial is in force
	Expired    Standing = "expired"
	Lost       Standing = "lost" // it had its quorum, and has it no more
	Revoked    Standing = "revoked"
	Withdrawn  Standing = "withdrawn"
)

// Standings lists the standings there are.
func Standings() []Standing {
	return []Standing{InForce, Waiting, Superseded, Expired, Lost, Revoked, Withdrawn}
}

// Judged is a version with what it is worth.
type Judged struct {
	restart.ScenarioVersion
	Scenario restart.Scenario
	Verdict  signing.Verdict
	Standing Standing
	Why      string // one sentence; "" where there is nothing to add
}

// Judge gives each version its standing by the policy at its time. The result
// is by name, the highest serial first. The bytes of each version are needed.
func Judge(versions []restart.ScenarioVersion, p signing.Policy) []Judged {
	out := make([]Judged, 0, len(versions))
	for _, v := range versions {
		j := Judged{ScenarioVersion: v}
		var err error
		if j.Scenario, err = scenario.Parse(v.Body); err != nil {
			j.Standing, j.Why = Lost, "this program does not accept its text: "+err.Error()
		}
		j.Verdict = signing.Verify(v.Body, v.Author, Signatures(v), p)
		out = append(out, j)
	}
	slices.SortStableFunc(out, func(a, b Judged) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Serial, a.Serial), b.ApprovedAt.Compare(a.ApprovedAt), cmp.Compare(a.Digest, b.Digest))
	})
	for from := 0; from < len(out); {
		to := from + 1
		for to < len(out) && out[to].Name == out[from].Name {
			to++
		}
		settle(out[from:to], p)
		from = to
	}
	return out
}

// Signatures gives the signatures of a version as they are judged.
func Signatures(v restart.ScenarioVersion) []signing.Signature {
	out := make([]signing.Signature, 0, len(v.Signatures))
	for _, s := range v.Signatures {
		out = append(out, signing.Signature{Principal: s.Principal, Armored: s.Armored})
	}
	return out
}

// settle gives the versions of one name, the highest serial first, their standings.
func settle(versions []Judged, p signing.Policy) {
	var top *Judged // the one that is in force, or would be if its time were not over
	for i := range versions {
		v := &versions[i]
		v.stand(p)
		if v.Standing != InForce {
			continue
		}
		if top != nil {
			v.Standing, v.Why = Superseded, fmt.Sprintf("serial %d took its place", top.Serial)
			continue
		}
		top = v
		if v.Scenario.Expired(p.Now) {
			v.Standing, v.Why = Expired, "it may be used no more since the end of "+v.Scenario.LastDay()
		}
	}
	for i := range versions {
		if v := &versions[i]; top != nil && v.Standing == Waiting && v.Serial <= top.Serial {
			v.Standing, v.Why = Superseded, fmt.Sprintf("serial %d is ahead of it", top.Serial)
		}
	}
}

// stand is the standing of a version by itself, as if it were alone of its name.
func (j *Judged) stand(p signing.Policy) {
	switch {
	case j.State == restart.VersionWithdrawn:
		j.Standing, j.Why = Withdrawn, fmt.Sprintf("withdrawn by %s: %s", j.WithdrawnBy, j.Reason)
	case p.Revoked.Scenario(j.Digest):
		j.Standing, j.Why = Revoked, "the file of revocations names it"
	case j.Standing == Lost: // its text
	case j.State == restart.VersionApproved && j.Verdict.Enough():
		j.Standing = InForce
	case j.State == restart.VersionApproved:
		j.Standing, j.Why = Lost, fmt.Sprintf("%d of its %d needed signatures count now", len(j.Verdict.Good), j.Verdict.Quorum)
	default:
		j.Standing, j.Why = Waiting, fmt.Sprintf("signed by %d of %d", len(j.Verdict.Good), j.Verdict.Quorum)
	}
}

// Usable tells why a version may not be used, for a run that was planned with
// it: nil, or CodeNotReviewed. A newer one does not stand in its way. Undrain
// alone, which ends what was begun, may use one that was withdrawn since or is
// over.
func (j Judged) Usable(undrain bool) error {
	switch j.Standing {
	case InForce, Superseded:
		if j.State == restart.VersionApproved {
			return nil
		}
	case Withdrawn, Expired:
		if undrain && j.Verdict.Enough() {
			return nil
		}
	}
	why := j.Why
	if why == "" {
		why = string(j.Standing)
	}
	return restart.Errorf(restart.CodeNotReviewed, "scenario %s serial %d may not be used: %s", j.Name, j.Serial, restart.Escape(why)).
		WithHint("%s", hint(j.Standing))
}

func hint(s Standing) string {
	switch s {
	case Expired:
		return "have a version with a later day and a higher serial reviewed: restartilka scenario push FILE"
	case Waiting:
		return "have it signed: restartilka scenario approve"
	case Lost:
		return "have it signed by others: restartilka scenario approve"
	}
	return "ask for a new run, by the version that is in force: restartilka scenario list"
}

// Covered is a version in force, and how it would stand without a key.
type Covered struct {
	Judged
	Left  int  // signatures that would count
	Loses bool // it would be in force no more
}

// Without tells of every version in force how it would stand if a key or a
// person could not be trusted any more: revoked is the policy's file of
// revocations as it is, what a fingerprint, SHA256:…, or a principal.
// CodeInvalid where what is neither, CodeNotFound where no allowed signer is
// meant: "stays in force" would be no answer about somebody else.
func Without(judged []Judged, p signing.Policy, revoked []byte, what string) ([]Covered, error) {
	kind := "principal "
	if strings.HasPrefix(what, "SHA256:") {
		kind = "key "
	}
	more, err := signing.ParseRevoked([]byte(kind + what + "\n" + string(revoked)))
	if err != nil || strings.ContainsAny(what, " \t\r\n") {
		return nil, restart.Errorf(restart.CodeInvalid, "%s is neither a key nor a person", restart.Quote(what)).
			WithHint("SHA256:… as ssh-keygen -l -f KEY.pub prints it, or a principal of the allowed signers").Because(err)
	}
	if err := isSigner(p.Allowed, what); err != nil {
		return nil, err
	}
	p.Revoked = more
	var out []Covered
	for _, j := range judged {
		if j.Standing != InForce {
			continue
		}
		v := signing.Verify(j.Body, j.Author, Signatures(j.ScenarioVersion), p)
		out = append(out, Covered{Judged: j, Left: len(v.Good), Loses: !v.Enough()})
	}
	return out, nil
}

// isSigner refuses a key and a person that no line of the allowed signers has.
func isSigner(allowed signing.Allowed, what string) error {
	var known, principals []string
	for _, s := range allowed.Signers() {
		principals = append(principals, s.Principals...)
		known = append(append(known, s.Fingerprint()), s.Principals...)
	}
	if slices.ContainsFunc(known, func(k string) bool {
		return k == what || !strings.HasPrefix(k, "SHA256:") && strings.EqualFold(k, what)
	}) {
		return nil
	}
	err := restart.Errorf(restart.CodeNotFound, "%s is none of the allowed signers", restart.Quote(what))
	var near []string
	for _, principal := range principals {
		if local, _, _ := strings.Cut(principal, "@"); strings.EqualFold(local, what) {
			near = append(near, principal)
		}
	}
	if near = append(near, restart.Similar(what, principals)...); len(near) > 0 {
		return err.WithHint("did you mean %s?", near[0])
	}
	return err.WithHint("they are listed in the file of scenario_signers: in server.yaml")
}

// thresholds are how many days ahead of its end a version is warned of.
var thresholds = []int{3, 14, 30}

// Ahead gives the threshold that a version's end has come under: 30, 14 or 3
// days; 0 = it is further away, over, or there is none.
func Ahead(s restart.Scenario, now time.Time) int {
	if s.Expires.IsZero() || s.Expired(now) {
		return 0
	}
	for _, days := range thresholds {
		if s.Expires.Sub(now) <= time.Duration(days)*24*time.Hour {
			return days
		}
	}
	return 0
}
