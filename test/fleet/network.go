package fleet

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// prefix of the fleet's network, /24. Every fleet has the same one, in
// namespaces of its own.
const prefix = "10.77.0."

func ip(args ...string) error {
	if out, err := exec.CommandContext(context.Background(), "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// first runs commands until one fails.
func first(commands ...[]string) error {
	for _, c := range commands {
		if err := ip(c...); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) makeNetwork() error {
	return first(
		[]string{"netns", "add", f.id},
		[]string{"-n", f.id, "link", "add", "br0", "type", "bridge"},
		[]string{"-n", f.id, "addr", "add", prefix + "1/24", "dev", "br0"},
		[]string{"-n", f.id, "link", "set", "br0", "up"},
		[]string{"-n", f.id, "link", "set", "lo", "up"},
	)
}

func (h *Host) makeNetwork() error {
	ns, f := h.namespace(), h.fleet
	return first(
		[]string{"netns", "add", ns},
		[]string{"link", "add", h.link(), "netns", f.id, "type", "veth", "peer", "name", "host0", "netns", ns},
		[]string{"-n", f.id, "link", "set", h.link(), "master", "br0", "up"},
		[]string{"-n", ns, "addr", "add", h.Address + "/24", "dev", "host0"},
		[]string{"-n", ns, "link", "set", "host0", "up"},
		[]string{"-n", ns, "link", "set", "lo", "up"},
	)
}

func (h *Host) namespace() string { return h.fleet.id + "-" + h.short() }
func (h *Host) link() string      { return "v-" + h.short() }

// Cut pulls the host's cable: nothing reaches it, and nobody is told.
func (h *Host) Cut() { h.fleet.must(ip("-n", h.fleet.id, "link", "set", h.link(), "down")) }

// Plug puts the cable back.
func (h *Host) Plug() { h.fleet.must(ip("-n", h.fleet.id, "link", "set", h.link(), "up")) }

// Dial connects from within the fleet's network; address is IP:PORT or
// NAME:PORT of a host.
func (f *Fleet) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	for _, h := range f.Hosts {
		if h.Name == name {
			address = net.JoinHostPort(h.Address, port)
		}
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	// A socket belongs to the namespace of the thread that makes it. The thread
	// is not given back: it ends with its goroutine.
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open("/run/netns/" + f.id)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("enter the fleet's network: %w", err)}
			return
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// Command makes a command that runs on this machine, within the fleet's
// network. What is left of it at the end is killed with the fleet.
func (f *Fleet) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", f.enter(f.tools) + `exec ip netns exec "$0" "$@"`, f.id, name}, args...)...)
}
