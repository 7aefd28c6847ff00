package company

import (
	"errors"
	"os"
	"syscall"
)

// Launch starts a program under a name, which it keeps until End: its log is
// that name's, and it does not outlive the test. It waits for nothing. The
// first server's name is "server", an agent's that of its host.
func (c *Company) Launch(name, program string, args ...string) {
	c.t.Helper()
	c.start(name, program, args...)
}

// PID is the process id of what was launched under a name and has not ended;
// 0 = nothing.
func (c *Company) PID(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.procs[name]
	if p == nil {
		return 0
	}
	select {
	case <-p.ended:
		return 0
	default:
		return p.cmd.Process.Pid
	}
}

// Send sends a signal to what runs under a name, and waits for nothing.
func (c *Company) Send(name string, s syscall.Signal) {
	c.mu.Lock()
	p := c.procs[name]
	c.mu.Unlock()
	if p == nil {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Errorf("signal %s: %v", name, err)
	}
}

// End sends a signal to what runs under a name, and waits until it has ended.
func (c *Company) End(name string, s syscall.Signal) { c.signal(name, s) }
