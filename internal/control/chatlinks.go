package control

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// chatCodeLife is how long a code links an account of a chat.
const chatCodeLife = 10 * time.Minute

// ChatCode makes the code by which somebody links an account of a chat to his
// name. It takes a recent sign-in: the link outlives the session. An earlier
// code of his is over.
func (c *Control) ChatCode(ctx context.Context, actor restart.Actor) (wire.ChatCode, error) {
	rec := c.record(actor, audit.ChatCodeMade)
	err := c.rights().Require(actor, authz.See, authz.Object{})
	if err == nil {
		err = c.lasting(actor)
	}
	if err != nil {
		return wire.ChatCode{}, c.refused(ctx, rec, err)
	}
	now := c.now()
	code := wire.ChatCode{Code: authn.NewCode(), ExpiresAt: now.Add(chatCodeLife)}
	kept := store.ChatCode{Hash: authn.Hash(code.Code), Owner: actor.Name, Roles: actor.Roles, CreatedAt: now, ExpiresAt: code.ExpiresAt}
	if err := c.cfg.Store.CreateChatCode(ctx, kept, rec); err != nil {
		return wire.ChatCode{}, err
	}
	c.cfg.Committed()
	return code, nil
}

// ChatLinks lists the accounts of chats by which somebody acts: one's own (of =
// ""), or anybody's for an admin.
func (c *Control) ChatLinks(ctx context.Context, actor restart.Actor, of string) ([]wire.ChatLink, error) {
	action := authz.See
	if of == "" {
		of = actor.Name
	}
	if of != actor.Name {
		action = authz.Administer
	}
	if err := c.rights().Require(actor, action, authz.Object{}); err != nil {
		return nil, err
	}
	list, err := c.cfg.Store.ChatLinks(ctx, of)
	if err != nil {
		return nil, err
	}
	out := []wire.ChatLink{}
	for _, l := range list {
		out = append(out, wire.ChatLink{ID: l.ID, Chat: l.Chat, Person: restart.Escape(l.Person), Name: restart.Escape(l.Name), Owner: l.Owner, CreatedAt: l.CreatedAt})
	}
	return out, nil
}

// UnlinkChat ends a link at once, on every server: one's own, or anybody's by an
// admin.
func (c *Control) UnlinkChat(ctx context.Context, actor restart.Actor, id string) error {
	rec := c.record(actor, audit.ChatUnlinked)
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
	link, err := c.cfg.Store.ChatLink(ctx, id)
	if err == nil && link.Owner != actor.Name {
		if c.rights().Require(actor, authz.Administer, authz.Object{}) != nil {
			err = restart.Errorf(restart.CodeNotFound, "there is no such link to a chat")
		} else {
			err = c.recent(actor)
		}
	}
	if err == nil {
		rec.Detail = linkNamed(link)
		err = c.cfg.Store.DropChatLink(ctx, id, rec)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return nil
}
