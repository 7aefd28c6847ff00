// Package juggler stands in for the part of Juggler that takes check events.
// There is no real one to be had.
package juggler

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// Event is one that was taken.
type Event struct {
	Source      string   `json:"-"`
	Host        string   `json:"host"`
	Service     string   `json:"service"`
	Instance    string   `json:"instance"`
	Status      string   `json:"status"`
	Description string   `json:"description"`
	Tags        []string `json:"tags"`
}

// Server is where events are pushed to.
type Server struct {
	URL     string
	Trouble trouble.Gate

	mu     sync.Mutex
	events []Event
}

// Start serves on a loopback address until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", s.take)
	server := httptest.NewServer(s.Trouble.Before(mux))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Events lists those of a service that were taken, in order.
func (s *Server) Events(service string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.events), func(e Event) bool { return e.Service != service })
}

var name = regexp.MustCompile(`^[\w.:@-]{1,192}$`)

func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Source string  `json:"source"`
		Events []Event `json:"events"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	w.Header().Set("Content-Type", "application/json")
	if err := d.Decode(&body); err != nil || body.Source == "" || len(body.Events) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"success": false, "message": "bad request"}) // who has left is not told
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var codes []map[string]any
	accepted := 0
	for _, e := range body.Events {
		switch {
		case !name.MatchString(e.Host) || !name.MatchString(e.Service) || e.Instance != "" && !name.MatchString(e.Instance):
			codes = append(codes, map[string]any{"code": 400, "error": "bad host, service or instance"})
		case !slices.Contains([]string{"OK", "WARN", "CRIT", "INFO"}, e.Status):
			codes = append(codes, map[string]any{"code": 400, "error": "bad status"})
		default:
			e.Source = body.Source
			s.events = append(s.events, e)
			codes = append(codes, map[string]any{"code": 200})
			accepted++
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"accepted_events": accepted, "events": codes, "success": true})
}
