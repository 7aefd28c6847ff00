// Package conductor is a Conductor for tests: the inventory of the company that
// restartilka was first made for, as the clients of it that are known ask it.
// The real one is not to be had.
package conductor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Host is a host of a group.
type Host struct {
	DataCentre, Name string
}

// Package is a package that belongs on a host.
type Package struct {
	Name, Version string
}

// Data is everything it knows.
type Data struct {
	Groups   map[string][]Host
	Tags     map[string][]string  // by host
	Packages map[string][]Package // by host
}

// Server is one Conductor. Its addresses begin with /api.
type Server struct {
	*httptest.Server
	Asked atomic.Int64 // requests

	mu      sync.Mutex
	data    Data
	instead http.HandlerFunc
}

// New starts one that is empty; the test stops it.
func New(t testing.TB) *Server {
	s := &Server{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// Set gives it other data, and lets it answer.
func (s *Server) Set(d Data) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.instead = d, nil
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
	json := r.FormValue("format") == "json"
	verb, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	var lines []string
	line := func(asJSON, asText string) {
		if json {
			lines = append(lines, asJSON)
		} else {
			lines = append(lines, asText)
		}
	}
	switch verb {
	case "groups2hosts":
		hosts, ok := s.data.Groups[name]
		if !ok {
			fmt.Fprint(w, "No groups found") // with status 200
			return
		}
		for _, h := range hosts {
			line(fmt.Sprintf(`{"fqdn":%q,"root_datacenter_name":%q}`, h.Name, h.DataCentre), h.DataCentre+"\t"+h.Name)
		}
	case "get_host_tags":
		for _, tag := range s.data.Tags[name] {
			line(fmt.Sprintf("%q", tag), tag)
		}
	case "packages_on_host":
		for _, p := range s.data.Packages[name] {
			line(fmt.Sprintf(`{"name":%q,"version":%q}`, p.Name, p.Version), p.Name+" "+p.Version)
		}
	case "hosts2groups":
		for group, hosts := range s.data.Groups {
			if slices.ContainsFunc(hosts, func(h Host) bool { return h.Name == name }) {
				line(fmt.Sprintf(`{"name":%q}`, group), group)
			}
		}
		slices.Sort(lines)
	default:
		http.NotFound(w, r)
		return
	}
	if json {
		fmt.Fprintf(w, "[%s]", strings.Join(lines, ","))
	} else {
		fmt.Fprintln(w, strings.Join(lines, "\n"))
	}
}
