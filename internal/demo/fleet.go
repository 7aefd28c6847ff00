package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Agent is one running agent of the demo.
type Agent struct {
	Host Host
	PID  int

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has gone
}

// Fleet is what the demo has started, and must stop again.
type Fleet struct {
	layout Layout
	agents []*Agent
	relay  *http.Server
	served chan error // how the relay's serving ended
}

// FindAgent finds the agent's program: beside our own, or on the PATH.
func FindAgent(self string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), "restartilka-agent")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	if path, err := exec.LookPath("restartilka-agent"); err == nil {
		return path, nil
	}
	return "", restart.Errorf(restart.CodeNotFound, "the program restartilka-agent is not beside %s, nor on the PATH", self).WithHint("make build")
}

// StartFleet starts each host's service and agent, and waits until every agent
// listens. On an error, what had been started is stopped again.
func StartFleet(ctx context.Context, l Layout, agentProgram string) (*Fleet, error) {
	f := &Fleet{layout: l}
	if err := f.start(ctx, agentProgram); err != nil {
		return nil, errors.Join(err, f.Stop())
	}
	return f, nil
}

func (f *Fleet) start(ctx context.Context, program string) error {
	for _, h := range f.layout.Hosts {
		for what, address := range map[string]string{"agent": f.agentAddress(h), "service": h.ServiceAddress()} {
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
			if err != nil {
				return restart.Errorf(restart.CodeUnavailable, "the demo's %s needs %s: %v", what, address, err).
					WithHint("another demo may be running; stop it first").Because(err)
			}
			l.Close()
		}
	}
	if err := f.startRelay(ctx); err != nil {
		return err
	}
	for _, h := range f.layout.Hosts {
		if err := PlaceService(h); err != nil {
			return err
		}
		if err := StartService(ctx, f.layout.Self, h.Dir); err != nil {
			return err
		}
		a, err := startAgent(ctx, program, h)
		if err != nil {
			return err
		}
		f.agents = append(f.agents, a)
	}
	for _, a := range f.agents {
		if err := f.waitFor(ctx, a); err != nil {
			return err
		}
		warm := func() (bool, error) { return CheckService(ctx, a.Host.Dir) == nil, nil }
		if err := poll(ctx, warm, "hello on "+a.Host.Name+" does not answer within 10 s"); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) agentAddress(h Host) string { return fmt.Sprintf("%s:%d", h.Address, protocol.Port) }

func startAgent(ctx context.Context, program string, h Host) (*Agent, error) {
	log, err := os.OpenFile(filepath.Join(h.Dir, "agent.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start an agent: %w", err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, "serve", "--config", filepath.Join(h.Dir, "agent.yaml"))
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C at a terminal reaches the demo alone,
	// which then stops everything in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an agent: %w", err)
	}
	a := &Agent{Host: h, PID: cmd.Process.Pid, cmd: cmd, ended: make(chan struct{})}
	go func() {
		cmd.Wait() //nolint:errcheck // how it ended is in its log
		close(a.ended)
	}()
	return a, nil
}

func (f *Fleet) waitFor(ctx context.Context, a *Agent) error {
	err := poll(ctx, func() (bool, error) {
		select {
		case <-a.ended:
			return false, errors.New("it ended at once")
		default:
		}
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", f.agentAddress(a.Host))
		if err != nil {
			return false, nil // not yet
		}
		return true, conn.Close()
	}, "it does not listen within 10 s")
	if err == nil {
		return nil
	}
	log, _ := os.ReadFile(filepath.Join(a.Host.Dir, "agent.log"))
	return fmt.Errorf("the agent of %s: %w\n%s", a.Host.Name, err, bytes.TrimSpace(log))
}

// Agents lists the running agents.
func (f *Fleet) Agents() []*Agent { return f.agents }

// Stop ends every agent and service, and waits for them.
func (f *Fleet) Stop() error {
	var errs []error
	for _, a := range f.agents {
		if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, fmt.Errorf("stop the agent of %s: %w", a.Host.Name, err))
		}
	}
	for _, a := range f.agents {
		select {
		case <-a.ended:
		case <-time.After(5 * time.Second):
			errs = append(errs, a.cmd.Process.Kill())
			<-a.ended
		}
	}
	for _, h := range f.layout.Hosts {
		errs = append(errs, StopService(context.Background(), h.Dir))
	}
	if f.relay != nil {
		errs = append(errs, f.relay.Close())
		if err := <-f.served; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, fmt.Errorf("the demo's relay: %w", err))
		}
	}
	f.agents, f.relay = nil, nil
	return errors.Join(errs...)
}
