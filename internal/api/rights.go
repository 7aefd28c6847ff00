package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) whoCan(ctx context.Context, actor restart.Actor, in *struct{ wire.WhoCanQuery }) (wire.List[wire.WhoCan], error) {
	list, next, err := a.cfg.Control.WhoCan(ctx, actor, in.WhoCanQuery)
	return wire.ListOf(list, next), err
}

func (a *api) why(ctx context.Context, actor restart.Actor, in *struct{ wire.WhyQuery }) (wire.Why, error) {
	return a.cfg.Control.Why(ctx, actor, in.WhyQuery)
}
