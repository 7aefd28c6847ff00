package api

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// none is the input of an operation that takes nothing.
type none struct{}

func (a *api) whoami(ctx context.Context, actor restart.Actor, _ *none) (restart.Actor, error) {
	return a.cfg.Control.Whoami(ctx, actor)
}

func (a *api) getInventory(ctx context.Context, actor restart.Actor, _ *none) (wire.InventoryState, error) {
	return a.cfg.Control.InventoryState(ctx, actor)
}

func (a *api) listServices(ctx context.Context, actor restart.Actor, _ *none) (wire.List[restart.Service], error) {
	s, err := a.cfg.Control.Inventory(ctx, actor)
	list := wire.ListOf(s.Services, "")
	list.FetchedAt, list.Stale = &s.FetchedAt, s.Stale
	return list, err
}

func (a *api) getService(ctx context.Context, actor restart.Actor, in *struct {
	Name string `path:"name"`
}) (restart.Service, error) {
	return a.cfg.Control.Service(ctx, actor, in.Name)
}

func (a *api) listGroups(ctx context.Context, actor restart.Actor, _ *none) (wire.List[restart.Group], error) {
	s, err := a.cfg.Control.Inventory(ctx, actor)
	list := wire.ListOf(s.Groups, "")
	list.FetchedAt, list.Stale = &s.FetchedAt, s.Stale
	return list, err
}

func (a *api) listHosts(ctx context.Context, actor restart.Actor, in *struct {
	Expr string `query:"expr" doc:"host expression, such as web[1-3],-web2 or %group@dc; empty: every host" maxLength:"4096"`
}) (wire.List[restart.Host], error) {
	hosts, err := a.cfg.Control.Hosts(ctx, actor, in.Expr)
	if err != nil {
		return wire.List[restart.Host]{}, err
	}
	list := wire.ListOf(hosts, "")
	s, err := a.cfg.Control.Inventory(ctx, actor)
	list.FetchedAt, list.Stale = &s.FetchedAt, s.Stale
	return list, err
}

func (a *api) checkHosts(ctx context.Context, actor restart.Actor, in *struct{ Body wire.HostCheckRequest }) (wire.List[wire.HostCheck], error) {
	checks, err := a.cfg.Control.CheckHosts(ctx, actor, in.Body.Hosts, in.Body.Service, in.Body.Environment)
	return wire.ListOf(checks, ""), err
}

func (a *api) discoverHosts(ctx context.Context, actor restart.Actor, in *struct{ Body wire.HostDiscoverRequest }) (wire.List[wire.HostDiscovery], error) {
	seen, err := a.cfg.Control.DiscoverHosts(ctx, actor, in.Body)
	return wire.ListOf(seen, ""), err
}

func (a *api) listScenarios(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.Scenario], error) {
	list, err := a.cfg.Control.Scenarios(ctx, actor)
	return wire.ListOf(list, ""), err
}

func (a *api) getScenario(ctx context.Context, actor restart.Actor, in *struct {
	Digest string `path:"digest"`
}) (wire.Scenario, error) {
	return a.cfg.Control.Scenario(ctx, actor, in.Digest)
}

func (a *api) listLocks(ctx context.Context, actor restart.Actor, _ *none) (wire.List[wire.Lock], error) {
	locks, err := a.cfg.Control.Locks(ctx, actor)
	return wire.ListOf(locks, ""), err
}

func (a *api) releaseLock(ctx context.Context, actor restart.Actor, in *struct {
	Run    string `path:"run" doc:"that holds the service, and is paused"`
	Reason string `query:"reason" doc:"why it is released; needed" maxLength:"2000"`
}) (wire.List[wire.Lock], error) {
	locks, err := a.cfg.Control.ReleaseLock(ctx, actor, in.Run, in.Reason)
	return wire.ListOf(locks, ""), err
}
