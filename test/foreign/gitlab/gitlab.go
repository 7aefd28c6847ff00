// Package gitlab is the part of GitLab's API, version 4, that is about issues and
// notes, for tests, as its documentation has it.
package gitlab

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// What every Server knows from its start.
const (
	Token   = "glpat-aBcDeFgHiJkLmNoPqRsT"
	Project = "acme/web/shop"
)

// Note is one of an issue's.
type Note struct {
	Body string
	At   time.Time
}

// Issue is what people see of a ticket.
type Issue struct {
	Number      int
	Title, Text string
	Closed      bool
	At          time.Time
	Notes       []Note
}

// Server is a GitLab with one project. URL is its own, without /api/v4.
type Server struct {
	URL     string
	Trouble trouble.Gate

	mu     sync.Mutex
	issues []*Issue
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v4/user", s.signedIn(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"id": 1, "username": "restartilka-bot", "bot": true})
	}))
	mux.HandleFunc("GET /api/v4/projects/{project}/issues/{iid}", s.signedIn(s.get))
	mux.HandleFunc("GET /api/v4/projects/{project}/issues/{iid}/notes", s.signedIn(s.notes))
	mux.HandleFunc("POST /api/v4/projects/{project}/issues/{iid}/notes", s.signedIn(s.note))
	mux.HandleFunc("GET /api/v4/projects/{project}/issues", s.signedIn(s.list))
	mux.HandleFunc("POST /api/v4/projects/{project}/issues", s.signedIn(s.create))
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
func (s *Server) Say(number int, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.issues {
		for n := 0; n < times && i.Number == number; n++ {
			i.Notes = append(i.Notes, Note{"I look at it", time.Now()})
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
		x.Notes = slices.Clone(i.Notes)
		out = append(out, x)
	}
	return out
}

// signedIn also hides every project but the one.
func (s *Server) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Private-Token") != Token:
			refuse(w, http.StatusUnauthorized, "401 Unauthorized")
		case r.PathValue("project") != "" && !strings.EqualFold(r.PathValue("project"), Project):
			refuse(w, http.StatusNotFound, "404 Project Not Found")
		default:
			next(w, r)
		}
	}
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) *Issue {
	for _, i := range s.issues {
		if strconv.Itoa(i.Number) == r.PathValue("iid") {
			return i
		}
	}
	refuse(w, http.StatusNotFound, "404 Not found")
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
	state := "opened"
	if i.Closed {
		state = "closed"
	}
	return map[string]any{"id": 100 + i.Number, "iid": i.Number, "project_id": 4, "title": i.Title, "description": i.Text, "state": state, "created_at": i.At.UTC().Format(time.RFC3339Nano)}
}

// page cuts a page out of n things.
func page(r *http.Request, n int) (from, to int) {
	size, err := strconv.Atoi(r.URL.Query().Get("per_page"))
	if err != nil || size > 100 {
		size = 20
	}
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		number = 1
	}
	return min((number-1)*size, n), min(number*size, n)
}

// notes gives them the newest first.
func (s *Server) notes(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(w, r)
	if i == nil {
		return
	}
	out := []map[string]any{}
	for n, x := range slices.Backward(i.Notes) {
		out = append(out, map[string]any{"id": n + 1, "body": x.Body, "system": false, "created_at": x.At.UTC().Format(time.RFC3339Nano)})
	}
	from, to := page(r, len(out))
	answer(w, http.StatusOK, out[from:to])
}

// note does what a line says that begins with a slash, as GitLab's quick actions do.
func (s *Server) note(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Body string }
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(w, r)
	if i == nil {
		return
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Body == "" {
		answer(w, http.StatusBadRequest, map[string]any{"error": "body is missing"})
		return
	}
	for line := range strings.Lines(asked.Body) {
		i.Closed = i.Closed || strings.HasPrefix(line, "/close")
	}
	i.Notes = append(i.Notes, Note{asked.Body, time.Now()})
	answer(w, http.StatusCreated, map[string]any{"id": len(i.Notes), "body": asked.Body})
}

// list gives them the newest first.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after, _ := time.Parse(time.RFC3339, r.URL.Query().Get("created_after"))
	out := []map[string]any{}
	for _, i := range slices.Backward(s.issues) {
		if i.At.After(after) {
			out = append(out, s.shown(i))
		}
	}
	from, to := page(r, len(out))
	answer(w, http.StatusOK, out[from:to])
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Title, Description string }
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Title == "" {
		answer(w, http.StatusBadRequest, map[string]any{"error": "title is missing"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := &Issue{Number: 1001 + len(s.issues), Title: asked.Title, Text: asked.Description, At: time.Now()}
	s.issues = append(s.issues, i)
	answer(w, http.StatusCreated, s.shown(i))
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"message": message})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
