package api_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/jira"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// ticketed is a server with a Jira, whose clock the test has: answers of the
// tracker are kept for a minute.
type ticketed struct {
	*apitest.Server
	t    *testing.T
	jira *jira.Server

	mu  sync.Mutex
	now time.Time
}

func startTicketed(t *testing.T, recurs ...control.Recurrence) *ticketed {
	t.Helper()
	x := &ticketed{t: t, jira: jira.Start(t), now: time.Now()}
	x.jira.Add(jira.Issue{Key: "WEB-17", Summary: "Workers hang <b>", Status: "In Progress", Category: "indeterminate"})
	x.jira.Add(jira.Issue{Key: "WEB-18", Summary: "Old one", Status: "Done", Category: "done"})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(jira.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	trackers, err := tracker.Settings{{Kind: "jira", URL: x.jira.URL, TokenFile: file, Projects: []string{"WEB"}, WhenDown: "strict"}}.Open(tracker.Options{Now: x.clock, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	x.Server = apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { c.Tickets, c.Recurs = trackers, recurs })
	x.Token("anna", developer, restart.RoleBreakGlass) // so that she has these roles still when her runs begin
	return x
}

func (x *ticketed) clock() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now
}

// later lets what the tracker has said be forgotten.
func (x *ticketed) later() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = x.now.Add(2 * time.Minute)
}

// demand has the rules demand a ticket of restarts in production.
func (x *ticketed) demand(closed string) {
	x.Rights(apitest.ApprovalRules[:strings.Index(apitest.ApprovalRules, "approval:")] + "tickets:\n  required:\n    - {environments: [production], closed: " + closed + "}\n")
}

func (x *ticketed) draft(ticket, reason string) (restart.Run, error) {
	x.t.Helper()
	return x.Control.Draft(x.t.Context(), ticketAnna, restart.Request{Service: "shop", Reason: reason, Ticket: ticket}, "")
}

func (x *ticketed) mustDraft(ticket, reason string) restart.Run {
	x.t.Helper()
	run, err := x.draft(ticket, reason)
	if err != nil {
		x.t.Fatal(err)
	}
	return run
}

var ticketAnna = restart.Actor{Name: "anna", Roles: []restart.Role{developer, restart.RoleBreakGlass}, Via: "test"}

const hang = "workers hang since the deploy"

func warned(run restart.Run, text string) bool {
	return strings.Contains(strings.Join(run.Plan.Warnings, "\n"), text)
}

func TestPlanShowsItsTicket(t *testing.T) {
	x := startTicketed(t)
	for _, c := range []struct{ ticket, reason, key, state string }{
		{"web-17", hang, "WEB-17", "open"}, {"", hang + ", WEB-17", "WEB-17", "open"}, {"", hang + ", https://jira/browse/WEB-18", "WEB-18", "closed"}, {"", hang, "", ""},
	} {
		run := x.mustDraft(c.ticket, c.reason)
		got := restart.Ticket{}
		if run.Plan.Ticket != nil {
			got = *run.Plan.Ticket
		}
		if run.Ticket != c.key || got.Key != c.key || string(got.State) != c.state || warned(run, "ticket WEB-18 is closed: Done") != (c.key == "WEB-18") {
			t.Errorf("%+v: %q, %+v, %q", c, run.Ticket, got, run.Plan.Warnings)
		}
	}
	// As JSON, and with what is of no tracker, or in none.
	anna := x.Token("anna", developer)
	ask := func(ticket string) apitest.Answer {
		return x.Request("POST", "/api/v1/runs", anna, []byte(`{"service":"shop","reason":"`+hang+`","ticket":"`+ticket+`"}`), nil)
	}
	run := decode[restart.Run](t, ask("WEB-17"), 201)
	if k := run.Plan.Ticket; k == nil || k.Title != "Workers hang <b>" || k.Status != "In Progress" || k.URL != x.jira.URL+"/browse/WEB-17" || !strings.HasPrefix(k.Tracker, "jira at ") {
		t.Errorf("%+v", run.Plan.Ticket)
	}
	for ticket, want := range map[string]string{"WEB-99": "has no ticket WEB-99", "OPS-1": `ticket "OPS-1" is of none of the trackers here`, "../WEB-17": "is of none"} {
		if p := problem(t, ask(ticket), 422); p.Code != restart.CodeInvalid || !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %+v", ticket, p)
		}
		_, err := x.draft(ticket, hang)
		if restart.FieldOf(err) != control.FieldTicket {
			t.Errorf("%s: about %q", ticket, restart.FieldOf(err))
		}
	}
	if n := len(recorded(t, x.Server, store.AuditFilter{Action: audit.RunRefused})); n != 6 {
		t.Errorf("%d refusals are recorded", n)
	}
	if run := x.mustDraft("", hang+", WEB-99"); run.Ticket != "" || !warned(run, "the reason names the ticket WEB-99") {
		t.Errorf("%q %q", run.Ticket, run.Plan.Warnings)
	}
}

