package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// MaxTokenLife bounds how long a token may be good for.
const MaxTokenLife = 366 * 24 * time.Hour

// CreateToken makes a token and gives its secret, which is shown once and
// stored nowhere. People make tokens for themselves with no more than their
// own roles; admins for anybody.
func (c *Control) CreateToken(ctx context.Context, actor restart.Actor, req wire.TokenRequest) (wire.Token, string, error) {
	rec := c.record(actor, audit.TokenCreated)
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return wire.Token{}, "", c.refused(ctx, rec, err)
	}
	if req.Owner == "" {
		req.Owner = actor.Name
	}
	rec.Detail = clip(fmt.Sprintf("%s for %s", req.Name, req.Owner))
	if err := c.defaultRoles(ctx, actor, &req); err != nil {
		return wire.Token{}, "", c.refused(ctx, rec, err)
	}
	most, err := c.mostLife(ctx, actor)
	if err != nil {
		return wire.Token{}, "", err
	}
	if req.Life == 0 {
		req.Life = restart.Duration(90 * 24 * time.Hour)
	}
	if req.Life.Std() <= MaxTokenLife {
		req.Life = min(req.Life, restart.Duration(most))
	}
	rec.Detail = clip(fmt.Sprintf("%s for %s, roles %v%s", req.Name, req.Owner, req.Roles, bounds(req.Scope)))
	if err := c.checkTokenRequest(actor, req); err != nil {
		return wire.Token{}, "", c.refused(ctx, rec, err)
	}
	if err := c.lasting(actor); err != nil {
		return wire.Token{}, "", c.refused(ctx, rec, err)
	}
	if err := c.ownerCovers(ctx, req); err != nil {
		return wire.Token{}, "", c.refused(ctx, rec, err)
	}
	if req.Scope.IsZero() {
		req.Scope = nil
	}
	secret, hash := authn.NewSecret()
	now := c.now()
	t := store.Token{
		ID: restart.NewID(now), Name: req.Name, Owner: req.Owner, Roles: req.Roles, Scope: req.Scope, Hash: hash,
		CreatedAt: now, ExpiresAt: now.Add(req.Life.Std()),
	}
	if err := c.cfg.Store.CreateToken(ctx, t, rec); err != nil {
		return wire.Token{}, "", err
	}
	c.cfg.Committed()
	return tokenInfo(t), secret, nil
}

// mostLife is how long a token that the actor makes may live: no longer than
// the one it is made with, so that a token that leaks does not outlive itself.
// Admins, who could make any, are not bound by it.
func (c *Control) mostLife(ctx context.Context, actor restart.Actor) (time.Duration, error) {
	if c.MayAdminister(actor) || actor.Token == "" {
		return MaxTokenLife, nil
	}
	t, err := c.cfg.Store.TokenByID(ctx, actor.Token)
	if err != nil || t.ExpiresAt.IsZero() {
		return MaxTokenLife, err
	}
	return min(MaxTokenLife, t.ExpiresAt.Sub(c.now())), nil
}

// MayAdminister tells whether somebody has to do with what is others'. Pages
// ask, to show nobody what would be refused.
func (c *Control) MayAdminister(actor restart.Actor) bool {
	return c.rights().Decide(actor, authz.Administer, authz.Object{}).Allowed
}

func (c *Control) checkTokenRequest(actor restart.Actor, req wire.TokenRequest) error {
	if err := restart.CheckPerson(req.Owner); err != nil {
		return restart.InField(err, "owner")
	}
	if n := len([]rune(strings.TrimSpace(req.Name))); n == 0 || n > 64 || restart.Escape(req.Name) != req.Name {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "the token's name is not 1 to 64 printable characters").WithHint("say what it is for, such as: deploy pipeline"), "name")
	}
	if req.Life.Std() < time.Minute || req.Life.Std() > MaxTokenLife {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "a token can't live for %s", restart.Span(req.Life.Std())).WithHint("from 1 minute to %s", restart.Span(MaxTokenLife)), "life")
	}
	if err := restart.InField(checkRoles(req.Roles), "roles"); err != nil {
		return err
	}
	if err := restart.InField(authz.CheckScope(req.Scope), "scope"); err != nil {
		return err
	}
	if c.MayAdminister(actor) {
		return nil
	}
	if req.Owner != actor.Name {
		return restart.Errorf(restart.CodeForbidden, "only an admin makes tokens for others")
	}
	for _, r := range req.Roles {
		if !actor.Has(r) {
			return restart.InField(restart.Errorf(restart.CodeForbidden, "you have not the role %s yourself", r), "roles")
		}
	}
	return nil
}

