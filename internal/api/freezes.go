package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) listFreezes(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.Freeze], error) {
	list, err := a.cfg.Control.Freezes(ctx, actor)
	return wire.ListOf(list, ""), err
}

func (a *api) addFreeze(ctx context.Context, actor restart.Actor, in *struct{ Body wire.FreezeRequest }) (wire.Freeze, error) {
	return a.cfg.Control.AddFreeze(ctx, actor, in.Body)
}

func (a *api) removeFreeze(ctx context.Context, actor restart.Actor, in *struct {
	ID     string `path:"id"`
	Reason string `query:"reason" doc:"why it is lifted; needed" maxLength:"2000"`
}) error {
	return a.cfg.Control.RemoveFreeze(ctx, actor, in.ID, in.Reason)
}

func (a *api) listBrokenGlass(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.BrokenGlass], error) {
	list, err := a.cfg.Control.Unreviewed(ctx, actor)
	return wire.ListOf(list, ""), err
}

func (a *api) reviewBrokenGlass(ctx context.Context, actor restart.Actor, in *struct {
	Run  string `path:"run"`
	Body wire.ReviewRequest
}) (wire.BrokenGlass, error) {
	return a.cfg.Control.ReviewGlass(ctx, actor, in.Run, in.Body.Note)
}
