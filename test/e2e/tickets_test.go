package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
	"github.com/restartilka/restartilka/test/foreign/startrek"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

// A restart is for a ticket: the command line shows it, the rules demand it, and
// it gets one comment, although the tracker is away and the server is killed.
// Restarts that recur open a ticket.
func TestTickets(t *testing.T) {
	t.Parallel()
	board := startrek.Start(t)
	board.Add(startrek.Issue{Key: "WEB-17", Summary: "Workers hang", Status: "In progress"})
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte(startrek.Token), 0o600))
	c := company.New(t, company.Options{
		Hosts: 1,
		Server: fmt.Sprintf("tickets:\n  - {kind: startrek, url: %q, org: %q, token_file: %s, projects: [WEB], recurrence: [{restarts: 2, days: 7, project: WEB}]}\n",
			board.URL, startrek.Org, token),
		Prepare: func(c *company.Company) {
			askApproval(c)
			file := filepath.Join(c.ServerDir(), "rules.yaml")
			b, err := os.ReadFile(file)
			must(t, err)
			rules, _, _ := strings.Cut(string(b), "approval:")
			must(t, os.WriteFile(file, []byte(rules+"tickets: {required: [{}]}\n"), 0o600))
		},
	})
	again := func(reason string, more ...string) (out, talk string, code int) {
		t.Helper()
		return c.CLI(append([]string{"restart", demo.ServiceName, "--yes", "--json", "--reason", reason}, more...)...)
	}
	if _, talk, code := again("workers hang since 14:00"); code != 3 || !strings.Contains(talk, "a ticket is needed, and none is named") {
		t.Fatalf("without a ticket: exit %d: %s", code, talk)
	}
	if _, talk, code := again("workers hang since 14:00", "--ticket", "WEB-99"); code != 2 || !strings.Contains(talk, "has no ticket WEB-99") {
		t.Errorf("for none that there is: exit %d: %s", code, talk)
	}
	shown, _, code := c.CLI("restart", demo.ServiceName, "--plan", "--reason", "workers hang since 14:00, WEB-17")
	if code != 0 || !strings.Contains(shown, "ticket:  WEB-17, open (In progress): Workers hang, https://tracker.yandex.ru/WEB-17\n") {
		t.Errorf("exit %d\n%s", code, shown)
	}
	var runs []restart.Run
	for _, reason := range []string{"workers hang since 14:00, WEB-17", "workers hang since 15:00, WEB-17"} {
		out, talk, code := again(reason)
		var run restart.Run
		if code != 0 || json.Unmarshal([]byte(out), &run) != nil || run.Ticket != "WEB-17" {
			t.Fatalf("exit %d\n%s\n%s", code, out, talk)
		}
		runs = append(runs, run)
		if len(runs) == 2 {
			board.Trouble.Next(trouble.Forever, trouble.Down)
		}
	}
	c.KillServer()
	board.Trouble.Next(0, nil)
	c.StartServer()
	c.Eventually("two comments, and a ticket about both restarts", func() bool {
		issues := board.Issues()
		return len(issues) >= 2 && len(issues[0].Comments) >= 2
	})
	issues := board.Issues()
	if len(issues) != 2 || len(issues[0].Comments) != 2 || !strings.Contains(issues[1].Summary, "was restarted 2 times in 7 days") {
		t.Errorf("%+v", issues)
	}
	for _, run := range runs {
		if n := strings.Count(strings.Join(issues[0].Comments, "\n"), "/runs/"+run.ID); n != 1 {
			t.Errorf("run %s is commented %d times", run.ID, n)
		}
	}
	c.Eventually("the record of the ticket", func() bool {
		trail, err := os.ReadFile(c.AuditFile())
		return err == nil && strings.Contains(string(trail), `"recurrence.ticket"`) && strings.Contains(string(trail), issues[1].Key)
	})
	shown, _, _ = c.CLI("restart", demo.ServiceName, "--plan", "--reason", "workers hang since 16:00, WEB-17")
	if !strings.Contains(shown, "warning: restarts for this reason recur; ticket "+issues[1].Key+" is about them") {
		t.Errorf("%s", shown)
	}
}
