package authn

import (
	"context"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

const (
	// CookieName of a browser's session. The prefix binds it to this origin and
	// to TLS (RFC 6265bis, 4.1.3.2).
	CookieName = "__Host-restartilka"
	// SessionLife is the absolute limit of a session.
	SessionLife = 12 * time.Hour
	// SessionIdle is its limit without a request.
	SessionIdle = 2 * time.Hour
)

// SessionStore keeps sessions by the hash of their secret; *store.Store is one.
type SessionStore interface {
	CreateSession(ctx context.Context, s store.Session, records ...audit.Record) error
	SessionByHash(ctx context.Context, hash string) (store.Session, error)
	SessionsOpen(ctx context.Context, ids []string) (map[string]bool, error)
	TouchSession(ctx context.Context, hash string) error
	DeleteSession(ctx context.Context, hash string, records ...audit.Record) error
}

// Sessions recognises the cookie of a signed-in browser. A session lives no
// longer than the token it was opened with, or the person's right to sign in.
type Sessions struct {
	Store  SessionStore
	Tokens TokenStore
	People *People          // nil = users have only the roles that an admin gave
	Now    func() time.Time // nil = time.Now
}

func (s Sessions) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Authenticate implements Method. A session that is over is nobody, not an
// error: the page then shows the way to sign in.
func (s Sessions) Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error) {
	cookie, err := r.Cookie(CookieName)
	if err != nil || !wellFormed(cookie.Value) {
		return restart.Actor{}, nil
	}
	session, err := s.Store.SessionByHash(ctx, Hash(cookie.Value))
	if restart.CodeOf(err) == restart.CodeNotFound {
		return restart.Actor{}, nil
	}
	if err != nil {
		return restart.Actor{}, err
	}
	now := s.now()
	if !now.Before(session.ExpiresAt) || now.Sub(session.LastSeenAt) > SessionIdle {
		return restart.Actor{}, nil
	}
	actor, err := s.whose(ctx, session, now)
	switch restart.CodeOf(err) {
	case restart.CodeNotFound, restart.CodeUnauthorised:
		return restart.Actor{}, nil
	case "":
	default:
		return restart.Actor{}, err
	}
	if err := s.Store.TouchSession(ctx, session.Hash); err != nil {
		return restart.Actor{}, err
	}
	actor.Via, actor.From, actor.Method = "web", from(r), session.Method
	actor.Session, actor.SignedInAt, actor.ExpiresAt = session.ID, &session.CreatedAt, &session.ExpiresAt
	return actor, nil
}

// whose gives the person of a session as he is now: CodeNotFound or
// CodeUnauthorised where what it stands on has gone.
func (s Sessions) whose(ctx context.Context, session store.Session, now time.Time) (restart.Actor, error) {
	people := Tokens{Store: s.Tokens, People: s.People, Now: s.Now}.people()
	if session.TokenID == "" {
		actor, err := people.Present(ctx, session.Owner)
		if err == nil && actor.Method != session.Method {
			return restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "%s signs in by %s now", session.Owner, actor.Method)
		}
		return actor, err
	}
	token, err := s.Tokens.TokenByID(ctx, session.TokenID)
	if err != nil {
		return restart.Actor{}, err
	}
	if !token.Valid(now) {
		return restart.Actor{}, errToken
	}
	return people.holder(ctx, token)
}

// Open starts a session for an actor and sets its cookie. The secret is always
// a new one: a session can't be planted in somebody's browser beforehand. The
// one that the request came with, if any, ends: who signs in again has one. It
// counts as signed in since the actor's SignedInAt, where that is set. The record
// of the sign-in is stored with it.
func (s Sessions) Open(ctx context.Context, w http.ResponseWriter, r *http.Request, actor restart.Actor, rec audit.Record) error {
	secret, hash := NewSecret()
	now := s.now().UTC()
	proved := now
	if actor.SignedInAt != nil && actor.SignedInAt.Before(now) {
		proved = actor.SignedInAt.UTC()
	}
	err := s.Store.CreateSession(ctx, store.Session{
		ID: restart.NewID(now), Hash: hash, Owner: actor.Name, Method: actor.Method, TokenID: actor.Token, Roles: actor.Roles, Groups: actor.Teams,
		Address: from(r), UserAgent: agentOf(r), CreatedAt: proved, LastSeenAt: now, ExpiresAt: now.Add(SessionLife),
	}, rec)
	if err != nil {
		return err
	}
	if cookie, err := r.Cookie(CookieName); err == nil && wellFormed(cookie.Value) {
		if err := s.Store.DeleteSession(ctx, Hash(cookie.Value)); err != nil {
			return err
		}
	}
	http.SetCookie(w, &http.Cookie{
		Name: CookieName, Value: secret, Path: "/", MaxAge: int(SessionLife / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return nil
}

// agentOf gives what a browser says of itself, escaped and in a bounded length.
func agentOf(r *http.Request) string {
	const most = 200
	agent := []rune(restart.Escape(r.UserAgent()))
	return string(agent[:min(len(agent), most)])
}

// Close ends the session of a request and clears its cookie.
func (s Sessions) Close(ctx context.Context, w http.ResponseWriter, r *http.Request, rec audit.Record) error {
	if cookie, err := r.Cookie(CookieName); err == nil && wellFormed(cookie.Value) {
		if err := s.Store.DeleteSession(ctx, Hash(cookie.Value), rec); err != nil && restart.CodeOf(err) != restart.CodeNotFound {
			return err
		}
	}
	http.SetCookie(w, &http.Cookie{Name: CookieName, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return nil
}
