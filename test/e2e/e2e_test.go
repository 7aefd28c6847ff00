// Package e2e tests the real programs together: server, agents and command
// line as processes, over real TLS on loopback addresses.
package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

const reason = "workers hang since the 14:00 deploy"

// R5: host after host, in the plan's order, the next only when the last is done.
func TestHostsAreRestartedOneAfterAnother(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: 50 * time.Millisecond})
	out, talk, code := c.CLI("restart", demo.ServiceName, "--reason", reason, "--yes", "--json")
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	var run restart.Run
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if run.State != restart.RunCompleted || len(run.Tasks) != 3 || run.Reason != reason || run.Actor != demo.Developer {
		t.Fatalf("run: %+v", run)
	}
	var want []string
	for i, task := range run.Tasks {
		if task.State != restart.TaskSucceeded || task.Host != c.Hosts[i].Name || task.Attempt != 1 {
			t.Errorf("task %d: %+v", i, task)
		}
		if i > 0 && task.StartedAt.Before(*run.Tasks[i-1].FinishedAt) {
			t.Errorf("%s began before %s was done", task.Host, run.Tasks[i-1].Host)
		}
		want = append(want, task.ID+" "+task.Host+" begin", task.ID+" "+task.Host+" end")
	}
	if got := c.WitnessLines(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the witness saw\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, h := range c.Hosts {
		left, err := filepath.Glob(filepath.Join(h.Dir, "spool", "*.task"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s still holds %v (%v)", h.Name, left, err)
		}
	}
	compared(t, c, "taken 1, refused 0, begun on the host 0, told by both 1, heads that match 1,")
	b, err := os.ReadFile(c.AuditFile())
	if err != nil {
		t.Fatal(err)
	}
	for action, n := range map[string]int{"run.requested": 1, "run.started": 1, "task.intent": 3, "task.outcome": 3, "run.ended": 1, "server.started": 1, "config.changed": 1, "server.stopped": 1} {
		if got := strings.Count(string(b), `"action":"`+action+`"`); got != n {
			t.Errorf("%d records of %s, want %d", got, action, n)
		}
	}
}

// A failure on the second host leaves the third untouched.
func TestAFailureStopsTheWalk(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Scenario: func(c *company.Company) (string, string) {
		return "witness", strings.Replace(c.Witness(0), "      echo \"restarted", "      if [ \"$RESTARTILKA_HOST\" = host2.test.internal ]; then echo broken >&2; exit 7; fi\n      echo \"restarted", 1)
	}})
	out, talk, code := c.CLI("restart", demo.ServiceName, "--reason", reason, "--yes", "--json")
	if code != 5 {
		t.Fatalf("exit %d, want 5 (paused)\n%s\n%s", code, out, talk)
	}
	var run restart.Run
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if run.State != restart.RunPaused || run.Cause != restart.CauseFailure || !strings.Contains(run.Explanation, "host2") {
		t.Errorf("run is %s (%s): %s", run.State, run.Cause, run.Explanation)
	}
	if s := states(run); s != "succeeded failed planned" {
		t.Errorf("tasks: %s", s)
	}
	if code := run.Tasks[1].ExitCode; code == nil || *code != 7 {
		t.Errorf("exit code of the failed script: %v", code)
	}
	if n := len(c.WitnessLines()); n != 4 {
		t.Errorf("the witness saw %d lines, want 4: %v", n, c.WitnessLines())
	}
	// A person has seen it and goes on: the third is restarted, the second not again.
	if _, talk, code := c.CLI("resume", run.ID); code != 0 {
		t.Fatalf("resume: exit %d %s", code, talk)
	}
	run = c.Until(run.ID, restart.RunFailed)
	if s := states(run); s != "succeeded failed succeeded" {
		t.Errorf("after resume: %s", s)
	}
}

func states(run restart.Run) string {
	var out []string
	for _, t := range run.Tasks {
		out = append(out, string(t.State))
	}
	return strings.Join(out, " ")
}

