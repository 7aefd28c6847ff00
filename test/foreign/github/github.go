// Package github is the part of GitHub's REST API that is about issues and
// comments, for tests, as its documentation has it.
package github

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
	Token      = "github_pat_11AAAAAAA0abcdef"
	Repository = "acme/shop"
)

// Comment is one of an issue's.
type Comment struct {
	Body string
	At   time.Time
}

// Issue is what people see of a ticket.
type Issue struct {
	Number      int
	Title, Text string
	Closed      bool
	At          time.Time
	Comments    []Comment
}

// Server is a GitHub with one repository. URL is that of its API.
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
	mux.HandleFunc("GET /rate_limit", s.signedIn(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"rate": map[string]any{"limit": 5000, "remaining": 4999}})
	}))
	mux.HandleFunc("GET /repos/{owner}/{name}/issues/{number}", s.signedIn(s.get))
	mux.HandleFunc("GET /repos/{owner}/{name}/issues/{number}/comments", s.signedIn(s.comments))
	mux.HandleFunc("POST /repos/{owner}/{name}/issues/{number}/comments", s.signedIn(s.comment))
	mux.HandleFunc("GET /repos/{owner}/{name}/issues", s.signedIn(s.list))
	mux.HandleFunc("POST /repos/{owner}/{name}/issues", s.signedIn(s.create))
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
			i.Comments = append(i.Comments, Comment{"I look at it", time.Now()})
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

// signedIn also hides every repository but the one.
func (s *Server) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+Token:
			refuse(w, http.StatusUnauthorized, "Bad credentials")
		case r.Header.Get("User-Agent") == "":
			refuse(w, http.StatusForbidden, "Request forbidden by administrative rules.")
		case strings.HasPrefix(r.URL.Path, "/repos/") && !strings.EqualFold(r.PathValue("owner")+"/"+r.PathValue("name"), Repository):
			refuse(w, http.StatusNotFound, "Not Found")
		default:
			next(w, r)
		}
	}
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) *Issue {
	for _, i := range s.issues {
		if strconv.Itoa(i.Number) == r.PathValue("number") {
			return i
		}
	}
	refuse(w, http.StatusNotFound, "Not Found")
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
	state := "open"
	if i.Closed {
		state = "closed"
	}
	return map[string]any{"id": 1, "number": i.Number, "title": i.Title, "body": i.Text, "state": state, "created_at": i.At.UTC().Format(time.RFC3339), "html_url": "https://example.invalid/"}
}

// page cuts a page out of n things.
func page(r *http.Request, n int) (from, to int) {
	size, err := strconv.Atoi(r.URL.Query().Get("per_page"))
	if err != nil || size > 100 {
		size = 30
	}
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		number = 1
	}
	return min((number-1)*size, n), min(number*size, n)
}

func (s *Server) comments(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(w, r)
	if i == nil {
		return
	}
	since, _ := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
	out := []map[string]any{}
	for _, c := range i.Comments {
		if !c.At.Before(since) {
			out = append(out, map[string]any{"id": len(out) + 1, "body": c.Body, "created_at": c.At.UTC().Format(time.RFC3339)})
		}
	}
	from, to := page(r, len(out))
	answer(w, http.StatusOK, out[from:to])
}

func (s *Server) comment(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Body string }
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(w, r)
	if i == nil {
		return
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Body == "" {
		refuse(w, http.StatusUnprocessableEntity, "Validation Failed")
		return
	}
	i.Comments = append(i.Comments, Comment{asked.Body, time.Now()})
	answer(w, http.StatusCreated, map[string]any{"id": len(i.Comments), "body": asked.Body})
}

// list gives them the newest first.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []map[string]any{}
	for _, i := range slices.Backward(s.issues) {
		if r.URL.Query().Get("state") == "all" || !i.Closed {
			out = append(out, s.shown(i))
		}
	}
	from, to := page(r, len(out))
	answer(w, http.StatusOK, out[from:to])
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Title, Body string }
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Title == "" {
		refuse(w, http.StatusUnprocessableEntity, "Validation Failed")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := &Issue{Number: 1001 + len(s.issues), Title: asked.Title, Text: asked.Body, At: time.Now()}
	s.issues = append(s.issues, i)
	answer(w, http.StatusCreated, s.shown(i))
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
