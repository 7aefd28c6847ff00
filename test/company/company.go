// Package company stands a small company up for tests: the real server and
// agent programs as processes of their own on loopback addresses, with a
// scenario whose script is the witness. Each script appends the id of its task
// to a file and syncs it, so that executions are counted by something that is
// not the product.
package company

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// T is what a company needs of a test: any testing.TB, or a program that stands
// a company up for another purpose.
type T interface {
	Helper()
	Context() context.Context // over when the cleanups begin
	TempDir() string
	Cleanup(f func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any) // does not return
	Fatalf(format string, args ...any)
}

// Options of a company. The zero value has three hosts and SQLite.
type Options struct {
	Hosts    int
	Names    []string                                // of the hosts; nil = host1.test.internal and so on
	DSN      string                                  // PostgreSQL; "" = SQLite
	Audit    string                                  // more sinks, as YAML lines of server.yaml; "" = none
	Server   string                                  // more lines of server.yaml
	Scenario func(c *Company) (name, content string) // "" = Witness
	Work     time.Duration                           // how long the script works; 0 = not at all
	Agent    string                                  // more lines of every agent.yaml
	Servers  int                                     // that may come beside the first: see NewServer
	Under    func(program string) []string           // a command that is put before "server" or a host's agent; nil = none
	Prepare  func(c *Company)                        // a last hand on the files, before anything is started; nil = none
}

// Company is a running company. Everything it has started is stopped, and its
// folder removed, at the end of the test.
type Company struct {
	t        T
	Programs Programs
	Dir      string
	URL      string
	CA       string
	Admin    *client.Client
	Dev      *client.Client
	DevToken string
	Hosts    []demo.Host

	layout demo.Layout
	config string
	under  func(program string) []string
	mu     sync.Mutex
	procs  map[string]*process
}

// process is one program that runs, or has been killed.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

var companies atomic.Int32

// New starts a company and waits until it answers.
func New(t T, o Options) *Company {
	t.Helper()
	c := &Company{t: t, Programs: Build(t), Dir: t.TempDir(), procs: map[string]*process{}, under: o.Under}
	if o.Hosts == 0 {
		o.Hosts = max(3, len(o.Names))
	}
	// Each company has loopback addresses of its own, so that tests run side by
	// side, and beside a demo.
	net := fmt.Sprintf("127.%d.%d", 20+os.Getpid()%200, companies.Add(1))
	layout, err := demo.NewLayout(c.Dir, c.Programs.Server, net+".1:8443")
	c.must(err)
	layout.Hosts = nil
	for i := range o.Hosts {
		name := fmt.Sprintf("host%d.test.internal", i+1)
		if i < len(o.Names) {
			name = o.Names[i]
		}
		layout.Hosts = append(layout.Hosts, demo.Host{Name: name, Address: fmt.Sprintf("%s.%d", net, 11+i), Dir: filepath.Join(c.Dir, "hosts", name)})
	}
	c.layout, c.Hosts, c.URL = layout, layout.Hosts, "https://"+layout.Listen
	first := c.init(net + ".1")
	c.must(layout.WriteServer())
	c.must(layout.WriteHosts(time.Now()))
	c.CA, c.config = first.CA, first.Config
	scenario := o.Scenario
	if scenario == nil {
		scenario = func(c *Company) (string, string) { return "witness", c.Witness(o.Work) }
	}
	c.Review(scenario(c))
	token := first.Token
	if o.DSN != "" {
		token = c.usePostgres(o.DSN)
	}
	c.edit(c.config, o.Audit+o.Server)
	for _, h := range c.Hosts {
		c.introduce(h, o.Servers)
		c.edit(filepath.Join(h.Dir, "agent.yaml"), o.Agent)
	}
	if o.Prepare != nil {
		o.Prepare(c)
	}
	t.Cleanup(c.stop)
	for _, h := range c.Hosts {
		c.StartAgent(h)
	}
	c.StartServer()
	c.listening()
	c.Admin = c.Client(token)
	created, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "test", Owner: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper}})
	c.must(err)
	c.DevToken = created.Secret
	c.Dev = c.Client(created.Secret)
	return c
}

