package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Session is somebody signed in with a browser. Its secret is in the cookie
// only; the database has a hash of it.
type Session struct {
	ID         string // by which it is listed and ended; not secret
	Hash       string
	Owner      string
	Method     string // by which he signed in
	TokenID    string // the token that was used to sign in; "" = none
	Roles      []restart.Role
	Groups     []string // as the method told them
	Address    string   // that the sign-in came from
	UserAgent  string   // what the browser says of itself
	CreatedAt  time.Time
	LastSeenAt time.Time // to the minute
	ExpiresAt  time.Time // absolute; a session always has one
}

// maxSessions is how many sessions one person may have; the oldest end for a
// new one.
const maxSessions = 50

// CreateSession stores a session, and drops those that are over.
func (s *Store) CreateSession(ctx context.Context, session Session, records ...audit.Record) error {
	roles, err := toJSON(session.Roles)
	if err != nil {
		return err
	}
	groups, err := toJSON(session.Groups)
	if err != nil {
		return err
	}
	return s.write(ctx, "create session", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM sessions WHERE expires_at <= $now"); err != nil {
			return err
		}
		_, err := t.exec(ctx, "DELETE FROM sessions WHERE owner = ? AND id NOT IN (SELECT id FROM sessions WHERE owner = ? ORDER BY created_at DESC, id DESC LIMIT ?)", session.Owner, session.Owner, maxSessions-1)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, "INSERT INTO sessions ("+sessionColumns+") VALUES ("+marks(12)+")", session.ID, session.Hash, session.Owner, session.Method, session.TokenID, roles,
			groups, session.Address, session.UserAgent, micros(session.CreatedAt), micros(session.LastSeenAt), micros(session.ExpiresAt))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(session.CreatedAt))
	})
}

const sessionColumns = "id, hash, owner, method, token_id, roles, teams, address, user_agent, created_at, last_seen_at, expires_at"

func scanSession(row scanner) (session Session, err error) {
	var roles, groups string
	var created, seen, expires int64
	err = row.Scan(&session.ID, &session.Hash, &session.Owner, &session.Method, &session.TokenID, &roles, &groups, &session.Address, &session.UserAgent, &created, &seen, &expires)
	if err != nil {
		return session, err
	}
	session.CreatedAt, session.LastSeenAt, session.ExpiresAt = fromMicros(created), fromMicros(seen), fromMicros(expires)
	return session, errors.Join(json.Unmarshal([]byte(roles), &session.Roles), json.Unmarshal([]byte(groups), &session.Groups))
}

// SessionByHash finds a session that is not over, or CodeNotFound. Idle limits
// are the caller's: see LastSeenAt.
func (s *Store) SessionByHash(ctx context.Context, hash string) (Session, error) {
	return s.session(ctx, "hash", hash)
}

// SessionByID finds a session as SessionByHash does.
func (s *Store) SessionByID(ctx context.Context, id string) (Session, error) {
	return s.session(ctx, "id", id)
}

func (s *Store) session(ctx context.Context, column, value string) (session Session, err error) {
	err = s.ask(ctx, "find session", func(ctx context.Context, t tx) error {
		session, err = scanSession(t.row(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE "+column+" = ? AND expires_at > $now", value))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no such session")
		}
		return err
	})
	return session, err
}

// SessionFilter says which sessions are listed, and from where on.
type SessionFilter struct {
	Owner    string        // "" = everybody's
	Idle     time.Duration // used within it
	Before   time.Time     // with BeforeID: the last one of the page before; zero = from the newest
	BeforeID string
	Limit    int
}

// Sessions lists sessions that are not over, the newest first.
func (s *Store) Sessions(ctx context.Context, f SessionFilter) (sessions []Session, err error) {
	err = s.ask(ctx, "list sessions", func(ctx context.Context, t tx) error {
		text, args := "SELECT "+sessionColumns+" FROM sessions WHERE expires_at > $now AND last_seen_at >= $now - ?", []any{f.Idle.Microseconds()}
		if f.Owner != "" {
			text, args = text+" AND owner = ?", append(args, f.Owner)
		}
		if !f.Before.IsZero() {
			at := micros(f.Before)
			text, args = text+" AND (created_at < ? OR created_at = ? AND id < ?)", append(args, at, at, f.BeforeID)
		}
		rows, err := t.rows(ctx, text+" ORDER BY created_at DESC, id DESC LIMIT ?", append(args, f.Limit)...)
		sessions, err = collect(rows, err, func(r *sql.Rows) (Session, error) { return scanSession(r) })
		return err
	})
	return sessions, err
}

// SessionsOpen tells which of some sessions are there and not over.
func (s *Store) SessionsOpen(ctx context.Context, ids []string) (map[string]bool, error) {
	open := map[string]bool{}
	err := s.read(ctx, "look up sessions", func(ctx context.Context, t tx) error {
		for some := range slices.Chunk(ids, 256) {
			args := make([]any, 1) // of few lengths, so that few statements are kept
			for len(args) < len(some) {
				args = make([]any, 2*len(args))
			}
			for i := range args {
				args[i] = some[min(i, len(some)-1)]
			}
			rows, err := t.rows(ctx, "SELECT id FROM sessions WHERE expires_at > $now AND id IN ("+marks(len(args))+")", args...)
			found, err := collect(rows, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
			if err != nil {
				return err
			}
			for _, id := range found {
				open[id] = true
			}
		}
		return nil
	})
	return open, err
}

// RevokeSession ends a session by its id at once; CodeNotFound where it is over.
func (s *Store) RevokeSession(ctx context.Context, id string, records ...audit.Record) error {
	return s.write(ctx, "revoke session "+id, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "DELETE FROM sessions WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("session", id)
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// RevokeSessions ends all sessions of somebody but one at once, and tells how
// many those were. The records are written whatever there was: it was asked for.
func (s *Store) RevokeSessions(ctx context.Context, owner, keep string, records ...audit.Record) (ended int, err error) {
	err = s.write(ctx, "revoke the sessions of "+owner, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "DELETE FROM sessions WHERE owner = ? AND id <> ?", owner, keep)
		if ended = int(n); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
	return ended, err
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
