package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// approvalOf is the input of an operation that decides about a waiting run.
type approvalOf struct {
	ID   string `path:"id"`
	Body wire.ApprovalRequest
}

// decideRun is an operation that approves or rejects.
func (*api) decideRun(
	ask func(ctx context.Context, actor restart.Actor, id string, req wire.ApprovalRequest) (restart.Run, error),
) func(context.Context, restart.Actor, *approvalOf) (restart.Run, error) {
	return func(ctx context.Context, actor restart.Actor, in *approvalOf) (restart.Run, error) {
		return ask(ctx, actor, in.ID, in.Body)
	}
}

func (a *api) listApprovals(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.AwaitingRun], error) {
	list, err := a.cfg.Control.Approvals(ctx, actor)
	return wire.ListOf(list, ""), err
}

func (a *api) getSteps(ctx context.Context, actor restart.Actor, in *struct {
	ID   string `path:"id"`
	Host string `query:"host" doc:"empty: the first that is touched" maxLength:"253"`
}) (wire.Steps, error) {
	return a.cfg.Control.Steps(ctx, actor, in.ID, in.Host)
}
