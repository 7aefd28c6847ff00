package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Propose keeps a version that somebody has pushed, with the signatures that
// came with it: all of them count, or nothing is kept. The same bytes again add
// their signatures to the version that is there.
func (c *Control) Propose(ctx context.Context, actor restart.Actor, req wire.ScenarioProposal) (wire.ScenarioVersion, error) {
	rec := c.record(actor, audit.ScenarioProposed)
	v, err := c.propose(ctx, actor, &rec, req)
	if err != nil {
		return wire.ScenarioVersion{}, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return c.oneVersion(ctx, v.Digest)
}

// Unreadable records a request of a review that could not even be read: it was
// too large, or no such request at all.
func (c *Control) Unreadable(ctx context.Context, actor restart.Actor, action audit.Action, why error) {
	if err := c.refused(ctx, c.record(actor, action), why); restart.CodeOf(err) == restart.CodeInternal {
		c.cfg.Logger.ErrorContext(ctx, "record a refusal", "actor", actor.Name, "error", err)
	}
}

func (c *Control) propose(ctx context.Context, actor restart.Actor, rec *audit.Record, req wire.ScenarioProposal) (restart.ScenarioVersion, error) {
	var none restart.ScenarioVersion
	if err := c.mayPropose(actor); err != nil {
		return none, err
	}
	if err := c.needSigned("take the file into the folder by your configuration management, after its merge review"); err != nil {
		return none, err
	}
	if len(req.Body) > protocol.MaxLaidBody {
		return none, restart.Errorf(restart.CodeTooLarge, "the scenario has %d bytes; at most %d can be laid on a host", len(req.Body), protocol.MaxLaidBody)
	}
	if len(req.Signatures) > signing.MaxSignatures {
		return none, restart.Errorf(restart.CodeTooLarge, "%d signatures came with it; at most %d are looked at", len(req.Signatures), signing.MaxSignatures)
	}
	body := []byte(req.Body)
	rec.ScenarioDigest = scenario.Digest(body)
	s, err := scenario.Parse(body)
	if err != nil {
		return none, err
	}
	rec.Detail = fmt.Sprintf("%s serial %d by %s", s.Name, s.Serial, s.Author)
	p, _, err := c.policy()
	if err != nil {
		return none, err
	}
	known, err := c.cfg.Store.Versions(ctx, store.VersionFilter{Name: s.Name, Bodies: true})
	if err != nil {
		return none, err
	}
	v := versionOf(s, body, restart.SourcePush, actor, c.now())
	if i := slices.IndexFunc(known, func(k restart.ScenarioVersion) bool { return k.Digest == v.Digest }); i >= 0 {
		if v = known[i]; v.State == restart.VersionWithdrawn {
			return none, restart.Errorf(restart.CodeConflict, "these bytes were withdrawn by %s: %s", v.WithdrawnBy, v.Reason).WithHint("a withdrawn version never comes back: raise the serial")
		}
	} else if err := c.mayAdd(ctx, actor); err != nil {
		return none, err
	} else if err := mayFollow(v, known, p); err != nil {
		return none, err
	}
	return v, c.keepProposal(ctx, actor, *rec, v, req.Signatures, p)
}

// mostProposals is how many versions of one person may wait for a review.
const mostProposals = 20

// mayAdd bounds how much somebody can make others keep and judge.
func (c *Control) mayAdd(ctx context.Context, actor restart.Actor) error {
	all, err := c.cfg.Store.Versions(ctx, store.VersionFilter{})
	if err != nil {
		return err
	}
	approved := map[string]int{} // the highest serial
	for _, v := range all {
		if v.State == restart.VersionApproved {
			approved[v.Name] = max(approved[v.Name], v.Serial)
		}
	}
	waiting := 0
	for _, v := range all {
		if v.State == restart.VersionProposed && v.ProposedBy == actor.Name && v.Serial > approved[v.Name] {
			waiting++
		}
	}
	if waiting < mostProposals {
		return nil
	}
	return restart.Errorf(restart.CodeTooMany, "%d versions that %s has pushed wait for a review; at most %d may", waiting, actor.Name, mostProposals).
		WithHint("have them reviewed, or withdrawn by a reviewer: restartilka scenario list --waiting")
}

// keepProposal stores a version that may be proposed, with its signatures.
func (c *Control) keepProposal(ctx context.Context, actor restart.Actor, rec audit.Record, v restart.ScenarioVersion, came []wire.SignatureRequest, p signing.Policy) error {
	before := len(v.Signatures)
	records := []audit.Record{rec}
	for _, req := range came {
		sig := signing.Signature{Principal: req.Principal, Armored: []byte(req.Armored)}
		seal, _, err := fits(v, sig, p)
		if errors.Is(err, errSignedBefore) {
			continue
		}
		if err != nil {
			return err
		}
		one := restart.ScenarioSignature{Principal: sig.Principal, Fingerprint: seal.Fingerprint, Armored: sig.Armored, AddedBy: actor.Name, AddedAt: rec.Time}
		v.Signatures = append(v.Signatures, one)
		records = append(records, c.signedRecord(actor, v, one))
	}
	fresh := v.Signatures[before:]
	if _, err := c.cfg.Store.AddVersion(ctx, withSignatures(v, nil), records[0]); err != nil {
		return err
	}
	for i, one := range fresh {
		if err := c.cfg.Store.AddSignature(ctx, v.Digest, one, "", records[i+1]); err != nil && restart.CodeOf(err) != restart.CodeConflict {
			return err
		}
	}
	return c.approveIfEnough(ctx, actor, v, p)
}

func withSignatures(v restart.ScenarioVersion, sigs []restart.ScenarioSignature) restart.ScenarioVersion {
	v.Signatures = sigs
	return v
}

func (c *Control) signedRecord(actor restart.Actor, v restart.ScenarioVersion, sig restart.ScenarioSignature) audit.Record {
	rec := c.record(actor, audit.ScenarioSigned)
	rec.ScenarioDigest, rec.Detail = v.Digest, fmt.Sprintf("%s serial %d: %s with %s", v.Name, v.Serial, sig.Principal, sig.Fingerprint)
	return rec
}

// approveIfEnough notes that a version has its quorum, in the name of who has
// brought the last signature.
func (c *Control) approveIfEnough(ctx context.Context, actor restart.Actor, v restart.ScenarioVersion, p signing.Policy) error {
	if v.State != restart.VersionProposed || !verify(v, p).Enough() {
		return nil
	}
	_, err := c.approve(ctx, c.record(actor, audit.ScenarioApproved), v)
	return err
}

// mayPropose lets developers, reviewers and admins push: a proposal is no more
// than a request to look.
func (c *Control) mayPropose(actor restart.Actor) error {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return err
	}
	if actor.Has(restart.RoleDeveloper) || c.rights().Decide(actor, authz.Review, authz.Object{}).Allowed {
		return nil
	}
	return restart.Errorf(restart.CodeForbidden, "%s may not propose scenarios: it needs the role developer or reviewer", actor.Name).WithHint("ask an admin for one of them")
}

