package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
)

// Certificate is one that our own CA has issued. The key is not kept.
type Certificate struct {
	Serial    string // hex
	Host      string // or the server's name
	IssuedAt  time.Time
	NotAfter  time.Time
	RevokedAt time.Time // zero = not revoked
}

// PutCertificate stores a certificate, or, where its serial is known, whether
// and when it was revoked; a revocation is not taken back.
func (s *Store) PutCertificate(ctx context.Context, c Certificate, records ...audit.Record) error {
	return s.write(ctx, "store certificate "+c.Serial, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `INSERT INTO certificates (serial, host, issued_at, not_after, revoked_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (serial) DO UPDATE SET revoked_at = excluded.revoked_at WHERE certificates.revoked_at = 0`,
			c.Serial, c.Host, micros(c.IssuedAt), micros(c.NotAfter), micros(c.RevokedAt))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// Certificates lists all certificates by host, the oldest first.
func (s *Store) Certificates(ctx context.Context) (out []Certificate, err error) {
	err = s.read(ctx, "list certificates", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT serial, host, issued_at, not_after, revoked_at FROM certificates ORDER BY host, issued_at, serial")
		out, err = collect(rows, err, func(r *sql.Rows) (c Certificate, err error) {
			var issued, after, revoked int64
			err = r.Scan(&c.Serial, &c.Host, &issued, &after, &revoked)
			c.IssuedAt, c.NotAfter, c.RevokedAt = fromMicros(issued), fromMicros(after), fromMicros(revoked)
			return c, err
		})
		return err
	})
	return out, err
}
