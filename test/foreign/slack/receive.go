package slack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// AppToken opens a line in socket mode.
const AppToken = "xapp-1-A0123456789-0123456789-abcdef"

// Person is somebody in the workspace.
type Person struct{ ID, Name string }

// Direct is the conversation of a person with the bot alone.
func (p Person) Direct() string { return "D" + strings.TrimPrefix(p.ID, "U") }

func isDirect(channel string) bool { return strings.HasPrefix(channel, "D0") }

// line is the one connection by which the app is told what people ask for.
type line struct {
	mu       sync.Mutex
	conn     *websocket.Conn
	up       chan struct{} // closed while there is a connection
	count    int
	waiting  map[string]chan json.RawMessage // for the acknowledgement of an envelope
	whispers []Whisper
}

// Whisper is what one person alone was told in a channel.
type Whisper struct{ Channel, Person, Text string }

// Button is below a message.
type Button struct{ Text, Value string }

// Buttons are those below a message, in order.
func (m Message) Buttons() (out []Button) {
	var blocks []struct {
		Elements []struct {
			Text struct {
				Text string `json:"text"`
			} `json:"text"`
			Value string `json:"value"`
		} `json:"elements"`
	}
	if len(m.Blocks) == 0 || json.Unmarshal(m.Blocks, &blocks) != nil {
		return nil
	}
	for _, b := range blocks {
		for _, e := range b.Elements {
			out = append(out, Button{e.Text.Text, e.Value})
		}
	}
	return out
}

// Read is what the blocks of a message say.
func (m Message) Read() string {
	var blocks []struct {
		Text struct {
			Text string `json:"text"`
		} `json:"text"`
	}
	if len(m.Blocks) == 0 || json.Unmarshal(m.Blocks, &blocks) != nil {
		return m.Text
	}
	var out []string
	for _, b := range blocks {
		out = append(out, b.Text.Text)
	}
	return strings.Join(out, "\n")
}

func (s *Server) receive() {
	s.line.up, s.line.waiting = make(chan struct{}), map[string]chan json.RawMessage{}
	s.mux.HandleFunc("POST /api/apps.connections.open", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+AppToken {
			refuse(w, "invalid_auth")
			return
		}
		answer(w, map[string]any{"ok": true, "url": "ws://" + r.Host + "/line?ticket=1"})
	})
	s.mux.HandleFunc("POST /api/chat.postEphemeral", func(w http.ResponseWriter, r *http.Request) {
		user := r.FormValue("user") // before the body is read
		s.signedIn(func(w http.ResponseWriter, c call) {
			switch {
			case c.Channel == Private:
				refuse(w, "not_in_channel")
			case c.Channel != Channel && c.Channel != Named && !isDirect(c.Channel):
				refuse(w, "channel_not_found")
			default:
				s.line.mu.Lock()
				s.line.whispers = append(s.line.whispers, Whisper{c.Channel, user, c.Text})
				s.line.mu.Unlock()
				answer(w, map[string]any{"ok": true, "message_ts": "1.000001"})
			}
		})(w, r)
	})
	s.mux.HandleFunc("GET /line", s.connect)
}

// connect is the line. A second connection takes the place of the first.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	conn, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	s.line.mu.Lock()
	if s.line.conn == nil {
		close(s.line.up)
	}
	s.line.conn = conn
	_ = conn.WriteJSON(map[string]any{"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": "A0123456789"}})
	_ = conn.WriteControl(websocket.PingMessage, []byte("Ping from applink"), time.Now().Add(time.Second))
	s.line.mu.Unlock()
	for {
		var a struct {
			Envelope string          `json:"envelope_id"`
			Payload  json.RawMessage `json:"payload"`
		}
		if conn.ReadJSON(&a) != nil {
			break
		}
		s.line.mu.Lock()
		if waits := s.line.waiting[a.Envelope]; waits != nil {
			waits <- a.Payload
			delete(s.line.waiting, a.Envelope)
		}
		s.line.mu.Unlock()
	}
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.line.conn == conn {
		s.line.conn, s.line.up = nil, make(chan struct{})
		for _, waits := range s.line.waiting { // what was on its way is lost
			close(waits)
		}
		clear(s.line.waiting)
	}
}

// Cut ends the connection, as Slack does now and then.
func (s *Server) Cut() {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	if s.line.conn != nil {
		_ = s.line.conn.Close()
	}
}

// send sends an envelope and waits for its acknowledgement, as long as Slack does
// or until the line is cut.
func (s *Server) send(kind string, payload map[string]any) (json.RawMessage, error) {
	s.line.mu.Lock()
	up := s.line.up
	s.line.mu.Unlock()
	over := time.NewTimer(10 * time.Second)
	defer over.Stop()
	select {
	case <-up:
	case <-over.C:
		return nil, fmt.Errorf("the app has no line open")
	}
	s.line.mu.Lock()
	s.line.count++
	if payload["trigger_id"] == nil {
		payload["trigger_id"] = fmt.Sprintf("trigger%d", s.line.count)
	}
	id, waits := fmt.Sprintf("envelope%d", s.line.count), make(chan json.RawMessage, 1)
	s.line.waiting[id] = waits
	if s.line.conn == nil {
		s.line.mu.Unlock()
		return nil, fmt.Errorf("the line was cut")
	}
	err := s.line.conn.WriteJSON(map[string]any{"envelope_id": id, "type": kind, "accepts_response_payload": kind == "slash_commands", "payload": payload})
	s.line.mu.Unlock()
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(3 * time.Second)
	defer patience.Stop()
	select {
	case p, ok := <-waits:
		if !ok {
			return nil, fmt.Errorf("the line was cut")
		}
		return p, nil
	case <-patience.C:
		return nil, fmt.Errorf("operation_timeout")
	}
}

// Command has a person give a slash command; it gives what he is told at once.
func (s *Server) Command(p Person, channel, command, text string) (string, error) {
	name := "ops"
	if isDirect(channel) || channel == Named {
		name = "directmessage"
	}
	ack, err := s.send("slash_commands", map[string]any{
		"command": command, "text": text, "channel_id": channel, "channel_name": name, "user_id": p.ID, "user_name": p.Name, "team_id": "T0123456789", "api_app_id": "A0123456789",
		"response_url": "https://hooks.slack.example/commands/1",
	})
	var said struct {
		Text string `json:"text"`
	}
	if len(ack) > 0 {
		_ = json.Unmarshal(ack, &said)
	}
	return said.Text, err
}

// Press has a person press a button below a message.
func (s *Server) Press(p Person, channel, ts, value string) error {
	_, err := s.send("interactive", map[string]any{
		"type": "block_actions", "user": map[string]any{"id": p.ID, "name": p.Name, "username": p.Name, "team_id": "T0123456789"}, "channel": map[string]any{"id": channel, "name": "ops"},
		"container": map[string]any{"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": false}, "message": map[string]any{"ts": ts, "type": "message"},
		"actions":      []any{map[string]any{"type": "button", "action_id": "button0", "block_id": "buttons", "value": value, "action_ts": "1.1"}},
		"response_url": "https://hooks.slack.example/actions/1",
	})
	return err
}

// Whispers lists what people were told alone, the oldest first.
func (s *Server) Whispers(person string) []Whisper {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	var out []Whisper
	for _, w := range s.line.whispers {
		if w.Person == person {
			out = append(out, w)
		}
	}
	return out
}
