package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// late is a little time between a death and the next start, or none.
func (r *round) late(ctx context.Context) {
	if r.random.IntN(2) == 0 {
		pause(ctx, r.between(10*time.Millisecond, 500*time.Millisecond))
	}
}

func killServer(ctx context.Context, r *round) error {
	s := choose(r, r.servers)
	r.strike()
	r.kill(s.name)
	r.late(ctx)
	r.launch(s)
	return nil
}

func killAgents(ctx context.Context, r *round) error {
	down := r.aimAtSome(ctx)
	r.strike()
	for _, h := range down {
		r.kill(h.Name)
	}
	r.late(ctx)
	for _, h := range down {
		r.wake(h)
	}
	return nil
}

func killSupervisor(ctx context.Context, r *round) error {
	h, s := r.busy(ctx, time.Second)
	if h == nil {
		return nil
	}
	pause(ctx, r.between(0, 80*time.Millisecond))
	r.strike()
	kill(s.pid)
	return nil
}

func killAgentAndSupervisors(ctx context.Context, r *round) error {
	h, _ := r.busy(ctx, time.Second)
	if h == nil {
		return nil
	}
	r.strike()
	r.kill(h.Name)
	for _, s := range h.supervisors() {
		kill(s.pid)
	}
	r.late(ctx)
	r.wake(h)
	return nil
}

func killServerAndAgents(ctx context.Context, r *round) error {
	s, down := choose(r, r.servers), r.aimAtSome(ctx)
	r.strike()
	r.kill(s.name)
	for _, h := range down {
		r.kill(h.Name)
	}
	r.late(ctx)
	for _, h := range down {
		r.wake(h)
	}
	r.launch(s)
	return nil
}

func killAll(ctx context.Context, r *round) error {
	r.strike()
	for _, s := range r.servers {
		r.kill(s.name)
	}
	for _, h := range r.hosts {
		r.kill(h.Name)
	}
	r.late(ctx)
	for _, s := range r.servers {
		r.launch(s)
	}
	for _, h := range r.hosts {
		r.wake(h)
	}
	return nil
}

func killTwice(ctx context.Context, r *round) error {
	s := choose(r, r.servers)
	r.strike()
	for range 2 {
		r.kill(s.name)
		r.launch(s)
		pause(ctx, r.between(0, 250*time.Millisecond))
	}
	r.kill(s.name)
	r.launch(s)
	return nil
}

// twoAtOnce makes one fault, and another before the first is got over.
func twoAtOnce(ctx context.Context, r *round) error {
	everyday := []func(context.Context, *round) error{
		killServer, killAgents, killServerAndAgents, killSupervisor, netRefused, netHalfOpen(300*time.Millisecond, time.Second),
		freezeServer(300*time.Millisecond, 2*time.Second), freezeAgents(300*time.Millisecond, 2*time.Second), pauseAndResume, presses("pause"), presses("abort"),
	}
	if r.postgres() {
		everyday = append(everyday, postgresCut, postgresFrozen, freezeServer(4*time.Second, 5*time.Second))
	}
	for range 2 {
		if err := choose(r, everyday)(ctx, r); err != nil {
			return err
		}
		pause(ctx, r.between(0, 200*time.Millisecond))
	}
	return nil
}

// rebootHost ends whatever is of a host, as a reboot does, and gives it
// another boot id.
func rebootHost(ctx context.Context, r *round) error {
	h := r.aim(ctx)
	r.strike()
	r.kill(h.Name)
	for _, s := range h.supervisors() {
		kill(s.pid)
	}
	kill(r.scripts(h.Name)...)
	r.boot(h)
	r.late(ctx)
	r.wake(h)
	return nil
}

func freezeServer(from, to time.Duration) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		s := choose(r, r.servers)
		r.strike()
		r.freeze(ctx, s.name, r.between(from, to))
		return nil
	}
}

func freezeAgents(from, to time.Duration) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		h := r.aim(ctx)
		r.strike()
		r.freeze(ctx, h.Name, r.between(from, to))
		return nil
	}
}

func (l *lane) freeze(ctx context.Context, name string, d time.Duration) {
	l.c.Send(name, syscall.SIGSTOP)
	defer l.c.Send(name, syscall.SIGCONT)
	pause(ctx, d)
}