func (c *Company) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// edit appends to server.yaml or an agent.yaml.
func (c *Company) edit(file, more string) {
	b, err := os.ReadFile(file)
	c.must(err)
	c.must(os.WriteFile(file, []byte(string(b)+more), 0o640))
}

// Client gives a client with a token.
func (c *Company) Client(token string) *client.Client {
	c.t.Helper()
	x, err := client.New(client.Config{URL: c.URL, CAFile: c.CA, Token: token})
	c.must(err)
	c.t.Cleanup(x.Close)
	return x
}

// WitnessFile is where scripts append "TASK HOST BEGIN" and "TASK HOST END".
func (c *Company) WitnessFile() string { return filepath.Join(c.Dir, "witness") }

// Witness is a scenario whose script does nothing but tell that it ran.
func (c *Company) Witness(work time.Duration) string {
	return fmt.Sprintf(`format: 1
name: witness
serial: 1
author: test@restartilka.invalid
kind: restart
services: [%s]
description: Appends its task to a file, and syncs it
strategy: {batches: [1], task_timeout: 3m}
steps:
  run:
    script: |
      echo "$RESTARTILKA_TASK #host# begin" >> %[2]s
      sync %[2]s
      sleep %.3[3]f
      while test -e %[4]s; do sleep 0.02; done
      echo "$RESTARTILKA_TASK #host# end" >> %[2]s
      sync %[2]s
      echo "restarted #service# on #host#"
`, demo.ServiceName, c.WitnessFile(), work.Seconds(), c.holdFile())
}

// Hold lets scripts of the witness begin and not end, until Release or until
// their time is over.
func (c *Company) Hold() {
	c.t.Helper()
	c.must(os.WriteFile(c.holdFile(), nil, 0o600))
}

// Release lets the scripts that Hold holds go on.
func (c *Company) Release() {
	c.t.Helper()
	c.must(os.Remove(c.holdFile()))
}

func (c *Company) holdFile() string { return filepath.Join(c.Dir, "hold") }

// Review lays a scenario onto the server's shelf and into every host's scenarios.d.
func (c *Company) Review(name, content string) {
	c.t.Helper()
	c.must(os.Remove(filepath.Join(c.layout.ServerDir(), "scenarios", "hello-restart.yaml")))
	c.must(os.WriteFile(filepath.Join(c.layout.ServerDir(), "scenarios", name+".yaml"), []byte(content), 0o600))
	for _, h := range c.Hosts {
		c.must(os.WriteFile(filepath.Join(h.Dir, "scenarios.d", name+".yaml"), []byte(content), 0o600))
	}
}

// Witnessed counts the lines of the witness file by "TASK HOST WORD".
func (c *Company) Witnessed() map[string]int {
	c.t.Helper()
	b, err := os.ReadFile(c.WitnessFile())
	if !errors.Is(err, os.ErrNotExist) {
		c.must(err)
	}
	out := map[string]int{}
	for line := range strings.Lines(string(b)) {
		out[strings.TrimSpace(line)]++
	}
	return out
}

