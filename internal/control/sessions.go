package control

import (
	"context"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Sessions lists one's own sessions in browsers, the newest first; everybody's
// for an admin who asks for all.
func (c *Control) Sessions(ctx context.Context, actor restart.Actor, all bool) ([]wire.Session, error) {
	action, owner := authz.See, actor.Name
	if all {
		action, owner = authz.Administer, ""
	}
	if err := c.rights().Require(actor, action, authz.Object{}); err != nil {
		return nil, err
	}
	return c.sessions(ctx, actor, store.SessionFilter{Owner: owner})
}

// SessionsOf lists somebody's sessions ("" = everybody's), the newest first, for
// admins: those before one that was listed before, where one is given.
func (c *Control) SessionsOf(ctx context.Context, actor restart.Actor, owner string, before *wire.Session) ([]wire.Session, error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return nil, err
	}
	f := store.SessionFilter{Owner: owner}
	if owner != "" {
		if err := restart.CheckPerson(owner); err != nil {
			return nil, err
		}
	}
	if before != nil {
		f.Before, f.BeforeID = before.CreatedAt, before.ID
	}
	return c.sessions(ctx, actor, f)
}

func (c *Control) sessions(ctx context.Context, actor restart.Actor, f store.SessionFilter) ([]wire.Session, error) {
	f.Idle, f.Limit = authn.SessionIdle, wire.MaxPage
	list, err := c.cfg.Store.Sessions(ctx, f)
	if err != nil {
		return nil, err
	}
	out := []wire.Session{}
	for _, s := range list {
		out = append(out, wire.Session{
			ID: s.ID, Owner: s.Owner, Method: s.Method, Address: s.Address, UserAgent: s.UserAgent,
			CreatedAt: s.CreatedAt, LastSeenAt: s.LastSeenAt, ExpiresAt: s.ExpiresAt, Current: s.ID == actor.Session,
		})
	}
	return out, nil
}

// RevokeSession ends a session at once, on every server: one's own, or
// anybody's by an admin.
func (c *Control) RevokeSession(ctx context.Context, actor restart.Actor, id string) error {
	rec := c.record(actor, audit.SessionRevoked)
	rec.Detail = clip(id)
	err := c.rights().Require(actor, authz.See, authz.Object{})
	if err == nil {
		err = restart.CheckID(id)
	}
	if err == nil {
		err = c.unbounded(actor)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	s, err := c.cfg.Store.SessionByID(ctx, id)
	if err == nil && s.Owner != actor.Name {
		if c.rights().Require(actor, authz.Administer, authz.Object{}) != nil {
			err = restart.Errorf(restart.CodeNotFound, "you have no session %s", id)
		} else {
			err = c.recent(actor)
		}
	}
	if err == nil {
		rec.Detail = id + " of " + s.Owner
		err = c.cfg.Store.RevokeSession(ctx, id, rec)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return nil
}

// RevokeSessions ends all sessions of somebody at once, for admins, and tells
// how many those were. The one that asks lives on.
func (c *Control) RevokeSessions(ctx context.Context, actor restart.Actor, owner string) (ended int, err error) {
	rec := c.record(actor, audit.SessionRevoked)
	rec.Detail = clip("all of " + owner)
	err = c.requireNow(actor, authz.Administer)
	if err == nil {
		err = restart.CheckPerson(owner)
	}
	if err == nil {
		ended, err = c.cfg.Store.RevokeSessions(ctx, owner, actor.Session, rec)
	}
	if err != nil {
		return 0, c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return ended, nil
}
