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

// Token lets a program or a person act as its owner. The secret itself is not
// kept, only a hash of it.
type Token struct {
	ID         string
	Name       string // what it is for, in the owner's words
	Owner      string
	Roles      []restart.Role
	Scope      *restart.Scope // nil = bounded by the roles alone
	Hash       string         // of the secret; unique
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero = never
	LastUsedAt time.Time // zero = never; to the minute
	RevokedAt  time.Time // zero = not revoked
}

// Valid tells whether the token may be used at now.
func (t Token) Valid(now time.Time) bool {
	return t.RevokedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt))
}

// touchAfter is how stale the time of last use may be, so that not every
// request is a write.
const touchAfter = time.Minute

// CreateToken stores a token; an id or hash that is there is CodeConflict.
func (s *Store) CreateToken(ctx context.Context, token Token, records ...audit.Record) error {
	return s.write(ctx, "create token "+token.ID, func(ctx context.Context, t tx) error {
		return insertToken(ctx, t, token, records)
	})
}

func insertToken(ctx context.Context, t tx, token Token, records []audit.Record) error {
	roles, err := toJSON(token.Roles)
	if err != nil {
		return err
	}
	scope := ""
	if token.Scope != nil {
		if scope, err = toJSON(token.Scope); err != nil {
			return err
		}
	}
	_, err = t.exec(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES ("+marks(10)+")", token.ID, token.Name, token.Owner, roles, scope, token.Hash,
		micros(token.CreatedAt), micros(token.ExpiresAt), micros(token.LastUsedAt), micros(token.RevokedAt))
	if err != nil {
		return err
	}
	return insertRecords(ctx, t, records, micros(token.CreatedAt))
}

const tokenColumns = "id, name, owner, roles, scope, hash, created_at, expires_at, last_used_at, revoked_at"

func scanToken(row scanner) (token Token, err error) {
	var roles, scope string
	var created, expires, used, revoked int64
	if err := row.Scan(&token.ID, &token.Name, &token.Owner, &roles, &scope, &token.Hash, &created, &expires, &used, &revoked); err != nil {
		return token, err
	}
	token.CreatedAt, token.ExpiresAt, token.LastUsedAt, token.RevokedAt = fromMicros(created), fromMicros(expires), fromMicros(used), fromMicros(revoked)
	if scope != "" {
		token.Scope = &restart.Scope{}
		if err := json.Unmarshal([]byte(scope), token.Scope); err != nil {
			return token, err // never a token without its bounds
		}
	}
	err = json.Unmarshal([]byte(roles), &token.Roles)
	return token, err
}

// TokenByHash finds a token by the hash of its secret, or CodeNotFound. It
// returns expired and revoked ones too: see Token.Valid.
func (s *Store) TokenByHash(ctx context.Context, hash string) (Token, error) {
	return s.token(ctx, "hash", hash)
}

// TokenByID finds a token as TokenByHash does.
func (s *Store) TokenByID(ctx context.Context, id string) (Token, error) {
	return s.token(ctx, "id", id)
}

func (s *Store) token(ctx context.Context, column, value string) (token Token, err error) {
	err = s.ask(ctx, "find token", func(ctx context.Context, t tx) error {
		token, err = scanToken(t.row(ctx, "SELECT "+tokenColumns+" FROM tokens WHERE "+column+" = ?", value))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no such token")
		}
		return err
	})
	return token, err
}

// Tokens lists the tokens of an owner ("" = of all), oldest first.
func (s *Store) Tokens(ctx context.Context, owner string) (tokens []Token, err error) {
	err = s.ask(ctx, "list tokens", func(ctx context.Context, t tx) error {
		text, args := "SELECT "+tokenColumns+" FROM tokens ORDER BY created_at, id", []any(nil)
		if owner != "" {
			text, args = "SELECT "+tokenColumns+" FROM tokens WHERE owner = ? ORDER BY created_at, id", []any{owner}
		}
		rows, err := t.rows(ctx, text, args...)
		tokens, err = collect(rows, err, func(r *sql.Rows) (Token, error) { return scanToken(r) })
		return err
	})
	return tokens, err
}

// RevokeToken ends a token, and the sessions that were opened with it, at
// once. Revoking again keeps the first time and writes no records; no such token is CodeNotFound.
func (s *Store) RevokeToken(ctx context.Context, id string, records ...audit.Record) error {
	return s.write(ctx, "revoke token "+id, func(ctx context.Context, t tx) error {
		var now int64
		err := t.row(ctx, "UPDATE tokens SET revoked_at = $now WHERE id = ? AND revoked_at = 0 RETURNING revoked_at", id).Scan(&now)
		if errors.Is(err, sql.ErrNoRows) {
			var tokens int
			if err := t.row(ctx, "SELECT count(*) FROM tokens WHERE id = ?", id).Scan(&tokens); err != nil {
				return err
			}
			if tokens == 0 {
				return notFound("token", id)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "DELETE FROM sessions WHERE token_id = ?", id); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, now)
	})
}

// TouchToken notes that a token was used now, at most once a minute.
func (s *Store) TouchToken(ctx context.Context, id string) error {
	return s.touch(ctx, "tokens", "last_used_at", "id", id)
}

func (s *Store) touch(ctx context.Context, table, column, key, value string) error {
	where := " WHERE " + key + " = ? AND " + column + " <= $now - ?"
	stale := 0
	err := s.ask(ctx, "read last use", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT count(*) FROM "+table+where, value, touchAfter.Microseconds()).Scan(&stale)
	})
	if err != nil || stale == 0 {
		return err
	}
	return s.write(ctx, "note use", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "UPDATE "+table+" SET "+column+" = $now"+where, value, touchAfter.Microseconds())
		return err
	})
}
