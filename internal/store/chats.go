package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// ChatButton is a button below a message in a chat. Its secret, which the chat
// gives back when it is pressed, is not kept.
type ChatButton struct {
	Hash      string
	Chat      string
	Place     string // the conversation
	Message   string // "" until it has been sent
	Person    string // who alone may press it; "" = whoever may do what it does
	Act       string
	Run       string
	Seen      int64  // version of the run that the message shows
	Note      string // the person's own words
	Once      bool   // good for one press
	ExpiresAt time.Time
}

// ChatPress is a button that was pressed: by whom, and below which message.
type ChatPress struct{ Hash, Chat, Place, Message, Person string }

// Pressed is what a press of a button is.
type Pressed string

// What a press can be.
const (
	PressGood    Pressed = "good"    // and used up, where it is good for one
	PressUnknown Pressed = "unknown" // there is no such button, or not any more
	PressUnsent  Pressed = "unsent"  // its message is not known to have been sent yet
	PressMoved   Pressed = "moved"   // below another message than its own
	PressOther   Pressed = "other"   // by another person than its own
	PressAgain   Pressed = "again"   // once more
	PressLate    Pressed = "late"
)

// buttonsKept is how long a button is remembered when its time is over, so that
// who presses it is told so.
const buttonsKept = 7 * 24 * time.Hour

// PutChatButtons stores the buttons of a message in place of those that it has.
// Those of one that is still to be sent have no message yet: see BindChatButtons.
func (s *Store) PutChatButtons(ctx context.Context, chat, place, message string, buttons []ChatButton) error {
	return s.write(ctx, "put chat buttons", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM chat_buttons WHERE expires_at <= $now - ?", buttonsKept.Microseconds()); err != nil {
			return err
		}
		if message != "" {
			if _, err := t.exec(ctx, "DELETE FROM chat_buttons WHERE chat = ? AND place = ? AND message = ? AND used_at = 0", chat, place, message); err != nil {
				return err
			}
		}
		return addButtons(ctx, t, chat, place, message, buttons)
	})
}

// AddChatButtons stores buttons of a message beside those that it has, until
// PutChatButtons says which of them it has kept.
func (s *Store) AddChatButtons(ctx context.Context, chat, place, message string, buttons []ChatButton) error {
	return s.write(ctx, "add chat buttons", func(ctx context.Context, t tx) error { return addButtons(ctx, t, chat, place, message, buttons) })
}

func addButtons(ctx context.Context, t tx, chat, place, message string, buttons []ChatButton) error {
	for _, b := range buttons {
		_, err := t.exec(ctx, "INSERT INTO chat_buttons (hash, chat, place, message, person, act, run_id, seen, note, once, expires_at, used_at) VALUES ("+marks(11)+", 0)",
			b.Hash, chat, place, message, b.Person, b.Act, b.Run, b.Seen, b.Note, toInt(b.Once), micros(b.ExpiresAt))
		if err != nil {
			return err
		}
	}
	return nil
}

// BindChatButtons says below which message buttons are that had none yet.
func (s *Store) BindChatButtons(ctx context.Context, message string, hashes []string) error {
	return s.write(ctx, "bind chat buttons", func(ctx context.Context, t tx) error {
		for _, h := range hashes {
			if _, err := t.exec(ctx, "UPDATE chat_buttons SET message = ? WHERE hash = ? AND message = ''", message, h); err != nil {
				return err
			}
		}
		return nil
	})
}

// PressChatButton judges a press, and uses the button up where it is good. Of
// many presses at once of a button that is good for one, one is good.
func (s *Store) PressChatButton(ctx context.Context, p ChatPress) (b ChatButton, how Pressed, err error) {
	err = s.write(ctx, "press chat button", func(ctx context.Context, t tx) error {
		var once, expires, used, now int64
		b = ChatButton{Hash: p.Hash}
		err := t.row(ctx, "SELECT chat, place, message, person, act, run_id, seen, note, once, expires_at, used_at, $now FROM chat_buttons WHERE hash = ?", p.Hash).
			Scan(&b.Chat, &b.Place, &b.Message, &b.Person, &b.Act, &b.Run, &b.Seen, &b.Note, &once, &expires, &used, &now)
		if errors.Is(err, sql.ErrNoRows) {
			b, how = ChatButton{}, PressUnknown
			return nil
		}
		if err != nil {
			return err
		}
		b.Once, b.ExpiresAt = once == 1, fromMicros(expires)
		switch {
		case b.Chat != p.Chat || b.Place != p.Place || b.Message != "" && b.Message != p.Message:
			how = PressMoved
		case b.Person != "" && b.Person != p.Person:
			how = PressOther
		case used != 0:
			how = PressAgain
		case expires <= now:
			how = PressLate
		case b.Message == "":
			how = PressUnsent
		default:
			how = PressGood
		}
		if how != PressGood || !b.Once {
			return nil
		}
		n, err := t.exec(ctx, "UPDATE chat_buttons SET used_at = $now WHERE hash = ? AND used_at = 0", p.Hash)
		if n == 0 {
			how = PressAgain
		}
		return err
	})
	if err != nil {
		return ChatButton{}, "", err
	}
	return b, how, nil
}

