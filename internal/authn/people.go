package authn

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

const (
	// groupsLife is for how long groups count that can't be asked for again
	// (OIDC, proxy): from the sign-in that told them.
	groupsLife = 12 * time.Hour
	// groupsFresh is for how long groups count without being asked for again.
	groupsFresh = time.Minute
	// groupsAway is for how long they count while the directory does not answer.
	groupsAway = 15 * time.Minute
	// directoryPause is how long a directory that did not answer is left alone.
	directoryPause = 10 * time.Second
)

// UserStore keeps people; *store.Store is one.
type UserStore interface {
	User(ctx context.Context, name string) (store.User, error)
	AdmitUser(ctx context.Context, u store.User, records ...audit.Record) error
	Tokens(ctx context.Context, owner string) ([]store.Token, error)
}

// People knows who somebody is now, whether he is here or not. Somebody is a
// user, local or of another method, or else the owner of tokens alone: a
// service account.
type People struct {
	Store UserStore
	// RolesFor gives what the rules say of a person in some groups; nil = nothing.
	RolesFor   func(name string, groups []string) []restart.Role
	Refreshers []Refresher
	Away       *Away            // nil = a directory is asked however often it did not answer
	Now        func() time.Time // nil = time.Now
}

// Away remembers which directories did not answer just now, so that not every
// request waits for them. The zero Away is ready.
type Away struct {
	mu    sync.Mutex
	since map[string]time.Time // by method
}

func (a *Away) is(method string, now time.Time) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	since, ok := a.since[method]
	return ok && now.Sub(since) < directoryPause
}

func (a *Away) note(method string, now time.Time) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since == nil {
		a.since = map[string]time.Time{}
	}
	a.since[method] = now
}

func (p People) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// Person gives the roles and teams that somebody has now. Who is nobody any
// more has none; an error means that it could not be found out.
func (p People) Person(ctx context.Context, name string) (restart.Actor, error) {
	user, err := p.Store.User(ctx, name)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return p.service(ctx, name)
	}
	if err != nil {
		return restart.Actor{Name: name}, err
	}
	user, err = p.refreshed(ctx, user)
	if err != nil {
		return restart.Actor{Name: name}, err
	}
	return p.actor(user), nil
}

// service gives the owner of tokens who is no user: all that his good tokens say.
func (p People) service(ctx context.Context, name string) (restart.Actor, error) {
	actor := restart.Actor{Name: name}
	tokens, err := p.Store.Tokens(ctx, name)
	if err != nil {
		return actor, err
	}
	now := p.now()
	for _, t := range tokens {
		if !t.Valid(now) {
			continue
		}
		for _, role := range t.Roles {
			if !actor.Has(role) {
				actor.Roles = append(actor.Roles, role)
			}
		}
	}
	return actor, nil
}

// refreshed gives a user with groups that still count. CodeUnavailable means
// that nobody could say which they are.
func (p People) refreshed(ctx context.Context, user store.User) (store.User, error) {
	now := p.now()
	if user.Disabled() {
		user.Groups = nil
		return user, nil
	}
	age := now.Sub(user.GroupsAt)
	i := slices.IndexFunc(p.Refreshers, func(r Refresher) bool { return r.Method() == user.Method })
	switch {
	case user.Method == MethodLocal:
		return user, nil
	case i < 0:
		user.Stale, user.GroupsEnd = age > groupsLife, user.GroupsAt.Add(groupsLife)
		return user, nil
	case age <= groupsFresh:
		return user, nil
	}
	asked, err := p.tried(ctx, p.Refreshers[i], user)
	if restart.CodeOf(err) == restart.CodeUnavailable && age <= groupsAway {
		return user, nil
	}
	return asked, err
}

// tried asks a directory again, but for one that did not answer just now.
func (p People) tried(ctx context.Context, r Refresher, user store.User) (store.User, error) {
	now := p.now()
	if p.Away.is(user.Method, now) {
		return user, restart.Errorf(restart.CodeUnavailable, "the directory (%s) did not answer just now", user.Method)
	}
	asked, err := p.ask(ctx, r, user)
	if restart.CodeOf(err) == restart.CodeUnavailable && ctx.Err() == nil { // who has gone away himself says nothing of it
		p.Away.note(user.Method, now)
	}
	return asked, err
}

// ask asks a directory again, and keeps what it says. Somebody who has gone
// from it has neither roles nor groups; he is not disabled here, for he may
// come back.
func (p People) ask(ctx context.Context, r Refresher, user store.User) (store.User, error) {
	id, err := r.Refresh(ctx, user.Name)
	if restart.CodeOf(err) == restart.CodeNotFound {
		user.Gone, user.Groups = true, nil
		return user, nil
	}
	if err == nil {
		id, err = id.checked()
	}
	if err != nil {
		return user, err
	}
	if id.Subject != user.Subject {
		user.Gone, user.Groups = true, nil // another person got the name
		return user, nil
	}
	records := regrouped(user, id, p.now().UTC())
	user.Groups, user.GroupsAt, user.Mail, user.Display = id.Groups, p.now(), id.Mail, id.Display
	return user, p.Store.AdmitUser(ctx, user, records...)
}

// regrouped is the record of groups that are others than before: they give
// rights.
func regrouped(user store.User, id Identity, now time.Time) []audit.Record {
	if slices.Equal(slices.Sorted(slices.Values(user.Groups)), slices.Sorted(slices.Values(id.Groups))) {
		return nil
	}
	return []audit.Record{{
		Time: now, Actor: user.Name, Origin: user.Method, Action: audit.UserChanged, Detail: "groups " + named(id.Groups) + "; before: " + named(user.Groups),
	}}
}

