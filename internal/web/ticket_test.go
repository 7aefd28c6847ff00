package web

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/test/foreign/jira"
)

// newTicketed is a whole server with a Jira, in which a restart in production
// needs an open ticket.
func newTicketed(t *testing.T) (*fixture, *apitest.Server) {
	t.Helper()
	j := jira.Start(t)
	j.Add(jira.Issue{Key: "WEB-17", Summary: "Workers <b>hang</b> \u202eat noon", Status: "In <i>Progress", Category: "indeterminate"})
	j.Add(jira.Issue{Key: "WEB-18", Summary: "Long ago", Status: "Done", Category: "done"})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(jira.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	trackers, err := tracker.Settings{{Kind: "jira", URL: j.URL, Web: "https://jira.example.com", TokenFile: file, Projects: []string{"WEB"}}}.Open(tracker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, s := over(t, apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { c.Tickets = trackers }))
	rules, _, _ := strings.Cut(apitest.ApprovalRules, "approval:")
	s.Rights(rules + "tickets: {required: [{closed: refuse}]}\n")
	return f, s
}

func TestTicketOnItsPages(t *testing.T) {
	f, s := newTicketed(t)
	cookie, sure := f.as("anna", developer), f.as("anna", developer, restart.RoleBreakGlass)
	draft := func(ticket string) restart.Run {
		t.Helper()
		run, err := s.Control.Draft(t.Context(), anna, restart.Request{Service: "shop", Ticket: ticket, Reason: "502s since the 14:00 deploy"}, "")
		f.must(err)
		return run
	}
	good := draft("WEB-17")
	page := f.page(cookie, good.ID)
	const link = `<a href="https://jira.example.com/browse/WEB-17">WEB-17</a>`
	wants(t, page, "/runs/"+good.ID+"/start", link, `open (In &lt;i&gt;Progress): Workers &lt;b&gt;hang&lt;/b&gt; \u{202e}at noon`, `class="green"`)
	wants(t, f.page(cookie, good.ID, "Accept-Language", "ru"), "Тикет", "открыт (In")

	for ticket, says := range map[string][2]string{
		"":       {"A ticket is needed, and none is named (rule &#34;rules.yaml, line 9&#34;)", "Нужен тикет, а он не назван (правило «rules.yaml, строка 9»)"},
		"WEB-18": {"Ticket WEB-18 is closed: Done; an open one is needed", "Тикет WEB-18 закрыт: Done; нужен открытый"},
	} {
		run := draft(ticket)
		page := f.page(cookie, run.ID)
		wants(t, page, says[0])
		lacks(t, page, "--break-glass", `class="green"`, "it can&#39;t start now", "/break-glass")
		if strings.Count(page, says[0]) != 1 {
			t.Errorf("it is said %d times", strings.Count(page, says[0]))
		}
		wants(t, f.page(cookie, run.ID, "Accept-Language", "ru"), says[1])
		path := "/runs/" + run.ID + "/break-glass"
		wants(t, f.page(sure, run.ID), path)
		wants(t, f.do("GET", path, "", "Cookie", sure).body, "without the ticket that it needs")
		if res := f.post("/runs/"+run.ID+"/start", url.Values{"typed": {"shop"}}, "Cookie", cookie); res.StatusCode != http.StatusConflict {
			t.Errorf("started without: %s", res.Status)
		}
	}
	// The form says it beside the field.
	form := url.Values{"key": {restart.NewID(good.CreatedAt)}, "service": {"shop"}, "env": {"production"}, "scenario": {"plain-restart"}, "reason": {"502s since the 14:00 deploy"}, "ticket": {"WEB-99"}}
	res := f.post("/start", form, "Cookie", cookie)
	wants(t, res.body, "has no ticket WEB-99, or none that this server may see", `aria-invalid="true"`)

	if res := f.post("/runs/"+good.ID+"/start", url.Values{"typed": {"shop"}}, "Cookie", cookie); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s %s", res.Status, res.body)
	}
	f.untilOneOf(s, good, restart.RunCompleted)
	wants(t, f.page(cookie, good.ID), link, "open (In &lt;i&gt;Progress)")
}