// needSigned refuses what makes no sense where the folder is in force.
func (c *Control) needSigned(instead string) error {
	if c.cfg.Review.Signed {
		return nil
	}
	return restart.Errorf(restart.CodeConflict, "on this server what lies in its folder of scenarios is in force (review: files)").
		WithHint("%s; or have whoever runs the server set review: signed", instead)
}

// mayFollow refuses a version that could not come into force any more, among
// those of its name that are known. A serial is taken by a version that was
// approved once, and by what its own proposer, or the folder, has waiting: a
// proposal of somebody else's takes none, so that nobody can keep others out by
// proposing first, or high.
func mayFollow(v restart.ScenarioVersion, known []restart.ScenarioVersion, p signing.Policy) error {
	if p.Revoked.Scenario(v.Digest) {
		return restart.Errorf(restart.CodeNotReviewed, "the file of revocations names version %s", v.Digest).WithHint("change what was wrong with it, and raise the serial")
	}
	highest, taken := 0, 0 // of those that are approved; of those that take their serial
	same := false
	for _, k := range known {
		own := k.State == restart.VersionProposed && (k.ProposedBy == v.ProposedBy || k.Source == restart.SourceFolder)
		if k.ApprovedAt.IsZero() && !own {
			continue
		}
		taken = max(taken, k.Serial)
		same = same || k.Serial == v.Serial && k.Digest != v.Digest
		if k.State == restart.VersionApproved {
			highest = max(highest, k.Serial)
		}
	}
	if same {
		return restart.Errorf(restart.CodeConflict, "%s serial %d is there already, with other bytes", v.Name, v.Serial).
			WithHint("a version never changes: raise the serial (to %d or more), and propose it again", taken+1)
	}
	if v.Serial <= highest {
		return restart.Errorf(restart.CodeConflict, "%s has serial %d, and serial %d is approved already", v.Name, v.Serial, highest).
			WithHint("hosts never go back: raise the serial to %d or more", taken+1)
	}
	return nil
}

