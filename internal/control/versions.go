package control

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/review"
	"github.com/restartilka/restartilka/internal/scenario/signing"
	"github.com/restartilka/restartilka/internal/wire"
)

// ReviewSigned tells whether this server lets through only what was signed.
func (c *Control) ReviewSigned() bool { return c.cfg.Review.Signed }

// ScenarioVersions lists the versions that the server knows, of one name or, by
// "", of all; by name, the highest serial first.
func (c *Control) ScenarioVersions(ctx context.Context, actor restart.Actor, name string) ([]wire.ScenarioVersion, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	s, err := c.versions(ctx)
	if err != nil {
		return nil, err
	}
	out := []wire.ScenarioVersion{}
	for _, j := range s.judged {
		if name == "" || j.Name == name {
			out = append(out, c.versionInfo(s, j, actor))
		}
	}
	if name != "" && len(out) == 0 {
		return nil, restart.Errorf(restart.CodeNotFound, "there is no scenario %s", restart.Quote(name)).WithHint("list them with: restartilka scenario list")
	}
	return out, nil
}

// ScenarioProblems lists the files of the folder that are not used, and why.
func (c *Control) ScenarioProblems(ctx context.Context, actor restart.Actor) ([]wire.ScenarioProblem, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	if _, err := c.versions(ctx); err != nil {
		return nil, err
	}
	problems := c.cfg.Scenarios.problems()
	if c.cfg.Review.Signed {
		c.library.mu.Lock()
		problems = slices.Clone(c.library.problems)
		c.library.mu.Unlock()
	}
	out := []wire.ScenarioProblem{}
	for _, p := range problems {
		out = append(out, wire.ScenarioProblem{File: restart.Escape(filepath.Base(p.Path)), Why: restart.Escape(p.Err.Error())})
	}
	return out, nil
}

// oneVersion gives a version as it stands now.
func (c *Control) oneVersion(ctx context.Context, digest string) (wire.ScenarioVersion, error) {
	s, err := c.versions(ctx)
	if err != nil {
		return wire.ScenarioVersion{}, err
	}
	j, ok := s.find(digest)
	if !ok {
		return wire.ScenarioVersion{}, restart.Errorf(restart.CodeNotFound, "there is no scenario version %s", restart.Quote(digest)).WithHint("list them with: restartilka scenario list --all")
	}
	return c.versionInfo(s, j, restart.Actor{}), nil
}

// ReviewScenario gives a version with its bytes, the one in force beside it,
// and a host to render it for: that of a service and host, or some.
func (c *Control) ReviewScenario(ctx context.Context, actor restart.Actor, digest, service, host string) (wire.ScenarioReview, error) {
	var none wire.ScenarioReview
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return none, err
	}
	if err := restart.CheckDigest(digest); err != nil {
		return none, err
	}
	s, err := c.versions(ctx)
	if err != nil {
		return none, err
	}
	j, ok := s.find(digest)
	if !ok {
		return none, restart.Errorf(restart.CodeNotFound, "there is no scenario version %s", digest).WithHint("list them with: restartilka scenario list --all")
	}
	out := wire.ScenarioReview{Version: c.wholeVersion(s, j, actor)}
	if now, ok := s.inForce(j.Name); ok {
		out.InForce = new(c.wholeVersion(s, now, actor))
	}
	out.Example, err = c.example(ctx, j.Scenario, service, host)
	return out, err
}

// wholeVersion is a version with its bytes and signatures.
func (c *Control) wholeVersion(s *state, j review.Judged, actor restart.Actor) wire.ScenarioVersion {
	v := c.versionInfo(s, j, actor)
	v.Body = string(j.Body)
	for i, sig := range j.Signatures {
		v.Signatures[i].Armored = string(sig.Armored)
	}
	if j.Standing == review.Waiting {
		v.Missing = signing.Missing(j.Author, j.Verdict, s.policy)
	}
	return v
}

