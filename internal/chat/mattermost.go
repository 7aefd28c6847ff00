package chat

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

// longestRequest bounds what Mattermost posts to us, in bytes.
const longestRequest = 64 << 10

// mattermost is a bot's account of Mattermost. Mattermost itself posts here what
// people ask for: a slash command with the token of the command, and buttons,
// which it sends with what they were made with, and no token; so that is signed.
type mattermost struct {
	cfg    Mattermost
	url    string // of its API
	own    string // of this server
	client *http.Client
	poll   time.Duration

	mu sync.Mutex
	id string // of the bot's account, once it was asked for
}

func openMattermost(s Settings, o Options) (Chat, Place, error) {
	const key = "chat.mattermost"
	if s.Mattermost == nil {
		return nil, Place{}, nil
	}
	c := *s.Mattermost
	if _, err := token(key+".token_file", c.TokenFile); err != nil {
		return nil, Place{}, err
	}
	if _, err := token(key+".command_token_file", c.CommandTokenFile); err != nil {
		return nil, Place{}, err
	}
	reach, err := c.reach(key, "", callTime)
	if err != nil {
		return nil, Place{}, err
	}
	if _, err := outgoing.CheckURL(o.URL, true); err != nil {
		return nil, Place{}, restart.Errorf(restart.CodeInvalid, "%s: url of this server is not usable: %v", key, err).WithHint("Mattermost posts to it")
	}
	made, err := client(key, reach)
	if err != nil {
		return nil, Place{}, err
	}
	return &mattermost{cfg: c, url: reach.URL.String(), own: strings.TrimRight(o.URL, "/"), client: made, poll: o.Poll}, c.Place, nil
}

func (*mattermost) Name() string { return "mattermost" }

