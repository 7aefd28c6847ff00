package control

import (
	"context"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// MaxKeyLife bounds how long an SSH key may be good for where it is to expire.
const MaxKeyLife = 10 * 366 * 24 * time.Hour

// AddKey puts an SSH key into one's own profile. Whoever holds it can do from
// then on what its owner can, so that it takes a recent sign-in in a browser; by
// a token it takes one with all roles of its owner, and the key ends with it.
func (c *Control) AddKey(ctx context.Context, actor restart.Actor, req wire.KeyRequest) (wire.Key, error) {
	rec := c.record(actor, audit.KeyAdded)
	err := c.rights().Require(actor, authz.See, authz.Object{})
	if err == nil {
		err = c.lasting(actor)
	}
	var public authn.PublicKey
	if err == nil {
		public, err = authn.ParsePublicKey(req.Key)
		err = restart.InField(err, "key")
	}
	if err != nil {
		return wire.Key{}, c.refused(ctx, rec, err)
	}
	if req.Name == "" {
		req.Name = nameOfKey(public)
	}
	rec.Detail = clip(public.Fingerprint + " " + req.Name)
	if err := checkKeyRequest(req); err != nil {
		return wire.Key{}, c.refused(ctx, rec, err)
	}
	if err := c.wholePerson(ctx, actor); err != nil {
		return wire.Key{}, c.refused(ctx, rec, err)
	}
	ends, err := c.keyEnds(ctx, actor, req.Life.Std())
	if err != nil {
		return wire.Key{}, err
	}
	now := c.now()
	k := store.Key{
		ID: restart.NewID(now), Owner: actor.Name, Name: req.Name, Kind: public.Kind, Fingerprint: public.Fingerprint, Public: public.Base64,
		CreatedAt: now, ExpiresAt: ends,
	}
	if err := c.cfg.Store.AddKey(ctx, k, rec); err != nil {
		return wire.Key{}, c.refused(ctx, rec, restart.InField(err, "key"))
	}
	c.cfg.Committed()
	return keyInfo(k), nil
}

// nameOfKey is what a key is called whose owner does not say: its comment.
func nameOfKey(k authn.PublicKey) string {
	if name := []rune(strings.TrimSpace(k.Comment)); len(name) > 0 {
		return string(name[:min(len(name), 64)])
	}
	return k.Kind
}

func checkKeyRequest(req wire.KeyRequest) error {
	if n := len([]rune(strings.TrimSpace(req.Name))); n == 0 || n > 64 || restart.Escape(req.Name) != req.Name {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "the key's name is not 1 to 64 printable characters").WithHint("say what it is, such as: laptop"), "name")
	}
	if life := req.Life.Std(); life != 0 && (life < time.Minute || life > MaxKeyLife) {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "a key can't live for %s", restart.Span(req.Life.Std())).WithHint("from 1 minute to %s; without it, until it is removed", restart.Span(MaxKeyLife)), "life")
	}
	return nil
}

// wholePerson refuses programs, which have tokens instead, and tokens that may
// do less than their owner: the key could do more.
func (c *Control) wholePerson(ctx context.Context, actor restart.Actor) error {
	if _, err := c.cfg.Store.User(ctx, actor.Name); restart.CodeOf(err) == restart.CodeNotFound {
		return restart.Errorf(restart.CodeConflict, "%s is no user, and has no profile", restart.Quote(actor.Name)).WithHint("programs use tokens: restartilka token create")
	} else if err != nil {
		return err
	}
	if actor.Token == "" {
		return nil
	}
	owner, err := c.cfg.People.Person(ctx, actor.Name)
	if err != nil {
		return err
	}
	for _, role := range owner.Roles {
		if !actor.Has(role) {
			return restart.Errorf(restart.CodeForbidden, "this token has not the role %s, and the key would have it", role).WithHint("add the key on your profile page")
		}
	}
	return nil
}

// keyEnds is when a key ends that is to live so long (0 = for ever): not after
// the token that it is added with.
func (c *Control) keyEnds(ctx context.Context, actor restart.Actor, life time.Duration) (time.Time, error) {
	var ends time.Time
	if life > 0 {
		ends = c.now().Add(life)
	}
	if actor.Token == "" {
		return ends, nil
	}
	t, err := c.cfg.Store.TokenByID(ctx, actor.Token)
	if err == nil && !t.ExpiresAt.IsZero() && (ends.IsZero() || t.ExpiresAt.Before(ends)) {
		ends = t.ExpiresAt
	}
	return ends, err
}

// Keys lists one's own SSH keys, or, for admins, everybody's; next is what to
// go on after.
func (c *Control) Keys(ctx context.Context, actor restart.Actor, all bool, after string) (keys []wire.Key, next string, err error) {
	action, f := authz.See, store.KeyFilter{Owner: actor.Name, After: after, Limit: wire.MaxPage + 1}
	if all {
		action, f.Owner = authz.Administer, ""
	}
	if err := c.rights().Require(actor, action, authz.Object{}); err != nil {
		return nil, "", err
	}
	list, err := c.cfg.Store.Keys(ctx, f)
	if err != nil {
		return nil, "", err
	}
	if len(list) > wire.MaxPage {
		list = list[:wire.MaxPage]
		next = list[wire.MaxPage-1].ID
	}
	keys = []wire.Key{}
	for _, k := range list {
		keys = append(keys, keyInfo(k))
	}
	return keys, next, nil
}

// RemoveKey takes a key out of a profile: one's own, or anybody's by an admin.
// Who has come with it is cut off within a second.
func (c *Control) RemoveKey(ctx context.Context, actor restart.Actor, id string) error {
	rec := c.record(actor, audit.KeyRemoved)
	rec.Detail = clip(id)
	err := c.rights().Require(actor, authz.See, authz.Object{})
	if err == nil {
		err = restart.CheckID(id)
	}
	if err == nil {
		err = c.unbounded(actor)
	}
	var k store.Key
	if err == nil {
		k, err = c.keyToRemove(ctx, actor, id)
	}
	if err == nil {
		rec.Detail = clip(k.Fingerprint + " " + k.Name + " of " + k.Owner)
		err = c.cfg.Store.RemoveKey(ctx, id, rec)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return nil
}

// keyToRemove gives a key that somebody may remove. That of others looks to who
// is no admin as if it were not there.
func (c *Control) keyToRemove(ctx context.Context, actor restart.Actor, id string) (store.Key, error) {
	k, err := c.cfg.Store.KeyByID(ctx, id)
	switch {
	case err != nil && restart.CodeOf(err) != restart.CodeNotFound:
		return k, err
	case err == nil && k.Owner == actor.Name:
		return k, nil
	case err == nil && c.MayAdminister(actor):
		return k, c.recent(actor)
	}
	return store.Key{}, restart.Errorf(restart.CodeNotFound, "you have no key %s", id)
}

func keyInfo(k store.Key) wire.Key {
	return wire.Key{
		ID: k.ID, Owner: k.Owner, Name: k.Name, Kind: k.Kind, Fingerprint: k.Fingerprint, CreatedAt: k.CreatedAt,
		ExpiresAt: orNull(k.ExpiresAt), LastUsedAt: orNull(k.LastUsedAt),
	}
}