func freezeSupervisor(ctx context.Context, r *round) error {
	h, s := r.busy(ctx, time.Second)
	if h == nil {
		return nil
	}
	r.strike()
	syscall.Kill(s.pid, syscall.SIGSTOP)       //nolint:errcheck // it has just ended
	defer syscall.Kill(s.pid, syscall.SIGCONT) //nolint:errcheck // as above
	pause(ctx, r.between(300*time.Millisecond, 3*time.Second))
	return nil
}

// copyOf lays a copy of a program, as an upgrade does: another file, in the
// place of the one before.
func (l *lane) copyOf(program, name string) (string, error) {
	path := filepath.Join(l.c.Dir, "programs", name)
	return path, replaceFile(program, path)
}

func agentUpgraded(ctx context.Context, r *round) error {
	h := r.aim(ctx)
	path, err := r.copyOf(r.c.Programs.Agent, "agent-"+h.Name)
	if err != nil {
		return err
	}
	r.strike()
	h.program = path
	r.c.End(h.Name, syscall.SIGTERM)
	r.late(ctx)
	r.wake(h)
	return nil
}

func serverUpgraded(ctx context.Context, r *round) error {
	s := choose(r, r.servers)
	path, err := r.copyOf(r.c.Programs.Server, s.name)
	if err != nil {
		return err
	}
	r.strike()
	s.program = path
	r.c.End(s.name, syscall.SIGTERM)
	r.late(ctx)
	r.launch(s)
	return nil
}

// callWait is how long the chosen call of a process is waited for.
const callWait = time.Second

// tamper draws a call, what happens at it and when.
func (r *round) tamper(calls []string, acts []string) tampering {
	t := tampering{call: choose(r, calls), do: choose(r, acts), when: 1 + r.random.IntN(4)}
	if t.call == "write" || t.call == "openat" {
		t.when += r.random.IntN(12) // sockets, and files that are only read, too
	}
	return t
}

// trace waits until the injected call of a process is made.
func (r *round) trace(ctx context.Context, pid int, t tampering) error {
	tr, err := r.attach(pid, t)
	if err != nil {
		return nil // it ended in this moment
	}
	defer tr.release()
	if !eventually(ctx, callWait, tr.hit) {
		return nil
	}
	r.strike()
	if strings.HasPrefix(t.do, "signal=") { // what is still dying is not missed yet, and would not be started again
		eventually(ctx, 3*time.Second, func() bool { return !alive(pid) })
	}
	return nil
}

func callOnServer(calls []string, acts ...string) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		s := choose(r, r.servers)
		return r.trace(ctx, r.c.PID(s.name), r.tamper(calls, acts))
	}
}

func callOnAgent(calls []string, acts ...string) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		return r.trace(ctx, r.c.PID(r.aim(ctx).Name), r.tamper(calls, acts))
	}
}

func callOnSupervisor(calls []string, acts ...string) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		h, s := r.busy(ctx, time.Second)
		if h == nil {
			return nil
		}
		t := r.tamper(calls, acts)
		t.when = 1 + r.random.IntN(2) // it makes few calls of each
		return r.trace(ctx, s.pid, t)
	}
}

// atStart launches something under a tracer that kills it at a call of its
// start, and then without.
func (r *round) atStart(ctx context.Context, name string, launch func()) {
	t := tampering{call: choose(r, []string{"fsync", "write", "pwrite64", "openat", "renameat", "unlinkat", "linkat"}), do: "signal=KILL", when: 1 + r.random.IntN(4)}
	if t.call == "openat" || t.call == "write" {
		t.when += r.random.IntN(30)
	}
	r.traces++
	log := filepath.Join(r.dir, fmt.Sprintf("strace-start-%d", r.traces))
	r.under[name] = append([]string{"strace", "-D", "-qq"}, append(t.args(log), "--")...)
	r.strike()
	r.kill(name)
	launch()
	eventually(ctx, 800*time.Millisecond, func() bool { return r.c.PID(name) == 0 })
	r.kill(name) // where its start was over before that call
	launch()
}

func killServerAtStart(ctx context.Context, r *round) error {
	s := choose(r, r.servers)
	r.atStart(ctx, s.name, func() { r.launch(s) })
	return nil
}

func killAgentAtStart(ctx context.Context, r *round) error {
	h := r.aim(ctx)
	r.atStart(ctx, h.Name, func() { r.wake(h) })
	return nil
}
