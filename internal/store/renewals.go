package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
)

// DueRenewals lists up to limit hosts whose certificate has lived two thirds of
// its life at now, is neither over nor revoked, and that nobody is renewing or
// has tried to renew too short a time ago. Those that end first come first. A
// renewal that a host has not taken up does not count.
func (s *Store) DueRenewals(ctx context.Context, now time.Time, limit int) (out []Certificate, err error) {
	err = s.ask(ctx, "look for certificates to renew", func(ctx context.Context, t tx) error {
		at := micros(now)
		rows, err := t.rows(ctx, `SELECT c.serial, c.host, c.issued_at, c.not_after, c.revoked_at, c.revocation, c.pending
			FROM certificates c JOIN enrolments e ON e.host = c.host
			WHERE c.revoked_at = 0 AND c.pending = 0 AND c.not_after > ? AND c.issued_at + (c.not_after - c.issued_at) / 3 * 2 <= ? AND e.next_renewal <= ?
				AND NOT EXISTS (SELECT 1 FROM certificates n WHERE n.host = c.host AND n.revoked_at = 0 AND n.pending = 0
					AND (n.not_after > c.not_after OR (n.not_after = c.not_after AND n.serial > c.serial)))
			ORDER BY c.not_after, c.host LIMIT ?`, at, at, at, page(limit))
		out, err = collect(rows, err, func(r *sql.Rows) (Certificate, error) { return scanCertificate(r) })
		return err
	})
	return out, err
}

// ClaimRenewal takes the renewal of a host for one server until a moment; of
// several that ask at once, one gets it.
func (s *Store) ClaimRenewal(ctx context.Context, host string, now, until time.Time) (mine bool, err error) {
	err = s.write(ctx, "claim the renewal of "+host, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE enrolments SET next_renewal = ? WHERE host = ? AND next_renewal <= ?", micros(until), host, micros(now))
		mine = n > 0
		return err
	})
	return mine, err
}

// ConfirmRenewal notes that a host uses the certificate with this serial. What
// was issued to it before and never taken up is revoked, so that it is of no
// use to anybody. No renewal is tried before next, not even where the serial is
// not known.
func (s *Store) ConfirmRenewal(ctx context.Context, host, serial string, now, next time.Time, revoked audit.Record) error {
	return s.write(ctx, "confirm the certificate of "+host, func(ctx context.Context, t tx) error {
		if err := holdHost(ctx, t, host, micros(now)); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE certificates SET pending = 0 WHERE serial = ? AND host = ?", serial, host); err != nil {
			return err
		}
		rows, err := t.rows(ctx, "SELECT serial FROM certificates WHERE host = ? AND pending = 1 AND revoked_at = 0", host)
		unused, err := collect(rows, err, func(r *sql.Rows) (serial string, err error) {
			err = r.Scan(&serial)
			return serial, err
		})
		if err != nil {
			return err
		}
		for _, serial := range unused {
			r := Revocation{Reason: "renewed again before the host took it up", At: now, Record: revoked}
			if _, err := revoke(ctx, t, "serial", serial, r); err != nil {
				return err
			}
		}
		_, err = t.exec(ctx, "UPDATE enrolments SET next_renewal = ?, failures = 0, failure = '' WHERE host = ?", micros(next), host)
		return err
	})
}

// FailRenewal notes why a renewal failed, and when it is tried again: backoff
// is given how many have failed without a break, this one included.
func (s *Store) FailRenewal(ctx context.Context, host, why string, now time.Time, backoff func(failures int) time.Duration) error {
	return s.write(ctx, "note a failed renewal of "+host, func(ctx context.Context, t tx) error {
		failures := 0
		if err := t.row(ctx, "UPDATE enrolments SET failures = failures + 1, failure = ? WHERE host = ? RETURNING failures", why, host).Scan(&failures); err != nil {
			return err
		}
		_, err := t.exec(ctx, "UPDATE enrolments SET next_renewal = ? WHERE host = ?", micros(now.Add(backoff(failures))), host)
		return err
	})
}
