package control

import (
	"cmp"
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// InventoryState tells how the inventory and each of its sources is. Sources
// that can't be read are no error: that is what is asked for.
func (c *Control) InventoryState(ctx context.Context, actor restart.Actor) (wire.InventoryState, error) {
	out := wire.InventoryState{Sources: []wire.InventorySource{}}
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return out, err
	}
	now, err := c.cfg.Inventory.Snapshot(ctx)
	switch {
	case ctx.Err() != nil:
		return out, context.Cause(ctx)
	case err != nil:
		out.Problem = restart.Escape(personal(err).Message)
	default:
		out.FetchedAt, out.Stale, out.Missing, out.Problem = when(now.FetchedAt), now.Stale, now.Missing, restart.Escape(now.Problem)
		out.Services, out.Groups, out.Hosts = len(now.Services), len(now.Groups), len(now.Hosts)
	}
	for _, p := range c.cfg.Inventory.Parts(ctx) {
		out.Sources = append(out.Sources, wire.InventorySource{
			Name: p.Name, Kind: p.Kind, FetchedAt: when(p.FetchedAt), Stale: p.Stale, Missing: p.Missing, Optional: p.Optional, Problem: restart.Escape(p.Problem),
			Services: p.Services, Groups: p.Groups, Hosts: p.Hosts,
		})
	}
	return out, ctx.Err()
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// checkOf asks a host of a plan about its task. The tag that the package must
// carry is the service's, or else the version that the inventory says should be
// on this host.
func checkOf(p restart.Plan, h restart.Host) protocol.CheckRequest {
	return protocol.CheckRequest{
		Service: p.Service.Name, Environment: p.Environment, Group: p.Group, Digest: p.Digest, Tag: cmp.Or(p.Service.Tag, h.Packages[p.Service.Package]),
	}
}

// lacks says that the inventory does not have the service's package on a host;
// nil = it has, or does not know which packages are there.
func lacks(s restart.Service, h restart.Host) *restart.Error {
	if s.Package == "" || h.Packages == nil {
		return nil
	}
	if _, there := h.Packages[s.Package]; there {
		return nil
	}
	return restart.Errorf(restart.CodeNotInstalled, "by the inventory, package %s does not belong on this host", s.Package).
		WithHint("correct the inventory, or leave the host out")
}
