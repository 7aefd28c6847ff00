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

// ChatLink says whose an account of a chat is.
type ChatLink struct {
	ID        string
	Chat      string // telegram, slack, mattermost
	Person    string // the chat's own id of the account
	Name      string // as the chat called it when it was linked
	Owner     string
	Roles     []restart.Role // that it has at most
	CreatedAt time.Time
}

// ChatCode is what somebody sends from his account, to show that it is his. The
// code itself is not kept.
type ChatCode struct {
	Hash      string
	Owner     string
	Roles     []restart.Role
	CreatedAt time.Time
	ExpiresAt time.Time
}

// maxChatLinks is how many accounts one person may link.
const maxChatLinks = 10

// CreateChatCode stores a code, and drops those that are over and the owner's
// others.
func (s *Store) CreateChatCode(ctx context.Context, c ChatCode, records ...audit.Record) error {
	roles, err := toJSON(c.Roles)
	if err != nil {
		return err
	}
	return s.write(ctx, "create chat code", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM chat_codes WHERE expires_at <= $now OR owner = ?", c.Owner); err != nil {
			return err
		}
		if _, err := t.exec(ctx, "INSERT INTO chat_codes (hash, owner, roles, created_at, expires_at) VALUES ("+marks(5)+")", c.Hash, c.Owner, roles, micros(c.CreatedAt), micros(c.ExpiresAt)); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(c.CreatedAt))
	})
}

// UseChatCode links an account to whoever made the code, which is over then; the
// link is completed with its owner and roles. CodeNotFound where there is no such
// code or its time is over, CodeConflict where the account, or too many, are
// linked already. record makes the record of a link.
func (s *Store) UseChatCode(ctx context.Context, hash string, link ChatLink, record func(ChatLink) audit.Record) (ChatLink, error) {
	var out ChatLink
	err := s.write(ctx, "use chat code", func(ctx context.Context, t tx) error {
		out = link
		var roles string
		err := t.row(ctx, "DELETE FROM chat_codes WHERE hash = ? AND expires_at > $now RETURNING owner, roles", hash).Scan(&out.Owner, &roles)
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "that code is not good: it is mistyped, used, or more than ten minutes old").WithHint("make another on your profile page")
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(roles), &out.Roles); err != nil {
			return err
		}
		if err := mayLinkChat(ctx, t, out); err != nil {
			return err
		}
		_, err = t.exec(ctx, "INSERT INTO chat_links ("+chatLinkColumns+") VALUES ("+marks(7)+")", out.ID, out.Chat, out.Person, out.Name, out.Owner, roles, micros(out.CreatedAt))
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, []audit.Record{record(out)}, micros(out.CreatedAt))
	})
	return out, err
}

// mayLinkChat refuses an account that is somebody's, and one too many.
func mayLinkChat(ctx context.Context, t tx, link ChatLink) error {
	var owner string
	err := t.row(ctx, "SELECT owner FROM chat_links WHERE chat = ? AND person = ?", link.Chat, link.Person).Scan(&owner)
	if err == nil {
		return restart.Errorf(restart.CodeConflict, "this account is linked to %s already", owner).WithHint("send me /unlink first, then a new code")
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var links int
	if err := t.row(ctx, "SELECT count(*) FROM chat_links WHERE owner = ?", link.Owner).Scan(&links); err != nil {
		return err
	}
	if links >= maxChatLinks {
		return restart.Errorf(restart.CodeConflict, "%s has linked %d accounts, and can link no more", link.Owner, links).WithHint("remove one on your profile page")
	}
	return nil
}

// VoidChatCode ends a code before its time, and tells whose it was; "" = there
// is none such.
func (s *Store) VoidChatCode(ctx context.Context, hash string, record func(owner string) audit.Record) (owner string, err error) {
	err = s.write(ctx, "void chat code", func(ctx context.Context, t tx) error {
		owner = ""
		err := t.row(ctx, "DELETE FROM chat_codes WHERE hash = ? RETURNING owner", hash).Scan(&owner)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, []audit.Record{record(owner)}, 0)
	})
	return owner, err
}

const chatLinkColumns = "id, chat, person, name, owner, roles, created_at"

func scanChatLink(row scanner) (l ChatLink, err error) {
	var roles string
	var created int64
	if err := row.Scan(&l.ID, &l.Chat, &l.Person, &l.Name, &l.Owner, &roles, &created); err != nil {
		return l, err
	}
	l.CreatedAt = fromMicros(created)
	return l, json.Unmarshal([]byte(roles), &l.Roles)
}

// ChatLinkOf gives the link of an account, or CodeNotFound.
func (s *Store) ChatLinkOf(ctx context.Context, chat, person string) (l ChatLink, err error) {
	err = s.ask(ctx, "find chat link", func(ctx context.Context, t tx) error {
		l, err = scanChatLink(t.row(ctx, "SELECT "+chatLinkColumns+" FROM chat_links WHERE chat = ? AND person = ?", chat, person))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "that account is nobody's here")
		}
		return err
	})
	return l, err
}

// ChatLinks lists the linked accounts of somebody, the oldest first.
func (s *Store) ChatLinks(ctx context.Context, owner string) (links []ChatLink, err error) {
	err = s.ask(ctx, "list chat links", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT "+chatLinkColumns+" FROM chat_links WHERE owner = ? ORDER BY created_at, id", owner)
		links, err = collect(rows, err, func(r *sql.Rows) (ChatLink, error) { return scanChatLink(r) })
		return err
	})
	return links, err
}

// ChatLink gives a link by its id, or CodeNotFound.
func (s *Store) ChatLink(ctx context.Context, id string) (l ChatLink, err error) {
	err = s.ask(ctx, "find chat link", func(ctx context.Context, t tx) error {
		l, err = scanChatLink(t.row(ctx, "SELECT "+chatLinkColumns+" FROM chat_links WHERE id = ?", id))
		if errors.Is(err, sql.ErrNoRows) {
			return restart.Errorf(restart.CodeNotFound, "there is no such link to a chat")
		}
		return err
	})
	return l, err
}

// DropChatLink ends a link at once, and with it the account's buttons and the
// messages that follow runs for it. One that is gone already changes nothing and
// writes no records.
func (s *Store) DropChatLink(ctx context.Context, id string, records ...audit.Record) error {
	return s.write(ctx, "drop chat link", func(ctx context.Context, t tx) error {
		var chat, person string
		err := t.row(ctx, "DELETE FROM chat_links WHERE id = ? RETURNING chat, person", id).Scan(&chat, &person)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := forgetChatter(ctx, t, chat, person); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}

// forgetChatter drops the buttons of an account of a chat, and the messages that
// follow runs for it.
func forgetChatter(ctx context.Context, t tx, chat, person string) error {
	for _, table := range []string{"chat_messages", "chat_buttons"} {
		if _, err := t.exec(ctx, "DELETE FROM "+table+" WHERE chat = ? AND person = ?", chat, person); err != nil {
			return err
		}
	}
	return nil
}