// Whatever is wrong with a request: a documented exit code, a sentence, and
// nothing executed.
func TestBadRequestsExecuteNothing(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{})
	for name, x := range map[string]struct {
		args []string
		code []int
		says string
	}{
		"unknown service":      {[]string{"restart", "helo", "--reason", reason, "--yes"}, []int{2}, "hello"},
		"service like a path":  {[]string{"restart", "../../etc/cron.d/x", "--reason", reason, "--yes"}, []int{2}, "etc"},
		"service like options": {[]string{"restart", "--reason", reason, "--yes", "--", "-rf"}, []int{2}, "-rf"},
		"unknown group":        {[]string{"restart", "hello", "--group", "shop_helo-testing", "--reason", reason, "--yes"}, []int{2}, demo.GroupName},
		"unknown host":         {[]string{"restart", "hello", "--hosts", "host9.test.internal", "--reason", reason, "--yes"}, []int{2}, "host9"},
		"no host left":         {[]string{"restart", "hello", "--hosts", "host1.test.internal,-host1.test.internal", "--reason", reason, "--yes"}, []int{2}, ""},
		"all left out":         {[]string{"restart", "hello", "--except", "%" + demo.GroupName, "--reason", reason, "--yes"}, []int{2}, "no host"},
		"unknown environment":  {[]string{"restart", "hello", "--env", "production", "--reason", reason, "--yes"}, []int{2}, "production"},
		"unknown scenario":     {[]string{"run", "witnes", "hello", "--reason", reason, "--yes"}, []int{2}, "witnes"},
		"unknown parameter":    {[]string{"run", "witness", "hello", "--param", "path=/", "--reason", reason, "--yes"}, []int{2}, "path"},
		"no reason":            {[]string{"restart", "hello", "--reason", "", "--yes"}, []int{2, 3}, "reason"},
		"a dot":                {[]string{"restart", "hello", "--reason", ".", "--yes"}, []int{2, 3}, "10"},
		"a pipe without --yes": {[]string{"restart", "hello", "--reason", reason}, []int{2}, "--yes"},
	} {
		out, talk, code := c.CLI(x.args...)
		ok := false
		for _, want := range x.code {
			ok = ok || code == want
		}
		if !ok || !strings.Contains(talk, x.says) || strings.TrimSpace(talk) == "" {
			t.Errorf("%s: exit %d, said %q and %q", name, code, talk, out)
		}
	}
	if w := c.WitnessLines(); len(w) > 0 {
		t.Errorf("something was executed: %v", w)
	}
}

// Each host's own word (R14, R33): its error is its own line, and the others
// are not touched by it.
func TestEachHostHasItsOwnError(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 5})
	c.StopAgent(c.Hosts[0])                                                          // no agent
	must(t, os.Remove(filepath.Join(c.Hosts[1].Dir, "scenarios.d", "witness.yaml"))) // not reviewed there
	must(t, os.Remove(filepath.Join(c.Hosts[2].Dir, "services.d", "hello.yaml")))    // not a host of the service
	must(t, os.WriteFile(filepath.Join(c.Hosts[3].Dir, "services.d", "hello.yaml"), []byte("package: no-such-package\n"), 0o600))
	run, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"nothing listens", "scenarios.d", "services.d", "no-such-package", ""} {
		h := run.Plan.Hosts[i]
		if h.LeftOut != (want != "") || !strings.Contains(h.Why, want) {
			t.Errorf("%s: left out %v: %q, want %q", h.Name, h.LeftOut, h.Why, want)
		}
	}
	// A person ticks a refusing host all the same: the host refuses by itself.
	run, err = c.Dev.Start(t.Context(), run.ID, wire.StartRequest{Hosts: []string{c.Hosts[1].Name, c.Hosts[4].Name}})
	if err != nil {
		t.Fatal(err)
	}
	run = c.Until(run.ID, restart.RunPaused)
	if s := states(run); s != "refused planned" || !strings.Contains(run.Tasks[0].Error, "scenarios.d") || run.Tasks[0].Cause != string(restart.CodeNotReviewed) {
		t.Errorf("%s: %+v", s, run.Tasks[0])
	}
	if w := c.WitnessLines(); len(w) > 0 {
		t.Errorf("something was executed: %v", w)
	}
}

// What was shown must still be true when the button is pressed.
func TestAPlanThatChangedIsShownAgain(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{})
	run, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.ServerDir(), "inventory.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(string(b), ", host3.test.internal]", "]", 1)), 0o640))
	_, err = c.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
	if restart.CodeOf(err) != restart.CodePlanChanged || !strings.Contains(err.Error(), "host3.test.internal is not in the group any more") {
		t.Errorf("start: %v", err)
	}
	if w := c.WitnessLines(); len(w) > 0 {
		t.Errorf("something was executed: %v", w)
	}
}

