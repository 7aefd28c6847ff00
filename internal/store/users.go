package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
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
	GroupsEnd  time.Time // when they will be; zero = they are asked for again; not stored
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
// and display name. One that is not there is stored as given. The records go
// with it; that he was created is recorded only where he was.
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
		if err != nil {
			return err
		}
		if n > 0 {
			created := func(r audit.Record) bool { return r.Action == audit.UserCreated }
			return insertRecords(ctx, t, slices.DeleteFunc(slices.Clone(records), created), micros(u.GroupsAt))
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
	err = s.ask(ctx, "find user", func(ctx context.Context, t tx) error {
		u, err = scanUser(t.row(ctx, "SELECT "+userColumns+" FROM users WHERE name = ?", name))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no user %s", restart.Quote(name))
		}
		return err
	})
	return u, err
}

// Users lists up to limit users by name, those after the one given. text narrows
// them to those in whose name, display name or mail address it is, the case of
// ASCII letters aside; "" = all.
func (s *Store) Users(ctx context.Context, text, after string, limit int) (users []User, err error) {
	err = s.ask(ctx, "list users", func(ctx context.Context, t tx) error {
		where, args := "name > ?", []any{after}
		if text != "" {
			like := "%" + likeEscaper.Replace(strings.ToLower(text)) + "%"
			where += ` AND (lower(name) LIKE ? ESCAPE '!' OR lower(display) LIKE ? ESCAPE '!' OR lower(mail) LIKE ? ESCAPE '!')`
			args = append(args, like, like, like)
		}
		rows, err := t.rows(ctx, "SELECT "+userColumns+" FROM users WHERE "+where+" ORDER BY name LIMIT ?", append(args, limit)...)
		users, err = collect(rows, err, func(r *sql.Rows) (User, error) { return scanUser(r) })
		return err
	})
	return users, err
}

// MailOf gives the addresses of owners of services, as directories have told
// them: of users by their names, and of all members of a team: each once, of
// nobody who is disabled.
func (s *Store) MailOf(ctx context.Context, owners []string) (out []string, err error) {
	err = s.ask(ctx, "look for addresses", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+userColumns+" FROM users WHERE mail <> '' AND disabled_at = 0 ORDER BY name")
		users, err := collect(rows, err, func(r *sql.Rows) (User, error) { return scanUser(r) })
		for _, u := range users {
			member := func(team string) bool { return slices.Contains(owners, "team:"+team) }
			if (slices.Contains(owners, u.Name) || slices.ContainsFunc(u.Groups, member)) && !slices.Contains(out, u.Mail) {
				out = append(out, u.Mail)
			}
		}
		return err
	})
	return out, err
}

// likeEscaper makes text stand for itself in LIKE … ESCAPE '!'.
var likeEscaper = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// UserChange says what is to become of a user; what is nil stays.
type UserChange struct {
	Roles    *[]restart.Role
	Method   *string // forgets subject, groups and password, which were the old method's
	Password *string // PHC string
	Disabled *bool
	// Keep is the id of the session that outlives a new password: that of
	// whoever sets his own. All others of the user end with a change of method
	// or password, and all of them when he is disabled.
	Keep string
	// Admin tells who is an admin. Where it is set, a change that would leave no
	// enabled user who is one is refused (CodeConflict); nil = nobody asks.
	Admin   func(User) bool
	Records []audit.Record
}

