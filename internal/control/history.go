package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// FindRuns lists the runs that a query names, the newest first. A page may be
// short, or empty, and have a next all the same: see store.Runs.
func (c *Control) FindRuns(ctx context.Context, actor restart.Actor, q wire.RunQuery) (runs []restart.Run, next string, err error) {
	since, until, err := q.Bounds()
	if err != nil {
		return nil, "", err
	}
	for _, s := range q.States {
		if !slices.Contains(restart.RunStates(), s) {
			return nil, "", restart.Errorf(restart.CodeInvalid, "%s is no state of a run", restart.Quote(string(s))).WithHint("there are: %s", listed(restart.RunStates()))
		}
	}
	if q.Kind != "" && !slices.Contains(restart.Kinds(), q.Kind) {
		return nil, "", restart.Errorf(restart.CodeInvalid, "%s is no kind of a run", restart.Quote(string(q.Kind))).WithHint("there are: %s", listed(restart.Kinds()))
	}
	return c.Runs(ctx, actor, store.RunFilter{
		Service: q.Service, Environment: q.Environment, Group: q.Group, Host: q.Host, Actor: q.Actor, States: q.States, Kind: q.Kind,
		Since: since, Until: until, Text: q.Text, Before: q.Cursor, Limit: q.Limit,
	})
}

func listed[T any](all []T) string { return strings.Trim(fmt.Sprint(all), "[]") }

// Figures gives the statistics of a window.
func (c *Control) Figures(ctx context.Context, actor restart.Actor, f store.FiguresFilter) (store.Figures, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return store.Figures{}, err
	}
	f.Now = c.now()
	return c.cfg.Store.Figures(ctx, f)
}

// ReasonsAgain tells which reasons were given again most often, and since when.
func (c *Control) ReasonsAgain(ctx context.Context, actor restart.Actor, f store.FiguresFilter) ([]store.Recurrence, time.Time, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, time.Time{}, err
	}
	f.Now = c.now()
	return c.cfg.Store.Reasons(ctx, f)
}

// Given lists the runs with one reason of a service, and the days on which the
// window's points begin: see store.Given.
func (c *Control) Given(ctx context.Context, actor restart.Actor, f store.FiguresFilter, service, key string) ([]store.Given, []time.Time, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, nil, err
	}
	f.Now = c.now()
	return c.cfg.Store.Given(ctx, f, service, key)
}

// SlowestHosts tells on which hosts restarts take longest, and since when.
func (c *Control) SlowestHosts(ctx context.Context, actor restart.Actor, f store.FiguresFilter) ([]store.HostTally, time.Time, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, time.Time{}, err
	}
	f.Now = c.now()
	return c.cfg.Store.SlowestHosts(ctx, f)
}

// Owns tells whether a service is the actor's own, or a team's of his.
func Owns(actor restart.Actor, service restart.Service) bool {
	for _, owner := range service.Owners {
		if owner == actor.Name || slices.ContainsFunc(actor.Teams, func(team string) bool { return owner == authz.TeamOwner(team) }) {
			return true
		}
	}
	return false
}

// Somebody gives the roles and teams of a person: of oneself, and of others for
// those who audit or administer (CodeForbidden).
func (c *Control) Somebody(ctx context.Context, actor restart.Actor, name string) (restart.Actor, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return restart.Actor{}, err
	}
	if err := restart.CheckPerson(name); err != nil {
		return restart.Actor{}, err
	}
	if name == actor.Name {
		return actor, nil
	}
	if err := c.mayAskOf(actor); err != nil {
		return restart.Actor{}, err
	}
	return c.cfg.People.Person(ctx, name)
}

// HostCertificates gives the certificates that this server's own authority has
// issued to a host, the newest first; for admins.
func (c *Control) HostCertificates(ctx context.Context, actor restart.Actor, host string) ([]wire.Certificate, error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return nil, err
	}
	list, err := c.cfg.Store.NewestCertificates(ctx, host)
	out := []wire.Certificate{}
	for _, x := range list {
		out = append(out, c.certificateInfo(x))
	}
	return out, err
}

// AskHost asks one host what it says of itself now. A silent one is given up
// after some seconds.
func (c *Control) AskHost(ctx context.Context, actor restart.Actor, name string) (wire.HostCheck, error) {
	host, err := c.Host(ctx, actor, name)
	if err != nil {
		return wire.HostCheck{}, err
	}
	folder, err := c.folder(ctx)
	if err != nil {
		return wire.HostCheck{}, err
	}
	return c.checkHost(ctx, c.cfg.Agents.Check, host, protocol.CheckRequest{}, newest(folder)), nil
}

// Host gives one host of the inventory.
func (c *Control) Host(ctx context.Context, actor restart.Actor, name string) (restart.Host, error) {
	if err := restart.CheckHost(name); err != nil {
		return restart.Host{}, err
	}
	hosts, err := c.Hosts(ctx, actor, name)
	if err == nil && len(hosts) != 1 {
		err = restart.Errorf(restart.CodeNotFound, "there is no host %s in the inventory", name)
	}
	if err != nil {
		return restart.Host{}, err
	}
	return hosts[0], nil
}
