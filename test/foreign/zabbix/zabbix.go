// Package zabbix stands in for the API of a Zabbix server 7.0, as far as hosts
// and maintenances go. There is no package of a real one without a database and
// a web server of its own.
package zabbix

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// Authorization is the header of a user with the rights.
const Authorization = "Bearer 424634657a68294e6b6c9b2a02c4a0a4"

// Server is the stand-in.
type Server struct {
	URL     string
	Trouble trouble.Gate

	mu           sync.Mutex
	hosts        map[string]string // id by technical name
	maintenances []Maintenance
	last         int
}

// Tag is a condition on the tags of problems.
type Tag struct {
	Tag      string `json:"tag"`
	Operator int    `json:"operator"` // 0 = equals, 2 = contains
	Value    string `json:"value"`
}

// Maintenance is one as it was made.
type Maintenance struct {
	ID          string   `json:"-"`
	Name        string   `json:"name"`
	Since       int64    `json:"active_since"`
	Till        int64    `json:"active_till"`
	Type        int      `json:"maintenance_type"`
	Description string   `json:"description"`
	Hosts       []Host   `json:"hosts"`
	Periods     []Period `json:"timeperiods"`
	TagsEval    int      `json:"tags_evaltype"` // 0 = and/or, 2 = or
	Tags        []Tag    `json:"tags"`
}

// Host names one.
type Host struct {
	ID string `json:"hostid"`
}

// Period is when a maintenance holds.
type Period struct {
	Type   int   `json:"timeperiod_type"` // 0 = once
	Start  int64 `json:"start_date"`
	Period int64 `json:"period"` // seconds
}

// Start starts one that knows these hosts, and ends it with the test.
func Start(t testing.TB, hosts ...string) *Server {
	t.Helper()
	s := &Server{hosts: map[string]string{}, last: 10084}
	for _, h := range hosts {
		s.last++
		s.hosts[h] = strconv.Itoa(s.last)
	}
	server := httptest.NewServer(s.Trouble.Before(http.HandlerFunc(s.serve)))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Maintenances lists what there is.
func (s *Server) Maintenances() []Maintenance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.maintenances)
}

// Make makes a maintenance of an hour over one host, as a person would: of every
// problem.
func (s *Server) Make(name, host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	now := time.Now().Unix()
	s.maintenances = append(s.maintenances, Maintenance{
		ID: strconv.Itoa(s.last), Name: name, Since: now - 60, Till: now + 3600, Hosts: []Host{{s.hosts[host]}}, Periods: []Period{{Start: now - 60, Period: 3600}},
	})
}

// Suppressed tells whether a problem of a host, with these tags, would be held
// back now.
func (s *Server) Suppressed(host string, tags map[string]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().Unix()
	for _, m := range s.maintenances {
		at := slices.ContainsFunc(m.Periods, func(p Period) bool { return p.Start <= now && now < p.Start+p.Period })
		of := slices.Contains(m.Hosts, Host{s.hosts[host]})
		fit := len(m.Tags) == 0 || slices.ContainsFunc(m.Tags, func(tag Tag) bool { return tag.Operator == 0 && tags[tag.Tag] == tag.Value })
		if m.Since <= now && now < m.Till && at && of && fit {
			return true
		}
	}
	return false
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    string `json:"data"`
}

func invalid(format string, args ...any) *failure {
	return &failure{-32602, "Invalid params.", fmt.Sprintf(format, args...)}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api_jsonrpc.php" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "<html>Not Found</html>", http.StatusNotFound)
		return
	}
	var call struct {
		JSONRPC string          `json:"jsonrpc"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params"`
		ID      any             `json:"id"`
	}
	answer := map[string]any{"jsonrpc": "2.0"}
	switch err := json.NewDecoder(r.Body).Decode(&call); {
	case err != nil || call.JSONRPC != "2.0":
		answer["error"] = failure{-32700, "Parse error", "Invalid JSON. An error occurred on the server while parsing the JSON text."}
	case r.Header.Get("Authorization") != Authorization:
		answer["error"] = failure{-32602, "Invalid params.", "Not authorized."}
	default:
		s.mu.Lock()
		result, failed := s.call(call.Method, call.Params)
		s.mu.Unlock()
		if answer["result"] = result; failed != nil {
			delete(answer, "result")
			answer["error"] = failed
		}
	}
	answer["id"] = call.ID
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // who does not listen any more is not told
}