func (c *Control) versionInfo(s *state, j review.Judged, actor restart.Actor) wire.ScenarioVersion {
	v := wire.ScenarioVersion{
		Name: j.Name, Serial: j.Serial, Digest: j.Digest, Author: j.Author, Source: j.Source, ProposedBy: j.ProposedBy, ProposedAt: j.ProposedAt,
		State: j.State, Standing: string(j.Standing), Why: restart.Escape(j.Why), ApprovedAt: orNull(j.ApprovedAt), Expires: orNull(j.Scenario.Expires),
		WithdrawnBy: j.WithdrawnBy, WithdrawnAt: orNull(j.WithdrawnAt), Reason: j.Reason, Good: len(j.Verdict.Good), Signatures: []wire.ScenarioSignature{},
	}
	if c.cfg.Review.Signed {
		v.Quorum = s.policy.Quorum
	}
	for _, sig := range j.Signatures {
		one := wire.ScenarioSignature{Principal: sig.Principal, Fingerprint: sig.Fingerprint, AddedBy: sig.AddedBy, AddedAt: sig.AddedAt}
		one.Counts = slices.Contains(j.Verdict.Good, signing.Seal{Principal: sig.Principal, Fingerprint: sig.Fingerprint})
		for _, f := range j.Verdict.Bad {
			if f.Principal == sig.Principal {
				one.Why = restart.Escape(f.Err.Error())
			}
		}
		v.Signatures = append(v.Signatures, one)
	}
	if j.Standing == review.Waiting && actor.Name != "" {
		v.Mine = slices.ContainsFunc(signing.Missing(j.Author, j.Verdict, s.policy), func(p string) bool { return IsPrincipal(actor.Name, p) })
	}
	return v
}

// MayWithdraw tells whether somebody may withdraw a version. Pages ask, to show
// nobody what would be refused.
func (c *Control) MayWithdraw(actor restart.Actor, v wire.ScenarioVersion) bool {
	return c.cfg.Review.Signed && v.State != restart.VersionWithdrawn && c.rights().Decide(actor, authz.Review, authz.Object{}).Allowed
}

// Coverage tells of every version in force how it would stand if a key, by its
// fingerprint, or a person were trusted no more.
func (c *Control) Coverage(ctx context.Context, actor restart.Actor, without string) ([]wire.ScenarioCoverage, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	if err := c.needSigned("keys play no part here"); err != nil {
		return nil, err
	}
	s, err := c.versions(ctx)
	if err != nil {
		return nil, err
	}
	covered, err := review.Without(s.judged, s.policy, s.revoked, without)
	if err != nil {
		return nil, err
	}
	out := []wire.ScenarioCoverage{}
	for _, v := range covered {
		out = append(out, wire.ScenarioCoverage{Name: v.Name, Serial: v.Serial, Digest: v.Digest, Quorum: v.Verdict.Quorum, Good: len(v.Verdict.Good), Left: v.Left, Loses: v.Loses})
	}
	return out, nil
}

// maxChoices bounds the services and hosts that an example offers.
const maxChoices = 200

// example chooses a service that a scenario fits, and a host of it. The ones
// that are asked for must be among those; "" is any.
func (c *Control) example(ctx context.Context, s restart.Scenario, service, host string) (wire.ScenarioExample, error) {
	out := wire.ScenarioExample{Services: []string{}, Hosts: []string{}}
	snapshot, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		return out, nil // a review needs no inventory
	}
	for _, candidate := range snapshot.Services {
		if s.Fits(candidate.Name) {
			out.Services = append(out.Services, candidate.Name)
		}
	}
	slices.Sort(out.Services)
	if service != "" && !slices.Contains(out.Services, service) {
		return out, restart.Errorf(restart.CodeInvalid, "scenario %s is for no service %s of the inventory", s.Name, restart.Quote(service))
	}
	if out.Service = service; service == "" && len(out.Services) > 0 {
		out.Service = out.Services[0]
	}
	out.Services = out.Services[:min(len(out.Services), maxChoices)]
	if out.Service == "" {
		return out, nil
	}
	for _, candidate := range snapshot.Services {
		if candidate.Name == out.Service {
			out.Package, out.Unit, out.Project = candidate.Package, candidate.Unit, candidate.Project
		}
	}
	for _, g := range snapshot.Groups {
		if !slices.Contains(g.Services, out.Service) {
			continue
		}
		for _, h := range g.Hosts {
			if (host == "" || h == host) && out.Host == "" {
				out.Host, out.Group, out.Environment = h, g.Name, g.Environment
				if g.Project != "" {
					out.Project = g.Project
				}
			}
			if len(out.Hosts) < maxChoices && !slices.Contains(out.Hosts, h) {
				out.Hosts = append(out.Hosts, h)
			}
		}
	}
	if host != "" && out.Host == "" {
		return out, restart.Errorf(restart.CodeInvalid, "service %s is on no host %s", out.Service, restart.Quote(host))
	}
	return out, nil
}
