package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	loginLife      = 10 * time.Minute    // of a request
	loginTokenLife = 30 * 24 * time.Hour // of the token that comes of it
	loginInterval  = 2 * time.Second     // between two claims
)

// Login is an open request as its page shows it.
type Login struct {
	Code, Client, Address string
	CreatedAt, ExpiresAt  time.Time
	TokenEnds             time.Time      // if it is confirmed now
	Roles                 []restart.Role // that its token gets then
}

// BeginLogin opens a request of a command line that nobody has signed in yet.
// Anybody may ask; it gets nothing unless a person confirms it on the page.
func (c *Control) BeginLogin(ctx context.Context, from string, req wire.LoginRequest) (wire.LoginStarted, error) {
	if restart.Escape(req.Client) != req.Client || strings.TrimSpace(req.Client) == "" || len([]rune(req.Client)) > 128 {
		return wire.LoginStarted{}, restart.Errorf(restart.CodeInvalid, "client is not 1 to 128 printable characters")
	}
	secret, hash := authn.NewSecret()
	code := authn.NewCode()
	now := c.now()
	r := store.LoginRequest{Hash: hash, CodeHash: authn.Hash(code), Address: from, Client: req.Client, CreatedAt: now, ExpiresAt: now.Add(loginLife)}
	if err := c.cfg.Store.CreateLogin(ctx, r); err != nil {
		return wire.LoginStarted{}, err
	}
	return wire.LoginStarted{
		URL: c.cfg.URL + "/login/" + code, Code: code, Secret: secret, ExpiresAt: r.ExpiresAt, Interval: restart.Duration(loginInterval),
	}, nil
}

// Login gives an open request by its code, to somebody who could confirm it.
// Wrong codes are looked at ever more slowly.
func (c *Control) Login(ctx context.Context, actor restart.Actor, code string) (Login, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return Login{}, err
	}
	r, err := c.openLogin(ctx, actor, code)
	if err != nil {
		return Login{}, err
	}
	ends, err := c.loginEnds(ctx, actor)
	return Login{
		Code: authn.TidyCode(code), Client: r.Client, Address: r.Address, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, TokenEnds: ends, Roles: actor.Roles,
	}, err
}

func (c *Control) openLogin(ctx context.Context, actor restart.Actor, code string) (store.LoginRequest, error) {
	if err := c.guesses.Wait(ctx, actor.Name, actor.From); err != nil {
		return store.LoginRequest{}, err
	}
	r, err := c.cfg.Store.LoginByCode(ctx, authn.Hash(authn.TidyCode(code)))
	if restart.CodeOf(err) == restart.CodeNotFound {
		c.guesses.Failed(actor.Name, actor.From)
	}
	return r, err
}

func (c *Control) loginEnds(ctx context.Context, actor restart.Actor) (time.Time, error) {
	most, err := c.mostLife(ctx, actor)
	return c.now().Add(min(loginTokenLife, most)), err
}

// AnswerLogin confirms a request in one's own name, or refuses it. To confirm
// takes a recent sign-in: the token outlives the session.
func (c *Control) AnswerLogin(ctx context.Context, actor restart.Actor, code string, confirm bool) error {
	rec := c.record(actor, audit.LoginRefused)
	if confirm {
		rec.Action = audit.LoginConfirmed
	}
	err := c.rights().Require(actor, authz.See, authz.Object{})
	if err == nil && confirm {
		err = c.lasting(actor)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	r, err := c.openLogin(ctx, actor, code)
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	rec.Detail = clip(r.Client + " from " + r.Address)
	by, ends := "", time.Time{}
	if confirm {
		by = actor.Name
		if ends, err = c.loginEnds(ctx, actor); err != nil {
			return err
		}
	}
	if err := c.cfg.Store.AnswerLogin(ctx, authn.Hash(authn.TidyCode(code)), by, actor.Roles, ends, rec); err != nil {
		return c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return nil
}

// ClaimLogin tells a command line what came of its request: nothing yet, a
// refusal (CodeForbidden), or a token, once.
func (c *Control) ClaimLogin(ctx context.Context, from string, req wire.LoginClaim) (wire.LoginAnswer, error) {
	secret, hash := authn.NewSecret()
	now := c.now()
	token, done, err := c.cfg.Store.ClaimLogin(ctx, authn.Hash(req.Secret), func(r store.LoginRequest) (store.Token, audit.Record) {
		name := "login of " + r.Client
		if n := []rune(name); len(n) > 64 {
			name = string(n[:64])
		}
		t := store.Token{ID: restart.NewID(now), Name: name, Owner: r.ConfirmedBy, Roles: r.Roles, Hash: hash, CreatedAt: now, ExpiresAt: r.TokenEnds}
		rec := audit.Record{Time: now, Actor: r.ConfirmedBy, Origin: strings.TrimSpace("cli " + from), Action: audit.TokenCreated}
		rec.Detail = clip(fmt.Sprintf("%s for %s, roles %v", t.Name, t.Owner, t.Roles))
		return t, rec
	})
	if err != nil || !done {
		return wire.LoginAnswer{}, err
	}
	c.cfg.Committed()
	return wire.LoginAnswer{Done: true, Token: &wire.NewToken{Token: tokenInfo(token), Secret: secret}}, nil
}
