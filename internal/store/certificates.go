package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Certificate is one that our own CA has issued. The key is not kept.
type Certificate struct {
	Serial     string // hex
	Host       string // or the server's name
	IssuedAt   time.Time
	NotAfter   time.Time
	RevokedAt  time.Time // zero = not revoked
	Revocation string    // why it was revoked
	Pending    bool      // a renewal of which the host has not said yet that it uses it
	Renews     string    // serial of the certificate by which the host was known for it; not kept
	Failure    string    // why the last renewal for this host failed; "" = it did not, or none was due
}

const certificateColumns = "serial, host, issued_at, not_after, revoked_at, revocation, pending"

func scanCertificate(row scanner, more ...any) (c Certificate, err error) {
	var issued, after, revoked, pending int64
	err = row.Scan(append([]any{&c.Serial, &c.Host, &issued, &after, &revoked, &c.Revocation, &pending}, more...)...)
	c.IssuedAt, c.NotAfter, c.RevokedAt, c.Pending = fromMicros(issued), fromMicros(after), fromMicros(revoked), pending != 0
	return c, err
}

// PutCertificate stores a certificate, or, where its serial is known, whether,
// when and why it was revoked; a revocation is not taken back. One that renews
// a certificate which was revoked meanwhile is refused (CodeRevoked): trust that
// was ended goes on in no other certificate.
func (s *Store) PutCertificate(ctx context.Context, c Certificate, records ...audit.Record) error {
	return s.write(ctx, "store certificate "+c.Serial, func(ctx context.Context, t tx) error {
		if err := holdHost(ctx, t, c.Host, micros(c.IssuedAt)); err != nil {
			return err
		}
		if err := refuseRevoked(ctx, t, c.Renews); err != nil {
			return err
		}
		if err := insertCertificate(ctx, t, c); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}

func refuseRevoked(ctx context.Context, t tx, serial string) error {
	revoked := 0
	err := t.row(ctx, "SELECT count(*) FROM certificates WHERE serial = ? AND revoked_at <> 0", serial).Scan(&revoked)
	if err != nil || revoked == 0 {
		return err
	}
	return restart.Errorf(restart.CodeRevoked, "the certificate %s that was to be renewed is revoked", serial)
}

func insertCertificate(ctx context.Context, t tx, c Certificate) error {
	_, err := t.exec(ctx, `INSERT INTO certificates (`+certificateColumns+`) VALUES (`+marks(7)+`)
		ON CONFLICT (serial) DO UPDATE SET revoked_at = excluded.revoked_at, revocation = excluded.revocation WHERE certificates.revoked_at = 0`,
		c.Serial, c.Host, micros(c.IssuedAt), micros(c.NotAfter), micros(c.RevokedAt), c.Revocation, toInt(c.Pending))
	return err
}

// holdHost makes every other change of this host's certificates wait until
// this transaction is over.
func holdHost(ctx context.Context, t tx, host string, at int64) error {
	_, err := t.exec(ctx, `INSERT INTO enrolments (host, changed_at, next_renewal, failures, failure) VALUES (?, ?, 0, 0, '')
		ON CONFLICT (host) DO UPDATE SET changed_at = excluded.changed_at`, host, at)
	return err
}

// Certificates lists all certificates by host, the oldest first.
func (s *Store) Certificates(ctx context.Context) (out []Certificate, err error) {
	err = s.ask(ctx, "list certificates", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, `SELECT c.serial, c.host, c.issued_at, c.not_after, c.revoked_at, c.revocation, c.pending, COALESCE(e.failure, '')
			FROM certificates c LEFT JOIN enrolments e ON e.host = c.host ORDER BY c.host, c.issued_at, c.serial`)
		out, err = collect(rows, err, scanWithFailure)
		return err
	})
	return out, err
}

// CertificatesOf lists the certificates of some hosts, by host, the oldest first.
func (s *Store) CertificatesOf(ctx context.Context, hosts []string) (out []Certificate, err error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	args := make([]any, len(hosts))
	for i, h := range hosts {
		args[i] = h
	}
	err = s.ask(ctx, "list certificates of hosts", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, `SELECT c.serial, c.host, c.issued_at, c.not_after, c.revoked_at, c.revocation, c.pending, COALESCE(e.failure, '')
			FROM certificates c LEFT JOIN enrolments e ON e.host = c.host WHERE c.host IN (`+marks(len(hosts))+`) ORDER BY c.host, c.issued_at, c.serial`, args...)
		out, err = collect(rows, err, scanWithFailure)
		return err
	})
	return out, err
}

// EndingHosts names up to limit hosts whose newest certificate, of those that
// are not revoked, ends by a moment; those that end first come first.
func (s *Store) EndingHosts(ctx context.Context, by time.Time, limit int) (hosts []string, err error) {
	err = s.ask(ctx, "list hosts whose certificate ends", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT host FROM certificates WHERE revoked_at = 0 GROUP BY host HAVING MAX(not_after) <= ? ORDER BY MAX(not_after), host LIMIT ?", micros(by), limit)
		hosts, err = collect(rows, err, func(r *sql.Rows) (host string, err error) { return host, r.Scan(&host) })
		return err
	})
	return hosts, err
}

