package control

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// signedInWithin is how long ago somebody who administers in a browser may
// have signed in: a session that is stolen, or a screen left open, does no more
// than its owner's everyday work.
const signedInWithin = 15 * time.Minute

// requireNow is Require for what only somebody may do who has proved lately
// who he is.
func (c *Control) requireNow(actor restart.Actor, action authz.Action) error {
	object := authz.Object{}
	if action.Narrow() {
		object = authz.Wherever()
	}
	if err := c.rights().Require(actor, action, object); err != nil {
		return err
	}
	return c.recent(actor)
}

// recent tells whether somebody in a browser has signed in lately enough
// (CodeSignInAgain if not). Who comes with a token in a header is not asked: no
// browser sends that by itself. Who comes by SSH never has: his key may be
// another's way in, at a machine left open or by an agent that was forwarded.
func (c *Control) recent(actor restart.Actor) error {
	if actor.Via != "web" && actor.Via != "ssh" || actor.SignedInAt != nil && c.now().Sub(*actor.SignedInAt) <= signedInWithin {
		return nil
	}
	return restart.Errorf(restart.CodeSignInAgain, "for this you must have signed in within the last %d minutes", int(signedInWithin.Minutes())).
		WithHint("sign in again at this server's own page, and repeat it; or use the command line")
}

// SignedInLately tells whether somebody would not be asked to sign in again.
// Pages ask before they show a form, so that nothing is typed in vain.
func (c *Control) SignedInLately(actor restart.Actor) bool { return c.recent(actor) == nil }

// MustAdminister refuses who is no admin. Pages ask it for lists of which others
// would see their own part: what is changed there asks by itself.
func (c *Control) MustAdminister(actor restart.Actor) error {
	return c.rights().Require(actor, authz.Administer, authz.Object{})
}

// MustAdministerTo is MustAdminister before something is done: a refusal is
// recorded as one of that action.
func (c *Control) MustAdministerTo(ctx context.Context, actor restart.Actor, action audit.Action) error {
	return c.refused(ctx, c.record(actor, action), c.MustAdminister(actor))
}

// lasting is for what outlives a session or a token: it takes a sign-in that
// is recent, and credentials without bounds.
func (c *Control) lasting(actor restart.Actor) error {
	if err := c.unbounded(actor); err != nil {
		return err
	}
	return c.recent(actor)
}

// unbounded refuses tokens with a scope what would lead past it.
func (c *Control) unbounded(actor restart.Actor) error {
	if actor.Scope.IsZero() {
		return nil
	}
	return restart.Errorf(restart.CodeForbidden, "the token is only for %s: it changes no passwords, tokens or sessions", restart.Escape(actor.Scope.String()))
}