func TestRulesDemandATicket(t *testing.T) {
	x := startTicketed(t)
	x.demand("refuse")
	ctx := t.Context()
	for _, c := range []struct{ ticket, want string }{
		{"", `a ticket is needed, and none is named (rule "rules.yaml, line 11")`},
		{"WEB-18", `ticket WEB-18 is closed: Done; an open one is needed (rule "rules.yaml, line 11")`},
	} {
		run := x.mustDraft(c.ticket, hang)
		if !warned(run, c.want+": it can't start now") {
			t.Errorf("%q", run.Plan.Warnings)
		}
		_, err := x.Control.Start(ctx, ticketAnna, run.ID, wire.StartRequest{})
		if restart.CodeOf(err) != restart.CodeTicket || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--break-glass") {
			t.Errorf("%v", err)
		}
		if rec := recorded(t, x.Server, store.AuditFilter{Action: audit.RunRefused, Run: run.ID}); len(rec) != 1 || rec[0].Outcome != "ticket_refused" {
			t.Errorf("%+v", rec)
		}
		if _, err := x.Control.Start(ctx, restart.Actor{Name: "anna", Roles: []restart.Role{developer}}, run.ID, wire.StartRequest{BreakGlass: true}); restart.CodeOf(err) != restart.CodeForbidden {
			t.Errorf("past it without the right: %v", err)
		}
		if _, err := x.Control.Start(ctx, ticketAnna, run.ID, wire.StartRequest{BreakGlass: true}); err != nil {
			t.Error(err)
		}
		if rec := recorded(t, x.Server, store.AuditFilter{Action: audit.RunBreakGlass, Run: run.ID}); len(rec) != 1 || !strings.Contains(rec[0].Detail, "waived: "+c.want) {
			t.Errorf("%+v", rec)
		}
		until(t, x.Server, x.Token("anna", developer), run.ID, restart.RunCompleted)
	}
	run := x.mustDraft("WEB-17", hang)
	if _, err := x.Control.Start(ctx, ticketAnna, run.ID, wire.StartRequest{}); err != nil {
		t.Errorf("for an open ticket: %v", err)
	}
	x.demand("warn")
	run = x.mustDraft("WEB-18", hang)
	if _, err := x.Control.Start(ctx, ticketAnna, run.ID, wire.StartRequest{}); err != nil || !warned(run, "is closed") {
		t.Errorf("for a closed one that is let pass: %v", err)
	}
	x.demand("refuse")
	dump, err := x.Control.Draft(ctx, ticketAnna, restart.Request{Service: "shop", Reason: hang, Kind: restart.KindThreadDump}, "")
	if restart.CodeOf(err) == restart.CodeTicket || err == nil && warned(dump, "ticket") {
		t.Errorf("a dump: %v", err)
	}
}

func TestTicketIsLookedAtAgainAtTheStart(t *testing.T) {
	x := startTicketed(t)
	x.demand("refuse")
	ctx := t.Context()
	run := x.mustDraft("WEB-17", hang)
	refused := func(want string) {
		t.Helper()
		x.later()
		_, err := x.Control.Start(ctx, ticketAnna, run.ID, wire.StartRequest{})
		if restart.CodeOf(err) != restart.CodeTicket || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		e, err := x.Control.PastTicket(ctx, ticketAnna, run)
		if err != nil || e == nil || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %v, %v", want, e, err)
		}
	}
	x.jira.Change("WEB-17", func(i *jira.Issue) { i.Status, i.Category = "Done", "done" })
	refused("ticket WEB-17 is closed: Done")
	x.jira.Change("WEB-17", func(i *jira.Issue) { i.Key = "WEB-170" })
	refused("has no ticket WEB-17 any more")
	x.jira.Trouble.Next(trouble.Forever, trouble.Page)
	refused("ticket WEB-17 could not be checked with jira at")
	if _, err := x.Control.Start(ctx, ticketAnna, run.ID, wire.StartRequest{BreakGlass: true}); err != nil {
		t.Errorf("past a tracker that is down: %v", err)
	}
	x.jira.Trouble.Next(0, nil)
	x.later()
	done := until(t, x.Server, x.Token("anna", developer), run.ID, restart.RunCompleted)
	if done.Ticket != "WEB-17" || !done.BreakGlass {
		t.Errorf("%+v", done)
	}
}

