// Package telegram is Telegram's Bot API for tests, as its documentation tells
// of it: what is wrong has a status and a description, and the same text twice
// is an error.
package telegram

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// What every Server knows from its start.
const (
	Token   = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw" // of the bot
	Bot     = int64(110201543)
	Chat    = int64(-1001234567890) // a group that the bot is in
	Blocked = int64(4242)           // a person who has blocked it
	Moved   = int64(-4567)          // a group that has become Chat

	longest = 4096 // characters of a text, once its marks are taken out
)

// Message is what readers of a chat have before them.
type Message struct {
	ID      int
	Chat    int64
	Topic   int      // of a group with topics; 0 = none
	ReplyTo int      // the message that it answers; 0 = none
	Text    string   // as it is read
	Marks   []Mark   // bold, italic, code, text_link
	Calls   []string // of whom it calls and what can be pressed: @name, /command
	Markup  json.RawMessage
	Edits   int
}

// Mark is how a part of a text is shown.
type Mark struct{ Kind, Text, URL string }

// Server is Telegram. URL is the base, without /botTOKEN.
type Server struct {
	URL     string
	Trouble trouble.Gate

	methods  map[string]func(c call) (any, *wrong)
	mu       sync.Mutex
	messages []Message
	count    int
	inbox    inbox
}

// wrong is an answer that says what is wrong.
type wrong struct {
	status      int
	description string
	parameters  map[string]any
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{inbox: newInbox()}
	s.methods = map[string]func(call) (any, *wrong){"getme": s.me, "sendmessage": s.send, "editmessagetext": s.edit, "answercallbackquery": s.answerPress}
	server := httptest.NewServer(s.Trouble.Before(http.HandlerFunc(s.serve)))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Messages lists what a chat shows, the oldest first.
func (s *Server) Messages(chat int64) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if m.Chat == chat {
			out = append(out, m)
		}
	}
	return out
}

// Delete removes a message, as an admin of the chat does.
func (s *Server) Delete(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m Message) bool { return m.ID == id })
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	token, method, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/bot"), "/")
	do := s.methods[strings.ToLower(method)]
	c, readable := read(r)
	var result any
	var bad *wrong
	switch {
	case !ok || !strings.HasPrefix(r.URL.Path, "/bot") || !strings.Contains(token, ":"):
		bad = &wrong{404, "Not Found", nil}
	case token != Token:
		bad = &wrong{401, "Unauthorized", nil}
	case readable && strings.EqualFold(method, "getUpdates"):
		result, bad = s.updates(r.Context(), c)
	case do == nil:
		bad = &wrong{404, "Not Found: method not found", nil}
	case !readable:
		bad = &wrong{400, "Bad Request: can't parse the request", nil}
	default:
		result, bad = do(c)
	}
	w.Header().Set("Content-Type", "application/json")
	if bad != nil {
		w.WriteHeader(bad.status)
		said := map[string]any{"ok": false, "error_code": bad.status, "description": bad.description}
		if bad.parameters != nil {
			said["parameters"] = bad.parameters
		}
		_ = json.NewEncoder(w).Encode(said)
		return
	}
	_, _ = w.Write(plain(map[string]any{"ok": true, "result": result}))
}

// plain is JSON as Telegram writes it: all but ASCII is \uXXXX.
func plain(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(`{"ok":false,"error_code":500,"description":"Internal Server Error"}`)
	}
	var out []byte
	for _, r := range string(text) {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

// call is the parameters of a method: of JSON, or of a form, where each that is
// no text is JSON.
type call map[string]json.RawMessage

func read(r *http.Request) (call, bool) {
	c := call{}
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) == 0 { // of a method without parameters
		return c, err == nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		return c, json.NewDecoder(r.Body).Decode(&c) == nil
	case "multipart/form-data":
		if r.ParseMultipartForm(1<<20) != nil {
			return c, false
		}
	default:
		if r.ParseForm() != nil {
			return c, false
		}
	}
	for name, values := range r.Form {
		if json.Valid([]byte(values[0])) {
			c[name] = json.RawMessage(values[0])
			continue
		}
		quoted, _ := json.Marshal(values[0])
		c[name] = quoted
	}
	return c, true
}

