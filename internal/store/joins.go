package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// JoinToken lets new hosts get a certificate. The secret itself is not kept,
// only a hash of it.
type JoinToken struct {
	ID        string
	Host      string // the one name it is good for; "" where Pattern is set
	Pattern   string // or a glob over names
	Hash      string // of the secret; unique
	Uses      int    // how often it may be used
	Left      int    // how often it still may be
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time
	UsedAt    time.Time // last; zero = never
	RevokedAt time.Time // zero = not revoked
}

const (
	// joinTokenKept is how long a token that is over is remembered, so that who
	// comes late is told so.
	joinTokenKept = 30 * 24 * time.Hour
	// maxRefusals is how many refused uses of a token are recorded: whoever has
	// found an old one must not fill the audit trail with it.
	maxRefusals = 100
)

// Check tells why the token can't be used at now any more (CodeForbidden), or
// nil. Whether its uses are spent it does not tell.
func (t JoinToken) Check(now time.Time) error {
	const stamp = "2006-01-02 15:04:05 UTC"
	switch {
	case !t.RevokedAt.IsZero():
		return t.refuse("this join token was revoked on %s", t.RevokedAt.Format(stamp))
	case !now.Before(t.ExpiresAt):
		return t.refuse("this join token was good until %s; it is %s now, by the server's clock", t.ExpiresAt.Format(stamp), now.UTC().Format(stamp))
	}
	return nil
}

func (t JoinToken) refuse(format string, args ...any) error {
	name := t.Host
	if name == "" {
		name = "HOST"
	}
	return restart.Errorf(restart.CodeForbidden, format, args...).WithHint("ask an admin for a new one: restartilka host join-token %s", name)
}

const joinTokenColumns = "id, host, pattern, hash, uses, uses_left, created_by, created_at, expires_at, used_at, revoked_at"

func scanJoinToken(row scanner) (t JoinToken, err error) {
	var created, expires, used, revoked int64
	err = row.Scan(&t.ID, &t.Host, &t.Pattern, &t.Hash, &t.Uses, &t.Left, &t.CreatedBy, &created, &expires, &used, &revoked)
	t.CreatedAt, t.ExpiresAt, t.UsedAt, t.RevokedAt = fromMicros(created), fromMicros(expires), fromMicros(used), fromMicros(revoked)
	return t, err
}

// CreateJoinToken stores a token, and forgets those that were over a month
// before it.
func (s *Store) CreateJoinToken(ctx context.Context, token JoinToken, records ...audit.Record) error {
	return s.write(ctx, "create join token "+token.ID, func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM join_tokens WHERE expires_at < ?", micros(token.CreatedAt.Add(-joinTokenKept))); err != nil {
			return err
		}
		_, err := t.exec(ctx, "INSERT INTO join_tokens ("+joinTokenColumns+", refusals) VALUES ("+marks(11)+", 0)", token.ID, token.Host, token.Pattern, token.Hash,
			token.Uses, token.Left, token.CreatedBy, micros(token.CreatedAt), micros(token.ExpiresAt), micros(token.UsedAt), micros(token.RevokedAt))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(token.CreatedAt))
	})
}

// JoinTokenByHash finds a token by the hash of its secret, or CodeNotFound. It
// gives those that are over, too.
func (s *Store) JoinTokenByHash(ctx context.Context, hash string) (token JoinToken, err error) {
	err = s.ask(ctx, "find join token", func(ctx context.Context, t tx) error {
		token, err = scanJoinToken(t.row(ctx, "SELECT "+joinTokenColumns+" FROM join_tokens WHERE hash = ?", hash))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no such join token")
		}
		return err
	})
	return token, err
}

// JoinTokens lists all tokens, the newest first.
func (s *Store) JoinTokens(ctx context.Context) (tokens []JoinToken, err error) {
	err = s.ask(ctx, "list join tokens", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+joinTokenColumns+" FROM join_tokens ORDER BY created_at DESC, id DESC")
		tokens, err = collect(rows, err, func(r *sql.Rows) (JoinToken, error) { return scanJoinToken(r) })
		return err
	})
	return tokens, err
}

// RevokeJoinToken ends a token at once. Revoking again keeps the first time and
// writes no records; no such token is CodeNotFound.
func (s *Store) RevokeJoinToken(ctx context.Context, id string, at time.Time, records ...audit.Record) error {
	return s.write(ctx, "revoke join token "+id, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE join_tokens SET revoked_at = ? WHERE id = ? AND revoked_at = 0", micros(at), id)
		if err != nil {
			return err
		}
		if n > 0 {
			return insertRecords(ctx, t, records, micros(at))
		}
		known := 0
		if err := t.row(ctx, "SELECT count(*) FROM join_tokens WHERE id = ?", id).Scan(&known); err != nil {
			return err
		}
		if known == 0 {
			return notFound("join token", id)
		}
		return nil
	})
}

// RefuseJoin records that a token was shown and refused, at most maxRefusals
// times for each token. It tells whether it was recorded.
func (s *Store) RefuseJoin(ctx context.Context, id string, record audit.Record) (recorded bool, err error) {
	// Who shows a dead token again and again costs a look, and no transaction
	// of the one writer.
	var refusals int
	err = s.ask(ctx, "look at a refused join", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT refusals FROM join_tokens WHERE id = ?", id).Scan(&refusals)
		if errors.Is(err, sql.ErrNoRows) {
			refusals = maxRefusals
			return nil
		}
		return err
	})
	if err != nil || refusals >= maxRefusals {
		return false, err
	}
	err = s.write(ctx, "record a refused join", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE join_tokens SET refusals = refusals + 1 WHERE id = ? AND refusals < ?", id, maxRefusals)
		if recorded = n > 0; err != nil || !recorded {
			return err
		}
		return insertRecords(ctx, t, []audit.Record{record}, 0)
	})
	return recorded, err
}

