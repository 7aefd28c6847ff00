package e2e

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/company"
)

// lease is the shortest that the configuration takes.
const lease = 3 * time.Second

// several stands a company up with two more servers on one PostgreSQL. The
// first takes what is asked for while it is alone.
func several(t *testing.T, settings ...string) (c *company.Company, second, third *company.Server) {
	t.Helper()
	c = company.New(t, company.Options{
		Servers: 2, DSN: storetest.StartPostgres(t).NewDSN(t), Server: "runs: {lease: 3s}\n" + strings.Join(settings, ""),
	})
	return c, c.NewServer(2), c.NewServer(3)
}

// begun starts a run under the first server and waits until its first script
// works; the others are started only then. The script works until c.Release.
func begun(t *testing.T, c *company.Company, others ...*company.Server) restart.Run {
	t.Helper()
	c.Hold()
	run := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	for _, s := range others {
		s.Start()
	}
	return run
}

// until asks one server until a run is in one of the states.
func until(t *testing.T, c *company.Company, x *client.Client, id string, states ...restart.RunState) (run restart.Run) {
	t.Helper()
	c.Eventually("run "+id+" to be "+string(states[0]), func() bool {
		var err error
		run, err = x.Run(t.Context(), id)
		for _, s := range states {
			if err == nil && run.State == s {
				return true
			}
		}
		return false
	})
	return run
}

// wholeTrail verifies what each server has shipped.
func wholeTrail(t *testing.T, c *company.Company, files ...string) {
	t.Helper()
	for _, file := range files {
		if out, talk, code := c.CLI("audit", "verify", file); code != 0 {
			t.Errorf("audit verify %s: exit %d\n%s\n%s", filepath.Base(file), code, out, talk)
		}
	}
}

// A server dies with a run in hand: another takes the run within the lease,
// finds out what became of the host, and pauses; nothing runs twice. The locks
// that it shares with others go with it.
func TestAServerDiesAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	locks := newSharedLocks(t)
	c, second, third := several(t, locks.settings())
	run := begun(t, c, second, third)
	locks.held(run.ID)
	c.KillServer()
	died := time.Now()
	c.Release()
	x := second.Client(c.DevToken)
	paused := until(t, c, x, run.ID, restart.RunPaused)
	took := time.Since(died)
	t.Logf("taken over, reconciled and paused %s after the kill (lease %s)", took.Round(10*time.Millisecond), lease)
	// Until the lease is over, a poll of at most 1.5 s, and what the agents say.
	if took > lease+3*time.Second {
		t.Errorf("it took %s", took)
	}
	if paused.Cause != restart.CauseInterrupted || states(paused) != "succeeded planned planned" {
		t.Errorf("paused (%s): %s", paused.Cause, states(paused))
	}
	if _, err := third.Client(c.DevToken).Resume(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	done := until(t, c, x, run.ID, restart.RunCompleted)
	account(t, c, done)
	c.Eventually("the locks to be given back", func() bool { return locks.free() })
	if left, err := x.Locks(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("%+v, %v", left, err)
	}
	second.Stop()
	third.Stop()
	wholeTrail(t, c, second.AuditFile(), third.AuditFile())
}

