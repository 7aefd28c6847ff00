package restart

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// ApprovalVerdict says how the wait for an approval has ended.
type ApprovalVerdict string

// The verdicts. Only the first two are another person's.
const (
	ApprovalPending   ApprovalVerdict = ""
	ApprovalGiven     ApprovalVerdict = "approved"
	ApprovalRefused   ApprovalVerdict = "rejected"
	ApprovalWithdrawn ApprovalVerdict = "withdrawn" // the request was taken back
	ApprovalExpired   ApprovalVerdict = "expired"   // nobody has decided in time
	ApprovalWaived    ApprovalVerdict = "waived"    // the glass was broken instead
)

// ApprovalVerdicts lists how a wait may end.
func ApprovalVerdicts() []ApprovalVerdict {
	return []ApprovalVerdict{ApprovalGiven, ApprovalRefused, ApprovalWithdrawn, ApprovalExpired, ApprovalWaived}
}

// Leads gives the state that a run which waits takes with a verdict; "" for
// what is no verdict.
func (v ApprovalVerdict) Leads() RunState {
	switch v {
	case ApprovalGiven, ApprovalWaived:
		return RunQueued
	case ApprovalRefused:
		return RunRejected
	case ApprovalWithdrawn, ApprovalExpired:
		return RunAborted
	}
	return ""
}

// Approval is what the rules have asked for before a run starts, and what became
// of it.
type Approval struct {
	Digest  string          `json:"digest"` // of the plan that it is for: see Plan.Frozen
	Rule    string          `json:"rule"`   // the line of the rules that asks for it
	AskedAt time.Time       `json:"asked_at"`
	Until   time.Time       `json:"until"` // by the database's clock
	Verdict ApprovalVerdict `json:"verdict,omitempty"`
	By      string          `json:"by,omitempty"` // whose verdict; "" of one that nobody gave
	At      *time.Time      `json:"at,omitempty"`
	Reason  string          `json:"reason,omitempty"` // his own words
}

// Good tells whether the approval lets a run of that plan start. None asked for
// is none missing.
func (a *Approval) Good(plan Plan) bool {
	return a == nil || a.Verdict.Leads() == RunQueued && a.Digest == plan.Frozen()
}

// CheckVerdict tells why a verdict can't be given at that time upon a plan of
// that digest; nil where it can.
func (a Approval) CheckVerdict(v ApprovalVerdict, requester, by, digest string, now time.Time) error {
	over := !now.Before(a.Until)
	switch {
	case a.Digest == "" || v.Leads() == "":
		return Errorf(CodeConflict, "%s is no verdict on this run", Quote(string(v)))
	case a.Verdict != ApprovalPending:
		return Errorf(CodeConflict, "the run is %s already", a.Verdict)
	case v == ApprovalExpired && !over:
		return Errorf(CodeConflict, "the time for an approval is not over")
	case v == ApprovalExpired:
		return nil
	case by == "":
		return Errorf(CodeForbidden, "nobody can't be who %s a run", v)
	case v == ApprovalWithdrawn:
		return nil
	case over:
		return Errorf(CodeConflict, "the time for an approval is over since %s", a.Until.UTC().Format("15:04:05 UTC")).WithHint("ask for the run anew")
	case digest != a.Digest:
		return Errorf(CodePlanChanged, "the plan is not the one that was shown").WithHint("ask for the run anew")
	case v != ApprovalWaived && SamePerson(requester, by):
		return Errorf(CodeForbidden, "%s may not decide about this run, which %s has asked for: another person approves or rejects it", by, requester).WithHint("to take it back: abort it")
	}
	return nil
}

// SamePerson tells whether two names are one person's, with whichever token he
// comes. Names that differ in case alone are taken for one.
func SamePerson(a, b string) bool { return strings.EqualFold(a, b) }

// CheckApproval tells why a run may not go from one state to another: into the
// wait for an approval and out of it only with what belongs to the step.
// asks: the change asks for one. v: it settles one. glass: it breaks the glass.
// A run that was planned for a time may have its approval before it is there.
func CheckApproval(from, to RunState, asks bool, v ApprovalVerdict, glass bool) error {
	var ok bool
	switch {
	case asks:
		ok = from == RunDraft && to == RunAwaitingApproval && !glass
	case v == ApprovalWaived && from == RunDraft:
		ok = to == RunQueued && glass
	case v == ApprovalGiven && from == RunDraft: // of what was planned for this time
		ok = to == RunQueued && !glass
	case v != ApprovalPending:
		ok = from == RunAwaitingApproval && to == v.Leads() && (v == ApprovalWaived) == glass
	default:
		ok = to != RunAwaitingApproval && (from != RunAwaitingApproval || to == "" && !glass)
	}
	if ok {
		return nil
	}
	return Errorf(CodeConflict, "a run that is %s can't become %s without what belongs to it: an approval asked for or decided", from, to)
}

// ApprovalBinds tells whether the rules can ask for an approval of a run. Not of
// an undrain alone: it ends a change that was let through before, takes nothing
// out of service, and who waits for it waits with hosts out of the balancer.
func ApprovalBinds(work Work) bool { return work != WorkUndrain }

// Frozen gives the digest of everything in the plan: what an approval is bound
// to. The same plan read back from the store gives the same.
func (p Plan) Frozen() string {
	b, err := json.Marshal(p)
	if err != nil {
		return "" // of no approval
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// ApprovedBy says who has approved the run, in his words, for records; "" where
// nobody has.
func (r Run) ApprovedBy() string {
	switch a := r.Approval; {
	case a == nil:
		return ""
	case a.Verdict == ApprovalGiven:
		return "approved by " + a.By + ": " + a.Reason
	case a.Verdict == ApprovalWaived:
		return "approval waived by " + a.By
	}
	return ""
}
