// Package mattermost is the part of Mattermost's API, version 4, that makes and
// changes posts, for tests, as its documentation and its server's answers have it.
package mattermost

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// What every Server knows from its start.
const (
	Token   = "9xuqwrwgstrb3mzrxb83nb357a" // of the bot's account
	Channel = "4xp9fdt77pncbef59f4k1qe83o"
	Private = "zzp9fdt77pncbef59f4k1qe83o" // where the bot may not post
	Named   = "yyp9fdt77pncbef59f4k1qe83o" // a channel with a name like that of a conversation with the bot
	Bot     = "botid9dt77pncbef59f4k1qe83"

	longest = 16383 // characters of a message
)

// Post is what readers of a channel have before them.
type Post struct {
	ID, Channel, Root string // Root is the post that it answers; "" = none
	Message           string // Markdown
	Props             map[string]json.RawMessage
	Edits             int
	Mentions          []string // whom it calls: channel, all, here, names
	Links             []string // whose text says something else than where they lead
}

// Server is a Mattermost. URL is its own, without /api/v4.
type Server struct {
	URL     string
	Trouble trouble.Gate

	mux     *http.ServeMux
	mu      sync.Mutex
	posts   []Post
	pending map[string]string // the post of a pending_post_id
	count   int
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{mux: http.NewServeMux(), pending: map[string]string{}}
	s.mux.HandleFunc("GET /api/v4/users/me", s.signedIn(s.me))
	s.mux.HandleFunc("POST /api/v4/posts", s.signedIn(s.create))
	s.mux.HandleFunc("PUT /api/v4/posts/{id}/patch", s.signedIn(s.patch))
	s.mux.HandleFunc("GET /api/v4/channels/{id}", s.signedIn(s.channel))
	s.mux.HandleFunc("/api/v4/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "api.context.404.app_error", "Sorry, we could not find the page.")
	})
	server := httptest.NewServer(s.Trouble.Before(s.mux))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Posts lists what a channel shows, the oldest first.
func (s *Server) Posts(channel string) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Post
	for _, p := range s.posts {
		if p.Channel == channel {
			out = append(out, p)
		}
	}
	return out
}

// Delete removes a post, as a person in the channel does.
func (s *Server) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts = slices.DeleteFunc(s.posts, func(p Post) bool { return p.ID == id })
}

func (s *Server) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token != Token {
			refuse(w, http.StatusUnauthorized, "api.context.session_expired.app_error", "Invalid or expired session, please login again.")
			return
		}
		next(w, r)
	}
}

func (s *Server) me(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"id": Bot, "username": "restartilka", "is_bot": true, "roles": "system_user"})
}

type asked struct {
	Channel string                     `json:"channel_id"`
	Message string                     `json:"message"`
	Root    string                     `json:"root_id"`
	Pending string                     `json:"pending_post_id"`
	Props   map[string]json.RawMessage `json:"props"`
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var a asked
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		refuse(w, http.StatusBadRequest, "api.context.invalid_body_param.app_error", "Invalid or missing post in request body.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := s.pending[a.Pending]; a.Pending != "" && id != "" { // the same again: the post that it has made
		if i := s.find(id); i >= 0 {
			answer(w, http.StatusCreated, shown(s.posts[i]))
			return
		}
	}
	switch {
	case a.Channel == Private:
		refuse(w, http.StatusForbidden, "api.context.permissions.app_error", "You do not have the appropriate permissions.")
	case a.Channel != Channel && a.Channel != Named && direct(a.Channel) == "":
		refuse(w, http.StatusNotFound, "app.channel.get.existing.app_error", "Unable to find the existing channel.")
	case len([]rune(a.Message)) > longest:
		refuse(w, http.StatusBadRequest, "model.post.is_valid.message_length.app_error", "Post Message property is longer than the maximum permitted length.")
	case a.Message == "" && len(a.Props) == 0:
		refuse(w, http.StatusBadRequest, "api.context.invalid_body_param.app_error", "Invalid or missing message in request body.")
	case a.Root != "" && s.find(a.Root) < 0:
		refuse(w, http.StatusBadRequest, "api.post.create_post.root_id.app_error", "Invalid RootId parameter.")
	default:
		s.count++
		p := Post{ID: fmt.Sprintf("post%022d", s.count), Channel: a.Channel, Root: a.Root, Message: a.Message, Props: a.Props}
		p.Mentions, p.Links = judge(p.Message)
		s.posts = append(s.posts, p)
		s.pending[a.Pending] = p.ID
		answer(w, http.StatusCreated, shown(p))
	}
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request) {
	var a struct {
		Message *string                    `json:"message"`
		Props   map[string]json.RawMessage `json:"props"`
	}
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		refuse(w, http.StatusBadRequest, "api.context.invalid_body_param.app_error", "Invalid or missing post in request body.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(r.PathValue("id"))
	switch {
	case i < 0: // it tells nobody which posts there are
		refuse(w, http.StatusForbidden, "api.context.permissions.app_error", "You do not have the appropriate permissions.")
	case a.Message != nil && len([]rune(*a.Message)) > longest:
		refuse(w, http.StatusBadRequest, "model.post.is_valid.message_length.app_error", "Post Message property is longer than the maximum permitted length.")
	default:
		p := &s.posts[i]
		if a.Message != nil {
			p.Message = *a.Message
			p.Mentions, p.Links = judge(p.Message)
		}
		if a.Props != nil {
			p.Props = a.Props
		}
		p.Edits++
		answer(w, http.StatusOK, shown(*p))
	}
}

func (s *Server) find(id string) int {
	return slices.IndexFunc(s.posts, func(p Post) bool { return p.ID == id })
}

var (
	escaped = regexp.MustCompile("\\\\([!-/:-@\\[-`{-~])")
	code    = regexp.MustCompile("`[^`]*`")
	link    = regexp.MustCompile(`!?\[([^\]]*)\]\(([^)]*)\)`)
)

// judge finds in Markdown whom it calls, and links that say something else than
// where they lead. A backslash takes the meaning from a sign, but not from a name
// behind it. A word may begin with signs before whom it calls, or have several names.
func judge(text string) (mentions, links []string) {
	bare := code.ReplaceAllString(text, "")
	read := escaped.ReplaceAllString(bare, "$1")
	for word := range strings.FieldsFuncSeq(read, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune(":.-_@", r)
	}) {
		word = strings.Trim(word, ":.-_")
		for _, part := range append([]string{word}, strings.FieldsFunc(word, func(r rune) bool { return strings.ContainsRune(":.-", r) })...) {
			if name, ok := strings.CutPrefix(part, "@"); ok && name != "" && !slices.Contains(mentions, name) {
				mentions = append(mentions, name)
			}
		}
	}
	plain := escaped.ReplaceAllString(bare, "\x00")
	for _, m := range link.FindAllStringSubmatch(plain, -1) {
		links = append(links, m[2])
	}
	return mentions, links
}

func shown(p Post) map[string]any {
	return map[string]any{
		"id": p.ID, "create_at": time.Now().UnixMilli(), "user_id": Bot, "channel_id": p.Channel, "root_id": p.Root, "message": p.Message, "type": "", "props": p.Props,
	}
}

func refuse(w http.ResponseWriter, status int, id, message string) {
	answer(w, status, map[string]any{"id": id, "message": message, "detailed_error": "", "request_id": "x1", "status_code": status})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