// ChatMessage is a message in a chat that shows how a run stands.
type ChatMessage struct {
	Chat, Place, Message string
	Private              bool // nobody else reads there
	Run                  string
	Person               string // who asked for it
}

// mostFollowing messages of one person in one chat follow runs.
const mostFollowing = 10

// FollowInChat has a message follow a run, until EndChatMessage or until the same
// person has so many newer ones.
func (s *Store) FollowInChat(ctx context.Context, m ChatMessage) error {
	return s.write(ctx, "follow a run in a chat", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `INSERT INTO chat_messages (chat, place, message, private, run_id, person, created_at) VALUES (?, ?, ?, ?, ?, ?, $now)
			ON CONFLICT (chat, place, message) DO UPDATE SET run_id = excluded.run_id`, m.Chat, m.Place, m.Message, toInt(m.Private), m.Run, m.Person)
		if err != nil {
			return err
		}
		rows, err := t.rows(ctx, "SELECT chat, place, message FROM chat_messages WHERE chat = ? AND person = ? ORDER BY created_at DESC, message DESC", m.Chat, m.Person)
		list, err := collect(rows, err, func(r *sql.Rows) (m ChatMessage, err error) { return m, r.Scan(&m.Chat, &m.Place, &m.Message) })
		if err != nil {
			return err
		}
		for _, older := range list[min(len(list), mostFollowing):] {
			if err := endMessage(ctx, t, older); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChatMessages lists the messages of a chat that follow a run.
func (s *Store) ChatMessages(ctx context.Context, chat string) (list []ChatMessage, err error) {
	err = s.ask(ctx, "list chat messages", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT chat, place, message, private, run_id, person FROM chat_messages WHERE chat = ? ORDER BY created_at, message", chat)
		list, err = collect(rows, err, func(r *sql.Rows) (m ChatMessage, err error) {
			var private int64
			err = r.Scan(&m.Chat, &m.Place, &m.Message, &private, &m.Run, &m.Person)
			m.Private = private == 1
			return m, err
		})
		return err
	})
	return list, err
}

// EndChatMessage ends that, and the message's buttons.
func (s *Store) EndChatMessage(ctx context.Context, m ChatMessage) error {
	return s.write(ctx, "end a chat message", func(ctx context.Context, t tx) error { return endMessage(ctx, t, m) })
}

func endMessage(ctx context.Context, t tx, m ChatMessage) error {
	for _, text := range []string{"DELETE FROM chat_messages WHERE chat = ? AND place = ? AND message = ?", "DELETE FROM chat_buttons WHERE chat = ? AND place = ? AND message = ? AND used_at = 0"} {
		if _, err := t.exec(ctx, text, m.Chat, m.Place, m.Message); err != nil {
			return err
		}
	}
	return nil
}

// updatesKept is longer than any chat sends an update again.
const updatesKept = 3 * 24 * time.Hour

// NewInChat tells whether an update of a chat has not been seen before, on
// whichever server; from now on it has.
func (s *Store) NewInChat(ctx context.Context, chat, id string) (fresh bool, err error) {
	err = s.write(ctx, "note a chat update", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "DELETE FROM chat_updates WHERE seen_at < $now - ?", updatesKept.Microseconds()); err != nil {
			return err
		}
		n, err := t.exec(ctx, "INSERT INTO chat_updates (chat, id, seen_at) VALUES (?, ?, $now) ON CONFLICT (chat, id) DO NOTHING", chat, id)
		fresh = n == 1
		return err
	})
	return fresh && err == nil, err
}

// TakeChatTurn gives an owner (one life of a server) a chat to listen to, until
// ttl from now by the database's clock, or keeps it for him. Of two who ask one
// gets it.
func (s *Store) TakeChatTurn(ctx context.Context, chat, owner string, ttl time.Duration) (taken bool, err error) {
	err = s.write(ctx, "take a chat's turn", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, `INSERT INTO chat_turns (chat, owner, until_at) VALUES (?, ?, $now + ?)
			ON CONFLICT (chat) DO UPDATE SET owner = excluded.owner, until_at = excluded.until_at WHERE chat_turns.owner = excluded.owner OR chat_turns.until_at <= $now`,
			chat, owner, ttl.Microseconds())
		taken = n == 1
		return err
	})
	return taken && err == nil, err
}

// GiveChatTurn gives it back, so that another may take it at once.
func (s *Store) GiveChatTurn(ctx context.Context, chat, owner string) error {
	return s.write(ctx, "give a chat's turn back", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "UPDATE chat_turns SET until_at = 0 WHERE chat = ? AND owner = ?", chat, owner)
		return err
	})
}