// errSignedBefore is the cause of a refusal of a signature that is there
// already, by the same key.
var errSignedBefore = errors.New("signed before")

// fits tells whether a signature would count under a version beside those that
// are there. replaces is the fingerprint of the same principal's earlier key,
// which does not count any more.
func fits(v restart.ScenarioVersion, sig signing.Signature, p signing.Policy) (seal signing.Seal, replaces string, err error) {
	if seal, err = signing.Check(v.Body, sig, p); err != nil {
		return seal, "", err
	}
	others := slices.Clone(v.Signatures)
	if i := slices.IndexFunc(others, func(s restart.ScenarioSignature) bool { return s.Principal == sig.Principal }); i >= 0 {
		if others[i].Fingerprint == seal.Fingerprint {
			return seal, "", restart.Errorf(restart.CodeConflict, "%s has signed this version already", sig.Principal).
				WithHint("it needs others: restartilka scenario list --waiting shows who has signed").Because(errSignedBefore)
		}
		stands := slices.ContainsFunc(verify(v, p).Good, func(s signing.Seal) bool { return s.Principal == sig.Principal })
		if stands {
			return seal, "", restart.Errorf(restart.CodeConflict, "%s has signed this version already, with another key", sig.Principal).WithHint("one person counts once; it needs others")
		}
		replaces = others[i].Fingerprint
		others = slices.Delete(others, i, i+1)
	}
	if len(others) >= signing.MaxSignatures {
		return seal, "", restart.Errorf(restart.CodeTooLarge, "the version has %d signatures already", len(others))
	}
	one := restart.ScenarioSignature{Principal: sig.Principal, Fingerprint: seal.Fingerprint, Armored: sig.Armored}
	verdict := verify(withSignatures(v, append(others, one)), p)
	if slices.Contains(verdict.Good, seal) {
		return seal, replaces, nil
	}
	why := "it does not count"
	for _, f := range verdict.Bad {
		if f.Principal == sig.Principal {
			why = f.Err.Error()
		}
	}
	return seal, "", restart.Errorf(restart.CodeBadSignature, "the signature of %s does not count: %s", restart.Quote(sig.Principal), restart.Escape(why))
}

func verify(v restart.ScenarioVersion, p signing.Policy) signing.Verdict {
	sigs := make([]signing.Signature, 0, len(v.Signatures))
	for _, s := range v.Signatures {
		sigs = append(sigs, signing.Signature{Principal: s.Principal, Armored: s.Armored})
	}
	return signing.Verify(v.Body, v.Author, sigs, p)
}

