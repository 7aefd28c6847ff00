package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The ways in which the processes of a script are kept together.
const (
	ByCgroup       = "cgroup"
	ByProcessGroup = "process-group"
)

// containment keeps the processes of one script together.
type containment interface {
	// prepare readies a command that is not started yet.
	prepare(cmd *exec.Cmd)
	// signal sends a signal to every process, and tells how many there were.
	signal(sig syscall.Signal) (int, error)
	// close gives up what was taken from the system. Processes live on.
	close()
}

// contain makes the strongest containment there is. base is the cgroup below
// which new ones may be made; "" = none. An error says why it is the weaker one.
func contain(base, name string) (containment, error) {
	if base == "" {
		return newGroup(), nil
	}
	c, err := newCgroup(base, name)
	if err != nil {
		return newGroup(), fmt.Errorf("no cgroup for this script, its process group stands in: %w", err)
	}
	return c, nil
}

// looks at a tree that is being ended come this often.
const endingTick = 20 * time.Millisecond

// endTree ends every process: TERM, then, for what is left after grace, KILL
// until nothing is left. It returns early when ctx is over, with what is left.
func endTree(ctx context.Context, c containment, grace time.Duration) error {
	tick := time.NewTicker(endingTick)
	defer tick.Stop()
	if _, err := c.signal(unix.SIGTERM); err != nil {
		return err
	}
	deadline := time.Now().Add(grace)
	for {
		sig := syscall.Signal(0) // only counts them
		if !time.Now().Before(deadline) {
			sig = unix.SIGKILL
		}
		left, err := c.signal(sig)
		if err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d processes of the script are left: %w", left, context.Cause(ctx))
		}
	}
}

// group is a process group, and everything else below this process.
type group struct {
	cmd    *exec.Cmd
	spared map[identity]bool // what earlier scripts left behind
}

func newGroup() *group {
	g := &group{spared: map[identity]bool{}}
	if unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD {
		return g // nothing is below, as before the first script
	}
	if all, err := processes(); err == nil {
		for _, p := range descendants(all, os.Getpid(), nil) {
			g.spared[p.id()] = true
		}
	}
	return g
}

func (g *group) prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr.Setpgid = true
	g.cmd = cmd
}

func (g *group) signal(sig syscall.Signal) (int, error) {
	all, err := processes()
	if err != nil {
		return 0, fmt.Errorf("look for the script's processes: %w", err)
	}
	below := descendants(all, os.Getpid(), g.spared)
	if sig == 0 {
		return len(below), nil
	}
	main := g.cmd.Process.Pid
	if slices.ContainsFunc(below, func(p process) bool { return p.group == main }) { // else the number may be another group's by now
		unix.Kill(-main, sig) //nolint:errcheck // all at once, so that fewer can fork away; each gets it below
	}
	for _, p := range below {
		if p.group != main {
			unix.Kill(p.pid, sig) //nolint:errcheck // it may have gone; the next look counts again
		}
	}
	return len(below), nil
}

func (g *group) close() {}

// becomeReaper makes the orphans below this process its own children.
func becomeReaper() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}
