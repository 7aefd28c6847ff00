// Package jira is the part of Jira's API, version 2, that is about issues and
// comments, for tests, as the documentation of a company's own Jira and of the
// one in the cloud have it.
package jira

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
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
	Token   = "NjY4ODU3OTM0MzQ4OtYp8mWw"
	User    = "robot@example.com" // in the cloud, whose token it is
	Project = "WEB"
)

// Issue is what people see of a ticket.
type Issue struct {
	Key, Summary, Text, Status string
	Category                   string // new | indeterminate | done
	Labels                     []string
	Comments                   []string

	written []time.Time // of each comment
	indexed bool
}

// Server is a Jira. URL is its own.
type Server struct {
	URL     string
	Cloud   bool // it wants the user's name, too, and has done away with the old search
	Old     bool // it does not know how to order comments: the oldest is first
	Lags    bool // its search has an issue only after Index
	Trouble trouble.Gate

	mu     sync.Mutex
	issues []*Issue
	count  int
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rest/api/2/myself", s.signedIn(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"name": "robot", "active": true})
	}))
	mux.HandleFunc("GET /rest/api/2/issue/{key}", s.signedIn(s.get))
	mux.HandleFunc("GET /rest/api/2/issue/{key}/comment", s.signedIn(s.comments))
	mux.HandleFunc("POST /rest/api/2/issue/{key}/comment", s.signedIn(s.comment))
	mux.HandleFunc("GET /rest/api/2/search", s.signedIn(func(w http.ResponseWriter, r *http.Request) {
		if s.Cloud {
			refuse(w, http.StatusGone, "The requested API has been removed.")
			return
		}
		s.search(w, r)
	}))
	mux.HandleFunc("GET /rest/api/2/search/jql", s.signedIn(s.search))
	mux.HandleFunc("POST /rest/api/2/issue", s.signedIn(s.create))
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

// Change changes an issue, as a person does.
func (s *Server) Change(key string, change func(*Issue)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.issues {
		if i.Key == key {
			change(i)
		}
	}
}

// Index lets the search have what there is.
func (s *Server) Index() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.issues {
		i.indexed = true
	}
}

// Say leaves comments at an issue, as people did a day ago.
func (s *Server) Say(key string, times int) { s.SayAt(key, times, time.Now().Add(-24*time.Hour)) }

// SayAt leaves comments at an issue, a millisecond apart.
func (s *Server) SayAt(key string, times int, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.issues {
		for n := 0; n < times && i.Key == key; n++ {
			i.Comments, i.written = append(i.Comments, "I look at it"), append(i.written, at.Add(time.Duration(n)*time.Millisecond))
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
		user, password, basic := r.BasicAuth()
		if s.Cloud && (!basic || user != User || password != Token) || !s.Cloud && r.Header.Get("Authorization") != "Bearer "+Token {
			refuse(w, http.StatusUnauthorized, "You are not authenticated. Authentication required to perform this operation.")
			return
		}
		next(w, r)
	}
}

// find answers 404 where there is no such issue, also where it may not be seen.
func (s *Server) find(w http.ResponseWriter, r *http.Request) *Issue {
	for _, i := range s.issues {
		if i.Key == r.PathValue("key") {
			return i
		}
	}
	refuse(w, http.StatusNotFound, "Issue does not exist or you do not have permission to see it.")
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
	return map[string]any{"id": "10002", "self": s.URL + "/rest/api/2/issue/10002", "key": i.Key, "fields": map[string]any{
		"summary": i.Summary,
		"status":  map[string]any{"id": "3", "name": i.Status, "statusCategory": map[string]any{"id": 4, "key": i.Category, "name": i.Status}},
	}}
}

// comments gives a page, the newest first where that is asked for, 50 at most.
func (s *Server) comments(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(w, r)
	if i == nil {
		return
	}
	q := r.URL.Query()
	all, written := slices.Clone(i.Comments), slices.Clone(i.written)
	if q.Get("orderBy") == "-created" && !s.Old {
		slices.Reverse(all)
		slices.Reverse(written)
	}
	at, _ := strconv.Atoi(q.Get("startAt"))
	size, err := strconv.Atoi(q.Get("maxResults"))
	if err != nil || size > 50 {
		size = 50
	}
	out := []map[string]any{}
	for n := at; n < len(all) && len(out) < size; n++ {
		out = append(out, map[string]any{"id": strconv.Itoa(10000 + n), "body": all[n], "created": written[n].UTC().Format("2006-01-02T15:04:05.000-0700")})
	}
	answer(w, http.StatusOK, map[string]any{"startAt": at, "maxResults": size, "total": len(all), "comments": out})
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
		refuse(w, http.StatusBadRequest, "Comment body can not be empty!")
		return
	}
	i.Comments, i.written = append(i.Comments, asked.Body), append(i.written, time.Now())
	answer(w, http.StatusCreated, map[string]any{"id": strconv.Itoa(10000 + len(i.Comments)), "body": asked.Body})
}

var jql = regexp.MustCompile(`^project = "([A-Z0-9_]+)" AND labels = "([a-z0-9-]+)"$`)

func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	m := jql.FindStringSubmatch(r.URL.Query().Get("jql"))
	if m == nil {
		refuse(w, http.StatusBadRequest, "Error in the JQL Query.")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []map[string]any{}
	for _, i := range s.issues {
		if (i.indexed || !s.Lags) && strings.HasPrefix(i.Key, m[1]+"-") && slices.Contains(i.Labels, m[2]) {
			out = append(out, s.shown(i))
		}
	}
	answer(w, http.StatusOK, map[string]any{"issues": out})
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Fields struct {
			Project              struct{ Key string }
			Summary, Description string
			IssueType            struct{ Name string }
			Labels               []string
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &asked.Fields
	switch {
	case json.NewDecoder(r.Body).Decode(&asked) != nil, f.Summary == "", f.Project.Key != Project:
		answer(w, http.StatusBadRequest, map[string]any{"errorMessages": []string{}, "errors": map[string]string{"project": "valid project is required"}})
		return
	case f.IssueType.Name != "Task" && f.IssueType.Name != "Problem":
		answer(w, http.StatusBadRequest, map[string]any{"errorMessages": []string{}, "errors": map[string]string{"issuetype": "valid issue type is required"}})
		return
	case strings.ContainsAny(f.Summary, "\r\n"):
		answer(w, http.StatusBadRequest, map[string]any{"errorMessages": []string{}, "errors": map[string]string{"summary": "The summary is invalid because it contains newline characters."}})
		return
	}
	s.count++
	i := &Issue{Key: fmt.Sprintf("%s-%d", Project, 1000+s.count), Summary: f.Summary, Text: f.Description, Status: "To Do", Category: "new", Labels: f.Labels}
	s.issues = append(s.issues, i)
	answer(w, http.StatusCreated, map[string]any{"id": "10003", "key": i.Key, "self": s.URL + "/rest/api/2/issue/10003"})
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"errorMessages": []string{message}, "errors": map[string]any{}})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
