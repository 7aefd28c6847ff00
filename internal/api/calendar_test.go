package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// TestCalendar: a file for who is signed in, and an address that is good for it
// and for nothing else, until it ends.
func TestCalendar(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	p := later(t, s, anna, tomorrow(""))
	file := s.Request("GET", "/api/v1/planned.ics", anna, nil, nil)
	text := read(t, file)
	if file.Header.Get("Content-Type") != "text/calendar; charset=utf-8" || !strings.Contains(text, "UID:"+p.ID+"@restartilka.example.com\r\n") || !strings.Contains(text, "DTSTART:"+p.At.UTC().Format("20060102T150405Z")) || !strings.Contains(text, "SUMMARY:restart shop in production\r\n") {
		t.Errorf("%s", text)
	}
	problem(t, s.Request("GET", "/api/v1/calendar", anna, nil, nil), 404)
	problem(t, s.Request("GET", "/calendar.ics", "", nil, nil), 401)
	problem(t, s.Request("GET", "/calendar.ics", anna, nil, nil), 401)           // an API token is none of a calendar
	problem(t, s.Request("GET", "/calendar.ics?token="+anna, "", nil, nil), 401) // nor in its place
	made := decode[wire.Calendar](t, s.Request("POST", "/api/v1/calendar", anna, nil, nil), 201)
	u, err := url.Parse(made.URL)
	must(t, err)
	secret := u.Query().Get("token")
	if got := read(t, s.Request("GET", u.RequestURI(), "", nil, nil)); !strings.Contains(got, p.ID) {
		t.Errorf("%s", got)
	}
	problem(t, s.Request("GET", "/api/v1/planned", secret, nil, nil), 401) // it is good for nothing else
	if resp := s.Request("POST", "/calendar.ics?token="+secret, "", nil, nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("status %d", resp.StatusCode)
	}
	if c := decode[wire.Calendar](t, s.Request("GET", "/api/v1/calendar", anna, nil, nil), 200); c.URL != "" || c.UsedAt == nil {
		t.Errorf("%+v", c)
	}
	again := decode[wire.Calendar](t, s.Request("POST", "/api/v1/calendar", anna, nil, nil), 201)
	problem(t, s.Request("GET", u.RequestURI(), "", nil, nil), 401) // in its place
	u, err = url.Parse(again.URL)
	must(t, err)
	if resp := s.Request("DELETE", "/api/v1/calendar", anna, nil, nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", resp.StatusCode)
	}
	problem(t, s.Request("GET", u.RequestURI(), "", nil, nil), 401)
	if records := recorded(t, s, store.AuditFilter{Area: audit.AreaPeople}); len(records) != 3 || strings.Contains(fmt.Sprint(records), secret) {
		t.Errorf("%+v", records)
	}
}
