package web

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/test/foreign/jira"
)

// settings are trackers that an admin changes while the test runs.
type settings struct {
	now atomic.Pointer[tracker.Trackers]
}

func (s *settings) Look(ctx context.Context, given, reason string) (*restart.Ticket, error) {
	return s.now.Load().Look(ctx, given, reason)
}

// A ticket's tracker that is not in the settings any more stands in the way of
// the start, and not of the pages; broken glass waives that too.
func TestATrackerIsTakenAway(t *testing.T) {
	j := jira.Start(t)
	j.Add(jira.Issue{Key: "WEB-17", Summary: "Workers hang", Status: "Open", Category: "new"})
	file := filepath.Join(t.TempDir(), "token")
	var trackers settings
	open := func(project string) {
		t.Helper()
		all, err := tracker.Settings{{Kind: "jira", URL: j.URL, TokenFile: file, Projects: []string{project}}}.Open(tracker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		trackers.now.Store(all)
	}
	if err := os.WriteFile(file, []byte(jira.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	open("WEB")
	f, s := over(t, apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { c.Tickets = &trackers }))
	cookie, sure := f.as("anna", developer), f.as("anna", developer, restart.RoleBreakGlass)
	run, err := s.Control.Draft(t.Context(), anna, restart.Request{Service: "shop", Ticket: "WEB-17", Reason: "502s since the 14:00 deploy"}, "")
	f.must(err)
	open("SHOP")
	wants(t, f.page(cookie, run.ID), "Ticket WEB-17 is of none of the trackers here any more", "--break-glass")
	wants(t, f.page(cookie, run.ID, "Accept-Language", "ru"), "Тикет WEB-17 больше не относится ни к одному из здешних трекеров")
	if res := f.post("/runs/"+run.ID+"/start", url.Values{"typed": {"shop"}}, "Cookie", cookie); res.StatusCode != http.StatusConflict {
		t.Errorf("started without: %s", res.Status)
	}
	path := "/runs/" + run.ID + "/break-glass"
	wants(t, f.do("GET", path, "", "Cookie", sure).body, "without the ticket that it needs")
	if res := f.post(path, url.Values{"service": {"shop"}}, "Cookie", sure); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s %s", res.Status, res.body)
	}
	list, err := s.Control.Unreviewed(t.Context(), anna)
	if err != nil || len(list) != 1 || list[0].Waived != "ticket WEB-17 is of none of the trackers here any more" {
		t.Errorf("%+v %v", list, err)
	}
}

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
	wants(t, page, "/runs/"+good.ID+"/start", link, `open (In &lt;i&gt;Progress): Workers &lt;b&gt;hang&lt;/b&gt; \u{202e}at noon`, `class="green"`, "/runs/"+good.ID+"/later")
	wants(t, f.page(cookie, good.ID, "Accept-Language", "ru"), "Тикет", "открыт (In")

	for ticket, says := range map[string][2]string{
		"":       {"A ticket is needed, and none is named (rule &#34;rules.yaml, line 9&#34;)", "Нужен тикет, а он не назван (правило «rules.yaml, строка 9»)"},
		"WEB-18": {"Ticket WEB-18 is closed: Done; an open one is needed", "Тикет WEB-18 закрыт: Done; нужен открытый"},
	} {
		run := draft(ticket)
		page := f.page(cookie, run.ID)
		wants(t, page, says[0])
		lacks(t, page, `class="green"`, "it can&#39;t start now", "/break-glass", "/runs/"+run.ID+"/later")
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