func scanWithFailure(r *sql.Rows) (Certificate, error) {
	var failure string
	c, err := scanCertificate(r, &failure)
	c.Failure = failure
	return c, err
}

// RevokedCertificates lists those that were revoked and would not be over at
// now by themselves.
func (s *Store) RevokedCertificates(ctx context.Context, now time.Time) (out []Certificate, err error) {
	err = s.ask(ctx, "list revoked certificates", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+certificateColumns+" FROM certificates WHERE revoked_at <> 0 AND not_after > ? ORDER BY serial", micros(now))
		out, err = collect(rows, err, func(r *sql.Rows) (Certificate, error) { return scanCertificate(r) })
		return err
	})
	return out, err
}

// Revocation says which certificates are to count no more: all of a host, or
// the one with a serial.
type Revocation struct {
	Host, Serial string // one of the two
	Reason       string
	At           time.Time
	Record       audit.Record // of each certificate; Host and Detail are filled in
}

// RevokeCertificates revokes what is not revoked yet, and gives that. Nothing
// that fits at all, nor a join token for the host, is CodeNotFound; nothing left
// to revoke is no error.
func (s *Store) RevokeCertificates(ctx context.Context, r Revocation) (out []Certificate, err error) {
	column, value := "host", r.Host
	if r.Serial != "" {
		column, value = "serial", r.Serial
	}
	err = s.write(ctx, "revoke certificates of "+column+" "+value, func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "UPDATE enrolments SET changed_at = ? WHERE host IN (SELECT host FROM certificates WHERE "+column+" = ?)", micros(r.At), value); err != nil {
			return err // see holdHost: a renewal in hand waits, and then finds what it renews revoked
		}
		ended := 0
		if r.Host != "" && r.Serial == "" {
			if ended, err = endNamedTokens(ctx, t, r); err != nil {
				return err
			}
		}
		if out, err = revoke(ctx, t, column, value, r); err != nil || len(out) > 0 || ended > 0 {
			return err
		}
		known := 0
		if err := t.row(ctx, "SELECT count(*) FROM certificates WHERE "+column+" = ?", value).Scan(&known); err != nil {
			return err
		}
		if known == 0 {
			return restart.Errorf(restart.CodeNotFound, "this server has issued no certificate for %s %s", column, restart.Quote(value)).
				WithHint("what there is: restartilka host certificates; the company's own PKI revokes what it has issued")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// endNamedTokens ends the join tokens for the name of a host that is revoked:
// whoever took the host may have taken its token as well. It says how many.
func endNamedTokens(ctx context.Context, t tx, r Revocation) (int, error) {
	rows, err := t.rows(ctx, "UPDATE join_tokens SET revoked_at = ? WHERE host = ? AND revoked_at = 0 AND uses_left > 0 AND expires_at > ? RETURNING id", micros(r.At), r.Host, micros(r.At))
	ended, err := collect(rows, err, func(row *sql.Rows) (id string, err error) { return id, row.Scan(&id) })
	if err != nil {
		return 0, err
	}
	var records []audit.Record
	for _, id := range ended {
		rec := r.Record
		rec.Action, rec.Host, rec.Reason, rec.Detail = audit.JoinTokenRevoked, r.Host, r.Reason, id+", with the host's certificates"
		records = append(records, rec)
	}
	return len(ended), insertRecords(ctx, t, records, micros(r.At))
}

// revoke revokes where column is value, and writes a record for each.
func revoke(ctx context.Context, t tx, column, value string, r Revocation) ([]Certificate, error) {
	rows, err := t.rows(ctx, "UPDATE certificates SET revoked_at = ?, revocation = ? WHERE "+column+" = ? AND revoked_at = 0 RETURNING "+certificateColumns,
		micros(r.At), r.Reason, value)
	out, err := collect(rows, err, func(r *sql.Rows) (Certificate, error) { return scanCertificate(r) })
	if err != nil {
		return nil, err
	}
	var records []audit.Record
	for _, c := range out {
		rec := r.Record
		rec.Host, rec.Reason, rec.Detail = c.Host, r.Reason, "serial "+c.Serial
		records = append(records, rec)
	}
	return out, insertRecords(ctx, t, records, micros(r.At))
}

// mostCertificates bounds those of one host that are told.
const mostCertificates = 10

// NewestCertificates lists the newest certificates of one host, the newest first.
func (s *Store) NewestCertificates(ctx context.Context, host string) (out []Certificate, err error) {
	err = s.ask(ctx, "list certificates of "+host, func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+certificateColumns+" FROM certificates WHERE host = ? ORDER BY not_after DESC, serial LIMIT ?", host, mostCertificates)
		out, err = collect(rows, err, func(r *sql.Rows) (Certificate, error) { return scanCertificate(r) })
		return err
	})
	return out, err
}