// A server that was frozen for longer than its lease can do nothing when it
// wakes: the database refuses its writes, the agents its requests. It still
// answers, and passes on what people want.
func TestAFrozenServerWakesToNothing(t *testing.T) {
	t.Parallel()
	c, second, _ := several(t)
	run := begun(t, c, second)
	c.FreezeServer()
	c.Release()
	x := second.Client(c.DevToken)
	paused := until(t, c, x, run.ID, restart.RunPaused)
	if paused.Epoch < 2 || paused.Cause != restart.CauseInterrupted {
		t.Errorf("epoch %d, paused (%s)", paused.Epoch, paused.Cause)
	}
	c.Hold()
	if _, err := x.Resume(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	c.Eventually("the second host's script to run", func() bool { return len(c.WitnessLines()) >= 3 })
	c.ThawServer()
	c.Eventually("the first server to say that the run is another's", func() bool {
		log := c.ServerLog()
		return strings.Contains(log, "another server has this run now") || strings.Contains(log, "lease lost")
	})
	// What it would ask of the agents, by its own credentials and its own epoch.
	refusedByAgents(t, c, run, 1)
	// It reads, and a wish that is left with it is obeyed by the other.
	seen, err := c.Dev.Run(t.Context(), run.ID)
	if err != nil || seen.Epoch < 3 {
		t.Errorf("the woken server shows epoch %d, %v", seen.Epoch, err)
	}
	if _, err := c.Dev.Pause(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	c.Release()
	stopped := until(t, c, c.Dev, run.ID, restart.RunPaused)
	if stopped.Cause != restart.CauseOperator || states(stopped) != "succeeded succeeded planned" {
		t.Errorf("paused (%s): %s", stopped.Cause, states(stopped))
	}
	if _, err := c.Dev.Resume(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	account(t, c, until(t, c, x, run.ID, restart.RunCompleted))
	c.StopServer()
	second.Stop()
	wholeTrail(t, c, c.AuditFile(), second.AuditFile())
}

// refusedByAgents asks, as the first server, whatever a server can ask about a
// run, with an epoch that is over; every host of the run that is under a later
// one refuses.
func refusedByAgents(t *testing.T, c *company.Company, run restart.Run, epoch int64) {
	t.Helper()
	agents, key := asServer(t, c)
	stale := func(what string, err error) {
		t.Helper()
		if restart.CodeOf(err) != restart.CodeStaleEpoch {
			t.Errorf("%s with epoch %d: %v", what, epoch, err)
		}
	}
	h := restart.Host{Name: c.Hosts[0].Name, Address: c.Hosts[0].Address}
	stale("PUT", put(t, agents, key, run, restart.NewID(time.Now()), h, epoch))
	_, err := agents.Forget(t.Context(), h, run.Tasks[0].ID, protocol.Forget{Run: run.ID, Epoch: epoch})
	stale("DELETE", err)
	_, err = agents.Forget(t.Context(), h, restart.NewID(time.Now()), protocol.Forget{Run: run.ID, Epoch: epoch})
	stale("DELETE of an id that nobody has seen", err)
	// The host whose script works now: nothing of it may be cancelled.
	for i, task := range run.Tasks {
		h := restart.Host{Name: c.Hosts[i].Name, Address: c.Hosts[i].Address}
		if status, err := agents.Status(t.Context(), h, task.ID, -1, 0); err == nil && status.Stage == restart.StageStarted {
			stale("cancel", agents.Cancel(t.Context(), h, task.ID, protocol.Cancel{Run: run.ID, Epoch: epoch}))
			return
		}
	}
	t.Error("no script works on any host: nothing to cancel")
}

// asServer gives what the first server talks to agents with.
func asServer(t *testing.T, c *company.Company) (*dispatch.Client, ed25519.PrivateKey) {
	t.Helper()
	in := func(name string) string { return filepath.Join(c.ServerDir(), name) }
	agents, err := dispatch.New(dispatch.Config{Certificate: in("client.crt"), Key: in("client.key"), CA: in("ca.crt"), Port: protocol.Port})
	must(t, err)
	t.Cleanup(agents.Close)
	key, err := pki.LoadEnvelopeKey(in("envelope.key"))
	must(t, err)
	return agents, key
}

// put sends a host a task of a run.
func put(t *testing.T, agents *dispatch.Client, key ed25519.PrivateKey, run restart.Run, task string, host restart.Host, epoch int64) error {
	t.Helper()
	now := time.Now().UTC()
	s, err := protocol.Seal(protocol.Envelope{
		Version: protocol.Version, Task: task, Run: run.ID, Attempt: 1, Host: host.Name, Service: run.Service, Environment: run.Environment,
		Project: run.Project, Group: run.Group, Scenario: run.Scenario, Digest: run.Digest, Actor: run.Actor, Reason: run.Reason,
		NotBefore: now, Expiry: now.Add(protocol.Lifetime),
	}, key)
	must(t, err)
	_, err = agents.Put(t.Context(), host, task, protocol.Submission{Sealed: s, Epoch: epoch})
	return err
}

// What is pressed at a server that does not have the run is obeyed by the one
// that does, before its next host; and a run is watched live from anywhere.
func TestControlsAtAnotherServer(t *testing.T) {
	t.Parallel()
	c, second, _ := several(t)
	run := begun(t, c, second)
	type watched struct {
		out, talk string
		code      int
	}
	watching := make(chan watched, 1)
	go func() {
		out, talk, code := second.CLI("watch", run.ID)
		watching <- watched{out, talk, code}
	}()
	x := second.Client(c.DevToken)
	if _, err := x.Pause(t.Context(), run.ID); err != nil {
		t.Fatal(err)
	}
	c.Release()
	paused := until(t, c, x, run.ID, restart.RunPaused)
	if states(paused) != "succeeded planned planned" || paused.Cause != restart.CauseOperator {
		t.Errorf("paused (%s): %s", paused.Cause, states(paused))
	}
	if w := <-watching; w.code != 5 || !strings.Contains(w.out+w.talk, "succeeded") {
		t.Errorf("watch at the other server: exit %d\n%s\n%s", w.code, w.out, w.talk)
	}
	// Both servers are asked to resume, at once: it goes on once. Both are asked
	// to abort, at once: it ends once.
	c.Hold()
	both(t, func(x *client.Client) error { _, err := x.Resume(t.Context(), run.ID); return err }, c.Dev, x)
	c.Eventually("the second host's script to run", func() bool { return len(c.WitnessLines()) >= 3 })
	both(t, func(x *client.Client) error { _, err := x.Abort(t.Context(), run.ID); return err }, c.Dev, x)
	c.Release()
	aborted := until(t, c, x, run.ID, restart.RunAborted)
	if states(aborted) != "succeeded succeeded not_started" {
		t.Errorf("tasks: %s", states(aborted))
	}
	account(t, c, aborted)
	if _, err := x.Abort(t.Context(), run.ID); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("abort of a run that is over: %v", err)
	}
	c.StopServer()
	second.Stop()
	wholeTrail(t, c, c.AuditFile(), second.AuditFile())
	ended := 0
	for _, file := range []string{c.AuditFile(), second.AuditFile()} {
		ended += strings.Count(readFile(t, file), `"action":"run.ended"`)
	}
	if ended != 1 {
		t.Errorf("%d records of the end", ended)
	}
}

// both presses at two servers at once: at least one is heard, and who is not
// is told that the run is not in a state for it.
func both(t *testing.T, press func(x *client.Client) error, servers ...*client.Client) {
	t.Helper()
	errs := make([]error, len(servers))
	var pressing sync.WaitGroup
	for i, x := range servers {
		pressing.Go(func() { errs[i] = press(x) })
	}
	pressing.Wait()
	heard := 0
	for _, err := range errs {
		switch {
		case err == nil:
			heard++
		case restart.CodeOf(err) != restart.CodeConflict:
			t.Errorf("the other server: %v", err)
		}
	}
	if heard == 0 {
		t.Errorf("nobody was heard: %v", errs)
	}
}

// Three servers that start at once share runs, and each run is walked by one.
func TestThreeServersShareTheWork(t *testing.T) {
	t.Parallel()
	c, second, third := several(t)
	second.Start()
	third.Start()
	var ids []string
	for range 3 {
		ids = append(ids, c.Start(reason).ID)
	}
	for _, id := range ids {
		run := c.Until(id, restart.RunCompleted)
		account(t, c, run)
	}
	if n := len(c.WitnessLines()); n != 3*2*len(c.Hosts) {
		t.Errorf("the witness saw %d lines, want %d", n, 4*2*len(c.Hosts))
	}
}

// A second server on one SQLite file is refused, and told who has it.
func TestOneServerOnSQLite(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 1, Servers: 1})
	second := c.NewServer(2)
	_, talk, code := c.Program("server", "--config", second.Config)
	if code != 3 || !strings.Contains(talk, "is in use by process") || !strings.Contains(talk, pid(c)) || !strings.Contains(talk, "PostgreSQL") {
		t.Errorf("exit %d: %s", code, talk)
	}
	if run := c.Until(c.Start(reason).ID, restart.RunCompleted); states(run) != "succeeded" {
		t.Errorf("the first server: %s", states(run))
	}
}

func pid(c *company.Company) string { return "process " + strconv.Itoa(c.ServerPID()) }

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}
