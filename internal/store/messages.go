package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Message is what receivers outside are told. Its id stays the same however
// often it is sent.
type Message struct {
	ID       string
	Event    string
	Channels []string // whom to tell; none = nobody
	Body     json.RawMessage
}

// Delivery is a message on its way to one receiver.
type Delivery struct {
	ID, Channel, Event string
	Body               json.RawMessage
	CreatedAt          time.Time
	Attempts           int // this one included
}

// keepDelivered is how long a message is kept after its receiver has taken it.
const keepDelivered = 30 * 24 * time.Hour

func checkMessages(messages []Message) error {
	for _, m := range messages {
		if err := restart.CheckID(m.ID); err != nil {
			return err
		}
		if !json.Valid(m.Body) {
			return restart.Errorf(restart.CodeInvalid, "the body of message %s is not JSON", m.ID)
		}
	}
	return nil
}

func insertMessages(ctx context.Context, t tx, messages []Message, at int64) error {
	for _, m := range messages {
		for _, channel := range m.Channels {
			_, err := t.exec(ctx, "INSERT INTO messages (id, channel, event, body, created_at, attempts, next_at, delivered_at, given_up_at, failure) VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, '')",
				m.ID, channel, m.Event, []byte(m.Body), at)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// DueMessages takes up to limit messages to these channels that are to be sent
// now. Nobody else gets them for the time of hold, by the database's clock; a
// server that dies with one leaves it to the next after that.
func (s *Store) DueMessages(ctx context.Context, channels []string, hold time.Duration, limit int) (due []Delivery, err error) {
	if len(channels) == 0 {
		return nil, nil
	}
	where := "delivered_at = 0 AND given_up_at = 0 AND next_at <= $now AND channel IN (" + marks(len(channels)) + ")"
	args := make([]any, 0, len(channels)+1)
	for _, c := range channels {
		args = append(args, c)
	}
	waiting := 0
	err = s.read(ctx, "look for messages", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT count(*) FROM (SELECT 1 FROM messages WHERE "+where+" LIMIT 1) AS due", slices.Clone(args)...).Scan(&waiting)
	})
	if err != nil || waiting == 0 {
		return nil, err
	}
	err = s.write(ctx, "take messages", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT id, channel, event, body, created_at, attempts + 1 FROM messages WHERE "+where+" ORDER BY next_at, id LIMIT ?$skip_locked", append(slices.Clone(args), page(limit))...)
		due, err = collect(rows, err, func(r *sql.Rows) (d Delivery, err error) {
			var created int64
			var body []byte
			err = r.Scan(&d.ID, &d.Channel, &d.Event, &body, &created, &d.Attempts)
			d.Body, d.CreatedAt = body, fromMicros(created)
			return d, err
		})
		if err != nil {
			return err
		}
		for _, d := range due {
			if _, err := t.exec(ctx, "UPDATE messages SET attempts = ?, next_at = $now + ? WHERE id = ? AND channel = ?", d.Attempts, hold.Microseconds(), d.ID, d.Channel); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return due, nil
}

// LeftMessages lists up to limit messages that have waited for at least age and
// are to none of these channels: whose receivers are gone. MessageFailed gives
// them up.
func (s *Store) LeftMessages(ctx context.Context, channels []string, age time.Duration, limit int) (left []Delivery, err error) {
	text := "SELECT id, channel, event, created_at, attempts FROM messages WHERE delivered_at = 0 AND given_up_at = 0 AND created_at <= $now - ?"
	args := []any{age.Microseconds()}
	if len(channels) > 0 {
		text += " AND channel NOT IN (" + marks(len(channels)) + ")"
	}
	for _, c := range channels {
		args = append(args, c)
	}
	err = s.read(ctx, "look for messages to nobody", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, text+" ORDER BY created_at, id LIMIT ?", append(args, page(limit))...)
		left, err = collect(rows, err, func(r *sql.Rows) (d Delivery, err error) {
			var created int64
			err = r.Scan(&d.ID, &d.Channel, &d.Event, &created, &d.Attempts)
			d.CreatedAt = fromMicros(created)
			return d, err
		})
		return err
	})
	return left, err
}

// MessageDelivered notes that its receiver has taken a message. Those that were
// taken long ago are dropped.
func (s *Store) MessageDelivered(ctx context.Context, d Delivery) error {
	return s.write(ctx, "note a delivery", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "UPDATE messages SET delivered_at = $now, failure = '' WHERE id = ? AND channel = ?", d.ID, d.Channel); err != nil {
			return err
		}
		_, err := t.exec(ctx, "DELETE FROM messages WHERE delivered_at <> 0 AND delivered_at < $now - ?", keepDelivered.Microseconds())
		return err
	})
}

// MessageFailed notes why a try has failed, and when the next is due; again < 0
// gives the message up, with its records.
func (s *Store) MessageFailed(ctx context.Context, d Delivery, why string, again time.Duration, records ...audit.Record) error {
	return s.write(ctx, "note a failed delivery", func(ctx context.Context, t tx) error {
		if again >= 0 {
			_, err := t.exec(ctx, "UPDATE messages SET failure = ?, next_at = $now + ? WHERE id = ? AND channel = ?", why, again.Microseconds(), d.ID, d.Channel)
			return err
		}
		n, err := t.exec(ctx, "UPDATE messages SET failure = ?, given_up_at = $now WHERE id = ? AND channel = ? AND given_up_at = 0", why, d.ID, d.Channel)
		if err != nil || n == 0 {
			return err
		}
		return insertRecords(ctx, t, records, 0)
	})
}