// SignScenario lays somebody's own signature beside a version. The signature is
// the proof; who sends it must be its signer all the same, so that the trail
// names who has read it.
func (c *Control) SignScenario(ctx context.Context, actor restart.Actor, digest string, req wire.SignatureRequest) (wire.ScenarioVersion, error) {
	rec := c.record(actor, audit.ScenarioSigned)
	rec.ScenarioDigest, rec.Detail = clip(digest), clip(req.Principal)
	if err := c.addSignature(ctx, actor, digest, req); err != nil {
		return wire.ScenarioVersion{}, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return c.oneVersion(ctx, digest)
}

func (c *Control) addSignature(ctx context.Context, actor restart.Actor, digest string, req wire.SignatureRequest) error {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return err
	}
	if err := c.needSigned("sign in the merge review of your repository"); err != nil {
		return err
	}
	v, err := c.stored(ctx, digest)
	if err != nil {
		return err
	}
	if v.State == restart.VersionWithdrawn {
		return restart.Errorf(restart.CodeConflict, "this version was withdrawn by %s: %s", v.WithdrawnBy, v.Reason).WithHint("nobody needs to sign it any more")
	}
	if !IsPrincipal(actor.Name, req.Principal) {
		return restart.Errorf(restart.CodeForbidden, "%s is signed in, and the signature is of %s", actor.Name, restart.Quote(req.Principal)).
			WithHint("everybody sends his own signature; those of others come with the files: restartilka scenario push")
	}
	p, _, err := c.policy()
	if err != nil {
		return err
	}
	seal, replaces, err := fits(v, signing.Signature{Principal: req.Principal, Armored: []byte(req.Armored)}, p)
	if err != nil {
		return err
	}
	one := restart.ScenarioSignature{Principal: req.Principal, Fingerprint: seal.Fingerprint, Armored: []byte(req.Armored), AddedBy: actor.Name, AddedAt: c.now()}
	if err := c.cfg.Store.AddSignature(ctx, digest, one, replaces, c.signedRecord(actor, v, one)); err != nil {
		return err
	}
	v.Signatures = slices.DeleteFunc(v.Signatures, func(s restart.ScenarioSignature) bool { return s.Principal == one.Principal })
	v.Signatures = append(v.Signatures, one)
	return c.approveIfEnough(ctx, actor, v, p)
}

// IsPrincipal tells whether somebody who is signed in under a name is the
// principal of an allowed signer: the same name, or the same before the @.
func IsPrincipal(name, principal string) bool {
	if name == "" {
		return false
	}
	local, _, _ := strings.Cut(principal, "@")
	return strings.EqualFold(name, principal) || strings.EqualFold(name, local)
}

// stored gives a version with its bytes.
func (c *Control) stored(ctx context.Context, digest string) (restart.ScenarioVersion, error) {
	if err := restart.CheckDigest(digest); err != nil {
		return restart.ScenarioVersion{}, err
	}
	list, err := c.cfg.Store.Versions(ctx, store.VersionFilter{Digest: digest, Bodies: true})
	if err != nil {
		return restart.ScenarioVersion{}, err
	}
	if len(list) == 0 {
		return restart.ScenarioVersion{}, restart.Errorf(restart.CodeNotFound, "there is no scenario version %s", digest).WithHint("list them with: restartilka scenario list --all")
	}
	return list[0], nil
}

// WithdrawScenario ends a version for ever: no plan is made with it, and a run
// that has it stops before its next host.
func (c *Control) WithdrawScenario(ctx context.Context, actor restart.Actor, digest, reason string) (wire.ScenarioVersion, error) {
	rec := c.record(actor, audit.ScenarioWithdrawn)
	rec.ScenarioDigest, rec.Reason = clip(digest), clip(reason)
	err := c.requireNow(actor, authz.Review)
	if err == nil {
		err = c.needSigned("take the file away from the hosts and from the folder")
	}
	if err == nil {
		reason, err = restart.CheckReason(reason)
	}
	var v restart.ScenarioVersion
	if err == nil {
		v, err = c.stored(ctx, digest)
	}
	if err == nil {
		rec.Reason, rec.Detail = reason, fmt.Sprintf("%s serial %d", v.Name, v.Serial)
		err = c.cfg.Store.WithdrawVersion(ctx, digest, actor.Name, reason, c.now(), rec)
	}
	if err != nil {
		return wire.ScenarioVersion{}, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return c.oneVersion(ctx, digest)
}
