package supervisor

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// start starts the command. Where bounded is true, it and whatever it executes
// has no capability and can gain none: not by a set-user-id program, not by a
// file's capabilities, not by what the agent's own unit was given. The settings
// are a thread's and inherited by its children, so the command is started from
// a thread that is never used again.
func start(cmd *exec.Cmd, bounded bool) error {
	if !bounded {
		return cmd.Start()
	}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if err := bound(); err != nil {
			started <- err
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}

// bound takes from this thread's children every way to privileges. The thread
// keeps what it needs to become the script's user; that goes when it does.
func bound() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	if err := inheritNothing(); err != nil {
		return fmt.Errorf("clear inheritable capabilities: %w", err)
	}
	for capability := uintptr(0); ; capability++ {
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); {
		case errors.Is(err, unix.EINVAL): // the kernel knows no more of them
			return nil
		case errors.Is(err, unix.EPERM):
			// An agent that is not root may not, and need not: without privileges
			// there is nothing that the bounding set would bound.
			return nil
		case err != nil:
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
}

// inheritNothing empties this thread's inheritable set, and with it the kernel
// empties the ambient one.
func inheritNothing() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // 64 capabilities
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	return unix.Capset(&header, &sets[0])
}
