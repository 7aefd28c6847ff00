package telegram

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Person is somebody with Telegram. Name is what he calls himself now.
type Person struct {
	ID   int64
	Name string
}

// How a message is unlike what somebody has just written.
const (
	Forwarded = "forwarded"
	Edited    = "edited"
	Inline    = "inline" // of a press: below a message that another bot has put there
)

// Button is below a message.
type Button struct {
	Text string `json:"text"`
	Data string `json:"callback_data"`
}

// Alert is what a person is told who has pressed a button.
type Alert struct {
	Text  string
	Shown bool
}

// inbox is what people have sent and the bot has not confirmed yet.
type inbox struct {
	updates []map[string]any
	all     map[int64]map[string]any
	again   []map[string]any
	next    int64
	changed chan struct{} // closed, and replaced, when there is more
	asking  chan struct{} // closed when another question for updates comes
	alerts  map[string]Alert
	asked   int
}

func newInbox() inbox {
	return inbox{next: 700_001, all: map[int64]map[string]any{}, changed: make(chan struct{}), asking: make(chan struct{}), alerts: map[string]Alert{}}
}

// Buttons are those below a message, in order.
func (m Message) Buttons() []Button {
	var keys struct {
		Rows [][]Button `json:"inline_keyboard"`
	}
	if len(m.Markup) == 0 || json.Unmarshal(m.Markup, &keys) != nil {
		return nil
	}
	return slices.Concat(keys.Rows...)
}

// Say has a person send a text to a chat: to the bot alone where the chat is his
// own id. It gives the update's id.
func (s *Server) Say(p Person, chat int64, title, text string, how ...string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	m := map[string]any{"message_id": s.count, "date": time.Now().Unix(), "from": p.shown(), "chat": room(p, chat, title), "text": text}
	kind := "message"
	for _, h := range how {
		switch h {
		case Forwarded:
			m["forward_origin"] = map[string]any{"type": "user", "date": time.Now().Unix() - 60, "sender_user": Person{ID: 999, Name: "somebody"}.shown()}
		case Edited:
			kind, m["edit_date"] = "edited_message", time.Now().Unix()
		}
	}
	return s.put(map[string]any{kind: m})
}

// Press has a person press a button below a message of a chat. It gives the id
// of the press.
func (s *Server) Press(p Person, chat int64, message int, data string, how ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("press%d", s.inbox.next)
	q := map[string]any{"id": id, "from": p.shown(), "chat_instance": "1", "data": data}
	if slices.Contains(how, Inline) {
		q["inline_message_id"] = "AAA"
	} else {
		q["message"] = map[string]any{"message_id": message, "date": time.Now().Unix(), "chat": room(p, chat, "ops"), "from": Person{Bot, "restartilka_bot"}.shown(), "text": "…"}
	}
	s.put(map[string]any{"callback_query": q})
	return id
}

// Odd sends an update as it is, but for its id.
func (s *Server) Odd(update map[string]any) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(update)
}

// Again sends an update once more, as Telegram does to whoever asks next where
// the one who had it did not live to confirm it.
func (s *Server) Again(update int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbox.again = append(s.inbox.again, s.inbox.all[update])
	s.wake()
}

// Alert gives what a press was answered with, and whether it was.
func (s *Server) Alert(press string) (Alert, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.inbox.alerts[press]
	return a, ok
}

// Asked counts the questions for updates.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbox.asked
}

func (p Person) shown() map[string]any {
	return map[string]any{"id": p.ID, "is_bot": p.ID == Bot, "first_name": p.Name, "username": p.Name}
}

func room(p Person, chat int64, title string) map[string]any {
	if chat == p.ID {
		return map[string]any{"id": chat, "type": "private", "username": p.Name}
	}
	return map[string]any{"id": chat, "type": "supergroup", "title": title}
}

func (s *Server) put(u map[string]any) int64 {
	id := s.inbox.next
	u["update_id"] = id
	s.inbox.next++
	s.inbox.all[id] = u
	s.inbox.updates = append(s.inbox.updates, u)
	s.wake()
	return id
}

func (s *Server) wake() {
	close(s.inbox.changed)
	s.inbox.changed = make(chan struct{})
}

// updates gives what has come since the offset, or waits for something. Of two
// who ask at once the first is sent away.
func (s *Server) updates(ctx context.Context, c call) (any, *wrong) {
	over := time.NewTimer(time.Duration(c.number("timeout"))*time.Second + 5*time.Millisecond)
	defer over.Stop()
	s.mu.Lock()
	close(s.inbox.asking)
	s.inbox.asking = make(chan struct{})
	mine := s.inbox.asking
	s.inbox.asked++
	offset, most := c.number("offset"), 100
	if limit := int(c.number("limit")); limit >= 1 && limit <= 100 {
		most = limit
	}
	s.inbox.updates = slices.DeleteFunc(s.inbox.updates, func(u map[string]any) bool { return u["update_id"].(int64) < offset })
	s.mu.Unlock()
	for {
		s.mu.Lock()
		there, changed := slices.Concat(s.inbox.again, s.inbox.updates), s.inbox.changed
		s.inbox.again = nil
		s.mu.Unlock()
		if len(there) > 0 {
			return there[:min(len(there), most)], nil
		}
		select {
		case <-changed:
		case <-mine:
			return nil, &wrong{409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running", nil}
		case <-over.C:
			return []any{}, nil
		case <-ctx.Done():
			return []any{}, nil
		}
	}
}

func (s *Server) answerPress(c call) (any, *wrong) {
	id, text := c.text("callback_query_id"), c.text("text")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch _, known := s.inbox.alerts[id]; {
	case id == "" || known:
		return nil, &wrong{400, "Bad Request: query is too old and response timeout expired or query ID is invalid", nil}
	case len([]rune(text)) > 200:
		return nil, &wrong{400, "Bad Request: MESSAGE_TOO_LONG", nil}
	}
	s.inbox.alerts[id] = Alert{Text: text, Shown: c.text("show_alert") == "true"}
	return true, nil
}
