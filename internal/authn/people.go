package authn

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// People knows who somebody is now by the tokens that he has.
type People struct {
	Tokens interface {
		Tokens(ctx context.Context, owner string) ([]store.Token, error)
	}
	Now func() time.Time // nil = time.Now
}

// Person gives the roles of all of somebody's tokens that are good now.
func (p People) Person(ctx context.Context, name string) (restart.Actor, error) {
	actor := restart.Actor{Name: name}
	tokens, err := p.Tokens.Tokens(ctx, name)
	if err != nil {
		return actor, err
	}
	now := time.Now()
	if p.Now != nil {
		now = p.Now()
	}
	for _, t := range tokens {
		if t.Valid(now) {
			actor.Roles = append(actor.Roles, t.Roles...)
		}
	}
	return actor, nil
}
