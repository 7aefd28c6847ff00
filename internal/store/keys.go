package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Key is the public half of an SSH key that somebody has put into his profile.
type Key struct {
	ID          string
	Owner       string // user name
	Name        string // what it is, in the owner's words
	Kind        string // such as ssh-ed25519
	Fingerprint string // SHA256:…, unique
	Public      string // base64, as in authorized_keys
	CreatedAt   time.Time
	ExpiresAt   time.Time // zero = never
	LastUsedAt  time.Time // zero = never; to the minute
}

// Valid tells whether the key may be used at now.
func (k Key) Valid(now time.Time) bool {
	return k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt)
}

// MaxKeys is how many SSH keys one person may have.
const MaxKeys = 50

const keyColumns = "id, owner, name, kind, fingerprint, public, created_at, expires_at, last_used_at"

func scanKey(row scanner) (k Key, err error) {
	var created, expires, used int64
	err = row.Scan(&k.ID, &k.Owner, &k.Name, &k.Kind, &k.Fingerprint, &k.Public, &created, &expires, &used)
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt = fromMicros(created), fromMicros(expires), fromMicros(used)
	return k, err
}

// AddKey stores a key. One that somebody has already, or one too many of its
// owner, is CodeConflict.
func (s *Store) AddKey(ctx context.Context, k Key, records ...audit.Record) error {
	return s.write(ctx, "add SSH key "+k.ID, func(ctx context.Context, t tx) error {
		var have int
		if err := t.row(ctx, "SELECT count(*) FROM ssh_keys WHERE owner = ?", k.Owner).Scan(&have); err != nil {
			return err
		}
		if have >= MaxKeys {
			return restart.Errorf(restart.CodeConflict, "%s has %d keys already", k.Owner, have).WithHint("remove one that is not used any more: restartilka key list")
		}
		n, err := t.exec(ctx, "INSERT INTO ssh_keys ("+keyColumns+") VALUES ("+marks(9)+") ON CONFLICT (fingerprint) DO NOTHING", k.ID, k.Owner, k.Name, k.Kind, k.Fingerprint, k.Public,
			micros(k.CreatedAt), micros(k.ExpiresAt), micros(k.LastUsedAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return restart.Errorf(restart.CodeConflict, "this key is in a profile already").WithHint("a key belongs to one person, once; make one of your own: ssh-keygen -t ed25519")
		}
		return insertRecords(ctx, t, records, micros(k.CreatedAt))
	})
}

// KeyByFingerprint finds a key, or CodeNotFound. It returns expired ones too:
// see Key.Valid.
func (s *Store) KeyByFingerprint(ctx context.Context, fingerprint string) (Key, error) {
	return s.key(ctx, "fingerprint", fingerprint)
}

// KeyByID finds a key as KeyByFingerprint does.
func (s *Store) KeyByID(ctx context.Context, id string) (Key, error) {
	return s.key(ctx, "id", id)
}

func (s *Store) key(ctx context.Context, column, value string) (k Key, err error) {
	err = s.ask(ctx, "find SSH key", func(ctx context.Context, t tx) error {
		k, err = scanKey(t.row(ctx, "SELECT "+keyColumns+" FROM ssh_keys WHERE "+column+" = ?", value))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no such key")
		}
		return err
	})
	return k, err
}

// KeyFilter says which keys are listed, and from where on.
type KeyFilter struct {
	Owner string // "" = everybody's
	After string // id of the last one of the page before; "" = from the oldest
	Limit int
}

// Keys lists keys, the oldest first.
func (s *Store) Keys(ctx context.Context, f KeyFilter) (keys []Key, err error) {
	err = s.ask(ctx, "list SSH keys", func(ctx context.Context, t tx) error {
		where, args := "id > ?", []any{f.After}
		if f.Owner != "" {
			where, args = where+" AND owner = ?", append(args, f.Owner)
		}
		rows, err := t.rows(ctx, "SELECT "+keyColumns+" FROM ssh_keys WHERE "+where+" ORDER BY id LIMIT ?", append(args, f.Limit)...)
		keys, err = collect(rows, err, func(r *sql.Rows) (Key, error) { return scanKey(r) })
		return err
	})
	return keys, err
}

// RemoveKey forgets a key at once; CodeNotFound where there is none.
func (s *Store) RemoveKey(ctx context.Context, id string, records ...audit.Record) error {
	return s.write(ctx, "remove SSH key "+id, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "DELETE FROM ssh_keys WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("key", id)
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// TouchKey notes that a key was used now, at most once a minute.
func (s *Store) TouchKey(ctx context.Context, id string) error {
	return s.touch(ctx, "ssh_keys", "last_used_at", "id", id)
}