// A double click and a client that asks again make one run.
func TestOneRunFromADoubleClick(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{})
	req := restart.Request{Service: demo.ServiceName, Reason: reason}
	first, err := c.Dev.Draft(t.Context(), req, "click-1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Dev.Draft(t.Context(), req, "click-1")
	if err != nil || second.ID != first.ID {
		t.Fatalf("the same key made %s and %s (%v)", first.ID, second.ID, err)
	}
	errs := make(chan error, 10)
	for range cap(errs) {
		go func() {
			_, err := c.Dev.Start(t.Context(), first.ID, wire.StartRequest{})
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	c.Until(first.ID, restart.RunCompleted)
	if n := len(c.WitnessLines()); n != 6 {
		t.Errorf("the witness saw %d lines, want 6", n)
	}
}

// Two runs never touch one service at once: the second waits for the first.
func TestTheSecondRunWaits(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: 300 * time.Millisecond})
	first, second := c.Start(reason), c.Start("another reason to restart it")
	c.Until(second.ID, restart.RunCompleted)
	a, err := c.Dev.Run(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Dev.Run(t.Context(), second.ID)
	if err != nil {
		t.Fatal(err)
	}
	if a.State != restart.RunCompleted || b.StartedAt.Before(*a.FinishedAt) {
		t.Errorf("the second began at %s, the first (%s) ended at %v", b.StartedAt, a.State, a.FinishedAt)
	}
}

// A run that was paused while it waited does not slip past the lock.
func TestAQueuedRunThatIsPausedStillWaits(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: time.Second})
	first := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	second := c.Start("another reason to restart it")
	if _, err := c.Dev.Pause(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	c.Until(second.ID, restart.RunPaused)
	if _, err := c.Dev.Resume(t.Context(), second.ID); restart.CodeOf(err) != restart.CodeLocked || !strings.Contains(err.Error(), first.ID) {
		t.Errorf("resumed beside run %s: %v", first.ID, err)
	}
	c.Until(first.ID, restart.RunCompleted)
	if _, err := c.Dev.Resume(t.Context(), second.ID); err != nil {
		t.Errorf("resume: %v", err)
	}
	c.Until(second.ID, restart.RunCompleted)
}

// Who has no token left, has no next host touched.
func TestARevokedTokenStopsTheWalk(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: 500 * time.Millisecond})
	run := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	tokens, err := c.Admin.Tokens(t.Context())
	must(t, err)
	for _, token := range tokens {
		if token.Owner == demo.Developer {
			must(t, c.Admin.RevokeToken(t.Context(), token.ID))
		}
	}
	c.Eventually("the run to be paused", func() bool {
		run, err = c.Admin.Run(t.Context(), run.ID)
		return err == nil && run.State == restart.RunPaused
	})
	if run.Cause != restart.CauseRightsLost || states(run) != "succeeded planned planned" {
		t.Errorf("paused (%s) %s: %s", run.Cause, run.Explanation, states(run))
	}
}

// Abort lets the host in hand finish, and touches no other.
func TestAbort(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: time.Second})
	run := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	if _, talk, code := c.CLI("abort", run.ID); code != 0 {
		t.Fatalf("abort: exit %d %s", code, talk)
	}
	run = c.Until(run.ID, restart.RunAborted)
	if s := states(run); s != "succeeded not_started not_started" {
		t.Errorf("tasks: %s", s)
	}
	if n := len(c.WitnessLines()); n != 2 {
		t.Errorf("the witness saw %d lines, want 2", n)
	}
}

// Force-abort kills the script; what the host is now, nobody knows.
func TestForceAbort(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Work: 20 * time.Second})
	run := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	if _, talk, code := c.CLI("force-abort", run.ID); code != 0 {
		t.Fatalf("force-abort: exit %d %s", code, talk)
	}
	run = c.Until(run.ID, restart.RunAborted)
	if s := states(run); s != "unknown not_started not_started" {
		t.Errorf("tasks: %s", s)
	}
	if n := len(c.WitnessLines()); n != 1 {
		t.Errorf("the witness saw %d lines, want 1", n)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
