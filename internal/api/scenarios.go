package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// maxProposal bounds the body of a push: a scenario of its greatest size, as
// JSON, with all the signatures that are looked at.
const maxProposal = 8 << 20

func (a *api) listVersions(ctx context.Context, actor restart.Actor, in *struct {
	Name string `query:"name" doc:"of this scenario only" maxLength:"64"`
}) (wire.List[wire.ScenarioVersion], error) {
	list, err := a.cfg.Control.ScenarioVersions(ctx, actor, in.Name)
	return wire.ListOf(list, ""), err
}

func (a *api) reviewVersion(ctx context.Context, actor restart.Actor, in *struct {
	Digest  string `path:"digest"`
	Service string `query:"service" doc:"to render it for; empty: the first that it fits" maxLength:"64"`
	Host    string `query:"host" doc:"to render it for; empty: the first of the service" maxLength:"253"`
}) (wire.ScenarioReview, error) {
	return a.cfg.Control.ReviewScenario(ctx, actor, in.Digest, in.Service, in.Host)
}

func (a *api) proposeVersion(ctx context.Context, actor restart.Actor, in *struct{ Body wire.ScenarioProposal }) (wire.ScenarioVersion, error) {
	return a.cfg.Control.Propose(ctx, actor, in.Body)
}

func (a *api) signVersion(ctx context.Context, actor restart.Actor, in *struct {
	Digest string `path:"digest"`
	Body   wire.SignatureRequest
}) (wire.ScenarioVersion, error) {
	return a.cfg.Control.SignScenario(ctx, actor, in.Digest, in.Body)
}

func (a *api) withdrawVersion(ctx context.Context, actor restart.Actor, in *struct {
	Digest string `path:"digest"`
	Body   wire.WithdrawRequest
}) (wire.ScenarioVersion, error) {
	return a.cfg.Control.WithdrawScenario(ctx, actor, in.Digest, in.Body.Reason)
}

func (a *api) coverage(ctx context.Context, actor restart.Actor, in *struct {
	Without string `query:"without" required:"true" doc:"fingerprint of a key, SHA256:…, or a principal" maxLength:"128"`
}) (wire.List[wire.ScenarioCoverage], error) {
	list, err := a.cfg.Control.Coverage(ctx, actor, in.Without)
	return wire.ListOf(list, ""), err
}

func (a *api) listScenarioProblems(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.ScenarioProblem], error) {
	list, err := a.cfg.Control.ScenarioProblems(ctx, actor)
	return wire.ListOf(list, ""), err
}
