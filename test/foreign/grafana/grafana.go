// Package grafana stands in for the annotations of Grafana's HTTP API, as its
// documentation of version 11 has them. There is no package of a real one in
// Debian.
package grafana

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// Token is of a service account that may write annotations.
const Token = "glsa_HOruNAb7SOiCdshU9algkrq7FDsNSLAa_55e2f8be"

// Annotation is one as graphs show it.
type Annotation struct {
	ID        int64    `json:"id"`
	Dashboard string   `json:"dashboardUID"`
	Time      int64    `json:"time"` // in milliseconds
	TimeEnd   int64    `json:"timeEnd"`
	Tags      []string `json:"tags"`
	Text      string   `json:"text"`
	Changes   int      `json:"-"`
}

// Server is a Grafana.
type Server struct {
	URL     string
	Trouble trouble.Gate

	mu   sync.Mutex
	all  []Annotation
	last int64
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/annotations", s.add)
	mux.HandleFunc("GET /api/annotations", s.list)
	mux.HandleFunc("PATCH /api/annotations/{id}", s.change)
	server := httptest.NewServer(s.Trouble.Before(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+Token {
			answer(w, http.StatusUnauthorized, map[string]any{"message": "Unauthorized", "messageId": "auth.unauthorized"})
			return
		}
		mux.ServeHTTP(w, r)
	})))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Annotations lists what there is, the oldest first.
func (s *Server) Annotations() []Annotation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// Delete removes one, as a person does.
func (s *Server) Delete(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(a Annotation) bool { return a.ID == id })
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who has left is not told
}

func bad(w http.ResponseWriter, message string) {
	answer(w, http.StatusBadRequest, map[string]any{"message": message})
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) {
	var a Annotation
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		bad(w, "bad request data")
		return
	}
	if strings.TrimSpace(a.Text) == "" {
		bad(w, "Failed to save annotation: text field should not be empty")
		return
	}
	if a.TimeEnd == 0 {
		a.TimeEnd = a.Time
	}
	if a.TimeEnd < a.Time {
		a.Time, a.TimeEnd = a.TimeEnd, a.Time
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	a.ID = s.last
	s.all = append(s.all, a)
	answer(w, http.StatusOK, map[string]any{"message": "Annotation added", "id": a.ID})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		limit = 100
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Annotation{}
	for _, a := range slices.Backward(s.all) {
		all := true
		for _, tag := range r.URL.Query()["tags"] { // each of them
			all = all && slices.Contains(a.Tags, tag)
		}
		if all && len(found) < limit {
			found = append(found, a)
		}
	}
	answer(w, http.StatusOK, found)
}

func (s *Server) change(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		bad(w, "annotationId is invalid")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.all, func(a Annotation) bool { return a.ID == id })
	if i < 0 {
		answer(w, http.StatusNotFound, map[string]any{"message": "Could not find annotation to update"})
		return
	}
	next := s.all[i]
	next.Tags = nil
	if err := json.NewDecoder(r.Body).Decode(&next); err != nil {
		bad(w, "bad request data")
		return
	}
	if next.Tags == nil {
		next.Tags = s.all[i].Tags
	}
	next.ID, next.Dashboard, next.Changes = id, s.all[i].Dashboard, next.Changes+1
	s.all[i] = next
	answer(w, http.StatusOK, map[string]any{"message": "Annotation patched"})
}