// defaultRoles gives a token that names no roles those of its owner, who comes
// with them. An owner who is no user has none: a program does not get an
// admin's rights because nothing was said.
func (c *Control) defaultRoles(ctx context.Context, actor restart.Actor, req *wire.TokenRequest) error {
	if len(req.Roles) > 0 {
		return nil
	}
	if req.Owner == actor.Name {
		req.Roles = actor.Roles
		return nil
	}
	if !c.MayAdminister(actor) {
		return nil // who is no admin makes none for others, and is told so
	}
	if _, err := c.cfg.Store.User(ctx, req.Owner); restart.CodeOf(err) == restart.CodeNotFound {
		return restart.Errorf(restart.CodeInvalid, "%s is no user, and the token would have no role", restart.Quote(req.Owner)).
			WithHint("say what it may do: --role viewer, or --role developer")
	} else if err != nil {
		return err
	}
	owner, err := c.cfg.People.Person(ctx, req.Owner)
	req.Roles = owner.Roles
	return err
}

// ownerCovers refuses a token with a role that would be cut off at each use,
// since its owner is a user who has not that role.
func (c *Control) ownerCovers(ctx context.Context, req wire.TokenRequest) error {
	if _, err := c.cfg.Store.User(ctx, req.Owner); restart.CodeOf(err) == restart.CodeNotFound {
		return nil // a service account: its tokens are all that it has
	} else if err != nil {
		return err
	}
	owner, err := c.cfg.People.Person(ctx, req.Owner)
	if err != nil {
		return err
	}
	for _, r := range req.Roles {
		if !authn.Covers(owner, r) {
			return restart.InField(restart.Errorf(restart.CodeConflict, "%s has not the role %s, and a token of his can't have it either", req.Owner, r).
				WithHint("give it to him first, by the rules or with: restartilka user roles %s --role …", req.Owner), "roles")
		}
	}
	return nil
}

func checkRoles(roles []restart.Role) error {
	for _, r := range roles {
		if !slices.Contains(restart.Roles(), r) {
			return restart.Errorf(restart.CodeInvalid, "there is no role %s", restart.Quote(string(r))).WithHint("one of: %s", strings.Trim(fmt.Sprint(restart.Roles()), "[]"))
		}
	}
	return nil
}

// bounds names a scope behind something else.
func bounds(s *restart.Scope) string {
	if s.IsZero() {
		return ""
	}
	return ", only for " + s.String()
}

// Tokens lists one's own tokens; for admins, everybody's.
func (c *Control) Tokens(ctx context.Context, actor restart.Actor) ([]wire.Token, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	owner := actor.Name
	if c.MayAdminister(actor) {
		owner = ""
	}
	tokens, err := c.cfg.Store.Tokens(ctx, owner)
	if err != nil {
		return nil, err
	}
	out := []wire.Token{}
	for _, t := range tokens {
		out = append(out, tokenInfo(t))
	}
	return out, nil
}

// RevokeToken ends a token, and every session opened with it, at once.
func (c *Control) RevokeToken(ctx context.Context, actor restart.Actor, id string) error {
	rec := c.record(actor, audit.TokenRevoked)
	rec.Detail = clip(id)
	for _, err := range []error{c.rights().Require(actor, authz.See, authz.Object{}), restart.CheckID(id)} {
		if err != nil {
			return c.refused(ctx, rec, err)
		}
	}
	t, err := c.cfg.Store.TokenByID(ctx, id)
	if err == nil && t.Owner != actor.Name && !c.MayAdminister(actor) {
		err = restart.Errorf(restart.CodeNotFound, "you have no token %s", id)
	}
	if err == nil && t.Owner != actor.Name {
		err = c.recent(actor)
	}
	if err == nil && t.ID != actor.Token {
		err = c.unbounded(actor)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	rec.Detail = id + " of " + t.Owner
	if err := c.cfg.Store.RevokeToken(ctx, id, rec); err != nil {
		return err
	}
	c.cfg.Committed()
	return nil
}

func tokenInfo(t store.Token) wire.Token {
	return wire.Token{
		ID: t.ID, Name: t.Name, Owner: t.Owner, Roles: t.Roles, Scope: t.Scope, CreatedAt: t.CreatedAt,
		ExpiresAt: orNull(t.ExpiresAt), LastUsedAt: orNull(t.LastUsedAt), RevokedAt: orNull(t.RevokedAt),
	}
}

// orNull gives a time that may be absent its form in JSON.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