// Listen has no line that could break: it asks now and then who we are.
func (m *mattermost) Listen(ctx context.Context, _ Handle, connected func(bool)) error {
	for {
		if _, err := m.whoami(ctx); err != nil {
			return err
		}
		connected(true)
		wait(ctx, m.poll)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Routes implements Chat.
func (m *mattermost) Routes(each Handle) []Route {
	return []Route{
		{"POST /command", func(w http.ResponseWriter, r *http.Request) { m.command(w, r, each) }},
		{"POST /action", func(w http.ResponseWriter, r *http.Request) { m.action(w, r, each) }},
	}
}

// command takes a slash command, and answers it to the one who has sent it.
func (m *mattermost) command(w http.ResponseWriter, r *http.Request, each Handle) {
	r.Body = http.MaxBytesReader(w, r.Body, longestRequest)
	if err := r.ParseForm(); err != nil {
		reply(w, http.StatusBadRequest, nil)
		return
	}
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Token ")
	if !ok {
		shown = r.PostForm.Get("token")
	}
	word, err := token("chat.mattermost.command_token_file", m.cfg.CommandTokenFile)
	if err != nil || subtle.ConstantTimeCompare([]byte(shown), []byte(word)) != 1 {
		reply(w, http.StatusUnauthorized, nil)
		return
	}
	e := Event{
		ID: digest("command", r.PostForm.Get("trigger_id")), Person: r.PostForm.Get("user_id"), Name: r.PostForm.Get("user_name"),
		Place: r.PostForm.Get("channel_id"), Text: slashed(r.PostForm.Get("command"), r.PostForm.Get("text")),
	}
	if r.PostForm.Get("trigger_id") == "" || !isID(e.Person) || !isID(e.Place) {
		reply(w, http.StatusBadRequest, nil)
		return
	}
	// Anybody may give a channel such a name: it only spares a question.
	e.Private = m.withBot(r.Context(), r.PostForm.Get("channel_name")) && m.private(r.Context(), e.Place)
	text := answered(r.Context(), each, e)
	if text == "" {
		reply(w, http.StatusOK, map[string]any{})
		return
	}
	reply(w, http.StatusOK, map[string]any{"response_type": "ephemeral", "text": fenced(text)})
}

// action takes the press of a button.
func (m *mattermost) action(w http.ResponseWriter, r *http.Request, each Handle) {
	var a struct {
		User    string `json:"user_id"`
		Name    string `json:"user_name"`
		Channel string `json:"channel_id"`
		Post    string `json:"post_id"`
		Trigger string `json:"trigger_id"`
		Context struct {
			Secret    string `json:"secret"`
			Signature string `json:"signature"`
		} `json:"context"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestRequest)).Decode(&a); err != nil {
		reply(w, http.StatusBadRequest, nil)
		return
	}
	signed, err := m.sign(a.Channel, a.Context.Secret)
	if err != nil || !hmac.Equal([]byte(signed), []byte(a.Context.Signature)) {
		reply(w, http.StatusUnauthorized, nil)
		return
	}
	if a.Trigger == "" || !isID(a.User) || !isID(a.Channel) || !isID(a.Post) {
		reply(w, http.StatusBadRequest, nil)
		return
	}
	text := answered(r.Context(), each, Event{
		ID: digest("action", a.Trigger), Person: a.User, Name: a.Name, Place: a.Channel, Private: m.private(r.Context(), a.Channel), Message: a.Post, Secret: a.Context.Secret,
	})
	if text == "" {
		reply(w, http.StatusOK, map[string]any{})
		return
	}
	reply(w, http.StatusOK, map[string]any{"ephemeral_text": fenced(text)})
}

// answered has an event done, and gives what is to be said to its person.
func answered(ctx context.Context, each Handle, e Event) (said string) {
	e.Answer = func(_ context.Context, text string) error {
		said = text
		return nil
	}
	each(ctx, e)
	return said
}

func digest(kind, id string) string {
	sum := sha256.Sum256([]byte(kind + "\n" + id))
	return hex.EncodeToString(sum[:])
}

// sign gives the signature of a button of a conversation.
func (m *mattermost) sign(place, secret string) (string, error) {
	word, err := token("chat.mattermost.command_token_file", m.cfg.CommandTokenFile)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, []byte(word))
	fmt.Fprintf(mac, "restartilka button\n%s\n%s", place, secret)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

var mattermostID = regexp.MustCompile(`^[a-z0-9]{20,32}$`)

// isID accepts an id of Mattermost, which goes into addresses.
func isID(s string) bool { return mattermostID.MatchString(s) }

// withBot tells whether a channel has the name of a conversation of one person
// with the bot alone: the ids of both.
func (m *mattermost) withBot(ctx context.Context, channelName string) bool {
	one, other, ok := strings.Cut(channelName, "__")
	if !ok {
		return false
	}
	id, err := m.self(ctx)
	return err == nil && (one == id || other == id)
}

// private asks whether a channel is such a conversation.
func (m *mattermost) private(ctx context.Context, channel string) bool {
	var c struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	if err := m.call(ctx, http.MethodGet, "/api/v4/channels/"+channel, nil, &c); err != nil {
		return false
	}
	return c.Type == "D" && m.withBot(ctx, c.Name)
}

// self gives the id of the bot's own account.
func (m *mattermost) self(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id != "" {
		return m.id, nil
	}
	id, err := m.whoami(ctx)
	m.id = id
	return id, err
}

// whoami asks for it.
func (m *mattermost) whoami(ctx context.Context) (string, error) {
	var me struct {
		ID string `json:"id"`
	}
	if err := m.call(ctx, http.MethodGet, "/api/v4/users/me", nil, &me); err != nil {
		return "", err
	}
	return me.ID, nil
}

// Post implements Chat.
func (m *mattermost) Post(ctx context.Context, place string, msg Message) (string, error) {
	props, err := m.props(place, msg)
	if err != nil {
		return "", err
	}
	var made struct {
		ID string `json:"id"`
	}
	err = m.call(ctx, http.MethodPost, "/api/v4/posts", map[string]any{"channel_id": place, "message": mattermostText(msg), "props": props}, &made)
	if err == nil && !isID(made.ID) {
		err = errors.New("Mattermost answers without the id of the post")
	}
	return made.ID, err
}

// Edit implements Chat.
func (m *mattermost) Edit(ctx context.Context, place, id string, msg Message) error {
	if !isID(id) {
		return fmt.Errorf("%s is no post of Mattermost", restart.Quote(id))
	}
	props, err := m.props(place, msg)
	if err != nil {
		return err
	}
	return m.call(ctx, http.MethodPut, "/api/v4/posts/"+id+"/patch", map[string]any{"message": mattermostText(msg), "props": props}, nil)
}

// props are the buttons of a post; none takes away those that there are.
func (m *mattermost) props(place string, msg Message) (map[string]any, error) {
	actions := []map[string]any{}
	for i, b := range msg.Buttons {
		signature, err := m.sign(place, b.Secret)
		if err != nil {
			return nil, err
		}
		actions = append(actions, map[string]any{
			"id": "button" + strconv.Itoa(i), "name": b.Label, "type": "button", "style": map[Tone]string{ToneGo: "primary", ToneStop: "danger"}[b.Tone],
			"integration": map[string]any{"url": m.own + "/chat/mattermost/action", "context": map[string]any{"secret": b.Secret, "signature": signature}},
		})
	}
	if len(actions) == 0 {
		return map[string]any{"attachments": []any{}}, nil
	}
	return map[string]any{"attachments": []any{map[string]any{"actions": actions}}}, nil
}

// fenced is preformatted text, in which Mattermost looks for nothing.
func fenced(text string) string { return "```\n" + strings.ReplaceAll(text, "`", "'") + "\n```" }

func mattermostText(m Message) string {
	text := fenced(m.Text)
	if m.Link.URL != "" {
		text += "\n[" + m.Link.Text + "](" + strings.NewReplacer("(", "%28", ")", "%29", " ", "%20").Replace(m.Link.URL) + ")"
	}
	return text
}

// call asks Mattermost; into nil = its answer is not read.
func (m *mattermost) call(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	word, err := token("chat.mattermost.token_file", m.cfg.TokenFile)
	if err != nil {
		return err
	}
	var sent io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode a request to Mattermost: %w", err)
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, m.url+path, sent)
	if err != nil {
		return errors.New("the address of Mattermost can't be used")
	}
	req.Header.Set("Authorization", "Bearer "+word)
	req.Header.Set("Content-Type", "application/json")
	resp, err := m.client.Do(req)
	if err != nil {
		return bare(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &busyError{after: time.Duration(seconds) * time.Second}
	case method == http.MethodPut && (resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusNotFound):
		return errGone
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("Mattermost answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	case into == nil:
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return errors.New("Mattermost answers with something else than JSON")
	}
	return nil
}

// reply answers a request of Mattermost's.
func reply(w http.ResponseWriter, status int, v map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if v == nil {
		v = map[string]any{"error": http.StatusText(status)}
	}
	_ = json.NewEncoder(w).Encode(v) // who has asked may have gone
}
