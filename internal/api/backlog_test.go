package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// A log that takes nothing, or a full spool, keeps runs from starting and from
// going on; broken glass passes it, and the trail says what was waived.
func TestTheLogHoldsRunsUp(t *testing.T) {
	s := apitest.Start(t, nil)
	anna, sure := s.Token("anna", developer), s.Token("anna", developer, restart.RoleBreakGlass)
	s.Agents.Set("web1", apitest.Hangs)
	going := draft(t, s, anna, "")
	start(t, s, anna, going.ID)
	planned := draft(t, s, anna, "")
	until(t, s, anna, going.ID, restart.RunRunning)
	const path = "/api/v1/runs/"
	refused := func(token, what, body, says string) {
		t.Helper()
		p := problem(t, s.Request("POST", path+what, token, []byte(body), nil), http.StatusServiceUnavailable)
		if p.Code != restart.CodeAuditBacklog || !strings.Contains(p.Detail, says) {
			t.Errorf("%s: %+v", what, p)
		}
	}

	s.Log.Stand(audit.Standing{Level: audit.LevelReceived, Fill: audit.FillFull, Used: 90, Limit: 100})
	refused(anna, planned.ID+"/start", "{}", "the spool of the audit trail is full: 90 %, 3 hosts in hand")
	s.Log.Stand(audit.Standing{Level: audit.LevelReceived, Late: time.Now().Add(-time.Minute)})
	refused(anna, planned.ID+"/start", "{}", "the log takes no records")
	if rec := recorded(t, s, store.AuditFilter{Run: planned.ID, Action: audit.RunRefused}); len(rec) != 2 || rec[0].Outcome != "audit_backlog" {
		t.Errorf("records: %+v", rec)
	}
	if text := strings.Join(draft(t, s, anna, "").Plan.Warnings, "\n"); !strings.Contains(text, "it can't start now") {
		t.Errorf("warnings: %s", text)
	}
	s.Agents.Set("web1", apitest.Succeeds)
	run := until(t, s, anna, going.ID, restart.RunPaused)
	if run.Cause != restart.CauseAuditBacklog || run.Tasks[0].State != restart.TaskSucceeded || run.Tasks[1].State != restart.TaskPlanned {
		t.Errorf("%s: %s; %s", run.Cause, run.Explanation, run.Summary())
	}
	refused(anna, going.ID+"/resume", "", "the log takes no records")
	decode[restart.Run](t, s.Request("POST", path+going.ID+"/abort", anna, nil, nil), 200)
	until(t, s, anna, going.ID, restart.RunAborted)

	problem(t, s.Request("POST", path+planned.ID+"/start", anna, []byte(`{"break_glass":true}`), nil), http.StatusForbidden)
	decode[restart.Run](t, s.Request("POST", path+planned.ID+"/start", sure, []byte(`{"break_glass":true}`), nil), 200)
	until(t, s, anna, planned.ID, restart.RunCompleted)
	if rec := recorded(t, s, store.AuditFilter{Run: planned.ID, Action: audit.RunBreakGlass}); len(rec) != 1 || !strings.Contains(rec[0].Detail, "waived: the log takes no records") {
		t.Errorf("records: %+v", rec)
	}
}
