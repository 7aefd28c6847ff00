package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/restart"
)

// series counts the samples of a metric, and gives the value of the one with
// these label values (in the order of their names).
func series(t *testing.T, m *meters, name string, labels ...string) (n int, value float64) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	value = -1
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		n = len(f.GetMetric())
		for _, metric := range f.GetMetric() {
			fits := len(metric.GetLabel()) == len(labels)
			for i, l := range metric.GetLabel() {
				fits = fits && l.GetValue() == labels[i]
			}
			if fits {
				value = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return n, value
}

// Whatever is asked for, by whom: labels stay few.
func TestRequestsAreCountedByClass(t *testing.T) {
	m := newMeters()
	open := -1.0
	h := m.measured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/runs/01a/events" {
			_, open = series(t, m, "restartilka_event_streams_open", "web")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			return
		}
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	for _, path := range []string{"/", "/runs/01a", "/runs/01b/hosts/web1", "/api/v1/runs/01c", "/api/v1/%00", "/readyz", "/assets/x.css", "/runs/01a/events", "/../x"} {
		for _, method := range []string{"GET", "POST", "BREW", "WHEN"} {
			req := httptest.NewRequest(method, "http://x/", nil)
			req.URL.Path = path
			h.ServeHTTP(httptest.NewRecorder(), req)
		}
	}
	if n, got := series(t, m, "restartilka_http_requests_total", "pages", "200", "other"); got != 8 || n > 15 {
		t.Errorf("%v unknown methods of pages, %d series", got, n)
	}
	if _, got := series(t, m, "restartilka_http_requests_total", "api", "403", "POST"); got != 2 {
		t.Errorf("%v refused posts", got)
	}
	if _, got := series(t, m, "restartilka_http_request_duration_seconds", "events"); got != -1 {
		t.Errorf("event streams have a duration: %v", got)
	}
	if _, after := series(t, m, "restartilka_event_streams_open", "web"); open != 1 || after != 0 {
		t.Errorf("%v streams were open, %v are", open, after)
	}
}

// A host's word is not a label, and what never began has no duration.
func TestCallsAndEndsAreCounted(t *testing.T) {
	m := newMeters()
	n, _ := series(t, m, "restartilka_dispatch_refusals_total", "busy")
	for _, code := range []restart.Code{restart.CodeBusy, "made up", "\x00", restart.CodeClockSkew} {
		m.called(dispatch.Call{Verb: "put", Result: dispatch.ResultRefused, Code: code, Took: time.Millisecond})
	}
	m.called(dispatch.Call{Verb: "put", Result: dispatch.ResultNotSent, Took: 3 * time.Second})
	m.called(dispatch.Call{Verb: "status", Result: dispatch.ResultOK, Took: 25 * time.Second})
	m.TaskEnded(restart.KindRestart, restart.TaskUnknown, time.Minute)
	m.TaskEnded(restart.KindRestart, restart.TaskNotStarted, -1)
	m.RunEnded(restart.KindCustom, restart.RunFailed, time.Hour)
	m.neverBegan(restart.Run{Kind: restart.KindCustom, State: restart.RunRejected, Tasks: make([]restart.Task, 3)})
	if after, other := series(t, m, "restartilka_dispatch_refusals_total", "other"); other != 2 || after != n {
		t.Errorf("%v others, %d series after %d", other, after, n)
	}
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{4, "restartilka_dispatch_requests_total", []string{"refused", "put"}},
		{1, "restartilka_dispatch_requests_total", []string{"not_sent", "put"}},
		{4, "restartilka_dispatch_request_duration_seconds", []string{"put"}},
		{-1, "restartilka_dispatch_request_duration_seconds", []string{"status"}},
		{1, "restartilka_tasks_finished_total", []string{"restart", "unknown"}},
		{1, "restartilka_tasks_finished_total", []string{"restart", "not_started"}},
		{1, "restartilka_task_duration_seconds", []string{"restart"}},
		{1, "restartilka_runs_finished_total", []string{"custom", "failed"}},
		{1, "restartilka_runs_finished_total", []string{"custom", "rejected"}},
		{3, "restartilka_tasks_finished_total", []string{"custom", "not_started"}},
		{1, "restartilka_run_duration_seconds", []string{"custom"}},
	} {
		if _, got := series(t, m, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}
