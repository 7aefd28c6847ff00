package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// kills is how often each crash test kills; RESTARTILKA_KILLS sets it.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("RESTARTILKA_KILLS")); err == nil && n > 0 {
		return n
	}
	return 6
}

// The server is killed at random moments, and started again: no host is
// restarted twice, and every host's state is true.
func TestServerKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	crash(t, company.Options{Work: 150 * time.Millisecond}, func(c *company.Company) {
		c.KillServer()
		c.StartServer()
	})
}

// The same on PostgreSQL.
func TestServerKilledOnPostgreSQL(t *testing.T) {
	t.Parallel()
	crash(t, company.Options{Work: 150 * time.Millisecond, DSN: storetest.StartPostgres(t).NewDSN(t), Server: "runs: {lease: 3s}\n"}, func(c *company.Company) {
		c.KillServer()
		c.StartServer()
	})
}

// Agents are killed: their supervisors go on, and the next agent attaches.
func TestAgentsKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	crash(t, company.Options{Work: 150 * time.Millisecond}, func(c *company.Company) {
		h := c.Hosts[rand.IntN(len(c.Hosts))]
		c.KillAgent(h)
		c.StartAgent(h)
	})
}

// Both at once.
func TestServerAndAgentsKilledTogether(t *testing.T) {
	t.Parallel()
	crash(t, company.Options{Work: 150 * time.Millisecond}, func(c *company.Company) {
		c.KillServer()
		for _, h := range c.Hosts {
			c.KillAgent(h)
		}
		for _, h := range c.Hosts {
			c.StartAgent(h)
		}
		c.StartServer()
	})
}

func crash(t *testing.T, o company.Options, kill func(c *company.Company)) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, seed))
	t.Logf("seed %d", seed)
	c := company.New(t, o)
	for i := range kills() {
		run := c.Start(fmt.Sprintf("crash number %d of the crash test", i))
		// Three hosts take about 0.6 s: the kill falls anywhere in a run.
		<-time.After(time.Duration(random.IntN(700)) * time.Millisecond)
		kill(c)
		run = settle(t, c, run.ID)
		account(t, c, run)
		if t.Failed() {
			return
		}
	}
	compared(t, c)
}

// settle resumes a run, as a person would who doesn't look at the hosts, until
// it is over: what is unknown he says did not happen, be that true or not.
func settle(t *testing.T, c *company.Company, id string) restart.Run {
	t.Helper()
	for range 10 {
		run := c.Until(id, restart.RunPaused, restart.RunCompleted, restart.RunFailed, restart.RunAborted)
		if run.State != restart.RunPaused {
			return run
		}
		if run.Cause == "" || run.Explanation == "" {
			t.Errorf("run %s is paused without saying why", id)
		}
		c.Eventually("the run to be resumed", func() bool {
			now, err := c.Dev.Run(t.Context(), id)
			for _, task := range now.Undecided() {
				if _, err := c.Dev.Decide(t.Context(), id, wire.DecideRequest{Host: task.Host, Verdict: restart.VerdictDidNot, Reason: "nobody has looked at it yet"}); err != nil {
					return false
				}
			}
			if err == nil {
				_, err = c.Dev.Resume(t.Context(), id)
			}
			return err == nil
		})
	}
	t.Fatalf("run %s has been resumed ten times", id)
	return restart.Run{}
}

// account compares what the server says with what the witness saw.
func account(t *testing.T, c *company.Company, run restart.Run) {
	t.Helper()
	seen := c.Witnessed()
	for line, n := range seen {
		if n > 1 {
			t.Errorf("executed %d times: %s", n, line)
		}
	}
	for _, task := range run.Tasks {
		began := seen[task.ID+" "+task.Host+" begin"]
		ended := seen[task.ID+" "+task.Host+" end"]
		switch task.State {
		case restart.TaskSucceeded:
			if began != 1 || ended != 1 {
				t.Errorf("%s of %s succeeded; the witness saw %d and %d", task.ID, task.Host, began, ended)
			}
		case restart.TaskNotStarted, restart.TaskUnreachable, restart.TaskRefused:
			if began != 0 {
				t.Errorf("%s of %s is %s; the witness saw it begin", task.ID, task.Host, task.State)
			}
		case restart.TaskUnknown, restart.TaskFailed, restart.TaskTimedOut:
			t.Errorf("%s of %s is %s (%s): nothing here has harmed its supervisor", task.ID, task.Host, task.State, task.Error)
		default:
			t.Errorf("%s of %s is left %s in a run that is %s", task.ID, task.Host, task.State, run.State)
		}
	}
	for line := range seen {
		id, _, _ := strings.Cut(line, " ")
		if restart.CheckID(id) != nil {
			t.Errorf("the witness's file is torn: %q", line)
		}
	}
}
