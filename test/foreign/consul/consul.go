// Package consul is a Consul for tests: the catalogue over HTTP, as Consul's own
// documentation has it. No real one can be had as a Debian package, and the
// module is too large to be built by a test.
//
// It checks tokens as access lists with the policy deny do: without one the
// catalogue looks empty, and an unknown one is refused.
package consul

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Instance is a service on a node, with the fields of v1/catalog/service that
// matter to somebody who looks for hosts.
type Instance struct {
	ID             string
	Node           string
	Address        string
	Datacenter     string
	NodeMeta       map[string]string
	ServiceID      string
	ServiceName    string
	ServiceTags    []string
	ServiceMeta    map[string]string
	ServiceAddress string
	ServicePort    int
}

// Server is one Consul, that knows of all data centres.
type Server struct {
	*httptest.Server
	Token string       // that is wanted; "" = no access lists
	Asked atomic.Int64 // requests

	mu        sync.Mutex
	centres   []string
	instances []Instance
	instead   http.HandlerFunc
}

// New starts one that has no service, in some data centres; the test stops it.
func New(t testing.TB, centres ...string) *Server {
	s := &Server{centres: centres}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// Set gives it another catalogue, and lets it answer.
func (s *Server) Set(instances ...Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances, s.instead = instances, nil
}

// Answer lets something else answer instead: an error, a page, nothing.
func (s *Server) Answer(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = f
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Asked.Add(1)
	w.Header().Set("Connection", "close") // no test waits for connections that are kept
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.instead != nil {
		s.instead(w, r)
		return
	}
	token := r.Header.Get("X-Consul-Token")
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "OPTIONS,GET")
		http.Error(w, "method "+r.Method+" not allowed", http.StatusMethodNotAllowed)
		return
	case s.Token != "" && token != "" && token != s.Token:
		http.Error(w, "ACL not found", http.StatusForbidden)
		return
	}
	denied := s.Token != "" && token == ""
	centre := r.FormValue("dc")
	if centre == "" {
		centre = s.centres[0]
	}
	verb, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/catalog/"), "/")
	if verb != "datacenters" && !slices.Contains(s.centres, centre) {
		http.Error(w, "No path to datacenter", http.StatusInternalServerError)
		return
	}
	switch {
	case verb == "datacenters" && name == "":
		answer(w, s.centres)
	case verb == "services" && name == "":
		out := map[string][]string{}
		for _, i := range s.instances {
			if i.Datacenter == centre && !denied {
				out[i.ServiceName] = append(out[i.ServiceName], i.ServiceTags...)
			}
		}
		answer(w, out)
	case verb == "service" && name != "":
		out := []Instance{}
		for _, i := range s.instances {
			if i.Datacenter == centre && i.ServiceName == name && !denied {
				out = append(out, i)
			}
		}
		answer(w, out)
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
