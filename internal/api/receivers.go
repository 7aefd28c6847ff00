package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) listReceivers(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.Receiver], error) {
	list, _, err := a.cfg.Control.Receivers(ctx, actor)
	return wire.ListOf(list, ""), err
}

func (a *api) testReceiver(ctx context.Context, actor restart.Actor, in *struct {
	Name string `path:"name"`
}) (wire.ReceiverTest, error) {
	return a.cfg.Control.TestReceiver(ctx, actor, in.Name)
}
