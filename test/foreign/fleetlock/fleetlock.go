// Package fleetlock is a FleetLock server for tests: counted slots of groups,
// by the protocol that hosts of Fedora CoreOS speak before they reboot
// (https://coreos.github.io/zincati/development/fleetlock/protocol/). The real
// ones need etcd or Kubernetes.
package fleetlock

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
)

// Server is one. Its zero value has no slots.
type Server struct {
	*httptest.Server

	mu    sync.Mutex
	slots int
	held  map[string][]string // by group: who has a slot
	asked int
	odd   http.HandlerFunc // answers instead; nil = nobody does
}

// New starts a server with so many slots a group; Close it.
func New(slots int) *Server {
	s := &Server{slots: slots, held: map[string][]string{}}
	s.Server = httptest.NewServer(s)
	return s
}

// Behave has every request answered by h from now on; nil = as a server does.
func (s *Server) Behave(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd = h
}

// Take gives a slot to somebody else, as a host that is about to reboot; false:
// there is none.
func (s *Server) Take(group, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(group, id)
}

// Free takes a slot away from whoever has it.
func (s *Server) Free(group, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free(group, id)
}

// Held lists who has a slot of the group.
func (s *Server) Held(group string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.held[group])
}

// Asked counts the requests.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Server) take(group, id string) bool {
	if slices.Contains(s.held[group], id) {
		return true
	}
	if len(s.held[group]) >= s.slots {
		return false
	}
	s.held[group] = append(s.held[group], id)
	return true
}

func (s *Server) free(group, id string) {
	s.held[group] = slices.DeleteFunc(s.held[group], func(x string) bool { return x == id })
}

var groupName = regexp.MustCompile(`^[a-zA-Z0-9.-]+$`)

// ServeHTTP answers as the protocol says.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	odd := s.odd
	s.mu.Unlock()
	if odd != nil {
		odd(w, r)
		return
	}
	if r.Method != http.MethodPost || r.Header.Get("fleet-lock-protocol") != "true" {
		refuse(w, http.StatusBadRequest, "bad_request", "not a request of FleetLock")
		return
	}
	var body struct {
		Params struct {
			ID    string `json:"id"`
			Group string `json:"group"`
		} `json:"client_params"`
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || body.Params.ID == "" || !groupName.MatchString(body.Params.Group) {
		refuse(w, http.StatusBadRequest, "bad_request", "who wants a slot of which group?")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/v1/pre-reboot":
		if !s.take(body.Params.Group, body.Params.ID) {
			refuse(w, http.StatusConflict, "failed_lock", fmt.Sprintf("all %d semaphore slots currently locked", s.slots))
		}
	case "/v1/steady-state":
		s.free(body.Params.Group, body.Params.ID)
	default:
		http.NotFound(w, r)
	}
}

func refuse(w http.ResponseWriter, status int, kind, value string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"kind": kind, "value": value}) //nolint:errcheck // the client is gone
}
