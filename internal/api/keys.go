package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) listKeys(ctx context.Context, actor restart.Actor, in *struct {
	All   bool   `query:"all" doc:"everybody's"`
	After string `query:"after" doc:"the next of the page before" maxLength:"26"`
}) (wire.List[wire.Key], error) {
	keys, next, err := a.cfg.Control.Keys(ctx, actor, in.All, in.After)
	return wire.ListOf(keys, next), err
}

func (a *api) addKey(ctx context.Context, actor restart.Actor, in *struct{ Body wire.KeyRequest }) (wire.Key, error) {
	return a.cfg.Control.AddKey(ctx, actor, in.Body)
}

func (a *api) removeKey(ctx context.Context, actor restart.Actor, in *struct {
	ID string `path:"id"`
}) error {
	return a.cfg.Control.RemoveKey(ctx, actor, in.ID)
}
