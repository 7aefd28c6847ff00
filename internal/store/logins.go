package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// LoginRequest is a command line that waits until somebody signs it in.
type LoginRequest struct {
	Hash        string // of the secret with which it asks again
	CodeHash    string // of the code that a person types
	Address     string // that it asked from
	Client      string // what it says of itself
	CreatedAt   time.Time
	ExpiresAt   time.Time
	ConfirmedBy string         // "" = nobody yet
	Roles       []restart.Role // that were confirmed
	RefusedAt   time.Time      // zero = not
	TokenEnds   time.Time      // as it was confirmed
}

// Bounds of requests that are open at once: in all, and from one address, as
// which the addresses of an IPv6 network of 64 bits count together.
const (
	maxLogins        = 1000
	maxLoginsAddress = 20
)

const loginColumns = "hash, code_hash, address, client, created_at, expires_at, confirmed_by, roles, refused_at, token_ends"

func scanLogin(row scanner) (r LoginRequest, err error) {
	var roles string
	var created, expires, refused, ends int64
	if err := row.Scan(&r.Hash, &r.CodeHash, &r.Address, &r.Client, &created, &expires, &r.ConfirmedBy, &roles, &refused, &ends); err != nil {
		return r, err
	}
	r.CreatedAt, r.ExpiresAt, r.RefusedAt, r.TokenEnds = fromMicros(created), fromMicros(expires), fromMicros(refused), fromMicros(ends)
	return r, json.Unmarshal([]byte(roles), &r.Roles)
}

// CreateLogin stores a request, and drops those that are over. Where too many
// are open from its address, it is CodeTooMany. Where too many are open in all,
// the oldest that nobody has confirmed makes room: whoever opens them from many
// addresses can't keep others out.
func (s *Store) CreateLogin(ctx context.Context, r LoginRequest) error {
	return s.write(ctx, "create login request", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM login_requests WHERE expires_at <= $now"); err != nil {
			return err
		}
		rows, err := t.rows(ctx, "SELECT address FROM login_requests")
		open, err := collect(rows, err, func(r *sql.Rows) (from string, err error) { return from, r.Scan(&from) })
		if err != nil {
			return err
		}
		his := 0
		for _, from := range open {
			if network(from) == network(r.Address) {
				his++
			}
		}
		if his >= maxLoginsAddress {
			return restart.Errorf(restart.CodeTooMany, "too many logins from %s wait to be confirmed", restart.Quote(network(r.Address))).
				WithHint("try again in some minutes, or sign in with a token: restartilka login URL --token")
		}
		if over := len(open) + 1 - maxLogins; over > 0 {
			_, err := t.exec(ctx, "DELETE FROM login_requests WHERE hash IN (SELECT hash FROM login_requests WHERE confirmed_by = '' ORDER BY created_at, hash LIMIT ?)", over)
			if err != nil {
				return err
			}
		}
		_, err = t.exec(ctx, "INSERT INTO login_requests ("+loginColumns+") VALUES ("+marks(10)+")",
			r.Hash, r.CodeHash, r.Address, r.Client, micros(r.CreatedAt), micros(r.ExpiresAt), "", "[]", 0, 0)
		return err
	})
}

// network is what an address counts as: of IPv6 the first 64 bits, since one
// machine commands all of the rest.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	p, _ := ip.WithZone("").Prefix(64)
	return p.String()
}

// LoginByCode gives a request that is open, or CodeNotFound.
func (s *Store) LoginByCode(ctx context.Context, codeHash string) (r LoginRequest, err error) {
	err = s.ask(ctx, "find login request", func(ctx context.Context, t tx) error {
		r, err = scanLogin(t.row(ctx, "SELECT "+loginColumns+" FROM login_requests WHERE code_hash = ? AND expires_at > $now AND confirmed_by = '' AND refused_at = 0", codeHash))
		return noLogin(err)
	})
	return r, err
}

// AnswerLogin confirms an open request in somebody's name, with the roles and
// the life that its token is to get, or refuses it where by is "". One that is not open any more is
// CodeNotFound.
func (s *Store) AnswerLogin(ctx context.Context, codeHash, by string, roles []restart.Role, ends time.Time, records ...audit.Record) error {
	text, err := toJSON(roles)
	if err != nil {
		return err
	}
	set, args := "confirmed_by = ?, roles = ?, token_ends = ?", []any{by, text, micros(ends), codeHash}
	if by == "" {
		set, args = "refused_at = $now", []any{codeHash}
	}
	return s.write(ctx, "answer login request", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE login_requests SET "+set+" WHERE code_hash = ? AND expires_at > $now AND confirmed_by = '' AND refused_at = 0", args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return noLogin(sql.ErrNoRows)
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// ClaimLogin tells a command line what became of its request. Once it is
// confirmed, the token that mint makes of it is stored and the request is
// gone, in one transaction: it is claimed once. ok is false while nobody has
// answered; a request that was refused is CodeForbidden, one that is over
// CodeNotFound.
func (s *Store) ClaimLogin(ctx context.Context, hash string, mint func(LoginRequest) (Token, audit.Record)) (token Token, ok bool, err error) {
	var open LoginRequest
	err = s.ask(ctx, "look at login request", func(ctx context.Context, t tx) error { // most claims come too early
		open, err = scanLogin(t.row(ctx, "SELECT "+loginColumns+" FROM login_requests WHERE hash = ? AND expires_at > $now", hash))
		return noLogin(err)
	})
	switch {
	case err != nil:
		return token, false, err
	case !open.RefusedAt.IsZero():
		return token, false, restart.Errorf(restart.CodeForbidden, "the login was refused on the page")
	case open.ConfirmedBy == "":
		return token, false, nil
	}
	err = s.write(ctx, "claim login", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "DELETE FROM login_requests WHERE hash = ?", hash)
		if err != nil {
			return err
		}
		if n == 0 {
			return noLogin(sql.ErrNoRows)
		}
		var rec audit.Record
		token, rec = mint(open)
		return insertToken(ctx, t, token, []audit.Record{rec})
	})
	return token, err == nil, err
}

func noLogin(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return restart.Errorf(restart.CodeNotFound, "there is no login of that code, or its 10 minutes are over").WithHint("begin again with: restartilka login URL")
	}
	return err
}
