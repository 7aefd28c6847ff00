package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
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
	Subject  string   // what it is about, a run: those of one subject come to each channel in order; "" = in any order
	Channels []string // whom to tell; none = nobody
	Body     json.RawMessage
}

// Delivery is a message on its way to one receiver.
type Delivery struct {
	ID, Channel, Event string
	Subject            string
	Ordinal            int64 // its place among those of its subject
	Body               json.RawMessage
	CreatedAt          time.Time
	Attempts           int // this one included
	// Post is what the channel calls its message about the subject; "" = it has
	// none yet, or is none that keeps one. What it is when the message is noted as
	// delivered, it is for the next.
	Post string
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
			ordinal := int64(0)
			if m.Subject != "" { // whoever changes a run holds its row, so that nobody else counts meanwhile
				if err := t.row(ctx, "SELECT COALESCE(MAX(ordinal), 0) + 1 FROM messages WHERE subject = ? AND channel = ?", m.Subject, channel).Scan(&ordinal); err != nil {
					return err
				}
			}
			_, err := t.exec(ctx, "INSERT INTO messages (id, channel, event, body, created_at, attempts, next_at, delivered_at, given_up_at, failure, subject, ordinal) VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, '', ?, ?)",
				m.ID, channel, m.Event, []byte(m.Body), at, m.Subject, ordinal)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// DueMessages takes up to limit messages to these channels that are to be sent
// now. Nobody else gets them for the time of hold, by the database's clock; a
// server that dies with one leaves it to the next after that. A message waits
// while an earlier one of its subject is neither delivered nor given up.
func (s *Store) DueMessages(ctx context.Context, channels []string, hold time.Duration, limit int) (due []Delivery, err error) {
	if len(channels) == 0 {
		return nil, nil
	}
	where := "delivered_at = 0 AND given_up_at = 0 AND next_at <= $now AND channel IN (" + marks(len(channels)) + `)
		AND (subject = '' OR NOT EXISTS (SELECT 1 FROM messages AS earlier WHERE earlier.subject = messages.subject AND earlier.channel = messages.channel
			AND earlier.ordinal < messages.ordinal AND earlier.delivered_at = 0 AND earlier.given_up_at = 0))`
	args := make([]any, 0, len(channels)+1)
	for _, c := range channels {
		args = append(args, c)
	}
	waiting := 0
	err = s.ask(ctx, "look for messages", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT count(*) FROM (SELECT 1 FROM messages WHERE "+where+" LIMIT 1) AS due", slices.Clone(args)...).Scan(&waiting)
	})
	if err != nil || waiting == 0 {
		return nil, err
	}
	err = s.write(ctx, "take messages", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT id, channel, event, subject, ordinal, body, created_at, attempts + 1 FROM messages WHERE "+where+" ORDER BY next_at, id LIMIT ?$skip_locked", append(slices.Clone(args), page(limit))...)
		due, err = collect(rows, err, func(r *sql.Rows) (d Delivery, err error) {
			var created int64
			var body []byte
			err = r.Scan(&d.ID, &d.Channel, &d.Event, &d.Subject, &d.Ordinal, &body, &created, &d.Attempts)
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
	err = s.ask(ctx, "look for messages to nobody", func(ctx context.Context, t tx) error {
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

// mostTold bounds how many earlier messages of a subject are looked at.
const mostTold = 50

// Told gives what the channel of a message was told of its subject before, the
// newest 50, in order, and what it calls its message about that; "" = it has none.
func (s *Store) Told(ctx context.Context, d Delivery) (post string, earlier []json.RawMessage, err error) {
	err = s.read(ctx, "read what a receiver was told", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT post FROM message_posts WHERE channel = ? AND subject = ?", d.Channel, d.Subject).Scan(&post)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		rows, err := t.rows(ctx, "SELECT body FROM messages WHERE subject = ? AND channel = ? AND ordinal < ? AND delivered_at <> 0 ORDER BY ordinal DESC LIMIT ?", d.Subject, d.Channel, d.Ordinal, mostTold)
		earlier, err = collect(rows, err, func(r *sql.Rows) (json.RawMessage, error) {
			var body []byte
			err := r.Scan(&body)
			return body, err
		})
		slices.Reverse(earlier)
		return err
	})
	return post, earlier, err
}

// MessageDelivered notes that its receiver has taken a message, and what it
// calls it. Those that were taken long ago are dropped.
func (s *Store) MessageDelivered(ctx context.Context, d Delivery) error {
	return s.write(ctx, "note a delivery", func(ctx context.Context, t tx) error {
		if _, err := t.exec(ctx, "UPDATE messages SET delivered_at = $now, failure = '' WHERE id = ? AND channel = ?", d.ID, d.Channel); err != nil {
			return err
		}
		if d.Post != "" && d.Subject != "" {
			_, err := t.exec(ctx, "INSERT INTO message_posts (channel, subject, post, posted_at) VALUES (?, ?, ?, $now) ON CONFLICT (channel, subject) DO UPDATE SET post = excluded.post, posted_at = excluded.posted_at",
				d.Channel, d.Subject, d.Post)
			if err != nil {
				return err
			}
		}
		if _, err := t.exec(ctx, "DELETE FROM message_posts WHERE posted_at < $now - ?", keepDelivered.Microseconds()); err != nil {
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

// Waiting is what a channel has not taken yet.
type Waiting struct {
	Messages int64
	Since    time.Time // when the oldest was left
	Failure  string    // why the last try of the oldest failed; "" = it was not tried
}

// WaitingMessages tells what waits for each channel; one with nothing is not
// among them.
func (s *Store) WaitingMessages(ctx context.Context) (out map[string]Waiting, err error) {
	err = s.ask(ctx, "count messages", func(ctx context.Context, t tx) error {
		out = map[string]Waiting{}
		rows, err := t.rows(ctx, `SELECT channel, count(*), MIN(created_at), (SELECT failure FROM messages AS oldest WHERE oldest.channel = messages.channel
			AND oldest.delivered_at = 0 AND oldest.given_up_at = 0 ORDER BY oldest.created_at, oldest.id LIMIT 1)
			FROM messages WHERE delivered_at = 0 AND given_up_at = 0 GROUP BY channel`)
		type one struct {
			channel string
			Waiting
		}
		all, err := collect(rows, err, func(r *sql.Rows) (x one, err error) {
			var since int64
			err = r.Scan(&x.channel, &x.Messages, &since, &x.Failure)
			x.Since = fromMicros(since)
			return x, err
		})
		for _, x := range all {
			out[x.channel] = x.Waiting
		}
		return err
	})
	return out, err
}
