package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Every page says that the log holds runs up; a plan then leads past it who may
// break the glass, and nobody else anywhere.
func TestPagesSayThatTheLogHoldsRunsUp(t *testing.T) {
	t.Parallel()
	f, s, root := administered(t)
	run := f.draft(s)
	plain, sure := f.as("anna", developer), f.as("anna", developer, restart.RoleBreakGlass)
	s.Log.Stand(audit.Standing{Level: audit.LevelReceived, Deadline: 10 * time.Second, Used: 75 << 20, Limit: 100 << 20, Fill: audit.FillWarn})
	wants(t, f.do("GET", "/runs", "", "Cookie", plain).body, "take 75 % of their room: does it take records?")
	wants(t, f.do("GET", "/admin/delivery", "", "Cookie", root).body, "10\u00a0s", "(75 %)")
	page := f.do("GET", "/runs/"+run.ID, "", "Cookie", plain).body
	wants(t, page, "/start\"")

	s.Log.Stand(audit.Standing{Level: audit.LevelReceived, Used: 90 << 20, Limit: 100 << 20, Fill: audit.FillFull})
	wants(t, f.do("GET", "/services", "", "Cookie", plain).body, "take 90 % of their room: until it takes them, no run starts")

	s.Log.Stand(audit.Standing{Level: audit.LevelReceived, Late: time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC)})
	late := "The remote log takes no records since <time datetime=\"2026-03-01T12:00:05.000Z\" title=\"2026-03-01 12:00:05 UTC\">2026-03-01 12:00 UTC</time>: until it does, no further host is touched (audit.require: received)."
	wants(t, f.do("GET", "/runs", "", "Cookie", plain).body, late)
	lacks(t, f.do("GET", "/sign-in", "").body, "takes no records")
	page = f.do("GET", "/runs/"+run.ID, "", "Cookie", plain).body
	lacks(t, page, "/start\"", "/break-glass\"")
	if res := f.post("/runs/"+run.ID+"/start", url.Values{"typed": {"shop"}}, "Cookie", plain); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(res.body, `<div class="callout fail" role="alert"><p>The log takes no records`) {
		t.Errorf("start: %s\n%s", res.Status, res.body)
	}
	path := "/runs/" + run.ID + "/break-glass"
	wants(t, f.do("GET", "/runs/"+run.ID, "", "Cookie", sure).body, `action="`+path+`"`, "break the glass")
	wants(t, f.do("GET", path, "", "Cookie", sure).body, "3 hosts although the remote log takes no records")
	if res := f.post(path, url.Values{"service": {"shop"}}, "Cookie", sure); res.StatusCode != http.StatusSeeOther {
		t.Errorf("%s\n%s", res.Status, res.body)
	}
}
