package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// A rehearsal goes the whole way of a restart, through the same gates, and no
// script is run on any host. Whoever looks at it sees what it was.
func TestARehearsal(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 2})
	out, talk, code := c.CLI("rehearse", demo.ServiceName, "--reason", reason, "--yes", "--json")
	if code != 0 || !strings.Contains(talk, "a rehearsal: every check is made") || !strings.Contains(talk, ": completed, a rehearsal\n") {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	var run restart.Run
	must(t, json.Unmarshal([]byte(out), &run))
	if run.State != restart.RunCompleted || run.Work != restart.WorkRehearse || len(run.Tasks) != 2 || run.Tasks[0].State != restart.TaskSucceeded || run.Tasks[1].State != restart.TaskSucceeded {
		t.Errorf("%+v", run)
	}
	if lines := c.WitnessLines(); len(lines) != 0 {
		t.Errorf("the witness saw %q", lines)
	}
	var printed strings.Builder
	must(t, c.Dev.WriteOutput(t.Context(), &printed, run.ID, run.Tasks[0].ID))
	if !strings.Contains(printed.String(), `echo "$RESTARTILKA_TASK `+c.Hosts[0].Name+` begin"`) {
		t.Errorf("it would have run: %s", &printed)
	}
	shown, _, _ := c.CLI("show", run.ID)
	if !strings.Contains(shown, "a rehearsal") {
		t.Errorf("shown as\n%s", shown)
	}
	list, _, _ := c.CLI("runs")
	if !strings.Contains(list, "completed, a rehearsal") {
		t.Errorf("listed as\n%s", list)
	}
	c.Eventually("the trail", func() bool {
		trail, err := os.ReadFile(c.AuditFile())
		return err == nil && strings.Count(string(trail), "a rehearsal: no script is run") == 3 // what was asked, and the intent of each host
	})
	// The same gates: what the host no longer trusts, and a freeze.
	for _, h := range c.Hosts {
		must(t, os.Remove(h.Dir+"/scenarios.d/witness.yaml"))
	}
	if out, talk, code := c.CLI("rehearse", demo.ServiceName, "--reason", reason, "--yes"); code == 0 {
		t.Errorf("without the reviewed file:\n%s%s", out, talk)
	}
	_, err := c.Admin.AddFreeze(t.Context(), wire.FreezeRequest{Environments: []string{"all"}, To: time.Now().Add(time.Hour).UTC().Format(time.RFC3339), Reason: reason})
	must(t, err)
	if _, talk, code := c.CLI("rehearse", demo.ServiceName, "--reason", reason, "--yes"); code != 3 {
		t.Errorf("in a freeze: exit %d: %s", code, talk)
	}
	if lines := c.WitnessLines(); len(lines) != 0 {
		t.Errorf("the witness saw %q", lines)
	}
}