func named(groups []string) string { return cmp.Or(strings.Join(groups, ", "), "none") }

// actor gives what a user may be, as far as his groups are known.
func (p People) actor(user store.User) restart.Actor {
	actor := restart.Actor{Name: user.Name, Method: user.Method}
	if user.Disabled() || user.Gone {
		return actor
	}
	if user.Stale {
		actor.Former = user.Groups
	} else {
		actor.Teams, actor.TeamsEnd = user.Groups, user.GroupsEnd
	}
	actor.Roles = slices.Clone(user.Roles)
	if p.RolesFor != nil {
		for _, role := range p.RolesFor(user.Name, actor.Teams) {
			if !actor.Has(role) {
				actor.Roles = append(actor.Roles, role)
			}
		}
	}
	return actor
}

// Present gives a user who asks for something just now, or CodeNotFound where
// there is none of that name, and CodeUnauthorised for one who is disabled or
// gone. While his directory does not answer his groups allow nothing any more:
// he can look, and do what he may without them.
func (p People) Present(ctx context.Context, name string) (restart.Actor, error) {
	user, err := p.Store.User(ctx, name)
	if err != nil {
		return restart.Actor{}, err
	}
	now, err := p.refreshed(ctx, user)
	if restart.CodeOf(err) == restart.CodeUnavailable {
		now, err = user, nil
		now.Stale = true
	}
	if err != nil {
		return restart.Actor{}, err
	}
	if now.Disabled() || now.Gone {
		return restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "%s can't sign in any more", name)
	}
	return p.actor(now), nil
}

// holder gives the actor of a token that is good: with its roles and bounds, cut
// down to what its owner has now. CodeUnauthorised for one whose owner may not
// sign in any more.
func (p People) holder(ctx context.Context, token store.Token) (restart.Actor, error) {
	actor := restart.Actor{Name: token.Owner, Roles: token.Roles, Token: token.ID, Method: MethodToken, Scope: token.Scope, ExpiresAt: when(token.ExpiresAt)}
	owner, err := p.Present(ctx, token.Owner)
	switch {
	case restart.CodeOf(err) == restart.CodeNotFound:
		return actor, nil
	case err != nil:
		return restart.Actor{}, err
	}
	actor.Teams, actor.Former = owner.Teams, owner.Former
	actor.Roles = slices.DeleteFunc(slices.Clone(token.Roles), func(r restart.Role) bool { return !Covers(owner, r) })
	return actor, nil
}

// Covers tells whether a token of somebody may have a role: one that he has, or
// one that is less. Whoever may sign in may look, and an admin may all.
func Covers(owner restart.Actor, role restart.Role) bool {
	return owner.Has(role) || owner.Has(restart.RoleAdmin) || role == restart.RoleViewer
}

// when gives nil for the zero time.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Admit takes in whom a method has recognised: it keeps his groups as of now
// and gives the actor. A name belongs to the method, and there to the person,
// that was seen with it first: nobody becomes somebody else by getting the same
// name elsewhere. CodeUnauthorised says why not.
func (p People) Admit(ctx context.Context, id Identity) (restart.Actor, error) {
	id, err := id.checked()
	if err != nil {
		return restart.Actor{}, err
	}
	now := p.now().UTC()
	user, err := p.Store.User(ctx, id.Name)
	var records []audit.Record
	switch {
	case restart.CodeOf(err) == restart.CodeNotFound && id.Method != MethodLocal:
		if err := p.program(ctx, id.Name, now); err != nil {
			return restart.Actor{}, err
		}
		user = store.User{Name: id.Name, Method: id.Method, Subject: id.Subject, CreatedAt: now}
		records = append(records, audit.Record{Time: now, Actor: id.Name, Origin: id.Method, Action: audit.UserCreated, Detail: "signed in for the first time, groups " + named(id.Groups)})
	case err != nil:
		return restart.Actor{}, err
	case user.Disabled():
		return restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "%s is disabled", id.Name).WithHint("an admin can change that: restartilka user enable %s", id.Name)
	case user.Method != id.Method:
		return restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "the name %s belongs to somebody who signs in by %s, not by %s", id.Name, user.Method, id.Method).
			WithHint("if they are the same person, an admin says so: restartilka user method %s %s", id.Name, id.Method)
	case user.Subject != id.Subject && user.Subject != "":
		return restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "the name %s belonged to somebody else, who was known as %s", id.Name, restart.Quote(user.Subject)).
			WithHint("if they are the same person, an admin says so: restartilka user method %s %s", id.Name, id.Method)
	}
	if id.Method == MethodLocal {
		return p.actor(user), nil
	}
	same := slices.Equal(user.Groups, id.Groups) && user.Subject == id.Subject && user.Mail == id.Mail && user.Display == id.Display
	if len(records) > 0 || !same || now.Sub(user.GroupsAt) > groupsFresh {
		if len(records) == 0 {
			records = regrouped(user, id, now)
		}
		user.Subject, user.Groups, user.GroupsAt, user.Mail, user.Display = id.Subject, id.Groups, now, id.Mail, id.Display
		if err := p.Store.AdmitUser(ctx, user, records...); err != nil {
			return restart.Actor{}, err
		}
	}
	return p.actor(user), nil
}

// program refuses a name that belongs to a program: who comes under it from
// elsewhere is not it.
func (p People) program(ctx context.Context, name string, now time.Time) error {
	tokens, err := p.Store.Tokens(ctx, name)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tokens, func(t store.Token) bool { return t.Valid(now) }) {
		return nil
	}
	return restart.Errorf(restart.CodeUnauthorised, "the name %s belongs to a program, which has tokens", name).
		WithHint("if it is this person, an admin says so: restartilka user add %s, and then user method", name)
}
