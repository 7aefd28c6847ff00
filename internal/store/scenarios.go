package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/restartilka/restartilka/internal/restart"
)

// PutScenario keeps the bytes of a scenario version for ever. The digest must
// be that of the body (CodeInvalid). Storing it again changes nothing, except
// that a serial which was not known (0) is filled in.
func (s *Store) PutScenario(ctx context.Context, digest, name string, serial int, body []byte) error {
	if err := checkScenario(digest, body); err != nil {
		return err
	}
	return s.write(ctx, "store scenario "+digest, func(ctx context.Context, t tx) error {
		return s.putScenario(ctx, t, digest, name, serial, body)
	})
}

func checkScenario(digest string, body []byte) error {
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != digest {
		return restart.Errorf(restart.CodeInvalid, "%s is not the digest of the scenario's bytes", restart.Quote(digest))
	}
	return nil
}

func (s *Store) putScenario(ctx context.Context, t tx, digest, name string, serial int, body []byte) error {
	packed, err := s.packer.pack(body)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO scenarios (digest, name, serial, body, stored_at) VALUES (?, ?, ?, ?, $now)
		ON CONFLICT (digest) DO UPDATE SET serial = excluded.serial WHERE scenarios.serial = 0 AND excluded.serial <> 0`, digest, name, serial, packed)
	return err
}

// Scenario returns the bytes of a scenario version, or CodeNotFound.
func (s *Store) Scenario(ctx context.Context, digest string) (body []byte, err error) {
	err = s.ask(ctx, "read scenario", func(ctx context.Context, t tx) error {
		var packed []byte
		err := t.row(ctx, "SELECT body FROM scenarios WHERE digest = ?", digest).Scan(&packed)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("scenario version", digest)
		}
		if err != nil {
			return err
		}
		body, err = unpack(packed)
		return err
	})
	return body, err
}
