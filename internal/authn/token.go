package authn

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// TokenStore keeps API tokens; *store.Store is one.
type TokenStore interface {
	UserStore
	TokenByHash(ctx context.Context, hash string) (store.Token, error)
	TokenByID(ctx context.Context, id string) (store.Token, error)
	TouchToken(ctx context.Context, id string) error
}

// Tokens recognises "Authorization: Bearer SECRET". A token of a user has no
// role that he has not now; one of a service account, an owner who is no user,
// has those that it was made with.
type Tokens struct {
	Store  TokenStore
	People *People          // nil = users have only the roles that an admin gave
	Now    func() time.Time // nil = time.Now
}

func (t Tokens) people() People {
	if t.People != nil {
		return *t.People
	}
	return People{Store: t.Store, Now: t.Now}
}

var errToken = restart.Errorf(restart.CodeUnauthorised, "the token is not valid").
	WithHint("it may be mistyped, expired or revoked; make another with: restartilka token create")

// Authenticate implements Method.
func (t Tokens) Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return restart.Actor{}, nil
	}
	scheme, secret, ok := strings.Cut(values[0], " ")
	if len(values) != 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return restart.Actor{}, errToken
	}
	actor, err := t.Check(ctx, strings.TrimSpace(secret))
	if err != nil {
		return restart.Actor{}, err
	}
	actor.Via, actor.From = "api", from(r)
	if strings.HasPrefix(r.UserAgent(), "restartilka/") {
		actor.Via = "cli"
	}
	return actor, nil
}

// Check gives the actor of a token's secret, or CodeUnauthorised. Other errors
// are the store's.
func (t Tokens) Check(ctx context.Context, secret string) (restart.Actor, error) {
	if !wellFormed(secret) {
		return restart.Actor{}, errToken
	}
	token, err := t.Store.TokenByHash(ctx, Hash(secret))
	if restart.CodeOf(err) == restart.CodeNotFound {
		return restart.Actor{}, errToken
	}
	if err != nil {
		return restart.Actor{}, err
	}
	now := time.Now()
	if t.Now != nil {
		now = t.Now()
	}
	if !token.Valid(now) {
		return restart.Actor{}, errToken
	}
	if err := t.Store.TouchToken(ctx, token.ID); err != nil {
		return restart.Actor{}, err
	}
	actor, err := t.people().holder(ctx, token)
	if restart.CodeOf(err) == restart.CodeUnauthorised {
		return restart.Actor{}, errToken
	}
	return actor, err
}
