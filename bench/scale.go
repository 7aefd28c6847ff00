package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// scale measures one run over very many hosts: the real server, and one process
// that answers for all of them.
func (s *session) scale(b *bed) error {
	need := uint64(s.fleet + 20*s.batch + 1000) // a connection for each, and a spool for those in hand
	if err := raiseFiles(need); err != nil {
		s.absent("hosts_10000_s", err.Error())
		s.absent("server_rss_mb", err.Error())
		return nil
	}
	c := company.New(b, company.Options{Hosts: 1, Scenario: func(c *company.Company) (string, string) {
		name, content := noop(c)
		return name, strings.Replace(content, "batches: [1]", fmt.Sprintf("batches: [%d]", s.batch), 1)
	}})
	c.StopServer() // the hosts come with the next start
	c.StopAgent(c.Hosts[0])
	// The garbage of ten thousand agents in one process is no agent's own.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	f, err := startFleet(b, c, s.fleet)
	b.must(err)
	b.must(os.WriteFile(filepath.Join(c.ServerDir(), "inventory.yaml"), []byte(f.inventory()), 0o600))
	config := filepath.Join(c.ServerDir(), "server.yaml")
	text, err := os.ReadFile(config)
	b.must(err)
	b.must(os.WriteFile(config, []byte(strings.Replace(string(text), "\nagents:\n", fmt.Sprintf("\nagents:\n  port: %d\n", f.port), 1)), 0o600))
	c.StartServer()

	begun := time.Now()
	run, err := c.Dev.Draft(b.ctx, restart.Request{Service: demo.ServiceName, Reason: "measure it"}, "")
	b.must(err)
	s.detail("hosts_10000_plan_s", round(time.Since(begun).Seconds(), 2))
	if n := len(run.Plan.Chosen()); n != s.fleet {
		b.Fatalf("the plan has %d of %d hosts", n, s.fleet)
	}
	planned, err := memory(c.ServerPID(), "VmHWM")
	b.must(err)
	s.detail("server_rss_after_plan_mb", planned)
	serverBefore, err := cpu(c.ServerPID())
	b.must(err)
	ownBefore, err := cpu(os.Getpid())
	b.must(err)
	begun = time.Now()
	run, err = c.Dev.Start(b.ctx, run.ID, wire.StartRequest{})
	b.must(err)
	for !run.State.Final() && run.State != restart.RunPaused {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
		// The list of runs would carry every host: one run's head is enough here.
		page, err := c.Dev.Runs(b.ctx, wire.RunQuery{States: []restart.RunState{restart.RunCompleted, restart.RunFailed, restart.RunAborted, restart.RunPaused}, Limit: 1})
		b.must(err)
		if len(page.Items) > 0 {
			run, err = c.Dev.Run(b.ctx, run.ID)
			b.must(err)
		}
	}
	if run.State != restart.RunCompleted || f.done.Load() != int64(s.fleet) {
		b.Fatalf("the run is %s (%s), and %d of %d hosts have worked", run.State, run.Explanation, f.done.Load(), s.fleet)
	}
	s.results.Hosts10000 = new(round(run.FinishedAt.Sub(*run.StartedAt).Seconds(), 2))
	s.detail("hosts_10000_with_start_s", round(run.FinishedAt.Sub(begun).Seconds(), 2))
	rss, err := memory(c.ServerPID(), "VmHWM")
	b.must(err)
	s.results.ServerRSS = new(rss)
	// Of what the machine's cores have done, so that a busy machine shows.
	server, err := cpu(c.ServerPID())
	b.must(err)
	own, err := cpu(os.Getpid())
	b.must(err)
	s.detail("hosts_10000_server_cpu_s", round(server-serverBefore, 2))
	s.detail("hosts_10000_fleet_cpu_s", round(own-ownBefore, 2))
	return nil
}

// raiseFiles makes sure that this process and its children may open so many files.
func raiseFiles(need uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	if now.Cur >= need {
		return nil
	}
	wanted := unix.Rlimit{Cur: need, Max: max(need, now.Max)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &wanted); err != nil {
		return fmt.Errorf("%d open files are needed, and %d are allowed: raise the limit with ulimit -Hn", need, now.Max)
	}
	return nil
}
