// Package inventoree is an Inventoree for tests: what it tells programs that
// execute commands on hosts, as its own sources have it. It runs on a MongoDB
// and an old Python, so that no real one can be had.
package inventoree

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Name is something with an id and a name: a data centre, a work group.
type Name struct {
	ID   string `json:"_id"`
	Name string `json:"name"`
}

// Field is a custom field.
type Field struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Group is a group of hosts. Its tags and custom fields are those of its hosts, too.
type Group struct {
	ID        string   `json:"_id"`
	Name      string   `json:"name"`
	WorkGroup string   `json:"work_group_id"`
	Parents   []string `json:"parent_ids"`
	Children  []string `json:"child_ids"`
	Tags      []string `json:"tags"`
	Fields    []Field  `json:"custom_fields"`
}

// Host is a host.
type Host struct {
	ID         string   `json:"_id"`
	FQDN       string   `json:"fqdn"`
	Aliases    []string `json:"aliases"`
	Group      *string  `json:"group_id"`
	DataCentre *string  `json:"datacenter_id"`
	Tags       []string `json:"tags"`
	Fields     []Field  `json:"custom_fields"`
	AllTags    []string `json:"all_tags,omitempty"`          // filled in for who asks recursively
	AllFields  []Field  `json:"all_custom_fields,omitempty"` //
}

// Data is everything it knows.
type Data struct {
	DataCentres []Name  `json:"datacenters"`
	WorkGroups  []Name  `json:"work_groups"`
	Groups      []Group `json:"groups"`
	Hosts       []Host  `json:"hosts"`
}

// Server is one Inventoree.
type Server struct {
	*httptest.Server

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
	w.Header().Set("Connection", "close") // no test waits for connections that are kept
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.instead != nil:
		s.instead(w, r)
	case r.URL.Path != "/api/v1/open/executer_data":
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":["Not found"]}`))
	default:
		var wanted []string
		if q := r.FormValue("work_groups"); q != "" {
			wanted = strings.Split(q, ",")
		}
		recursive := slices.Contains([]string{"1", "yes", "true"}, strings.ToLower(r.FormValue("recursive")))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]Data{"data": s.data.of(wanted, recursive)})
	}
}

// of gives the part of some work groups.
func (d Data) of(workGroups []string, recursive bool) Data {
	out := Data{DataCentres: d.DataCentres, WorkGroups: []Name{}, Groups: []Group{}, Hosts: []Host{}}
	ids, groups := map[string]bool{}, map[string]Group{}
	for _, x := range d.WorkGroups {
		if len(workGroups) == 0 || slices.Contains(workGroups, x.Name) {
			out.WorkGroups = append(out.WorkGroups, x)
			ids[x.ID] = true
		}
	}
	for _, g := range d.Groups {
		if ids[g.WorkGroup] {
			out.Groups = append(out.Groups, g)
			groups[g.ID] = g
		}
	}
	for _, h := range d.Hosts {
		if h.Group == nil || groups[*h.Group].ID == "" {
			continue
		}
		if recursive {
			h.AllTags, h.AllFields = inherited(groups, *h.Group, 0)
			h.AllTags = append(h.AllTags, h.Tags...)
			h.AllFields = append(h.AllFields, h.Fields...)
		}
		out.Hosts = append(out.Hosts, h)
	}
	return out
}

// inherited are the tags and fields of a group and all above it; the lower ones
// come last. (The real one refuses groups that hold themselves when they are made.)
func inherited(groups map[string]Group, id string, deep int) (tags []string, fields []Field) {
	g := groups[id]
	for _, p := range g.Parents {
		if deep < 10 {
			t, f := inherited(groups, p, deep+1)
			tags, fields = append(tags, t...), append(fields, f...)
		}
	}
	return append(tags, g.Tags...), append(fields, g.Fields...)
}
