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

// User is a person that was seen: made by an admin (local), or by signing in
// by another method.
type User struct {
	Name       string
	Method     string // by which he signs in; no other is accepted for the name
	Subject    string // the method's own id of him; "" = the name
	Display    string
	Mail       string
	Roles      []restart.Role // that an admin gave; rules may give more
	Groups     []string       // as of GroupsAt
	GroupsAt   time.Time      // zero = never told
	Password   string         // PHC string; "" = can't sign in with one
	PasswordAt time.Time      // when it was set; zero = never
	CreatedAt  time.Time
	DisabledAt time.Time // zero = may sign in
	Gone       bool      // his directory knows him no more; not stored
	Stale      bool      // Groups are too old to allow anything; not stored
}

// Disabled tells whether the user may not sign in any more.
func (u User) Disabled() bool { return !u.DisabledAt.IsZero() }

const userColumns = "name, method, subject, display, mail, roles, teams, teams_at, password, password_at, created_at, disabled_at"

func scanUser(row scanner) (u User, err error) {
	var roles, groups string
	var groupsAt, passwordAt, created, disabled int64
	if err := row.Scan(&u.Name, &u.Method, &u.Subject, &u.Display, &u.Mail, &roles, &groups, &groupsAt, &u.Password, &passwordAt, &created, &disabled); err != nil {
		return u, err
	}
	u.GroupsAt, u.PasswordAt, u.CreatedAt, u.DisabledAt = fromMicros(groupsAt), fromMicros(passwordAt), fromMicros(created), fromMicros(disabled)
	return u, errors.Join(json.Unmarshal([]byte(roles), &u.Roles), json.Unmarshal([]byte(groups), &u.Groups))
}

func (u User) values() ([]any, error) {
	roles, err := toJSON(u.Roles)
	if err != nil {
		return nil, err
	}
	groups, err := toJSON(u.Groups)
	if err != nil {
		return nil, err
	}
	return []any{u.Name, u.Method, u.Subject, u.Display, u.Mail, roles, groups, micros(u.GroupsAt), u.Password, micros(u.PasswordAt), micros(u.CreatedAt), micros(u.DisabledAt)}, nil
}

// CreateUser stores a user; a name that is there is CodeConflict.
func (s *Store) CreateUser(ctx context.Context, u User, records ...audit.Record) error {
	values, err := u.values()
	if err != nil {
		return err
	}
	return s.write(ctx, "create user "+u.Name, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "INSERT INTO users ("+userColumns+") VALUES ("+marks(len(values))+") ON CONFLICT (name) DO NOTHING", values...)
		if err != nil {
			return err
		}
		if n == 0 {
			return restart.Errorf(restart.CodeConflict, "there is a user %s already", u.Name)
		}
		return insertRecords(ctx, t, records, micros(u.CreatedAt))
	})
}

// AdmitUser keeps what a method has told of a user: his subject, groups, mail
// and display name. One that is not there is stored as given, with the records.
// One that is there under another method, or is disabled, is CodeConflict.
func (s *Store) AdmitUser(ctx context.Context, u User, records ...audit.Record) error {
	values, err := u.values()
	if err != nil {
		return err
	}
	groups, err := toJSON(u.Groups)
	if err != nil {
		return err
	}
	return s.write(ctx, "admit user "+u.Name, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE users SET subject = ?, display = ?, mail = ?, teams = ?, teams_at = ? WHERE name = ? AND method = ? AND disabled_at = 0",
			u.Subject, u.Display, u.Mail, groups, micros(u.GroupsAt), u.Name, u.Method)
		if err != nil || n > 0 {
			return err
		}
		n, err = t.exec(ctx, "INSERT INTO users ("+userColumns+") VALUES ("+marks(len(values))+") ON CONFLICT (name) DO NOTHING", values...)
		if err != nil {
			return err
		}
		if n == 0 {
			return restart.Errorf(restart.CodeConflict, "the user %s was changed meanwhile", u.Name)
		}
		return insertRecords(ctx, t, records, micros(u.CreatedAt))
	})
}

// User gives one, disabled ones too, or CodeNotFound.
func (s *Store) User(ctx context.Context, name string) (u User, err error) {
	err = s.read(ctx, "find user", func(ctx context.Context, t tx) error {
		u, err = scanUser(t.row(ctx, "SELECT "+userColumns+" FROM users WHERE name = ?", name))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no user %s", restart.Quote(name))
		}
		return err
	})
	return u, err
}

// Users lists up to limit users by name, those after the one given.
func (s *Store) Users(ctx context.Context, after string, limit int) (users []User, err error) {
	err = s.read(ctx, "list users", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+userColumns+" FROM users WHERE name > ? ORDER BY name LIMIT ?", after, limit)
		users, err = collect(rows, err, func(r *sql.Rows) (User, error) { return scanUser(r) })
		return err
	})
	return users, err
}

// UserChange says what is to become of a user; what is nil stays.
type UserChange struct {
	Roles    *[]restart.Role
	Method   *string // forgets subject, groups and password, which were the old method's
	Password *string // PHC string
	Disabled *bool
	// Keep is the id of the session that outlives a new password: that of
	// whoever sets his own. All others of the user end with a change of method
	// or password, and all of them when he is disabled.
	Keep    string
	Records []audit.Record
}

// ChangeUser changes a user, and ends the sessions that stand on what has
// changed, in one transaction. CodeNotFound where there is no such user.
func (s *Store) ChangeUser(ctx context.Context, name string, c UserChange) error {
	return s.write(ctx, "change user "+name, func(ctx context.Context, t tx) error {
		var now int64
		var u User
		var err error
		if err := t.row(ctx, "SELECT $now").Scan(&now); err != nil {
			return err
		}
		// An update that changes nothing holds the row until the commit.
		if u, err = scanUser(t.row(ctx, "UPDATE users SET name = name WHERE name = ? RETURNING "+userColumns, name)); errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no user %s", restart.Quote(name))
		} else if err != nil {
			return err
		}
		ends := c.apply(&u, fromMicros(now))
		values, err := u.values()
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE users SET method = ?, subject = ?, display = ?, mail = ?, roles = ?, teams = ?, teams_at = ?, password = ?, password_at = ?, created_at = ?, disabled_at = ? WHERE name = ?",
			append(values[1:], name)...); err != nil {
			return err
		}
		if ends {
			if _, err := t.exec(ctx, "DELETE FROM sessions WHERE owner = ? AND id <> ?", name, c.Keep); err != nil {
				return err
			}
		}
		return insertRecords(ctx, t, c.Records, now)
	})
}

// apply changes u, and tells whether sessions end with it.
func (c UserChange) apply(u *User, now time.Time) (ends bool) {
	if c.Roles != nil {
		u.Roles = *c.Roles
	}
	if c.Method != nil {
		u.Method, u.Subject, u.Groups, u.GroupsAt, u.Password, ends = *c.Method, "", nil, time.Time{}, "", true
	}
	if c.Password != nil {
		u.Password, u.PasswordAt, ends = *c.Password, now, true
	}
	if c.Disabled != nil && *c.Disabled != u.Disabled() {
		u.DisabledAt = time.Time{}
		if *c.Disabled {
			u.DisabledAt, ends = now, true
		}
	}
	return ends
}
