package api_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// recordSome stores records that have their place in the chain, the second of
// each three a seal, and gives how many.
func recordSome(t *testing.T, s *apitest.Server) int {
	t.Helper()
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	var all []audit.Record
	for i := range 30 {
		r := audit.Record{Action: audit.TaskOutcome, Actor: "anna", Host: fmt.Sprintf("web%d", i%2), Environment: "production", Service: "shop", Outcome: "failed", Reason: "=1+1\nforged", Task: fmt.Sprint(i), Time: at.Add(-time.Duration(i) * time.Hour)}
		if i%3 == 1 {
			r = audit.Record{Action: audit.AuditSealed, Time: r.Time, Task: r.Task}
		}
		all = append(all, r)
	}
	if err := s.Store.AppendAudit(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	key, err := audit.MakeKey(filepath.Join(t.TempDir(), "audit.key"), at)
	if err != nil {
		t.Fatal(err)
	}
	first := int64(1)
	link := func(h audit.Head, r *audit.Record) {
		if r.Action == audit.AuditSealed {
			task := r.Task
			*r = key.Seal(h, first, r.Time)
			r.Task, first = task, h.Seq+1
		}
		r.Link(h)
	}
	if _, err := s.Store.Sequence(t.Context(), "server-1", 0, link); err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestSearchOfTheTrail(t *testing.T) {
	s := apitest.Start(t, nil)
	recordSome(t, s)
	olga := s.Token("olga", auditor)
	ask := func(query string) wire.AuditList {
		t.Helper()
		return decode[wire.AuditList](t, s.Request("GET", "/api/v1/audit?"+query, olga, nil, nil), 200)
	}
	all := func(query string) (tasks []string) {
		t.Helper()
		for after := ""; ; {
			list := ask(query + "&limit=4&after=" + after)
			for _, r := range list.Items {
				tasks = append(tasks, r.Task)
			}
			if list.Next == "" || list.Next == after {
				return tasks
			}
			after = list.Next
		}
	}
	for query, want := range map[string]int{
		"newest=true": 20, "newest=true&seals=true": 30, "action=audit.sealed": 10, "area=trail": 0, "area=trail&seals=true": 10, "host=web1": 10, "host=web1&environment=production&service=shop&actor=anna": 10,
		"since=2026-11-20": 9, "until=2026-11-19": 11, "q=" + url.QueryEscape(`FORGED =1+1\n`): 20, "q=nowhere": 0, "stored=true": 20, "area=runs&since=2026-11-20T11:00:00Z&until=2026-11-20T12:00:00Z": 0,
	} {
		if got := all(query); len(got) != want {
			t.Errorf("%s: %v, want %d", query, got, want)
		}
	}
	if got := all("newest=true&seals=true"); got[0] != "0" || got[29] != "29" {
		t.Errorf("not the newest first: %v", got)
	}
	if got := all("stored=true&seals=true"); got[0] != "0" || got[29] != "29" { // stored the other way round than it happened
		t.Errorf("not in the order of storing: %v", got)
	}
	for _, bad := range []string{"area=weather", "since=soon", "after=x", "after=1&newest=true", "q=a+b+c+d+e+f+g", "limit=201"} {
		if resp := s.Request("GET", "/api/v1/audit?"+bad, olga, nil, nil); resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", bad, resp.StatusCode)
		}
	}
	problem(t, s.Request("GET", "/api/v1/audit", s.Token("vera", developer), nil, nil), http.StatusForbidden)
}

func TestExportOfTheTrail(t *testing.T) {
	s := apitest.Start(t, nil)
	n := recordSome(t, s)
	olga := s.Token("olga", auditor)
	resp := s.Request("GET", "/api/v1/audit/export", olga, nil, nil)
	text := read(t, resp)
	report, err := audit.Verify(strings.NewReader(text))
	if err != nil || !report.OK || strings.Count(text, "\n") != n || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%d lines of %d: %+v, %v", strings.Count(text, "\n"), n, report, err)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(read(t, s.Request("GET", "/api/v1/audit/export?form=csv&host=web0", olga, nil, nil)), "\xef\xbb\xbf"))).ReadAll()
	if err != nil || len(rows) != 11 || rows[1][slices.Index(rows[0], "reason")] != `'=1+1\nforged` {
		t.Errorf("%q, %v", rows, err)
	}
	problem(t, s.Request("GET", "/api/v1/audit/export", s.Token("vera", developer), nil, nil), http.StatusForbidden)
	if resp := s.Request("GET", "/api/v1/audit/export?form=xml", olga, nil, nil); resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a form that is none: %d", resp.StatusCode)
	}
	told := recorded(t, s, store.AuditFilter{Action: audit.AuditExported})
	if len(told) != 3 || told[0].Detail != "30 records" || told[1].Params["host"] != "web0" || told[1].Params["form"] != "csv" || told[2].Outcome != string(restart.CodeForbidden) || told[2].Actor != "vera" {
		t.Errorf("%+v", told)
	}
}
