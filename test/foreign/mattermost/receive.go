package mattermost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// CommandToken comes with the slash command, so that its receiver knows who asks.
const CommandToken = "xr3j5x3p4pfk7kk6ck7b4e6ghh"

// Person is somebody with an account.
type Person struct{ ID, Name string }

// Direct is the conversation of a person with the bot alone.
func (p Person) Direct() string { return "dm" + p.ID[2:] }

// direct gives whose conversation with the bot a channel is; "" = nobody's.
func direct(channel string) string {
	if !strings.HasPrefix(channel, "dm") {
		return ""
	}
	return "us" + channel[2:]
}

func nameOf(channel string) string {
	if channel == Named {
		return Bot + "__named"
	}
	if who := direct(channel); who != "" {
		return Bot + "__" + who
	}
	return "ops"
}

func (*Server) channel(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	kind := "O"
	if direct(id) != "" {
		kind = "D"
	} else if id != Channel && id != Named {
		refuse(w, http.StatusNotFound, "app.channel.get.existing.app_error", "Unable to find the existing channel.")
		return
	}
	answer(w, http.StatusOK, map[string]any{"id": id, "type": kind, "name": nameOf(id)})
}

// Button is below a post.
type Button struct {
	Name        string `json:"name"`
	Integration struct {
		URL     string          `json:"url"`
		Context json.RawMessage `json:"context"`
	} `json:"integration"`
}

// Buttons are those below a post, in order. Their context is what only Mattermost
// itself and who made the post know.
func (p Post) Buttons() (out []Button) {
	var attachments []struct {
		Actions []Button `json:"actions"`
	}
	if len(p.Props["attachments"]) == 0 || json.Unmarshal(p.Props["attachments"], &attachments) != nil {
		return nil
	}
	for _, a := range attachments {
		out = append(out, a.Actions...)
	}
	return out
}

// Command has a person give a slash command, which is posted to an address with a
// token; it gives the status and what he is told.
func (s *Server) Command(client *http.Client, to, token string, p Person, channel, command, text string) (int, string, error) {
	form := url.Values{
		"channel_id": {channel}, "channel_name": {nameOf(channel)}, "command": {command}, "text": {text}, "user_id": {p.ID}, "user_name": {p.Name}, "team_id": {"team6789012345678901234567"},
		"response_url": {s.URL + "/hooks/commands/1"}, "trigger_id": {s.trigger()}, "token": {token},
	}
	return post(client, to, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()), "Token "+token, "text")
}

// Press has a person press a button below a post.
func (s *Server) Press(client *http.Client, p Person, channel, postID string, b Button) (int, string, error) {
	return s.PressAs(client, p, channel, postID, b, b.Integration.Context)
}

// PressAs is Press with another context: of somebody who can reach the address.
func (s *Server) PressAs(client *http.Client, p Person, channel, postID string, b Button, context json.RawMessage) (int, string, error) {
	body, err := json.Marshal(map[string]any{
		"user_id": p.ID, "user_name": p.Name, "channel_id": channel, "post_id": postID, "trigger_id": s.trigger(), "type": "button", "context": context,
	})
	if err != nil {
		return 0, "", err
	}
	return post(client, b.Integration.URL, "application/json", bytes.NewReader(body), "", "ephemeral_text")
}

func (s *Server) trigger() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	return fmt.Sprintf("trigger%d", s.count)
}

func post(client *http.Client, to, kind string, body io.Reader, authorization, key string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, body)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", kind)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var said map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return resp.StatusCode, "", err
	}
	text, _ := said[key].(string)
	return resp.StatusCode, text, nil
}
