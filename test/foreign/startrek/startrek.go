// Package startrek is the part of Yandex Tracker's API, version 3, that is about
// issues and comments, for tests, as its documentation has it.
package startrek

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// What every Server knows from its start.
const (
	Token = "y0_AgAAAABkd93lAAt7PQ"
	Org   = "7654321"
	Queue = "WEB"
)

// Issue is what people see of a ticket.
type Issue struct {
	Key, Summary, Text, Status string
	Resolved                   bool
	Tags                       []string
	Comments                   []string

	unique string
}

// Server is a Tracker. URL is that of its API.
type Server struct {
	URL     string
	Trouble trouble.Gate

	mu     sync.Mutex
	issues []*Issue
	count  map[string]int // by queue
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{count: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v3/myself", s.signedIn(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"self": s.URL + "/v3/users/1", "uid": 1, "login": "robot-restartilka"})
	}))
	mux.HandleFunc("GET /v3/issues/{key}", s.signedIn(s.get))
	mux.HandleFunc("GET /v3/issues/{key}/comments", s.signedIn(s.comments))
	mux.HandleFunc("POST /v3/issues/{key}/comments", s.signedIn(s.comment))
	mux.HandleFunc("POST /v3/issues/_search", s.signedIn(s.search))
	mux.HandleFunc("POST /v3/issues", s.signedIn(s.create))
	server := httptest.NewServer(s.Trouble.Before(mux))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Add makes an issue, as a person does.
func (s *Server) Add(i Issue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issues = append(s.issues, &i)
}

// Say leaves comments at an issue, as people do.
func (s *Server) Say(key string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.issues {
		for n := 0; n < times && i.Key == key; n++ {
			i.Comments = append(i.Comments, "I look at it")
		}
	}
}

// Issues gives them all, the oldest first.
func (s *Server) Issues() []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Issue
	for _, i := range s.issues {
		x := *i
		x.Comments = slices.Clone(i.Comments)
		out = append(out, x)
	}
	return out
}

func (s *Server) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "OAuth "+Token:
			refuse(w, http.StatusUnauthorized, "Authentication required")
		case r.Header.Get("X-Org-ID") != Org && r.Header.Get("X-Cloud-Org-ID") != Org:
			refuse(w, http.StatusForbidden, "Organization is not available, not ready or not found")
		default:
			next(w, r)
		}
	}
}

// find answers 404 where there is no such issue.
func (s *Server) find(w http.ResponseWriter, r *http.Request) *Issue {
	for _, i := range s.issues {
		if i.Key == r.PathValue("key") {
			return i
		}
	}
	refuse(w, http.StatusNotFound, "Issue does not exist.")
	return nil
}

func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(w, r); i != nil {
		answer(w, http.StatusOK, s.shown(i))
	}
}

func (s *Server) shown(i *Issue) map[string]any {
	queue, _, _ := strings.Cut(i.Key, "-")
	out := map[string]any{
		"self": s.URL + "/v3/issues/" + i.Key, "id": "593cd211ef7e8a33", "key": i.Key, "version": 7, "summary": i.Summary, "description": i.Text, "tags": i.Tags,
		"queue": map[string]any{"id": "1", "key": queue}, "status": map[string]any{"id": "1", "key": strings.ToLower(i.Status), "display": i.Status},
	}
	if i.Resolved {
		out["resolution"] = map[string]any{"id": "1", "key": "fixed", "display": "Fixed"}
	}
	return out
}

// comments gives a page, from the oldest: those after the one that id names.
func (s *Server) comments(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(w, r)
	if i == nil {
		return
	}
	size, err := strconv.Atoi(r.URL.Query().Get("perPage"))
	if err != nil {
		size = 50
	}
	after, _ := strconv.Atoi(r.URL.Query().Get("id"))
	out := []map[string]any{}
	for n := after; n < len(i.Comments) && len(out) < size; n++ {
		out = append(out, map[string]any{"id": n + 1, "longId": fmt.Sprintf("5fa15a24ac%d", n), "text": i.Comments[n]})
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) comment(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Text string }
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(w, r)
	if i == nil {
		return
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Text == "" {
		refuse(w, http.StatusUnprocessableEntity, "The comment is empty.")
		return
	}
	i.Comments = append(i.Comments, asked.Text)
	answer(w, http.StatusCreated, map[string]any{"id": len(i.Comments), "text": asked.Text})
}

func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Filter struct{ Queue, Tags string }
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil {
		refuse(w, http.StatusBadRequest, "Malformed request.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []map[string]any{}
	for _, i := range s.issues {
		if strings.HasPrefix(i.Key, asked.Filter.Queue+"-") && slices.Contains(i.Tags, asked.Filter.Tags) {
			out = append(out, s.shown(i))
		}
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Queue, Summary, Description, Unique string
		Tags                                []string
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Summary == "" {
		refuse(w, http.StatusUnprocessableEntity, "The field summary is required.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case asked.Queue != Queue:
		refuse(w, http.StatusNotFound, "Queue does not exist.")
		return
	case asked.Unique != "" && slices.ContainsFunc(s.issues, func(i *Issue) bool { return i.unique == asked.Unique }):
		refuse(w, http.StatusConflict, "An issue with this unique value exists.")
		return
	}
	s.count[asked.Queue]++
	i := &Issue{Key: fmt.Sprintf("%s-%d", asked.Queue, 1000+s.count[asked.Queue]), Summary: asked.Summary, Text: asked.Description, Status: "Open", Tags: asked.Tags, unique: asked.Unique}
	s.issues = append(s.issues, i)
	answer(w, http.StatusCreated, s.shown(i))
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"errors": map[string]any{}, "errorMessages": []string{message}, "statusCode": status})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
