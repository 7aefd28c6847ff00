package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Session is somebody signed in with a browser. Its secret is in the cookie
// only; the database has a hash of it.
type Session struct {
	Hash       string
	Owner      string
	TokenID    string // the token that was used to sign in; "" = none
	Roles      []restart.Role
	CreatedAt  time.Time
	LastSeenAt time.Time // to the minute
	ExpiresAt  time.Time // absolute; a session always has one
}

// CreateSession stores a session, and drops those that are over.
func (s *Store) CreateSession(ctx context.Context, session Session, records ...audit.Record) error {
	roles, err := toJSON(session.Roles)
	if err != nil {
		return err
	}
	return s.write(ctx, "create session", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM sessions WHERE expires_at <= $now"); err != nil {
			return err
		}
		_, err := t.exec(ctx, "INSERT INTO sessions ("+sessionColumns+") VALUES ("+marks(7)+")", session.Hash, session.Owner, session.TokenID, roles,
			micros(session.CreatedAt), micros(session.LastSeenAt), micros(session.ExpiresAt))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(session.CreatedAt))
	})
}

const sessionColumns = "hash, owner, token_id, roles, created_at, last_seen_at, expires_at"

// SessionByHash finds a session that is not over, or CodeNotFound. Idle limits
// are the caller's: see LastSeenAt.
func (s *Store) SessionByHash(ctx context.Context, hash string) (session Session, err error) {
	err = s.read(ctx, "find session", func(ctx context.Context, t tx) error {
		var roles string
		var created, seen, expires int64
		err := t.row(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE hash = ? AND expires_at > $now", hash).
			Scan(&session.Hash, &session.Owner, &session.TokenID, &roles, &created, &seen, &expires)
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no such session")
		}
		if err != nil {
			return err
		}
		session.CreatedAt, session.LastSeenAt, session.ExpiresAt = fromMicros(created), fromMicros(seen), fromMicros(expires)
		return json.Unmarshal([]byte(roles), &session.Roles)
	})
	return session, err
}

// DeleteSession ends a session at once; one that is not there is no error.
func (s *Store) DeleteSession(ctx context.Context, hash string, records ...audit.Record) error {
	return s.write(ctx, "delete session", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "DELETE FROM sessions WHERE hash = ?", hash)
		if err != nil || n == 0 {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// TouchSession notes that a session was used now, at most once a minute.
func (s *Store) TouchSession(ctx context.Context, hash string) error {
	return s.touch(ctx, "sessions", "last_seen_at", "hash", hash)
}