// Join is one use of a join token: what is stored, all of it or nothing.
type Join struct {
	Token       string // id
	KeyHash     string // of the host's public key, hex
	Certificate Certificate
	PEM         []byte
	Records     []audit.Record // of a use
	Again       []audit.Record // of a repeated answer
	Revoked     audit.Record   // of each earlier certificate that ends with it
}

// UseJoinToken uses a token at the certificate's time of issue. Only one of
// many gets the last use. A host that asks again with the key that it has
// joined with is given the same certificate (again is its PEM), for as long as
// the token lives and that certificate is not revoked: its answer was lost. The
// first maxRefusals times of that are recorded, for the same reason.
//
// A token for one name ends the host's earlier certificates; one for a pattern
// is refused for a host that has a living one, or one that was revoked and is
// not over by itself (CodeConflict). A token that is over, or spent, is
// CodeForbidden; see JoinToken.Check.
func (s *Store) UseJoinToken(ctx context.Context, j Join) (again []byte, err error) {
	err = s.write(ctx, "use join token "+j.Token, func(ctx context.Context, t tx) error {
		again = nil
		now, host := j.Certificate.IssuedAt, j.Certificate.Host
		if err := holdHost(ctx, t, host, micros(now)); err != nil {
			return err
		}
		token, err := scanJoinToken(t.row(ctx, "SELECT "+joinTokenColumns+" FROM join_tokens WHERE id = ?", j.Token))
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("join token", j.Token)
		}
		if err == nil {
			err = token.Check(now)
		}
		if err != nil {
			return err
		}
		if again, err = joinedBefore(ctx, t, j); err != nil || again != nil {
			if err == nil {
				err = recordAgain(ctx, t, j)
			}
			return err
		}
		if token.Pattern != "" {
			if err := refuseEnrolled(ctx, t, host, now); err != nil {
				return err
			}
		}
		return join(ctx, t, token, j)
	})
	if err != nil {
		return nil, err
	}
	return again, nil
}

func joinedBefore(ctx context.Context, t tx, j Join) (again []byte, err error) {
	var revoked int64
	err = t.row(ctx, `SELECT u.certificate, c.revoked_at FROM join_uses u JOIN certificates c ON c.serial = u.serial
		WHERE u.token_id = ? AND u.host = ? AND u.key_hash = ?`, j.Token, j.Certificate.Host, j.KeyHash).Scan(&again, &revoked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case revoked != 0:
		return nil, restart.Errorf(restart.CodeForbidden, "the certificate that %s has joined with was revoked since", j.Certificate.Host).
			WithHint("ask an admin for a new token: restartilka host join-token %s", j.Certificate.Host)
	}
	return again, nil
}

// recordAgain records a repeated answer, within the bound for the token.
func recordAgain(ctx context.Context, t tx, j Join) error {
	n, err := t.exec(ctx, "UPDATE join_tokens SET refusals = refusals + 1 WHERE id = ? AND refusals < ?", j.Token, maxRefusals)
	if err != nil || n == 0 {
		return err
	}
	return insertRecords(ctx, t, j.Again, micros(j.Certificate.IssuedAt))
}

// refuseEnrolled keeps whoever names a new machine like an old one from the
// trust that the old one has; and a host from which trust was taken from
// getting it back by the token that it had all along.
func refuseEnrolled(ctx context.Context, t tx, host string, now time.Time) error {
	known, revoked := 0, 0
	err := t.row(ctx, "SELECT count(*), COALESCE(SUM(CASE WHEN revoked_at <> 0 THEN 1 ELSE 0 END), 0) FROM certificates WHERE host = ? AND not_after > ?", host, micros(now)).
		Scan(&known, &revoked)
	if err != nil || known == 0 {
		return err
	}
	if known == revoked {
		return restart.Errorf(restart.CodeConflict, "the certificate of %s was revoked, and a token for a pattern gives no trust back", host).
			WithHint("if the host is to be trusted again, make a token for its own name: restartilka host join-token %s", host)
	}
	return restart.Errorf(restart.CodeConflict, "%s is enrolled already, and a token for a pattern replaces nobody", host).
		WithHint("if it was set up anew, make a token for its own name: restartilka host join-token %s", host)
}

func join(ctx context.Context, t tx, token JoinToken, j Join) error {
	now := micros(j.Certificate.IssuedAt)
	n, err := t.exec(ctx, "UPDATE join_tokens SET uses_left = uses_left - 1, used_at = ? WHERE id = ? AND uses_left > 0 AND revoked_at = 0", now, token.ID)
	if err != nil {
		return err
	}
	if n == 0 {
		if token.Uses == 1 {
			return token.refuse("this join token has been used already; it was good for one use")
		}
		return token.refuse("all %d uses of this join token are spent", token.Uses)
	}
	if token.Host != "" {
		r := Revocation{Reason: "enrolled anew with a join token", At: j.Certificate.IssuedAt, Record: j.Revoked}
		if _, err := revoke(ctx, t, "host", token.Host, r); err != nil {
			return err
		}
	}
	if err := insertCertificate(ctx, t, j.Certificate); err != nil {
		return err
	}
	if _, err := t.exec(ctx, "UPDATE enrolments SET next_renewal = 0, failures = 0, failure = '' WHERE host = ?", j.Certificate.Host); err != nil {
		return err
	}
	_, err = t.exec(ctx, "INSERT INTO join_uses (token_id, host, key_hash, serial, certificate) VALUES (?, ?, ?, ?, ?)",
		token.ID, j.Certificate.Host, j.KeyHash, j.Certificate.Serial, j.PEM)
	if err != nil {
		return err
	}
	return insertRecords(ctx, t, j.Records, now)
}