func TestTicketMustHoldUntilTheApproval(t *testing.T) {
	x := startTicketed(t)
	x.Rights(apitest.ApprovalRules + "tickets: {required: [{closed: refuse}]}\n")
	anna, root := x.Token("anna", developer), x.Token("root", admin)
	run := x.mustDraft("WEB-17", hang)
	if run := start(t, x.Server, anna, run.ID); run.State != restart.RunAwaitingApproval {
		t.Fatal(run.State)
	}
	x.jira.Change("WEB-17", func(i *jira.Issue) { i.Status, i.Category = "Done", "done" })
	x.later()
	looked := []byte(`{"reason":"the graphs of the others are fine"}`)
	if p := problem(t, x.Request("POST", "/api/v1/runs/"+run.ID+"/approve", root, looked, nil), 409); p.Code != restart.CodeTicket {
		t.Errorf("%+v", p)
	}
	x.jira.Change("WEB-17", func(i *jira.Issue) { i.Category = "new" })
	x.later()
	decode[restart.Run](t, x.Request("POST", "/api/v1/runs/"+run.ID+"/approve", root, looked, nil), 200)
	until(t, x.Server, anna, run.ID, restart.RunCompleted)
}

func TestRetryIsForTheSameTicket(t *testing.T) {
	x := startTicketed(t)
	x.demand("refuse")
	anna := x.Token("anna", developer)
	x.Agents.Set("web1", apitest.Fails)
	run := x.mustDraft("", hang+" (WEB-17)")
	start(t, x.Server, anna, run.ID)
	until(t, x.Server, anna, run.ID, restart.RunPaused)
	decode[restart.Run](t, x.Request("POST", "/api/v1/runs/"+run.ID+"/abort", anna, []byte(`{}`), nil), 200)
	until(t, x.Server, anna, run.ID, restart.RunAborted)
	for reason, want := range map[string]string{"the disk has room again": "WEB-17", "the disk has room again, see WEB-18": "WEB-18"} {
		again, err := x.Control.Retry(t.Context(), ticketAnna, run.ID, wire.RetryRequest{Reason: reason}, "")
		if err != nil || again.Ticket != want {
			t.Errorf("%s: %q, %v", reason, again.Ticket, err)
		}
	}
}

func TestRecurrenceIsNotedOnce(t *testing.T) {
	x := startTicketed(t,
		control.Recurrence{Fits: func(s, _ string) bool { return s == "other" }, Restarts: 2, Days: 7, Receiver: "ticket:other"},
		control.Recurrence{Fits: func(s, e string) bool { return s == "shop" && e == "production" }, Restarts: 3, Days: 7, Receiver: "ticket:jira"})
	anna := x.Token("anna", developer)
	for i, reason := range []string{"workers hang since 14:00", "workers hang since 15:00", "they leak memory again", "Workers hang, since 16:30!"} {
		if err := x.Control.NoteRecurrences(t.Context()); err != nil {
			t.Fatal(err)
		}
		if due, _ := x.Store.DueMessages(t.Context(), []string{"ticket:jira"}, time.Minute, 10); len(due) != 0 {
			t.Fatalf("after %d restarts: %+v", i, due)
		}
		run := x.mustDraft("", reason)
		start(t, x.Server, anna, run.ID)
		until(t, x.Server, anna, run.ID, restart.RunCompleted)
	}
	var all sync.WaitGroup
	for range 4 { // servers
		all.Go(func() {
			if err := x.Control.NoteRecurrences(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	due, err := x.Store.DueMessages(t.Context(), []string{"ticket:jira", "ticket:other"}, time.Minute, 10)
	if err != nil || len(due) != 1 || !strings.Contains(string(due[0].Body), `"restarts":3,"days":7`) || !strings.Contains(string(due[0].Body), "Workers hang, since 16:30!") {
		t.Fatalf("%+v, %v", due, err)
	}
	if rec := recorded(t, x.Server, store.AuditFilter{Action: audit.RecurrenceNoted}); len(rec) != 1 || rec[0].Service != "shop" || rec[0].Detail != "3 restarts within 7 days for this reason" {
		t.Errorf("%+v", rec)
	}
	if run := x.mustDraft("", "workers hang since 17:00"); warned(run, "recur") {
		t.Errorf("%q", run.Plan.Warnings)
	}
	for range 2 {
		if err := x.Store.TicketOpened(t.Context(), due[0].ID, "WEB-1001", "https://x/WEB-1001", audit.Record{Action: audit.TicketOpened}); err != nil {
			t.Fatal(err)
		}
	}
	if run := x.mustDraft("", "workers hang since 17:00"); !warned(run, "restarts for this reason recur; ticket WEB-1001 is about them") {
		t.Errorf("%q", run.Plan.Warnings)
	}
	if rec := recorded(t, x.Server, store.AuditFilter{Action: audit.TicketOpened}); len(rec) != 1 {
		t.Errorf("%+v", rec)
	}
}