// ChangeUser changes a user, and ends the sessions that stand on what has
// changed, in one transaction; with a new method also his SSH keys, accounts of
// chats and address of a calendar. CodeNotFound where there is no such user.
func (s *Store) ChangeUser(ctx context.Context, name string, c UserChange) error {
	return s.write(ctx, "change user "+name, func(ctx context.Context, t tx) error {
		var now int64
		var u User
		var err error
		if err := t.row(ctx, "SELECT $now").Scan(&now); err != nil {
			return err
		}
		if c.Admin != nil { // of two admins who disable each other, the second waits here for the first
			if _, err := t.exec(ctx, `UPDATE users SET name = name WHERE disabled_at = 0 AND roles LIKE '%"admin"%'`); err != nil {
				return err
			}
		}
		// An update that changes nothing holds the row until the commit.
		if u, err = scanUser(t.row(ctx, "UPDATE users SET name = name WHERE name = ? RETURNING "+userColumns, name)); errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no user %s", restart.Quote(name))
		} else if err != nil {
			return err
		}
		before := u
		ends := c.apply(&u, fromMicros(now))
		if err := c.leavesAdmin(ctx, t, before, u); err != nil {
			return err
		}
		values, err := u.values()
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE users SET method = ?, subject = ?, display = ?, mail = ?, roles = ?, teams = ?, teams_at = ?, password = ?, password_at = ?, created_at = ?, disabled_at = ? WHERE name = ?",
			append(values[1:], name)...); err != nil {
			return err
		}
		records := c.Records
		if c.Method != nil {
			ended, err := c.endOthers(ctx, t, name)
			if err != nil {
				return err
			}
			records = slices.Concat(records, ended)
		}
		if u.Disabled() { // who is enabled again makes another
			ended, err := c.endCalendar(ctx, t, name)
			if err != nil {
				return err
			}
			records = slices.Concat(records, ended)
		}
		if ends {
			if _, err := t.exec(ctx, "DELETE FROM sessions WHERE owner = ? AND id <> ?", name, c.Keep); err != nil {
				return err
			}
		}
		return insertRecords(ctx, t, records, now)
	})
}

// endOthers ends what somebody who came by the old method is known by without a
// sign-in: SSH keys, accounts of chats, the address of a calendar. Who comes by
// the new one may be another person, and makes his own. It gives the records of
// that, which are like the change's own.
func (c UserChange) endOthers(ctx context.Context, t tx, name string) (records []audit.Record, err error) {
	note := func(action audit.Action, detail string) { records = slices.Concat(records, c.alike(action, detail)) }
	rows, err := t.rows(ctx, "DELETE FROM ssh_keys WHERE owner = ? RETURNING "+keyColumns, name)
	keys, err := collect(rows, err, func(r *sql.Rows) (Key, error) { return scanKey(r) })
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		note(audit.KeyRemoved, k.Fingerprint+" "+k.Name+" of "+name)
	}
	if _, err := t.exec(ctx, "DELETE FROM chat_codes WHERE owner = ?", name); err != nil {
		return nil, err
	}
	rows, err = t.rows(ctx, "DELETE FROM chat_links WHERE owner = ? RETURNING "+chatLinkColumns, name)
	links, err := collect(rows, err, func(r *sql.Rows) (ChatLink, error) { return scanChatLink(r) })
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if err := forgetChatter(ctx, t, l.Chat, l.Person); err != nil {
			return nil, err
		}
		note(audit.ChatUnlinked, l.Chat+":"+l.Person+" ("+l.Name+") of "+name)
	}
	ended, err := c.endCalendar(ctx, t, name)
	return slices.Concat(records, ended), err
}

// endCalendar ends the address of somebody's calendar, and gives the record of that.
func (c UserChange) endCalendar(ctx context.Context, t tx, name string) ([]audit.Record, error) {
	n, err := t.exec(ctx, "DELETE FROM calendar_tokens WHERE owner = ?", name)
	if n == 0 {
		return nil, err
	}
	return c.alike(audit.CalendarTokenRevoked, "of "+name), err
}

// alike gives a record of what follows from the change, like the change's own;
// none where it has none.
func (c UserChange) alike(action audit.Action, detail string) []audit.Record {
	if len(c.Records) == 0 {
		return nil
	}
	rec := c.Records[0]
	rec.Action, rec.Detail = action, detail
	return []audit.Record{rec}
}

// leavesAdmin refuses a change that takes the last admin away.
func (c UserChange) leavesAdmin(ctx context.Context, t tx, before, after User) error {
	if c.Admin == nil || before.Disabled() || !c.Admin(before) || !after.Disabled() && c.Admin(after) {
		return nil
	}
	rows, err := t.rows(ctx, "SELECT "+userColumns+" FROM users WHERE disabled_at = 0 AND name <> ?", before.Name)
	others, err := collect(rows, err, func(r *sql.Rows) (User, error) { return scanUser(r) })
	if err != nil || slices.ContainsFunc(others, c.Admin) {
		return err
	}
	return restart.Errorf(restart.CodeConflict, "%s is the last admin who may sign in", before.Name).WithHint("make somebody else an admin first")
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
