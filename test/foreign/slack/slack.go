// Package slack is Slack's Web API for tests, as its documentation tells of it:
// errors come with status 200 and "ok": false, only too many requests have a
// status of their own.
package slack

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// What every Server knows from its start.
const (
	Token   = "xoxb-1234567890-abcdefghijklmnop" // of the bot
	Channel = "C0123456789"                      // it is in it; its name is "ops"
	Private = "C0PRIVATE00"                      // it is not in it
	Named   = "C0NAMED0000"                      // somebody has called it directmessage
	Bot     = "U0BOT00000"
)

// Message is what readers of a channel have before them.
type Message struct {
	Channel  string
	TS       string // its id within the channel
	Thread   string // TS of the message that it answers; "" = none
	Text     string // as it was sent
	Blocks   json.RawMessage
	Edits    int
	Controls []string // what stands between < and > in Text, unescaped: links, mentions
}

// Server is a workspace. URL is the base of its API, ending in /api.
type Server struct {
	URL     string
	Trouble trouble.Gate

	mux      *http.ServeMux
	mu       sync.Mutex
	messages []Message
	clock    int
	line     line
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /api/auth.test", s.signedIn(s.test))
	s.mux.HandleFunc("POST /api/chat.postMessage", s.signedIn(s.post))
	s.mux.HandleFunc("POST /api/chat.update", s.signedIn(s.update))
	s.receive()
	s.mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, "unknown_method") })
	server := httptest.NewServer(s.Trouble.Before(s.mux))
	t.Cleanup(server.Close)
	s.URL = server.URL + "/api"
	return s
}

// Messages lists what a channel shows, the oldest first.
func (s *Server) Messages(channel string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, m := range s.messages {
		if m.Channel == channel {
			out = append(out, m)
		}
	}
	return out
}

// Delete removes a message, as a person in the channel does.
func (s *Server) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m Message) bool { return m.TS == ts })
}

// call is the arguments of a method: of JSON, or of a form where each that is
// no text is JSON.
type call struct {
	Channel string          `json:"channel"`
	TS      string          `json:"ts"`
	Thread  string          `json:"thread_ts"`
	Text    string          `json:"text"`
	Blocks  json.RawMessage `json:"blocks"`
}

func (s *Server) signedIn(next func(w http.ResponseWriter, c call)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, token, ok := read(r)
		switch {
		case token == "":
			refuse(w, "not_authed")
		case token != Token:
			refuse(w, "invalid_auth")
		case !ok:
			refuse(w, "invalid_json")
		default:
			next(w, c)
		}
	}
}

func read(r *http.Request) (c call, token string, ok bool) {
	token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/json" {
		return c, token, json.NewDecoder(r.Body).Decode(&c) == nil
	}
	if r.ParseForm() != nil {
		return c, token, false
	}
	if token == "" {
		token = r.PostForm.Get("token")
	}
	c = call{Channel: r.PostForm.Get("channel"), TS: r.PostForm.Get("ts"), Thread: r.PostForm.Get("thread_ts"), Text: r.PostForm.Get("text")}
	if blocks := r.PostForm.Get("blocks"); blocks != "" {
		c.Blocks = json.RawMessage(blocks)
	}
	return c, token, true
}

func (s *Server) test(w http.ResponseWriter, _ call) {
	answer(w, map[string]any{"ok": true, "url": "https://acme.slack.com/", "team": "Acme", "user": "restartilka", "team_id": "T0123456789", "user_id": Bot, "bot_id": "B0BOT00000"})
}

// said checks what both methods that write check; why is "" where it is well.
func said(c call) (why string) {
	var blocks []struct {
		Type string `json:"type"`
	}
	switch {
	case len(c.Blocks) > 0 && (json.Unmarshal(c.Blocks, &blocks) != nil || len(blocks) > 50 || slices.ContainsFunc(blocks, func(b struct {
		Type string `json:"type"`
	}) bool {
		return !slices.Contains([]string{"section", "rich_text", "actions", "context", "divider", "header"}, b.Type)
	})):
		return "invalid_blocks"
	case c.Text == "" && len(blocks) == 0:
		return "no_text"
	case len([]rune(c.Text)) > 40000:
		return "msg_too_long"
	}
	return ""
}

func (s *Server) post(w http.ResponseWriter, c call) {
	if c.Channel == "#ops" || c.Channel == "ops" {
		c.Channel = Channel
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	why := said(c)
	switch {
	case c.Channel == Private:
		why = "not_in_channel"
	case c.Channel != Channel && !isDirect(c.Channel):
		why = "channel_not_found"
	case why == "" && c.Thread != "" && s.find(c.Channel, c.Thread) < 0:
		why = "thread_not_found"
	}
	if why != "" {
		refuse(w, why)
		return
	}
	s.clock++
	m := Message{Channel: c.Channel, TS: fmt.Sprintf("%d.%06d", time.Now().Unix(), s.clock), Thread: c.Thread, Text: c.Text, Blocks: c.Blocks, Controls: controls(c.Text)}
	s.messages = append(s.messages, m)
	answer(w, map[string]any{"ok": true, "channel": m.Channel, "ts": m.TS, "message": map[string]any{"type": "message", "user": Bot, "text": m.Text, "ts": m.TS}})
}

// update takes no name of a channel: only its id.
func (s *Server) update(w http.ResponseWriter, c call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, why := s.find(c.Channel, c.TS), said(c)
	switch {
	case c.Channel != Channel && !isDirect(c.Channel):
		why = "channel_not_found"
	case why == "" && i < 0:
		why = "message_not_found"
	}
	if why != "" {
		refuse(w, why)
		return
	}
	m := &s.messages[i]
	m.Text, m.Blocks, m.Controls = c.Text, c.Blocks, controls(c.Text)
	m.Edits++
	answer(w, map[string]any{"ok": true, "channel": m.Channel, "ts": m.TS, "text": m.Text})
}

func (s *Server) find(channel, ts string) int {
	return slices.IndexFunc(s.messages, func(m Message) bool { return m.Channel == channel && m.TS == ts })
}

var control = regexp.MustCompile(`<([^<>]*)>`)

// controls are what Slack makes a link or a mention of.
func controls(text string) (out []string) {
	for _, m := range control.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

func refuse(w http.ResponseWriter, why string) { answer(w, map[string]any{"ok": false, "error": why}) }

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

// Busy is a Way of trouble: too many requests, as Slack says it.
func Busy(seconds int) trouble.Way {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": "ratelimited"})
	}
}