func (s *Server) call(method string, params json.RawMessage) (any, *failure) {
	var get struct {
		Filter struct{ Host, Name []string }
	}
	switch method {
	case "host.get":
		if err := json.Unmarshal(params, &get); err != nil {
			return nil, invalid("%v", err)
		}
		found := []map[string]string{}
		for _, name := range get.Filter.Host {
			if id, ok := s.hosts[name]; ok {
				found = append(found, map[string]string{"hostid": id})
			}
		}
		return found, nil
	case "maintenance.get":
		if err := json.Unmarshal(params, &get); err != nil {
			return nil, invalid("%v", err)
		}
		found := []map[string]string{}
		for _, m := range s.maintenances {
			if slices.Contains(get.Filter.Name, m.Name) {
				found = append(found, map[string]string{"maintenanceid": m.ID})
			}
		}
		return found, nil
	case "maintenance.create":
		return s.create(params)
	case "maintenance.delete":
		var ids []string
		if err := json.Unmarshal(params, &ids); err != nil || len(ids) == 0 {
			return nil, invalid(`Invalid parameter "/": cannot be empty.`)
		}
		for _, id := range ids {
			if !slices.ContainsFunc(s.maintenances, func(m Maintenance) bool { return m.ID == id }) {
				return nil, &failure{-32500, "Application error.", "No permissions to referred object or it does not exist!"}
			}
		}
		s.maintenances = slices.DeleteFunc(s.maintenances, func(m Maintenance) bool { return slices.Contains(ids, m.ID) })
		return map[string]any{"maintenanceids": ids}, nil
	}
	return nil, &failure{-32601, "Method not found.", fmt.Sprintf("Incorrect API %q.", method)}
}

func (s *Server) create(params json.RawMessage) (any, *failure) {
	var m Maintenance
	if err := json.Unmarshal(params, &m); err != nil {
		return nil, invalid("%v", err)
	}
	m.Since, m.Till = m.Since/60*60, m.Till/60*60 // as the real one rounds
	switch {
	case m.Name == "" || len([]rune(m.Name)) > 128:
		return nil, invalid(`Invalid parameter "/1/name": value is too long.`)
	case slices.ContainsFunc(s.maintenances, func(o Maintenance) bool { return o.Name == m.Name }):
		return nil, &failure{-32602, "Invalid params.", fmt.Sprintf("Maintenance %q already exists.", m.Name)}
	case m.Till <= m.Since:
		return nil, invalid(`Invalid parameter "/1/active_till": cannot be less than or equal to the value of parameter "/1/active_since".`)
	case len(m.Hosts) == 0:
		return nil, invalid("At least one host group or host must be selected.")
	case len(m.Periods) == 0:
		return nil, invalid(`Invalid parameter "/1/timeperiods": cannot be empty.`)
	case m.Type != 0 && len(m.Tags) > 0:
		return nil, invalid(`Invalid parameter "/1/tags": should be empty.`)
	}
	for i := range m.Periods {
		if m.Periods[i].Period /= 60; m.Periods[i].Period < 5 {
			return nil, invalid(`Invalid parameter "/1/timeperiods/1/period": value must be one of 300-86399940.`)
		}
		m.Periods[i].Period *= 60
	}
	for _, h := range m.Hosts {
		known := false
		for _, id := range s.hosts {
			known = known || id == h.ID
		}
		if !known {
			return nil, &failure{-32500, "Application error.", "No permissions to referred object or it does not exist!"}
		}
	}
	s.last++
	m.ID = strconv.Itoa(s.last)
	s.maintenances = append(s.maintenances, m)
	return map[string]any{"maintenanceids": []string{m.ID}}, nil
}