// WitnessLines gives the witness file's lines in order.
func (c *Company) WitnessLines() []string {
	c.t.Helper()
	b, err := os.ReadFile(c.WitnessFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	c.must(err)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// AuditFile is the trail's local copy.
func (c *Company) AuditFile() string { return c.layout.AuditFile() }

// HostRecords are the flags of audit verify that compare a trail with what the
// hosts have recorded themselves.
func (c *Company) HostRecords() (flags []string) {
	for _, h := range c.Hosts {
		flags = append(flags, "--host", filepath.Join(h.Dir, "spool"))
	}
	return flags
}

// ServerDir is the folder of server.yaml.
func (c *Company) ServerDir() string { return c.layout.ServerDir() }

// Database is the file of the server's SQLite database.
func (c *Company) Database() string { return filepath.Join(c.layout.DataDir(), "restartilka.db") }

// ServerPID is the process id of the running server, AgentPID that of a host's
// agent; 0 = it does not run.
func (c *Company) ServerPID() int { return c.pid("server") }

// AgentPID is the process id of a host's agent.
func (c *Company) AgentPID(h demo.Host) int { return c.pid(h.Name) }

func (c *Company) pid(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.procs[name]; p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// StartServer starts the server and waits until it is ready.
func (c *Company) StartServer() {
	c.t.Helper()
	c.start("server", c.Programs.Server, "server", "--config", c.config)
	c.ready(c.URL)
}

// StartAgent starts the agent of a host.
func (c *Company) StartAgent(h demo.Host) {
	c.t.Helper()
	c.start(h.Name, c.Programs.Agent, "serve", "--config", filepath.Join(h.Dir, "agent.yaml"))
}

// KillServer ends the server with SIGKILL; KillAgent that host's agent.
func (c *Company) KillServer() { c.signal("server", syscall.SIGKILL) }

// KillAgent ends a host's agent with SIGKILL.
func (c *Company) KillAgent(h demo.Host) { c.signal(h.Name, syscall.SIGKILL) }

// StopServer ends the server with SIGTERM and waits for it.
func (c *Company) StopServer() { c.signal("server", syscall.SIGTERM) }

// StopAgent ends a host's agent with SIGTERM and waits for it.
func (c *Company) StopAgent(h demo.Host) { c.signal(h.Name, syscall.SIGTERM) }

func (c *Company) start(name, program string, args ...string) {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.Dir, name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	c.must(err)
	defer log.Close()
	if c.under != nil {
		if before := c.under(name); len(before) > 0 {
			program, args = before[0], slices.Concat(before[1:], []string{program}, args)
		}
	}
	cmd := exec.CommandContext(context.WithoutCancel(c.t.Context()), program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error, 1)
	// Pdeathsig is of the thread that starts: it must live as long as the child.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		cmd.Wait() //nolint:errcheck // it is killed on purpose
		close(p.ended)
	}()
	c.must(<-started)
	c.mu.Lock()
	c.procs[name] = p
	c.mu.Unlock()
}

func (c *Company) signal(name string, s syscall.Signal) {
	c.mu.Lock()
	p := c.procs[name]
	delete(c.procs, name)
	c.mu.Unlock()
	if p == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGCONT) //nolint:errcheck // a frozen one could not end; the next says more
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Errorf("signal %s: %v", name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		c.t.Errorf("%s has not ended a minute after %v", name, s)
		p.cmd.Process.Kill() //nolint:errcheck // it is told already
	}
}

func (c *Company) stop() {
	c.mu.Lock()
	var names []string
	for name := range c.procs {
		names = append(names, name)
	}
	c.mu.Unlock()
	var stopping sync.WaitGroup
	for _, name := range names {
		stopping.Go(func() { c.signal(name, syscall.SIGTERM) })
	}
	stopping.Wait()
	if c.t.Failed() {
		for _, name := range append([]string{"server"}, hostNames(c.Hosts)...) {
			b, err := os.ReadFile(filepath.Join(c.Dir, name+".log"))
			if err == nil {
				c.t.Logf("log of %s:\n%s", name, bytes.TrimSpace(tail(b, 6000)))
			}
		}
	}
}

func hostNames(hosts []demo.Host) []string {
	var out []string
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// Eventually waits for a condition, asking every 20 ms for at most 90 s.
func (c *Company) Eventually(what string, ok func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			c.t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// Start asks for a restart of all hosts and confirms it.
func (c *Company) Start(reason string) restart.Run {
	c.t.Helper()
	run, err := c.Dev.Draft(c.t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	c.must(err)
	run, err = c.Dev.Start(c.t.Context(), run.ID, wire.StartRequest{})
	c.must(err)
	return run
}

// Until waits until a run is in one of the states, and gives it.
func (c *Company) Until(id string, states ...restart.RunState) (run restart.Run) {
	c.t.Helper()
	c.Eventually(fmt.Sprintf("run %s to be %v", id, states), func() bool {
		var err error
		run, err = c.Dev.Run(c.t.Context(), id)
		if err != nil {
			return false // the server may be down at this moment, on purpose, or not know yet what was done on a host
		}
		return slices.Contains(states, run.State)
	})
	return run
}

// CLI runs the command line as the developer, and gives what it said.
func (c *Company) CLI(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return c.command(c.URL, args...)
}
