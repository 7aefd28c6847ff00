package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/company"
)

// replacePrograms lays new program files, as a package does, and starts
// everything anew from them: the server stopped with SIGTERM, as systemd does.
func replacePrograms(t *testing.T, c *company.Company) {
	t.Helper()
	fresh := filepath.Join(c.Dir, "new")
	must(t, os.Mkdir(fresh, 0o755))
	for _, program := range []*string{&c.Programs.Server, &c.Programs.Agent} {
		b, err := os.ReadFile(*program)
		must(t, err)
		*program = filepath.Join(fresh, filepath.Base(*program))
		must(t, os.WriteFile(*program, b, 0o755))
	}
	c.StopServer()
	for _, h := range c.Hosts {
		c.StopAgent(h)
	}
	for _, h := range c.Hosts {
		c.StartAgent(h)
	}
	c.StartServer()
}

// Server and agents are upgraded while a script works: it goes on, its outcome
// is the true one, and the run waits for a person.
func TestAnUpgradeInMidRun(t *testing.T) {
	t.Parallel()
	for name, o := range upgrades(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := company.New(t, o)
			run := c.Start(reason)
			c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
			replacePrograms(t, c)
			c.Eventually("the host in hand to be known", func() bool {
				now, err := c.Dev.Run(t.Context(), run.ID)
				return err == nil && now.State == restart.RunPaused && now.Tasks[0].State.Final()
			})
			paused, err := c.Dev.Run(t.Context(), run.ID)
			must(t, err)
			if paused.Cause != restart.CauseInterrupted || states(paused) != "succeeded planned planned" || !strings.Contains(paused.Explanation, "the server was stopped while 1 host was in hand") {
				t.Errorf("paused (%s) %s: %s", paused.Cause, states(paused), paused.Explanation)
			}
			if _, talk, code := c.CLI("resume", run.ID); code != 0 {
				t.Fatalf("resume: exit %d: %s", code, talk)
			}
			account(t, c, c.Until(run.ID, restart.RunCompleted))
			c.StopServer()
			wholeTrail(t, c, c.AuditFile())
		})
	}
}

// Where the settings say so, it goes on by itself.
func TestAnUpgradeInMidRunThatGoesOn(t *testing.T) {
	t.Parallel()
	for name, o := range upgrades(t) {
		o.Server = strings.Replace(o.Server, "{", "{after_interruption: go-on, ", 1)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := company.New(t, o)
			run := c.Start(reason)
			c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
			replacePrograms(t, c)
			done := c.Until(run.ID, restart.RunCompleted, restart.RunPaused)
			if states(done) != "succeeded succeeded succeeded" {
				t.Errorf("%s (%s): %s", done.State, done.Explanation, states(done))
			}
			account(t, c, done)
		})
	}
}

func upgrades(t *testing.T) map[string]company.Options {
	t.Helper()
	o := company.Options{Work: 1500 * time.Millisecond, Server: "runs: {lease: 3s}\n"}
	p := o
	p.DSN = storetest.StartPostgres(t).NewDSN(t)
	return map[string]company.Options{"SQLite": o, "PostgreSQL": p}
}
