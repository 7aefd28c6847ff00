package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// Nothing to the log, nothing to the host: against a real log server that
// hangs, is killed, and comes back, and a server that is killed while it waits
// for it. Past it there is break-glass.
func TestNoHostIsTouchedWithoutTheLog(t *testing.T) {
	t.Parallel()
	log := audittest.NewRelp(t, "RSYSLOG_FileFormat", "server-1")
	log.Start()
	cert, key, err := log.CA.IssueClient("server-1", time.Now())
	must(t, err)
	sink := fmt.Sprintf("    - {kind: relp, address: %q, ca: %s, server_name: %s, certificate: %s, key: %s}\n",
		log.Address, log.CAFile(), audittest.ServerName, log.Write("client.crt", cert), log.Write("client.key", key))
	c := company.New(t, company.Options{Audit: sink, Prepare: func(c *company.Company) {
		text, err := os.ReadFile(c.Config())
		must(t, err)
		// The level is the strongest that a sink offers: received.
		must(t, os.WriteFile(c.Config(), []byte(strings.Replace(string(text), "  require: spool\n", "  deadline: 3s\n", 1)), 0o600))
	}})
	c.Until(c.Start("while the log server listens").ID, restart.RunCompleted)
	witnessed := func(when string, want int) {
		t.Helper()
		if n := len(c.WitnessLines()); n != want {
			t.Fatalf("%s: the witness saw %d lines, want %d: %v", when, n, want, c.WitnessLines())
		}
	}
	backlogged := func(id, want string) {
		t.Helper()
		run := c.Until(id, restart.RunPaused)
		if run.Cause != restart.CauseAuditBacklog || !strings.Contains(run.Explanation, "audit.require: received") || states(run) != want {
			t.Errorf("paused (%s) %s: %s, want %s", run.Cause, run.Explanation, states(run), want)
		}
	}
	witnessed("with the log", 6)

	log.Send(unix.SIGSTOP)
	run := c.Start("while the log server hangs")
	c.KillServer() // as a rule while it waits
	c.StartServer()
	if got := c.Until(run.ID, restart.RunPaused); states(got) != "planned planned planned" {
		t.Errorf("after a kill: %s (%s)", states(got), got.Cause)
	}
	switch _, talk, code := c.CLI("resume", run.ID); {
	case code == 0:
		backlogged(run.ID, "planned planned planned")
	case code != 3 || !strings.Contains(talk, "the log takes no records"): // it has waited for so long already
		t.Errorf("resume: exit %d %s", code, talk)
	}
	again := []string{"restart", demo.ServiceName, "--reason", reason, "--yes", "--detach"}
	if _, talk, code := c.CLI(again...); code != 3 || !strings.Contains(talk, "the log takes no records") || !strings.Contains(talk, "--break-glass") {
		t.Errorf("a start without the log: exit %d %s", code, talk)
	}
	witnessed("the log hangs", 6)
	log.Send(unix.SIGCONT)
	c.Hold()
	c.Eventually("the log to be back, and the run to go on", func() bool {
		_, _, code := c.CLI("resume", run.ID)
		return code == 0
	})
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) > 6 })

	log.Stop(unix.SIGKILL) // in the middle of a run
	if _, talk, code := c.CLI("restart", demo.ServiceName, "--reason", "..........", "--yes"); code != 3 {
		t.Errorf("a bad reason: exit %d %s", code, talk) // a record that has to wait
	}
	c.Eventually("the server to say that the log is late", func() bool {
		out, talk, _ := c.CLI("restart", demo.ServiceName, "--reason", reason, "--plan")
		return strings.Contains(out+talk, "the log takes no records")
	})
	c.Release()
	backlogged(run.ID, "succeeded planned planned")
	witnessed("the host in hand finishes", 8)

	if _, talk, code := c.CLI("abort", run.ID); code != 0 { // it holds the service
		t.Fatalf("abort: exit %d %s", code, talk)
	}
	c.Until(run.ID, restart.RunAborted)
	right, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "on call", Owner: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper, restart.RoleBreakGlass}})
	must(t, err)
	c.Dev, c.DevToken = c.Client(right.Secret), right.Secret
	out, talk, code := c.CLI("restart", demo.ServiceName, "--reason", reason, "--yes", "--break-glass")
	if code != 0 {
		t.Fatalf("break-glass: exit %d\n%s\n%s", code, out, talk)
	}
	witnessed("past the log", 14)

	log.Start()
	c.StopServer()
	c.StartServer() // at its start it knows of the stop
	c.Eventually("the log server to have everything", func() bool {
		_, _, code := c.CLI("audit", "verify", log.StoredFile())
		stored := log.Stored()
		return code == 0 && distinct(stored, `"action":"task.intent"`) == 3+1+3 && distinct(stored, `"action":"run.break_glass"`) == 1 && distinct(stored, `"action":"server.stopped"`) == 1
	})
}