// text gives a parameter that is a text.
func (c call) text(name string) (out string) {
	if json.Unmarshal(c[name], &out) != nil {
		out = string(c[name]) // a form's: a number or a word
	}
	return out
}

func (c call) number(name string) int64 {
	n, _ := strconv.ParseInt(c.text(name), 10, 64)
	return n
}

func (s *Server) me(call) (any, *wrong) {
	return map[string]any{"id": Bot, "is_bot": true, "first_name": "restartilka", "username": "restartilka_bot"}, nil
}

// said reads the text of a message; parse_mode is HTML or absent.
func said(c call) (Message, *wrong) {
	m := Message{Text: c.text("text"), Markup: c["reply_markup"]}
	switch mode := c.text("parse_mode"); mode {
	case "":
	case "HTML":
		var why string
		if m.Text, m.Marks, why = parseHTML(m.Text); why != "" {
			return m, &wrong{400, "Bad Request: can't parse entities: " + why, nil}
		}
	default:
		return m, &wrong{400, "Bad Request: unsupported parse_mode", nil}
	}
	switch {
	case strings.TrimSpace(m.Text) == "":
		return m, &wrong{400, "Bad Request: message text is empty", nil}
	case len(utf16.Encode([]rune(m.Text))) > longest:
		return m, &wrong{400, "Bad Request: message is too long", nil}
	}
	m.Calls = calls(m)
	return m, nil
}

func (s *Server) send(c call) (any, *wrong) {
	m, bad := said(c)
	m.Chat, m.Topic = c.number("chat_id"), int(c.number("message_thread_id"))
	var reply struct {
		ID    int  `json:"message_id"`
		Alone bool `json:"allow_sending_without_reply"`
	}
	_ = json.Unmarshal(c["reply_parameters"], &reply)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.Chat == Blocked:
		return nil, &wrong{403, "Forbidden: bot was blocked by the user", nil}
	case m.Chat == Moved:
		return nil, &wrong{400, "Bad Request: group chat was upgraded to a supergroup chat", map[string]any{"migrate_to_chat_id": Chat}}
	case m.Chat <= 0 && m.Chat != Chat:
		return nil, &wrong{400, "Bad Request: chat not found", nil}
	case bad != nil:
		return nil, bad
	case reply.ID != 0 && s.find(m.Chat, reply.ID) < 0 && !reply.Alone:
		return nil, &wrong{400, "Bad Request: message to be replied not found", nil}
	case reply.ID != 0 && s.find(m.Chat, reply.ID) >= 0:
		m.ReplyTo = reply.ID
	}
	s.count++
	m.ID = s.count
	s.messages = append(s.messages, m)
	return shown(m), nil
}

func (s *Server) edit(c call) (any, *wrong) {
	next, bad := said(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(c.number("chat_id"), int(c.number("message_id")))
	switch {
	case bad != nil:
		return nil, bad
	case i < 0:
		return nil, &wrong{400, "Bad Request: message to edit not found", nil}
	}
	m := &s.messages[i]
	if m.Text == next.Text && slices.Equal(m.Marks, next.Marks) && string(m.Markup) == string(next.Markup) {
		return nil, &wrong{400, "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message", nil}
	}
	m.Text, m.Marks, m.Calls, m.Markup = next.Text, next.Marks, next.Calls, next.Markup
	m.Edits++
	return shown(*m), nil
}

func (s *Server) find(chat int64, id int) int {
	return slices.IndexFunc(s.messages, func(m Message) bool { return m.Chat == chat && m.ID == id })
}

func shown(m Message) map[string]any {
	return map[string]any{"message_id": m.ID, "date": time.Now().Unix(), "chat": map[string]any{"id": m.Chat, "type": "supergroup", "title": "ops"}, "text": m.Text}
}

// Busy is a Way of trouble: too many requests, as Telegram says it.
func Busy(seconds int) trouble.Way {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"ok": false, "error_code": 429, "description": fmt.Sprintf("Too Many Requests: retry after %d", seconds), "parameters": map[string]any{"retry_after": seconds},
		})
	}
}
